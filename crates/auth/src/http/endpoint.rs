//! A URL of a service: where requests go, and who the node is there.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::Uri;
use hyper::header::HeaderValue;
use hyper::http::uri::Scheme;
use zeroize::Zeroizing;

/// A URL that requests go to.
#[derive(Clone)]
pub(super) struct Endpoint {
    /// Without the user and password before the host, and without a fragment.
    pub(super) url: String,
    /// What the user and password before the host become.
    pub(super) authorization: Option<HeaderValue>,
}

impl Endpoint {
    /// Reads a URL; `None` if it is not one of `http` or `https`.
    pub(super) fn read(url: &str) -> Option<Self> {
        let uri: Uri = url.parse().ok()?;
        let (scheme, authority) = (uri.scheme_str()?, uri.authority()?.as_str());
        if authority.is_empty() || !is_http(&uri) {
            return None;
        }
        let (credentials, host) =
            authority.rsplit_once('@').map_or((None, authority), |(credentials, host)| (Some(credentials), host));
        // What is not a number may be part of a password that was not encoded.
        if host != uri.host()? && uri.port_u16().is_none() {
            return None;
        }
        let authorization = match credentials {
            Some(credentials) => Some(basic(credentials)?),
            None => None,
        };
        let mut url = format!("{scheme}://{host}{}", uri.path());
        if let Some(query) = uri.query() {
            url.push('?');
            url.push_str(query);
        }
        Some(Self { url, authorization })
    }

    /// Whether this is a URL of `https`.
    pub(super) fn is_tls(&self) -> bool {
        self.url.starts_with("https:")
    }
}

/// Where a redirect leads; `None` if it leads nowhere that may be asked. It may not lead away from TLS.
pub(crate) fn redirected(from: &Uri, location: &str) -> Option<Uri> {
    let (scheme, authority) = (from.scheme_str()?, from.authority()?.as_str());
    let location = location.split('#').next()?;
    let absolute = if location.contains("://") && !location.starts_with(['/', '?', '.']) {
        location.to_owned()
    } else if location.starts_with("//") {
        format!("{scheme}:{location}")
    } else if location.starts_with('/') {
        format!("{scheme}://{authority}{location}")
    } else if location.starts_with('?') {
        format!("{scheme}://{authority}{}{location}", from.path())
    } else {
        let folder = from.path().rsplit_once('/').map_or("", |(folder, _)| folder);
        format!("{scheme}://{authority}{folder}/{location}")
    };
    let to: Uri = absolute.parse().ok()?;
    let has_left_tls = from.scheme() == Some(&Scheme::HTTPS) && to.scheme() != Some(&Scheme::HTTPS);
    let is_somewhere = is_http(&to) && to.host().is_some_and(|host| !host.is_empty());
    (is_somewhere && !has_left_tls).then_some(to)
}

/// Whether two URLs are of the same service, so that one may know what the other does.
pub(super) fn is_same_service(one: &Uri, other: &Uri) -> bool {
    one.scheme() == other.scheme() && one.authority() == other.authority()
}

fn is_http(uri: &Uri) -> bool {
    uri.scheme() == Some(&Scheme::HTTP) || uri.scheme() == Some(&Scheme::HTTPS)
}

/// The header for `user:password`, both percent-encoded as they are in URLs.
fn basic(credentials: &str) -> Option<HeaderValue> {
    let decoded = Zeroizing::new(percent_decoded(credentials.as_bytes()));
    let encoded = Zeroizing::new(format!("Basic {}", STANDARD.encode(&*decoded)));
    let mut header = HeaderValue::from_str(&encoded).ok()?;
    header.set_sensitive(true);
    Some(header)
}

fn percent_decoded(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&octet, after)) = rest.split_first() {
        rest = after;
        let digits = after.first_chunk().and_then(|&[high, low]| Some((hex(high)?, hex(low)?)));
        match digits {
            Some((high, low)) if octet == b'%' => {
                out.push(high << 4 | low);
                rest = after.get(2..).unwrap_or_default();
            }
            _ => out.push(octet),
        }
    }
    out
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_of_http_or_https_and_may_have_a_user() {
        for (url, expected) in [
            ("http://localhost:8000/auth/user", Some(("http://localhost:8000/auth/user", None))),
            ("https://host", Some(("https://host/", None))),
            ("http://host?b", Some(("http://host/?b", None))),
            ("http://host/a?b=c#d", Some(("http://host/a?b=c", None))),
            ("http://[::1]:80/a", Some(("http://[::1]:80/a", None))),
            ("http://u:p@host:1/a", Some(("http://host:1/a", Some("Basic dTpw")))),
            ("http://u:%70%zz@host/", Some(("http://host/", Some("Basic dTpwJXp6")))),
            ("http://u:p?w@host/", None),
            ("http://u:p#w@host/", None),
            ("http://u:p/w@host/", None),
            ("http://host:99999/", None),
            ("ftp://host/", None),
            ("host/auth", None),
            ("/auth", None),
            ("http://", None),
            ("http:///auth", None),
            ("http://a b/", None),
            ("", None),
        ] {
            let read = Endpoint::read(url);
            let shown = read.as_ref().map(|endpoint| {
                (&*endpoint.url, endpoint.authorization.as_ref().map(|header| header.to_str().unwrap()))
            });
            assert_eq!(shown, expected, "{url}");
        }
    }

    #[test]
    fn a_redirect_leads_on_but_not_away_from_tls() {
        for (from, location, expected) in [
            ("http://h:1/a/b?c", "http://x/y", Some("http://x/y")),
            ("http://h:1/a/b?c", "https://x/y?z", Some("https://x/y?z")),
            ("http://h:1/a/b?c", "//x/y", Some("http://x/y")),
            ("http://h:1/a/b?c", "/y?z=http://w", Some("http://h:1/y?z=http://w")),
            ("http://h:1/a/b?c", "y#z", Some("http://h:1/a/y")),
            ("http://h:1/a/b?c", "?y", Some("http://h:1/a/b?y")),
            ("https://h/a", "/b", Some("https://h/b")),
            ("https://h/a", "http://h/b", None),
            ("http://h/a", "ftp://h/b", None),
            ("http://h/a", "http:///b", None),
            ("http://h/a", "a b", None),
        ] {
            let to = redirected(&from.parse().unwrap(), location).map(|uri| uri.to_string());
            assert_eq!(to.as_deref(), expected, "{from} {location}");
        }
    }

    #[test]
    fn services_are_told_apart_by_scheme_host_and_port() {
        for (one, other, expected) in [
            ("http://h/a", "http://h/b", true),
            ("http://h/a", "https://h/a", false),
            ("http://h/a", "http://h:8/a", false),
            ("http://h/a", "http://i/a", false),
        ] {
            assert_eq!(is_same_service(&one.parse().unwrap(), &other.parse().unwrap()), expected, "{one} {other}");
        }
    }
}
