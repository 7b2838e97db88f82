//! The LDAP back end with a server of `OpenLDAP`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic is how a test reports a failure")]

mod slapd;

use std::future::Future;
use std::net::TcpListener as StdTcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use leveret_auth::ldap::LdapEncryption::{Ldaps, None as Plain, StartTls};
use leveret_auth::ldap::{LdapBackend, LdapBind, LdapSettings};
use leveret_auth::tls::Verify;
use leveret_auth::{Backend, Checked, Denial, LoggedIn};
use leveret_broker::access::Permission::{Configure, Read, Write};
use leveret_broker::access::{Answer, LoginAttempt, Peer, Question, Secret};
use leveret_broker::error::{Resource, ResourceKind};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;

use slapd::{SPECIAL, Slapd, free_port};

const DEADLINE: Duration = Duration::from_mins(1);

/// How a user is called in the directory.
const PATTERN: &str = "cn=${username},ou=people,dc=example,dc=com";

fn settings(slapd: &Slapd) -> LdapSettings {
    LdapSettings {
        servers: vec!["127.0.0.1".into()],
        port: slapd.port,
        user_dn_pattern: PATTERN.into(),
        ..LdapSettings::default()
    }
}

/// Looks users up by their `uid`, as the service.
fn with_lookup(slapd: &Slapd) -> LdapSettings {
    LdapSettings {
        user_dn_pattern: "${username}".into(),
        dn_lookup_attribute: Some("uid".into()),
        dn_lookup_base: Some("dc=example,dc=com".into()),
        dn_lookup_bind: service("service-password"),
        ..settings(slapd)
    }
}

fn service(password: &str) -> LdapBind {
    LdapBind::Account { user_dn: "cn=service,dc=example,dc=com".into(), password: Secret::new(password.as_bytes()) }
}

fn attempt(name: &str, password: Option<&str>) -> Arc<LoginAttempt> {
    Arc::new(LoginAttempt {
        name: name.into(),
        secret: password.map(|password| Secret::new(password.as_bytes())),
        peer: Peer::local(),
        mechanism: "PLAIN",
        protocol: "amqp091",
    })
}

async fn log_in(settings: &LdapSettings, name: &str, password: &str) -> Result<LoggedIn, Denial> {
    let backend = LdapBackend::new(settings).unwrap();
    backend.authenticate(&attempt(name, Some(password))).await
}

/// What became of a login: the tags, or whose fault it is that there are none.
fn outcome(result: &Result<LoggedIn, Denial>) -> String {
    match result {
        Ok(logged_in) => logged_in.tags.join(" "),
        Err(Denial::Refused(_)) => "refused".into(),
        Err(Denial::LoopbackOnly) => "loopback only".into(),
        Err(Denial::Failed(_)) => "failed".into(),
    }
}

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { timeout(DEADLINE, test).await.unwrap() });
}

#[test]
fn users_log_in_with_their_own_password() {
    let Some(slapd) = slapd::start() else { return };
    let settings = LdapSettings { tag_queries: "[{in, {constant, true}}]".into(), ..settings(&slapd) };
    run(async {
        for (name, password, expected) in [
            ("alice", "alice-password", "in"),
            ("alice", "bob-password", "refused"),
            ("alice", "", "refused"),
            ("alice", "\0", "refused"),
            ("nobody", "alice-password", "refused"),
            ("", "alice-password", "refused"),
            ("", "", "refused"),
            ("Jürgen", "pässword", "in"),
            (SPECIAL, "special-password", "in"),
            (SPECIAL, "alice-password", "refused"),
            ("*", "alice-password", "refused"),
            ("alice,ou=people", "alice-password", "refused"),
            ("x,cn=alice", "alice-password", "refused"),
            ("alice,ou=people,dc=example,dc=com\0", "alice-password", "refused"),
        ] {
            let result = log_in(&settings, name, password).await;
            assert_eq!(outcome(&result), expected, "{name} {password}: {result:?}");
            if let (Err(error), false) = (result, password.trim_matches('\0').is_empty()) {
                assert!(!error.to_string().contains(password), "{error}");
            }
        }
    });
}

#[test]
fn whole_dns_and_other_names_may_be_what_users_log_in_with() {
    let Some(slapd) = slapd::start() else { return };
    let plain = LdapSettings { user_dn_pattern: "${username}".into(), ..settings(&slapd) };
    let bind = LdapSettings { user_bind_pattern: Some(PATTERN.into()), ..with_lookup(&slapd) };
    let bind = LdapSettings { dn_lookup_attribute: Some("cn".into()), dn_lookup_bind: LdapBind::AsUser, ..bind };
    let domain =
        LdapSettings { user_dn_pattern: "cn=${ad_user},ou=people,dc=example,dc=com".into(), ..settings(&slapd) };
    run(async {
        for (settings, name, expected) in [
            (&plain, "cn=alice,ou=people,dc=example,dc=com", ""),
            (&plain, "alice", "refused"),
            (&plain, " ", "refused"),
            (&bind, "alice", ""),
            (&domain, "EXAMPLE\\alice", ""),
            (&domain, "alice", "refused"),
        ] {
            let result = log_in(settings, name, "alice-password").await;
            assert_eq!(outcome(&result), expected, "{name}: {result:?}");
        }
    });
}

#[test]
fn users_are_looked_up_before_or_after_they_bind() {
    let Some(slapd) = slapd::start() else { return };
    let before = with_lookup(&slapd);
    let anonymous = LdapSettings { dn_lookup_bind: LdapBind::Anonymous, ..before.clone() };
    let broken = LdapSettings { dn_lookup_bind: service("wrong"), ..before.clone() };
    let special = LdapSettings { dn_lookup_attribute: Some("cn".into()), ..before.clone() };
    run(async {
        for (settings, name, password, expected) in [
            (&before, "a1", "alice-password", ""),
            (&before, "a1", "bob-password", "refused"),
            (&before, "a1", "", "refused"),
            (&before, "alice", "alice-password", "refused"),
            (&before, "a*", "alice-password", "refused"),
            (&before, "*", "alice-password", "refused"),
            (&before, "a1)(uid=*", "alice-password", "refused"),
            // Two users have this one.
            (&before, "twice", "special-password", "refused"),
            (&anonymous, "a1", "alice-password", ""),
            (&broken, "a1", "alice-password", "failed"),
            (&special, SPECIAL, "special-password", ""),
            (&special, SPECIAL, "alice-password", "refused"),
        ] {
            let result = log_in(settings, name, password).await;
            assert_eq!(outcome(&result), expected, "{name} {password}: {result:?}");
        }
    });
}

#[test]
fn users_without_a_password_are_looked_up() {
    let Some(slapd) = slapd::start() else { return };
    let as_user = with_lookup(&slapd);
    let as_service = LdapSettings {
        other_bind: service("service-password"),
        tag_queries: "[{wheel, {in_group, \"cn=wheel,ou=groups,dc=example,dc=com\"}}]".into(),
        // Everything has to work with one connection.
        connection_pool_size: 1,
        ..with_lookup(&slapd)
    };
    let by_other_bind = LdapSettings { dn_lookup_bind: LdapBind::AsUser, ..as_service.clone() };
    run(async {
        for (settings, name, expected) in [
            (&as_service, "a1", "wheel"),
            (&as_service, "b1", ""),
            (&as_service, "c1", "refused"),
            (&as_service, "*", "refused"),
            (&by_other_bind, "a1", "wheel"),
            (&as_user, "a1", "failed"),
        ] {
            let result = LdapBackend::new(settings).unwrap().authenticate(&attempt(name, None)).await;
            assert_eq!(outcome(&result), expected, "{name}: {result:?}");
        }
    });
}

#[test]
fn tags_are_given_by_queries_asked_as_whoever_is_set() {
    let Some(slapd) = slapd::start() else { return };
    let queries = "[{administrator, {in_group, \"cn=wheel,ou=groups,dc=example,dc=com\"}},
                    {nested, {in_group_nested, \"cn=top,ou=groups,dc=example,dc=com\"}},
                    {onelevel, {in_group_nested, \"cn=top,ou=groups,dc=example,dc=com\", \"member\", onelevel}},
                    {special, {in_group, \"cn=special,ou=groups,dc=example,dc=com\"}},
                    {exists, {exists, \"cn=${username},ou=people,dc=example,dc=com\"}},
                    {wrong, {exists, \"this is no DN\"}},
                    {mail, {equals, {attribute, \"${user_dn}\", \"mail\"}, \"a2@example.com\"}}]";
    let as_user = LdapSettings {
        tag_queries: queries.into(),
        group_lookup_base: Some("ou=groups,dc=example,dc=com".into()),
        ..settings(&slapd)
    };
    let as_service = LdapSettings { other_bind: service("service-password"), ..as_user.clone() };
    // Groups are nothing that everybody may see.
    let anonymous = LdapSettings { other_bind: LdapBind::Anonymous, ..as_user.clone() };
    let broken = LdapSettings { other_bind: service("wrong"), ..as_user.clone() };
    run(async {
        for (settings, name, password, expected) in [
            (&as_user, "alice", "alice-password", "administrator nested onelevel exists mail"),
            (&as_user, "bob", "bob-password", "exists"),
            (&as_user, SPECIAL, "special-password", "special exists"),
            (&as_service, "alice", "alice-password", "administrator nested onelevel exists mail"),
            (&as_service, SPECIAL, "special-password", "special exists"),
            (&anonymous, "alice", "alice-password", "exists mail"),
            (&broken, "alice", "alice-password", "failed"),
        ] {
            let result = log_in(settings, name, password).await;
            assert_eq!(outcome(&result), expected, "{name}: {result:?}");
        }
    });
}

fn resource(kind: ResourceKind, name: &str) -> Resource {
    Resource { kind, name: name.into(), vhost: "test".into() }
}

async fn ask(logged_in: &LoggedIn, question: &Question) -> Answer {
    match logged_in.grant.check(question) {
        Checked::Now(answer) => answer,
        Checked::Later(answer) => answer.await,
    }
}

#[test]
fn questions_are_answered_by_queries() {
    let Some(slapd) = slapd::start() else { return };
    let settings = LdapSettings {
        vhost_access_query: "{exists, \"ou=${vhost},ou=vhosts,dc=example,dc=com\"}".into(),
        resource_access_query: "{for, [
            {resource, exchange, {for, [
                {permission, configure, {in_group, \"cn=wheel,ou=groups,dc=example,dc=com\"}},
                {permission, write, {constant, true}},
                {permission, read, {match, {string, \"${name}\"}, {string, \"^xch-${username}-.*\"}}}]}},
            {resource, queue, {for, [
                {permission, configure, {match, {attribute, \"${user_dn}\", \"description\"}, \"can-declare\"}},
                {permission, read, {'not', {equals, \"${name}\", \"secret\"}}}]}}]}"
            .into(),
        topic_access_query: "{for, [{permission, write, {match, \"${routing_key}\", \"^${username}\\\\.\"}},
                                    {permission, read, {equals, \"${resource}-${name}\", \"topic-t\"}}]}"
            .into(),
        ..settings(&slapd)
    };
    let vhost = |vhost: &str| Question::Vhost { vhost: vhost.into() };
    let exchange =
        |name, permission| Question::Resource { resource: resource(ResourceKind::Exchange, name), permission };
    let queue = |name, permission| Question::Resource { resource: resource(ResourceKind::Queue, name), permission };
    let topic = |routing_key: &str, permission| Question::Topic {
        exchange: resource(ResourceKind::Exchange, "t"),
        routing_key: routing_key.into(),
        permission,
    };
    run(async {
        let alice = log_in(&settings, "alice", "alice-password").await.unwrap();
        let bob = log_in(&settings, "bob", "bob-password").await.unwrap();
        for (user, question, expected) in [
            (&alice, vhost("test"), "allowed"),
            (&alice, vhost("other"), "refused"),
            (&alice, vhost("a,b"), "allowed"),
            (&alice, vhost("test,ou=vhosts"), "refused"),
            (&alice, exchange("x", Configure), "allowed"),
            (&bob, exchange("x", Configure), "refused"),
            (&bob, exchange("x", Write), "allowed"),
            (&bob, exchange("xch-bob-1", Read), "allowed"),
            (&bob, exchange("xch-alice-1", Read), "refused"),
            (&alice, queue("q", Configure), "allowed"),
            (&bob, queue("q", Configure), "refused"),
            (&alice, queue("q", Read), "allowed"),
            (&alice, queue("secret", Read), "refused"),
            (&alice, queue("q", Write), "ldap_evaluate_error"),
            (&alice, topic("alice.a", Write), "allowed"),
            (&alice, topic("bob.a", Write), "refused"),
            (&alice, topic("any", Read), "allowed"),
        ] {
            let answer = match ask(user, &question).await {
                Answer::Allowed => "allowed".into(),
                Answer::Refused { reason } => {
                    assert_eq!(reason, None);
                    "refused".into()
                }
                Answer::Failed(reason) => {
                    assert_eq!(reason.backend, "rabbit_auth_backend_ldap");
                    reason.text.to_string()
                }
            };
            assert_eq!(answer, expected, "{} {question:?}", user.name);
        }
        assert_eq!(alice.grant.answers_expire_after_ms(), Some(60_000));
    });
}

#[test]
fn tls_is_used_from_the_start_or_later_and_certificates_are_verified() {
    let Some(slapd) = slapd::start() else { return };
    run(async {
        for (encryption, authority, server_name, verify, expected) in [
            (Ldaps, slapd.authority_file(), Some("ldap.example.com"), Verify::Peer, ""),
            (StartTls, slapd.authority_file(), Some("ldap.example.com"), Verify::Peer, ""),
            (Ldaps, slapd.other_authority_file(), Some("ldap.example.com"), Verify::Peer, "failed"),
            (StartTls, slapd.other_authority_file(), Some("ldap.example.com"), Verify::Peer, "failed"),
            (Ldaps, slapd.authority_file(), None, Verify::Peer, "failed"),
            (StartTls, slapd.authority_file(), Some("other.example.com"), Verify::Peer, "failed"),
            (Ldaps, slapd.other_authority_file(), None, Verify::None, ""),
            (StartTls, slapd.other_authority_file(), None, Verify::None, ""),
        ] {
            let port = if encryption == Ldaps { slapd.tls_port } else { slapd.port };
            let mut settings = LdapSettings { encryption, port, ..settings(&slapd) };
            settings.tls.ca_certificate_file = Some(authority.clone());
            settings.tls.server_name = server_name.map(Into::into);
            settings.tls.verify = verify;
            settings.tls.client_certificate = Some(slapd.client_certificate());
            let result = log_in(&settings, "alice", "alice-password").await;
            assert_eq!(
                outcome(&result),
                expected,
                "{encryption:?} {authority:?} {server_name:?} {verify:?}: {result:?}"
            );
        }
        for encryption in [Ldaps, StartTls] {
            let port = if encryption == Ldaps { slapd.tls_port } else { slapd.port };
            let mut settings = LdapSettings { encryption, port, ..settings(&slapd) };
            settings.tls.verify = Verify::None;
            let result = log_in(&settings, "alice", "alice-password").await;
            assert_eq!(outcome(&result), "failed", "{encryption:?} without a certificate: {result:?}");
        }
        let encrypted_only = LdapSettings { encryption: Plain, port: slapd.tls_port, ..settings(&slapd) };
        assert_eq!(outcome(&log_in(&encrypted_only, "alice", "alice-password").await), "failed");
    });
}

/// Forwards connections to a server, and says how many there are and were.
struct Proxy {
    port: u16,
    open: watch::Receiver<usize>,
    accepted: Arc<AtomicUsize>,
}

impl Proxy {
    async fn start(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (change, open) = watch::channel(0);
        let (change, accepted) = (Arc::new(change), Arc::new(AtomicUsize::new(0)));
        let count = Arc::clone(&accepted);
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                change.send_modify(|open| *open += 1);
                let change = Arc::clone(&change);
                tokio::spawn(async move {
                    if let Ok(mut server) = TcpStream::connect(("127.0.0.1", server)).await {
                        let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                    }
                    change.send_modify(|open| *open -= 1);
                });
            }
        });
        Self { port, open, accepted }
    }

    fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }
}

#[test]
fn connections_are_kept_shared_and_closed_when_idle() {
    let Some(slapd) = slapd::start() else { return };
    run(async {
        let mut proxy = Proxy::start(slapd.port).await;
        let settings =
            LdapSettings { port: proxy.port, idle_timeout_ms: None, connection_pool_size: 3, ..settings(&slapd) };
        let backend = LdapBackend::new(&settings).unwrap();
        for password in ["alice-password", "wrong", "alice-password"] {
            let _ = backend.authenticate(&attempt("alice", Some(password))).await;
        }
        assert_eq!(proxy.accepted(), 1, "the connection is used again");
        let logins: Vec<_> = (0..30).map(|_| backend.authenticate(&attempt("alice", Some("alice-password")))).collect();
        let logins: Vec<_> = logins.into_iter().map(tokio::spawn).collect();
        for login in logins {
            login.await.unwrap().unwrap();
        }
        assert!(proxy.accepted() <= 3, "{} connections", proxy.accepted());
        drop(backend);
        proxy.open.wait_for(|open| *open == 0).await.unwrap();

        for idle_timeout_ms in [0, 20] {
            let backend =
                LdapBackend::new(&LdapSettings { idle_timeout_ms: Some(idle_timeout_ms), ..settings.clone() });
            let backend = backend.unwrap();
            backend.authenticate(&attempt("alice", Some("alice-password"))).await.unwrap();
            proxy.open.wait_for(|open| *open == 0).await.unwrap();
        }
    });
}

#[test]
fn a_server_that_was_away_is_found_again() {
    let Some(mut slapd) = slapd::start() else { return };
    let query = "{in_group, \"cn=wheel,ou=groups,dc=example,dc=com\"}";
    let settings = LdapSettings { vhost_access_query: query.into(), ..settings(&slapd) };
    let backend = LdapBackend::new(&settings).unwrap();
    let vhost = Question::Vhost { vhost: "test".into() };
    run(async {
        let alice = backend.authenticate(&attempt("alice", Some("alice-password"))).await.unwrap();
        slapd.restart();
        assert_eq!(ask(&alice, &vhost).await, Answer::Allowed);
        slapd.stop();
        let Answer::Failed(reason) = ask(&alice, &vhost).await else { panic!("nobody can be asked") };
        assert_eq!(&*reason.text, "ldap_connect_error");
        let error = backend.authenticate(&attempt("alice", Some("alice-password"))).await.unwrap_err();
        let Denial::Failed(text) = error else { panic!("{error:?}") };
        assert!(text.starts_with(&format!("LDAP server 127.0.0.1:{}: ", slapd.port)), "{text}");
        slapd.restart();
        assert_eq!(ask(&alice, &vhost).await, Answer::Allowed);
    });
}

#[test]
fn servers_are_tried_in_turn() {
    let Some(slapd) = slapd::start() else { return };
    run(async {
        // Other addresses of this machine; nobody listens on the first, and the second never says anything.
        let silent = StdTcpListener::bind(("127.0.0.3", slapd.port)).unwrap();
        let servers = ["127.0.0.2", "127.0.0.3", "127.0.0.1"].map(String::from).to_vec();
        let settings = LdapSettings { servers, timeout_ms: Some(500), ..settings(&slapd) };
        let result = log_in(&settings, "alice", "alice-password").await;
        assert_eq!(outcome(&result), "", "{result:?}");

        let servers = vec!["127.0.0.3".into()];
        let result = log_in(&LdapSettings { servers, ..settings }, "alice", "alice-password").await;
        let expected = format!("LDAP server 127.0.0.3:{}: no answer within 500 ms", slapd.port);
        assert_eq!(result.unwrap_err(), Denial::Failed(expected));
        drop(silent);
    });
}

#[test]
fn nobody_logs_in_where_no_server_is() {
    run(async {
        let settings = LdapSettings { servers: vec!["127.0.0.1".into()], port: free_port(), ..LdapSettings::default() };
        let result = log_in(&settings, "cn=alice", "alice-password").await;
        assert_eq!(outcome(&result), "failed", "{result:?}");
        let error = result.unwrap_err().to_string();
        assert!(
            error.contains(&format!("127.0.0.1:{}", settings.port)) && !error.contains("alice-password"),
            "{error}"
        );
    });
}
