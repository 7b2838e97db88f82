//! How much messages are.

use std::ops::AddAssign;

use crate::message::Message;

/// Octets of the bodies of messages, and which part of the messages survives if their queue does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Weight {
    /// Octets of the bodies.
    pub octets: u64,
    /// How many of them are persistent.
    pub persistent: u64,
    /// Octets of those.
    pub persistent_octets: u64,
}

impl Weight {
    /// That of one message.
    #[inline]
    pub fn of(message: &Message) -> Self {
        let octets = message.body_size() as u64;
        Self::of_size(octets, message)
    }

    /// The same for a message whose body is known to have so many octets.
    #[inline]
    pub fn of_size(octets: u64, message: &Message) -> Self {
        if message.is_persistent() {
            Self { octets, persistent: 1, persistent_octets: octets }
        } else {
            Self { octets, ..Self::default() }
        }
    }

    /// That of several messages.
    pub fn of_all<'a>(messages: impl IntoIterator<Item = &'a Message>) -> Self {
        let mut sum = Self::default();
        for message in messages {
            sum += Self::of(message);
        }
        sum
    }

    /// Without another one that is part of it.
    #[inline]
    pub fn take(&mut self, part: Self) {
        self.octets = self.octets.saturating_sub(part.octets);
        self.persistent = self.persistent.saturating_sub(part.persistent);
        self.persistent_octets = self.persistent_octets.saturating_sub(part.persistent_octets);
    }
}

impl AddAssign for Weight {
    #[inline]
    fn add_assign(&mut self, other: Self) {
        self.octets += other.octets;
        self.persistent += other.persistent;
        self.persistent_octets += other.persistent_octets;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Draft;

    #[test]
    fn only_persistent_messages_weigh_twice() {
        let message = |body: &[u8]| {
            let mut draft = Draft::new(Vec::new(), "exchange", "key");
            draft.properties(b"\x10\x00\x02");
            draft.body(body);
            draft
        };
        let mut sum = Weight::of(&message(b"four").message());
        let mut persistent = message(b"seven!!");
        persistent.set_persistent();
        sum += Weight::of(&persistent.message());
        assert_eq!(sum, Weight { octets: 11, persistent: 1, persistent_octets: 7 });
        sum.take(Weight::of(&message(b"four").message()));
        assert_eq!(sum.octets, 7);
        sum.take(Weight { octets: 8, persistent: 2, persistent_octets: 0 });
        assert_eq!(sum, Weight { octets: 0, persistent: 0, persistent_octets: 7 });
    }
}
