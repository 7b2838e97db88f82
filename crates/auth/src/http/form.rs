//! Parameters of a request, encoded as RabbitMQ does.

use hyper::body::Bytes;
use zeroize::Zeroizing;

const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// Encodes parameters. They may have a password, so what is returned wipes itself, and was never moved to a larger place.
pub(super) fn encode(fields: &[(&str, &[u8])]) -> Bytes {
    wiped(written(&[], fields))
}

/// Adds parameters to a URL.
pub(crate) fn append(url: &str, fields: &[(&str, &[u8])]) -> Bytes {
    let separator: &[u8] = if url.contains('?') { b"&" } else { b"?" };
    wiped(written(&[url.as_bytes(), separator], fields))
}

fn wiped(octets: Vec<u8>) -> Bytes {
    Bytes::from_owner(Zeroizing::new(octets))
}

fn written(before: &[&[u8]], fields: &[(&str, &[u8])]) -> Vec<u8> {
    let before_len: usize = before.iter().map(|part| part.len()).sum();
    let fields_len: usize = fields.iter().map(|(name, value)| name.len() + 2 + encoded_len(value)).sum();
    let mut out = Vec::with_capacity(before_len + fields_len);
    for part in before {
        out.extend_from_slice(part);
    }
    for (place, (name, value)) in fields.iter().enumerate() {
        if place > 0 {
            out.push(b'&');
        }
        out.extend_from_slice(name.as_bytes());
        out.push(b'=');
        for octet in *value {
            push(*octet, &mut out);
        }
    }
    out
}

fn encoded_len(value: &[u8]) -> usize {
    value.iter().map(|octet| if is_plain(*octet) || *octet == b' ' { 1 } else { 3 }).sum()
}

const fn is_plain(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || matches!(octet, b'.' | b'-' | b'~' | b'_')
}

fn push(octet: u8, out: &mut Vec<u8>) {
    if is_plain(octet) {
        out.push(octet);
    } else if octet == b' ' {
        out.push(b'+');
    } else {
        let digits = [octet >> 4, octet & 15].map(|half| HEX.get(usize::from(half)).copied().unwrap_or_default());
        out.push(b'%');
        out.extend_from_slice(&digits);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_encoded_as_rabbitmq_does() {
        for (value, expected) in [
            ("", "a="),
            ("guest", "a=guest"),
            ("azAZ09.-~_", "a=azAZ09.-~_"),
            ("a b", "a=a+b"),
            ("a+b&c=d", "a=a%2Bb%26c%3Dd"),
            ("*!()'\"", "a=%2A%21%28%29%27%22"),
            ("/%?#", "a=%2F%25%3F%23"),
            ("é€\u{1f600}", "a=%C3%A9%E2%82%AC%F0%9F%98%80"),
            ("\0\n\u{7f}", "a=%00%0A%7F"),
        ] {
            assert_eq!(encode(&[("a", value.as_bytes())]), expected, "{value}");
        }
        assert_eq!(encode(&[("a", &[0xff, 0x80])]), "a=%FF%80");
        assert_eq!(encode(&[("a", b"1"), ("b.c", b"2")]), "a=1&b.c=2");
        assert_eq!(encode(&[]), "");
    }

    #[test]
    fn a_url_may_have_parameters_already() {
        for (url, expected) in [("http://h/p", "http://h/p?a=1"), ("http://h/p?b=2", "http://h/p?b=2&a=1")] {
            assert_eq!(append(url, &[("a", b"1")]), expected, "{url}");
        }
    }

    #[test]
    fn room_is_made_once_so_that_nothing_secret_is_left_behind() {
        for value in ["", "a", "a b", "é&"] {
            let fields: &[(&str, &[u8])] = &[("name", value.as_bytes()), ("x", b"%")];
            let room =
                "u?".len() + fields.iter().map(|(name, value)| name.len() + 2 + encoded_len(value)).sum::<usize>();
            let out = written(&[b"u", b"?"], fields);
            assert!(out.len() <= room, "{value}");
            assert_eq!(out.capacity(), room, "{value}");
        }
    }
}
