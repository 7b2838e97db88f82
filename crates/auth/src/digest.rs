//! Names for what must not be kept as it is.

use std::fmt;

use aws_lc_rs::hmac::{Context, HMAC_SHA256, Key};

use crate::hash::HashError;

/// Stands for a list of octets, some of them secret. It means nothing outside of this process.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Mark([u8; 32]);

impl Mark {
    /// To be part of another list.
    pub(crate) const fn octets(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mark")
    }
}

/// Makes [`Mark`]s with a key that nobody else has.
pub(crate) struct Marker(Key);

impl Marker {
    /// With a new key.
    pub(crate) fn new() -> Result<Self, HashError> {
        let mut octets = zeroize::Zeroizing::new([0; 32]);
        getrandom::fill(octets.as_mut()).map_err(|_| HashError::NoRandomness)?;
        Ok(Self(Key::new(HMAC_SHA256, octets.as_ref())))
    }

    /// Another list has another mark, also if its parts together are the same octets.
    pub(crate) fn mark(&self, parts: &[&[u8]]) -> Mark {
        let mut context = Context::with_key(&self.0);
        for part in parts {
            context.update(&part.len().to_le_bytes());
            context.update(part);
        }
        let mut mark = [0; 32];
        for (octet, made) in mark.iter_mut().zip(context.sign().as_ref()) {
            *octet = *made;
        }
        Mark(mark)
    }
}

impl fmt::Debug for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Marker")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_tell_lists_apart() {
        let marker = Marker::new().unwrap();
        let lists: [&[&[u8]]; 5] = [&[], &[b""], &[b"ab", b"c"], &[b"a", b"bc"], &[b"abc"]];
        for (one, first) in lists.iter().enumerate() {
            for (other, second) in lists.iter().enumerate() {
                assert_eq!(marker.mark(first) == marker.mark(second), one == other, "{first:?} {second:?}");
            }
        }
        assert_ne!(marker.mark(&[b"a"]), Marker::new().unwrap().mark(&[b"a"]), "keys differ");
    }
}
