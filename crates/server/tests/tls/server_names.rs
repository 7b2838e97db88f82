//! Certificates of the broker, chosen by the name that a client asks for.

use std::fs;
use std::sync::Arc;

use rustls::version::TLS13;

use crate::broker::Broker;
use crate::certificates::Authority;
use crate::client::{config, connect_to, tcp};

#[test]
fn clients_get_the_certificate_for_the_name_that_they_ask_for() {
    let authority = Authority::new("Authority");
    let first = authority.certify("broker", &["localhost"]);
    let one = authority.certify("one", &["one.example"]);
    let many = authority.certify("many", &["*.many.example", "two.example"]);
    let special = authority.certify("special", &["special.many.example"]);
    let broker = Broker::try_start(authority, &first, |config, folder| {
        let names = folder.join("names");
        fs::create_dir(&names).unwrap();
        one.write(&names, "one");
        many.write(&names, "many");
        // Certificate and key in one file.
        fs::write(names.join("special.pem"), [special.chain.clone(), special.key.clone()].concat()).unwrap();
        config.tls.as_mut().unwrap().more_certificates = Some(names);
    })
    .unwrap();
    let config = Arc::new(config(broker.authority.roots(), None, &[&TLS13]));
    for (name, expected) in [
        ("localhost", &first),
        ("one.example", &one),
        ("ONE.example", &one),
        ("two.example", &many),
        ("a.many.example", &many),
        ("special.many.example", &special),
    ] {
        let stream =
            connect_to(tcp(broker.tls_address()), &config, name).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(stream.conn.peer_certificates().unwrap()[0], expected.der().0[0], "{name}");
    }
    // Others get the first one, which is not for them.
    for name in ["three.example", "many.example", "a.b.many.example"] {
        let error = connect_to(tcp(broker.tls_address()), &config, name).unwrap_err().to_string();
        assert!(error.contains("not valid for name"), "{name}: {error}");
    }
}
