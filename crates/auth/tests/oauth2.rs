//! The OAuth 2 back end with a provider of its own: keys that are fetched over TLS, that change, and that cannot be had.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic is how a test reports a failure")]

mod oauth2_provider;

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::Algorithm;

use leveret_auth::oauth2::{OAuth2Backend, OAuth2Settings, OAuth2SettingsError, ProviderSettings, SigningKey};
use leveret_auth::tls::Verify;
use leveret_auth::{Backend, Checked, Denial, LoggedIn, Renewal};
use leveret_broker::access::{Answer, LoginAttempt, Peer, Question, Secret};
use serde_json::{Value, json};

use oauth2_provider::{KeyServer, SigningPair};

const ALL: &str = "rabbitmq.read:*/* rabbitmq.write:*/* rabbitmq.configure:*/*";

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn claims(more: Value) -> Value {
    let mut claims = json!({"aud": "rabbitmq", "sub": "bob", "exp": now() + 3600, "scope": ALL});
    let (Some(claims_map), Value::Object(more)) = (claims.as_object_mut(), more) else { panic!() };
    claims_map.extend(more);
    claims_map.retain(|_, value| !value.is_null());
    claims
}

fn settings(change: impl FnOnce(&mut OAuth2Settings)) -> OAuth2Settings {
    let mut settings = OAuth2Settings { jwks_refetch_interval_ms: 0, ..OAuth2Settings::default() };
    settings.resource_server.id = Some("rabbitmq".into());
    change(&mut settings);
    settings
}

/// Settings for keys at this server.
fn at(server: &KeyServer) -> OAuth2Settings {
    settings(|set| {
        set.provider.jwks_uri = Some(server.address("/keys"));
        set.provider.https.ca_certificate_file = Some(server.ca_file());
    })
}

fn attempt(token: &str) -> Arc<LoginAttempt> {
    Arc::new(LoginAttempt {
        name: "whoever".into(),
        secret: Some(Secret::new(token.as_bytes())),
        peer: Peer::local(),
        mechanism: "PLAIN",
        protocol: "amqp091",
    })
}

async fn log_in(backend: &OAuth2Backend, token: &str) -> Result<LoggedIn, Denial> {
    backend.authenticate(&attempt(token)).await
}

async fn outcome(backend: &OAuth2Backend, token: &str) -> Result<String, String> {
    match log_in(backend, token).await {
        Ok(user) => Ok(user.name.to_string()),
        Err(Denial::Refused(text)) => {
            Err(text.trim_start_matches("Authentication using an OAuth 2/JWT token failed: ").to_owned())
        }
        Err(Denial::Failed(_)) => Err("failed".to_owned()),
        Err(Denial::LoopbackOnly) => Err("loopback".to_owned()),
    }
}

fn may_open(user: &LoggedIn, vhost: &str) -> bool {
    match user.grant.check(&Question::Vhost { vhost: vhost.into() }) {
        Checked::Now(answer) => answer == Answer::Allowed,
        Checked::Later(_) => panic!("an answer that takes a while"),
    }
}

async fn renew(user: &LoggedIn, token: &str) -> Result<LoggedIn, Denial> {
    match user.grant.renew(&Secret::new(token.as_bytes())) {
        Renewal::Later(renewal) => renewal.await,
        Renewal::NoNeed => panic!("a token that needs no renewal"),
    }
}

#[tokio::test]
async fn a_token_says_who_its_user_is_and_what_it_may_do() {
    let pair = SigningPair::rsa("k1");
    let server = KeyServer::start(&[&pair]).await;
    let backend = OAuth2Backend::new(&at(&server)).unwrap();
    let end = now() + 100;
    let token = pair.sign(&claims(json!({"exp": end, "scope": "rabbitmq.read:dev/* rabbitmq.tag:monitoring openid"})));
    let user = log_in(&backend, &token).await.unwrap();
    assert_eq!(&*user.name, "bob");
    assert_eq!(user.tags.iter().map(|tag| &**tag).collect::<Vec<_>>(), ["monitoring"]);
    assert_eq!(user.expires.unwrap().0, end * 1000);
    assert!(may_open(&user, "dev") && !may_open(&user, "/"));
    let authorized = backend.authorize(&attempt(&token), &[]).await.unwrap();
    assert!(authorized.tags.is_empty() && may_open(&authorized, "dev"));
    for shown in [format!("{backend:?}"), format!("{user:?}")] {
        assert!(token.split('.').all(|part| !shown.contains(part)), "{shown}");
    }
}

#[tokio::test]
async fn keys_of_every_kind_verify_tokens() {
    let pairs = [SigningPair::rsa("rsa"), SigningPair::ec("ec"), SigningPair::ed("ed")];
    let server = KeyServer::start(&pairs.each_ref()).await;
    let backend = OAuth2Backend::new(&at(&server)).unwrap();
    for pair in &pairs {
        assert_eq!(outcome(&backend, &pair.sign(&claims(json!({})))).await, Ok("bob".into()), "{}", pair.id);
    }
    let rsa = &pairs[0];
    for algorithm in [Algorithm::RS384, Algorithm::RS512, Algorithm::PS256] {
        let token = rsa.sign_with(&claims(json!({})), algorithm, Some("rsa"));
        assert_eq!(outcome(&backend, &token).await, Ok("bob".into()), "{algorithm:?}");
    }
    assert_eq!(server.requests(), 1);
}

#[tokio::test]
async fn tokens_that_are_no_good_are_refused() {
    let (pair, other) = (SigningPair::rsa("k1"), SigningPair::rsa("k1"));
    let server = KeyServer::start(&[&pair]).await;
    let backend = OAuth2Backend::new(&at(&server)).unwrap();
    let good = claims(json!({}));
    let crit = pair.sign_header(&json!({"alg": "RS256", "kid": "k1", "crit": ["exp"]}), &good);
    let tampered = {
        let token = pair.sign(&good);
        let (message, signature) = token.rsplit_once('.').unwrap();
        let header = message.split('.').next().unwrap();
        let admin = pair.sign(&claims(json!({"sub": "admin"})));
        format!("{header}.{}.{signature}", admin.split('.').nth(1).unwrap())
    };
    for (name, token, expected) in [
        ("good", pair.sign(&good), Ok("bob")),
        ("no exp", pair.sign(&claims(json!({"exp": null}))), Err("Provided JWT token has no exp claim")),
        ("other key", other.sign(&good), Err("signature_invalid")),
        ("tampered", tampered, Err("signature_invalid")),
        ("unknown key", pair.sign_with(&good, Algorithm::RS256, Some("k2")), Err("key_not_found")),
        ("no key id", pair.sign_with(&good, Algorithm::RS256, None), Err("key_not_found")),
        ("none", SigningPair::unsigned("none", "k1", &good), Err("provided token is invalid")),
        ("None", SigningPair::unsigned("None", "k1", &good), Err("provided token is invalid")),
        ("public key as secret", pair.sign_with_public_key(&good), Err("signature_invalid")),
        ("without signature", SigningPair::unsigned("RS256", "k1", &good), Err("signature_invalid")),
        ("crit", crit, Err("provided token is invalid")),
        ("other audience", pair.sign(&claims(json!({"aud": "x"}))), Err("no_matching_aud_found")),
        ("no audience", pair.sign(&claims(json!({"aud": null}))), Err("no_aud_found")),
        ("nothing", String::new(), Err("provided token is invalid")),
        ("a password", "swordfish".into(), Err("provided token is invalid")),
        ("dots", "..".into(), Err("provided token is invalid")),
        ("five parts", "a.b.c.d.e".into(), Err("provided token is invalid")),
        ("long", format!("{}{}", pair.sign(&good), "a".repeat(70_000)), Err("provided token is invalid")),
    ] {
        assert_eq!(outcome(&backend, &token).await, expected.map(str::to_owned).map_err(str::to_owned), "{name}");
    }
    let expired = outcome(&backend, &pair.sign(&claims(json!({"exp": 1000})))).await.unwrap_err();
    assert!(expired.starts_with("Provided JWT token has expired at timestamp 1000 (validated at "), "{expired}");
    let early = outcome(&backend, &pair.sign(&claims(json!({"nbf": now() + 600})))).await.unwrap_err();
    assert!(early.starts_with("Provided JWT token is not valid before timestamp "), "{early}");
}

#[tokio::test]
async fn only_algorithms_that_are_set_are_taken() {
    let pair = SigningPair::rsa("k1");
    let server = KeyServer::start(&[&pair]).await;
    let mut set = at(&server);
    set.provider.algorithms = vec!["RS512".into(), "ES256".into()];
    let backend = OAuth2Backend::new(&set).unwrap();
    for (algorithm, expected) in [
        (Algorithm::RS512, Ok("bob")),
        (Algorithm::RS256, Err("signature_invalid")),
        (Algorithm::PS512, Err("signature_invalid")),
    ] {
        let token = pair.sign_with(&claims(json!({})), algorithm, Some("k1"));
        assert_eq!(
            outcome(&backend, &token).await,
            expected.map(str::to_owned).map_err(str::to_owned),
            "{algorithm:?}"
        );
    }
}

#[tokio::test]
async fn keys_are_fetched_again_when_they_change() {
    let (old, new) = (SigningPair::ec("old"), SigningPair::ec("new"));
    let server = KeyServer::start(&[&old]).await;
    let backend = OAuth2Backend::new(&at(&server)).unwrap();
    assert!(log_in(&backend, &old.sign(&claims(json!({})))).await.is_ok());
    assert_eq!(outcome(&backend, &new.sign(&claims(json!({})))).await, Err("key_not_found".into()));
    server.have(&[&new]);
    assert!(log_in(&backend, &new.sign(&claims(json!({})))).await.is_ok());
    // The old one was withdrawn.
    assert_eq!(outcome(&backend, &old.sign(&claims(json!({})))).await, Err("key_not_found".into()));
    assert_eq!(server.requests(), 4);
}

#[tokio::test]
async fn old_keys_are_used_while_new_ones_cannot_be_had() {
    let (pair, other) = (SigningPair::ec("k1"), SigningPair::ec("k2"));
    let server = KeyServer::start(&[&pair]).await;
    let mut set = at(&server);
    set.jwks_max_age_ms = 0;
    let backend = OAuth2Backend::new(&set).unwrap();
    assert!(log_in(&backend, &pair.sign(&claims(json!({})))).await.is_ok());
    for answer in
        ["HTTP/1.1 500 Oops\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n{\"keys\": []}", "HTTP/1.1 200 OK\r\n\r\n<html>", "junk"]
    {
        server.answer_with(answer);
        assert_eq!(outcome(&backend, &other.sign(&claims(json!({})))).await, Err("failed".into()), "{answer}");
        assert_eq!(outcome(&backend, &pair.sign(&claims(json!({})))).await, Ok("bob".into()), "{answer}");
    }
    server.stop().await;
    assert_eq!(outcome(&backend, &other.sign(&claims(json!({})))).await, Err("failed".into()));
    assert_eq!(outcome(&backend, &pair.sign(&claims(json!({})))).await, Ok("bob".into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_keys_do_not_make_a_storm_of_requests() {
    let pair = SigningPair::ec("k1");
    let server = KeyServer::start(&[&pair]).await;
    let mut set = at(&server);
    set.jwks_refetch_interval_ms = 3_600_000;
    let backend = Arc::new(OAuth2Backend::new(&set).unwrap());
    let attempts: Vec<_> = (0..200)
        .map(|number| {
            let token = pair.sign_with(&claims(json!({})), Algorithm::ES256, Some(&format!("random{number}")));
            let backend = Arc::clone(&backend);
            tokio::spawn(async move { outcome(&backend, &token).await })
        })
        .collect();
    // A good one among them finds its key by the same request.
    assert!(log_in(&backend, &pair.sign(&claims(json!({})))).await.is_ok());
    for attempt in attempts {
        assert_eq!(attempt.await.unwrap(), Err("key_not_found".into()));
    }
    assert_eq!(server.requests(), 1);
}

#[tokio::test]
async fn everybody_who_waits_is_served_by_one_request() {
    let pair = SigningPair::ec("k1");
    let server = KeyServer::start(&[&pair]).await;
    let backend = Arc::new(OAuth2Backend::new(&at(&server)).unwrap());
    let token = pair.sign(&claims(json!({})));
    let attempts: Vec<_> = (0..50)
        .map(|_| {
            let (backend, token) = (Arc::clone(&backend), token.clone());
            tokio::spawn(async move { log_in(&backend, &token).await.is_ok() })
        })
        .collect();
    for attempt in attempts {
        assert!(attempt.await.unwrap());
    }
    assert_eq!(server.requests(), 1);
}

#[tokio::test]
async fn a_provider_says_where_its_keys_are() {
    let pair = SigningPair::ec("k1");
    let server = KeyServer::start(&[&pair]).await;
    for (path, params, asked) in [
        (None, vec![], "/realm/.well-known/openid-configuration"),
        (Some("/my/path"), vec![("appid".into(), "a b".into())], "/realm/my/path?appid=a+b"),
    ] {
        let mut set = at(&server);
        set.provider.jwks_uri = None;
        set.provider.issuer = Some(server.address("/realm/"));
        set.provider.discovery_endpoint_path = path.map(str::to_owned);
        set.provider.discovery_endpoint_params = params;
        let backend = OAuth2Backend::new(&set).unwrap();
        assert!(log_in(&backend, &pair.sign(&claims(json!({})))).await.is_ok(), "{asked}");
        assert_eq!(server.last_paths(2), [asked.to_owned(), "/keys".to_owned()]);
    }
}

#[tokio::test]
async fn a_provider_has_to_prove_who_it_is() {
    let pair = SigningPair::ec("k1");
    let (server, other) = (KeyServer::start(&[&pair]).await, KeyServer::start(&[&pair]).await);
    let mut set = at(&server);
    set.provider.https.ca_certificate_file = Some(other.ca_file());
    let token = pair.sign(&claims(json!({})));
    assert_eq!(outcome(&OAuth2Backend::new(&set).unwrap(), &token).await, Err("failed".into()));
    set.provider.https.verify = Verify::None;
    assert_eq!(outcome(&OAuth2Backend::new(&set).unwrap(), &token).await, Ok("bob".into()));
}

#[tokio::test]
async fn a_new_token_has_to_be_good_and_of_the_same_user() {
    let pair = SigningPair::ec("k1");
    let server = KeyServer::start(&[&pair]).await;
    let backend = OAuth2Backend::new(&at(&server)).unwrap();
    let user = log_in(&backend, &pair.sign(&claims(json!({"scope": "rabbitmq.read:a/*"})))).await.unwrap();
    let renewed = renew(&user, &pair.sign(&claims(json!({"scope": "rabbitmq.read:b/*"})))).await.unwrap();
    assert!(may_open(&user, "a") && !may_open(&renewed, "a") && may_open(&renewed, "b"));
    let prefix = "Authentication using an OAuth 2/JWT token failed:";
    for (token, expected) in [
        (
            pair.sign(&claims(json!({"sub": "eve"}))),
            Denial::Refused("Not allowed to change username on refreshed token".into()),
        ),
        (
            pair.sign(&claims(json!({"exp": null}))),
            Denial::Refused(format!("{prefix} Provided JWT token has no exp claim")),
        ),
        (SigningPair::ec("k1").sign(&claims(json!({}))), Denial::Refused(format!("{prefix} signature_invalid"))),
        (pair.sign(&claims(json!({"aud": "x"}))), Denial::Failed(format!("{prefix} no_matching_aud_found"))),
        ("rubbish".into(), Denial::Failed(format!("{prefix} provided token is invalid"))),
    ] {
        assert_eq!(renew(&renewed, &token).await.unwrap_err(), expected);
    }
}

#[tokio::test]
async fn each_resource_server_has_its_own_provider() {
    let (one, two) = (SigningPair::ec("k1"), SigningPair::ec("k1"));
    let (prod, test) = (KeyServer::start(&[&one]).await, KeyServer::start(&[&two]).await);
    let provider = |server: &KeyServer| {
        let mut provider = ProviderSettings { jwks_uri: Some(server.address("/keys")), ..ProviderSettings::default() };
        provider.https.ca_certificate_file = Some(server.ca_file());
        provider
    };
    let set = settings(|set| {
        set.resource_server.id = None;
        for (index, id) in [("1", "prod"), ("2", "test")] {
            let server = set.resource_servers.entry(index.into()).or_default();
            (server.id, server.oauth_provider_id) = (Some(id.into()), Some(format!("idp_{id}")));
        }
        set.oauth_providers.insert("idp_prod".into(), provider(&prod));
        set.oauth_providers.insert("idp_test".into(), provider(&test));
    });
    let backend = OAuth2Backend::new(&set).unwrap();
    for (pair, audience, expected) in [
        (&one, "prod", Ok("bob")),
        (&two, "test", Ok("bob")),
        (&one, "test", Err("signature_invalid")),
        (&two, "prod", Err("signature_invalid")),
    ] {
        let token = pair.sign(&claims(json!({ "aud": audience })));
        assert_eq!(outcome(&backend, &token).await, expected.map(str::to_owned).map_err(str::to_owned), "{audience}");
    }
}

#[tokio::test]
async fn keys_may_be_set() {
    let (pair, folder) = (SigningPair::rsa("k1"), tempfile::tempdir().unwrap());
    let file = folder.path().join("k1.pem");
    std::fs::write(&file, pair.public_pem()).unwrap();
    let set = settings(|set| {
        set.provider.default_key = Some("k1".into());
        set.provider.signing_keys.insert("k1".into(), SigningKey::PemFile(file));
        set.provider.signing_keys.insert("secret".into(), SigningKey::Shared(Secret::new(b"swordfish")));
    });
    let backend = OAuth2Backend::new(&set).unwrap();
    let good = claims(json!({}));
    for (name, token, expected) in [
        ("by its id", pair.sign(&good), Ok("bob")),
        ("the default", pair.sign_with(&good, Algorithm::RS256, None), Ok("bob")),
        ("a secret", SigningPair::sign_with_secret(b"swordfish", "secret", &good), Ok("bob")),
        ("a wrong secret", SigningPair::sign_with_secret(b"s", "secret", &good), Err("signature_invalid")),
        ("public key as secret", pair.sign_with_public_key(&good), Err("signature_invalid")),
        ("unknown", pair.sign_with(&good, Algorithm::RS256, Some("k2")), Err("key_not_found")),
    ] {
        assert_eq!(outcome(&backend, &token).await, expected.map(str::to_owned).map_err(str::to_owned), "{name}");
    }
    let mut lax = set;
    lax.require_exp = false;
    let user = log_in(&OAuth2Backend::new(&lax).unwrap(), &pair.sign(&claims(json!({"exp": null})))).await.unwrap();
    assert_eq!(user.expires, None);
}

#[test]
fn settings_that_cannot_work_are_refused() {
    let with =
        |change: fn(&mut OAuth2Settings)| OAuth2Backend::new(&settings(change)).map(drop).map_err(|e| e.to_string());
    let result: Result<(), OAuth2SettingsError> = OAuth2Backend::new(&OAuth2Settings::default()).map(drop);
    assert!(matches!(result, Err(OAuth2SettingsError::NoResourceServer)));
    for (found, expected) in [
        (with(|_| ()), "auth_oauth2: there is no issuer, no jwks_uri and no signing key"),
        (
            with(|set| set.provider.jwks_uri = Some("http://localhost/keys".into())),
            "auth_oauth2: jwks_uri is not an address that begins with https://",
        ),
        (
            with(|set| set.provider.issuer = Some("localhost".into())),
            "auth_oauth2: issuer is not an address that begins with https://",
        ),
        (with(|set| set.provider.algorithms = vec!["none".into()]), "auth_oauth2: unknown algorithm none"),
        (
            with(|set| set.default_oauth_provider = Some("x".into())),
            "auth_oauth2.oauth_providers: there is none called x",
        ),
        (
            with(|set| {
                set.provider.jwks_uri = Some("https://localhost/keys".into());
                set.provider.https.ca_certificate_file = Some("/nowhere".into());
            }),
            "auth_oauth2: https.cacertfile: /nowhere: ",
        ),
        (
            with(|set| {
                set.provider.signing_keys.insert("a".into(), SigningKey::PemFile("/nowhere".into()));
            }),
            "auth_oauth2: /nowhere: ",
        ),
    ] {
        let error = found.unwrap_err();
        assert!(error.starts_with(expected), "{error}");
    }
}
