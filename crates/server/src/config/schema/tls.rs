//! Settings of TLS listeners.

use std::path::PathBuf;

use super::certificate::Certificate;
use super::{At, Group, Numbered, Place, Remark, Setting, TLS_VERSIONS, Takes, VERIFY};
use crate::tls::{KeyPassword, LoginFrom, SanType, TlsSettings, TlsVersion, Verify};

const NO_CERTIFICATE: &str = "TLS needs a certificate and its key: ssl_options.certfile and ssl_options.keyfile in a file, or \
                              --tls-cert and --tls-key";

pub(super) const GROUP: Group = Group {
    title: "TLS of listeners",
    settings: &[
        Setting {
            key: "ssl_options.certfile",
            takes: Takes::File(|draft, at, path| draft.tls.certificate.set_certificate(at, path)),
            default: "",
            help: "The broker's certificate, and behind it those that lead to an authority, PEM",
        },
        Setting {
            key: "ssl_options.keyfile",
            takes: Takes::File(|draft, at, path| draft.tls.certificate.set_key(at, path)),
            default: "",
            help: "The key of that certificate, PEM; in the same file if it is not set",
        },
        Setting {
            key: "ssl_options.password",
            takes: Takes::Secret(|draft, at, password| {
                let password = password.expose_text().unwrap_or_default().to_owned();
                draft.tls.set(at, |tls| tls.key_password = Some(KeyPassword::new(password)));
            }),
            default: "",
            help: "Opens the key if it is encrypted",
        },
        Setting {
            key: "ssl_options.cacertfile",
            takes: Takes::FileOrFolder(|draft, at, path| draft.tls.set(at, |tls| tls.authorities = Some(path))),
            default: "",
            help: "The authorities whose clients are believed, PEM; a file, or a folder of files",
        },
        Setting {
            key: "ssl_options.verify",
            takes: Takes::Word(VERIFY, |draft, at, word| {
                let verify = if word == "verify_peer" { Verify::Peer } else { Verify::None };
                draft.tls.set(at, |tls| tls.verify = verify);
            }),
            default: "verify_none",
            help: "Whether clients are asked for a certificate; one that they give has to be good",
        },
        Setting {
            key: "ssl_options.fail_if_no_peer_cert",
            takes: Takes::Flag(|draft, at, on| draft.tls.set(at, |tls| tls.fail_if_no_peer_cert = on)),
            default: "false",
            help: "Whether clients without a certificate are turned away; needs `verify_peer`",
        },
        Setting {
            key: "ssl_options.depth",
            takes: Takes::Number(0, 255, |draft, at, depth| {
                draft.tls.set(at, |tls| tls.depth = u8::try_from(depth).unwrap_or(u8::MAX));
            }),
            default: "10",
            help: "How many certificates may be between that of a client and the one of an authority; never more than 6",
        },
        Setting {
            key: "ssl_options.versions.$n",
            takes: Takes::Word(TLS_VERSIONS, |draft, at, version| {
                draft.tls.place = at.place;
                draft.tls.versions.push(if version == "tlsv1.2" { TlsVersion::V1_2 } else { TlsVersion::V1_3 });
            }),
            default: "tlsv1.2, tlsv1.3",
            help: "The versions of TLS that are spoken",
        },
        Setting {
            key: "ssl_options.ciphers.$n",
            takes: Takes::Text(|draft, at, name| {
                draft.tls.place = at.place;
                draft.tls.ciphers.push(at, name);
            }),
            default: "",
            help: "Cipher suites by the name of IANA or OpenSSL, the preferred one with the lowest number; all if none is set",
        },
        Setting {
            key: "ssl_options.honor_cipher_order",
            takes: Takes::Flag(|draft, at, on| draft.tls.set(at, |tls| tls.honor_cipher_order = on)),
            default: "false",
            help: "Whether that order counts, rather than that of the client",
        },
        Setting {
            key: "ssl_options.client_renegotiation",
            takes: Takes::Only("false"),
            default: "false",
            help: "There is no renegotiation",
        },
        Setting {
            key: "ssl_options.secure_renegotiate",
            takes: Takes::Only("true"),
            default: "true",
            help: "There is no renegotiation, so none that is not secure",
        },
        Setting {
            key: "ssl_cert_login_from",
            takes: Takes::Word(
                &["distinguished_name", "common_name", "subject_alternative_name", "subject_alt_name"],
                |draft, at, word| {
                    draft.tls.place = at.place;
                    draft.tls.login_from = Some(word);
                },
            ),
            default: "distinguished_name",
            help: "What of a client's certificate is the name of its user, for the mechanism EXTERNAL",
        },
        Setting {
            key: "ssl_cert_login_san_type",
            takes: Takes::Word(&["dns", "ip", "email", "uri", "other_name"], |draft, at, kind| {
                draft.tls.place = at.place;
                draft.tls.san_type = kind.parse().ok();
            }),
            default: "dns",
            help: "The type of the alternative name that is the user's",
        },
        Setting {
            key: "ssl_cert_login_san_index",
            takes: Takes::Number(0, u32::MAX as u64, |draft, at, index| {
                draft.tls.place = at.place;
                draft.tls.san_index = usize::try_from(index).ok();
            }),
            default: "0",
            help: "Which of the names of that type, from 0",
        },
    ],
};

/// What was read so far and belongs together.
#[derive(Default)]
pub(super) struct Draft {
    certificate: Certificate,
    /// What else is set, if anything is.
    settings: Option<TlsSettings>,
    versions: Vec<TlsVersion>,
    ciphers: Numbered<String>,
    login_from: Option<&'static str>,
    san_type: Option<SanType>,
    san_index: Option<usize>,
    /// A setting that needs a certificate.
    place: Place,
}

impl Draft {
    /// Says that there has to be a certificate.
    pub(super) fn need(&mut self, place: Place) {
        self.place = place;
    }

    /// Sets something that the certificate is not needed for yet.
    pub(super) fn set(&mut self, at: &At<'_>, change: impl FnOnce(&mut TlsSettings)) {
        self.place = at.place;
        change(self.settings.get_or_insert_with(|| TlsSettings::new(PathBuf::new(), PathBuf::new())));
    }
}

pub(super) fn finish(draft: &mut super::Draft) {
    let Draft { certificate, settings, versions, ciphers, login_from, san_type, san_index, place } =
        std::mem::take(&mut draft.tls);
    let Some((certificate, key)) = certificate.finish("ssl_options", &mut draft.mistakes) else {
        if place.is_somewhere() {
            draft.mistakes.push(Remark::new(place, NO_CERTIFICATE));
        }
        return;
    };
    let settings = settings.unwrap_or_else(|| TlsSettings::new(certificate.clone(), key.clone()));
    let mut settings = TlsSettings { certificate, key, ..settings };
    if !versions.is_empty() {
        settings.versions = versions;
    }
    settings.ciphers = ciphers.sorted();
    let is_alternative = !matches!(login_from, None | Some("distinguished_name" | "common_name"));
    if !is_alternative && (san_type.is_some() || san_index.is_some()) {
        let text = "ssl_cert_login_san_* has no effect unless ssl_cert_login_from is subject_alternative_name";
        draft.warnings.push(Remark::new(place, text));
    }
    settings.login_from = match login_from {
        None | Some("distinguished_name") => LoginFrom::DistinguishedName,
        Some("common_name") => LoginFrom::CommonName,
        Some(_) => LoginFrom::SubjectAlternativeName {
            kind: san_type.unwrap_or(SanType::Dns),
            index: san_index.unwrap_or_default(),
        },
    };
    draft.config.tls = Some(settings);
}
