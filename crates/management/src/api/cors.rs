//! What pages of other hosts may send, as far as the settings let them.

use hyper::Method;
use hyper::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, HeaderMap, HeaderValue, ORIGIN,
};

use super::ApiSettings;

/// What a page may read of an answer, beyond what every page may.
const EXPOSED: HeaderValue = HeaderValue::from_static("etag, location");

/// A request of a page of another host.
#[derive(Debug)]
pub(super) struct Cors {
    origin: HeaderValue,
    /// Whether the browser may send what it knows of the user by itself.
    takes_credentials: bool,
    /// What the page wants to send, if it asks before it does.
    asked: Option<Asked>,
}

#[derive(Debug)]
struct Asked {
    headers: Option<HeaderValue>,
    max_age: Option<u64>,
}

impl Cors {
    /// What a request is; none if it comes from no page, or one of a host that is not listed.
    pub(super) fn read(settings: &ApiSettings, method: &Method, headers: &HeaderMap) -> Option<Self> {
        let origin = headers.get(ORIGIN)?;
        let is_listed = settings.cors_origins.iter().any(|listed| listed.as_bytes() == origin.as_bytes());
        if !is_listed && !settings.cors_origins.iter().any(|listed| listed == "*") {
            return None;
        }
        let asks = *method == Method::OPTIONS && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        let asked = asks.then(|| Asked {
            headers: headers.get(ACCESS_CONTROL_REQUEST_HEADERS).cloned(),
            max_age: settings.cors_max_age,
        });
        // Any page at all may be let in, but not with the password that a browser remembers of its user.
        let origin = if is_listed { origin.clone() } else { HeaderValue::from_static("*") };
        Some(Self { origin, takes_credentials: is_listed, asked })
    }

    /// Adds to an answer what lets the page read it. `allow` are the methods of the path, if that is what is answered.
    pub(super) fn finish(self, allow: Option<HeaderValue>, headers: &mut HeaderMap) {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, self.origin);
        if self.takes_credentials {
            headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
        let Some(Asked { headers: asked, max_age }) = self.asked else {
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
            return;
        };
        if let Some(allow) = allow {
            headers.insert(ACCESS_CONTROL_ALLOW_METHODS, allow);
        }
        if let Some(asked) = asked {
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, asked);
        }
        if let Some(seconds) = max_age {
            headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from(seconds));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_listed_hosts_are_let_in() {
        let listed = || vec!["https://one.example".to_owned()];
        for (origins, from, expected) in [
            (listed(), "https://one.example", Some(("https://one.example", true))),
            (listed(), "https://two.example", None),
            (Vec::new(), "https://one.example", None),
            (vec!["*".to_owned()], "https://two.example", Some(("*", false))),
        ] {
            let settings = ApiSettings { cors_origins: origins, ..ApiSettings::default() };
            let headers = HeaderMap::from_iter([(ORIGIN, HeaderValue::from_static(from))]);
            let read = Cors::read(&settings, &Method::GET, &headers);
            let found = read.as_ref().map(|cors| (cors.origin.to_str().unwrap(), cors.takes_credentials));
            assert_eq!(found, expected, "{from}");
        }
    }

    #[test]
    fn a_page_that_asks_first_is_told_what_it_may() {
        let settings = ApiSettings { cors_origins: vec!["https://one.example".to_owned()], ..ApiSettings::default() };
        let asked = HeaderMap::from_iter([
            (ORIGIN, HeaderValue::from_static("https://one.example")),
            (ACCESS_CONTROL_REQUEST_METHOD, HeaderValue::from_static("PUT")),
            (ACCESS_CONTROL_REQUEST_HEADERS, HeaderValue::from_static("authorization, x-foo")),
        ]);
        let cors = Cors::read(&settings, &Method::OPTIONS, &asked).unwrap();
        let mut answer = HeaderMap::new();
        cors.finish(Some(HeaderValue::from_static("HEAD, GET, PUT")), &mut answer);
        for (name, expected) in [
            (ACCESS_CONTROL_ALLOW_METHODS, "HEAD, GET, PUT"),
            (ACCESS_CONTROL_ALLOW_HEADERS, "authorization, x-foo"),
            (ACCESS_CONTROL_MAX_AGE, "1800"),
            (ACCESS_CONTROL_ALLOW_CREDENTIALS, "true"),
        ] {
            assert_eq!(answer.get(&name).unwrap(), expected, "{name}");
        }
    }
}
