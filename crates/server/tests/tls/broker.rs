//! A broker with TLS in this process, and what a test needs to speak with it.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use leveret_server::{Config, Running, StartError, TlsSettings, Verify};
use tempfile::TempDir;

use crate::certificates::{Authority, Certified};

pub(crate) struct Broker {
    pub(crate) running: Running,
    pub(crate) folder: TempDir,
    /// Who signed its certificate.
    pub(crate) authority: Authority,
}

impl Broker {
    /// With a certificate for `localhost`.
    pub(crate) fn start() -> Self {
        Self::start_with(|_, _| {})
    }

    /// The same, after changes to its settings, for which there is a folder.
    pub(crate) fn start_with(change: impl FnOnce(&mut Config, &Path)) -> Self {
        let authority = Authority::new("Authority of the broker");
        let certified = authority.certify("broker", &["localhost", "127.0.0.1"]);
        Self::try_start(authority, &certified, change).unwrap()
    }

    pub(crate) fn try_start(
        authority: Authority,
        certified: &Certified,
        change: impl FnOnce(&mut Config, &Path),
    ) -> Result<Self, StartError> {
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = certified.write(folder.path(), "broker");
        let here = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
        let mut config = Config {
            listen: here.clone(),
            listen_tls: here,
            tls: Some(TlsSettings::new(certificate, key)),
            data_dir: folder.path().join("data"),
            threads: 1,
            ..Config::default()
        };
        change(&mut config, folder.path());
        Ok(Self { running: leveret_server::start(&config)?, folder, authority })
    }

    pub(crate) fn tls_address(&self) -> SocketAddr {
        self.running.tls_addresses()[0]
    }

    pub(crate) fn plain_address(&self) -> SocketAddr {
        self.running.addresses()[0]
    }
}

/// Makes clients show certificates by this authority.
pub(crate) fn verify(config: &mut Config, folder: &Path, authority: &Authority) {
    let file = folder.join("clients-authority.pem");
    fs::write(&file, authority.pem()).unwrap();
    let tls = config.tls.as_mut().unwrap();
    tls.authorities = Some(file);
    tls.verify = Verify::Peer;
    tls.fail_if_no_peer_cert = true;
}
