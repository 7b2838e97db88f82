//! Which of the node's users get in, and what they may do then.

use leveret_broker::access::{HashingAlgorithm, Permissions};
use leveret_broker::topology::{Change, Existing};

use super::*;
use crate::hash::Argon2Cost;
use crate::testing::{attempt, question};

const HERE: &str = "127.0.0.1:1";

fn hashing(algorithm: HashingAlgorithm) -> Hashing {
    Hashing { algorithm, argon2: Argon2Cost { memory_kib: 8, passes: 1, lanes: 1 } }
}

fn hash(algorithm: HashingAlgorithm, password: &str) -> PasswordHash {
    hashing(algorithm).hash(&Secret::new(password.as_bytes())).unwrap()
}

fn set(node: &Node, user: &str, password: PasswordHash) {
    let tags = vec!["management".into()];
    node.apply(Change::SetUser { user: user.into(), password, tags, existing: Existing::Replace }).unwrap();
}

/// A node with alice, whose password is `right`, and carol, who has none.
fn internal(algorithm: HashingAlgorithm) -> (Arc<Node>, Internal) {
    let node = Arc::new(Node::new());
    set(&node, "alice", hash(algorithm, "right"));
    set(&node, "carol", PasswordHash::none());
    let internal = Internal::new(Arc::clone(&node), &hashing(algorithm), InternalLimits::default()).unwrap();
    (node, internal)
}

fn verified(internal: &Internal, algorithm: HashingAlgorithm, node: &Node) -> bool {
    let hash = node.read(|topology| topology.user("alice").unwrap().password().clone());
    assert_eq!(hash.algorithm, algorithm);
    let mark = internal.checker.marker.mark(&[&hash.octets, b"right"]);
    internal.checker.verified.lock().get(&mark, Instant::now()).is_some()
}

#[tokio::test]
async fn users_get_in_with_their_password_or_a_certificate() {
    for algorithm in [HashingAlgorithm::Sha256, HashingAlgorithm::Sha512, HashingAlgorithm::Argon2id] {
        let (_, internal) = internal(algorithm);
        for (name, secret, expected) in [
            ("alice", Some("right"), Ok("alice")),
            ("alice", Some("right"), Ok("alice")),
            ("alice", Some("wrong"), Err("invalid credentials")),
            ("alice", Some(""), Err("a blank password is never accepted")),
            ("alice", None, Ok("alice")),
            ("Alice", Some("right"), Err("invalid credentials")),
            ("carol", Some("right"), Err("invalid credentials")),
            ("carol", Some(""), Err("a blank password is never accepted")),
            ("carol", None, Ok("carol")),
            ("nobody", Some("right"), Err("invalid credentials")),
            ("nobody", Some("nobody's password"), Err("invalid credentials")),
            ("nobody", Some(""), Err("a blank password is never accepted")),
            ("nobody", None, Err("invalid credentials")),
        ] {
            let result = internal.authenticate(&Arc::new(attempt(name, secret, HERE))).await;
            let result = result.map(|logged_in| {
                assert_eq!(logged_in.tags, ["management".into()]);
                logged_in.name.to_string()
            });
            let result = result.map_err(|denial| denial.to_string());
            assert_eq!(result, expected.map(str::to_owned).map_err(str::to_owned), "{algorithm:?} {name} {secret:?}");
        }
    }
}

#[tokio::test]
async fn others_may_leave_it_to_the_node_what_users_may_do() {
    let (_, internal) = internal(HashingAlgorithm::Sha256);
    for (name, expected) in [("alice", true), ("nobody", false)] {
        let result = internal.authorize(&Arc::new(attempt(name, Some("something else"), HERE)), &[]).await;
        assert_eq!(result.is_ok(), expected, "{name}");
    }
}

#[tokio::test]
async fn the_node_is_asked_each_time() {
    let (node, internal) = internal(HashingAlgorithm::Sha256);
    let logged_in = internal.authenticate(&Arc::new(attempt("alice", Some("right"), HERE))).await.unwrap();
    let is_allowed = || match logged_in.grant.check(&question()) {
        Checked::Now(answer) => answer.is_allowed(),
        Checked::Later(_) => panic!("the node knows at once"),
    };
    assert!(!is_allowed());
    let permissions = Permissions::new("", "", "").unwrap();
    node.apply(Change::SetPermissions { user: "alice".into(), vhost: "/".into(), permissions }).unwrap();
    assert!(is_allowed());
    node.apply(Change::DeleteUser { user: "alice".into() }).unwrap();
    assert!(!is_allowed());
}

#[tokio::test]
async fn what_takes_long_is_remembered_until_the_password_changes() {
    for (algorithm, expected) in [(HashingAlgorithm::Argon2id, true), (HashingAlgorithm::Sha256, false)] {
        let (node, internal) = internal(algorithm);
        let log_in =
            async |secret| internal.authenticate(&Arc::new(attempt("alice", Some(secret), HERE))).await.is_ok();
        assert!(!log_in("wrong").await);
        assert!(!verified(&internal, algorithm, &node));
        assert!(log_in("right").await);
        assert_eq!(verified(&internal, algorithm, &node), expected);
        assert!(log_in("right").await && !log_in("wrong").await);
        set(&node, "alice", hash(algorithm, "new"));
        assert!(!log_in("right").await && log_in("new").await);
        set(&node, "alice", hash(algorithm, "right"));
        assert!(!verified(&internal, algorithm, &node), "another salt");
        assert!(log_in("right").await);
        internal.forget();
        assert!(!verified(&internal, algorithm, &node));
    }
}

#[tokio::test]
async fn only_so_many_checks_go_on_at_once() {
    let (_, internal) = internal(HashingAlgorithm::Argon2id);
    let permits = Arc::clone(&internal.checker.permits).acquire_many_owned(2).await.unwrap();
    let alice = Arc::new(attempt("alice", Some("right"), HERE));
    let waiting = [(); 3].map(|()| tokio::spawn(internal.authenticate(&alice)));
    tokio::task::yield_now().await;
    assert!(waiting.iter().all(|waiting| !waiting.is_finished()));
    drop(permits);
    for waiting in waiting {
        assert!(waiting.await.unwrap().is_ok());
    }
    assert_eq!(internal.checker.permits.available_permits(), 2);
}
