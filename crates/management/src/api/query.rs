//! What stands behind the `?` of a request.

use form_urlencoded::parse;

/// Names and values, in order.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads it.
    pub(crate) fn read(text: Option<&str>) -> Self {
        let pairs = parse(text.unwrap_or_default().as_bytes());
        Self(pairs.map(|(name, value)| (name.into_owned(), value.into_owned())).collect())
    }

    /// The first value of a name.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// All values of a name.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Whether a name is said to be true.
    pub(crate) fn is_true(&self, name: &str) -> bool {
        self.get(name) == Some("true")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values_are_decoded() {
        let query = Query::read(Some("page=2&name=a%2Bb+c&use_regex=true&family=a&family=b&empty="));
        assert_eq!(query.get("page"), Some("2"));
        assert_eq!(query.get("name"), Some("a+b c"));
        assert_eq!(query.get("empty"), Some(""));
        assert_eq!(query.get("nothing"), None);
        assert!(query.is_true("use_regex") && !query.is_true("page"));
    }
}
