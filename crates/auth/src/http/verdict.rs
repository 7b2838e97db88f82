//! What a service says, by the text of its answer.

/// The characters of a reason that are kept.
const REASON_CHARS_MAX: usize = 200;

/// A service's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// `allow`, and whatever comes after it: a user's tags, in lower case as RabbitMQ has them.
    Allow {
        /// The tags.
        tags: Vec<String>,
    },
    /// `deny`, and why, if it says so.
    Deny {
        /// Why.
        reason: Option<String>,
    },
    /// Anything else.
    Nonsense,
}

/// Reads an answer.
pub(super) fn read(answer: &[u8]) -> Verdict {
    let Ok(text) = std::str::from_utf8(answer) else {
        return Verdict::Nonsense;
    };
    let text = text.trim_ascii();
    let (word, rest) = text.split_once(|character: char| character.is_ascii_whitespace()).unwrap_or((text, ""));
    if word.eq_ignore_ascii_case("allow") {
        Verdict::Allow { tags: rest.split_ascii_whitespace().map(str::to_lowercase).collect() }
    } else if word.eq_ignore_ascii_case("deny") {
        Verdict::Deny { reason: printable(rest.trim_ascii()) }
    } else {
        Verdict::Nonsense
    }
}

/// A reason that may be shown: on one line, and not too long.
fn printable(text: &str) -> Option<String> {
    let shown: String = text
        .chars()
        .take(REASON_CHARS_MAX)
        .map(|character| if character.is_control() { ' ' } else { character })
        .collect();
    (!shown.is_empty()).then_some(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allow(tags: &[&str]) -> Verdict {
        Verdict::Allow { tags: tags.iter().map(ToString::to_string).collect() }
    }

    fn deny(reason: Option<&str>) -> Verdict {
        Verdict::Deny { reason: reason.map(Into::into) }
    }

    #[test]
    fn an_answer_is_a_word_and_what_comes_after_it() {
        for (answer, expected) in [
            ("allow", allow(&[])),
            ("ALLOW", allow(&[])),
            ("  Allow \r\n", allow(&[])),
            ("allow administrator", allow(&["administrator"])),
            ("Allow  Administrator Big.Tag ", allow(&["administrator", "big.tag"])),
            ("allow\tmanagement\n", allow(&["management"])),
            ("deny", deny(None)),
            ("DENY\n", deny(None)),
            ("deny ", deny(None)),
            ("deny Not there", deny(Some("Not there"))),
            ("Deny\nNot\nthere", deny(Some("Not there"))),
            ("", Verdict::Nonsense),
            (" ", Verdict::Nonsense),
            // RabbitMQ lets these users in.
            ("allowed", Verdict::Nonsense),
            ("allow,administrator", Verdict::Nonsense),
            ("denying", Verdict::Nonsense),
            ("\"allow\"", Verdict::Nonsense),
            ("<html>allow</html>", Verdict::Nonsense),
            ("not allow", Verdict::Nonsense),
        ] {
            assert_eq!(read(answer.as_bytes()), expected, "{answer:?}");
        }
        assert_eq!(read(b"allow \xff"), Verdict::Nonsense);
    }

    #[test]
    fn a_reason_has_an_end() {
        let answer = format!("deny {}", "é".repeat(REASON_CHARS_MAX + 1));
        assert_eq!(read(answer.as_bytes()), deny(Some(&"é".repeat(REASON_CHARS_MAX))));
    }
}
