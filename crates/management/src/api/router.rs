//! From a path to its route.

use std::borrow::Cow;

use matchit::Router as Tree;
use percent_encoding::percent_decode_str;

use super::Route;
use super::routes::GROUPS;

/// The parts of a path that a route has names for, decoded.
pub(super) type Parts = Vec<(String, String)>;

/// Whether every `%` in a path begins an octet.
pub(super) fn is_encoded(path: &str) -> bool {
    let mut rest = path.split('%');
    rest.next();
    rest.all(|part| part.as_bytes().get(..2).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)))
}

/// Finds routes.
#[derive(Debug)]
pub(super) struct Router {
    tree: Tree<&'static Route>,
}

impl Router {
    /// For all routes of the table.
    pub(super) fn new() -> Self {
        let mut tree = Tree::new();
        for route in GROUPS.iter().flat_map(|group| group.routes) {
            // A test sees that all can be there together.
            if let Err(error) = tree.insert(route.path, route) {
                tracing::error!("the route {} is in the way of another one: {error}", route.path);
            }
        }
        Self { tree }
    }

    /// The route of a path as it was sent, and what its names stand for. A `/` at its end counts for nothing.
    pub(super) fn find(&self, path: &str) -> Option<(&'static Route, Parts)> {
        let path = name_default_exchange(path.strip_suffix('/').unwrap_or(path));
        let found = self.tree.at(&path).ok()?;
        let decode = |text: &str| percent_decode_str(text).decode_utf8().map(Cow::into_owned);
        let parts = found.params.iter().map(|(name, text)| Some((name.to_owned(), decode(text).ok()?)));
        Some((found.value, parts.collect::<Option<_>>()?))
    }
}

/// Some clients leave the part of a path empty that is the name of the default exchange, as it is.
fn name_default_exchange(path: &str) -> Cow<'_, str> {
    if !path.contains("//") {
        return Cow::Borrowed(path);
    }
    let mut parts: Vec<&str> = path.split('/').collect();
    let place = match parts.get(2) {
        Some(&"exchanges") => 4,
        Some(&"bindings") => 5,
        _ => return Cow::Borrowed(path),
    };
    if let Some(part) = parts.get_mut(place).filter(|part| part.is_empty()) {
        *part = "amq.default";
    }
    Cow::Owned(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_of_the_table_can_be_found() {
        let router = Router::new();
        let mut seen = std::collections::HashSet::new();
        for route in GROUPS.iter().flat_map(|group| group.routes) {
            assert!(seen.insert(route.path), "{} is there twice", route.path);
            let path = route.path.replace('{', "%7B").replace('}', "%7D");
            let (found, _) = router.find(&path).unwrap_or_else(|| panic!("{} leads nowhere", route.path));
            assert_eq!(found.path, route.path);
        }
    }

    #[test]
    fn the_default_exchange_may_go_without_a_name() {
        for (path, expected) in [
            ("/api/exchanges/%2F//publish", "/api/exchanges/%2F/amq.default/publish"),
            ("/api/bindings/v/e//q/x", "/api/bindings/v/e/amq.default/q/x"),
            ("/api/bindings/v/e/x/e//", "/api/bindings/v/e/x/e//"),
            ("/api/queues///q", "/api/queues///q"),
            ("/api/exchanges//", "/api/exchanges//amq.default"),
            ("/api/exchanges/v/x", "/api/exchanges/v/x"),
        ] {
            assert_eq!(name_default_exchange(path), expected, "{path}");
        }
    }

    #[test]
    fn a_path_has_to_be_encoded() {
        for (path, expected) in
            [("/api", true), ("/%2F/%2f", true), ("/%", false), ("/%2", false), ("/%zz/", false), ("/%2F%", false)]
        {
            assert_eq!(is_encoded(path), expected, "{path}");
        }
    }

    #[test]
    fn paths_are_decoded_part_by_part() {
        let router = Router::new();
        for (path, expected) in [
            ("/api/vhosts/%2F", Some(("/api/vhosts/{vhost}", vec![("vhost", "/")]))),
            ("/api/vhosts/a%2Fb%20c/", Some(("/api/vhosts/{vhost}", vec![("vhost", "a/b c")]))),
            ("/api/vhosts/", Some(("/api/vhosts", vec![]))),
            ("/api/vhosts/%FF", None),
            ("/api/nothing", None),
        ] {
            let found = router.find(path);
            let found = found.as_ref().map(|(route, parts)| {
                (route.path, parts.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect::<Vec<_>>())
            });
            assert_eq!(found, expected, "{path}");
        }
    }
}
