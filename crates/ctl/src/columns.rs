//! The columns of a listing that somebody chose: `list_vhosts name tracing` or `list_vhosts name,tracing`.

use crate::failure::{Exit, Failure};
use crate::invocation::Invocation;

/// The columns that stand at a place, in that order and each once; `default` if there are none.
pub(crate) fn chosen<'a>(invocation: &'a Invocation, place: &str, default: &[&'a str]) -> Vec<&'a str> {
    let mut columns = Vec::new();
    for name in names(&invocation.arguments(place)) {
        if !columns.contains(&name) {
            columns.push(name);
        }
    }
    if columns.is_empty() { default.to_vec() } else { columns }
}

/// Refuses columns that are not `known`.
pub(crate) fn validate(invocation: &Invocation, place: &str, known: &[&str]) -> Result<(), Failure> {
    match unknown(&names(&invocation.arguments(place)), known) {
        Some(unknown) => {
            Err(invocation.invalid(Exit::Usage, &format!("Info key(s) {} are not supported", unknown.join(","))))
        }
        None => Ok(()),
    }
}

fn names<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    let parts = arguments.iter().flat_map(|argument| argument.split([',', ' ']));
    parts.filter(|name| !name.is_empty()).collect()
}

/// Those that are not known, in RabbitMQ's order, which is that of the alphabet.
fn unknown<'a>(names: &[&'a str], known: &[&str]) -> Option<Vec<&'a str>> {
    let mut unknown: Vec<&str> = names.iter().copied().filter(|name| !known.contains(name)).collect();
    unknown.sort_unstable();
    unknown.dedup();
    (!unknown.is_empty()).then_some(unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_separated_by_spaces_and_commas() {
        for (arguments, expected) in [
            (&["name", "tracing"][..], &["name", "tracing"][..]),
            (&["name,tracing"], &["name", "tracing"]),
            (&["name, tracing", "tags"], &["name", "tracing", "tags"]),
            (&[], &[]),
        ] {
            assert_eq!(names(arguments), expected, "{arguments:?}");
        }
    }

    #[test]
    fn unknown_columns_are_named_in_order() {
        assert_eq!(unknown(&["name", "z", "a", "z"], &["name"]), Some(vec!["a", "z"]));
        assert_eq!(unknown(&["name"], &["name"]), None);
    }
}
