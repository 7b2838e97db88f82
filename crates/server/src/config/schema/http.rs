//! Settings of the back end that asks a service over HTTP.

use std::path::PathBuf;

use leveret_auth::http::HttpMethod;
use leveret_auth::tls::{ClientCertificate, HostnameVerification, TlsSettings, TlsVersion, Verify};

use super::certificate::Certificate;
use super::{Group, MILLISECONDS_MAX, Setting, TLS_VERSIONS, Takes, VERIFY};

const SCHEMES: &[&str] = &["http", "https"];

pub(super) const GROUP: Group = Group {
    title: "Back end HTTP",
    settings: &[
        Setting {
            key: "auth_http.http_method",
            takes: Takes::Word(&["get", "post"], |draft, _, method| {
                draft.http_settings.method = if method == "post" { HttpMethod::Post } else { HttpMethod::Get };
            }),
            default: "get",
            help: "How the service is asked; with `get` it may write passwords to its log",
        },
        Setting {
            key: "auth_http.user_path",
            takes: Takes::Url(SCHEMES, |draft, _, url| draft.http_settings.user_path = url),
            default: "http://localhost:8000/auth/user",
            help: "Where to ask who somebody is",
        },
        Setting {
            key: "auth_http.vhost_path",
            takes: Takes::Url(SCHEMES, |draft, _, url| draft.http_settings.vhost_path = url),
            default: "http://localhost:8000/auth/vhost",
            help: "Where to ask who may use a vhost",
        },
        Setting {
            key: "auth_http.resource_path",
            takes: Takes::Url(SCHEMES, |draft, _, url| draft.http_settings.resource_path = url),
            default: "http://localhost:8000/auth/resource",
            help: "Where to ask who may do what with queues and exchanges",
        },
        Setting {
            key: "auth_http.topic_path",
            takes: Takes::Url(SCHEMES, |draft, _, url| draft.http_settings.topic_path = url),
            default: "http://localhost:8000/auth/topic",
            help: "Where to ask who may use a routing key",
        },
        Setting {
            key: "auth_http.request_timeout",
            takes: Takes::Number(1, MILLISECONDS_MAX, |draft, _, ms| draft.http_settings.request_timeout_ms = ms),
            default: "15000",
            help: "How long an answer may take, in milliseconds",
        },
        Setting {
            key: "auth_http.connection_timeout",
            takes: Takes::Number(1, MILLISECONDS_MAX, |draft, _, ms| {
                draft.http_settings.connection_timeout_ms = ms;
            }),
            default: "15000",
            help: "How long a connection to the service may take to come about, in milliseconds",
        },
        Setting {
            key: "auth_http.authorization_failure_disclosure",
            takes: Takes::Flag(|draft, _, on| draft.http_settings.authorization_failure_disclosure = on),
            default: "false",
            help: "Whether clients are told why the service does not allow something",
        },
        Setting {
            key: "auth_http.ssl_options.verify",
            takes: Takes::Word(VERIFY, |draft, _, word| {
                tls(draft).verify = if word == "verify_none" { Verify::None } else { Verify::Peer };
            }),
            default: "verify_peer",
            help: "Whether the certificate of the service is checked",
        },
        Setting {
            key: "auth_http.ssl_options.cacertfile",
            takes: Takes::File(|draft, _, path| tls(draft).ca_certificate_file = Some(path)),
            default: "",
            help: "Who may have signed it, PEM; those whom the system trusts if it is not set",
        },
        Setting {
            key: "auth_http.ssl_options.certfile",
            takes: Takes::File(|draft, at, path| draft.http.client.set_certificate(at, path)),
            default: "",
            help: "The broker's own certificate, PEM, if the service asks for one",
        },
        Setting {
            key: "auth_http.ssl_options.keyfile",
            takes: Takes::File(|draft, at, path| draft.http.client.set_key(at, path)),
            default: "",
            help: "The key of that certificate, PEM; in the same file if it is not set",
        },
        Setting {
            key: "auth_http.ssl_options.sni",
            takes: Takes::Text(|draft, _, name| tls(draft).server_name = Some(name).filter(|name| name != "none")),
            default: "none",
            help: "The name that the certificate of the service has, if it is not the one in the URL",
        },
        Setting {
            key: "auth_http.ssl_options.hostname_verification",
            takes: Takes::Word(&["wildcard", "none"], |draft, _, word| {
                tls(draft).hostname_verification = match word {
                    "none" => HostnameVerification::Exact,
                    _ => HostnameVerification::Wildcard,
                };
            }),
            default: "wildcard",
            help: "Whether a name with a `*` in the certificate counts; `none` does not turn the check of the name off",
        },
        Setting {
            key: "auth_http.ssl_options.depth",
            takes: Takes::Number(0, 255, |draft, _, depth| tls(draft).depth = u8::try_from(depth).ok()),
            default: "",
            help: "How many certificates may be between that of the service and the one in `cacertfile`",
        },
        Setting {
            key: "auth_http.ssl_options.fail_if_no_peer_cert",
            takes: Takes::Only("true"),
            default: "true",
            help: "There is no TLS with a service that has no certificate",
        },
        Setting {
            key: "auth_http.ssl_options.versions.$n",
            takes: Takes::Word(TLS_VERSIONS, |draft, _, version| {
                draft.http.versions.push(match version {
                    "tlsv1.2" => TlsVersion::V1_2,
                    _ => TlsVersion::V1_3,
                });
            }),
            default: "tlsv1.2, tlsv1.3",
            help: "The versions of TLS that are spoken",
        },
    ],
};

/// What was read so far and belongs together.
#[derive(Default)]
pub(super) struct Draft {
    client: Certificate,
    versions: Vec<TlsVersion>,
}

fn tls(draft: &mut super::Draft) -> &mut TlsSettings {
    &mut draft.http_settings.tls
}

pub(super) fn finish(draft: &mut super::Draft) {
    let Draft { client, versions } = std::mem::take(&mut draft.http);
    if !versions.is_empty() {
        tls(draft).versions = versions;
    }
    let files = client.finish("auth_http.ssl_options", &mut draft.mistakes);
    let client = |(certificate_file, key_file): (PathBuf, PathBuf)| ClientCertificate { certificate_file, key_file };
    tls(draft).client_certificate = files.map(client);
}
