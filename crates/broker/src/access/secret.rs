//! Octets that nobody is to see.

use std::fmt;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// A password or token: it is not shown by `Debug`, its memory is wiped when it is dropped, and a comparison takes as long
/// whatever is in it.
#[derive(Clone)]
pub struct Secret(Zeroizing<Box<[u8]>>);

impl Secret {
    /// Takes a copy; the original is the caller's to wipe.
    pub fn new(octets: &[u8]) -> Self {
        Self(Zeroizing::new(octets.into()))
    }

    /// What nobody is to see.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// What nobody is to see, if it is text.
    pub fn expose_text(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_shown() {
        assert_eq!(format!("{:?}", Secret::new(b"swordfish")), "Secret");
    }

    #[test]
    fn secrets_are_compared_by_what_is_in_them() {
        for (one, other, same) in [("", "", true), ("a", "a", true), ("a", "b", false), ("a", "ab", false)] {
            assert_eq!(Secret::new(one.as_bytes()) == Secret::new(other.as_bytes()), same, "{one} {other}");
        }
    }
}
