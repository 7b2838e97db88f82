//! Several back ends and one answer.

use leveret_broker::clock::Timestamp;

use super::*;
use crate::testing::{Asker, Does, FakeGrant, question};

fn part(role: Role, grant: FakeGrant) -> Part {
    let logged_in = LoggedIn {
        name: "alice".into(),
        tags: vec!["old".into()],
        expires: Some(Timestamp(5)),
        grant: Arc::new(grant),
    };
    Part { backend: "b", role, logged_in }
}

fn identity(grants: Vec<FakeGrant>) -> Identity {
    identity_of(grants.into_iter().map(|grant| part(Role::Grant, grant)).collect())
}

fn identity_of(parts: Vec<Part>) -> Identity {
    let asking =
        Asking { runtime: Handle::current(), patience: Duration::from_secs(30), permits: Arc::new(Semaphore::new(1)) };
    Composed::identity("alice".into(), parts, asking)
}

fn failed(text: &str) -> Answer {
    super::failed("b", text)
}

#[tokio::test(start_paused = true)]
async fn what_all_grants_allow_is_allowed() {
    let yes = || FakeGrant::now("b", Answer::Allowed);
    let no = || FakeGrant::now("b", Answer::REFUSED);
    let later = |does| FakeGrant { name: "b", ..FakeGrant::later(does) };
    let (allowed, refused) = (Answer::Allowed, Answer::REFUSED);
    // What the grants are, the answer at once, and the one that comes later.
    for (grants, now, then) in [
        (vec![yes()], Some(allowed.clone()), None),
        (vec![yes(), yes()], Some(allowed.clone()), None),
        (vec![yes(), no()], Some(refused.clone()), None),
        (vec![no(), later(Does::Panic)], Some(refused.clone()), None),
        (vec![], Some(refused.clone()), None),
        (vec![later(Does::Know)], None, Some(allowed.clone())),
        (vec![later(Does::Know), yes(), later(Does::Wait(10))], None, Some(allowed)),
        (vec![yes(), later(Does::Refuse), later(Does::Panic)], None, Some(refused.clone())),
        (vec![later(Does::Know), no()], None, Some(refused)),
        (vec![later(Does::Fail)], None, Some(failed("out of order"))),
        (vec![later(Does::Wait(31_000))], None, Some(failed("timeout"))),
        (vec![later(Does::Panic)], None, Some(failed("it gave up"))),
    ] {
        let shown = format!("{grants:?}");
        let (identity, asker) = (identity(grants), Asker::default());
        assert_eq!(identity.authority.ask(&question(), asker.reply()), now, "{shown}");
        if let Some(expected) = then {
            let Outcome::Answered(of, answer) = asker.outcome().await else { panic!("not an answer") };
            assert_eq!((of, answer), (question(), expected), "{shown}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_secret_is_taken_by_all_who_need_one() {
    let needs = |does| FakeGrant { renewal: Some(does), ..FakeGrant::now("b", Answer::Allowed) };
    let needs_none = || FakeGrant::now("b", Answer::Allowed);
    let taken = |tags: &str, expires| Ok((tags.to_owned(), Some(Timestamp(expires))));
    for (grants, secret, expected) in [
        (vec![needs_none()], "wrong", taken("old", 5)),
        (vec![needs(Does::Know)], "right", taken("new", 9)),
        (vec![needs_none(), needs(Does::Know)], "right", taken("old new", 5)),
        (vec![needs(Does::Know)], "wrong", Err(RenewalFailure::Refused)),
        (vec![needs(Does::Know), needs(Does::Refuse)], "right", Err(RenewalFailure::Refused)),
        (vec![needs(Does::Rename)], "right", Err(RenewalFailure::Refused)),
        (vec![needs(Does::Fail)], "right", Err(RenewalFailure::Failed)),
        (vec![needs(Does::Wait(31_000))], "right", Err(RenewalFailure::Failed)),
        (vec![needs(Does::Panic)], "right", Err(RenewalFailure::Failed)),
    ] {
        let shown = format!("{grants:?} {secret}");
        let (identity, asker) = (identity(grants), Asker::default());
        let result = match identity.authority.renew(Secret::new(secret.as_bytes()), asker.reply()) {
            Some(result) => result,
            None => match asker.outcome().await {
                Outcome::Renewed(result) => result,
                other => panic!("not a renewal: {other:?}"),
            },
        };
        let result = result.map(|identity| {
            assert_eq!(&*identity.name, "alice");
            (identity.tags.join(" "), identity.expires)
        });
        assert_eq!(result, expected, "{shown}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_grants_what_another_proves_gives_no_new_tags() {
    let needs = || FakeGrant { renewal: Some(Does::Know), ..FakeGrant::now("b", Answer::Allowed) };
    let proof = part(Role::Proof, FakeGrant::now("b", Answer::Allowed));
    let identity = identity_of(vec![proof, part(Role::Grant, needs())]);
    let asker = Asker::default();
    assert!(identity.authority.renew(Secret::new(b"right"), asker.reply()).is_none());
    let Outcome::Renewed(renewed) = asker.outcome().await else { panic!("not a renewal") };
    assert_eq!(*renewed.unwrap().tags, ["old".into()]);
}
