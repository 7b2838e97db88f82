//! The same interface over TLS.

use std::io::{BufReader, Write};
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use crate::certificates::Authority;
use crate::process::folder;
use crate::request::{GUEST, connect, read, request};
use crate::start_with;

#[test]
fn the_interface_is_there_over_tls() {
    let files = folder();
    let authority = Authority::new("Authority of the broker");
    let (certificate, key) = authority.certify("broker", &["localhost", "127.0.0.1"]).write(files.path(), "broker");
    let (_folder, process, _) = start_with(&format!(
        "management.ssl.port = 0\nmanagement.ssl.ip = 127.0.0.1\nmanagement.ssl.certfile = {}\nmanagement.ssl.keyfile = {}\n",
        certificate.display(),
        key.display()
    ));
    let address = process.address("https").unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(authority.roots())
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut stream = BufReader::new(StreamOwned::new(connection, connect(address)));
    let mut ask = |line: &str| {
        stream.get_mut().write_all(request(line, &[GUEST], "").as_bytes()).unwrap();
        read(&mut stream, false).unwrap()
    };
    assert_eq!(ask("GET /api/whoami").json()["name"], "guest");
    let contexts = ask("GET /api/overview").json()["contexts"].clone();
    assert!(contexts.as_array().unwrap().iter().any(|context| context["ssl"] == "true"), "{contexts}");
    assert_eq!(ask("GET /api/health/checks/certificate-expiration/1/days").status, 200);
    let expired = ask("GET /api/health/checks/certificate-expiration/3000/years");
    assert_eq!(expired.status, 503);
    let expired = expired.json();
    assert_eq!((&expired["status"], &expired["reason"]), (&"failed".into(), &"Certificates expiring".into()));
    assert_eq!(expired["expired"][0]["port"], address.port());
    assert_eq!(expired["expired"][0]["certfile"], certificate.to_str().unwrap());
}
