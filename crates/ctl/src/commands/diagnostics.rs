//! What else there is to learn of a node, its process and its machine; and what only Erlang has, which is refused.

use std::fs;

use serde_json::{Map, Value, json};
use x509_parser::pem::Pem;
use x509_parser::time::ASN1Time;

use super::status::is_json;
use crate::failure::{Exit, Failure};
use crate::invocation::Invocation;
use crate::locate;
use crate::output::sections::{Sections, text, texts};
use crate::output::{Answer, Rows};
use crate::spec::{Command, Flag, Needs, Positional, Section, Takes};
use crate::tool::Tool;

const BOTH: &[Tool] = &[Tool::Ctl, Tool::Diagnostics];
const DIAGNOSTICS: &[Tool] = &[Tool::Diagnostics];
const NO_ERLANG: &str = "there is no Erlang in Leveret, so nothing can be evaluated";

/// The cipher suites that can be spoken: IANA's names, and OpenSSL's where it has one of its own.
const CIPHER_SUITES: [(&str, &str); 9] = [
    ("TLS_AES_256_GCM_SHA384", "TLS_AES_256_GCM_SHA384"),
    ("TLS_AES_128_GCM_SHA256", "TLS_AES_128_GCM_SHA256"),
    ("TLS_CHACHA20_POLY1305_SHA256", "TLS_CHACHA20_POLY1305_SHA256"),
    ("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "ECDHE-ECDSA-AES256-GCM-SHA384"),
    ("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256"),
    ("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305"),
    ("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "ECDHE-RSA-AES256-GCM-SHA384"),
    ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "ECDHE-RSA-AES128-GCM-SHA256"),
    ("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-RSA-CHACHA20-POLY1305"),
];
/// The versions of TLS that can be spoken.
const TLS_VERSIONS: [&str; 2] = ["tlsv1.3", "tlsv1.2"];
/// Days in the units of `check_certificate_expiration`.
const UNITS: [(&str, i64); 4] = [("days", 1), ("weeks", 7), ("months", 30), ("years", 365)];
const SECONDS_IN_DAY: i64 = 86_400;

/// A command that fails with a sentence.
const fn refused(
    name: &'static str,
    section: Section,
    tools: &'static [Tool],
    about: &'static str,
    run: fn(&Invocation) -> Result<Answer, Failure>,
) -> Command {
    Command::new(name, section, about, run).tools(tools).needs(Needs::Nothing)
}

pub(super) const COMMANDS: &[Command] = &[
    Command::new("is_booting", Section::Monitoring, "Checks if RabbitMQ is still booting on the target node", is_booting)
        .takes("[--timeout <timeout>]", &[], &[])
        .tools(DIAGNOSTICS)
        .needs(Needs::Nothing)
        .timeout(60)
        .banner(|call| Some(format!("Asking node {} for its boot status ...", call.node()))),
    Command::new(
        "is_running",
        Section::Monitoring,
        "Checks if RabbitMQ is fully booted and running on the target node",
        is_running,
    )
    .takes("[--timeout <timeout>]", &[], &[])
    .tools(DIAGNOSTICS)
    .needs(Needs::Nothing)
    .timeout(60)
    .banner(|call| Some(format!("Asking node {} for its status ...", call.node()))),
    Command::new(
        "tls_versions",
        Section::Monitoring,
        "Lists TLS versions supported (but not necessarily allowed) on the target node",
        |_| Ok(Answer::Report { text: TLS_VERSIONS.join("\n"), value: json!({ "versions": TLS_VERSIONS }) }),
    )
    .takes("[--timeout <timeout>]", &[], &[])
    .tools(DIAGNOSTICS)
    .needs(Needs::Nothing)
    .banner(|_| Some("Listing all TLS versions supported by the runtime...".to_owned())),
    Command::new(
        "cipher_suites",
        Section::Monitoring,
        "Lists cipher suites enabled by default, which are all there are",
        cipher_suites,
    )
    .takes("[--format <openssl | erlang | iana | map>] [--all] [--timeout <timeout>]", &[], &[
        Flag::with("format", Takes::Text("format"), "openssl, erlang, iana or map [default: openssl]"),
        Flag::switch("all", "accepted for RabbitMQ's sake: all are enabled by default"),
    ])
    .tools(DIAGNOSTICS)
    .needs(Needs::Nothing)
    .validate(|call| match call.value("format").unwrap_or("openssl") {
        "openssl" | "erlang" | "iana" | "map" => Ok(()),
        _ => Err(call.bad_argument("Format should be either openssl, erlang, iana or map")),
    })
    .banner(|call| {
        let name = match call.value("format").unwrap_or("openssl") {
            "openssl" => "OpenSSL",
            "iana" => "IANA",
            "erlang" => "Erlang",
            _ => "map",
        };
        Some(format!("Listing available cipher suites in {name} format"))
    }),
    Command::new(
        "certificates",
        Section::Monitoring,
        "Displays certificates (public keys) for every listener on target node that is configured to use TLS",
        certificates,
    )
    .tools(DIAGNOSTICS)
    .banner(|call| Some(format!("Certificates of node {} ...", call.node()))),
    Command::new(
        "check_certificate_expiration",
        Section::Monitoring,
        "Checks the expiration date on the certificates for every listener configured to use TLS",
        check_certificate_expiration,
    )
    .takes("[--within <period>] [--unit <unit>]", &[], &[
        Flag::with("within", Takes::Number("period"), "period of time to check [default: 4]"),
        Flag::with("unit", Takes::Text("unit"), "unit of the period: days, weeks, months or years [default: weeks]"),
    ])
    .tools(DIAGNOSTICS)
    .validate(|call| unit(call).map(drop))
    .banner(|call| Some(format!("Checking certificate expiration on node {} ...", call.node()))),
    Command::new(
        "command_line_arguments",
        Section::Configuration,
        "Displays target node's command-line arguments",
        command_line_arguments,
    )
    .tools(DIAGNOSTICS)
    .needs(Needs::Nothing)
    .banner(|call| Some(format!("Command line arguments of node {} ...", call.node()))),
    Command::new(
        "os_env",
        Section::Monitoring,
        "Lists the environment variables set on target node that mean something to it",
        os_env,
    )
    .takes("[--timeout <timeout>]", &[], &[])
    .tools(DIAGNOSTICS)
    .needs(Needs::Nothing)
    .timeout(60)
    .notes("Those that hold a secret are named, and their values are not shown.")
    .banner(|call| {
        Some(format!("Listing RabbitMQ-specific environment variables defined on node {}...", call.node()))
    }),
    Command::new(
        "resolve_hostname",
        Section::Configuration,
        "Resolves a hostname to a set of addresses. Takes target node's hostname resolution settings into account",
        resolve_hostname,
    )
    .takes(
        "<hostname> [--address-family <ipv4 | ipv6>]",
        &[Positional::one("hostname", "the name to resolve")],
        &[
            Flag::with("address-family", Takes::Text("family"), "ipv4 or ipv6 [default: ipv4]"),
            Flag::switch("offline", "resolve it here instead of on the node"),
        ],
    )
    .tools(DIAGNOSTICS)
    .needs(Needs::Nothing)
    .validate(|call| match call.value("address-family").map(str::to_lowercase).as_deref() {
        None | Some("ipv4" | "ipv6") => Ok(()),
        Some(family) => Err(call.invalid(Exit::Usage, &format!("\"unsupported IP address family {family}. Valid values are: ipv4, ipv6\""))),
    })
    .banner(|call| {
        let (node, host) = (call.node(), call.required("hostname"));
        let family = call.value("address-family").unwrap_or("IPv4");
        Some(format!("Asking node {node} to resolve hostname {host} to {family} addresses..."))
    }),
    Command::new(
        "resolver_info",
        Section::Configuration,
        "Displays effective hostname resolver settings on target node",
        resolver_info,
    )
    .takes("[--timeout <timeout>]", &[], &[Flag::switch("offline", "accepted for RabbitMQ's sake")])
    .tools(DIAGNOSTICS)
    .needs(Needs::Nothing)
    .banner(|call| Some(format!("Asking node {} for its effective hostname resolver settings...", call.node()))),
    Command::new("discover_peers", Section::Cluster, "Says that there are no peers: there are no clusters", |_| {
        Ok(Answer::Text("No peers discovered".to_owned()))
    })
    .takes("[--timeout <timeout>]", &[], &[])
    .tools(DIAGNOSTICS)
    .banner(|_| Some("Discovering peers nodes ...".to_owned())),
    Command::new(
        "maybe_stuck",
        Section::Monitoring,
        "Looks for threads of the target node that wait for the disk all the time",
        maybe_stuck,
    )
    .takes("[--timeout <timeout>]", &[], &[])
    .tools(DIAGNOSTICS)
    .needs(Needs::Nothing)
    .banner(|call| Some(format!("Asking node {} to look for 5 seconds for threads that are stuck...", call.node()))),
    Command::new(
        "runtime_thread_stats",
        Section::Monitoring,
        "Shows how busy the threads of the target node are",
        runtime_thread_stats,
    )
    .takes("[--sample-interval <interval>]", &[], &[Flag::with(
        "sample-interval",
        Takes::Number("seconds"),
        "how long to look [default: 5]",
    )])
    .tools(DIAGNOSTICS)
    .needs(Needs::Nothing)
    .banner(|call| {
        let seconds = call.number("sample-interval").unwrap_or(5);
        Some(format!("Will collect runtime thread stats on {} for {seconds} seconds...", call.node()))
    }),
    Command::new(
        "metadata_store_status",
        Section::Monitoring,
        "Displays the status of the store of declarations",
        metadata_store_status,
    )
    .tools(BOTH)
    .timeout(60)
    .banner(|call| Some(format!("Status of metadata store on node {} ...", call.node()))),
    Command::new(
        "list_node_auth_attempt_stats",
        Section::Monitoring,
        "Lists authentication attempts on the target node",
        auth_attempts,
    )
    .takes("[--by-source]", &[], &[Flag::switch("by-source", "list authentication attempts by remote address and username")])
    .tools(BOTH)
    .banner(|call| Some(format!("Listing authentication\n attempts for node \"{}\" ...", call.node()))),
    Command::new(
        "reset_node_auth_attempt_metrics",
        Section::Configuration,
        "Resets auth attempt metrics on the target node",
        |call| super::nodes::ask(call, "reset_auth_attempts"),
    )
    .tools(DIAGNOSTICS)
    .banner(|call| Some(format!("Reset auth attempt metrics on node {} ...", call.node()))),
    Command::new(
        "enable_auth_attempt_source_tracking",
        Section::Configuration,
        "Enables the tracking of peer IP address and username of authentication attempts",
        |call| track(call, true),
    )
    .tools(DIAGNOSTICS)
    .banner(|_| Some("Enabling authentication attempt source tracking ...".to_owned())),
    Command::new(
        "disable_auth_attempt_source_tracking",
        Section::Configuration,
        "Disables the tracking of peer IP address and username of authentication attempts",
        |call| track(call, false),
    )
    .tools(DIAGNOSTICS)
    .banner(|_| Some("Disabling authentication attempt source tracking ...".to_owned())),
    Command::new(
        "erlang_cookie_sources",
        Section::Configuration,
        "Says what there is instead of an Erlang cookie",
        cookie_sources,
    )
    .tools(BOTH)
    .needs(Needs::Nothing)
    .banner(|_| Some("There is no Erlang cookie. Tools on this machine use the control socket of the node...".to_owned())),
    refused("erlang_cookie_hash", Section::Configuration, DIAGNOSTICS, "Fails: there is no Erlang cookie", |_| {
        refuse("there is no Erlang cookie: who may open the control socket in the data folder may use it")
    }),
    refused("eval", Section::Operations, &[Tool::Ctl], "Fails: there is no Erlang", |_| refuse(NO_ERLANG))
        .takes("<expression>", &[Positional::any("expression", "not evaluated")], &[]),
    refused("eval_file", Section::Operations, &[Tool::Ctl], "Fails: there is no Erlang", |_| refuse(NO_ERLANG))
        .takes("<file path>", &[Positional::one("file", "not evaluated")], &[]),
    refused("exec", Section::Operations, &[Tool::Ctl], "Fails: there is no Elixir", |_| refuse(NO_ERLANG))
        .takes("<expr> [--offline]", &[Positional::one("expr", "not evaluated")], &[Flag::switch("offline", "not used")]),
    refused("hipe_compile", Section::Deprecated, &[Tool::Ctl], "Does nothing: there is no Erlang", |_| {
        Ok(Answer::Text("This command is a no-op: there is no Erlang in Leveret".to_owned()))
    })
    .takes("<directory>", &[Positional::one("directory", "not written to")], &[]),
    refused("remote_shell", Section::Configuration, DIAGNOSTICS, "Fails: there is no Erlang", |_| refuse(NO_ERLANG)),
    refused("observer", Section::Monitoring, DIAGNOSTICS, "Fails: there is no Erlang", |_| {
        refuse("there is no Erlang in Leveret, so there are no Erlang processes to observe; see runtime_thread_stats")
    })
    .takes("[--interval <seconds>]", &[], &[Flag::with("interval", Takes::Number("seconds"), "not used")]),
    refused("schema_info", Section::Monitoring, BOTH, "Fails: there are no Mnesia tables", |_| {
        refuse("there is no Mnesia in Leveret, so there are no tables of its schema; see metadata_store_status")
    })
    .takes("[<column> ...] [--timeout <timeout>]", &[Positional::any("column", "not used")], &[]),
    refused("message_size_stats", Section::Monitoring, DIAGNOSTICS, "Fails: message sizes are not counted", |_| {
        refuse("the sizes of messages are not counted in this version")
    })
    .takes("[--timeout <timeout>]", &[], &[]),
    refused(
        "list_network_interfaces",
        Section::Configuration,
        DIAGNOSTICS,
        "Fails: use the tools of the system",
        |_| refuse("network interfaces are not listed; `ip address` does it"),
    )
    .takes("[--timeout <timeout>]", &[], &[Flag::switch("offline", "not used")]),
    refused(
        "set_vm_memory_high_watermark",
        Section::Configuration,
        &[Tool::Ctl],
        "Fails: there is no memory alarm",
        |_| refuse("there is no memory alarm in this version: messages beyond memory_budget are kept on disk only, and no publisher is blocked; see `leveret config`"),
    )
    .takes("<fraction> | absolute <value>", &[Positional::many("value", "not used")], &[])
    .validate(check_watermark),
    refused("set_disk_free_limit", Section::Configuration, &[Tool::Ctl], "Fails: there is no disk alarm", |_| {
        refuse("there is no disk alarm in this version: a node whose disk is full takes no persistent messages until there is room")
    })
    .takes("<disk_limit> | mem_relative <fraction>", &[Positional::many("value", "not used")], &[])
    .validate(check_disk_limit),
];

/// Fails with a sentence.
fn refuse(text: &str) -> Result<Answer, Failure> {
    Err(Failure::new(Exit::Unavailable, text))
}

/// A size, such as `2GB`.
fn is_size(text: &str) -> bool {
    let digits = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let units = ["", "k", "kb", "kib", "ki", "m", "mb", "mib", "mi", "g", "gb", "gib", "gi", "t", "tb", "tib", "ti"];
    !number.is_empty() && units.contains(&unit.to_ascii_lowercase().as_str())
}

/// That a watermark makes sense, as far as it is said what is wrong with it.
fn check_watermark(call: &Invocation) -> Result<(), Failure> {
    match call.arguments("value").as_slice() {
        ["absolute"] => Err(call.invalid(Exit::Usage, "not enough arguments.")),
        ["absolute", size] if is_size(size) => Ok(()),
        ["absolute", _] => Err(call.bad_argument("Invalid units.")),
        [fraction] => match fraction.parse::<f64>() {
            Ok(fraction) if (0.0..=1.0).contains(&fraction) => Ok(()),
            Ok(_) => Err(call.bad_argument("The threshold should be a fraction between 0.0 and 1.0")),
            Err(_) => Err(call.invalid(Exit::Data, "Bad argument.")),
        },
        _ => Err(call.invalid(Exit::Usage, "too many arguments.")),
    }
}

fn check_disk_limit(call: &Invocation) -> Result<(), Failure> {
    match call.arguments("value").as_slice() {
        ["mem_relative"] => Err(call.invalid(Exit::Usage, "not enough arguments.")),
        ["mem_relative", fraction] if fraction.parse::<f64>().is_ok_and(|fraction| fraction >= 0.0) => Ok(()),
        [size] if is_size(size) => Ok(()),
        [_] | ["mem_relative", _] => Err(call.invalid(Exit::Data, "Bad argument.")),
        _ => Err(call.invalid(Exit::Usage, "too many arguments.")),
    }
}

fn is_booting(call: &Invocation) -> Result<Answer, Failure> {
    let boots = call.phase()? == "starting";
    let node = call.node();
    let message = if boots {
        format!("RabbitMQ on node {node} is booting")
    } else {
        format!(
            "RabbitMQ on node {node} is fully booted (check with is_running), stopped or has not started booting yet"
        )
    };
    Ok(Answer::Report { value: json!({ "message": message, "result": boots }), text: message })
}

fn is_running(call: &Invocation) -> Result<Answer, Failure> {
    let runs = call.phase()? == "running";
    let node = call.node();
    let message = if runs {
        format!("RabbitMQ on node {node} is fully booted and running")
    } else {
        format!("RabbitMQ on node {node} is not running or has not fully booted yet (check with is_booting)")
    };
    Ok(Answer::Report { value: json!({ "message": message, "result": runs }), text: message })
}

#[allow(clippy::unnecessary_wraps, reason = "commands have one signature")]
fn cipher_suites(call: &Invocation) -> Result<Answer, Failure> {
    let format = call.value("format").unwrap_or("openssl");
    let name = |(iana, openssl): &(&str, &str)| match format {
        "openssl" => (*openssl).to_owned(),
        "iana" => (*iana).to_owned(),
        _ => format!("{{name => \"{iana}\",openssl => \"{openssl}\"}}"),
    };
    let names: Vec<String> = CIPHER_SUITES.iter().map(name).collect();
    let value = json!({ "cipher_suites": names, "format": format });
    Ok(Answer::Report { text: names.join("\n"), value })
}

/// A certificate of the node.
struct Certificate {
    file: String,
    pem: String,
    subject: String,
    issuer: String,
    /// When it ends, in seconds since 1970 and in words.
    ends: (i64, String),
}

/// The certificates that the node's listeners show, and those that they trust.
fn all_certificates(call: &Invocation) -> Result<Vec<Certificate>, Failure> {
    let rows = call.call("certificates", &json!({}))?.rows;
    let field =
        |row: &Map<String, Value>, key: &str| row.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut all = Vec::new();
    for row in rows {
        all.extend(read_certificates(&field(&row, "file"), &field(&row, "pem"))?);
    }
    Ok(all)
}

fn read_certificates(file: &str, text: &str) -> Result<Vec<Certificate>, Failure> {
    let unreadable = |error: &dyn std::fmt::Display| Failure::new(Exit::Software, format!("{file}: {error}"));
    let mut all = Vec::new();
    for pem in Pem::iter_from_buffer(text.as_bytes()) {
        let pem = pem.map_err(|error| unreadable(&error))?;
        if pem.label != "CERTIFICATE" {
            continue;
        }
        let certificate = pem.parse_x509().map_err(|error| unreadable(&error))?;
        let end = certificate.validity().not_after;
        all.push(Certificate {
            file: file.to_owned(),
            pem: text.to_owned(),
            subject: certificate.subject().to_string(),
            issuer: certificate.issuer().to_string(),
            ends: (end.timestamp(), iso(end)),
        });
    }
    Ok(all)
}

/// A time such as `2027-02-28 18:13:13Z`.
fn iso(time: ASN1Time) -> String {
    let time = time.to_datetime();
    let (year, month, day) = (time.year(), u8::from(time.month()), time.day());
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02}Z", time.hour(), time.minute(), time.second())
}

impl Certificate {
    fn line(&self) -> String {
        let Self { file, subject, issuer, ends: (_, end), .. } = self;
        format!("File: {file}, subject: {subject}, issuer: {issuer}, expires on: {end}")
    }

    fn json(&self) -> Value {
        let Self { file, subject, issuer, ends: (_, end), .. } = self;
        json!({ "file": file, "subject": subject, "issuer": issuer, "expires_on": end })
    }
}

fn certificates(call: &Invocation) -> Result<Answer, Failure> {
    let all = all_certificates(call)?;
    let text = if all.is_empty() {
        "(none)".to_owned()
    } else {
        all.iter().map(Certificate::line).collect::<Vec<_>>().join("\n")
    };
    let with_pem = |certificate: &Certificate| {
        let mut value = certificate.json();
        if let Some(fields) = value.as_object_mut() {
            fields.insert("pem".to_owned(), json!(certificate.pem));
        }
        value
    };
    let value = json!({ "certificates": all.iter().map(with_pem).collect::<Vec<_>>(), "result": "ok" });
    Ok(Answer::Report { text, value })
}

/// The unit of the period, and the days it has.
fn unit(call: &Invocation) -> Result<(&'static str, i64), Failure> {
    let name = call.value("unit").unwrap_or("weeks").to_lowercase();
    let unknown = || {
        let reason = format!("\"unit '{name}' is not supported. Please use one of: days, weeks, months, years\"");
        call.invalid(Exit::Usage, &reason)
    };
    UNITS.iter().copied().find(|(known, _)| *known == name).ok_or_else(unknown)
}

fn check_certificate_expiration(call: &Invocation) -> Result<Answer, Failure> {
    let (name, days) = unit(call)?;
    let within = call.number("within").unwrap_or(4);
    let all = all_certificates(call)?;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_secs();
    let now = i64::try_from(now).unwrap_or(i64::MAX);
    let expired = expiring(&all, now, days.saturating_mul(i64::try_from(within).unwrap_or(i64::MAX)));
    if expired.is_empty() {
        let text = format!("No certificates are expiring within {within} {name}.");
        return Ok(Answer::Report { text, value: json!({ "result": "ok" }) });
    }
    let text = if is_json(call) {
        let list: Vec<Value> = expired.iter().map(|certificate| certificate.json()).collect();
        json!({ "expired": list, "result": "error" }).to_string()
    } else {
        expired.iter().map(|certificate| certificate.line()).collect::<Vec<_>>().join("\n")
    };
    Err(Failure::plain(Exit::Unavailable, text))
}

/// Those that end within so many days.
fn expiring(all: &[Certificate], now: i64, days: i64) -> Vec<&Certificate> {
    let end = now.saturating_add(days.saturating_mul(SECONDS_IN_DAY));
    all.iter().filter(|certificate| certificate.ends.0 < end).collect()
}

fn command_line_arguments(call: &Invocation) -> Result<Answer, Failure> {
    let facts = call.call("facts", &json!({}))?.result;
    let arguments: Vec<&str> = facts.get("command_line").into_iter().flat_map(texts).collect();
    Ok(Answer::Report { text: arguments.join("\n"), value: json!(arguments) })
}

fn os_env(call: &Invocation) -> Result<Answer, Failure> {
    let rows = call.call("os_env", &json!({}))?.rows;
    let field =
        |row: &Map<String, Value>, key: &str| row.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut variables: Vec<(String, String)> =
        rows.iter().map(|row| (field(row, "name"), field(row, "value"))).collect();
    variables.sort();
    let lines: Vec<String> = variables.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let value = variables.into_iter().map(|(name, value)| (name, json!(value))).collect();
    Ok(Answer::Report { text: lines.join("\n"), value: Value::Object(value) })
}

fn resolve_hostname(call: &Invocation) -> Result<Answer, Failure> {
    let family = call.value("address-family").unwrap_or("ipv4").to_lowercase();
    let arguments = json!({ "hostname": call.required("hostname"), "family": family });
    let reply = call.call("resolve_hostname", &arguments)?.result;
    let addresses: Vec<&str> = reply.get("addresses").into_iter().flat_map(texts).collect();
    let value = json!({ "address_family": family, "addresses": addresses, "result": "ok" });
    Ok(Answer::Report { text: addresses.join("\n"), value })
}

fn resolver_info(call: &Invocation) -> Result<Answer, Failure> {
    let value = call.call("resolver_info", &json!({}))?.result;
    let words = |key: &str| {
        let list: Vec<&str> = value.get(key).into_iter().flat_map(texts).collect();
        list.join(", ")
    };
    let mut out = Sections::default();
    out.heading("Hostname Resolver Settings");
    out.line(format!("Lookup order: {}", text(&value, "lookup")));
    out.line(format!("Hosts file: {}", text(&value, "hosts_file")));
    out.line(format!("Resolver conf file: {}", text(&value, "resolv_conf")));
    out.line(format!("Sources of names: {}", words("order")));
    out.heading("Inetrc File Host Entries");
    out.line(format!("Name servers: {}", words("nameservers")));
    out.line(format!("Search domains: {}", words("search")));
    Ok(Answer::Report { text: out.text(), value })
}

/// Looks at the threads for so many seconds.
fn threads(call: &Invocation, seconds: u64) -> Result<Vec<Map<String, Value>>, Failure> {
    Ok(call.call("thread_stats", &json!({ "seconds": seconds }))?.rows)
}

fn maybe_stuck(call: &Invocation) -> Result<Answer, Failure> {
    let rows = threads(call, 5)?;
    let all = rows.len();
    let stuck: Vec<&str> = rows
        .iter()
        .filter(|row| row.get("stuck").and_then(Value::as_bool).unwrap_or_default())
        .filter_map(|row| row.get("thread")?.as_str())
        .collect();
    let text = if stuck.is_empty() {
        format!("Looked at {all} threads: none waited for the disk all the time.")
    } else {
        format!("Looked at {all} threads. These waited for the disk all the time:\n{}", stuck.join("\n"))
    };
    Ok(Answer::Report { text, value: json!({ "threads": all, "stuck": stuck }) })
}

fn runtime_thread_stats(call: &Invocation) -> Result<Answer, Failure> {
    let rows = threads(call, call.number("sample-interval").unwrap_or(5))?;
    Ok(Answer::Rows(Rows::new(["thread", "busy_percent"], rows)))
}

fn metadata_store_status(call: &Invocation) -> Result<Answer, Failure> {
    let found = call.call("check_metadata_store", &json!({}))?.result;
    let state = found.get("failed").and_then(Value::as_str).unwrap_or("running");
    let row = Map::from_iter([
        ("Node Name".to_owned(), json!(text(&found, "node"))),
        ("State".to_owned(), json!(state)),
        ("Data Folder".to_owned(), json!(text(&found, "folder"))),
    ]);
    Ok(Answer::Rows(Rows::new(["Node Name", "State", "Data Folder"], vec![row])))
}

fn auth_attempts(call: &Invocation) -> Result<Answer, Failure> {
    let by_source = call.is_set("by-source");
    let rows = call.call("list_auth_attempts", &json!({ "by_source": by_source }))?.rows;
    let node = call.node();
    if is_json(call) {
        return Ok(Answer::Report {
            text: String::new(),
            value: json!({ "attempts": rows, "node": node, "result": "ok" }),
        });
    }
    if rows.is_empty() {
        return Ok(Answer::Text(format!("Node {node} reported no authentication attempt stats")));
    }
    let mut columns = vec!["protocol", "auth_attempts", "auth_attempts_failed", "auth_attempts_succeeded"];
    if by_source {
        columns.splice(0..0, ["remote_address", "username"]);
    }
    Ok(Answer::Rows(Rows::new(columns, rows)))
}

fn track(call: &Invocation, on: bool) -> Result<Answer, Failure> {
    call.call("track_auth_attempts", &json!({ "on": on }))?;
    Ok(Answer::Done)
}

/// What stands in the place of the cookie: a file, and who may use it.
fn cookie_sources(call: &Invocation) -> Result<Answer, Failure> {
    let (node, data_dir) = match &call.general.target {
        crate::invocation::Target::Local { node, data_dir } => (node.as_deref(), data_dir.as_deref()),
        crate::invocation::Target::Remote { url, .. } => {
            return Ok(Answer::Text(format!("Node {url} is asked over the network, with a user name and a password")));
        }
    };
    let found = locate::find_socket(node, data_dir);
    let socket = found.map_err(|reason| Failure::new(Exit::Unavailable, reason))?;
    let real = fs::canonicalize(&socket).unwrap_or(socket);
    let mut out = Sections::default();
    out.heading("Control Socket");
    out.line(format!("Path: {}", real.display()));
    out.line(format!("Access: {}", if locate::connect(&real).is_ok() { "read_write" } else { "none" }));
    Ok(Answer::Text(out.text()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_that_end_soon_are_found() {
        let certificate = |end: i64| Certificate {
            file: "f".to_owned(),
            pem: String::new(),
            subject: String::new(),
            issuer: String::new(),
            ends: (end, String::new()),
        };
        let all = [certificate(0), certificate(10 * SECONDS_IN_DAY), certificate(100 * SECONDS_IN_DAY)];
        for (now, days, found) in [(0, 1, 1), (0, 11, 2), (0, 10, 1), (99 * SECONDS_IN_DAY, 0, 2), (0, i64::MAX, 3)] {
            assert_eq!(expiring(&all, now, days).len(), found, "{now} {days}");
        }
    }

    #[test]
    fn times_are_written_as_rabbitmq_does() {
        assert_eq!(iso(ASN1Time::from_timestamp(1_803_838_393).unwrap()), "2027-02-28 18:13:13Z");
    }

    #[test]
    fn sizes_have_units() {
        for (size, good) in [("10MB", true), ("1000", true), ("2GiB", true), ("2QB", false), ("MB", false), ("", false)]
        {
            assert_eq!(is_size(size), good, "{size}");
        }
    }
}
