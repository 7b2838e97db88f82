//! Certificates, keys and revocation lists out of PEM files.

use std::fs;
use std::path::{Path, PathBuf};

use rustls::pki_types::{
    CertificateDer, CertificateRevocationListDer, PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer,
    PrivateSec1KeyDer,
};
use x509_parser::pem::Pem;
use zeroize::{Zeroize as _, Zeroizing};

use super::encrypted_key;
use super::error::TlsError;
use super::settings::KeyPassword;

/// The largest file that is read, in octets: all authorities of the world take a fraction of it.
const FILE_MAX: u64 = 16 * 1024 * 1024;
/// The label of a certificate.
const CERTIFICATE: &str = "CERTIFICATE";
/// Ends of the names of files in a folder of certificates.
const CERTIFICATE_ENDS: [&str; 3] = ["pem", "crt", "cer"];

/// The certificates in a file, at least one.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let mut certificates = Vec::new();
    for mut pem in sections(path)? {
        if pem.label == CERTIFICATE {
            certificates.push(CertificateDer::from(pem.contents));
        } else {
            pem.contents.zeroize();
        }
    }
    if certificates.is_empty() {
        return Err(TlsError::file(path, "there is no certificate in this file (-----BEGIN CERTIFICATE-----)"));
    }
    Ok(certificates)
}

/// The first key in a file.
pub(super) fn key(path: &Path, password: Option<&KeyPassword>) -> Result<PrivateKeyDer<'static>, TlsError> {
    for mut pem in sections(path)? {
        match pem.label.as_str() {
            "PRIVATE KEY" => return Ok(PrivatePkcs8KeyDer::from(pem.contents).into()),
            "RSA PRIVATE KEY" => return Ok(PrivatePkcs1KeyDer::from(pem.contents).into()),
            "EC PRIVATE KEY" => return Ok(PrivateSec1KeyDer::from(pem.contents).into()),
            "ENCRYPTED PRIVATE KEY" => {
                let Some(password) = password else {
                    return Err(TlsError::file(path, "the key is encrypted, and there is no password for it"));
                };
                let opened = encrypted_key::open(&pem.contents, password.octets())
                    .map_err(|error| TlsError::file(path, error.to_string()))?;
                return Ok(PrivatePkcs8KeyDer::from(opened).into());
            }
            _ => pem.contents.zeroize(),
        }
    }
    Err(TlsError::file(path, "there is no private key in this file (-----BEGIN PRIVATE KEY-----)"))
}

/// The revocation lists in a file, or in all files of a folder; at least one.
pub(super) fn revocation_lists(path: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsError> {
    let mut lists = Vec::new();
    for file in files(path)? {
        let found = sections(&file)?.into_iter().filter(|pem| pem.label == "X509 CRL");
        lists.extend(found.map(|pem| CertificateRevocationListDer::from(pem.contents)));
    }
    if lists.is_empty() {
        return Err(TlsError::file(path, "there is no revocation list here (-----BEGIN X509 CRL-----)"));
    }
    Ok(lists)
}

/// The certificates in a file, or in all files of a folder that have one, each with its file; at least one.
pub(super) fn authorities(path: &Path) -> Result<Vec<(PathBuf, CertificateDer<'static>)>, TlsError> {
    let mut authorities = Vec::new();
    for file in files(path)? {
        let found = sections(&file)?.into_iter().filter(|pem| pem.label == CERTIFICATE);
        authorities.extend(found.map(|pem| (file.clone(), CertificateDer::from(pem.contents))));
    }
    if authorities.is_empty() {
        return Err(TlsError::file(path, "there is no certificate of an authority here"));
    }
    Ok(authorities)
}

/// The certificates in a folder and the file of each one's key.
pub(super) fn pairs(folder: &Path) -> Result<Vec<(PathBuf, PathBuf)>, TlsError> {
    let mut pairs = Vec::new();
    for file in files(folder)? {
        let end = file.extension().and_then(|end| end.to_str()).unwrap_or_default();
        if CERTIFICATE_ENDS.contains(&end) {
            let key = file.with_extension("key");
            pairs.push(if key.is_file() { (file, key) } else { (file.clone(), file) });
        }
    }
    Ok(pairs)
}

/// The file, or the files of a folder in the order of their names. Those whose name begins with a dot are left out: there,
/// Kubernetes keeps what it is about to swap in.
pub(super) fn files(path: &Path) -> Result<Vec<PathBuf>, TlsError> {
    let failed = |source| TlsError::read(path, source);
    if !fs::metadata(path).map_err(failed)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(failed)? {
        let file = entry.map_err(failed)?.path();
        let hidden = file.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if !hidden && file.is_file() {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

/// What is in a PEM file.
fn sections(path: &Path) -> Result<Vec<Pem>, TlsError> {
    let failed = |source| TlsError::read(path, source);
    if fs::metadata(path).map_err(failed)?.len() > FILE_MAX {
        return Err(TlsError::file(path, format!("the file is larger than {FILE_MAX} bytes")));
    }
    let text = Zeroizing::new(fs::read(path).map_err(failed)?);
    if text.windows(22).any(|octets| octets == b"Proc-Type: 4,ENCRYPTED") {
        return Err(TlsError::file(
            path,
            "the key is encrypted in an old format; `openssl pkcs8 -topk8 -v2 aes-256-cbc` makes it a current one",
        ));
    }
    let sections: Result<Vec<Pem>, _> = Pem::iter_from_buffer(&text).collect();
    sections.map_err(|error| TlsError::file(path, format!("this is no PEM file: {error}")))
}
