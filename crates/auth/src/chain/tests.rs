//! Who gets in, by which back end, and what is said of those who do not.

use leveret_broker::clock::Timestamp;

use super::*;
use crate::cache::{Cache, CacheLimits};
use crate::testing::{Asker, Does, Fake, FakeGrant, attempt, question};

const HERE: &str = "127.0.0.1:1";
const AFAR: &str = "192.0.2.1:1";

fn limits() -> Limits {
    Limits { patience: Duration::from_secs(30), ..Limits::default() }
}

fn chain(links: Vec<Link>) -> Chain {
    Chain::new(links, limits(), Handle::current())
}

fn whole(does: Does, name: &'static str) -> Link {
    Link::Whole(Arc::new(Fake::new(name, does)))
}

fn split(proof: Does, grants: &[Does]) -> Link {
    let authorization = grants.iter().map(|does| Arc::new(Fake::new("z", *does)) as Arc<dyn Backend>).collect();
    Link::Split { authentication: Arc::new(Fake::new("n", proof)), authorization }
}

/// What comes of an attempt: who got in with which tags, or why not.
async fn told(chain: &Chain, attempt: LoginAttempt) -> Result<(String, Vec<String>), String> {
    let asker = Asker::default();
    assert!(chain.log_in(attempt, asker.reply()).is_none());
    let Outcome::LoggedIn(result) = asker.outcome().await else { panic!("not of a login") };
    result
        .map(|identity| (identity.name.to_string(), identity.tags.iter().map(ToString::to_string).collect()))
        .map_err(|failure| failure.to_string())
}

#[tokio::test(start_paused = true)]
async fn the_first_link_that_knows_somebody_lets_it_in() {
    use Does::{Fail, Know, Panic, Refuse, Rename, Wait, WantLoopback};
    let refused = |reason: &str| Err(format!("user 'alice' - {reason}"));
    for (links, secret, from, expected) in [
        (vec![whole(Know, "a"), whole(Panic, "b")], "right", HERE, Ok(("alice", "a"))),
        (vec![whole(Refuse, "a"), whole(Know, "b")], "right", HERE, Ok(("alice", "b"))),
        (vec![whole(Fail, "a"), whole(Rename, "b")], "right", HERE, Ok(("renamed", "b"))),
        (vec![whole(Wait(29_000), "a")], "right", HERE, Ok(("alice", "a"))),
        (vec![split(Rename, &[Know, Know])], "right", HERE, Ok(("renamed", "n z"))),
        (vec![split(Know, &[Know, Refuse]), whole(Know, "b")], "right", HERE, Ok(("alice", "b"))),
        (vec![split(Know, &[])], "right", HERE, Ok(("alice", "n"))),
        (vec![whole(Know, "a")], "wrong", HERE, refused("invalid credentials")),
        (vec![whole(Know, "a"), whole(Fail, "b")], "wrong", HERE, refused("a: invalid credentials; b: out of order")),
        (vec![split(Refuse, &[Panic])], "right", HERE, refused("no")),
        (vec![split(Know, &[Fail])], "right", HERE, refused("out of order")),
        (vec![whole(WantLoopback, "a")], "right", HERE, Ok(("alice", "a"))),
        (vec![whole(WantLoopback, "a")], "right", AFAR, Err("user 'alice' can only connect via localhost".into())),
        (vec![whole(Wait(31_000), "a")], "right", HERE, refused("there was no answer within 30 s")),
        (vec![whole(Panic, "a")], "right", HERE, refused("the attempt was given up")),
        (vec![], "right", HERE, refused("there is no back end to ask")),
    ] {
        let shown = format!("{links:?} {secret} {from}");
        let told = told(&chain(links), attempt("alice", Some(secret), from)).await;
        let told = told.map(|(name, tags)| (name, tags.join(" ")));
        assert_eq!(told, expected.map(|(name, tags)| (name.to_owned(), tags.to_owned())), "{shown}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_known_does_not_wait_for_those_whom_nobody_answers() {
    let limits = Limits { logins_at_once: 2, ..limits() };
    let links = vec![whole(Does::WantLoopback, "a"), whole(Does::Wait(29_000), "b")];
    let chain = Chain::new(links, limits, Handle::current());
    let askers: Vec<Asker> = std::iter::repeat_with(Asker::default).take(5).collect();
    for asker in &askers {
        assert!(chain.log_in(attempt("alice", Some("right"), AFAR), asker.reply()).is_none());
    }
    let before = tokio::time::Instant::now();
    assert!(told(&chain, attempt("bob", Some("right"), HERE)).await.is_ok());
    assert_eq!(before.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn some_users_come_from_this_machine_only() {
    for (name, from, expected) in
        [("guest", HERE, true), ("guest", AFAR, false), ("guest", "[::ffff:127.0.0.1]:1", true), ("alice", AFAR, true)]
    {
        let told = told(&chain(vec![whole(Does::Know, "a")]), attempt(name, Some("right"), from)).await;
        assert_eq!(told.is_ok(), expected, "{name} {from}");
    }
    // The name that counts is the one that the user has from now on.
    let limits = Limits { loopback_only: vec!["renamed".into()], ..limits() };
    let chain = Chain::new(vec![whole(Does::Rename, "a"), whole(Does::Know, "b")], limits, Handle::current());
    let told = told(&chain, attempt("guest", Some("right"), AFAR)).await;
    assert_eq!(told, Err("user 'renamed' can only connect via localhost".into()), "no other link is asked then");
}

#[tokio::test(start_paused = true)]
async fn who_says_what_a_user_may_do_is_told_its_tags() {
    let grants = [(); 2].map(|()| Arc::new(Fake::new("z", Does::Know)));
    let authorization = grants.iter().map(|fake| Arc::clone(fake) as Arc<dyn Backend>).collect();
    let link = Link::Split { authentication: Arc::new(Fake::new("n", Does::Rename)), authorization };
    told(&chain(vec![link]), attempt("alice", Some("right"), HERE)).await.unwrap();
    for fake in grants {
        assert_eq!(*fake.authorized_with.lock(), [[Name::from("n")]]);
    }
}

#[tokio::test(start_paused = true)]
async fn an_identity_ends_with_the_first_of_what_it_rests_on() {
    for (proof, grant, expected) in [(None, None, None), (Some(5), None, Some(5)), (Some(5), Some(3), Some(3))] {
        let expiring = |name, end: Option<u64>| Fake { expires: end.map(Timestamp), ..Fake::new(name, Does::Know) };
        let link = Link::Split {
            authentication: Arc::new(expiring("n", proof)),
            authorization: vec![Arc::new(expiring("z", grant))],
        };
        let identity = chain(vec![link]).check(attempt("alice", None, HERE)).await.unwrap();
        assert_eq!(identity.expires, expected.map(Timestamp));
    }
}

#[tokio::test(start_paused = true)]
async fn who_only_proves_grants_nothing() {
    for (grants, expected) in [(vec![], false), (vec![Does::Know], true)] {
        let identity = chain(vec![split(Does::Know, &grants)]).check(attempt("alice", None, HERE)).await.unwrap();
        let answer = identity.authority.ask(&question(), Asker::default().reply()).unwrap();
        assert_eq!(answer.is_allowed(), expected, "{grants:?}");
    }
    let refusing = FakeGrant::now("n", leveret_broker::access::Answer::REFUSED);
    let authentication = Arc::new(Fake::new("n", Does::Know).with_grant(refusing));
    let link = Link::Split { authentication, authorization: vec![Arc::new(Fake::new("z", Does::Know))] };
    let identity = chain(vec![link]).check(attempt("alice", None, HERE)).await.unwrap();
    let answer = identity.authority.ask(&question(), Asker::default().reply()).unwrap();
    assert!(answer.is_allowed(), "nobody asks who only proves");
}

#[tokio::test(start_paused = true)]
async fn those_who_find_no_room_wait_and_end_in_time() {
    let limits = Limits { logins_at_once: 1, ..limits() };
    let slow = Arc::new(Fake::new("a", Does::Wait(20_000)));
    let chain = Chain::new(vec![Link::Whole(Arc::clone(&slow) as Arc<dyn Backend>)], limits, Handle::current());
    let [first, second] = [(); 2].map(|()| Asker::default());
    chain.log_in(attempt("alice", Some("right"), HERE), first.reply());
    chain.log_in(attempt("alice", Some("right"), HERE), second.reply());
    sleep(Duration::from_secs(10)).await;
    assert_eq!(slow.times_asked(), 1);
    assert!(matches!(first.outcome().await, Outcome::LoggedIn(Ok(_))));
    assert!(matches!(second.outcome().await, Outcome::LoggedIn(Err(_))));
}

#[tokio::test(start_paused = true)]
async fn guesses_are_slow_and_others_are_not() {
    let chain = chain(vec![whole(Does::Know, "a")]);
    let elapsed_ms = async |name, secret, from| {
        let start = tokio::time::Instant::now();
        let _ = told(&chain, attempt(name, secret, from)).await;
        start.elapsed().as_millis()
    };
    for expected in [0, 0, 0, 0, 0, 100, 200] {
        assert_eq!(elapsed_ms("alice", Some("wrong"), AFAR).await, expected);
    }
    for (name, secret, from, expected) in [
        ("alice", Some("right"), HERE, 0),
        ("bob", Some("right"), AFAR, 0),
        ("alice", None, AFAR, 0),
        ("alice", Some("right"), AFAR, 400),
        ("alice", Some("right"), AFAR, 0),
    ] {
        let elapsed = elapsed_ms(name, secret, from).await;
        // A timer may be a tick late.
        assert!((expected..=expected + 1).contains(&elapsed), "{name} {secret:?} {from}: {elapsed}");
    }
}

#[tokio::test(start_paused = true)]
async fn guesses_that_come_together_do_not_pass_together() {
    let slow = Arc::new(Fake::new("n", Does::Wait(10)));
    let link = Link::Split {
        authentication: Arc::clone(&slow) as Arc<dyn Backend>,
        authorization: vec![Arc::new(Fake::new("z", Does::Refuse))],
    };
    let chain = Chain::new(vec![link], Limits { logins_at_once: 2, ..limits() }, Handle::current());
    let askers: Vec<Asker> = (0..20).map(|_| Asker::default()).collect();
    for asker in &askers {
        chain.log_in(attempt("alice", Some("right"), AFAR), asker.reply());
    }
    sleep(Duration::from_millis(150)).await;
    assert_eq!(slow.times_asked(), 6, "four for nothing, and two that were looked at by then");
    for asker in askers {
        assert!(matches!(asker.outcome().await, Outcome::LoggedIn(Err(_))));
    }
    assert_eq!(slow.times_asked(), 20, "nobody is forgotten");
}

#[tokio::test(start_paused = true)]
async fn only_guesses_count_as_such() {
    use Does::{Fail, Know, Wait};
    for (does, secret, counts) in [
        (Know, Some("wrong"), true),
        (Fail, Some("wrong"), false),
        (Wait(40_000), Some("right"), false),
        (Know, None, false),
    ] {
        let chain = chain(vec![whole(does, "a")]);
        for _ in 0..5 {
            let _ = told(&chain, attempt("alice", secret, AFAR)).await;
        }
        let address = attempt("alice", None, AFAR).peer.address.ip();
        assert_eq!(!chain.shared.throttle.due(address, "alice").is_zero(), counts, "{does:?} {secret:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn every_attempt_is_counted() {
    let chain = chain(vec![whole(Does::Know, "a")]);
    for (secret, from) in [("right", HERE), ("wrong", HERE)] {
        let _ = told(&chain, attempt("alice", Some(secret), from)).await;
    }
    let panicking = self::chain(vec![whole(Does::Panic, "a")]);
    let _ = told(&panicking, attempt("alice", None, HERE)).await;
    for (chain, expected) in [(&chain, (2, 1, 1)), (&panicking, (1, 0, 1))] {
        let counts = chain.attempts().by_protocol();
        let (_, counts) = counts.first().unwrap();
        assert_eq!((counts.attempts, counts.succeeded, counts.failed), expected);
    }
}

#[test]
fn an_attempt_is_answered_when_the_runtime_is_gone() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let chain = Chain::new(vec![whole(Does::Know, "a")], limits(), runtime.handle().clone());
    let [before, after] = [(); 2].map(|()| Asker::default());
    chain.log_in(attempt("alice", Some("right"), HERE), before.reply());
    drop(runtime);
    chain.log_in(attempt("alice", Some("right"), HERE), after.reply());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for asker in [before, after] {
        assert!(matches!(runtime.block_on(asker.outcome()), Outcome::LoggedIn(Err(_))));
    }
}

#[tokio::test(start_paused = true)]
async fn every_back_end_forgets() {
    let fakes = [(); 3].map(|()| Arc::new(Fake::new("a", Does::Know)));
    let [first, second, third] = fakes.clone().map(|fake| {
        let cache = Cache::new(fake, CacheLimits::default()).unwrap();
        Arc::new(cache) as Arc<dyn Backend>
    });
    let refusing = whole(Does::Refuse, "z");
    let authorization = vec![third];
    let split = Link::Split { authentication: second, authorization };
    let alone = chain(vec![Link::Whole(first)]);
    let chain = chain(vec![refusing, split]);
    for expected in [1, 1, 2] {
        if expected == 2 {
            chain.forget();
            alone.forget();
        }
        for chain in [&chain, &alone] {
            assert!(chain.check(attempt("alice", Some("right"), HERE)).await.is_ok());
        }
        assert_eq!(fakes.each_ref().map(|fake| fake.times_asked()), [expected; 3]);
    }
}
