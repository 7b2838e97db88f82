//! What is asked again, and what is not.

use std::future::poll_fn;
use std::task::Poll;

use leveret_broker::access::{Peer, TlsPeer};

use super::*;
use crate::testing::{Does, Fake, FakeGrant, attempt, question};

const HERE: &str = "127.0.0.1:1";

fn cache(fake: Fake, refusals: Refusals) -> (Arc<Fake>, Cache) {
    let fake = Arc::new(fake);
    let limits = CacheLimits { refusals, ..CacheLimits::default() };
    (Arc::clone(&fake), Cache::new(fake, limits).unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_login_is_asked_for_once_in_a_while() {
    use Refusals::{Ask, Remember};
    // What the back end does, the secret, after how many seconds it is tried again, and whether it is asked again then.
    for (does, refusals, secret, seconds, again) in [
        (Does::Know, Ask, "right", 0, false),
        (Does::Know, Ask, "right", 14, false),
        (Does::Know, Ask, "right", 15, true),
        (Does::Know, Ask, "wrong", 0, true),
        (Does::Know, Remember, "wrong", 0, false),
        (Does::Know, Remember, "wrong", 15, true),
        (Does::Fail, Remember, "right", 0, true),
    ] {
        let (fake, cache) = cache(Fake::new("a", does), refusals);
        let attempt = Arc::new(attempt("alice", Some(secret), HERE));
        let first = cache.authenticate(&attempt).await.map(|logged_in| logged_in.name);
        tokio::time::advance(Duration::from_secs(seconds)).await;
        let second = cache.authenticate(&attempt).await.map(|logged_in| logged_in.name);
        assert_eq!(first, second);
        assert_eq!(fake.times_asked() == 2, again, "{does:?} {refusals:?} {secret} {seconds}");
    }
}

#[tokio::test(start_paused = true)]
async fn logins_that_differ_are_kept_apart() {
    let (fake, cache) = cache(Fake::new("a", Does::Know), Refusals::Remember);
    let tls = |version: &str| Some(TlsPeer { version: version.into(), cipher: "c".into(), certificate: None });
    let with_tls = |version| {
        let plain = attempt("alice", Some("right"), HERE);
        LoginAttempt { peer: Peer { tls: tls(version), ..plain.peer }, ..plain }
    };
    let attempts = [
        attempt("alice", Some("right"), HERE),
        attempt("alice", Some("wrong"), HERE),
        attempt("alice", Some(""), HERE),
        attempt("alice", None, HERE),
        attempt("bob", Some("right"), HERE),
        attempt("alice", Some("right"), "192.0.2.1:1"),
        with_tls("tlsv1.2"),
        with_tls("tlsv1.3"),
        LoginAttempt { mechanism: "EXTERNAL", ..attempt("alice", Some("right"), HERE) },
        LoginAttempt { protocol: "mqtt", ..attempt("alice", Some("right"), HERE) },
    ];
    let attempts = attempts.map(Arc::new);
    for (index, attempt) in attempts.iter().enumerate() {
        let _ = cache.authenticate(attempt).await;
        assert_eq!(fake.times_asked(), index + 1, "{attempt:?}");
    }
    for attempt in &attempts {
        let _ = cache.authenticate(attempt).await;
    }
    assert_eq!(fake.times_asked(), attempts.len());
    let other_port = Arc::new(attempt("alice", Some("right"), "127.0.0.1:2"));
    assert!(cache.authenticate(&other_port).await.is_ok());
    assert_eq!(fake.times_asked(), attempts.len(), "the port is another one each time");
    assert!(cache.authorize(&other_port, &[]).await.is_ok());
    assert_eq!(fake.times_asked(), attempts.len() + 1);
    let lists: [&[&str]; 3] = [&["ab"], &["a", "b"], &["b", "a"]];
    let lists = lists.map(|tags| tags.iter().map(|tag| Name::from(*tag)).collect::<Vec<_>>());
    for tags in lists.iter().chain(&lists) {
        assert!(cache.authorize(&other_port, tags).await.is_ok());
    }
    assert_eq!(fake.authorized_with.lock()[1..], lists, "tags are part of the question");
    let asked = fake.times_asked();
    cache.forget();
    assert!(cache.authenticate(&other_port).await.is_ok());
    assert_eq!(fake.times_asked(), asked + 1);
}

#[tokio::test(start_paused = true)]
async fn what_was_asked_before_everything_was_forgotten_is_not_remembered() {
    let fake = Fake::new("a", Does::Wait(1000)).with_grant(FakeGrant::later(Does::Wait(1000)));
    let (fake, cache) = cache(fake, Refusals::Ask);
    let attempt = Arc::new(attempt("alice", Some("right"), HERE));
    let logging_in = cache.authenticate(&attempt);
    cache.forget();
    let logged_in = logging_in.await.unwrap();
    assert!(cache.authenticate(&attempt).await.is_ok());
    assert_eq!(fake.times_asked(), 2);
    let Checked::Later(answer) = logged_in.grant.check(&question()) else { panic!("nobody has answered") };
    cache.forget();
    assert!(answer.await.is_allowed());
    assert!(matches!(logged_in.grant.check(&question()), Checked::Later(_)), "it is asked again");
}

#[tokio::test(start_paused = true)]
async fn what_has_expired_is_not_remembered() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let now_ms = u64::try_from(now.as_millis()).unwrap();
    for (expires, again) in [(now_ms - 1, true), (now_ms + 3_600_000, false)] {
        let fake = Fake { expires: Some(Timestamp(expires)), ..Fake::new("a", Does::Know) };
        let (fake, cache) = cache(fake, Refusals::Ask);
        let attempt = Arc::new(attempt("alice", Some("right"), HERE));
        for _ in 0..2 {
            assert!(cache.authenticate(&attempt).await.is_ok());
        }
        assert_eq!(fake.times_asked() == 2, again, "{expires}");
    }
}

#[tokio::test(start_paused = true)]
async fn answers_are_remembered_by_login() {
    for (does, refusals, again) in [
        (Does::Know, Refusals::Ask, false),
        (Does::Refuse, Refusals::Ask, true),
        (Does::Refuse, Refusals::Remember, false),
        (Does::Fail, Refusals::Remember, true),
    ] {
        let grant = FakeGrant::later(does);
        let (_, cache) = cache(Fake::new("a", Does::Know).with_grant(grant.clone()), refusals);
        let ask = async |name| {
            let logged_in = cache.authenticate(&Arc::new(attempt(name, None, HERE))).await.unwrap();
            match logged_in.grant.check(&question()) {
                Checked::Now(answer) => answer,
                Checked::Later(pending) => pending.await,
            }
        };
        let first = ask("alice").await;
        assert_eq!(ask("alice").await, first);
        assert_eq!(grant.times_asked() == 2, again, "{does:?} {refusals:?}");
        let before = grant.times_asked();
        ask("bob").await;
        assert_eq!(grant.times_asked(), before + 1, "{does:?}: others are others");
        tokio::time::advance(Duration::from_secs(15)).await;
        ask("alice").await;
        assert_eq!(grant.times_asked(), before + 2, "{does:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_secret_is_a_new_login() {
    let grant = FakeGrant { renewal: Some(Does::Know), ..FakeGrant::later(Does::Know) };
    let (_, cache) = cache(Fake::new("a", Does::Know).with_grant(grant.clone()), Refusals::Ask);
    let mut logged_in = cache.authenticate(&Arc::new(attempt("alice", None, HERE))).await.unwrap();
    for asked in 1..=2 {
        for _ in 0..2 {
            if let Checked::Later(pending) = logged_in.grant.check(&question()) {
                assert!(pending.await.is_allowed());
            }
            assert_eq!(grant.times_asked(), asked);
        }
        let Renewal::Later(pending) = logged_in.grant.renew(&Secret::new(b"right")) else { panic!("it needs one") };
        logged_in = pending.await.unwrap();
    }
    let Renewal::Later(pending) = logged_in.grant.renew(&Secret::new(b"wrong")) else { panic!("it needs one") };
    assert!(pending.await.is_err());
}

#[tokio::test(start_paused = true)]
async fn what_is_known_at_once_needs_no_memory() {
    let grant = FakeGrant::now("a", Answer::REFUSED);
    let (_, cache) = cache(Fake::new("a", Does::Know).with_grant(grant.clone()), Refusals::Remember);
    let mut login = cache.authenticate(&Arc::new(attempt("alice", None, HERE)));
    // It is known without waiting for anything.
    let logged_in = poll_fn(|context| match login.as_mut().poll(context) {
        Poll::Ready(result) => Poll::Ready(result),
        Poll::Pending => panic!("it waits"),
    });
    let logged_in = logged_in.await.unwrap();
    for asked in 1..=2 {
        assert!(matches!(logged_in.grant.check(&question()), Checked::Now(Answer::Refused { .. })));
        assert_eq!(grant.times_asked(), asked);
    }
}
