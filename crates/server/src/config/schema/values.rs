//! How the values of settings are read, and what is said about wrong ones.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::str::FromStr;

use leveret_broker::access::{Pattern, Secret};
use zeroize::Zeroizing;

use super::{At, Draft, MILLISECONDS_MAX, Takes};
use crate::config::everywhere;

/// Characters of a wrong value that are repeated to whoever wrote it.
const SHOWN_MAX: usize = 200;
/// What `RabbitMQ` writes before a value that is encrypted.
const ENCRYPTED: &str = "encrypted:";

impl Takes {
    /// Reads a value and puts it where it belongs, or says why it is wrong.
    pub(super) fn set(&self, draft: &mut Draft, at: &At<'_>, value: &Zeroizing<String>) -> Result<(), String> {
        match *self {
            Self::Name(_) if value.is_empty() => return Err(self.refuse(value)),
            Self::Text(set) | Self::Name(set) => set(draft, at, value.to_string()),
            Self::Pattern(set) => {
                set(draft, at, Pattern::new(value.as_str().into()).map_err(|error| shorten(&error.to_string()))?);
            }
            Self::Secret(set) => {
                draft.has_secrets = true;
                set(draft, at, secret(value)?);
            }
            Self::Flag(set) => set(draft, at, self.one_of(value, &["true", "false"])? == "true"),
            Self::Number(least, most, set) => {
                let number = value.parse().ok().filter(|number| (least..=most).contains(number));
                set(draft, at, number.ok_or_else(|| self.refuse(value))?);
            }
            Self::Count(set) => {
                let number = || value.parse().map_err(|_| self.refuse(value));
                set(draft, at, if value.as_str() == "infinity" { None } else { Some(number()?) });
            }
            Self::Word(words, set) => set(draft, at, self.one_of(value, words)?),
            Self::File(set) => set(draft, at, readable(value)?.into()),
            Self::Address(set) => set(draft, at, address(value).ok_or_else(|| self.refuse(value))?),
            Self::Milliseconds(least, set) => {
                let number = || value.parse().ok().filter(|number| (least..=MILLISECONDS_MAX).contains(number));
                let ms =
                    if value.as_str() == "infinity" { None } else { Some(number().ok_or_else(|| self.refuse(value))?) };
                set(draft, at, ms);
            }
            Self::Url(schemes, set) => {
                // What comes before an @ may be a password, so it is not repeated.
                draft.has_secrets |= value.contains('@');
                let url = url(value, schemes).ok_or_else(|| format!("expected {}", self.describe()))?;
                set(draft, at, url.to_owned());
            }
            Self::Only(word) if value.as_str() == word => {}
            Self::Only(_) => return Err(self.refuse(value)),
        }
        Ok(())
    }

    /// What is allowed, after `expected`.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Text(_) | Self::Secret(_) => "text".to_owned(),
            Self::Name(_) => "a name, which is not empty".to_owned(),
            Self::Pattern(_) => "a regular expression".to_owned(),
            Self::Flag(_) => "true or false".to_owned(),
            Self::Number(0, u64::MAX, _) => "a whole number".to_owned(),
            Self::Number(least, u64::MAX, _) => format!("a whole number from {least}"),
            Self::Number(least, most, _) => format!("a whole number from {least} to {most}"),
            Self::Count(_) => "a whole number, or infinity".to_owned(),
            Self::Word([word], _) | Self::Only(word) => format!("nothing but {word}"),
            Self::Word(words, _) => alternatives(words),
            Self::File(_) => "a file that can be read".to_owned(),
            Self::Address(_) => "a port, or an IP address and a port such as 127.0.0.1:5672 or [::1]:5672".to_owned(),
            Self::Milliseconds(least, _) => {
                format!("milliseconds, a whole number from {least} to {MILLISECONDS_MAX}, or infinity")
            }
            Self::Url(schemes, _) => {
                let schemes: Vec<_> = schemes.iter().map(|scheme| format!("{scheme}://")).collect();
                let schemes: Vec<_> = schemes.iter().map(String::as_str).collect();
                format!("a URL that begins with {}", alternatives(&schemes))
            }
        }
    }

    /// Whether nobody is to see the values.
    pub(super) const fn is_secret(&self) -> bool {
        matches!(self, Self::Secret(_))
    }

    fn one_of(&self, value: &str, words: &'static [&'static str]) -> Result<&'static str, String> {
        words.iter().copied().find(|word| *word == value).ok_or_else(|| self.refuse(value))
    }

    fn refuse(&self, value: &str) -> String {
        format!("`{}` is wrong, expected {}", shorten(value), self.describe())
    }
}

/// `a`, `a or b`, `a, b or c`.
pub(super) fn alternatives(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [word] => (*word).to_owned(),
        [words @ .., last] => format!("{} or {last}", words.join(", ")),
    }
}

/// As much of a value as a message has room for.
pub(super) fn shorten(value: &str) -> String {
    let mut shown: String =
        value.chars().take(SHOWN_MAX).map(|shown| if shown.is_control() { ' ' } else { shown }).collect();
    if value.chars().nth(SHOWN_MAX).is_some() {
        shown.push_str("...");
    }
    shown
}

fn secret(value: &str) -> Result<Secret, String> {
    if value.starts_with(ENCRYPTED) {
        return Err(
            "encrypted values are not supported; $(NAME) takes the value from an environment variable".to_owned()
        );
    }
    Ok(Secret::new(value.as_bytes()))
}

/// The name of a file, once it is clear that it can be read.
fn readable(name: &str) -> Result<&Path, String> {
    let path = Path::new(name);
    let explain = |error| format!("cannot read {}: {error}", shorten(name));
    let file = File::open(path).map_err(explain)?;
    if file.metadata().map_err(explain)?.is_dir() {
        return Err(format!("{} is a folder, expected a file", shorten(name)));
    }
    Ok(path)
}

/// The same text, if it is a URL with one of these schemes and a host.
fn url<'a>(text: &'a str, schemes: &[&str]) -> Option<&'a str> {
    let (scheme, rest) = text.split_once("://")?;
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let known = schemes.iter().any(|known| known.eq_ignore_ascii_case(scheme));
    (known && !host.is_empty() && !text.contains(char::is_whitespace)).then_some(text)
}

/// Reads `5672`, which is that port of every address of this machine, or an address with a port. `RabbitMQ` needs no brackets
/// around IPv6 addresses.
fn address(text: &str) -> Option<SocketAddr> {
    if let Ok(port) = u16::from_str(text) {
        return Some(SocketAddr::new(everywhere(), port));
    }
    let (host, port) = text.rsplit_once(':')?;
    let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host) {
        "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
        host => host.parse().ok()?,
    };
    Some(SocketAddr::new(host, port.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_port_or_has_one() {
        for (text, expected) in [
            ("127.0.0.1:5673", Some("127.0.0.1:5673")),
            ("::1:5673", Some("[::1]:5673")),
            ("[::1]:5673", Some("[::1]:5673")),
            (":::5672", Some("[::]:5672")),
            ("localhost:1", Some("127.0.0.1:1")),
            ("127.0.0.1", None),
            ("127.0.0.1:", None),
            ("127.0.0.1:65536", None),
            ("broker.example:5672", None),
            ("65536", None),
            ("-1", None),
            ("", None),
        ] {
            assert_eq!(address(text), expected.map(|expected| expected.parse().unwrap()), "{text}");
        }
        let everywhere = address("5673").unwrap();
        assert!(everywhere.ip().is_unspecified() && everywhere.port() == 5673, "{everywhere}");
    }

    #[test]
    fn alternatives_are_a_list_for_people() {
        for (words, expected) in [(&["a"][..], "a"), (&["a", "b"], "a or b"), (&["a", "b", "c"], "a, b or c")] {
            assert_eq!(alternatives(words), expected);
        }
    }

    #[test]
    fn a_long_value_is_not_repeated_as_a_whole() {
        assert_eq!(shorten("a\nb"), "a b");
        assert_eq!(shorten(&"x".repeat(1000)).len(), SHOWN_MAX + 3);
    }
}
