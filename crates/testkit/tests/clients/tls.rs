//! Brokers with TLS, and the files that clients need to speak with them.

use std::error::Error;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use leveret_server::{Config, Running, TlsSettings, Verify};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};
use tempfile::TempDir;

/// Two brokers, of which the second one asks for clients' certificates.
pub(crate) struct Brokers {
    folder: TempDir,
    running: [Running; 2],
}

impl Brokers {
    pub(crate) fn start() -> Result<Self, Box<dyn Error>> {
        let folder = tempfile::tempdir()?;
        let authority = CertifiedIssuer::self_signed(authority()?, KeyPair::generate()?)?;
        fs::write(folder.path().join("ca.pem"), authority.pem())?;
        for (name, hosts) in [("broker", vec!["localhost".to_owned()]), ("client", Vec::new())] {
            let key = KeyPair::generate()?;
            let mut params = CertificateParams::new(hosts)?;
            params.distinguished_name.push(DnType::CommonName, name);
            // Newer Pythons ask for what a good authority writes.
            params.use_authority_key_identifier_extension = true;
            let certificate = params.signed_by(&key, &authority)?;
            fs::write(folder.path().join(format!("{name}.crt")), certificate.pem())?;
            fs::write(folder.path().join(format!("{name}.key")), key.serialize_pem())?;
        }
        let running = [broker(folder.path(), Verify::None)?, broker(folder.path(), Verify::Peer)?];
        Ok(Self { folder, running })
    }

    pub(crate) fn ports(&self) -> Vec<String> {
        self.running.iter().flat_map(Running::tls_addresses).map(|address| address.port().to_string()).collect()
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }
}

fn authority() -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name.push(DnType::CommonName, "Authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

fn broker(folder: &Path, verify: Verify) -> Result<Running, Box<dyn Error>> {
    let mut tls = TlsSettings::new(folder.join("broker.crt"), folder.join("broker.key"));
    tls.authorities = Some(folder.join("ca.pem"));
    tls.verify = verify;
    tls.fail_if_no_peer_cert = verify == Verify::Peer;
    let config = Config {
        listen: Vec::new(),
        listen_tls: vec![SocketAddr::from(([127, 0, 0, 1], 0))],
        tls: Some(tls),
        data_dir: folder.join(format!("{verify:?}")),
        threads: 1,
        ..Config::default()
    };
    Ok(leveret_server::start(&config)?)
}
