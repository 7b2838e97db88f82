//! Keys that tokens are signed with, and how they are read.

use std::collections::HashMap;
use std::fmt;

use jsonwebtoken::jwk::{AlgorithmParameters, Jwk, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey};
use serde_json::Value;

/// So many keys of a document are taken at most.
const KEYS_MAX: usize = 256;

/// Keys by their ids.
#[derive(Debug, Default)]
pub(super) struct KeySet {
    keys: HashMap<String, Key>,
    /// There may be one without an id, for tokens that name none.
    nameless: Option<Key>,
}

/// A key, and what it is for.
#[derive(Clone)]
pub(super) struct Key {
    decoding: DecodingKey,
    /// The only algorithm that it is for; `None` for all that such a key can be used with.
    algorithm: Option<Algorithm>,
}

/// Whether a secret may come from where keys are fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Secrets {
    Allowed,
    Refused,
}

/// Why a document has no keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum KeysError {
    #[error("the answer is not a JSON Web Key Set")]
    NotAKeySet,
    #[error("the JSON Web Key Set has no key that tokens can be verified with")]
    NoKeys,
}

/// Why a file has no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyFileError {
    /// It is a private key, which nobody but the provider should have.
    #[error("it has a private key where a public one should be")]
    Private,
    /// It is something else.
    #[error("it has no public key or certificate in PEM format for RSA, ECDSA or Ed25519")]
    NotAKey,
}

impl KeySet {
    pub(super) fn get(&self, id: Option<&str>) -> Option<&Key> {
        match id {
            Some(id) => self.keys.get(id),
            None => self.nameless.as_ref(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.nameless.is_none()
    }
}

impl Extend<(Option<String>, Key)> for KeySet {
    fn extend<I: IntoIterator<Item = (Option<String>, Key)>>(&mut self, keys: I) {
        for (id, key) in keys {
            match id {
                Some(id) => drop(self.keys.insert(id, key)),
                None => self.nameless = Some(key),
            }
        }
    }
}

impl FromIterator<(Option<String>, Key)> for KeySet {
    fn from_iter<I: IntoIterator<Item = (Option<String>, Key)>>(keys: I) -> Self {
        let mut set = Self::default();
        set.extend(keys);
        set
    }
}

impl Key {
    /// A secret that is shared with the provider.
    pub(super) fn shared(secret: &[u8]) -> Self {
        Self { decoding: DecodingKey::from_secret(secret), algorithm: None }
    }

    /// A public key or certificate.
    pub(super) fn from_pem(pem: &[u8]) -> Result<Self, KeyFileError> {
        if memchr::memmem::find(pem, b"PRIVATE KEY-----").is_some() {
            return Err(KeyFileError::Private);
        }
        let decoding = DecodingKey::from_rsa_pem(pem)
            .or_else(|_| DecodingKey::from_ec_pem(pem))
            .or_else(|_| DecodingKey::from_ed_pem(pem))
            .map_err(|_| KeyFileError::NotAKey)?;
        Ok(Self { decoding, algorithm: None })
    }

    /// The key itself, if it may verify tokens that say they are signed so. A public key is never taken as a secret.
    pub(super) fn for_algorithm(&self, algorithm: Algorithm) -> Option<&DecodingKey> {
        let is_for_it = self.algorithm.is_none_or(|only| only == algorithm);
        (is_for_it && self.decoding.family() == algorithm.family()).then_some(&self.decoding)
    }

    fn from_json(mut key: Value, secrets: Secrets) -> Option<(Option<String>, Self)> {
        // Keys of UAA have their text in `value`, and a type of their own for secrets.
        let value = key.get_mut("value").map(Value::take).and_then(|value| value.as_str().map(str::to_owned));
        let id = key.get("kid").and_then(Value::as_str).map(str::to_owned);
        let named = key.get("alg").and_then(Value::as_str).map(str::to_owned);
        let algorithm = match named {
            Some(name) => Some(name.parse().ok()?),
            None => None,
        };
        if key.get("kty").and_then(Value::as_str) == Some("MAC") {
            let value = value.filter(|value| secrets == Secrets::Allowed && !value.is_empty())?;
            return Some((id, Self { algorithm, ..Self::shared(value.as_bytes()) }));
        }
        let decoding = match serde_json::from_value::<Jwk>(key) {
            Ok(key) => Self::from_jwk(&key)?,
            Err(_) => Self::from_pem(value?.as_bytes()).ok()?.decoding,
        };
        if decoding.family() == AlgorithmFamily::Hmac && secrets == Secrets::Refused {
            return None;
        }
        Some((id, Self { decoding, algorithm }))
    }

    fn from_jwk(key: &Jwk) -> Option<DecodingKey> {
        let is_for_signatures = match &key.common.public_key_use {
            None | Some(PublicKeyUse::Signature) => true,
            Some(PublicKeyUse::Encryption | PublicKeyUse::Other(_)) => false,
        };
        let operations = key.common.key_operations.as_deref();
        let can_verify = operations.is_none_or(|operations| operations.contains(&KeyOperations::Verify));
        let is_known = match &key.algorithm {
            // Anybody could sign with a secret that is empty.
            AlgorithmParameters::OctetKey(secret) => !secret.value.is_empty(),
            known => !matches!(known, AlgorithmParameters::Other(_)),
        };
        if is_for_signatures && can_verify && is_known { DecodingKey::from_jwk(key).ok() } else { None }
    }
}

/// Reads a JSON Web Key Set (RFC 7517). Keys that are of no use here are passed over.
pub(super) fn parse_set(document: &[u8], secrets: Secrets) -> Result<KeySet, KeysError> {
    let mut document: Value = serde_json::from_slice(document).map_err(|_| KeysError::NotAKeySet)?;
    let Some(Value::Array(keys)) = document.get_mut("keys").map(Value::take) else {
        return Err(KeysError::NotAKeySet);
    };
    let keys: KeySet = keys.into_iter().take(KEYS_MAX).filter_map(|key| Key::from_json(key, secrets)).collect();
    if keys.is_empty() { Err(KeysError::NoKeys) } else { Ok(keys) }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("family", &self.decoding.family()).field("algorithm", &self.algorithm).finish()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const RSA: (&str, &str) = ("AQAB", "uQ");

    fn rsa(more: Value) -> Value {
        let Value::Object(mut key) = json!({"kty": "RSA", "n": RSA.1, "e": RSA.0}) else { panic!() };
        let Value::Object(more) = more else { panic!() };
        key.extend(more);
        Value::Object(key)
    }

    fn parse(keys: &Value, secrets: Secrets) -> Result<Vec<String>, KeysError> {
        let document = json!({ "keys": keys }).to_string();
        parse_set(document.as_bytes(), secrets).map(|set| set.keys.into_keys().collect())
    }

    #[test]
    fn keys_for_something_else_are_passed_over() {
        for (key, expected) in [
            (rsa(json!({"kid": "a"})), true),
            (rsa(json!({"kid": "a", "use": "sig", "alg": "RS256"})), true),
            (rsa(json!({"kid": "a", "use": "enc"})), false),
            (rsa(json!({"kid": "a", "key_ops": ["encrypt"]})), false),
            (rsa(json!({"kid": "a", "key_ops": ["verify"]})), true),
            (rsa(json!({"kid": "a", "alg": "RSA-OAEP"})), false),
            (rsa(json!({"kid": "a", "alg": "none"})), false),
            (json!({"kid": "a", "kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}), true),
            (json!({"kid": "a", "kty": "EC", "crv": "unheard of", "x": "AA", "y": "AA"}), false),
            (json!({"kid": "a", "kty": "OKP", "crv": "Ed25519", "x": "AA"}), true),
            (json!({"kid": "a", "kty": "oct", "k": "c2VjcmV0"}), false),
            (json!({"kid": "a", "kty": "MAC", "alg": "HS256", "value": "secret"}), false),
            (json!({"kid": "a", "kty": "RSA", "alg": "RS256", "value": "no PEM"}), false),
            (json!({"kid": "a"}), false),
            (json!("a"), false),
        ] {
            let expected = if expected { Ok(vec!["a".to_owned()]) } else { Err(KeysError::NoKeys) };
            assert_eq!(parse(&json!([key]), Secrets::Refused), expected, "{key}");
        }
    }

    #[test]
    fn secrets_are_taken_where_they_are_allowed() {
        for key in [
            json!({"kid": "a", "kty": "oct", "k": "c2VjcmV0"}),
            json!({"kid": "a", "kty": "MAC", "alg": "HS256", "value": "secret"}),
        ] {
            assert_eq!(parse(&json!([key]), Secrets::Allowed), Ok(vec!["a".to_owned()]), "{key}");
        }
    }

    #[test]
    fn an_empty_secret_is_no_key() {
        for key in [
            json!({"kid": "a", "kty": "oct", "k": ""}),
            json!({"kid": "a", "kty": "MAC", "alg": "HS256", "value": ""}),
            json!({"kid": "a", "kty": "MAC", "alg": "HS256", "value": 7}),
            json!({"kid": "a", "kty": "MAC", "alg": "HS256"}),
        ] {
            assert_eq!(parse(&json!([key]), Secrets::Allowed), Err(KeysError::NoKeys), "{key}");
        }
    }

    #[test]
    fn a_document_without_keys_is_no_key_set() {
        for (document, expected) in [
            ("", KeysError::NotAKeySet),
            ("<html>", KeysError::NotAKeySet),
            ("[]", KeysError::NotAKeySet),
            ("{}", KeysError::NotAKeySet),
            (r#"{"keys": {}}"#, KeysError::NotAKeySet),
            (r#"{"keys": []}"#, KeysError::NoKeys),
        ] {
            assert_eq!(parse_set(document.as_bytes(), Secrets::Refused).unwrap_err(), expected, "{document}");
        }
    }

    #[test]
    fn a_key_verifies_what_it_is_for() {
        use Algorithm::{ES256, EdDSA, HS256, PS256, RS256, RS512};
        let keys = json!({"keys": [
            rsa(json!({"kid": "any"})),
            rsa(json!({"kid": "one", "alg": "RS256"})),
            {"kid": "ec", "kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"},
            {"kid": "secret", "kty": "oct", "k": "c2VjcmV0"},
        ]});
        let keys = parse_set(keys.to_string().as_bytes(), Secrets::Allowed).unwrap();
        for (id, algorithms) in
            [("any", vec![RS256, RS512, PS256]), ("one", vec![RS256]), ("ec", vec![ES256]), ("secret", vec![HS256])]
        {
            let key = keys.get(Some(id)).unwrap();
            for algorithm in [RS256, RS512, PS256, ES256, EdDSA, HS256] {
                let expected = algorithms.contains(&algorithm);
                assert_eq!(key.for_algorithm(algorithm).is_some(), expected, "{id} {algorithm:?}");
            }
        }
    }

    #[test]
    fn only_public_keys_are_taken_from_files() {
        let pair = rcgen::KeyPair::generate().unwrap();
        assert_eq!(Key::from_pem(pair.serialize_pem().as_bytes()).unwrap_err(), KeyFileError::Private);
        assert!(Key::from_pem(pair.public_key_pem().as_bytes()).is_ok());
        assert_eq!(Key::from_pem(b"nothing").unwrap_err(), KeyFileError::NotAKey);
    }
}
