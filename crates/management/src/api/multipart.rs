//! Bodies in several parts, as browsers send a form with a file (RFC 7578).

/// What separates the head of a part from what it holds.
const HEAD_END: &[u8] = b"\r\n\r\n";

/// The text that separates the parts, if a content type says that there are some.
pub(super) fn boundary(content_type: &str) -> Option<&str> {
    let (kind, parameters) = content_type.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let values = parameters.split(';').filter_map(|parameter| parameter.split_once('='));
    let mut values = values.filter(|(name, _)| name.trim().eq_ignore_ascii_case("boundary"));
    values.next().map(|(_, value)| value.trim().trim_matches('"')).filter(|boundary| !boundary.is_empty())
}

/// What the part with a name holds.
pub(super) fn part<'a>(body: &'a [u8], boundary: &str, name: &str) -> Option<&'a [u8]> {
    let separator = format!("--{boundary}");
    let (_, mut rest) = split(body, separator.as_bytes())?;
    let end = format!("\r\n{separator}");
    loop {
        // Two more hyphens end the last part.
        let (head, behind) = split(rest.strip_prefix(b"\r\n")?, HEAD_END)?;
        let (content, next) = split(behind, end.as_bytes())?;
        if is_named(head, name) {
            return Some(content);
        }
        rest = next;
    }
}

fn is_named(head: &[u8], name: &str) -> bool {
    let head = String::from_utf8_lossy(head);
    head.split("\r\n").filter_map(|line| line.split_once(':')).any(|(header, value)| {
        header.trim().eq_ignore_ascii_case("content-disposition")
            && value.split(';').filter_map(|parameter| parameter.split_once('=')).any(|(parameter, value)| {
                parameter.trim().eq_ignore_ascii_case("name") && value.trim().trim_matches('"') == name
            })
    })
}

/// What is before and behind the first place where something stands.
fn split<'a>(octets: &'a [u8], at: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let place = octets.windows(at.len()).position(|window| window == at)?;
    let (before, rest) = octets.split_at_checked(place)?;
    Some((before, rest.get(at.len()..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boundaries_are_found() {
        for (content_type, expected) in [
            ("multipart/form-data; boundary=XyZ", Some("XyZ")),
            ("Multipart/Form-Data; charset=utf-8; Boundary=\"a b\"", Some("a b")),
            ("multipart/form-data; boundary=", None),
            ("multipart/form-data", None),
            ("application/json; boundary=x", None),
        ] {
            assert_eq!(boundary(content_type), expected, "{content_type}");
        }
    }

    #[test]
    fn parts_are_found_by_their_names() {
        let body = b"before\r\n--B\r\nContent-Disposition: form-data; name=\"redirect\"\r\n\r\n../#/import\r\n--B\r\n\
            content-disposition: form-data; name=\"file\"; filename=\"d.json\"\r\nContent-Type: application/json\r\n\r\n\
            {\"a\":\r\n1}\r\n--B--\r\n";
        for (name, expected) in [("file", Some(&b"{\"a\":\r\n1}"[..])), ("redirect", Some(b"../#/import")), ("x", None)]
        {
            assert_eq!(part(body, "B", name), expected, "{name}");
        }
        for cut in 0..body.len() {
            let cut = body.get(..cut).unwrap_or_default();
            assert!(part(cut, "B", "nothing").is_none());
        }
    }
}
