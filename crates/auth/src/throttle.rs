//! Guessing passwords is slow.
//!
//! An attempt that follows failures waits before it is looked at, a right password as long as a wrong one: a guesser could hang
//! up on who answers late and learn from that. What an attempt waits for depends on where it comes from, so that nobody can shut
//! others out:
//!
//! * The failures of a user *from its address* count most. A program with an old password that tries for ever slows nobody
//!   down but its like; a success ends it, so that the program's right-minded siblings keep it low.
//! * An address is slow as a whole only after it has failed *as many users*. Many clients share the address of a router or a load
//!   balancer, and one of them must not be a burden on all; who tries one password with all users is.
//! * The failures of a user *from everywhere* count, a little, for addresses that have failed with this user themselves. A
//!   stranger who fails as this user over and over does not slow down its owner, who comes from elsewhere.
//!
//! Nobody is refused for having failed, but for one thing: only so many attempts of an address wait at the same time. As many again
//! wait for nothing, and further ones end at once. Waiting is a timer, not a thread. Failures are forgotten, half of them each
//! minute.

use std::collections::HashMap;
use std::collections::hash_map::{Entry, RandomState};
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// Keys whose failures are known, of each kind.
const KEYS_MAX: usize = 10_000;

/// More failures than this are not counted, so that they are forgotten within five minutes.
const FAILURES_MAX: u32 = 32;

/// Half of the failures are forgotten after this time without another.
const HALF_LIFE: Duration = Duration::from_mins(1);

/// The first wait; each further failure doubles it.
const WAIT_MIN: Duration = Duration::from_millis(100);

/// The longest wait for the failures of a user from everywhere.
const USER_WAIT_MAX: Duration = Duration::from_secs(1);

/// How guessing is slowed down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ThrottleSettings {
    /// Failures of a user from one address after which the next attempt waits.
    pub free_failures: u32,
    /// Failures of a user from everywhere, and users that fail from an address, after which attempts wait.
    pub free_failures_of_many: u32,
    /// The longest wait; zero: nobody waits.
    pub wait_max: Duration,
    /// Attempts of one address that may wait at the same time and are still looked at.
    pub waiting_max: usize,
}

impl Default for ThrottleSettings {
    fn default() -> Self {
        Self { free_failures: 4, free_failures_of_many: 20, wait_max: Duration::from_secs(5), waiting_max: 256 }
    }
}

/// Who failed, and how often.
#[derive(Debug)]
pub(crate) struct Throttle {
    settings: ThrottleSettings,
    state: Arc<Mutex<State>>,
    /// Names are kept as hashes that nobody else can tell.
    hasher: RandomState,
}

#[derive(Debug, Default)]
struct State {
    /// Failures of a user from an address.
    pairs: Failures,
    /// Failures of a user from everywhere.
    users: Failures,
    /// Users that failed from an address.
    addresses: Failures,
    /// Attempts that wait, by address.
    waiting: HashMap<u64, usize>,
}

/// What an attempt has to do first.
#[derive(Debug)]
pub(crate) struct Wait {
    /// For how long.
    pub(crate) duration: Duration,
    /// What then.
    pub(crate) then: Then,
    place: Option<Place>,
}

/// What comes after a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    /// The attempt is looked at.
    Check,
    /// It is not, as too many others from there wait.
    GiveUp,
}

impl Wait {
    /// The wait is over, and another may wait in its place.
    pub(crate) fn end(self) -> Then {
        drop(self.place);
        self.then
    }
}

impl Throttle {
    pub(crate) fn new(settings: ThrottleSettings) -> Self {
        Self { settings, state: Arc::default(), hasher: RandomState::new() }
    }

    /// How long an attempt has to wait in all; never longer than the longest wait.
    pub(crate) fn due(&self, address: IpAddr, user: &str) -> Duration {
        self.state.lock().due(self.keys(address, user), &self.settings, Instant::now())
    }

    /// What an attempt that has waited so long has to wait for, if it has to.
    pub(crate) fn enter(&self, address: IpAddr, user: &str, waited: Duration) -> Option<Wait> {
        let keys = self.keys(address, user);
        let mut state = self.state.lock();
        let duration = state.due(keys, &self.settings, Instant::now()).saturating_sub(waited);
        if duration.is_zero() {
            return None;
        }
        let waiting_max = self.settings.waiting_max;
        let waiting = state.waiting.get(&keys.address).copied().unwrap_or(0);
        if waiting >= waiting_max.saturating_mul(2) {
            return Some(Wait { duration: Duration::ZERO, then: Then::GiveUp, place: None });
        }
        let then = if waiting < waiting_max { Then::Check } else { Then::GiveUp };
        state.waiting.insert(keys.address, waiting + 1);
        let place = Place { address: keys.address, state: Arc::clone(&self.state) };
        Some(Wait { duration, then, place: Some(place) })
    }

    /// An attempt failed.
    pub(crate) fn failed(&self, address: IpAddr, user: &str) {
        let keys = self.keys(address, user);
        let now = Instant::now();
        let mut state = self.state.lock();
        if state.pairs.add(keys.pair, now) == 1 {
            state.addresses.add(keys.address, now);
        }
        state.users.add(keys.user, now);
    }

    /// An attempt succeeded.
    pub(crate) fn succeeded(&self, address: IpAddr, user: &str) {
        let keys = self.keys(address, user);
        self.state.lock().pairs.forget(keys.pair);
    }

    fn keys(&self, address: IpAddr, user: &str) -> Keys {
        let address = match address.to_canonical() {
            IpAddr::V4(address) => u128::from(u32::from(address)),
            // A machine is given as many addresses as it likes with the same first half.
            IpAddr::V6(address) => u128::from(address) >> 64 << 64,
        };
        Keys {
            pair: self.hasher.hash_one((address, user)),
            user: self.hasher.hash_one(user),
            address: self.hasher.hash_one(address),
        }
    }
}

impl State {
    fn due(&self, keys: Keys, settings: &ThrottleSettings, now: Instant) -> Duration {
        let ThrottleSettings { free_failures, free_failures_of_many, wait_max, waiting_max: _ } = *settings;
        let of_pair = self.pairs.count(keys.pair, now);
        let of_user = if of_pair == 0 { 0 } else { self.users.count(keys.user, now) };
        let of_address = self.addresses.count(keys.address, now);
        wait(of_pair, free_failures, wait_max)
            .max(wait(of_user, free_failures_of_many, wait_max.min(USER_WAIT_MAX)))
            .max(wait(of_address, free_failures_of_many, wait_max))
    }
}

#[derive(Debug, Clone, Copy)]
struct Keys {
    pair: u64,
    user: u64,
    address: u64,
}

/// One of those who may wait; gives its place back.
#[derive(Debug)]
struct Place {
    address: u64,
    state: Arc<Mutex<State>>,
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Entry::Occupied(mut waiting) = self.state.lock().waiting.entry(self.address) {
            *waiting.get_mut() -= 1;
            if *waiting.get() == 0 {
                waiting.remove();
            }
        }
    }
}

/// How long so many failures make an attempt wait.
fn wait(failures: u32, free: u32, wait_max: Duration) -> Duration {
    match failures.checked_sub(free) {
        None | Some(0) => Duration::ZERO,
        Some(further) => WAIT_MIN.saturating_mul(1 << (further - 1).min(16)).min(wait_max),
    }
}

/// Failures that are forgotten with time.
#[derive(Debug, Default)]
struct Failures(HashMap<u64, Count>);

#[derive(Debug, Clone, Copy)]
struct Count {
    failures: u32,
    last: Instant,
}

impl Count {
    fn at(self, now: Instant) -> u32 {
        let halvings = now.saturating_duration_since(self.last).as_secs() / HALF_LIFE.as_secs();
        u32::try_from(halvings).ok().and_then(|halvings| self.failures.checked_shr(halvings)).unwrap_or(0)
    }
}

impl Failures {
    fn count(&self, key: u64, now: Instant) -> u32 {
        self.0.get(&key).map_or(0, |count| count.at(now))
    }

    /// Adds one, and gives how many there are then.
    fn add(&mut self, key: u64, now: Instant) -> u32 {
        if self.0.len() >= KEYS_MAX && !self.0.contains_key(&key) {
            self.make_room(now);
        }
        let failures = (self.count(key, now) + 1).min(FAILURES_MAX);
        self.0.insert(key, Count { failures, last: now });
        failures
    }

    fn forget(&mut self, key: u64) {
        self.0.remove(&key);
    }

    /// Those with the fewest failures give way: who wants to be forgotten has to fail as others as often.
    fn make_room(&mut self, now: Instant) {
        self.0.retain(|_, count| count.at(now) > 0);
        if self.0.len() < KEYS_MAX {
            return;
        }
        let mut counts: Vec<(u32, Instant)> = self.0.values().map(|count| (count.at(now), count.last)).collect();
        let half = counts.len() / 2;
        let (_, middle, _) = counts.select_nth_unstable(half);
        let middle = *middle;
        self.0.retain(|_, count| (count.at(now), count.last) > middle);
    }
}

#[cfg(test)]
mod tests;
