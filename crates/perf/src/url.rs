//! Where the broker is: `amqp://user:password@host:port/vhost`, or `amqps:` with TLS.

use std::str::FromStr;
use std::sync::Arc;

use rustls::ClientConfig;

/// Whether there is TLS.
#[derive(Debug, Clone)]
pub(crate) enum Security {
    /// There is none.
    Plain,
    /// There is to be some; the options say how.
    Wanted,
    /// There is.
    Tls(Arc<ClientConfig>),
}

/// A broker's address and who logs in.
#[derive(Debug, Clone)]
pub(crate) struct Url {
    /// Whether there is TLS.
    pub(crate) security: Security,
    /// Name or address, without the brackets of IPv6.
    pub(crate) host: String,
    /// TCP port.
    pub(crate) port: u16,
    /// Who logs in.
    pub(crate) user: String,
    /// With which password.
    pub(crate) password: String,
    /// Virtual host.
    pub(crate) vhost: String,
}

impl Url {
    /// Host and port, for people.
    pub(crate) fn address(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl FromStr for Url {
    type Err = String;

    /// Parts left out are those of a fresh broker: `guest:guest`, port 5672 or 5671, vhost `/`.
    fn from_str(text: &str) -> Result<Self, String> {
        let plain = text.strip_prefix("amqp://").map(|rest| (Security::Plain, 5672, rest));
        let secure = || text.strip_prefix("amqps://").map(|rest| (Security::Wanted, 5671, rest));
        let Some((security, default_port, rest)) = plain.or_else(secure) else {
            return Err("a URL starts with amqp:// or amqps://".into());
        };
        let rest = rest.split(['?', '#']).next().unwrap_or_default();
        let (authority, vhost) = rest.split_once('/').unwrap_or((rest, ""));
        let (login, place) =
            authority.rsplit_once('@').map_or((None, authority), |(login, place)| (Some(login), place));
        let (user, password) = login.map_or(("guest", "guest"), |login| login.split_once(':').unwrap_or((login, "")));
        let (host, port) = match place.strip_prefix('[').and_then(|place| place.split_once(']')) {
            Some((host, port)) => (host, port.strip_prefix(':')),
            None => place.split_once(':').map_or((place, None), |(host, port)| (host, Some(port))),
        };
        Ok(Self {
            security,
            host: if host.is_empty() { "127.0.0.1".into() } else { percent_decoded(host)? },
            port: match port {
                None | Some("") => default_port,
                Some(port) => port.parse().map_err(|_| format!("'{port}' is no port"))?,
            },
            user: percent_decoded(user)?,
            password: percent_decoded(password)?,
            vhost: if vhost.is_empty() { "/".into() } else { percent_decoded(vhost)? },
        })
    }
}

fn percent_decoded(text: &str) -> Result<String, String> {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(octet) = rest.next() {
        if octet != b'%' {
            octets.push(octet);
            continue;
        }
        let digit = |octet: Option<u8>| octet.and_then(|octet| char::from(octet).to_digit(16));
        let (Some(high), Some(low)) = (digit(rest.next()), digit(rest.next())) else {
            return Err(format!("'{text}' has a % without two hexadecimal digits"));
        };
        octets.extend(u8::try_from(high * 16 + low));
    }
    String::from_utf8(octets).map_err(|_| format!("'{text}' is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_left_out_are_those_of_a_fresh_broker() {
        for (text, host, port, user, password, vhost) in [
            ("amqp://", "127.0.0.1", 5672, "guest", "guest", "/"),
            ("amqp://rabbit", "rabbit", 5672, "guest", "guest", "/"),
            ("amqp://rabbit/", "rabbit", 5672, "guest", "guest", "/"),
            ("amqp://me:pw@rabbit:5673/test", "rabbit", 5673, "me", "pw", "test"),
            ("amqp://me:p%40w%2f@rabbit/%2f?heartbeat=5", "rabbit", 5672, "me", "p@w/", "/"),
            ("amqp://me@[::1]:5673/a", "::1", 5673, "me", "", "a"),
            ("amqp://[::1]", "::1", 5672, "guest", "guest", "/"),
            ("amqps://rabbit", "rabbit", 5671, "guest", "guest", "/"),
            ("amqps://rabbit:5673", "rabbit", 5673, "guest", "guest", "/"),
        ] {
            let url: Url = text.parse().unwrap();
            let parts = (url.host.as_str(), url.port, url.user.as_str(), url.password.as_str(), url.vhost.as_str());
            assert_eq!(parts, (host, port, user, password, vhost), "{text}");
        }
        assert_eq!("amqp://[::1]".parse::<Url>().unwrap().address(), "[::1]:5672");
    }

    #[test]
    fn what_is_no_url_is_refused() {
        for text in ["rabbit:5672", "http://rabbit", "amqpss://rabbit", "amqp://h:port", "amqp://h/%2", "amqp://h/%ff"]
        {
            assert!(text.parse::<Url>().is_err(), "{text}");
        }
    }
}
