//! Settings of the listener of the management interface.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use super::certificate::Certificate;
use super::{At, Group, Numbered, Place, Remark, Setting, TLS_VERSIONS, Takes, VERIFY};
use crate::config::everywhere;
use crate::config::management::{CSP, MANAGEMENT_PORT, MANAGEMENT_TLS_PORT, ManagementSettings};
use crate::tls::{KeyPassword, TlsSettings, TlsVersion, Verify};

/// The largest body that can be allowed, in octets.
const BODY_MAX: u64 = 1024 * 1024 * 1024;

pub(super) const GROUP: Group = Group {
    title: "Management",
    settings: &[
        Setting {
            key: "management.tcp",
            takes: Takes::Word(&["none"], |draft, _, _| draft.management.no_tcp = true),
            default: "",
            help: "Have no management interface without TLS, whatever `management.tcp.port` says",
        },
        Setting {
            key: "management.tcp.port",
            takes: Takes::Number(0, u16::MAX as u64, |draft, _, port| {
                draft.management.tcp.port = u16::try_from(port).ok();
            }),
            default: "",
            help: "The port of the management interface: 15672 if nothing is set",
        },
        Setting {
            key: "management.tcp.ip",
            takes: Takes::Ip(|draft, _, ip| draft.management.tcp.ip = Some(ip)),
            default: "",
            help: "Its address: all of this machine if only a port is set, 127.0.0.1 if nothing is",
        },
        Setting {
            key: "management.listener.port",
            takes: Takes::Number(0, u16::MAX as u64, |draft, _, port| {
                draft.management.listener.port = u16::try_from(port).ok();
            }),
            default: "",
            help: "The same under its old name",
        },
        Setting {
            key: "management.listener.ip",
            takes: Takes::Ip(|draft, _, ip| draft.management.listener.ip = Some(ip)),
            default: "",
            help: "The same under its old name",
        },
        Setting {
            key: "management.listener.ssl",
            takes: Takes::Flag(|draft, at, on| draft.management.listener_tls = on.then_some(at.place)),
            default: "false",
            help: "Whether `management.listener` is one with TLS",
        },
        Setting {
            key: "management.ssl.port",
            takes: Takes::Number(0, u16::MAX as u64, |draft, at, port| {
                draft.management.place = at.place;
                draft.management.ssl.port = u16::try_from(port).ok();
            }),
            default: "",
            help: "The port of the management interface with TLS: 15671 if there is a certificate",
        },
        Setting {
            key: "management.ssl.ip",
            takes: Takes::Ip(|draft, at, ip| {
                draft.management.place = at.place;
                draft.management.ssl.ip = Some(ip);
            }),
            default: "",
            help: "Its address: all of this machine if it is not set",
        },
        Setting {
            key: "management.(ssl|listener.ssl_opts).certfile",
            takes: Takes::File(|draft, at, path| draft.management.certificate.set_certificate(at, path)),
            default: "",
            help: "The certificate of the management interface, and behind it those that lead to an authority, PEM",
        },
        Setting {
            key: "management.(ssl|listener.ssl_opts).keyfile",
            takes: Takes::File(|draft, at, path| draft.management.certificate.set_key(at, path)),
            default: "",
            help: "The key of that certificate, PEM; in the same file if it is not set",
        },
        Setting {
            key: "management.(ssl|listener.ssl_opts).password",
            takes: Takes::Secret(|draft, at, password| {
                let password = password.expose_text().unwrap_or_default().to_owned();
                draft.management.set(at, |tls| tls.key_password = Some(KeyPassword::new(password)));
            }),
            default: "",
            help: "Opens the key if it is encrypted",
        },
        Setting {
            key: "management.(ssl|listener.ssl_opts).cacertfile",
            takes: Takes::File(|draft, at, path| draft.management.set(at, |tls| tls.authorities = Some(path))),
            default: "",
            help: "The authorities whose clients are believed, PEM",
        },
        Setting {
            key: "management.(ssl|listener.ssl_opts).verify",
            takes: Takes::Word(VERIFY, |draft, at, word| {
                let verify = if word == "verify_peer" { Verify::Peer } else { Verify::None };
                draft.management.set(at, |tls| tls.verify = verify);
            }),
            default: "verify_none",
            help: "Whether clients are asked for a certificate; one that they give has to be good",
        },
        Setting {
            key: "management.(ssl|listener.ssl_opts).fail_if_no_peer_cert",
            takes: Takes::Flag(|draft, at, on| draft.management.set(at, |tls| tls.fail_if_no_peer_cert = on)),
            default: "false",
            help: "Whether clients without a certificate are turned away; needs `verify_peer`",
        },
        Setting {
            key: "management.(ssl|listener.ssl_opts).depth",
            takes: Takes::Number(0, 255, |draft, at, depth| {
                draft.management.set(at, |tls| tls.depth = u8::try_from(depth).unwrap_or(u8::MAX));
            }),
            default: "10",
            help: "How many certificates may be between that of a client and the one of an authority; never more than 6",
        },
        Setting {
            key: "management.(ssl|listener.ssl_opts).honor_cipher_order",
            takes: Takes::Flag(|draft, at, on| draft.management.set(at, |tls| tls.honor_cipher_order = on)),
            default: "false",
            help: "Whether the order of `ciphers` counts, rather than that of the client",
        },
        Setting {
            key: "management.(ssl|listener.ssl_opts).client_renegotiation",
            takes: Takes::Only("false"),
            default: "false",
            help: "There is no renegotiation",
        },
        Setting {
            key: "management.(ssl|listener.ssl_opts).secure_renegotiate",
            takes: Takes::Only("true"),
            default: "true",
            help: "There is no renegotiation, so none that is not secure",
        },
        Setting {
            key: "management.(ssl|listener.ssl_opts).versions.$n",
            takes: Takes::Word(TLS_VERSIONS, |draft, at, version| {
                draft.management.place = at.place;
                draft.management.versions.push(if version == "tlsv1.2" { TlsVersion::V1_2 } else { TlsVersion::V1_3 });
            }),
            default: "tlsv1.2, tlsv1.3",
            help: "The versions of TLS that are spoken",
        },
        Setting {
            key: "management.(ssl|listener.ssl_opts).ciphers.$n",
            takes: Takes::Text(|draft, at, name| {
                draft.management.place = at.place;
                draft.management.ciphers.push(at, name);
            }),
            default: "",
            help: "Cipher suites by the name of IANA or OpenSSL, the preferred one with the lowest number; all if none is set",
        },
        Setting {
            key: "management.(tcp|ssl|listener.server).idle_timeout",
            takes: Takes::Milliseconds(0, |draft, _, ms| settings(draft).idle_timeout_ms = ms),
            default: "60000",
            help: "How long a connection without requests stays, in milliseconds",
        },
        Setting {
            key: "management.path_prefix",
            takes: Takes::Text(|draft, _, prefix| settings(draft).path_prefix = path_prefix(&prefix)),
            default: "",
            help: "What comes before all paths, such as `/rabbitmq`",
        },
        Setting {
            key: "management.http.max_body_size",
            takes: Takes::Size(1, BODY_MAX, |draft, _, size| settings(draft).body_max = size),
            default: "20000000",
            help: "The largest body of a request, in bytes",
        },
        Setting {
            key: "management.disable_basic_auth",
            takes: Takes::Flag(|draft, _, off| settings(draft).basic_auth = !off),
            default: "false",
            help: "Whether names and passwords are turned away",
        },
        Setting {
            key: "management.disable_stats",
            takes: Takes::Flag(|draft, _, off| settings(draft).disable_stats = off),
            default: "false",
            help: "Whether answers have nothing that is counted, and no rates",
        },
        Setting {
            key: "management.enable_queue_totals",
            takes: Takes::Flag(|draft, _, on| settings(draft).enable_queue_totals = on),
            default: "false",
            help: "Whether queues have their numbers of messages even with `management.disable_stats`",
        },
        Setting {
            key: "management.require_auth_for_api_desc_page",
            takes: Takes::Flag(|draft, _, on| settings(draft).private_pages = on),
            default: "false",
            help: "Whether the pages that describe the interface are for those with a login only",
        },
        Setting {
            key: "management.cors.allow_origins",
            takes: Takes::Only("none"),
            default: "none",
            help: "No page of another host may send requests, unless `management.cors.allow_origins.$n` says otherwise",
        },
        Setting {
            key: "management.cors.allow_origins.$n",
            takes: Takes::Name(|draft, at, origin| draft.management.origins.push(at, origin)),
            default: "",
            help: "Hosts whose pages may send requests; `*` for all",
        },
        Setting {
            key: "management.cors.max_age",
            takes: Takes::Number(0, u32::MAX as u64, |draft, _, seconds| settings(draft).cors_max_age = Some(seconds)),
            default: "1800",
            help: "How long browsers may remember that, in seconds",
        },
        Setting {
            key: "management.csp.policy",
            takes: Takes::Text(|draft, _, text| settings(draft).csp = Some(text)),
            default: CSP,
            help: "The header `Content-Security-Policy`",
        },
        Setting {
            key: "management.hsts.policy",
            takes: Takes::Text(|draft, _, text| settings(draft).hsts = Some(text)),
            default: "",
            help: "The header `Strict-Transport-Security`",
        },
        Setting {
            key: "management.headers.content_type_options",
            takes: Takes::Text(|draft, _, text| settings(draft).content_type_options = Some(text)),
            default: "nosniff",
            help: "The header `X-Content-Type-Options`",
        },
        Setting {
            key: "management.headers.xss_protection",
            takes: Takes::Text(|draft, _, text| settings(draft).xss_protection = Some(text)),
            default: "",
            help: "The header `X-XSS-Protection`",
        },
        Setting {
            key: "management.headers.frame_options",
            takes: Takes::Text(|draft, _, text| settings(draft).frame_options = Some(text)),
            default: "",
            help: "The header `X-Frame-Options`",
        },
    ],
};

/// What was read so far and belongs together.
#[derive(Default)]
pub(super) struct Draft {
    no_tcp: bool,
    tcp: Endpoint,
    ssl: Endpoint,
    listener: Endpoint,
    /// The place that says that `listener` has TLS.
    listener_tls: Option<Place>,
    certificate: Certificate,
    tls: Option<TlsSettings>,
    versions: Vec<TlsVersion>,
    ciphers: Numbered<String>,
    origins: Numbered<String>,
    /// A setting that needs a certificate.
    place: Place,
}

/// Where to listen, as far as it is known.
#[derive(Clone, Copy, Default)]
pub(super) struct Endpoint {
    pub(super) ip: Option<IpAddr>,
    pub(super) port: Option<u16>,
}

impl Endpoint {
    /// What is set in either.
    fn or(self, other: Self) -> Self {
        Self { ip: self.ip.or(other.ip), port: self.port.or(other.port) }
    }

    /// All of it, if anything is known.
    pub(super) fn address(self, default_port: u16) -> Option<SocketAddr> {
        let is_known = self.ip.is_some() || self.port.is_some();
        let address = || SocketAddr::new(self.ip.unwrap_or_else(everywhere), self.port.unwrap_or(default_port));
        is_known.then(address)
    }
}

impl Draft {
    /// Sets something that the certificate is not needed for yet.
    fn set(&mut self, at: &At<'_>, change: impl FnOnce(&mut TlsSettings)) {
        self.place = at.place;
        change(self.tls.get_or_insert_with(|| TlsSettings::new(PathBuf::new(), PathBuf::new())));
    }
}

fn settings(draft: &mut super::Draft) -> &mut ManagementSettings {
    &mut draft.config.management
}

/// With a `/` before and none behind it.
fn path_prefix(text: &str) -> String {
    let text = text.trim_matches('/');
    if text.is_empty() { String::new() } else { format!("/{text}") }
}

pub(super) fn finish(draft: &mut super::Draft) {
    let mut read = std::mem::take(&mut draft.management);
    let (mut tcp, mut ssl) = (read.tcp, read.ssl);
    if let Some(place) = read.listener_tls {
        ssl = ssl.or(read.listener);
        read.place = place;
    } else {
        tcp = tcp.or(read.listener);
    }
    let is_sorted = !read.origins.is_empty();
    let origins = read.origins.sorted();
    let settings = &mut draft.config.management;
    if is_sorted {
        settings.cors_origins = origins;
    }
    let tcp = tcp.address(MANAGEMENT_PORT);
    settings.is_listen_set = tcp.is_some();
    let certificate = read.certificate.finish("management.ssl", &mut draft.mistakes);
    // As in RabbitMQ, one with TLS takes the place of the one that is there if nothing is set.
    settings.listen = if read.no_tcp { None } else { tcp.or(settings.listen.filter(|_| certificate.is_none())) };
    if !read.place.is_somewhere() && certificate.is_none() {
        return;
    }
    settings.listen_tls =
        Some(ssl.address(MANAGEMENT_TLS_PORT).unwrap_or_else(|| SocketAddr::new(everywhere(), MANAGEMENT_TLS_PORT)));
    let Some((certificate, key)) = certificate else {
        settings.tls.clone_from(&draft.config.tls);
        if draft.config.tls.is_none() || read.tls.is_some() {
            let text = "TLS needs management.ssl.certfile, the certificate of the management interface";
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
