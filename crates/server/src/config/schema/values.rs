//! How the values of settings are read, and what is said about wrong ones.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::str::FromStr;

use leveret_broker::access::{Pattern, Secret};
use zeroize::Zeroizing;

use super::{At, Draft, MILLISECONDS_MAX, Takes};
use crate::config::everywhere;
use crate::config::log::RotationDate;

/// Characters of a wrong value that are repeated to whoever wrote it.
const SHOWN_MAX: usize = 200;

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
                draft.secrets.push(at.place);
                set(draft, at, Secret::new(value.as_bytes()));
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
            Self::FileOrFolder(set) => set(draft, at, readable_or_folder(value)?.into()),
            Self::Address(set) => set(draft, at, address(value).ok_or_else(|| self.refuse(value))?),
            Self::Ip(set) => set(draft, at, host(value).ok_or_else(|| self.refuse(value))?),
            Self::Size(least, most, set) => {
                let size = size(value).filter(|size| (least..=most).contains(size));
                set(draft, at, size.ok_or_else(|| self.refuse(value))?);
            }
            Self::Sync(set) => set(draft, at, super::node::sync_mode(value).ok_or_else(|| self.refuse(value))?),
            Self::RotationDate(set) if value.is_empty() => set(draft, at, None),
            Self::RotationDate(set) => set(draft, at, Some(rotation_date(value).ok_or_else(|| self.refuse(value))?)),
            Self::Milliseconds(least, set) => {
                let number = || value.parse().ok().filter(|number| (least..=MILLISECONDS_MAX).contains(number));
                let ms =
                    if value.as_str() == "infinity" { None } else { Some(number().ok_or_else(|| self.refuse(value))?) };
                set(draft, at, ms);
            }
            Self::Url(schemes, set) => {
                // What comes before an @ may be a password, so it is not repeated.
                draft.secrets.extend(value.contains('@').then_some(at.place));
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
            Self::FileOrFolder(_) => "a file or a folder that can be read".to_owned(),
            Self::Ip(_) => "an IP address".to_owned(),
            Self::Size(least, most, _) => {
                let bounds = match (least, most) {
                    (0, &u64::MAX) => String::new(),
                    (least, &u64::MAX) => format!(" from {least}"),
                    (least, most) => format!(" from {least} to {most}"),
                };
                format!("a number of bytes{bounds}, such as 16777216, 16MiB or 16MB")
            }
            Self::Sync(_) => "commit, os, or interval: and a number of milliseconds from 1 to 60000".to_owned(),
            Self::RotationDate(_) => {
                "nothing, or when: $H30 (every hour at :30), $D0 (every day at 0:00), $W0D23 (Sundays at 23:00), $M1D0 or \
                 $MLD0 (the first or the last day of a month)"
                    .to_owned()
            }
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
    pub(in crate::config) const fn is_secret(&self) -> bool {
        matches!(self, Self::Secret(_))
    }

    /// Whether nobody is to see this value.
    pub(in crate::config) fn hides(&self, value: &str) -> bool {
        self.is_secret() || matches!(self, Self::Url(..)) && value.contains('@')
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
pub(in crate::config) fn shorten(value: &str) -> String {
    let mut shown: String =
        value.chars().take(SHOWN_MAX).map(|shown| if shown.is_control() { ' ' } else { shown }).collect();
    if value.chars().nth(SHOWN_MAX).is_some() {
        shown.push_str("...");
    }
    shown
}

/// The name of a file, once it is clear that it can be read.
fn readable(name: &str) -> Result<&Path, String> {
    let path = readable_or_folder(name)?;
    if path.is_dir() {
        return Err(format!("{} is a folder, expected a file", shorten(name)));
    }
    Ok(path)
}

/// The name of a file or a folder, once it is clear that it can be read.
fn readable_or_folder(name: &str) -> Result<&Path, String> {
    let path = Path::new(name);
    File::open(path).map_err(|error| format!("cannot read {}: {error}", shorten(name)))?;
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
    let (address, port) = text.rsplit_once(':')?;
    Some(SocketAddr::new(host(address)?, port.parse().ok()?))
}

/// Reads an address without a port.
fn host(text: &str) -> Option<IpAddr> {
    match text.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(text) {
        "localhost" => Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        host => host.parse().ok(),
    }
}

/// Reads a number of octets. As in `RabbitMQ`, `k`, `M` and `G` alone count by 1024 like `KiB`, and `kB` counts by 1000.
pub(in crate::config) fn size(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|letter: char| !letter.is_ascii_digit());
    let unit = match text.get(digits.len()..)?.trim().to_ascii_lowercase().as_str() {
        "" => 1,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        "t" | "tib" => 1 << 40,
        "kb" => 1000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(unit)
}

/// Reads when a log file is begun anew: `$` and one of H, D, W and M with a number each, of which D may come last.
fn rotation_date(text: &str) -> Option<RotationDate> {
    let text = text.strip_prefix('$')?;
    let within = |digits: &str, least: u8, most: u8| {
        digits.parse::<u8>().ok().filter(|number| (least..=most).contains(number) && digits.len() <= 2)
    };
    let (unit, rest) = text.split_at_checked(1)?;
    let (first, hour) = rest.split_once('D').map_or((rest, Some(0)), |(first, hour)| (first, within(hour, 0, 23)));
    match unit {
        "H" => Some(RotationDate::Hour { minute: within(rest, 0, 59)? }),
        "D" => Some(RotationDate::Day { hour: within(rest, 0, 23)? }),
        "W" => Some(RotationDate::Week { day: within(first, 0, 6)?, hour: hour? }),
        "M" if matches!(first, "L" | "l") => Some(RotationDate::Month { day: None, hour: hour? }),
        "M" => Some(RotationDate::Month { day: Some(within(first, 1, 31)?), hour: hour? }),
        _ => None,
    }
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
    fn a_size_has_a_unit_or_none() {
        for (text, expected) in [
            ("0", Some(0)),
            ("1k", Some(1024)),
            ("1kB", Some(1000)),
            ("1KiB", Some(1024)),
            ("2MB", Some(2_000_000)),
            ("2 MiB", Some(2 << 20)),
            ("3G", Some(3 << 30)),
            ("3gb", Some(3_000_000_000)),
            ("16777216TiB", None),
            ("1.5GB", None),
            ("MB", None),
            ("-1", None),
            ("1PB", None),
        ] {
            assert_eq!(size(text), expected, "{text}");
        }
    }

    #[test]
    fn log_files_are_begun_by_the_hour_the_day_the_week_or_the_month() {
        for (text, expected) in [
            ("$H30", Some(RotationDate::Hour { minute: 30 })),
            ("$D0", Some(RotationDate::Day { hour: 0 })),
            ("$D23", Some(RotationDate::Day { hour: 23 })),
            ("$W0D23", Some(RotationDate::Week { day: 0, hour: 23 })),
            ("$W5", Some(RotationDate::Week { day: 5, hour: 0 })),
            ("$M1D0", Some(RotationDate::Month { day: Some(1), hour: 0 })),
            ("$M31", Some(RotationDate::Month { day: Some(31), hour: 0 })),
            ("$MLD5", Some(RotationDate::Month { day: None, hour: 5 })),
            ("D0", None),
            ("$D", None),
            ("$D24", None),
            ("$D000", None),
            ("$W7", None),
            ("$M0", None),
            ("$M1D", None),
            ("$H60", None),
            ("$Y1", None),
        ] {
            assert_eq!(rotation_date(text), expected, "{text}");
        }
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
