//! Every setting with values that are right and wrong.

use std::fmt::Write;

use leveret_auth::{BackendSettings, LinkSettings};
use leveret_broker::Name;
use leveret_session::amqp091::Mechanism;

use super::*;
use crate::config::load;
use crate::config::log::{FileName, LogCategory, LogLevel};

/// A key, a value that is right, one that is wrong, and what else the file has to have.
type Example = (&'static str, &'static str, Wrong, &'static str);
/// A value that is wrong, and what is said about it.
type Wrong = Option<(&'static str, &'static str)>;

const fn example(key: &'static str, right: &'static str) -> Example {
    (key, right, None, "")
}

const fn refuse(key: &'static str, right: &'static str, wrong: &'static str, reason: &'static str) -> Example {
    (key, right, Some((wrong, reason)), "")
}

const LISTENERS: &[Example] = &[
    refuse("listeners.tcp", "none", "all", "expected nothing but none"),
    refuse("listeners.tcp.default", "5673", "5672 5673", "expected a port, or an IP address and a port"),
];

const TLS_LISTENERS: &[Example] = &[
    (
        "listeners.ssl",
        "none",
        Some(("all", "expected nothing but none")),
        "listeners.ssl.1 = 5671\nssl_options.certfile = Cargo.toml",
    ),
    ("listeners.ssl.default", "::1:5671", Some(("amqps", "expected a port, or an IP address and a port")), CERTIFICATE),
    refuse("proxy_protocol", "true", "on", "expected true or false"),
];

const TLS: &[Example] = &[
    refuse("ssl_options.certfile", FILE, NO_FILE, "cannot read"),
    ("ssl_options.keyfile", "src/lib.rs", CANNOT_READ, CERTIFICATE),
    ("ssl_options.password", "a", ENCRYPTED, CERTIFICATE),
    ("ssl_options.cacertfile", FILE, CANNOT_READ, CERTIFICATE),
    ("ssl_options.verify", "verify_peer", Some(("peer", "expected verify_peer or verify_none")), CERTIFICATE),
    ("ssl_options.fail_if_no_peer_cert", "true", Some(("1", "expected true or false")), CERTIFICATE),
    ("ssl_options.depth", "2", Some(("256", "expected a whole number from 0 to 255")), CERTIFICATE),
    ("ssl_options.versions.1", "tlsv1.3", Some(("tlsv1.1", "expected tlsv1.2 or tlsv1.3")), CERTIFICATE),
    ("ssl_options.ciphers.1", "TLS_AES_256_GCM_SHA384", None, CERTIFICATE),
    ("ssl_options.honor_cipher_order", "true", Some(("yes", "expected true or false")), CERTIFICATE),
    refuse("ssl_options.client_renegotiation", "false", "true", "expected nothing but false"),
    refuse("ssl_options.secure_renegotiate", "true", "false", "expected nothing but true"),
    ("ssl_cert_login_from", "common_name", Some(("cn", "expected distinguished_name, common_name, ")), CERTIFICATE),
    ("ssl_cert_login_san_type", "email", Some(("mail", "expected dns, ip, email, uri or other_name")), ALTERNATIVE),
    ("ssl_cert_login_san_index", "1", Some(("-1", "expected a whole number from 0")), ALTERNATIVE),
];
const CERTIFICATE: &str = "ssl_options.certfile = Cargo.toml";
const ALTERNATIVE: &str = "ssl_options.certfile = Cargo.toml\nssl_cert_login_from = subject_alternative_name";

const BACKENDS: &[Example] = &[
    refuse("auth_backends.1", "ldap", "kerberos", "expected internal, http, ldap, oauth2, cache, dummy, "),
    refuse("auth_backends.1.authn", "http", "none", "expected internal"),
    refuse("auth_backends.1.authz", "http", "none", "expected internal"),
    ("auth_cache.cached_backend", "ldap", Some(("cache", "expected internal, http, ldap, oauth2, dummy, ")), CACHE),
    ("auth_cache.cached_backend.authn", "ldap", Some(("cache", "expected internal")), CACHE),
    ("auth_cache.cached_backend.authz", "ldap", Some(("cache", "expected internal")), CACHE),
    ("auth_cache.cache_ttl", "1", Some(("0", "expected a whole number from 1 to 86400000")), CACHE),
    ("auth_cache.cache_refusals", "true", Some(("on", "expected true or false")), CACHE),
];
const CACHE: &str = "auth_backends.1 = cache";

const USERS: &[Example] = &[
    refuse("default_user", "alice", "''", "expected a name, which is not empty"),
    example("default_pass", "'sword # fish'"),
    refuse("default_user_tags.monitoring", "true", "yes", "expected true or false"),
    refuse("default_vhost", "hares", "''", "expected a name, which is not empty"),
    example("default_permissions.configure", "''"),
    refuse("default_permissions.write", "^hares", "(", "invalid regular expression '('"),
    example("default_permissions.read", "^hares"),
    refuse("loopback_users", "none", "guest", "expected nothing but none"),
    refuse("loopback_users.guest", "false", "none", "expected true or false"),
    refuse("auth_mechanisms.1", "EXTERNAL", "SCRAM", "expected PLAIN, AMQPLAIN, ANONYMOUS or EXTERNAL"),
    example("anonymous_login_user", "none"),
    ("anonymous_login_pass", "swordfish", ENCRYPTED, ""),
    refuse(
        "password_hashing_module",
        "rabbit_password_hashing_sha512",
        "sha512",
        "expected rabbit_password_hashing_sha256, rabbit_password_hashing_sha512 or ",
    ),
];

const LIMITS: &[Example] = &[
    refuse("max_connections", "1000", "many", "expected a whole number, or infinity"),
    refuse("connection_max", "0", "-1", "expected a whole number, or infinity"),
    refuse("channel_max_per_node", "5000", "1.5", "expected a whole number, or infinity"),
    refuse("consumer_max_per_channel", "16", "''", "expected a whole number, or infinity"),
    refuse("vhost_max", "10", "ten", "expected a whole number, or infinity"),
    refuse("cluster_queue_limit", "100000", "100k", "expected a whole number, or infinity"),
    refuse("cluster_exchange_limit", "100", "none", "expected a whole number, or infinity"),
];

const NODE: &[Example] = &[
    refuse("heartbeat", "10", "65536", "expected a whole number from 0 to 65535"),
    refuse("frame_max", "64KiB", "8191", "expected a number of bytes from 8192 to 16777216"),
    refuse("channel_max", "16", "65536", "expected a whole number from 0 to 65535"),
    refuse("max_channels_per_connection", "16", "65536", "expected a whole number from 0 to 65535"),
    refuse("max_message_size", "64MiB", "513MiB", "expected a number of bytes from 1 to 536870912"),
    refuse("handshake_timeout", "5000", "0", "expected a whole number from 1 to 3600000"),
    refuse("product.name", "Hare", "''", "expected a name"),
    refuse("product.version", "1.2.3", "''", "expected a name"),
    refuse("cluster_name", "warren", "''", "expected a name"),
    refuse("tcp_listen_options.backlog", "128", "0", "expected a whole number from 1 to 2147483647"),
    refuse("tcp_listen_options.nodelay", "false", "no", "expected true or false"),
    refuse("tcp_listen_options.keepalive", "true", "yes", "expected true or false"),
    refuse("tcp_listen_options.sndbuf", "196608", "0", "expected a number of bytes from 1 to 2147483647"),
    refuse("tcp_listen_options.recbuf", "192KiB", "big", "expected a number of bytes from 1 to 2147483647"),
    refuse("tcp_listen_options.linger.on", "true", "1", "expected true or false"),
    refuse("tcp_listen_options.linger.timeout", "1", "-1", "expected a whole number from 0 to 65535"),
    refuse("leveret.node_name", "hare@warren", "hare", "expected a name, an @ and a host"),
    refuse("leveret.data_dir", "/var/lib/leveret", "''", "expected a name"),
    refuse("leveret.sync", "interval:100", "often", "expected commit, os, or interval: and a number"),
    refuse("leveret.memory_budget", "1GiB", "40 %", "expected a number of bytes, such as"),
    refuse("leveret.threads", "1024", "1025", "expected a whole number from 1 to 1024"),
    ("leveret.tls.more_certificates", "src", CANNOT_READ, CERTIFICATE),
    example("leveret.enabled_plugins_file", "/etc/rabbitmq/enabled_plugins"),
    example("leveret.enabled_plugins", "rabbitmq_management,rabbitmq_shovel"),
    example("leveret.pid_file", "/run/leveret.pid"),
    ("config_entry_decoder.passphrase", "swordfish", None, UNCHANGED),
    ("config_entry_decoder.cipher", "aes_256_cbc", Some(("rc4", "expected aes_128_cbc, ")), UNCHANGED),
    ("config_entry_decoder.hash", "sha512", Some(("md5", "expected sha, sha256, ")), UNCHANGED),
    ("config_entry_decoder.iterations", "1000", Some(("0", "expected a whole number from 1")), UNCHANGED),
];

const DEFINITIONS: &[Example] = &[
    refuse("load_definitions", FILE, NO_FILE, "cannot read"),
    refuse("management.load_definitions", "src", NO_FILE, "cannot read"),
    refuse("definitions.local.path", "src", NO_FILE, "cannot read"),
    (
        "definitions.import_backend",
        "local_filesystem",
        Some(("https", "definitions cannot be fetched over HTTPS; ")),
        UNCHANGED,
    ),
    refuse("definitions.skip_if_unchanged", "true", "yes", "expected true or false"),
    refuse("definitions.hashing.algorithm", "sha512", "md5", "expected sha, sha224, sha256, sha384 or sha512"),
];
/// Has an example change nothing.
const UNCHANGED: &str = "# Unchanged";

const EVENTS: &[Example] = &[
    refuse("event_exchange.vhost", "events", "''", "expected a name, which is not empty"),
    ("event_exchange.protocol", "amqp_0_9_1", Some(("mqtt", "expected amqp_0_9_1 or amqp_1_0")), UNCHANGED),
];

const LOG: &[Example] = &[
    example("log.dir", "/var/log/rabbitmq"),
    refuse("log.file", "false", "''", "expected a name, which is not empty"),
    refuse("log.console", "true", "on", "expected true or false"),
    refuse("log.console.stdio", "stdout", "2", "expected stdout or stderr"),
    refuse("log.console.use_colors", "off", "never", "expected on, off, true or false"),
    example("log.console.color_esc_seqs.error", "x"),
    refuse("log.exchange", "true", "1", "expected true or false"),
    refuse("log.file.level", "debug", "all", "expected debug, info, notice, warning, error, critical, alert, "),
    refuse("log.console.level", "none", "off", "expected debug, "),
    refuse("log.exchange.level", "error", "5", "expected debug, "),
    refuse("log.connection.level", "warning", "warn", "expected debug, "),
    refuse("log.default.level", "error", "!=info", "expected debug, "),
    example("log.channel.file", "channels.log"),
    refuse("log.file.rotation.date", "$D0", "daily", "expected nothing, or when: $H30"),
    refuse("log.file.rotation.size", "10MiB", "ten", "expected a number of bytes, such as 16777216"),
    refuse("log.queue.rotation.count", "7", "many", "expected a whole number from 0 to 10000"),
    refuse("log.file.rotation.compress", "true", "gzip", "expected true or false"),
    refuse("log.file.formatter", "json", "xml", "expected plaintext or json"),
    refuse("log.console.formatter.time_format", "epoch_secs", "''", "expected a name"),
    refuse("log.exchange.formatter.level_format", "uc4", "upper", "expected lc, uc, lc3, uc3, lc4 or uc4"),
    refuse("log.file.formatter.single_line", "on", "yes", "expected on, off, true or false"),
    example("log.file.formatter.plaintext.format", "$msg"),
    example("log.file.formatter.json.field_map", "time:ts msg"),
    example("log.file.formatter.json.verbosity_map", "debug=2 *=0"),
];

const MANAGEMENT: &[Example] = &[
    refuse("management.tcp", "none", "all", "expected nothing but none"),
    refuse("management.tcp.port", "15673", "65536", "expected a whole number from 0 to 65535"),
    refuse("management.tcp.ip", "::1", "broker.example", "expected an IP address"),
    refuse("management.listener.port", "15673", "http", "expected a whole number from 0 to 65535"),
    refuse("management.listener.ip", "::1", "all", "expected an IP address"),
    ("management.listener.ssl", "true", Some(("on", "expected true or false")), MANAGEMENT_LISTENER),
    ("management.ssl.port", "1", Some(("-1", "expected a whole number")), MANAGEMENT_CERTIFICATE),
    ("management.ssl.ip", "::1", Some(("x", "expected an IP address")), MANAGEMENT_CERTIFICATE),
    refuse("management.ssl.certfile", FILE, NO_FILE, "cannot read"),
    refuse("management.listener.ssl_opts.certfile", FILE, NO_FILE, "cannot read"),
    ("management.ssl.keyfile", "src/lib.rs", CANNOT_READ, MANAGEMENT_CERTIFICATE),
    ("management.ssl.password", "a", ENCRYPTED, MANAGEMENT_CERTIFICATE),
    ("management.ssl.cacertfile", FILE, CANNOT_READ, MANAGEMENT_CERTIFICATE),
    ("management.ssl.verify", "verify_peer", Some(("peer", "expected verify_peer")), MANAGEMENT_CERTIFICATE),
    ("management.ssl.fail_if_no_peer_cert", "true", Some(("1", "expected true or false")), MANAGEMENT_CERTIFICATE),
    ("management.ssl.depth", "2", Some(("256", "expected a whole number from 0 to 255")), MANAGEMENT_CERTIFICATE),
    ("management.ssl.honor_cipher_order", "true", Some(("1", "expected true or false")), MANAGEMENT_CERTIFICATE),
    refuse("management.ssl.client_renegotiation", "false", "true", "expected nothing but false"),
    refuse("management.ssl.secure_renegotiate", "true", "false", "expected nothing but true"),
    ("management.ssl.versions.1", "tlsv1.3", Some(("1.3", "expected tlsv1.2 or tlsv1.3")), MANAGEMENT_CERTIFICATE),
    ("management.ssl.ciphers.1", "TLS_AES_256_GCM_SHA384", None, MANAGEMENT_CERTIFICATE),
    refuse("management.tcp.idle_timeout", "1000", "long", "expected milliseconds"),
    example("management.path_prefix", "/hares"),
    refuse("management.http.max_body_size", "1MiB", "0", "expected a number of bytes from 1 to 1073741824"),
    refuse("management.disable_basic_auth", "true", "1", "expected true or false"),
    refuse("management.disable_stats", "true", "1", "expected true or false"),
    refuse("management.enable_queue_totals", "true", "1", "expected true or false"),
    refuse("management.require_auth_for_api_desc_page", "true", "1", "expected true or false"),
    refuse("management.cors.allow_origins", "none", "all", "expected nothing but none"),
    example("management.cors.allow_origins.1", "https://hares.example"),
    refuse("management.cors.max_age", "1", "long", "expected a whole number from 0 to 4294967295"),
    example("management.csp.policy", "default-src 'self'"),
    example("management.hsts.policy", "max-age=1"),
    example("management.headers.content_type_options", "none"),
    example("management.headers.xss_protection", "1"),
    example("management.headers.frame_options", "DENY"),
];
const MANAGEMENT_CERTIFICATE: &str = "management.ssl.certfile = Cargo.toml";
const MANAGEMENT_LISTENER: &str = "management.listener.port = 1\nmanagement.ssl.certfile = Cargo.toml";

const PROMETHEUS: &[Example] = &[
    refuse("prometheus.tcp.listener", "none", "all", "expected nothing but none"),
    refuse("prometheus.tcp.port", "15693", "65536", "expected a whole number from 0 to 65535"),
    refuse("prometheus.tcp.ip", "::1", "broker.example", "expected an IP address"),
    ("prometheus.ssl.port", "1", Some(("-1", "expected a whole number")), PROMETHEUS_CERTIFICATE),
    ("prometheus.ssl.ip", "::1", Some(("x", "expected an IP address")), PROMETHEUS_CERTIFICATE),
    refuse("prometheus.ssl.certfile", FILE, NO_FILE, "cannot read"),
    ("prometheus.ssl.keyfile", "src/lib.rs", CANNOT_READ, PROMETHEUS_CERTIFICATE),
    ("prometheus.ssl.password", "a", ENCRYPTED, PROMETHEUS_CERTIFICATE),
    ("prometheus.ssl.cacertfile", FILE, CANNOT_READ, PROMETHEUS_CERTIFICATE),
    ("prometheus.ssl.verify", "verify_peer", Some(("peer", "expected verify_peer")), PROMETHEUS_CERTIFICATE),
    ("prometheus.ssl.fail_if_no_peer_cert", "true", Some(("1", "expected true or false")), PROMETHEUS_CERTIFICATE),
    ("prometheus.ssl.depth", "2", Some(("256", "expected a whole number from 0 to 255")), PROMETHEUS_CERTIFICATE),
    ("prometheus.ssl.honor_cipher_order", "true", Some(("1", "expected true or false")), PROMETHEUS_CERTIFICATE),
    refuse("prometheus.ssl.client_renegotiation", "false", "true", "expected nothing but false"),
    refuse("prometheus.ssl.secure_renegotiate", "true", "false", "expected nothing but true"),
    ("prometheus.ssl.versions.1", "tlsv1.3", Some(("1.3", "expected tlsv1.2 or tlsv1.3")), PROMETHEUS_CERTIFICATE),
    ("prometheus.ssl.ciphers.1", "TLS_AES_256_GCM_SHA384", None, PROMETHEUS_CERTIFICATE),
    refuse("prometheus.tcp.idle_timeout", "1000", "long", "expected milliseconds"),
    refuse("prometheus.path", "/hares", "''", "expected a name"),
    refuse("prometheus.return_per_object_metrics", "true", "1", "expected true or false"),
    refuse("prometheus.authentication.enabled", "true", "1", "expected true or false"),
];
const PROMETHEUS_CERTIFICATE: &str = "prometheus.ssl.certfile = Cargo.toml";

const HTTP: &[Example] = &[
    refuse("auth_http.http_method", "post", "put", "expected get or post"),
    refuse(
        "auth_http.user_path",
        "https://hares/user",
        "hares/user",
        "expected a URL that begins with http:// or https://",
    ),
    refuse("auth_http.vhost_path", "http://hares/vhost", "http:///vhost", "expected a URL"),
    refuse("auth_http.resource_path", "http://hares/resource", "ftp://hares", "expected a URL"),
    refuse("auth_http.topic_path", "http://hares/topic", "'http://ha res'", "expected a URL"),
    refuse("auth_http.request_timeout", "1", "0", "expected a whole number from 1 to 604800000"),
    refuse("auth_http.connection_timeout", "604800000", "604800001", "expected a whole number from 1 to 604800000"),
    refuse("auth_http.authorization_failure_disclosure", "true", "1", "expected true or false"),
    refuse("auth_http.ssl_options.verify", "verify_none", "none", "expected verify_peer or verify_none"),
    refuse("auth_http.ssl_options.cacertfile", FILE, NO_FILE, "cannot read /there/is/no/such/file: No such file"),
    refuse("auth_http.ssl_options.certfile", FILE, "src", "src is a folder"),
    ("auth_http.ssl_options.keyfile", FILE, CANNOT_READ, "auth_http.ssl_options.certfile = src/lib.rs"),
    example("auth_http.ssl_options.sni", "hares"),
    refuse("auth_http.ssl_options.hostname_verification", "none", "exact", "expected wildcard or none"),
    refuse("auth_http.ssl_options.fail_if_no_peer_cert", "true", "false", "expected nothing but true"),
    refuse("auth_http.ssl_options.depth", "3", "256", "expected a whole number from 0 to 255"),
    refuse("auth_http.ssl_options.versions.1", "tlsv1.3", "tlsv1.1", "expected tlsv1.2 or tlsv1.3"),
];

const LDAP: &[Example] = &[
    example("auth_ldap.servers.1", "ldap.example"),
    refuse("auth_ldap.port", "636", "0", "expected a whole number from 1 to 65535"),
    refuse("auth_ldap.use_ssl", "true", "yes", "expected true or false"),
    refuse("auth_ldap.use_starttls", "true", "yes", "expected true or false"),
    refuse(
        "auth_ldap.timeout",
        "infinity",
        "never",
        "expected milliseconds, a whole number from 1 to 604800000, or infinity",
    ),
    refuse("auth_ldap.idle_timeout", "0", "-1", "expected milliseconds"),
    refuse("auth_ldap.connection_pool_size", "1", "0", "expected a whole number from 1 to 10000"),
    example("auth_ldap.user_dn_pattern", "cn=${username},dc=example"),
    example("auth_ldap.user_bind_pattern", "${username}@example"),
    example("auth_ldap.dn_lookup_attribute", "uid"),
    example("auth_ldap.dn_lookup_base", "dc=example"),
    refuse("auth_ldap.dn_lookup_bind", "anon", "anonymous", "expected as_user or anon"),
    ("auth_ldap.dn_lookup_bind.user_dn", "cn=broker", None, "auth_ldap.dn_lookup_bind.password = a"),
    ("auth_ldap.dn_lookup_bind.password", "a", ENCRYPTED, "auth_ldap.dn_lookup_bind.user_dn = cn=broker"),
    refuse("auth_ldap.other_bind", "anon", "none", "expected as_user or anon"),
    ("auth_ldap.other_bind.user_dn", "cn=broker", None, "auth_ldap.other_bind.password = a"),
    ("auth_ldap.other_bind.password", "a", ENCRYPTED, "auth_ldap.other_bind.user_dn = cn=broker"),
    example("auth_ldap.group_lookup_base", "dc=example"),
    example("auth_ldap.queries.vhost_access", "{constant, false}"),
    example("auth_ldap.queries.resource_access", "{constant, false}"),
    example("auth_ldap.queries.topic_access", "'''\n{constant, false} # all\n'''"),
    example("auth_ldap.queries.tags", "[{management, {constant, true}}]"),
    refuse("auth_ldap.log", "network_unsafe", "info", "expected true, false, network or network_unsafe"),
    refuse("auth_ldap.ssl_options.verify", "verify_none", "none", "expected verify_peer or verify_none"),
    refuse("auth_ldap.ssl_options.cacertfile", FILE, NO_FILE, "cannot read"),
    refuse("auth_ldap.ssl_options.certfile", FILE, NO_FILE, "cannot read"),
    ("auth_ldap.ssl_options.keyfile", FILE, CANNOT_READ, "auth_ldap.ssl_options.certfile = src/lib.rs"),
    example("auth_ldap.ssl_options.sni", "ldap.example"),
    refuse("auth_ldap.ssl_options.hostname_verification", "none", "exact", "expected wildcard or none"),
    refuse("auth_ldap.ssl_options.depth", "1", "256", "expected a whole number from 0 to 255"),
    refuse("auth_ldap.ssl_options.fail_if_no_peer_cert", "true", "false", "expected nothing but true"),
    refuse("auth_ldap.ssl_options.versions.1", "tlsv1.2", "1.2", "expected tlsv1.2 or tlsv1.3"),
];

const OAUTH2: &[Example] = &[
    example("auth_oauth2.resource_server_id", "hares"),
    example("auth_oauth2.resource_servers.one.id", "hares"),
    ("auth_oauth2.default_oauth_provider", "one", NO_PROVIDER, PROVIDER),
    ("auth_oauth2.resource_servers.one.oauth_provider_id", "one", NO_PROVIDER, PROVIDER),
    refuse("auth_oauth2.require_exp", "false", "no", "expected true or false"),
];

/// What there is for the resource server at the top, and for others.
const RESOURCE_SERVER: &[Example] = &[
    example("resource_server_type", "rabbitmq"),
    example("scope_prefix", "''"),
    refuse("verify_aud", "false", "no", "expected true or false"),
    example("additional_scopes_key", "roles realm.roles"),
    example("preferred_username_claims.1", "user_name"),
    example("scope_aliases.admin", "hares.tag:administrator hares.read:*/*"),
];

/// What there is for the provider at the top, and for others.
const PROVIDER_SETTINGS: &[Example] = &[
    refuse("issuer", "https://hares", "http://hares", "expected a URL that begins with https://"),
    example("discovery_endpoint_path", "keys"),
    example("discovery_endpoint_params.key", "value"),
    refuse("jwks_uri", "https://hares/keys", "keys", "expected a URL that begins with https://"),
    refuse("jwks_url", "https://hares/keys", "keys", "expected a URL that begins with https://"),
    refuse("https.peer_verification", "verify_none", "none", "expected verify_peer or verify_none"),
    refuse("https.verify", "verify_none", "none", "expected verify_peer or verify_none"),
    refuse("https.cacertfile", FILE, NO_FILE, "cannot read"),
    refuse("https.hostname_verification", "none", "exact", "expected wildcard or none"),
    refuse("https.depth", "3", "256", "expected a whole number from 0 to 255"),
    refuse("https.fail_if_no_peer_cert", "true", "false", "expected nothing but true"),
    refuse("signing_keys.one", FILE, NO_FILE, "cannot read"),
    example("default_key", "one"),
    example("algorithms.1", "RS256"),
];

/// A file that can be read.
const FILE: &str = "Cargo.toml";
const NO_FILE: &str = "/there/is/no/such/file";
const PROVIDER: &str = "auth_oauth2.oauth_providers.one.issuer = https://hares";
const CANNOT_READ: Wrong = Some((NO_FILE, "cannot read"));
const ENCRYPTED: Wrong = Some(("encrypted:abc=", "it is encrypted, and config_entry_decoder.passphrase is not set"));
const NO_PROVIDER: Wrong = Some(("two", "nothing is set of `two`"));

/// All examples, with whole keys.
fn examples() -> Vec<(String, &'static str, Wrong, String)> {
    let mut examples = Vec::new();
    for (prefix, group, backend) in [
        ("", LISTENERS, ""),
        ("", TLS_LISTENERS, ""),
        ("", TLS, ""),
        ("", LIMITS, ""),
        ("", USERS, ""),
        ("", NODE, ""),
        ("", DEFINITIONS, ""),
        ("", EVENTS, ""),
        ("", LOG, ""),
        ("", MANAGEMENT, ""),
        ("", PROMETHEUS, ""),
        ("", BACKENDS, ""),
        ("", HTTP, "http"),
        ("", LDAP, "ldap"),
        ("", OAUTH2, "oauth2"),
        ("auth_oauth2.", RESOURCE_SERVER, "oauth2"),
        ("auth_oauth2.resource_servers.one.", RESOURCE_SERVER, "oauth2"),
        ("auth_oauth2.", PROVIDER_SETTINGS, "oauth2"),
        ("auth_oauth2.oauth_providers.one.", PROVIDER_SETTINGS, "oauth2"),
    ] {
        for (key, right, wrong, more) in group {
            let used = if backend.is_empty() { String::new() } else { format!("\nauth_backends.1 = {backend}") };
            examples.push((format!("{prefix}{key}"), *right, *wrong, format!("{more}{used}")));
        }
    }
    for prefix in ["auth_oauth2.", "auth_oauth2.resource_servers.one."] {
        let [name, scope] = ["alias", "scope"].map(|part| format!("{prefix}scope_aliases.1.{part}"));
        examples.push((name.clone(), "a role", None, format!("{scope} = hares.read:*/*\nauth_backends.1 = oauth2")));
        examples.push((scope, "hares.read:*/*", None, format!("{name} = a role\nauth_backends.1 = oauth2")));
    }
    examples
}

fn read(text: &str) -> Draft {
    load::read(text).draft
}

/// The configuration that a text without mistakes makes.
fn config(text: &str) -> Config {
    let draft = read(text);
    assert_eq!(draft.mistakes, [], "{text}");
    draft.config
}

/// The mistakes in a text.
fn mistakes(text: &str) -> Vec<String> {
    read(text).mistakes.iter().map(|mistake| format!("{}: {}", mistake.place.line, mistake.text)).collect()
}

fn key(text: &str) -> Vec<String> {
    text.split('.').map(ToOwned::to_owned).collect()
}

fn names(names: &[Name]) -> Vec<&str> {
    names.iter().map(|name| &**name).collect()
}

fn http(text: &str) -> HttpSettings {
    read(text).http_settings
}

#[test]
fn every_setting_has_an_example() {
    let examples: Vec<_> = examples().iter().map(|(name, ..)| key(name)).collect();
    for setting in settings() {
        let found = examples.iter().any(|example| find(example).is_some_and(|(found, _)| found.key == setting.key));
        assert!(found, "{} has no example", setting.key);
    }
}

#[test]
fn a_value_that_is_right_changes_the_configuration() {
    for (key, right, _, more) in examples() {
        let with = config(&format!("{key} = {right}\n{more}"));
        let says_what_holds_anyway = matches!(find(&self::key(&key)).unwrap().0.takes, Takes::Only(_));
        let is_unchanged = says_what_holds_anyway || more == UNCHANGED;
        assert_eq!(with == read(&more).config, is_unchanged, "{key}");
    }
}

#[test]
fn a_value_that_is_wrong_is_refused_with_its_line_its_key_and_what_is_allowed() {
    for (key, _, wrong, more) in examples() {
        let Some((wrong, reason)) = wrong else { continue };
        let mistakes = mistakes(&format!("# A comment\n{key} = {wrong}\n{more}"));
        let expected = format!("2: {key}: ");
        assert!(mistakes.iter().any(|mistake| mistake.starts_with(&expected)), "{key}: {mistakes:?}");
        assert!(mistakes.iter().any(|mistake| mistake.contains(reason)), "{key}: {mistakes:?}");
    }
}

#[test]
fn an_empty_value_or_a_huge_one_makes_nothing_fall() {
    let huge = "9".repeat(10_000);
    for (key, ..) in examples() {
        for value in ["''", &huge, "-1", "'\u{1f407}'"] {
            for mistake in mistakes(&format!("{key} = {value}")) {
                assert!(mistake.len() < 1000, "{mistake}");
            }
        }
    }
}

#[test]
fn settings_are_documented() {
    for setting in settings() {
        let help = setting.help;
        assert!(help.starts_with(char::is_uppercase) && !help.ends_with('.') && !help.contains('|'), "{}", setting.key);
    }
}

#[test]
fn what_is_documented_as_the_default_is() {
    // What is not set there is left to the back end, which does the same.
    const LEFT_OPEN: [&str; 2] = ["auth_oauth2.verify_aud", "auth_oauth2.discovery_endpoint_path"];
    for setting in settings().filter(|setting| !setting.default.is_empty() && !LEFT_OPEN.contains(&setting.key)) {
        let mut text = String::new();
        for (prefix, certificate) in [
            ("ssl_", CERTIFICATE),
            ("management.(ssl|", MANAGEMENT_CERTIFICATE),
            ("prometheus.ssl.", PROMETHEUS_CERTIFICATE),
        ] {
            if setting.key.starts_with(prefix) {
                writeln!(text, "{certificate}").unwrap();
            }
        }
        let expected = config(&text);
        let key = first_choice(setting.key);
        match (key.as_str(), key.matches('$').count()) {
            (key, 0) => write!(text, "{key} = '''{}'''", setting.default).unwrap(),
            (key, 1) if key.ends_with(".$n") || key.ends_with(".$name") => {
                for (number, value) in setting.default.split(", ").enumerate() {
                    writeln!(text, "{}{number} = {value}", key.split('$').next().unwrap()).unwrap();
                }
            }
            _ => {}
        }
        assert_eq!(config(&text), expected, "{text}");
    }
}

/// The key with the first of several words.
fn first_choice(key: &str) -> String {
    let Some((before, (choices, behind))) =
        key.split_once('(').and_then(|(before, rest)| Some((before, rest.split_once(')')?)))
    else {
        return key.to_owned();
    };
    format!("{before}{}{behind}", choices.split('|').next().unwrap())
}

#[test]
fn no_two_settings_have_one_key() {
    for setting in settings() {
        let same = settings().filter(|other| other.key == setting.key).count();
        assert_eq!(same, 1, "{}", setting.key);
    }
}

#[test]
fn an_unknown_key_has_no_effect_and_the_nearest_known_one_is_named() {
    for (text, expected) in [
        ("defualt_user = a", "defualt_user, so it has no effect; is default_user meant?"),
        ("listener.tcp.local = a", "listener.tcp.local, so it has no effect; is listeners.tcp.local meant?"),
        ("loopback_user.alice = true", "loopback_user.alice, so it has no effect; is loopback_users.alice meant?"),
        ("listeners.tcp.1.port = 5672", "listeners.tcp.1.port, so it has no effect; is listeners.tcp.1 meant?"),
        ("log.consol.level = debug", "log.consol.level, so it has no effect; is log.console.level meant?"),
        ("something.else.altogether = 0.6", "something.else.altogether, so it has no effect"),
    ] {
        assert_eq!(mistakes(text), [""; 0]);
        assert_eq!(config(text), Config::default());
        let warnings: Vec<_> = read(text).warnings.into_iter().map(|warning| warning.text).collect();
        assert_eq!(warnings, [format!("there is no setting {expected}")]);
    }
}

#[test]
fn every_key_of_rabbitmq_is_known() {
    // Those of RabbitMQ 3.10, and those that came with 4.x.
    let keys = include_str!("rabbitmq_keys.txt").lines();
    let unknown: Vec<_> =
        keys.filter(|line| find(&key(line)).is_none() && ignored::find(&key(line)).is_none()).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

#[test]
fn no_key_with_effect_is_said_to_have_none() {
    for setting in settings() {
        for written in choices(setting.key) {
            // A key of the trees of settings that are known only in part.
            let written = written.replace('$', "x");
            assert!(ignored::find(&key(&written)).is_none(), "{written}");
        }
    }
}

#[test]
fn keys_of_what_is_not_there_are_named_once_for_each_reason() {
    let draft = read(
        "stream.listeners.tcp.1 = 5552\nmqtt.allow_anonymous = true\nmqtt.vhost = /\ncluster_formation.k8s.host = a\n\
         num_acceptors.tcp = 10\n",
    );
    let warnings: Vec<_> = draft.warnings.iter().map(|warning| &*warning.text).collect();
    let expected = [
        "cluster_formation.k8s.host has no effect, as there is no clustering yet",
        "stream.listeners.tcp.1 has no effect, as there are no streams yet",
        "mqtt.allow_anonymous, mqtt.vhost have no effect, as there is no MQTT yet",
        "num_acceptors.tcp has no effect, as there is no Erlang",
    ];
    assert_eq!(warnings, expected);
    assert!(draft.mistakes.is_empty() && draft.config == Config::default());
}

#[test]
fn mistakes_and_warnings_do_not_repeat_secrets() {
    let mut text = String::new();
    for setting in settings().filter(|setting| setting.takes.is_secret()) {
        let key = first_choice(setting.key).replace('$', "");
        writeln!(text, "{key} = encrypted:swordfish\n{key} = encrypted:swordfish#swordfish\n{key}s = swordfish")
            .unwrap();
    }
    let draft = read(&text);
    assert!(!draft.mistakes.is_empty() && !draft.warnings.is_empty(), "{text}");
    for remark in draft.mistakes.iter().chain(&draft.warnings) {
        assert!(!remark.text.contains("swordfish"), "{}", remark.text);
    }
    assert!(!format!("{:?}", config("default_pass = swordfish")).contains("swordfish"));
}

#[test]
fn listeners_are_all_that_are_named_or_none() {
    for (text, expected) in [
        ("", &["127.0.0.1:5672"][..]),
        ("listeners.tcp.default = ::1:1\nlisteners.tcp.2 = 127.0.0.1:2", &["[::1]:1", "127.0.0.1:2"]),
        ("listeners.tcp.default = 5672\nlisteners.tcp = none", &[]),
    ] {
        let listen: Vec<_> = config(text).listen.iter().map(ToString::to_string).collect();
        assert_eq!(listen, expected, "{text}");
    }
}

#[test]
fn lists_of_users_and_tags_take_the_place_of_the_default() {
    for (text, loopback, tags) in [
        ("", &["guest"][..], &["administrator"][..]),
        ("loopback_users.alice = true\nloopback_users.bob = true", &["alice", "bob"], &["administrator"]),
        ("loopback_users.guest = false", &[], &["administrator"]),
        ("loopback_users.guest = true\nloopback_users = none", &[], &["administrator"]),
        ("default_user_tags.a\\.b = true\ndefault_user_tags.administrator = false", &["guest"], &["a.b"]),
    ] {
        let access = config(text).access;
        assert_eq!(names(&access.login.limits.loopback_only), loopback, "{text}");
        assert_eq!(names(&access.default_user.tags), tags, "{text}");
    }
}

#[test]
fn numbers_give_lists_their_order() {
    let text = "auth_mechanisms.10 = PLAIN\nauth_mechanisms.x = ANONYMOUS\nauth_mechanisms.9 = EXTERNAL";
    let mechanisms: Vec<_> = config(text).access.mechanisms.into_iter().map(Mechanism::as_str).collect();
    assert_eq!(mechanisms, ["EXTERNAL", "PLAIN", "ANONYMOUS"]);
}

#[test]
fn anonymous_clients_are_somebody_or_are_not_let_in() {
    for (text, expected) in [
        ("", Some(("guest", "guest"))),
        ("anonymous_login_user = alice", Some(("alice", "guest"))),
        ("anonymous_login_user = alice\nanonymous_login_pass = swordfish", Some(("alice", "swordfish"))),
        ("anonymous_login_user = none\nanonymous_login_pass = swordfish", None),
    ] {
        let anonymous = config(text).access.anonymous;
        let anonymous = anonymous.as_ref().map(|found| (&*found.user, found.password.expose_text().unwrap()));
        assert_eq!(anonymous, expected, "{text}");
    }
}

#[test]
fn what_belongs_together_is_wanted_together() {
    for (text, expected) in [
        (
            "auth_http.ssl_options.keyfile = Cargo.toml",
            "1: auth_http.ssl_options.keyfile needs auth_http.ssl_options.certfile",
        ),
        ("auth_ldap.use_ssl = true\nauth_ldap.use_starttls = true", "2: a connection has TLS from the start or later"),
        ("auth_ldap.other_bind.user_dn = cn=broker", "1: auth_ldap.other_bind needs both"),
        ("auth_ldap.other_bind.password = swordfish", "1: auth_ldap.other_bind needs both"),
        ("auth_oauth2.scope_aliases.1.alias = admin", "1: a scope alias needs both"),
        (
            "auth_oauth2.resource_servers.a.oauth_provider_id = b",
            "1: auth_oauth2.resource_servers.a.oauth_provider_id: nothing is set of `b`",
        ),
    ] {
        let mistakes = mistakes(text);
        assert!(mistakes.len() == 1 && mistakes.concat().starts_with(expected), "{text}: {mistakes:?}");
    }
}

#[test]
fn the_key_is_in_the_file_of_the_certificate_unless_another_is_named() {
    let text = "auth_http.ssl_options.certfile = Cargo.toml";
    let client = http(text).tls.client_certificate.unwrap();
    assert_eq!(client.key_file, client.certificate_file);
    let client = http(&format!("{text}\nauth_http.ssl_options.keyfile = src/lib.rs")).tls.client_certificate;
    assert_eq!(client.unwrap().key_file.to_str(), Some("src/lib.rs"));
}

#[test]
fn ldap_servers_are_asked_as_whom_the_file_says() {
    let account = "auth_ldap.other_bind.user_dn = cn=broker\nauth_ldap.other_bind.password = swordfish\n";
    for (text, expected) in [
        ("", "AsUser"),
        ("auth_ldap.other_bind = anon", "Anonymous"),
        (account, "Account { user_dn: \"cn=broker\", password: Secret }"),
        (&format!("{account}auth_ldap.other_bind = as_user"), "AsUser"),
        (&format!("{account}auth_ldap.other_bind = anon"), "Anonymous"),
    ] {
        assert_eq!(format!("{:?}", read(text).ldap_settings.other_bind), expected, "{text}");
    }
}

#[test]
fn settings_of_further_servers_and_providers_are_their_own() {
    let oauth2 = read(
        "auth_oauth2.scope_prefix = a.\n\
         auth_oauth2.resource_servers.one.scope_prefix = b.\n\
         auth_oauth2.resource_servers.one.preferred_username_claims.2 = second\n\
         auth_oauth2.resource_servers.one.preferred_username_claims.1 = first\n\
         auth_oauth2.resource_servers.two.scope_aliases.1.alias = api://role\n\
         auth_oauth2.resource_servers.two.scope_aliases.1.scope = hares.read:*/*  hares.write:*/*\n\
         auth_oauth2.oauth_providers.here.signing_keys.key = Cargo.toml\n\
         auth_oauth2.default_oauth_provider = here\n",
    )
    .oauth2_settings;
    assert_eq!(oauth2.resource_server.scope_prefix.as_deref(), Some("a."));
    assert_eq!(oauth2.resource_servers["one"].scope_prefix.as_deref(), Some("b."));
    assert_eq!(oauth2.resource_servers["one"].preferred_username_claims, ["first", "second"]);
    assert_eq!(oauth2.resource_servers["two"].scope_aliases["api://role"], ["hares.read:*/*", "hares.write:*/*"]);
    assert!(oauth2.oauth_providers["here"].signing_keys.contains_key("key"));
    assert_eq!(oauth2.default_oauth_provider.as_deref(), Some("here"));
}

#[test]
fn a_url_that_is_wrong_is_not_repeated() {
    let mistakes = mistakes("auth_http.user_path = ftp://broker:swordfish@hares/");
    assert!(!mistakes.concat().contains("swordfish"), "{mistakes:?}");
    assert!(!read("auth_http.user_path = http://broker:swordfish@hares/").secrets.is_empty());
}

#[test]
fn back_ends_are_asked_in_the_order_of_their_numbers() {
    for (text, expected, warned) in [
        ("", "Whole(Internal)", false),
        ("auth_backends.1 = rabbit_auth_backend_internal", "Whole(Internal)", false),
        ("auth_backends.10 = internal\nauth_backends.9 = dummy", "Whole(Dummy), Whole(Internal)", false),
        ("auth_backends.1.authn = dummy\nauth_backends.1.authz = internal", "Split(Dummy, Internal)", false),
        ("auth_backends.1.authn = dummy\nauth_backends.2 = internal", "Whole(Dummy), Whole(Internal)", true),
        ("auth_backends.1.authz = dummy", "Whole(Dummy)", true),
        ("auth_backends.1 = cache", "Whole(Cache(Internal))", false),
        ("auth_backends.1 = cache\nauth_cache.cached_backend = dummy", "Whole(Cache(Dummy))", false),
        (
            "auth_backends.1 = cache\nauth_cache.cached_backend.authn = dummy\nauth_cache.cached_backend.authz = internal",
            "Split(Cache(Dummy), Cache(Internal))",
            false,
        ),
        ("auth_backends.1.authn = dummy\nauth_backends.1.authz = cache", "Split(Dummy, Cache(Internal))", false),
        (
            "auth_backends.1 = http\nauth_backends.2 = ldap\nauth_backends.3 = oauth2",
            "Whole(Http), Whole(Ldap), Whole(OAuth2)",
            false,
        ),
    ] {
        let links: Vec<_> = config(text).access.login.links.iter().map(link).collect();
        assert_eq!(links.join(", "), expected, "{text}");
        assert_eq!(!read(text).warnings.is_empty(), warned, "{text}");
    }
}

fn link(link: &LinkSettings) -> String {
    match link {
        LinkSettings::Whole(whole) => format!("Whole({})", backend(whole)),
        LinkSettings::Split { authentication, authorization } => {
            let authorization: Vec<_> = authorization.iter().map(backend).collect();
            format!("Split({}, {})", backend(authentication), authorization.join(", "))
        }
    }
}

fn backend(settings: &BackendSettings) -> String {
    match settings {
        BackendSettings::Cache(_, inner) => format!("Cache({})", backend(inner)),
        other => format!("{other:?}").split('(').next().unwrap().to_owned(),
    }
}

#[test]
fn back_ends_exclude_each_other_and_have_numbers() {
    for (text, expected) in [
        ("auth_backends.1 = http\nauth_backends.1.authn = ldap", "2: auth_backends.1 says both already"),
        ("auth_backends.first = http", "1: auth_backends.first has no number in it"),
    ] {
        let mistakes = mistakes(text);
        assert!(mistakes.len() == 1 && mistakes.concat().starts_with(expected), "{text}: {mistakes:?}");
    }
}

#[test]
fn what_tls_is_told_needs_a_certificate() {
    for text in [
        "listeners.ssl.1 = 5671",
        "ssl_options.verify = verify_peer",
        "ssl_cert_login_from = common_name",
        "ssl_options.versions.1 = tlsv1.3",
    ] {
        let mistakes = mistakes(text);
        assert!(mistakes.concat().starts_with("1: TLS needs a certificate and its key: "), "{text}: {mistakes:?}");
    }
    let ciphers = "ssl_options.ciphers.2 = b\nssl_options.ciphers.1 = a\n".to_owned() + CERTIFICATE;
    assert_eq!(config(&ciphers).tls.unwrap().ciphers, ["a", "b"]);
}

#[test]
fn a_word_of_a_key_may_be_one_of_several() {
    for (pattern, written, expected) in [
        ("a.(b|c).d", "a.b.d", Some(vec!["b"])),
        ("a.(b|c).d", "a.c.d", Some(vec!["c"])),
        ("a.(b|c).d", "a.d.d", None),
        ("a.(b|c).d", "a.b", None),
        ("a.(b|c.d).$e", "a.c.d.f", Some(vec!["c", "f"])),
        ("a.(b|c.d).$e", "a.c.f", None),
        ("a.(b|c)", "a.c", Some(vec!["c"])),
        ("a.(b|c)", "a.c.d", None),
    ] {
        assert_eq!(matches(pattern, &key(written)), expected, "{pattern} {written}");
    }
}

#[test]
fn the_management_interface_is_here_unless_somebody_wants_it_elsewhere() {
    let certificate = format!("{MANAGEMENT_CERTIFICATE}\n");
    for (text, plain, tls) in [
        ("", "127.0.0.1:15672", ""),
        ("management.tcp.ip = ::1", "[::1]:15672", ""),
        ("management.tcp.ip = ::1\nmanagement.tcp.port = 1", "[::1]:1", ""),
        ("management.listener.ip = ::1\nmanagement.listener.port = 1", "[::1]:1", ""),
        ("management.tcp = none\nmanagement.tcp.port = 1", "", ""),
        (&format!("{certificate}management.ssl.ip = ::1"), "", "[::1]:15671"),
        (&format!("{certificate}management.ssl.ip = ::1\nmanagement.tcp.ip = ::1"), "[::1]:15672", "[::1]:15671"),
        (&format!("{certificate}management.listener.ssl = true\nmanagement.listener.ip = ::1"), "", "[::1]:15671"),
        (&format!("{CERTIFICATE}\nmanagement.ssl.ip = ::1"), "127.0.0.1:15672", "[::1]:15671"),
    ] {
        let management = config(text).management;
        let show = |address: Option<SocketAddr>| address.map(|address| address.to_string()).unwrap_or_default();
        assert_eq!((show(management.listen), show(management.listen_tls)), (plain.into(), tls.into()), "{text}");
        assert_eq!(management.tls.is_some(), !tls.is_empty(), "{text}");
    }
    assert_eq!(
        mistakes("management.ssl.port = 15671"),
        ["1: TLS needs management.ssl.certfile, the certificate of the management interface"]
    );
}

#[test]
fn categories_and_outputs_of_the_log_have_settings_of_their_own() {
    let log =
        config("log.file.level = error\nlog.queue.level = debug\nlog.queue.rotation.size = 1k\nlog.file = a.log").log;
    assert_eq!((log.file.level, log.console.level), (Some(LogLevel::Error), None));
    assert_eq!(log.file.name, FileName::Named("a.log".into()));
    let queue = &log.categories[&LogCategory::Queue];
    assert_eq!((queue.level, queue.rotation.size, log.categories.len()), (Some(LogLevel::Debug), Some(1024), 1));
}

#[test]
fn what_is_encrypted_is_opened() {
    // Made by RabbitMQ 3.10: once without, once with a choice.
    const USUAL: &str = "default_pass = encrypted:SG4uuXGLN3Z4cPs3/nYJwoRXAdpbHAWDiZACOjTlwa2jiZzDZJOPfNwYtaoRKm7F\n";
    const CHOSEN: &str = "default_user = encrypted:P5GFDKlDdEu15R8yWpMZBhRMJYplU/M6H+SXytWVYbawz2UOr5U2QirHwg72d9sO\n\
                          config_entry_decoder.cipher = aes_128_cbc\nconfig_entry_decoder.hash = sha256\n\
                          config_entry_decoder.iterations = 10\n";
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("passphrase");
    std::fs::write(&file, "swordfish\n").unwrap();
    for passphrase in ["swordfish".to_owned(), format!("file:{}", file.display())] {
        let set = format!("config_entry_decoder.passphrase = {passphrase}\n");
        let password = config(&format!("{USUAL}{set}")).access.default_user.password;
        assert_eq!(password.expose_text(), Some("hare"), "{passphrase}");
        assert_eq!(&*config(&format!("{CHOSEN}{set}")).access.default_user.name, "hare", "{passphrase}");
    }
    for (passphrase, expected) in [
        ("trout", "1: default_pass: it cannot be decrypted: the passphrase is another one"),
        (
            "file:/there/is/no/such/file",
            "1: default_pass: it is encrypted, and the passphrase in /there/is/no/such/file ",
        ),
    ] {
        let mistakes = mistakes(&format!("{USUAL}config_entry_decoder.passphrase = {passphrase}"));
        assert!(mistakes.concat().starts_with(expected), "{mistakes:?}");
    }
}
