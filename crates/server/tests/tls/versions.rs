//! Versions, cipher suites, and sessions that are taken up again.

use std::sync::Arc;

use leveret_server::TlsVersion;
use rustls::client::Resumption;
use rustls::version::{TLS12, TLS13};
use rustls::{HandshakeKind, ProtocolVersion, SupportedProtocolVersion};

use crate::broker::Broker;
use crate::client::{Client, config, connect, is_taken};

const BOTH: [(&SupportedProtocolVersion, ProtocolVersion); 2] =
    [(&TLS12, ProtocolVersion::TLSv1_2), (&TLS13, ProtocolVersion::TLSv1_3)];

#[test]
fn both_versions_are_spoken() {
    let broker = Broker::start();
    for (version, name) in BOTH {
        let config = Arc::new(config(broker.authority.roots(), None, &[version]));
        let stream = connect(broker.tls_address(), &config).unwrap();
        assert_eq!(stream.conn.protocol_version(), Some(name));
        Client::open(stream).works();
    }
}

#[test]
fn versions_that_are_off_are_refused() {
    for (on, taken) in [(TlsVersion::V1_2, [true, false]), (TlsVersion::V1_3, [false, true])] {
        let broker = Broker::start_with(|config, _| config.tls.as_mut().unwrap().versions = vec![on]);
        let found =
            BOTH.map(|(version, _)| is_taken(broker.tls_address(), config(broker.authority.roots(), None, &[version])));
        assert_eq!(found, taken, "{on}");
    }
}

#[test]
fn the_order_of_suites_is_ours_only_if_it_is_to_be_honoured() {
    let ours = "TLS_CHACHA20_POLY1305_SHA256";
    for (honored, expected) in [(true, "TLS13_CHACHA20_POLY1305_SHA256"), (false, "TLS13_AES_256_GCM_SHA384")] {
        let broker = Broker::start_with(|config, _| {
            let tls = config.tls.as_mut().unwrap();
            tls.versions = vec![TlsVersion::V1_3];
            tls.ciphers = vec![ours.into(), "TLS_AES_256_GCM_SHA384".into()];
            tls.honor_cipher_order = honored;
        });
        let config = Arc::new(config(broker.authority.roots(), None, &[&TLS13]));
        let stream = connect(broker.tls_address(), &config).unwrap();
        let suite = stream.conn.negotiated_cipher_suite().unwrap().suite();
        assert_eq!(format!("{suite:?}"), expected);
    }
}

#[test]
fn sessions_are_taken_up_again() {
    let broker = Broker::start();
    for (version, name) in BOTH {
        let mut config = config(broker.authority.roots(), None, &[version]);
        config.resumption = Resumption::in_memory_sessions(8);
        let config = Arc::new(config);
        let kinds = [(); 3].map(|()| {
            let mut client = Client::open(connect(broker.tls_address(), &config).unwrap());
            client.works();
            client.stream.conn.handshake_kind().unwrap()
        });
        assert_eq!(kinds[0], HandshakeKind::Full, "{name:?}");
        assert_eq!(kinds[1..], [HandshakeKind::Resumed; 2], "{name:?}");
    }
}
