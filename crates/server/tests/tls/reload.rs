//! Files that change while the broker runs.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::version::TLS13;

use crate::broker::{Broker, verify};
use crate::certificates::{Authority, Certified};
use crate::client::{Client, config, connect, is_taken};

/// The first certificate that a new client gets to see.
fn shown(broker: &Broker) -> rustls::pki_types::CertificateDer<'static> {
    let config = Arc::new(config(broker.authority.roots(), None, &[&TLS13]));
    let stream = connect(broker.tls_address(), &config).unwrap();
    stream.conn.peer_certificates().unwrap()[0].clone()
}

fn first(certified: &Certified) -> rustls::pki_types::CertificateDer<'static> {
    certified.der().0.remove(0)
}

#[test]
fn a_new_certificate_is_for_new_connections_and_the_old_ones_live() {
    let broker = Broker::start();
    let config = Arc::new(config(broker.authority.roots(), None, &[&TLS13]));
    let mut old = Client::open(connect(broker.tls_address(), &config).unwrap());
    let new = broker.authority.certify("new", &["localhost"]);
    assert_ne!(shown(&broker), first(&new));
    new.write(broker.folder.path(), "broker");
    broker.running.reload_tls();
    assert_eq!(shown(&broker), first(&new));
    old.works();
}

#[test]
fn files_that_are_wrong_change_nothing() {
    let broker = Broker::start();
    let before = shown(&broker);
    let new = broker.authority.certify("new", &["localhost"]);
    // The certificate without its key, as half of a change looks.
    fs::write(broker.folder.path().join("broker.crt"), &new.chain).unwrap();
    broker.running.reload_tls();
    assert_eq!(shown(&broker), before);
    fs::write(broker.folder.path().join("broker.crt"), "nothing").unwrap();
    broker.running.reload_tls();
    assert_eq!(shown(&broker), before);
    fs::remove_file(broker.folder.path().join("broker.crt")).unwrap();
    broker.running.reload_tls();
    assert_eq!(shown(&broker), before);
    new.write(broker.folder.path(), "broker");
    broker.running.reload_tls();
    assert_eq!(shown(&broker), first(&new));
}

#[test]
fn a_changed_file_is_noticed() {
    let broker = Broker::start();
    let new = broker.authority.certify("new", &["localhost"]);
    new.write(broker.folder.path(), "broker");
    let deadline = Instant::now() + Duration::from_mins(1);
    while shown(&broker) != first(&new) {
        assert!(Instant::now() < deadline, "the new certificate is not in use");
        std::thread::yield_now();
    }
}

/// A ticket from before is no way around what was changed.
#[test]
fn an_authority_that_is_gone_is_not_believed_any_more() {
    let (old, new) = (Authority::new("Old"), Authority::new("New"));
    let broker = Broker::start_with(|config, folder| verify(config, folder, &old));
    let client = config(broker.authority.roots(), Some(&old.certify("client", &[])), &[&TLS13]);
    assert!(is_taken(broker.tls_address(), client.clone()));
    fs::write(broker.folder.path().join("clients-authority.pem"), new.pem()).unwrap();
    broker.running.reload_tls();
    assert!(!is_taken(broker.tls_address(), client));
    let client = config(broker.authority.roots(), Some(&new.certify("client", &[])), &[&TLS13]);
    assert!(is_taken(broker.tls_address(), client));
}
