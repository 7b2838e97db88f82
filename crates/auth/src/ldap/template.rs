//! Texts with variables such as `${username}`, and what has to be escaped when those are filled in.

use ldap3::dn_escape;

/// The name of the variable that has a whole DN, which is not to be escaped.
const USER_DN: &str = "user_dn";

/// What variables stand for.
#[derive(Debug, Clone, Default)]
pub(super) struct Variables(Vec<(&'static str, String)>);

impl Variables {
    /// Those that are known as soon as somebody logs in. `DOMAIN\user` is taken apart for Active Directory.
    pub(super) fn of_user(username: &str) -> Self {
        let mut variables = Self::default();
        variables.set("username", username);
        if let Some((domain, user)) = username.split_once('\\')
            && !domain.is_empty()
            && !user.is_empty()
        {
            variables.set("ad_domain", domain);
            variables.set("ad_user", user);
        }
        variables
    }

    pub(super) fn set(&mut self, name: &'static str, value: &str) {
        self.0.push((name, value.into()));
    }

    pub(super) fn set_user_dn(&mut self, dn: &str) {
        self.set(USER_DN, dn);
    }

    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }
}

/// A text with variables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Literal(String),
    Variable(String),
}

impl Template {
    pub(super) fn parse(text: &str) -> Self {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            let Some((name, after)) = after.split_once('}') else { break };
            if !before.is_empty() {
                pieces.push(Piece::Literal(before.into()));
            }
            pieces.push(Piece::Variable(name.into()));
            rest = after;
        }
        if !rest.is_empty() {
            pieces.push(Piece::Literal(rest.into()));
        }
        Self(pieces)
    }

    /// The text, if it has no variables.
    pub(super) fn literal(&self) -> Option<&str> {
        match self.0.as_slice() {
            [] => Some(""),
            [Piece::Literal(text)] => Some(text),
            _ => None,
        }
    }

    /// With the values as they are: for what is compared, and for the value of a filter.
    pub(super) fn fill(&self, variables: &Variables) -> String {
        self.fill_with(variables, |_, value| value.into())
    }

    /// For a DN: what a value has in it stays within the part that it is filled into.
    pub(super) fn fill_dn(&self, variables: &Variables) -> String {
        self.fill_with(
            variables,
            |name, value| if name == USER_DN { value.into() } else { dn_escape(value).into_owned() },
        )
    }

    /// For a regular expression: a value matches itself and nothing else.
    pub(super) fn fill_pattern(&self, variables: &Variables) -> String {
        self.fill_with(variables, |_, value| fancy_regex::escape(value).into_owned())
    }

    /// For the name to bind with, which is a DN or something else that servers know users by, such as
    /// `user@example.com` or `DOMAIN\user`. Only a DN, or what is to be part of one, has a `=` beside the variables.
    pub(super) fn fill_bind_name(&self, variables: &Variables) -> String {
        let is_dn = self.0.iter().any(|piece| matches!(piece, Piece::Literal(text) if text.contains('=')));
        if is_dn { self.fill_dn(variables) } else { self.fill(variables) }
    }

    /// Values are not searched for variables, and variables without a value stay as they are.
    fn fill_with(&self, variables: &Variables, escape: impl Fn(&str, &str) -> String) -> String {
        let mut filled = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Literal(text) => filled.push_str(text),
                Piece::Variable(name) => match variables.value(name) {
                    Some(value) => filled.push_str(&escape(name, value)),
                    None => filled.extend(["${", name, "}"]),
                },
            }
        }
        filled
    }
}

/// Whether two DNs name the same entry. Spaces around separators and the case of letters do not count, nor how something is
/// escaped; almost every attribute that entries are named by is compared so.
pub(super) fn is_same_dn(one: &str, other: &str) -> bool {
    one == other || normal_dn(one) == normal_dn(other)
}

/// A DN in a form to compare by: parts, each without spaces around it.
pub(super) fn normal_dn(dn: &str) -> Vec<Vec<u8>> {
    let mut parts = Vec::new();
    let mut part = Part::default();
    let mut octets = dn.bytes();
    while let Some(octet) = octets.next() {
        match octet {
            b'\\' => part.push_escaped(unescaped(&mut octets)),
            b',' | b';' | b'+' | b'=' => {
                parts.push(std::mem::take(&mut part).finish());
                parts.push(vec![if octet == b';' { b',' } else { octet }]);
            }
            _ => part.push(octet),
        }
    }
    parts.push(part.finish());
    parts
}

/// What a backslash stands for: the octet of two digits, or the next character.
fn unescaped(rest: &mut std::str::Bytes<'_>) -> Option<u8> {
    let hex = |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let first = rest.next()?;
    let mut ahead = rest.clone();
    if let (Some(high), Some(low)) = (hex(first), ahead.next().and_then(hex)) {
        *rest = ahead;
        return Some(high << 4 | low);
    }
    Some(first)
}

/// A part of a DN, of which spaces at the end count only if they are escaped.
#[derive(Default)]
struct Part {
    octets: Vec<u8>,
    len: usize,
}

impl Part {
    fn push(&mut self, octet: u8) {
        if octet == b' ' && self.len == 0 {
            return;
        }
        self.octets.push(octet.to_ascii_lowercase());
        if octet != b' ' {
            self.len = self.octets.len();
        }
    }

    fn push_escaped(&mut self, octet: Option<u8>) {
        self.octets.extend(octet.map(|octet| octet.to_ascii_lowercase()));
        self.len = self.octets.len();
    }

    fn finish(mut self) -> Vec<u8> {
        self.octets.truncate(self.len);
        self.octets
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(username: &str) -> Variables {
        let mut variables = Variables::of_user(username);
        variables.set_user_dn("cn=Lim\\, John,dc=example");
        variables.set("vhost", "a,b");
        variables
    }

    #[test]
    fn variables_are_filled_in_as_they_are() {
        for (template, username, expected) in [
            ("x${username}x", "ab", "xabx"),
            ("x${username}x", "", "xx"),
            ("x${fusername}x", "ab", "x${fusername}x"),
            ("x${usernamex", "ab", "x${usernamex"),
            ("x${username}x", "a\\b&", "xa\\b&x"),
            ("${username}${username}", "a", "aa"),
            ("${username}", "${vhost}", "${vhost}"),
            ("${ad_domain}-${ad_user}", "D\\u", "D-u"),
            ("${ad_domain}-${ad_user}", "D\\u\\v", "D-u\\v"),
            ("${ad_domain}-${ad_user}", "u", "${ad_domain}-${ad_user}"),
            ("${ad_domain}", "\\u", "${ad_domain}"),
            ("", "a", ""),
        ] {
            assert_eq!(Template::parse(template).fill(&variables(username)), expected, "{template} {username}");
        }
    }

    #[test]
    fn values_stay_within_their_part_of_a_dn() {
        for (template, username, expected) in [
            ("cn=${username},ou=x", "ab", "cn=ab,ou=x"),
            ("cn=${username},ou=x", "a,ou=Evil", "cn=a\\2c"),
            ("cn=${username},ou=x", "a\\", "cn=a\\5c"),
            ("cn=${username},ou=x", "a+b\"c<d>e;f", "cn=a\\2bb\\22c\\3cd\\3ee\\3bf"),
            ("cn=${username},ou=x", " a ", "cn=\\20a\\20"),
            ("cn=${username},ou=x", "#a", "cn=\\23a"),
            ("cn=${username},ou=x", "a\0", "cn=a\\00"),
            ("cn=${username},ou=x", "ü*()", "cn=ü*(),"),
            ("${user_dn}", "a", "cn=Lim\\, John,dc=example"),
            ("ou=${vhost}", "a", "ou=a\\2cb"),
        ] {
            let filled = Template::parse(template).fill_dn(&variables(username));
            assert!(filled.starts_with(expected), "{template} {username}: {filled}");
        }
    }

    #[test]
    fn no_value_changes_the_parts_of_a_dn() {
        let template = Template::parse("cn=${username},ou=x");
        let characters = || (0..=127_u8).map(char::from);
        for (first, second) in characters().flat_map(|first| characters().map(move |second| (first, second))) {
            let value = format!("{first}{second}");
            let mut variables = Variables::default();
            variables.set("username", &value);
            let dn = template.fill_dn(&variables);
            let value = value.to_ascii_lowercase().into_bytes();
            let parts: [&[u8]; 7] = [b"cn", b"=", &value, b",", b"ou", b"=", b"x"];
            assert_eq!(normal_dn(&dn), parts, "{dn:?}");
        }
    }

    #[test]
    fn only_what_is_a_dn_is_escaped_as_one_for_a_bind() {
        for (template, username, expected) in [
            ("${username}", "CN=Lim\\, John,DC=example", "CN=Lim\\, John,DC=example"),
            ("${username}@example.com", "a,b", "a,b@example.com"),
            ("${ad_domain}\\${ad_user}", "D\\u", "D\\u"),
            ("cn=${username},dc=x", "D\\u", "cn=D\\5cu,dc=x"),
        ] {
            assert_eq!(Template::parse(template).fill_bind_name(&variables(username)), expected, "{template}");
        }
    }

    #[test]
    fn values_match_themselves_in_a_pattern() {
        let filled = Template::parse("^${username}-.*").fill_pattern(&variables("a.*"));
        assert_eq!(filled, "^a\\.\\*-.*");
    }

    #[test]
    fn dns_are_compared_as_a_directory_does() {
        for (one, other, same) in [
            ("cn=a,dc=b", "cn=a,dc=b", true),
            ("cn=a,dc=b", "CN = A , DC = b", true),
            ("cn=a,dc=b", "cn=a,dc=c", false),
            ("cn=a\\2Cb", "cn=a\\,b", true),
            ("cn=a\\,b", "cn=a,b", false),
            ("cn=a\\3Db", "cn=a\\=b", true),
            ("cn=a\\=b", "cn=a=b", false),
            ("cn=a\\20", "cn=a\\ ", true),
            ("cn=a\\20", "cn=a", false),
            ("cn=a;dc=b", "cn=a,dc=b", true),
            ("cn=\\c3\\bc", "cn=ü", true),
            ("cn=a\\", "cn=a", true),
        ] {
            assert_eq!(is_same_dn(one, other), same, "{one} {other}");
        }
    }
}
