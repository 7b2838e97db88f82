//! Settings of the listener of the metrics.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::certificate::Certificate;
use super::management::Endpoint;
use super::{At, Group, Numbered, Place, Remark, Setting, TLS_VERSIONS, Takes, VERIFY};
use crate::config::everywhere;
use crate::config::prometheus::{PROMETHEUS_PORT, PROMETHEUS_TLS_PORT, PrometheusSettings};
use crate::tls::{KeyPassword, TlsSettings, TlsVersion, Verify};

pub(super) const GROUP: Group = Group {
    title: "Prometheus",
    settings: &[
        Setting {
            key: "prometheus.tcp.listener",
            takes: Takes::Word(&["none"], |draft, _, _| draft.prometheus.no_tcp = true),
            default: "",
            help: "Have no metrics without TLS, whatever `prometheus.tcp.port` says",
        },
        Setting {
            key: "prometheus.tcp.port",
            takes: Takes::Number(0, u16::MAX as u64, |draft, _, port| {
                draft.prometheus.tcp.port = u16::try_from(port).ok();
            }),
            default: "",
            help: "The port of the metrics: 15692 if nothing is set",
        },
        Setting {
            key: "prometheus.tcp.ip",
            takes: Takes::Ip(|draft, _, ip| draft.prometheus.tcp.ip = Some(ip)),
            default: "",
            help: "Its address: all of this machine if only a port is set, 127.0.0.1 if nothing is",
        },
        Setting {
            key: "prometheus.ssl.port",
            takes: Takes::Number(0, u16::MAX as u64, |draft, at, port| {
                draft.prometheus.place = at.place;
                draft.prometheus.ssl.port = u16::try_from(port).ok();
            }),
            default: "",
            help: "The port of the metrics with TLS: 15691 if there is a certificate",
        },
        Setting {
            key: "prometheus.ssl.ip",
            takes: Takes::Ip(|draft, at, ip| {
                draft.prometheus.place = at.place;
                draft.prometheus.ssl.ip = Some(ip);
            }),
            default: "",
            help: "Its address: all of this machine if it is not set",
        },
        Setting {
            key: "prometheus.ssl.certfile",
            takes: Takes::File(|draft, at, path| draft.prometheus.certificate.set_certificate(at, path)),
            default: "",
            help: "The certificate of the metrics, and behind it those that lead to an authority, PEM",
        },
        Setting {
            key: "prometheus.ssl.keyfile",
            takes: Takes::File(|draft, at, path| draft.prometheus.certificate.set_key(at, path)),
            default: "",
            help: "The key of that certificate, PEM; in the same file if it is not set",
        },
        Setting {
            key: "prometheus.ssl.password",
            takes: Takes::Secret(|draft, at, password| {
                let password = password.expose_text().unwrap_or_default().to_owned();
                draft.prometheus.set(at, |tls| tls.key_password = Some(KeyPassword::new(password)));
            }),
            default: "",
            help: "Opens the key if it is encrypted",
        },
        Setting {
            key: "prometheus.ssl.cacertfile",
            takes: Takes::File(|draft, at, path| draft.prometheus.set(at, |tls| tls.authorities = Some(path))),
            default: "",
            help: "The authorities whose clients are believed, PEM",
        },
        Setting {
            key: "prometheus.ssl.verify",
            takes: Takes::Word(VERIFY, |draft, at, word| {
                let verify = if word == "verify_peer" { Verify::Peer } else { Verify::None };
                draft.prometheus.set(at, |tls| tls.verify = verify);
            }),
            default: "verify_none",
            help: "Whether clients are asked for a certificate; one that they give has to be good",
        },
        Setting {
            key: "prometheus.ssl.fail_if_no_peer_cert",
            takes: Takes::Flag(|draft, at, on| draft.prometheus.set(at, |tls| tls.fail_if_no_peer_cert = on)),
            default: "false",
            help: "Whether clients without a certificate are turned away; needs `verify_peer`",
        },
        Setting {
            key: "prometheus.ssl.depth",
            takes: Takes::Number(0, 255, |draft, at, depth| {
                draft.prometheus.set(at, |tls| tls.depth = u8::try_from(depth).unwrap_or(u8::MAX));
            }),
            default: "10",
            help: "How many certificates may be between that of a client and the one of an authority; never more than 6",
        },
        Setting {
            key: "prometheus.ssl.honor_cipher_order",
            takes: Takes::Flag(|draft, at, on| draft.prometheus.set(at, |tls| tls.honor_cipher_order = on)),
            default: "false",
            help: "Whether the order of `ciphers` counts, rather than that of the client",
        },
        Setting {
            key: "prometheus.ssl.client_renegotiation",
            takes: Takes::Only("false"),
            default: "false",
            help: "There is no renegotiation",
        },
        Setting {
            key: "prometheus.ssl.secure_renegotiate",
            takes: Takes::Only("true"),
            default: "true",
            help: "There is no renegotiation, so none that is not secure",
        },
        Setting {
            key: "prometheus.ssl.versions.$n",
            takes: Takes::Word(TLS_VERSIONS, |draft, at, version| {
                draft.prometheus.place = at.place;
                draft.prometheus.versions.push(if version == "tlsv1.2" { TlsVersion::V1_2 } else { TlsVersion::V1_3 });
            }),
            default: "tlsv1.2, tlsv1.3",
            help: "The versions of TLS that are spoken",
        },
        Setting {
            key: "prometheus.ssl.ciphers.$n",
            takes: Takes::Text(|draft, at, name| {
                draft.prometheus.place = at.place;
                draft.prometheus.ciphers.push(at, name);
            }),
            default: "",
            help: "Cipher suites by the name of IANA or OpenSSL, the preferred one with the lowest number; all if none is set",
        },
        Setting {
            key: "prometheus.(tcp|ssl).idle_timeout",
            takes: Takes::Milliseconds(0, |draft, _, ms| settings(draft).idle_timeout_ms = ms),
            default: "60000",
            help: "How long a connection without requests stays, in milliseconds",
        },
        Setting {
            key: "prometheus.path",
            takes: Takes::Name(|draft, _, path| settings(draft).path = with_slash(&path)),
            default: "/metrics",
            help: "The path of the metrics, which all paths begin with",
        },
        Setting {
            key: "prometheus.return_per_object_metrics",
            takes: Takes::Flag(|draft, _, on| settings(draft).per_object = on),
            default: "false",
            help: "Whether `/metrics` has the metrics of each queue, connection and channel, as `/metrics/per-object` does",
        },
        Setting {
            key: "prometheus.authentication.enabled",
            takes: Takes::Flag(|draft, _, on| settings(draft).authentication = on),
            default: "false",
            help: "Whether only users with the tag `monitoring` or `administrator` are told the metrics",
        },
    ],
};

/// What was read so far and belongs together.
#[derive(Default)]
pub(super) struct Draft {
    no_tcp: bool,
    tcp: Endpoint,
    ssl: Endpoint,
    certificate: Certificate,
    tls: Option<TlsSettings>,
    versions: Vec<TlsVersion>,
    ciphers: Numbered<String>,
    /// A setting that needs a certificate.
    place: Place,
}

impl Draft {
    /// Sets something that the certificate is not needed for yet.
    fn set(&mut self, at: &At<'_>, change: impl FnOnce(&mut TlsSettings)) {
        self.place = at.place;
        change(self.tls.get_or_insert_with(|| TlsSettings::new(PathBuf::new(), PathBuf::new())));
    }
}

fn settings(draft: &mut super::Draft) -> &mut PrometheusSettings {
    &mut draft.config.prometheus
}

/// With a `/` before and none behind it.
fn with_slash(text: &str) -> String {
    format!("/{}", text.trim_matches('/'))
}

pub(super) fn finish(draft: &mut super::Draft) {
    let read = std::mem::take(&mut draft.prometheus);
    let settings = &mut draft.config.prometheus;
    let tcp = read.tcp.address(PROMETHEUS_PORT);
    settings.is_listen_set = tcp.is_some();
    // As in RabbitMQ, one with TLS is beside the other unless somebody does without that.
    settings.listen = if read.no_tcp { None } else { tcp.or(settings.listen) };
    let certificate = read.certificate.finish("prometheus.ssl", &mut draft.mistakes);
    let ssl = read.ssl.address(PROMETHEUS_TLS_PORT);
    if !read.place.is_somewhere() && certificate.is_none() {
        return;
    }
    settings.listen_tls = Some(ssl.unwrap_or_else(|| SocketAddr::new(everywhere(), PROMETHEUS_TLS_PORT)));
    let Some((certificate, key)) = certificate else {
        settings.tls.clone_from(&draft.config.tls);
        if draft.config.tls.is_none() || read.tls.is_some() {
            let text = "TLS needs prometheus.ssl.certfile, the certificate of the metrics";
            draft.mistakes.push(Remark::new(read.place, text));
        }
        return;
    };
    let tls = read.tls.unwrap_or_else(|| TlsSettings::new(certificate.clone(), key.clone()));
    let mut tls = TlsSettings { certificate, key, ciphers: read.ciphers.sorted(), ..tls };
    if !read.versions.is_empty() {
        tls.versions = read.versions;
    }
    settings.tls = Some(tls);
}
