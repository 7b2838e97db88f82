//! The configuration file: its documentation, and what the program makes of it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic is how a test reports a failure")]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::{env, fs};

use leveret_server::{Config, ConfigError, Loaded, reference};
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
    let loaded = Config::load(&path, |name| (name == "HARE").then(|| "hazel".to_owned()));
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
    assert_eq!(loaded.warnings, [""; 0]);
}

#[test]
fn mistakes_name_the_file_and_the_line() {
    let (folder, loaded) = load("default_user = a\ndefault_vhots = b\n\nlisteners.tcp = all\n", 0o600);
    let path = folder.path().join("rabbitmq.conf");
    let expected = format!(
        "{0}:2: there is no setting default_vhots; is default_vhost meant?\n\
         {0}:4: listeners.tcp: `all` is wrong, expected nothing but none",
        path.display()
    );
    assert_eq!(loaded.unwrap_err().to_string(), expected);
}

#[test]
fn a_file_full_of_mistakes_is_not_repeated_as_a_whole() {
    let error = load("a = b\n".repeat(1000) + &"hare\n".repeat(1000), 0o600).1.unwrap_err().to_string();
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
    let error = Config::load(Path::new("/there/is/no/such/file"), |_| None).unwrap_err().to_string();
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
        let warnings = load(text, mode).1.unwrap().warnings.concat();
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
    assert_eq!(loaded.warnings, [expected]);
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
