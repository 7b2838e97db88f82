//! Rules about names.

use std::borrow::Cow;

use crate::Name;

/// Names under this prefix are the broker's to give.
const RESERVED_PREFIX: &str = "amq.";

/// The name without line breaks, which RabbitMQ strips from the names of exchanges and queues it is given.
pub fn clean_name(name: &str) -> Cow<'_, str> {
    if name.contains(['\r', '\n']) { Cow::Owned(name.replace(['\r', '\n'], "")) } else { Cow::Borrowed(name) }
}

/// [`clean_name`] for a name that is owned; most are clean and stay the same allocation.
pub(super) fn clean(name: Name) -> Name {
    match clean_name(&name) {
        Cow::Borrowed(_) => name,
        Cow::Owned(clean) => clean.into(),
    }
}

pub(super) fn is_reserved(name: &str) -> bool {
    name.starts_with(RESERVED_PREFIX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_breaks_are_stripped_from_names() {
        for (name, expected) in [("a", "a"), ("a\r\n", "a"), ("\na\rb", "ab"), ("\r\n", ""), (" a\t", " a\t")] {
            assert_eq!(clean_name(name), expected, "{name:?}");
            assert_eq!(&*clean(name.into()), expected, "{name:?}");
        }
    }
}
