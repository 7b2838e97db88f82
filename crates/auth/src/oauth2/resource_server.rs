//! What tokens are issued for, and which of these a token means.

use std::collections::BTreeMap;

use serde_json::Value;

use super::claims::{Claims, words};
use super::settings::{OAuth2Settings, ResourceServerSettings};

/// The claims that may have the user's name whatever is set.
const USER_NAME_CLAIMS: [&str; 2] = ["sub", "client_id"];

/// A resource server, with everything filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ResourceServer {
    pub(super) id: String,
    /// Which entries of `authorization_details` mean it.
    pub(super) kind: Option<String>,
    pub(super) scope_prefix: String,
    /// Names of claims, or paths with dots.
    pub(super) additional_scopes: Vec<String>,
    pub(super) user_name_claims: Vec<String>,
    pub(super) scope_aliases: BTreeMap<String, Vec<String>>,
    /// Whose keys its tokens are signed with; `None` for those of the provider at the top.
    pub(super) provider: Option<String>,
    audience: Audience,
}

/// Whether tokens have to name a resource server in their audience.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Audience {
    Required,
    Optional,
}

/// Why it cannot be said which resource server a token means. The texts are RabbitMQ's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum AudienceError {
    #[error("no_aud_found")]
    None,
    #[error("no_matching_aud_found")]
    Other,
    #[error("aud_matched_many_resource_servers_only_one_allowed")]
    Several,
    #[error("no_aud_found_cannot_pick_one_from_too_many_resource_servers")]
    NoneOfSeveral,
    #[error("too_many_resources_with_verify_aud_false")]
    OtherOfSeveral,
}

impl ResourceServer {
    /// All that are set.
    pub(super) fn all(settings: &OAuth2Settings) -> Vec<Self> {
        let top = &settings.resource_server;
        let default_provider = settings.default_oauth_provider.as_ref();
        let mut servers: Vec<Self> = settings
            .resource_servers
            .iter()
            .map(|(index, own)| Self::new(own.id.as_ref().unwrap_or(index), own, top, default_provider))
            .collect();
        if let Some(id) = top.id.as_ref().filter(|id| !id.is_empty()) {
            servers.retain(|server| server.id != *id);
            servers.push(Self::new(id, top, top, default_provider));
        }
        servers
    }

    fn new(
        id: &str,
        own: &ResourceServerSettings,
        top: &ResourceServerSettings,
        default_provider: Option<&String>,
    ) -> Self {
        let either = |own: &Option<String>, top: &Option<String>| own.clone().or_else(|| top.clone());
        let aliases = if own.scope_aliases.is_empty() { &top.scope_aliases } else { &own.scope_aliases };
        let names = if own.preferred_username_claims.is_empty() {
            &top.preferred_username_claims
        } else {
            &own.preferred_username_claims
        };
        let additional = either(&own.additional_scopes_key, &top.additional_scopes_key).unwrap_or_default();
        Self {
            kind: either(&own.resource_server_type, &top.resource_server_type),
            scope_prefix: either(&own.scope_prefix, &top.scope_prefix).unwrap_or_else(|| format!("{id}.")),
            additional_scopes: words(&additional).map(str::to_owned).collect(),
            user_name_claims: names.iter().cloned().chain(USER_NAME_CLAIMS.map(str::to_owned)).collect(),
            scope_aliases: aliases.clone(),
            provider: own.oauth_provider_id.as_ref().or(default_provider).cloned(),
            audience: match own.verify_aud.or(top.verify_aud) {
                Some(true) | None => Audience::Required,
                Some(false) => Audience::Optional,
            },
            id: id.to_owned(),
        }
    }
}

/// Which resource server a token means.
pub(super) fn meant<'a>(servers: &'a [ResourceServer], claims: &Claims) -> Result<&'a ResourceServer, AudienceError> {
    let Some(audience) = claims.get("aud") else {
        return only_optional(servers, AudienceError::None, AudienceError::NoneOfSeveral);
    };
    let named: Vec<&str> = match audience {
        Value::String(audience) => words(audience).collect(),
        Value::Array(audience) => audience.iter().filter_map(Value::as_str).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => Vec::new(),
    };
    let mut matching = servers.iter().filter(|server| named.contains(&server.id.as_str()));
    match (matching.next(), matching.next()) {
        (Some(server), None) => Ok(server),
        (Some(_), Some(_)) => Err(AudienceError::Several),
        (None, _) => only_optional(servers, AudienceError::Other, AudienceError::OtherOfSeveral),
    }
}

fn only_optional(
    servers: &[ResourceServer],
    none: AudienceError,
    several: AudienceError,
) -> Result<&ResourceServer, AudienceError> {
    let mut optional = servers.iter().filter(|server| server.audience == Audience::Optional);
    match (optional.next(), optional.next()) {
        (Some(server), None) => Ok(server),
        (Some(_), Some(_)) => Err(several),
        (None, _) => Err(none),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn claims(value: Value) -> Claims {
        let Value::Object(claims) = value else { panic!() };
        claims
    }

    fn own(id: &str, verify_aud: Option<bool>) -> ResourceServerSettings {
        ResourceServerSettings { id: Some(id.into()), verify_aud, ..ResourceServerSettings::default() }
    }

    #[test]
    fn the_audience_says_which_resource_server_is_meant() {
        let one = OAuth2Settings { resource_server: own("rabbitmq", None), ..OAuth2Settings::default() };
        let mut lax = one.clone();
        lax.resource_server.verify_aud = Some(false);
        let mut several = one.clone();
        several.resource_servers = BTreeMap::from([
            ("prod".into(), ResourceServerSettings::default()),
            ("1".into(), own("test", Some(false))),
        ]);
        let mut many_lax = several.clone();
        many_lax.resource_servers.insert("2".into(), own("dev", Some(false)));
        for (settings, audience, expected) in [
            (&one, json!({"aud": "rabbitmq"}), Ok("rabbitmq")),
            (&one, json!({"aud": ["other", "rabbitmq"]}), Ok("rabbitmq")),
            (&one, json!({"aud": "other rabbitmq"}), Ok("rabbitmq")),
            (&one, json!({"aud": ["rabbitmq", "rabbitmq"]}), Ok("rabbitmq")),
            (&one, json!({"aud": "other"}), Err(AudienceError::Other)),
            (&one, json!({"aud": "rabbit"}), Err(AudienceError::Other)),
            (&one, json!({"aud": []}), Err(AudienceError::Other)),
            (&one, json!({"aud": 1}), Err(AudienceError::Other)),
            (&one, json!({}), Err(AudienceError::None)),
            (&lax, json!({}), Ok("rabbitmq")),
            (&lax, json!({"aud": "other"}), Ok("rabbitmq")),
            (&several, json!({"aud": "prod"}), Ok("prod")),
            (&several, json!({"aud": "test"}), Ok("test")),
            (&several, json!({"aud": ["rabbitmq", "prod"]}), Err(AudienceError::Several)),
            (&several, json!({}), Ok("test")),
            (&many_lax, json!({}), Err(AudienceError::NoneOfSeveral)),
            (&many_lax, json!({"aud": "other"}), Err(AudienceError::OtherOfSeveral)),
        ] {
            let servers = ResourceServer::all(settings);
            let found = meant(&servers, &claims(audience.clone())).map(|server| server.id.as_str());
            assert_eq!(found, expected, "{audience}");
        }
    }

    #[test]
    fn what_is_not_set_is_taken_from_the_top() {
        let mut settings = OAuth2Settings {
            resource_server: own("rabbitmq", None),
            default_oauth_provider: Some("uaa".into()),
            ..OAuth2Settings::default()
        };
        settings.resource_server.preferred_username_claims = vec!["email".into()];
        settings.resource_server.additional_scopes_key = Some("roles  a.b".into());
        settings.resource_server.scope_aliases = BTreeMap::from([("dev".into(), vec!["x".into()])]);
        let mut other = own("prod", None);
        other.oauth_provider_id = Some("keycloak".into());
        other.scope_prefix = Some(String::new());
        settings.resource_servers =
            BTreeMap::from([("1".into(), other), ("test".into(), ResourceServerSettings::default())]);
        let servers = ResourceServer::all(&settings);
        let [prod, test, top] = servers.as_slice() else { panic!("{servers:?}") };
        assert_eq!((top.scope_prefix.as_str(), top.provider.as_deref()), ("rabbitmq.", Some("uaa")));
        assert_eq!((test.scope_prefix.as_str(), test.provider.as_deref()), ("test.", Some("uaa")));
        assert_eq!((prod.scope_prefix.as_str(), prod.provider.as_deref()), ("", Some("keycloak")));
        for server in &servers {
            assert_eq!(server.user_name_claims, ["email", "sub", "client_id"], "{}", server.id);
            assert_eq!(server.additional_scopes, ["roles", "a.b"], "{}", server.id);
            assert!(server.scope_aliases.contains_key("dev"), "{}", server.id);
        }
    }
}
