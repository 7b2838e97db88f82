//! Keys and certificates of brokers, clients and tokens.

use std::error::Error;
use std::fs;
use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair, KeyUsagePurpose,
    PKCS_RSA_SHA256,
};

/// Writes a key that tokens are signed with, `token_key.der`, and its public half, `token_key.pem`.
pub(crate) fn write_token_key(folder: &Path) -> Result<(), Box<dyn Error>> {
    let key = KeyPair::generate_for(&PKCS_RSA_SHA256)?;
    fs::write(folder.join("token_key.der"), key.serialize_der())?;
    fs::write(folder.join("token_key.pem"), key.public_key_pem())?;
    Ok(())
}

/// Writes an authority, `ca.pem`, and what it signs: a certificate for the broker and some for clients. The one of the client
/// `forged` is signed by somebody of the same name, and names hazel.
pub(crate) fn write_certificates(folder: &Path) -> Result<(), Box<dyn Error>> {
    let ours = authority()?;
    let other = authority()?;
    fs::write(folder.join("ca.pem"), ours.pem())?;
    for (file, name, host, authority) in [
        ("broker", "broker", Some("localhost"), &ours),
        ("hazel", "hazel", None, &ours),
        ("stranger", "stranger", None, &ours),
        ("forged", "hazel", None, &other),
    ] {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(host.map(str::to_owned).into_iter().collect::<Vec<_>>())?;
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "Warren");
        params.distinguished_name.push(DnType::CommonName, name);
        // Newer Pythons ask for what a good authority writes.
        params.use_authority_key_identifier_extension = true;
        fs::write(folder.join(format!("{file}.crt")), params.signed_by(&key, authority)?.pem())?;
        fs::write(folder.join(format!("{file}.key")), key.serialize_pem())?;
    }
    Ok(())
}

fn authority() -> Result<CertifiedIssuer<'static, KeyPair>, rcgen::Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name.push(DnType::CommonName, "Authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    CertifiedIssuer::self_signed(params, KeyPair::generate()?)
}
