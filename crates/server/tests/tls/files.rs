//! Certificates and keys that a broker starts with, or does not.

use std::fs;
use std::path::Path;
use std::process::Command;

use leveret_server::{KeyPassword, TlsSettings, Verify};
use rcgen::KeyPair;
use rustls::version::TLS13;

use crate::broker::Broker;
use crate::certificates::{Authority, Certified};
use crate::client::{config, is_taken};

fn certified() -> (Authority, Certified) {
    let authority = Authority::new("Authority");
    let certified = authority.certify("broker", &["localhost"]);
    (authority, certified)
}

#[test]
fn a_start_with_wrong_files_is_refused_with_the_name_of_the_file() {
    let tls = |change: fn(&mut TlsSettings, &Path)| change;
    for (name, change, expected) in [
        (
            "missing certificate",
            tls(|tls, folder| tls.certificate = folder.join("none.pem")),
            "cannot read {}/none.pem",
        ),
        (
            "no certificate in it",
            tls(|tls, _| tls.certificate.clone_from(&tls.key)),
            "{}/broker.key: there is no certificate",
        ),
        ("no key in it", tls(|tls, _| tls.key.clone_from(&tls.certificate)), "{}/broker.crt: there is no private key"),
        (
            "another's key",
            tls(|tls, _| fs::write(&tls.key, KeyPair::generate().unwrap().serialize_pem()).unwrap()),
            "the key in {}/broker.key is not the one of the certificate in {}/broker.crt",
        ),
        ("nobody to verify by", tls(|tls, _| tls.verify = Verify::Peer), "there is no file with authorities"),
        ("nobody is asked", tls(|tls, _| tls.fail_if_no_peer_cert = true), "verify has to be `peer`"),
        (
            "no authority in the file",
            tls(|tls, folder| {
                tls.verify = Verify::Peer;
                fs::write(folder.join("ca.pem"), "nothing\n").unwrap();
                tls.authorities = Some(folder.join("ca.pem"));
            }),
            "{}/ca.pem: there is no certificate of an authority",
        ),
        ("no versions", tls(|tls, _| tls.versions.clear()), "no version of TLS"),
        ("an unknown suite", tls(|tls, _| tls.ciphers = vec!["RC4-MD5".into()]), "`RC4-MD5` is not known"),
        (
            "a certificate that is none",
            tls(|tls, _| {
                let text = "-----BEGIN CERTIFICATE-----\nMAMCAQA=\n-----END CERTIFICATE-----\n";
                fs::write(&tls.certificate, text).unwrap();
            }),
            "{}/broker.crt: the certificate cannot be used",
        ),
    ] {
        let (authority, certified) = certified();
        let mut folder_name = String::new();
        let result = Broker::try_start(authority, &certified, |config, folder| {
            folder_name = folder.display().to_string();
            change(config.tls.as_mut().unwrap(), folder);
        });
        let error = result.err().expect(name).to_string();
        let expected = expected.replace("{}", &folder_name);
        assert!(error.starts_with("cannot listen with TLS: ") && error.contains(&expected), "{name}: {error}");
        assert!(!error.contains('\n'), "{error}");
    }
}

#[test]
fn an_expired_certificate_is_no_reason_not_to_start() {
    let authority = Authority::new("Authority");
    let expired = authority.certify_expired("broker", &["localhost"]);
    let broker = Broker::try_start(authority, &expired, |_, _| {}).unwrap();
    assert!(
        !is_taken(broker.tls_address(), config(broker.authority.roots(), None, &[&TLS13])),
        "the client refuses it"
    );
}

/// Whether there is an `openssl` to make keys with; says so if not.
fn openssl(arguments: &[&str], folder: &Path) -> bool {
    match Command::new("openssl").args(arguments).current_dir(folder).output() {
        Ok(output) if output.status.success() => true,
        Ok(output) => panic!("openssl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr)),
        Err(error) => {
            eprintln!("SKIPPED: keys as openssl writes them ({error}); install openssl");
            false
        }
    }
}

/// Makes a key in every format; says whether it could.
fn keys(folder: &Path) -> bool {
    let request: &[&str] = &[
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-keyout",
        "pkcs8.pem",
        "-out",
        "rsa.crt",
        "-days",
        "2",
        "-subj",
        "/CN=localhost",
        "-addext",
        "subjectAltName=DNS:localhost",
    ];
    let ec_request: &[&str] = &[
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-keyout",
        "ec.pem",
        "-out",
        "ec.crt",
        "-days",
        "2",
        "-subj",
        "/CN=localhost",
    ];
    let encrypt = |output: &'static str, cipher: &'static str, hash: &'static str| {
        vec![
            "pkcs8",
            "-topk8",
            "-in",
            "pkcs8.pem",
            "-out",
            output,
            "-v2",
            cipher,
            "-v2prf",
            hash,
            "-passout",
            "pass:secret",
        ]
    };
    for arguments in [
        request.to_vec(),
        ec_request.to_vec(),
        vec!["rsa", "-in", "pkcs8.pem", "-traditional", "-out", "pkcs1.pem"],
        vec!["ec", "-in", "ec.pem", "-out", "sec1.pem"],
        encrypt("aes256.pem", "aes-256-cbc", "hmacWithSHA256"),
        encrypt("aes128.pem", "aes-128-cbc", "hmacWithSHA1"),
        encrypt("aes192.pem", "aes-192-cbc", "hmacWithSHA512"),
        encrypt("des3.pem", "des3", "hmacWithSHA256"),
        vec!["pkcs8", "-topk8", "-in", "pkcs8.pem", "-out", "scrypt.pem", "-scrypt", "-passout", "pass:secret"],
        vec!["rsa", "-in", "pkcs8.pem", "-traditional", "-aes128", "-passout", "pass:secret", "-out", "old.pem"],
    ] {
        if !openssl(&arguments, folder) {
            return false;
        }
    }
    true
}

#[test]
fn keys_are_read_in_every_format() {
    let folder = tempfile::tempdir().unwrap();
    if !keys(folder.path()) {
        return;
    }
    for (certificate, key, password, reason) in [
        ("rsa.crt", "pkcs8.pem", None, None),
        ("rsa.crt", "pkcs1.pem", None, None),
        ("ec.crt", "ec.pem", None, None),
        ("ec.crt", "sec1.pem", None, None),
        ("rsa.crt", "aes256.pem", Some("secret"), None),
        ("rsa.crt", "aes128.pem", Some("secret"), None),
        ("rsa.crt", "aes192.pem", Some("secret"), None),
        ("rsa.crt", "aes256.pem", Some("wrong"), Some("aes256.pem: the password for the key is wrong")),
        ("rsa.crt", "aes256.pem", None, Some("aes256.pem: the key is encrypted, and there is no password")),
        ("rsa.crt", "des3.pem", Some("secret"), Some("des3.pem: the key is encrypted in a way that is not supported")),
        (
            "rsa.crt",
            "scrypt.pem",
            Some("secret"),
            Some("scrypt.pem: the key is encrypted in a way that is not supported"),
        ),
        ("rsa.crt", "old.pem", Some("secret"), Some("old.pem: the key is encrypted in an old format")),
        ("ec.crt", "pkcs8.pem", None, Some("pkcs8.pem is not the one of the certificate in")),
    ] {
        let (authority, certified) = certified();
        let result = Broker::try_start(authority, &certified, |config, _| {
            let tls = config.tls.as_mut().unwrap();
            tls.certificate = folder.path().join(certificate);
            tls.key = folder.path().join(key);
            tls.key_password = password.map(|password| KeyPassword::new(password.to_owned()));
        });
        let error = result.err().map(|error| error.to_string());
        match reason {
            None => assert_eq!(error, None, "{key}"),
            Some(reason) => assert!(error.as_ref().is_some_and(|error| error.contains(reason)), "{key}: {error:?}"),
        }
        assert!(!error.unwrap_or_default().contains("secret"));
    }
}
