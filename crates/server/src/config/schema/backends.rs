//! Settings of who is asked, and of what is remembered of the answers.

use std::collections::BTreeMap;
use std::time::Duration;

use leveret_auth::{BackendSettings, CacheLimits, LinkSettings, Refusals};

use super::{At, Group, Place, Remark, Setting, Takes};

/// The longest that answers of back ends are remembered, in milliseconds: a day.
const REMEMBERED_MAX_MS: u64 = 24 * 60 * 60 * 1000;

/// Back ends by `RabbitMQ`'s short names and those of its modules.
const BACKENDS: &[&str] = &[
    "internal",
    "http",
    "ldap",
    "oauth2",
    "cache",
    "dummy",
    "oauth",
    "rabbit_auth_backend_internal",
    "rabbit_auth_backend_http",
    "rabbit_auth_backend_ldap",
    "rabbit_auth_backend_oauth2",
    "rabbit_auth_backend_cache",
    "rabbit_auth_backend_dummy",
];
/// Those whose answers can be remembered.
const CACHED: &[&str] = &[
    "internal",
    "http",
    "ldap",
    "oauth2",
    "dummy",
    "oauth",
    "rabbit_auth_backend_internal",
    "rabbit_auth_backend_http",
    "rabbit_auth_backend_ldap",
    "rabbit_auth_backend_oauth2",
    "rabbit_auth_backend_dummy",
];
const INTERNAL: &str = "internal";

pub(super) const GROUP: Group = Group {
    title: "Back ends",
    settings: &[
        Setting {
            key: "auth_backends.$n",
            takes: Takes::Word(BACKENDS, |draft, at, name| draft.backends.link(at).whole = Some(name)),
            default: "internal",
            help: "Who says who somebody is and what it may do; asked in the order of the numbers until one lets it in",
        },
        Setting {
            key: "auth_backends.$n.authn",
            takes: Takes::Word(BACKENDS, |draft, at, name| draft.backends.link(at).authentication = Some(name)),
            default: "",
            help: "Who says who somebody is, if another says what it may do",
        },
        Setting {
            key: "auth_backends.$n.authz",
            takes: Takes::Word(BACKENDS, |draft, at, name| draft.backends.link(at).authorization = Some(name)),
            default: "",
            help: "Who says what somebody may do, if another says who it is",
        },
        Setting {
            key: "auth_cache.cached_backend",
            takes: Takes::Word(CACHED, |draft, at, name| {
                draft.backends.cached.place = at.place;
                draft.backends.cached.whole = Some(name);
            }),
            default: "internal",
            help: "Whose answers the back end `cache` remembers",
        },
        Setting {
            key: "auth_cache.cached_backend.authn",
            takes: Takes::Word(CACHED, |draft, at, name| {
                draft.backends.cached.place = at.place;
                draft.backends.cached.authentication = Some(name);
            }),
            default: "",
            help: "The same for who somebody is, if another says what it may do",
        },
        Setting {
            key: "auth_cache.cached_backend.authz",
            takes: Takes::Word(CACHED, |draft, at, name| {
                draft.backends.cached.place = at.place;
                draft.backends.cached.authorization = Some(name);
            }),
            default: "",
            help: "The same for what somebody may do, if another says who it is",
        },
        Setting {
            key: "auth_cache.cache_ttl",
            takes: Takes::Number(1, REMEMBERED_MAX_MS, |draft, _, ms| {
                draft.backends.limits.ttl = Duration::from_millis(ms);
            }),
            default: "15000",
            help: "How long they are remembered, in milliseconds",
        },
        Setting {
            key: "auth_cache.cache_refusals",
            takes: Takes::Flag(|draft, _, on| {
                draft.backends.limits.refusals = if on { Refusals::Remember } else { Refusals::Ask };
            }),
            default: "false",
            help: "Whether refusals are remembered, too",
        },
    ],
};

/// What was read so far and belongs together.
#[derive(Default)]
pub(super) struct Draft {
    /// By what stands in the place of the number.
    links: BTreeMap<String, Choice>,
    cached: Choice,
    limits: CacheLimits,
}

/// Who is asked, as far as it is known.
#[derive(Default)]
struct Choice {
    whole: Option<&'static str>,
    authentication: Option<&'static str>,
    authorization: Option<&'static str>,
    place: Place,
}

impl Draft {
    fn link(&mut self, at: &At<'_>) -> &mut Choice {
        let link = self.links.entry(at.word().to_owned()).or_default();
        link.place = at.place;
        link
    }
}

impl Choice {
    /// Who says who somebody is, and who says what it may do. One who is alone says both, as in `RabbitMQ`.
    fn both(&self, key: &str, draft: &mut super::Draft) -> Option<(&'static str, &'static str)> {
        match (self.whole, self.authentication, self.authorization) {
            (Some(whole), None, None) => Some((whole, whole)),
            (None, Some(authentication), Some(authorization)) => Some((authentication, authorization)),
            (None, Some(alone), None) | (None, None, Some(alone)) => {
                let text = format!("only one of {key}.authn and {key}.authz is set, so {alone} is both");
                draft.warnings.push(Remark::new(self.place, text));
                Some((alone, alone))
            }
            (None, None, None) => None,
            (Some(_), ..) => {
                let text = format!("{key} says both already: it and {key}.authn or {key}.authz exclude each other");
                draft.mistakes.push(Remark::new(self.place, text));
                None
            }
        }
    }
}

pub(super) fn finish(draft: &mut super::Draft) {
    let Draft { links, cached, limits } = std::mem::take(&mut draft.backends);
    let cached = cached.both("auth_cache.cached_backend", draft).unwrap_or((INTERNAL, INTERNAL));
    let mut sorted = Vec::new();
    for (number, link) in &links {
        let key = format!("auth_backends.{number}");
        let Ok(place) = number.parse::<u64>() else {
            draft.mistakes.push(Remark::new(link.place, format!("{key} has no number in it; back ends are numbered")));
            continue;
        };
        if let Some((authentication, authorization)) = link.both(&key, draft) {
            let authentication = backend(draft, authentication, cached.0, limits);
            let authorization = backend(draft, authorization, cached.1, limits);
            let link = if authentication == authorization {
                LinkSettings::Whole(authentication)
            } else {
                LinkSettings::Split { authentication, authorization: vec![authorization] }
            };
            sorted.push((place, link));
        }
    }
    if !sorted.is_empty() {
        sorted.sort_by_key(|(place, _)| *place);
        draft.config.access.login.links = sorted.into_iter().map(|(_, link)| link).collect();
    }
}

/// The back end of that name; `cached` is whose answers a cache remembers.
fn backend(draft: &super::Draft, name: &str, cached: &str, limits: CacheLimits) -> BackendSettings {
    match name.strip_prefix("rabbit_auth_backend_").unwrap_or(name) {
        "http" => BackendSettings::Http(Box::new(draft.http_settings.clone())),
        "ldap" => BackendSettings::Ldap(Box::new(draft.ldap_settings.clone())),
        "oauth2" | "oauth" => BackendSettings::OAuth2(Box::new(draft.oauth2_settings.clone())),
        "cache" => BackendSettings::Cache(limits, Box::new(backend(draft, cached, INTERNAL, limits))),
        "dummy" => BackendSettings::Dummy,
        _ => BackendSettings::Internal,
    }
}
