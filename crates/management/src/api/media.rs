//! Media types: what a client takes, and what it sends.

use hyper::StatusCode;
use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName};

use super::route::Takes;
use super::{Failure, Operation};

/// Fails if the client does not take what the operation gives, or calls its body what the operation does not take.
pub(super) fn check(operation: &Operation, headers: &HeaderMap) -> Result<(), Failure> {
    if let Some(accepted) = text(headers, &ACCEPT)? {
        let mut takes = false;
        for range in accepted.split(',') {
            let (kind, subtype) = parse(range).ok_or(BAD)?;
            takes |= matches(&kind, &subtype, operation.media);
        }
        if !takes {
            return Err(Failure::silent(StatusCode::NOT_ACCEPTABLE));
        }
    }
    let has_body = matches!(operation.method.as_str(), "PUT" | "POST");
    if has_body && !fits(operation.takes, text(headers, &CONTENT_TYPE)?) {
        return Err(Failure::silent(StatusCode::UNSUPPORTED_MEDIA_TYPE));
    }
    Ok(())
}

/// What cannot be understood.
const BAD: Bad = Bad;

struct Bad;

impl From<Bad> for Failure {
    fn from(_: Bad) -> Self {
        Self::silent(StatusCode::BAD_REQUEST)
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Bad> {
    headers.get(name).map(|value| value.to_str().map_err(|_| BAD)).transpose()
}

/// Type and subtype, in lower case; two empty ones for nothing.
fn parse(range: &str) -> Option<(String, String)> {
    let range = range.split(';').next().unwrap_or(range).trim();
    if range.is_empty() {
        return Some((String::new(), String::new()));
    }
    let is_token = |text: &str| {
        let is_of_token = |octet: u8| octet.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&octet);
        !text.is_empty() && text.bytes().all(is_of_token)
    };
    let (kind, subtype) = range.split_once('/')?;
    (is_token(kind) && is_token(subtype)).then(|| (kind.to_ascii_lowercase(), subtype.to_ascii_lowercase()))
}

fn matches(kind: &str, subtype: &str, given: &str) -> bool {
    let given = given.split(';').next().unwrap_or(given);
    let (given_kind, given_subtype) = given.split_once('/').unwrap_or((given, ""));
    (kind == "*" || kind == given_kind) && (subtype == "*" || subtype == given_subtype)
}

fn fits(takes: Takes, sent: Option<&str>) -> bool {
    let sent = sent.map(parse);
    match (takes, sent) {
        // One that says nothing means JSON. The login answers to the wrong type as to the wrong password.
        (Takes::Any, None) | (Takes::Form, _) => true,
        (Takes::Any, Some(sent)) => sent.is_some_and(|(kind, _)| !kind.is_empty()),
        (Takes::Json, sent) => {
            sent.flatten().is_some_and(|(kind, subtype)| matches(&kind, &subtype, super::answer::JSON))
        }
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;
    use crate::api::{Access, Answer};

    #[test]
    fn an_answer_is_given_to_those_who_take_it() {
        let json = Operation::get(Access::Anybody, |_| Ok(Answer::done()), "");
        for (accepted, expected) in [
            ("application/json", None),
            ("*/*", None),
            ("application/*", None),
            ("text/html, application/json;q=0.5", None),
            ("Application/JSON; charset=utf-8", None),
            ("text/html", Some(StatusCode::NOT_ACCEPTABLE)),
            ("", Some(StatusCode::NOT_ACCEPTABLE)),
            ("bad accept", Some(StatusCode::BAD_REQUEST)),
        ] {
            let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(accepted))]);
            assert_eq!(check(&json, &headers).err().map(|failure| failure.status), expected, "{accepted}");
        }
        assert_eq!(check(&json, &HeaderMap::new()), Ok(()));
    }

    #[test]
    fn a_body_is_taken_under_the_right_name() {
        let any = Operation::put(Access::Anybody, |_| Ok(Answer::done()), "");
        let strict = Operation::put(Access::Anybody, |_| Ok(Answer::done()), "").json_only();
        for (sent, by_any, by_strict) in [
            (Some("application/json"), true, true),
            (Some("application/json; charset=utf-8"), true, true),
            (Some("text/plain"), true, false),
            (Some("nonsense"), false, false),
            (None, true, false),
        ] {
            let headers = sent.map(|sent| (CONTENT_TYPE, HeaderValue::from_static(sent)));
            let headers = HeaderMap::from_iter(headers);
            for (operation, expected) in [(&any, by_any), (&strict, by_strict)] {
                let checked = check(operation, &headers).map_err(|failure| failure.status);
                assert_eq!(checked.is_ok(), expected, "{sent:?}");
                assert!(expected || checked == Err(StatusCode::UNSUPPORTED_MEDIA_TYPE), "{sent:?}");
            }
        }
    }
}
