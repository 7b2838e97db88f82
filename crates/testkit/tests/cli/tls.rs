//! Certificates for a node.

use std::error::Error;
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};

/// Writes `ca.pem`, `node.crt` and `node.key`; both certificates end in `days` days.
pub(crate) fn write(folder: &Path, days: u64) -> Result<(), Box<dyn Error>> {
    let end = SystemTime::now() + Duration::from_hours(24 * days);
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name.push(DnType::CommonName, "Authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_after = end.into();
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(vec!["localhost".to_owned()])?;
    params.distinguished_name.push(DnType::CommonName, "node");
    params.not_after = end.into();
    let certificate = params.signed_by(&key, &authority)?;
    fs::write(folder.join("ca.pem"), authority.pem())?;
    fs::write(folder.join("node.crt"), certificate.pem())?;
    fs::write(folder.join("node.key"), key.serialize_pem())?;
    Ok(())
}

/// Settings of a node with these files that takes TLS connections on this port.
pub(crate) fn settings(folder: &Path, port: u16) -> String {
    let folder = folder.display();
    format!(
        "listeners.ssl.1 = 127.0.0.1:{port}\n\
         ssl_options.cacertfile = {folder}/ca.pem\n\
         ssl_options.certfile = {folder}/node.crt\n\
         ssl_options.keyfile = {folder}/node.key\n"
    )
}
