//! The configuration file: its documentation, and what the program makes of it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic is how a test reports a failure")]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::{env, fs};

use leveret_server::{Changes, Config, ConfigError, Loaded, Origin, Sources, reference};
use tempfile::TempDir;

/// Where the generated part of the documentation begins.
const MARK: &str = "--test configuration -->\n";
/// Has the documentation written anew.
const WRITE: &str = "LEVERET_WRITE_REFERENCE";

/// Loads a file with this text that others may or may not read.
fn load(text: impl AsRef<[u8]>, mode: u32) -> (TempDir, Result<Loaded, ConfigError>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rabbitmq.conf");
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    let environment = [("HARE", "hazel")].into();
    let loaded = Sources { files: vec![path], environment, options: Vec::new() }.load();
    (folder, loaded)
}

#[test]
fn the_documentation_has_every_setting() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
    let text = fs::read_to_string(&path).unwrap();
    let (begin, end) = text.split_once(MARK).unwrap();
    let expected = format!("\n{}", reference());
    if env::var_os(WRITE).is_some() {
        fs::write(&path, format!("{begin}{MARK}{expected}")).unwrap();
    } else {
        assert!(end == expected, "the tables in docs/configuration.md are old; {WRITE}=1 writes them anew");
    }
}

#[test]
fn the_example_in_the_documentation_is_right() {
    let text = include_str!("../../../docs/configuration.md");
    let example = text.split("```ini\n").nth(1).and_then(|text| text.split("```\n").next()).unwrap();
    let config = load(example.replace("HAZELS_PASSWORD", "HARE"), 0o600).1.unwrap().config;
    assert_eq!(config.access.default_user.password.expose_text(), Some("hazel"));
    let links = format!("{:?}", config.access.login.links);
    assert!(links.contains("ldap.example.org") && links.contains("Internal"), "{links}");
}

#[test]
fn an_empty_file_changes_nothing() {
    let loaded = load("# Nothing\n", 0o644).1.unwrap();
    assert_eq!(loaded.config, Config::default());
    assert_eq!(loaded.warnings, []);
}

#[test]
fn mistakes_name_the_file_and_the_line() {
    let (folder, loaded) = load("default_user = a\nheartbeat = often\n\nlisteners.tcp = all\n", 0o600);
    let path = folder.path().join("rabbitmq.conf");
    let expected = format!(
        "{0}:2: heartbeat: `often` is wrong, expected a whole number from 0 to 65535\n\
         {0}:4: listeners.tcp: `all` is wrong, expected nothing but none",
        path.display()
    );
    assert_eq!(loaded.unwrap_err().to_string(), expected);
}

#[test]
fn a_file_full_of_mistakes_is_not_repeated_as_a_whole() {
    let error = load("hare\n".repeat(1000), 0o600).1.unwrap_err().to_string();
    assert!(error.lines().count() < 30 && error.contains("more mistakes"), "{error}");
}

#[test]
fn what_is_no_configuration_file_is_refused() {
    for (octets, reason) in [
        (vec![0xff, 0xfe, b'a'], "it is no text in UTF-8"),
        (vec![b'#'; 1024 * 1024 + 1], "it has more than 1048576 bytes"),
    ] {
        let error = load(octets, 0o600).1.unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }
    let error =
        Sources { files: vec!["/there/is/no/such/file".into()], ..Sources::default() }.load().unwrap_err().to_string();
    assert!(error.starts_with("cannot read the configuration file /there/is/no/such/file: No such file"), "{error}");
}

#[test]
fn secrets_that_everybody_may_read_are_worth_a_warning() {
    for (text, mode, warned) in [
        ("default_pass = swordfish", 0o644, true),
        ("default_pass = swordfish", 0o640, false),
        ("default_user = hazel", 0o644, false),
        ("auth_http.user_path = http://hazel:swordfish@localhost/", 0o644, true),
    ] {
        let warnings: String = load(text, mode).1.unwrap().warnings.iter().map(ToString::to_string).collect();
        assert_eq!(warnings.contains("can be read by everybody"), warned, "{text} {mode:o}: {warnings}");
        assert!(!warnings.contains("swordfish"), "{warnings}");
    }
}

#[test]
fn warnings_name_the_file_and_the_line() {
    let (folder, loaded) = load("default_user = a\ndefault_user = $(HARE)\n", 0o600);
    let loaded = loaded.unwrap();
    let path = folder.path().join("rabbitmq.conf");
    let expected = format!("{}:2: default_user was set on line 1 already; this one counts", path.display());
    assert_eq!(loaded.warnings.iter().map(ToString::to_string).collect::<Vec<_>>(), [expected]);
    assert_eq!(&*loaded.config.access.default_user.name, "hazel");
}

#[test]
fn a_fresh_node_has_the_user_and_the_vhost_of_the_file() {
    let text = "listeners.tcp = none\ndefault_user = $(HARE)\ndefault_vhost = down\ndefault_user_tags.monitoring = true\n\
                default_permissions.write = ^warren\n";
    let (folder, loaded) = load(text, 0o600);
    let running =
        leveret_server::start(&Config { data_dir: folder.path().join("data"), ..loaded.unwrap().config }).unwrap();
    running.node().read(|topology| {
        let user = topology.user("hazel").unwrap();
        assert!(user.tags().iter().map(|tag| &**tag).eq(["monitoring"]), "{user:?}");
        assert!(topology.vhost("down").is_ok() && topology.user("guest").is_err());
        let permissions: Vec<_> = user.permissions().map(|(vhost, may)| (&**vhost, &**may.write.text())).collect();
        assert_eq!(permissions, [("down", "^warren")]);
    });
}

/// What is found in a folder that stands for the whole system, with these files in it, and with these variables.
fn find<const N: usize>(files: &[(&str, &str)], variables: [(&str, &str); N]) -> Loaded {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let prefix = [("SYS_PREFIX", folder.path().to_str().unwrap())];
    let variables: Vec<_> = prefix.into_iter().chain(variables).collect();
    Sources { environment: variables.into_iter().collect(), ..Sources::default() }.load().unwrap()
}

#[test]
fn what_comes_later_wins() {
    const MAIN: (&str, &str) =
        ("etc/rabbitmq/rabbitmq.conf", "heartbeat = 1\nchannel_max = 1\nmax_connections = 1\ndefault_user = a\n");
    const MORE: (&str, &str) =
        ("etc/rabbitmq/conf.d/1.conf", "channel_max = 2\nmax_connections = 2\ndefault_user = b\n");
    const LAST: (&str, &str) = ("etc/rabbitmq/conf.d/2.conf", "max_connections = 3\ndefault_user = c\n");
    let loaded = find(&[MAIN, MORE, LAST], [("RABBITMQ_DEFAULT_USER", "d")]);
    let config = &loaded.config;
    assert_eq!((config.heartbeat_seconds, config.channel_max, config.limits.max_connections), (1, 2, Some(3)));
    assert_eq!(&*config.access.default_user.name, "d");
    assert_eq!(loaded.warnings, []);
    let origin = |key: &str| loaded.settings.iter().find(|setting| setting.key == key).unwrap().origin.to_string();
    for (key, expected) in [
        ("heartbeat", "/etc/rabbitmq/rabbitmq.conf:1"),
        ("channel_max", "/etc/rabbitmq/conf.d/1.conf:1"),
        ("max_connections", "/etc/rabbitmq/conf.d/2.conf:1"),
        ("default_user", "RABBITMQ_DEFAULT_USER"),
        ("frame_max", "default"),
    ] {
        assert!(origin(key).ends_with(expected), "{key}: {}", origin(key));
    }
}

#[test]
fn files_win_over_the_port_in_the_environment_as_in_rabbitmq() {
    let listens = |files: &[(&str, &str)]| {
        let loaded = find(files, [("RABBITMQ_NODE_PORT", "5702"), ("RABBITMQ_NODE_IP_ADDRESS", "::1")]);
        loaded.config.listen.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(listens(&[]), ["[::1]:5702"]);
    assert_eq!(listens(&[("etc/rabbitmq/rabbitmq.conf", "listeners.tcp.1 = 127.0.0.1:5701\n")]), ["127.0.0.1:5701"]);
    assert_eq!(listens(&[("etc/rabbitmq/rabbitmq.conf", "heartbeat = 1\n")]), ["[::1]:5702"]);
}

#[test]
fn what_is_not_read_is_named() {
    let loaded = find(
        &[("etc/rabbitmq/advanced.config", "[]."), ("etc/rabbitmq/rabbitmq-env.conf", "NODENAME=a@b\nif x\n")],
        [("RABBITMQ_ERLANG_COOKIE", "swordfish")],
    );
    assert_eq!(loaded.config.node_name, "a@b");
    assert_eq!(loaded.config.cluster_name, "a@b");
    let warnings: Vec<_> = loaded.warnings.iter().map(ToString::to_string).collect();
    for part in ["rabbitmq-env.conf:2: only NAME=value", "advanced.config is not read", "RABBITMQ_ERLANG_COOKIE"] {
        assert!(warnings.iter().any(|warning| warning.contains(part)), "{part}: {warnings:?}");
    }
    assert!(warnings.len() == 3 && !warnings.concat().contains("swordfish"), "{warnings:?}");
}

#[test]
fn secrets_are_not_among_the_settings() {
    let text = "default_pass = swordfish\nauth_http.user_path = http://a:swordfish@b/\nauth_backends.1 = http\n";
    let loaded = load(text, 0o600).1.unwrap();
    assert!(!format!("{:?}", loaded.settings).contains("swordfish"));
    let is_secret = |key: &str| loaded.settings.iter().find(|setting| setting.key == key).unwrap().is_secret;
    assert!(is_secret("default_pass") && is_secret("auth_http.user_path") && !is_secret("auth_backends.1"));
    let default = &loaded.settings.iter().find(|setting| setting.key == "heartbeat").unwrap();
    assert_eq!(
        (default.value.as_deref(), &default.origin, default.is_changed()),
        (Some("60"), &Origin::Default, false)
    );
}

#[test]
fn changes_are_told_by_when_they_take_effect() {
    let settings = |text: &str| load(text, 0o600).1.unwrap().settings;
    let before = settings("heartbeat = 1\ndefault_pass = a\nlisteners.tcp.1 = 127.0.0.1:1\n");
    let after = settings("heartbeat = 2\ndefault_pass = b\nlisteners.tcp.2 = 127.0.0.1:1\nmax_connections = 1\n");
    let changes = Changes::between(&before, &after);
    assert_eq!(changes.at_once, ["heartbeat", "max_connections"]);
    assert_eq!(changes.at_start, ["listeners.tcp.2", "default_pass", "listeners.tcp.1"]);
    assert_eq!(Changes::between(&after, &after), Changes::default());
}
