//! A server of `OpenLDAP` of the test's own: with its own configuration, data and certificates, on ports of its own.

use std::fmt::Write as _;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use leveret_auth::tls::ClientCertificate;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

const PROGRAM: &str = "/usr/sbin/slapd";
const DEADLINE: Duration = Duration::from_secs(30);

/// Starts a server, if there is one to start; says so if not.
pub(crate) fn start() -> Option<Slapd> {
    static INSTALLED: OnceLock<bool> = OnceLock::new();
    if *INSTALLED.get_or_init(install) {
        return Some(Slapd::start());
    }
    eprintln!("SKIPPED: there is no {PROGRAM}, and it could not be installed; `apt-get install slapd` does it");
    None
}

fn install() -> bool {
    if !Path::new(PROGRAM).exists() {
        let mut command = Command::new("apt-get");
        let command = command.args(["install", "-y", "--no-install-recommends", "slapd"]);
        let _ = command.env("DEBIAN_FRONTEND", "noninteractive").stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
    Path::new(PROGRAM).exists()
}

pub(crate) struct Slapd {
    folder: TempDir,
    process: Child,
    pub(crate) port: u16,
    pub(crate) tls_port: u16,
}

/// An entry: its DN, its classes, its attributes.
type Entry<'a> = (&'a str, &'a [&'a str], &'a [(&'a str, &'a str)]);

/// A user whose name has whatever means something in DNs or filters, as `cn` and in its DN.
pub(crate) const SPECIAL: &str = "*()\\,+\"<>;=#";
const SPECIAL_DN: &str = "cn=*()\\\\\\,\\+\\\"\\<\\>\\;\\=#,ou=people,dc=example,dc=com";

const PERSON: &[&str] = &["inetOrgPerson"];
const UNIT: &[&str] = &["organizationalUnit"];
const GROUP: &[&str] = &["groupOfNames"];

const ENTRIES: &[Entry<'_>] = &[
    ("dc=example,dc=com", &["dcObject", "organization"], &[("dc", "example"), ("o", "Example")]),
    ("ou=people,dc=example,dc=com", UNIT, &[("ou", "people")]),
    ("ou=groups,dc=example,dc=com", UNIT, &[("ou", "groups")]),
    ("ou=vhosts,dc=example,dc=com", UNIT, &[("ou", "vhosts")]),
    ("ou=test,ou=vhosts,dc=example,dc=com", UNIT, &[("ou", "test")]),
    ("ou=a\\,b,ou=vhosts,dc=example,dc=com", UNIT, &[("ou", "a,b")]),
    (
        "cn=alice,ou=people,dc=example,dc=com",
        PERSON,
        &[
            ("cn", "alice"),
            ("sn", "A"),
            ("uid", "a1"),
            ("userPassword", "alice-password"),
            ("description", "can-declare-queues"),
            ("mail", "a1@example.com"),
            ("mail", "a2@example.com"),
        ],
    ),
    (
        "cn=bob,ou=people,dc=example,dc=com",
        PERSON,
        &[("cn", "bob"), ("sn", "B"), ("uid", "b1"), ("userPassword", "bob-password")],
    ),
    (
        "cn=Jürgen,ou=people,dc=example,dc=com",
        PERSON,
        &[("cn", "Jürgen"), ("sn", "J"), ("uid", "twice"), ("userPassword", "pässword")],
    ),
    (SPECIAL_DN, PERSON, &[("cn", SPECIAL), ("sn", "S"), ("uid", "twice"), ("userPassword", "special-password")]),
    ("cn=service,dc=example,dc=com", PERSON, &[("cn", "service"), ("sn", "S"), ("userPassword", "service-password")]),
    (
        "cn=wheel,ou=groups,dc=example,dc=com",
        GROUP,
        &[("cn", "wheel"), ("member", "cn=alice,ou=people,dc=example,dc=com")],
    ),
    ("cn=special,ou=groups,dc=example,dc=com", GROUP, &[("cn", "special"), ("member", SPECIAL_DN)]),
    (
        "cn=all,ou=groups,dc=example,dc=com",
        GROUP,
        &[
            ("cn", "all"),
            ("member", "cn=wheel,ou=groups,dc=example,dc=com"),
            ("member", "cn=top,ou=groups,dc=example,dc=com"),
        ],
    ),
    ("cn=top,ou=groups,dc=example,dc=com", GROUP, &[("cn", "top"), ("member", "cn=all,ou=groups,dc=example,dc=com")]),
];

impl Slapd {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("data")).unwrap();
        write_certificates(folder.path());
        let path = folder.path().display();
        let configuration = format!(
            "include /etc/ldap/schema/core.schema\n\
             include /etc/ldap/schema/cosine.schema\n\
             include /etc/ldap/schema/inetorgperson.schema\n\
             modulepath /usr/lib/ldap\n\
             moduleload back_mdb\n\
             TLSCertificateFile {path}/server.pem\n\
             TLSCertificateKeyFile {path}/server.key\n\
             TLSCACertificateFile {path}/ca.pem\n\
             TLSVerifyClient demand\n\
             database mdb\n\
             maxsize 10485760\n\
             directory {path}/data\n\
             suffix dc=example,dc=com\n\
             rootdn cn=admin,dc=example,dc=com\n\
             rootpw admin-password\n\
             access to attrs=userPassword by anonymous auth by * none\n\
             access to dn.subtree=ou=groups,dc=example,dc=com by users read by * none\n\
             access to * by * read\n"
        );
        fs::write(folder.path().join("slapd.conf"), configuration).unwrap();
        fs::write(folder.path().join("entries.ldif"), ldif(ENTRIES)).unwrap();
        let mut add = Command::new(PROGRAM);
        add.args(["-T", "add", "-f"]).arg(folder.path().join("slapd.conf"));
        let added = add.arg("-l").arg(folder.path().join("entries.ldif")).output().unwrap();
        assert!(added.status.success(), "{}", String::from_utf8_lossy(&added.stderr));
        let (port, tls_port) = (free_port(), free_port());
        let process = run(folder.path(), port, tls_port);
        let slapd = Self { folder, process, port, tls_port };
        slapd.wait();
        slapd
    }

    /// Ends the process and starts another one in its place.
    pub(crate) fn restart(&mut self) {
        self.stop();
        self.process = run(self.folder.path(), self.port, self.tls_port);
        self.wait();
    }

    pub(crate) fn stop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// What the server demands of TLS clients.
    pub(crate) fn client_certificate(&self) -> ClientCertificate {
        let file = |name| self.folder.path().join(name);
        ClientCertificate { certificate_file: file("client.pem"), key_file: file("client.key") }
    }

    /// A file that has who signed the server's certificate.
    pub(crate) fn authority_file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// A file that has somebody else.
    pub(crate) fn other_authority_file(&self) -> PathBuf {
        self.folder.path().join("other.pem")
    }

    fn wait(&self) {
        let begun = Instant::now();
        for port in [self.port, self.tls_port] {
            while TcpStream::connect(("127.0.0.1", port)).is_err() {
                assert!(begun.elapsed() < DEADLINE, "slapd does not listen on {port}");
                std::thread::yield_now();
            }
        }
    }
}

impl Drop for Slapd {
    fn drop(&mut self) {
        self.stop();
    }
}

fn run(folder: &Path, port: u16, tls_port: u16) -> Child {
    let addresses = format!("ldap://127.0.0.1:{port} ldaps://127.0.0.1:{tls_port}");
    let mut command = Command::new(PROGRAM);
    let command = command.args(["-d", "0", "-h", &addresses, "-f"]).arg(folder.join("slapd.conf"));
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// A port that nobody listens on, and that the system gives to nobody else for a while.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Values are in base64, as they have what means something to LDIF.
fn ldif(entries: &[Entry<'_>]) -> String {
    let mut text = String::new();
    for (dn, classes, attributes) in entries {
        writeln!(text, "dn:: {}", STANDARD.encode(dn)).unwrap();
        for class in *classes {
            writeln!(text, "objectClass: {class}").unwrap();
        }
        for (name, value) in *attributes {
            writeln!(text, "{name}:: {}", STANDARD.encode(value)).unwrap();
        }
        text.push('\n');
    }
    text
}

fn write_certificates(folder: &Path) {
    let authority = |name: &str| {
        let mut parameters = CertificateParams::default();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.distinguished_name.push(rcgen::DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let pem = parameters.self_signed(&key).unwrap().pem();
        (Issuer::new(parameters, key), pem)
    };
    let (ours, ours_pem) = authority("ours");
    let (_, other_pem) = authority("other");
    let signed = |name: &str| {
        let key = KeyPair::generate().unwrap();
        let parameters = CertificateParams::new(vec![name.into()]).unwrap();
        (parameters.signed_by(&key, &ours).unwrap().pem(), key.serialize_pem())
    };
    let (server, client) = (signed("ldap.example.com"), signed("broker.example.com"));
    for (name, text) in [
        ("ca.pem", ours_pem),
        ("other.pem", other_pem),
        ("server.pem", server.0),
        ("server.key", server.1),
        ("client.pem", client.0),
        ("client.key", client.1),
    ] {
        fs::write(folder.join(name), text).unwrap();
    }
}
