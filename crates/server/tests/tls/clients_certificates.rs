//! Certificates of clients: who is let in.

use std::fs;
use std::sync::Arc;

use rcgen::SerialNumber;
use rustls::version::{TLS12, TLS13};

use crate::broker::{Broker, verify};
use crate::certificates::{Authority, Certified};
use crate::client::{Client, config, connect, is_taken};

#[test]
fn with_an_authority_only_its_clients_get_in() {
    let (authority, stranger) = (Authority::new("Clients"), Authority::new("Strangers"));
    let good = authority.certify("client", &[]);
    for required in [true, false] {
        let broker = Broker::start_with(|config, folder| {
            verify(config, folder, &authority);
            config.tls.as_mut().unwrap().fail_if_no_peer_cert = required;
        });
        for (what, certified, taken) in [
            ("none", None, !required),
            ("good", Some(good.clone()), true),
            ("unknown authority", Some(stranger.certify("client", &[])), false),
            ("expired", Some(authority.certify_expired("client", &[])), false),
        ] {
            for version in [&TLS12, &TLS13] {
                let config = config(broker.authority.roots(), certified.as_ref(), &[version]);
                assert_eq!(is_taken(broker.tls_address(), config), taken, "{what}, required {required}, {version:?}");
            }
        }
    }
}

#[test]
fn without_verification_nobody_is_asked() {
    let broker = Broker::start();
    let certified = Authority::new("Strangers").certify("client", &[]);
    assert!(is_taken(broker.tls_address(), config(broker.authority.roots(), Some(&certified), &[&TLS13])));
}

#[test]
fn depth_is_the_number_of_certificates_between_client_and_authority() {
    let root = Authority::new("Root");
    let first = root.below("First");
    let second = first.below("Second");
    let chains: [Certified; 3] = [
        root.certify("client", &[]),
        first.certify("client", &[]).with(&first),
        second.certify("client", &[]).with(&second).with(&first),
    ];
    for depth in 0..=2 {
        let broker = Broker::start_with(|config, folder| {
            verify(config, folder, &root);
            config.tls.as_mut().unwrap().depth = depth;
        });
        for (between, chain) in chains.iter().enumerate() {
            let taken = is_taken(broker.tls_address(), config(broker.authority.roots(), Some(chain), &[&TLS13]));
            assert_eq!(taken, between <= usize::from(depth), "{between} between, depth {depth}");
        }
    }
}

/// The chain counts that leads to an authority, not what else the client sends.
#[test]
fn superfluous_certificates_do_not_count_as_depth() {
    let root = Authority::new("Root");
    let chain = root.certify("client", &[]).with(&root).with(&Authority::new("Other"));
    let broker = Broker::start_with(|config, folder| {
        verify(config, folder, &root);
        config.tls.as_mut().unwrap().depth = 0;
    });
    assert!(is_taken(broker.tls_address(), config(broker.authority.roots(), Some(&chain), &[&TLS13])));
}

#[test]
fn revoked_certificates_are_refused() {
    let authority = Authority::new("Clients");
    let numbered = |serial: u64| {
        authority.certify_with("client", &[], |params| params.serial_number = Some(SerialNumber::from(serial)))
    };
    let broker = Broker::start_with(|config, folder| {
        verify(config, folder, &authority);
        let file = folder.join("revoked.pem");
        fs::write(&file, authority.revoke(7)).unwrap();
        config.tls.as_mut().unwrap().revocation_lists = Some(file);
    });
    for (serial, taken) in [(6, true), (7, false)] {
        let config = config(broker.authority.roots(), Some(&numbered(serial)), &[&TLS13]);
        assert_eq!(is_taken(broker.tls_address(), config), taken, "{serial}");
    }
}

#[test]
fn authorities_may_be_a_folder() {
    let authorities = [Authority::new("One"), Authority::new("Two")];
    let broker = Broker::start_with(|config, folder| {
        verify(config, folder, &authorities[0]);
        let many = folder.join("authorities");
        fs::create_dir(&many).unwrap();
        for (number, authority) in authorities.iter().enumerate() {
            fs::write(many.join(format!("{number}.pem")), authority.pem()).unwrap();
        }
        config.tls.as_mut().unwrap().authorities = Some(many);
    });
    for authority in &authorities {
        let certified = authority.certify("client", &[]);
        assert!(is_taken(broker.tls_address(), config(broker.authority.roots(), Some(&certified), &[&TLS13])));
    }
}

#[test]
fn a_session_that_is_taken_up_again_keeps_its_certificate() {
    let authority = Authority::new("Clients");
    let broker = Broker::start_with(|config, folder| verify(config, folder, &authority));
    let config = Arc::new(config(broker.authority.roots(), Some(&authority.certify("client", &[])), &[&TLS13]));
    Client::open(connect(broker.tls_address(), &config).unwrap()).works();
    let mut again = Client::open(connect(broker.tls_address(), &config).unwrap());
    again.works();
    assert_eq!(again.stream.conn.handshake_kind(), Some(rustls::HandshakeKind::Resumed));
}
