//! Who waits, and who does not.

use super::*;

const HERE: &str = "192.0.2.1";
const THERE: &str = "198.51.100.7";

fn ip(address: &str) -> IpAddr {
    address.parse().unwrap()
}

fn wait_ms(throttle: &Throttle, address: &str, user: &str) -> u128 {
    throttle.enter(ip(address), user, Duration::ZERO).map_or(0, |wait| wait.duration.as_millis())
}

#[tokio::test(start_paused = true)]
async fn each_failure_doubles_the_wait_up_to_a_maximum() {
    let throttle = Throttle::new(ThrottleSettings::default());
    for expected in [0, 0, 0, 0, 0, 100, 200, 400, 800, 1600, 3200, 5000, 5000] {
        assert_eq!(wait_ms(&throttle, HERE, "alice"), expected);
        throttle.failed(ip(HERE), "alice");
    }
}

#[tokio::test(start_paused = true)]
async fn only_who_failed_waits() {
    let throttle = Throttle::new(ThrottleSettings::default());
    for _ in 0..40 {
        throttle.failed(ip(HERE), "alice");
    }
    for (address, user, expected) in [
        (HERE, "alice", 5000),
        (HERE, "bob", 0),
        (THERE, "alice", 0),
        (THERE, "bob", 0),
        ("::ffff:192.0.2.1", "alice", 5000),
    ] {
        assert_eq!(wait_ms(&throttle, address, user), expected, "{address} {user}");
    }
    throttle.failed(ip(THERE), "alice");
    assert_eq!(wait_ms(&throttle, THERE, "alice"), 1000, "the first failure from there brings the others' with it");
}

#[tokio::test(start_paused = true)]
async fn an_address_waits_that_fails_as_many_users() {
    let throttle = Throttle::new(ThrottleSettings::default());
    for user in 0..26 {
        throttle.failed(ip(HERE), &format!("user-{user}"));
    }
    assert_eq!(wait_ms(&throttle, HERE, "somebody"), 3200);
    assert_eq!(wait_ms(&throttle, THERE, "somebody"), 0);
}

#[tokio::test(start_paused = true)]
async fn machines_of_one_ipv6_network_are_one() {
    let throttle = Throttle::new(ThrottleSettings::default());
    for last in 1..=6 {
        throttle.failed(ip(&format!("2001:db8::{last}")), "alice");
    }
    for (address, expected) in [("2001:db8::99", 200), ("2001:db8:0:1::1", 0)] {
        assert_eq!(wait_ms(&throttle, address, "alice"), expected, "{address}");
    }
}

#[tokio::test(start_paused = true)]
async fn failures_are_forgotten() {
    let throttle = Throttle::new(ThrottleSettings::default());
    for _ in 0..100 {
        throttle.failed(ip(HERE), "alice");
    }
    for (minutes, expected) in [(0, 5000), (1, 5000), (1, 800), (1, 0)] {
        tokio::time::advance(Duration::from_secs(60 * minutes)).await;
        assert_eq!(wait_ms(&throttle, HERE, "alice"), expected);
    }
    for _ in 0..100 {
        throttle.failed(ip(HERE), "alice");
    }
    throttle.succeeded(ip(HERE), "alice");
    assert_eq!(wait_ms(&throttle, HERE, "alice"), 0, "a success makes up for failures");
}

#[tokio::test(start_paused = true)]
async fn only_so_many_wait_at_once() {
    let throttle = Throttle::new(ThrottleSettings { waiting_max: 2, ..ThrottleSettings::default() });
    for _ in 0..9 {
        throttle.failed(ip(HERE), "alice");
    }
    let enter = || throttle.enter(ip(HERE), "alice", Duration::ZERO).unwrap();
    let waits = [(); 5].map(|()| enter());
    let expected = [Then::Check, Then::Check, Then::GiveUp, Then::GiveUp, Then::GiveUp];
    assert_eq!(waits.each_ref().map(|wait| wait.then), expected);
    assert_eq!(waits.each_ref().map(|wait| wait.duration.is_zero()), [false, false, false, false, true]);
    assert_eq!(waits.map(Wait::end), expected);
    let wait = enter();
    assert_eq!(wait.then, Then::Check, "there is a place again");
    assert_eq!(throttle.enter(ip(THERE), "alice", Duration::ZERO).map(|wait| wait.then), None);
    drop(wait);
    assert!(throttle.state.lock().waiting.is_empty());
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_if_it_is_turned_off() {
    let throttle = Throttle::new(ThrottleSettings { wait_max: Duration::ZERO, ..ThrottleSettings::default() });
    for _ in 0..50 {
        throttle.failed(ip(HERE), "alice");
    }
    assert_eq!(wait_ms(&throttle, HERE, "alice"), 0);
}

#[tokio::test(start_paused = true)]
async fn who_failed_often_is_remembered_while_others_come_and_go() {
    let throttle = Throttle::new(ThrottleSettings::default());
    for _ in 0..9 {
        throttle.failed(ip(HERE), "alice");
    }
    for user in 0..3 * KEYS_MAX {
        throttle.failed(ip(THERE), &format!("user-{user}"));
    }
    assert_eq!(wait_ms(&throttle, HERE, "alice"), 1600);
    assert!(throttle.state.lock().pairs.0.len() <= KEYS_MAX);
}
