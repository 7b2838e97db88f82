//! Settings of the back end that takes tokens for passwords.
//!
//! Most are there twice: for the resource server and the provider at the top, and for further ones by their names.

use std::collections::BTreeMap;

use leveret_auth::oauth2::{OAuth2Settings, ProviderSettings, ResourceServerSettings, SigningKey};
use leveret_auth::tls::{HostnameVerification, Verify};

use super::values::shorten;
use super::{At, Group, Numbered, Place, Remark, Setting, Takes, VERIFY};

/// Keys are worth nothing if somebody in between can change them.
const SCHEMES: &[&str] = &["https"];

/// What can be set of a resource server; `$id` says which one a key means.
macro_rules! resource_server {
    ($prefix:literal, $id:ident) => {
        [
            Setting {
                key: concat!($prefix, "resource_server_type"),
                takes: Takes::Text(|draft, at, kind| server(draft, $id(at)).resource_server_type = Some(kind)),
                default: "",
                help: "Which entries of `authorization_details` in a token mean this broker",
            },
            Setting {
                key: concat!($prefix, "scope_prefix"),
                takes: Takes::Text(|draft, at, prefix| server(draft, $id(at)).scope_prefix = Some(prefix)),
                default: "",
                help: "What scopes begin with; the id and a dot if it is not set",
            },
            Setting {
                key: concat!($prefix, "verify_aud"),
                takes: Takes::Flag(|draft, at, on| server(draft, $id(at)).verify_aud = Some(on)),
                default: "true",
                help: "Whether the audience of a token has to have the id",
            },
            Setting {
                key: concat!($prefix, "additional_scopes_key"),
                takes: Takes::Text(|draft, at, claim| server(draft, $id(at)).additional_scopes_key = Some(claim)),
                default: "",
                help: "Claims with scopes besides `scope`, with spaces between them",
            },
            Setting {
                key: concat!($prefix, "preferred_username_claims.$n"),
                takes: Takes::Text(|draft, at, claim| {
                    draft.oauth2.claims.entry($id(at).map(Into::into)).or_default().push(at, claim);
                }),
                default: "",
                help: "Claims that may have the user's name, in the order of their numbers, before `sub` and `client_id`",
            },
            Setting {
                key: concat!($prefix, "scope_aliases.$alias"),
                takes: Takes::Text(|draft, at, scopes| {
                    server(draft, $id(at)).scope_aliases.insert(at.word().to_owned(), words(&scopes));
                }),
                default: "",
                help: "Scopes, with spaces between them, that this name stands for",
            },
            Setting {
                key: concat!($prefix, "scope_aliases.$n.alias"),
                takes: Takes::Text(|draft, at, alias| draft.oauth2.alias($id(at), at).name = Some(alias)),
                default: "",
                help: "A name that stands for scopes, if it has characters that a key cannot have",
            },
            Setting {
                key: concat!($prefix, "scope_aliases.$n.scope"),
                takes: Takes::Text(|draft, at, scopes| draft.oauth2.alias($id(at), at).scopes = Some(words(&scopes))),
                default: "",
                help: "Scopes, with spaces between them, that the name with this number stands for",
            },
        ]
    };
}
/// What can be set of a provider; `$id` says which one a key means.
macro_rules! provider {
    ($prefix:literal, $id:ident) => {
        [
            Setting {
                key: concat!($prefix, "issuer"),
                takes: Takes::Url(SCHEMES, |draft, at, url| provider(draft, $id(at)).issuer = Some(url)),
                default: "",
                help: "Who signs tokens; where its keys are is found out there",
            },
            Setting {
                key: concat!($prefix, "discovery_endpoint_path"),
                takes: Takes::Text(|draft, at, path| provider(draft, $id(at)).discovery_endpoint_path = Some(path)),
                default: ".well-known/openid-configuration",
                help: "Where below the issuer",
            },
            Setting {
                key: concat!($prefix, "discovery_endpoint_params.$name"),
                takes: Takes::Text(|draft, at, value| {
                    let parameter = (at.word().to_owned(), value);
                    provider(draft, $id(at)).discovery_endpoint_params.push(parameter);
                }),
                default: "",
                help: "A parameter that is added to that URL",
            },
            Setting {
                key: concat!($prefix, "jwks_uri"),
                takes: Takes::Url(SCHEMES, |draft, at, url| provider(draft, $id(at)).jwks_uri = Some(url)),
                default: "",
                help: "Where the keys are; it wins over the issuer",
            },
            Setting {
                key: concat!($prefix, "jwks_url"),
                takes: Takes::Url(SCHEMES, |draft, at, url| provider(draft, $id(at)).jwks_uri = Some(url)),
                default: "",
                help: "The old name of `jwks_uri`",
            },
            Setting {
                key: concat!($prefix, "https.peer_verification"),
                takes: Takes::Word(VERIFY, |draft, at, word| provider(draft, $id(at)).https.verify = verification(word)),
                default: "verify_peer",
                help: "Whether the certificate of the provider is checked",
            },
            Setting {
                key: concat!($prefix, "https.verify"),
                takes: Takes::Word(VERIFY, |draft, at, word| provider(draft, $id(at)).https.verify = verification(word)),
                default: "verify_peer",
                help: "Another name of `https.peer_verification`",
            },
            Setting {
                key: concat!($prefix, "https.cacertfile"),
                takes: Takes::File(|draft, at, path| provider(draft, $id(at)).https.ca_certificate_file = Some(path)),
                default: "",
                help: "Who may have signed it, PEM; those whom the system trusts if it is not set",
            },
            Setting {
                key: concat!($prefix, "https.hostname_verification"),
                takes: Takes::Word(&["wildcard", "none"], |draft, at, word| {
                    provider(draft, $id(at)).https.hostname_verification = match word {
                        "none" => HostnameVerification::Exact,
                        _ => HostnameVerification::Wildcard,
                    };
                }),
                default: "wildcard",
                help: "Whether a name with a `*` in the certificate counts; `none` does not turn the check of the name off",
            },
            Setting {
                key: concat!($prefix, "https.depth"),
                takes: Takes::Number(0, 255, |draft, at, depth| {
                    provider(draft, $id(at)).https.depth = u8::try_from(depth).ok();
                }),
                default: "",
                help: "How many certificates may be between that of the provider and one that is trusted",
            },
            Setting {
                key: concat!($prefix, "https.fail_if_no_peer_cert"),
                takes: Takes::Only("true"),
                default: "true",
                help: "There is no TLS with a provider that has no certificate",
            },
            Setting {
                key: concat!($prefix, "signing_keys.$kid"),
                takes: Takes::File(|draft, at, path| {
                    provider(draft, $id(at)).signing_keys.insert(at.word().to_owned(), SigningKey::PemFile(path));
                }),
                default: "",
                help: "A public key or certificate, PEM, that need not be fetched, by its id",
            },
            Setting {
                key: concat!($prefix, "default_key"),
                takes: Takes::Text(|draft, at, id| provider(draft, $id(at)).default_key = Some(id)),
                default: "",
                help: "The id of the key for tokens that name none",
            },
            Setting {
                key: concat!($prefix, "algorithms.$n"),
                takes: Takes::Text(|draft, at, algorithm| {
                    draft.oauth2.algorithms.entry($id(at).map(Into::into)).or_default().push(at, algorithm);
                }),
                default: "",
                help: "The only algorithms, such as RS256, that tokens may be signed by; all that fit the key if none is set",
            },
        ]
    };
}
pub(super) const GROUPS: [Group; 5] = [
    Group { title: "Back end OAuth 2.0", settings: SETTINGS },
    Group {
        title: "Back end OAuth 2.0: what holds for every resource server that does not say otherwise",
        settings: &resource_server!("auth_oauth2.", top),
    },
    Group { title: "Back end OAuth 2.0: the provider at the top", settings: &provider!("auth_oauth2.", top) },
    Group {
        title: "Back end OAuth 2.0: further resource servers",
        settings: &resource_server!("auth_oauth2.resource_servers.$id.", named),
    },
    Group {
        title: "Back end OAuth 2.0: further providers",
        settings: &provider!("auth_oauth2.oauth_providers.$id.", named),
    },
];

const SETTINGS: &[Setting] = &[
    Setting {
        key: "auth_oauth2.resource_server_id",
        takes: Takes::Text(|draft, at, id| server(draft, top(at)).id = Some(id)),
        default: "",
        help: "What has to be in the audience of a token",
    },
    Setting {
        key: "auth_oauth2.resource_servers.$id.id",
        takes: Takes::Text(|draft, at, id| server(draft, named(at)).id = Some(id)),
        default: "$id",
        help: "The same of a further resource server, if it is not its name here",
    },
    Setting {
        key: "auth_oauth2.default_oauth_provider",
        takes: Takes::Text(|draft, at, id| {
            draft.oauth2.named.push((at.place, at.key(), id.clone()));
            settings(draft).default_oauth_provider = Some(id);
        }),
        default: "",
        help: "The one of `auth_oauth2.oauth_providers` that signs tokens where no other is named; the one at the top if not set",
    },
    Setting {
        key: "auth_oauth2.resource_servers.$id.oauth_provider_id",
        takes: Takes::Text(|draft, at, id| {
            draft.oauth2.named.push((at.place, at.key(), id.clone()));
            server(draft, named(at)).oauth_provider_id = Some(id);
        }),
        default: "",
        help: "The one of `auth_oauth2.oauth_providers` that signs tokens for this resource server",
    },
    Setting {
        key: "auth_oauth2.require_exp",
        takes: Takes::Flag(|draft, _, on| settings(draft).require_exp = on),
        default: "true",
        help: "Whether a token has to say when it expires",
    },
];

/// What was read so far and belongs together, by the resource server or provider; `None` is the one at the top.
#[derive(Default)]
pub(super) struct Draft {
    claims: BTreeMap<Option<String>, Numbered<String>>,
    algorithms: BTreeMap<Option<String>, Numbered<String>>,
    aliases: BTreeMap<(Option<String>, String), Alias>,
    /// Where providers were referred to: the place, the key and the provider.
    named: Vec<(Place, String, String)>,
}

/// A name for scopes, as far as it is known.
#[derive(Default)]
struct Alias {
    name: Option<String>,
    scopes: Option<Vec<String>>,
    place: Place,
}

impl Draft {
    /// The alias with the number at the end of the key.
    fn alias(&mut self, server: Option<&str>, at: &At<'_>) -> &mut Alias {
        let alias = self.aliases.entry((server.map(Into::into), at.word().to_owned())).or_default();
        alias.place = at.place;
        alias
    }
}

/// Whose setting a key is that has no name of a resource server or provider in it.
const fn top<'a>(_: &'a At<'_>) -> Option<&'a str> {
    None
}

/// Whose setting a key is that has such a name in it.
fn named<'a>(at: &'a At<'_>) -> Option<&'a str> {
    at.first_word()
}

fn settings(draft: &mut super::Draft) -> &mut OAuth2Settings {
    &mut draft.oauth2_settings
}

fn server<'a>(draft: &'a mut super::Draft, id: Option<&str>) -> &'a mut ResourceServerSettings {
    let settings = settings(draft);
    match id {
        Some(id) => settings.resource_servers.entry(id.to_owned()).or_default(),
        None => &mut settings.resource_server,
    }
}

fn provider<'a>(draft: &'a mut super::Draft, id: Option<&str>) -> &'a mut ProviderSettings {
    let settings = settings(draft);
    match id {
        Some(id) => settings.oauth_providers.entry(id.to_owned()).or_default(),
        None => &mut settings.provider,
    }
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(ToOwned::to_owned).collect()
}

fn verification(word: &str) -> Verify {
    if word == "verify_none" { Verify::None } else { Verify::Peer }
}

pub(super) fn finish(draft: &mut super::Draft) {
    let Draft { claims, algorithms, aliases, named } = std::mem::take(&mut draft.oauth2);
    for (id, claims) in claims {
        server(draft, id.as_deref()).preferred_username_claims = claims.sorted();
    }
    for (id, algorithms) in algorithms {
        provider(draft, id.as_deref()).algorithms = algorithms.sorted();
    }
    for ((id, number), alias) in aliases {
        if let (Some(name), Some(scopes)) = (alias.name, alias.scopes) {
            server(draft, id.as_deref()).scope_aliases.insert(name, scopes);
        } else {
            let text =
                format!("a scope alias needs both, scope_aliases.{number}.alias and scope_aliases.{number}.scope");
            draft.mistakes.push(Remark::new(alias.place, text));
        }
    }
    for (place, key, id) in named {
        if !settings(draft).oauth_providers.contains_key(&id) {
            let text = format!("{key}: nothing is set of `{}` with auth_oauth2.oauth_providers", shorten(&id));
            draft.mistakes.push(Remark::new(place, text));
        }
    }
}
