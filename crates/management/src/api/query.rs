//! What stands behind the `?` of a request.

use form_urlencoded::parse;

/// Names and values, in order.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads it.
    pub(super) fn read(text: Option<&str>) -> Self {
        let pairs = parse(text.unwrap_or_default().as_bytes());
        Self(pairs.map(|(name, value)| (name.into_owned(), value.into_owned())).collect())
    }

    /// The first value of a name.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Whether a name is said to be true.
    pub(super) fn is_true(&self, name: &str) -> bool {
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
