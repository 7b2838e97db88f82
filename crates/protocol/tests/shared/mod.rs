//! What the tests of the codec share: every method, the rules any octets must keep to, recorded sessions.

#![allow(dead_code, reason = "each test uses its part")]
#![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

pub(crate) mod invariants;
pub(crate) mod methods;
pub(crate) mod sessions;
