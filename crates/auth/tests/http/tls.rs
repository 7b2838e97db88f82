//! HTTPS: who the service is, and who the node is to it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use leveret_auth::http::{HttpBackend, HttpSettings};
use leveret_auth::tls::{ClientCertificate, HostnameVerification, TlsSettings, TlsVersion, Verify};
use leveret_auth::{Denial, LoggedIn};
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use tempfile::TempDir;
use tokio_rustls::rustls;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};

use super::service::{Reply, TestService};
use super::{log_in, run, settings};

const BOTH: &[&SupportedProtocolVersion] = &[&rustls::version::TLS12, &rustls::version::TLS13];

/// Somebody who signs certificates.
struct Authority {
    certificate: rcgen::Certificate,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate, those that lead to who signed it, and its key.
struct Signed {
    chain: Vec<CertificateDer<'static>>,
    pem: String,
    key: KeyPair,
}

fn authority_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

impl Authority {
    fn new(name: &str) -> Self {
        let (params, key) = (authority_params(name), KeyPair::generate().unwrap());
        let certificate = params.self_signed(&key).unwrap();
        Self { certificate, issuer: Issuer::new(params, key) }
    }

    /// One that is below this one.
    fn below(&self, name: &str) -> Self {
        let (params, key) = (authority_params(name), KeyPair::generate().unwrap());
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Self { certificate, issuer: Issuer::new(params, key) }
    }

    fn sign(&self, names: &[&str], via: &[&Self]) -> Signed {
        let mut params = CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let mut chain = vec![certificate.der().clone()];
        let mut pem = certificate.pem();
        for authority in via {
            chain.push(authority.certificate.der().clone());
            pem.push_str(&authority.certificate.pem());
        }
        Signed { chain, pem, key }
    }

    fn file(&self, folder: &TempDir, name: &str) -> PathBuf {
        write(folder, name, &self.certificate.pem())
    }
}

fn write(folder: &TempDir, name: &str, text: &str) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    path
}

/// A service with this certificate, which wants clients to have one that somebody signed, if somebody is given.
async fn serve(
    signed: &Signed,
    versions: &[&'static SupportedProtocolVersion],
    clients: Option<&Authority>,
) -> TestService {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_protocol_versions(versions).unwrap();
    let config = if let Some(clients) = clients {
        let mut roots = RootCertStore::empty();
        roots.add(clients.certificate.der().clone()).unwrap();
        config.with_client_cert_verifier(
            WebPkiClientVerifier::builder_with_provider(roots.into(), provider).build().unwrap(),
        )
    } else {
        config.with_no_client_auth()
    };
    let key = PrivateKeyDer::try_from(signed.key.serialize_der()).unwrap();
    let config = config.with_single_cert(signed.chain.clone(), key).unwrap();
    TestService::start_tls(config, |_| Reply::ok("allow")).await
}

/// Settings for a service, by this name.
fn secured(service: &TestService, host: &str, tls: TlsSettings) -> HttpSettings {
    HttpSettings { tls, ..settings(&format!("https://{host}:{}", service.address.port())) }
}

fn trusting(ca: &Path) -> TlsSettings {
    TlsSettings { ca_certificate_file: Some(ca.into()), ..TlsSettings::default() }
}

fn assert_out_of_reach(result: Result<LoggedIn, Denial>, why: &str) {
    let Err(Denial::Failed(text)) = result else { panic!("{result:?}, and not {why}") };
    assert!(text.starts_with("the HTTP service is out of reach: ") && text.contains(why), "{text}");
}

#[test]
fn a_service_has_to_be_who_it_says() {
    run(async {
        let folder = TempDir::new().unwrap();
        let (ca, other) = (Authority::new("ca"), Authority::new("other"));
        let service = serve(&ca.sign(&["localhost"], &[]), BOTH, None).await;
        let (ca, other) = (ca.file(&folder, "ca.pem"), other.file(&folder, "other.pem"));

        log_in(&secured(&service, "localhost", trusting(&ca))).await.unwrap();
        assert_out_of_reach(log_in(&secured(&service, "localhost", trusting(&other))).await, "UnknownIssuer");
        assert_out_of_reach(log_in(&secured(&service, "127.0.0.1", trusting(&ca))).await, "not valid for name");
        // Anybody may be, if nothing is verified.
        let unverified = TlsSettings { verify: Verify::None, ..trusting(&other) };
        log_in(&secured(&service, "127.0.0.1", unverified)).await.unwrap();
    });
}

#[test]
fn the_name_in_the_certificate_may_be_another_one() {
    run(async {
        let folder = TempDir::new().unwrap();
        let ca = Authority::new("ca");
        let service = serve(&ca.sign(&["auth.example.org"], &[]), BOTH, None).await;
        let ca = ca.file(&folder, "ca.pem");
        let named = |name: &str| TlsSettings { server_name: Some(name.into()), ..trusting(&ca) };
        log_in(&secured(&service, "localhost", named("auth.example.org"))).await.unwrap();
        assert_out_of_reach(log_in(&secured(&service, "localhost", named("example.org"))).await, "not valid for name");
        let error = HttpBackend::new(&secured(&service, "localhost", named("a b"))).unwrap_err();
        assert_eq!(error.to_string(), "auth_http.ssl_options.sni: 'a b' is not the name of a host");
    });
}

#[test]
fn wildcards_stand_for_names_unless_they_are_turned_off() {
    use HostnameVerification::{Exact, Wildcard};
    for (names, hostname_verification, expected) in [
        (&["*.example.org"][..], Wildcard, true),
        (&["*.example.org"][..], Exact, false),
        (&["*.example.org", "Auth.example.org"][..], Exact, true),
    ] {
        run(async {
            let folder = TempDir::new().unwrap();
            let ca = Authority::new("ca");
            let service = serve(&ca.sign(names, &[]), BOTH, None).await;
            let tls = TlsSettings {
                server_name: Some("auth.example.org".into()),
                hostname_verification,
                ..trusting(&ca.file(&folder, "ca.pem"))
            };
            let result = log_in(&secured(&service, "localhost", tls)).await;
            assert_eq!(result.is_ok(), expected, "{names:?} {hostname_verification:?}: {result:?}");
        });
    }
}

#[test]
fn certificates_may_be_in_between_up_to_the_depth() {
    for (depth, expected) in [(None, true), (Some(2), true), (Some(1), false), (Some(0), false)] {
        run(async {
            let folder = TempDir::new().unwrap();
            let ca = Authority::new("ca");
            let middle = ca.below("middle");
            let last = middle.below("last");
            let service = serve(&last.sign(&["localhost"], &[&last, &middle]), BOTH, None).await;
            let tls = TlsSettings { depth, ..trusting(&ca.file(&folder, "ca.pem")) };
            let result = log_in(&secured(&service, "localhost", tls)).await;
            assert_eq!(result.is_ok(), expected, "{depth:?}: {result:?}");
        });
    }
}

#[test]
fn the_node_shows_its_certificate_to_services_that_ask() {
    run(async {
        let folder = TempDir::new().unwrap();
        let ca = Authority::new("ca");
        let service = serve(&ca.sign(&["localhost"], &[]), BOTH, Some(&ca)).await;
        let own = ca.sign(&["broker"], &[]);
        let certificate_file = write(&folder, "own.pem", &own.pem);
        let key_file = write(&folder, "key.pem", &own.key.serialize_pem());
        let ca = ca.file(&folder, "ca.pem");

        let client_certificate = Some(ClientCertificate { certificate_file, key_file });
        let tls = TlsSettings { client_certificate, ..trusting(&ca) };
        log_in(&secured(&service, "localhost", tls)).await.unwrap();
        log_in(&secured(&service, "localhost", trusting(&ca))).await.unwrap_err();
    });
}

#[test]
fn versions_are_those_that_are_set() {
    const ONLY_1_2: &[&SupportedProtocolVersion] = &[&rustls::version::TLS12];
    for (of_service, versions, expected) in [
        (ONLY_1_2, vec![TlsVersion::V1_2, TlsVersion::V1_3], true),
        (ONLY_1_2, vec![TlsVersion::V1_2], true),
        (ONLY_1_2, vec![TlsVersion::V1_3], false),
        (BOTH, vec![TlsVersion::V1_3], true),
    ] {
        run(async {
            let folder = TempDir::new().unwrap();
            let ca = Authority::new("ca");
            let service = serve(&ca.sign(&["localhost"], &[]), of_service, None).await;
            let tls = TlsSettings { versions: versions.clone(), ..trusting(&ca.file(&folder, "ca.pem")) };
            let result = log_in(&secured(&service, "localhost", tls)).await;
            assert_eq!(result.is_ok(), expected, "{versions:?}: {result:?}");
        });
    }
}

#[test]
fn tls_settings_that_cannot_be_used_are_refused() {
    let folder = TempDir::new().unwrap();
    let signed = Authority::new("ca").sign(&["localhost"], &[]);
    let (certificate_file, key_file) =
        (write(&folder, "own.pem", &signed.pem), write(&folder, "key.pem", &signed.key.serialize_pem()));
    let empty = write(&folder, "empty.pem", "");
    let other_key = write(&folder, "other.pem", &KeyPair::generate().unwrap().serialize_pem());
    let base = trusting(&certificate_file);
    let with_own = |certificate_file: &Path, key_file: &Path| TlsSettings {
        client_certificate: Some(ClientCertificate {
            certificate_file: certificate_file.into(),
            key_file: key_file.into(),
        }),
        ..base.clone()
    };
    for (tls, expected) in [
        (trusting(&folder.path().join("missing")), "auth_http.ssl_options.cacertfile: "),
        (trusting(&empty), "auth_http.ssl_options.cacertfile: "),
        (with_own(&empty, &key_file), "auth_http.ssl_options.certfile: "),
        (with_own(&certificate_file, &empty), "auth_http.ssl_options.keyfile: "),
        (with_own(&certificate_file, &other_key), "auth_http.ssl_options.certfile: "),
        (TlsSettings { versions: vec![], ..base.clone() }, "auth_http.ssl_options.versions: "),
    ] {
        let error = HttpBackend::new(&HttpSettings { tls, ..HttpSettings::default() }).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }
}
