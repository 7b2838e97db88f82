//! Listings: filtered by name, sorted, cut to a page and to columns, as clients ask for it.
//!
//! What is listed are keys, such as names; a row is made of a key when it is needed. So a page of a hundred thousand queues costs a
//! hundred rows, or, sorted by something that changes, one column of all and a hundred rows.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::io::Write;

use leveret_broker::regex::Pattern;
use serde_json::{Map, Value, json};

use super::{Answer, Ask, Failure};
use crate::views::{Columns, Row};

/// Rows of a page, if it is not said how many.
const PAGE_SIZE: usize = 100;
/// Rows that a page may have.
const PAGE_SIZE_MAX: usize = 500;

/// What is listed.
pub(super) struct Listing<T, N, R> {
    /// The keys, in the order they have if nobody asks for another one.
    pub(super) keys: Vec<T>,
    /// The name that a key is filtered by.
    pub(super) name: N,
    /// Makes the row of a key with these columns at least; none if it is gone by now.
    pub(super) row: R,
}

/// A page that somebody asks for.
#[derive(Debug, Clone, PartialEq)]
struct Page {
    number: usize,
    size: usize,
}

impl<T, N, R> Listing<T, N, R>
where
    N: Fn(&T) -> &str,
    R: Fn(&T, &Columns) -> Option<Row>,
{
    /// The answer to a request for it.
    pub(super) fn answer(mut self, ask: &Ask<'_>) -> Result<Answer, Failure> {
        let query = ask.query();
        let wanted = Wanted::read(query.get("columns"));
        let Some(page) = page(query.get("page"), query.get("page_size"))? else {
            self.sort(query.get("sort"), query.is_true("sort_reverse"));
            return self.send(ask, &wanted);
        };
        let total = self.keys.len();
        if let Some(name) = query.get("name").filter(|name| !name.is_empty()) {
            let matches = filter(name, query.is_true("use_regex"))?;
            self.keys.retain(|key| matches((self.name)(key)));
        }
        self.sort(query.get("sort"), query.is_true("sort_reverse"));
        let filtered = self.keys.len();
        let pages = filtered.div_ceil(page.size).max(1);
        if page.number > pages {
            let reason = format!(
                "page out of range, page: {} page_size: {} total items: {filtered} page_count: {pages}",
                page.number, page.size
            );
            return Err(Failure::new(hyper::StatusCode::BAD_REQUEST, "page_out_of_range", reason));
        }
        let keys = self.keys.iter().skip((page.number - 1) * page.size).take(page.size);
        let items: Vec<Value> =
            keys.filter_map(|key| (self.row)(key, &wanted.roots)).map(|row| Value::Object(wanted.cut(row))).collect();
        Ok(Answer::json(&json!({
            "filtered_count": filtered,
            "item_count": items.len(),
            "items": items,
            "page": page.number,
            "page_count": pages,
            "page_size": page.size,
            "total_count": total,
        })))
    }

    /// Brings the keys into the order that is asked for. Those of the same value stay as they are.
    fn sort(&mut self, column: Option<&str>, is_reversed: bool) {
        if let Some(column) = column {
            let root = column.split('.').next().unwrap_or(column);
            let columns = Columns::of([root]);
            let value = |key: &T| (self.row)(key, &columns).and_then(|row| find(&row, column).cloned());
            let mut valued: Vec<_> = std::mem::take(&mut self.keys).into_iter().map(|key| (value(&key), key)).collect();
            valued.sort_by(|(one, _), (other, _)| order(one.as_ref(), other.as_ref()));
            self.keys = valued.into_iter().map(|(_, key)| key).collect();
        }
        if is_reversed {
            self.keys.reverse();
        }
    }

    /// Sends all rows, each when it is made.
    fn send(self, ask: &Ask<'_>, wanted: &Wanted) -> Result<Answer, Failure> {
        let mut reply = ask.reply();
        let mut to = reply.begin(super::answer::JSON);
        let mut write = || {
            let mut separator = b'[';
            for key in &self.keys {
                let Some(row) = (self.row)(key, &wanted.roots) else { continue };
                to.write_all(&[separator])?;
                serde_json::to_writer(&mut to, &wanted.cut(row))?;
                separator = b',';
            }
            to.write_all(if separator == b'[' { b"[]" } else { b"]" })
        };
        match write().and_then(|()| to.finish()) {
            Ok(()) => Ok(Answer::sent()),
            Err(error) => Err(Failure::failed(error.to_string())),
        }
    }
}

/// A listing of rows that are there already: where there are never many.
pub(super) fn of_rows(ask: &Ask<'_>, rows: Vec<Row>) -> Result<Answer, Failure> {
    Listing { keys: rows, name: name_of, row: |row: &Row, _: &Columns| Some(row.clone()) }.answer(ask)
}

fn name_of(row: &Row) -> &str {
    row.get("name").and_then(Value::as_str).unwrap_or_default()
}

/// The columns that somebody wants: `a` and `b.c`.
#[derive(Debug)]
pub(super) struct Wanted {
    roots: Columns,
    paths: Vec<String>,
}

impl Wanted {
    /// Reads the list of columns; all, if there is none.
    pub(super) fn read(columns: Option<&str>) -> Self {
        let paths: Vec<String> = columns.into_iter().flat_map(|text| text.split(',')).map(str::to_owned).collect();
        let root = |path: &String| path.split('.').next().map(str::to_owned);
        let roots: BTreeSet<String> = paths.iter().filter_map(root).collect();
        Self { roots: if paths.is_empty() { Columns::All } else { Columns::Some(roots) }, paths }
    }

    /// What has to be looked at.
    pub(super) const fn roots(&self) -> &Columns {
        &self.roots
    }

    /// A row without what nobody wants.
    pub(super) fn cut(&self, row: Row) -> Row {
        if self.paths.is_empty() {
            return row;
        }
        let mut cut = Map::new();
        for path in &self.paths {
            if let Some(value) = find(&row, path) {
                insert(&mut cut, path, value.clone());
            }
        }
        cut
    }
}

/// The value at a path, such as `message_stats.publish_details.rate`.
fn find<'a>(row: &'a Row, path: &str) -> Option<&'a Value> {
    let mut parts = path.split('.');
    let first = row.get(parts.next()?)?;
    parts.try_fold(first, |value, part| value.get(part))
}

fn insert(row: &mut Row, path: &str, value: Value) {
    match path.split_once('.') {
        None => {
            row.insert(path.to_owned(), value);
        }
        Some((root, rest)) => {
            let inner = row.entry(root).or_insert_with(|| json!({}));
            if let Value::Object(inner) = inner {
                insert(inner, rest, value);
            }
        }
    }
}

/// The page that is asked for.
fn page(page: Option<&str>, size: Option<&str>) -> Result<Option<Page>, Failure> {
    let invalid = |text: String| Failure::new(hyper::StatusCode::BAD_REQUEST, "invalid_page", text);
    let read = |text: &str, what: &str| {
        let number = text.parse::<usize>().ok().filter(|number| *number > 0);
        number.ok_or_else(|| invalid(format!("Invalid {what}: {text}")))
    };
    let Some(number) = page else { return Ok(None) };
    let number = read(number, "page")?;
    let size = size.map_or(Ok(PAGE_SIZE), |size| read(size, "page_size"))?;
    if size > PAGE_SIZE_MAX {
        return Err(invalid(format!("Page size can not be greater than {PAGE_SIZE_MAX}. Requested: {size}")));
    }
    Ok(Some(Page { number, size }))
}

/// Whether a name is wanted.
type Filter = Box<dyn Fn(&str) -> bool>;

/// What finds names: with a part of them, or a regular expression, in any case of letters.
fn filter(name: &str, is_regex: bool) -> Result<Filter, Failure> {
    if is_regex {
        let pattern = Pattern::ignoring_case(name);
        let pattern = pattern.map_err(|reason| Failure::bad_request(format!("invalid_regex: {reason}")))?;
        return Ok(Box::new(move |text| pattern.matches(text)));
    }
    let name = name.to_lowercase();
    Ok(Box::new(move |text| text.to_lowercase().contains(&name)))
}

/// The order of values: none, numbers, truths, texts.
fn order(one: Option<&Value>, other: Option<&Value>) -> Ordering {
    fn rank(value: Option<&Value>) -> u8 {
        match value {
            None | Some(Value::Null) => 0,
            Some(Value::Number(_)) => 1,
            Some(Value::Bool(_)) => 2,
            Some(Value::Object(_)) => 3,
            Some(Value::Array(_)) => 4,
            Some(Value::String(_)) => 5,
        }
    }
    match (one, other) {
        (Some(Value::Number(one)), Some(Value::Number(other))) => match (one.as_i64(), other.as_i64()) {
            (Some(one), Some(other)) => one.cmp(&other),
            _ => one.as_f64().unwrap_or_default().total_cmp(&other.as_f64().unwrap_or_default()),
        },
        (Some(Value::String(one)), Some(Value::String(other))) => one.cmp(other),
        (Some(Value::Bool(one)), Some(Value::Bool(other))) => one.cmp(other),
        _ => rank(one).cmp(&rank(other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(value: Value) -> Row {
        match value {
            Value::Object(row) => row,
            other => panic!("{other} is no object"),
        }
    }

    #[test]
    fn rows_are_cut_to_columns_and_to_what_is_within_them() {
        let row = object(json!({"name": "q", "vhost": "/", "message_stats": {"publish": 1, "ack": 2}}));
        for (columns, expected) in [
            (None, json!({"name": "q", "vhost": "/", "message_stats": {"publish": 1, "ack": 2}})),
            (Some("name"), json!({"name": "q"})),
            (Some("message_stats.ack,name,nothing"), json!({"message_stats": {"ack": 2}, "name": "q"})),
            (Some("message_stats.ack.deeper"), json!({})),
        ] {
            assert_eq!(Value::Object(Wanted::read(columns).cut(row.clone())), expected, "{columns:?}");
        }
    }

    #[test]
    fn pages_are_read_or_refused() {
        let found = |number, size| Ok(Some(Page { number, size }));
        for (number, size, expected) in [
            (None, Some("5"), Ok(None)),
            (Some("1"), None, found(1, 100)),
            (Some("3"), Some("500"), found(3, 500)),
            (Some("0"), None, Err("Invalid page: 0")),
            (Some("x"), None, Err("Invalid page: x")),
            (Some("1"), Some("501"), Err("Page size can not be greater than 500. Requested: 501")),
        ] {
            let read = page(number, size).map_err(|failure| failure.reason.as_str().unwrap().to_owned());
            assert_eq!(read, expected.map_err(str::to_owned), "{number:?} {size:?}");
        }
    }

    #[test]
    fn values_have_an_order_whatever_they_are() {
        let mut values =
            [json!("b"), json!(2.5), json!(null), json!(2), json!("a"), json!(-1), json!(true), json!(1e300)];
        values.sort_by(|one, other| order(Some(one), Some(other)));
        let expected =
            [json!(null), json!(-1), json!(2), json!(2.5), json!(1e300), json!(true), json!("a"), json!("b")];
        assert_eq!(values, expected);
    }

    #[test]
    fn names_are_found_in_any_case() {
        for (filter_text, is_regex, found) in [("or", false, true), ("^ORD", true, true), ("^r", true, false)] {
            assert_eq!(filter(filter_text, is_regex).unwrap()("Orders"), found, "{filter_text}");
        }
        assert!(filter("(", true).is_err());
    }
}
