//! Listings: filtered by name, sorted, cut to a page and to columns, as clients ask for it.
//!
//! What is listed are keys, such as names; a row is made of a key when it is needed. So a page of a hundred thousand queues costs a
//! hundred rows, or, sorted by something that changes, one column of all and a hundred rows.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::io::Write;

use hyper::StatusCode;
use leveret_broker::Name;
use leveret_broker::regex::Pattern;
use serde_json::{Map, Value, json};

use super::query::Query;
use super::{Answer, Ask, Failure};
use crate::views::{Columns, Row};

/// Rows of a page, if it is not said how many.
const PAGE_SIZE: usize = 100;
/// Rows that a page may have.
const PAGE_SIZE_MAX: usize = 500;
/// What is said of parameters that mean nothing.
const INVALID_PAGE: &str = "Pagination parameters are invalid";

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
    /// The answer to a request for it, or for a page of it.
    pub(super) fn answer(mut self, ask: &Ask<'_>) -> Result<Answer, Failure> {
        let query = ask.query();
        let Some(page) = page(query)? else { return self.answer_whole(ask) };
        let wanted = Wanted::read(query.get("columns"));
        let total = self.keys.len();
        if let Some(name) = query.get("name").filter(|name| !name.is_empty()) {
            let matches = filter(name, query.is_true("use_regex"))?;
            self.keys.retain(|key| matches((self.name)(key)));
        }
        let filtered = self.keys.len();
        let pages = filtered.div_ceil(page.size);
        if page.number > pages.max(1) {
            let reason = format!("Page out of range, page: {} page size: {}, len: {filtered}", page.number, page.size);
            return Err(Failure::new(StatusCode::BAD_REQUEST, "page_out_of_range", reason));
        }
        self.sort(query)?;
        let keys = self.keys.iter().skip((page.number - 1) * page.size).take(page.size);
        let items: Vec<Value> =
            keys.filter_map(|key| (self.row)(key, &wanted.roots)).map(|row| wanted.cut(row)).collect();
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

    /// The answer to a request for all of it, of which there are no pages: whoever asks for one gets all, as from RabbitMQ.
    pub(super) fn answer_whole(mut self, ask: &Ask<'_>) -> Result<Answer, Failure> {
        self.sort(ask.query())?;
        self.send(ask, &Wanted::read(ask.query().get("columns")))
    }

    /// Brings the keys into the order that is asked for. Those of the same value stay as they are.
    fn sort(&mut self, query: &Query) -> Result<(), Failure> {
        match query.get("sort").filter(|column| !column.is_empty()) {
            // Names are there without making rows.
            Some("name") => self.keys.sort_by(|one, other| (self.name)(one).cmp((self.name)(other))),
            Some(column) => {
                let root = column.split('.').next().unwrap_or(column);
                let columns = Columns::of([root]);
                let value = |key: &T| (self.row)(key, &columns).and_then(|row| find(&row, column).cloned());
                let keys = std::mem::take(&mut self.keys).into_iter();
                let mut valued: Vec<_> = keys.map(|key| (value(&key), key)).collect();
                valued.sort_by(|(one, _), (other, _)| order(one.as_ref(), other.as_ref()));
                self.keys = valued.into_iter().map(|(_, key)| key).collect();
            }
            None => {}
        }
        match query.get("sort_reverse") {
            Some("true") => self.keys.reverse(),
            None | Some("" | "false") => {}
            Some(other) => return Err(Failure::bad_request(json!(["not_boolean", other]))),
        }
        Ok(())
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

/// Something in a vhost, by the names of both.
pub(super) type Placed = (Name, Name);

/// The name that it has in its vhost.
pub(super) fn placed_name((_, name): &Placed) -> &str {
    name
}

/// A listing of rows that are there already: where there are never many.
pub(super) fn of_rows(ask: &Ask<'_>, rows: Vec<Row>) -> Result<Answer, Failure> {
    listed(rows).answer(ask)
}

/// The same where there are no pages.
pub(super) fn whole(ask: &Ask<'_>, rows: Vec<Row>) -> Result<Answer, Failure> {
    listed(rows).answer_whole(ask)
}

/// Rows are their own keys.
type Listed = Listing<Row, fn(&Row) -> &str, fn(&Row, &Columns) -> Option<Row>>;

fn listed(keys: Vec<Row>) -> Listed {
    Listing { keys, name: name_of, row: |row, _| Some(row.clone()) }
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
        let mut roots: BTreeSet<String> = paths.iter().filter_map(root).collect();
        // Details are made of what they are of.
        let details: Vec<String> =
            roots.iter().filter_map(|root| root.strip_suffix("_details")).map(str::to_owned).collect();
        roots.extend(details);
        Self { roots: if paths.is_empty() { Columns::All } else { Columns::Some(roots) }, paths }
    }

    /// What has to be looked at.
    pub(super) const fn roots(&self) -> &Columns {
        &self.roots
    }

    /// A row without what nobody wants. Nothing at all is an empty array, as RabbitMQ has it: also within a row, where something was
    /// wanted of what is there and is not.
    pub(super) fn cut(&self, row: Row) -> Value {
        if self.paths.is_empty() {
            return Value::Object(row);
        }
        let mut cut = Map::new();
        for path in &self.paths {
            copy(&row, &mut cut, path);
        }
        or_nothing(cut)
    }
}

/// The value at a path, such as `message_stats.publish_details.rate`.
fn find<'a>(row: &'a Row, path: &str) -> Option<&'a Value> {
    let mut parts = path.split('.');
    let first = row.get(parts.next()?)?;
    parts.try_fold(first, |value, part| value.get(part))
}

/// Copies what a path leads to. What has nothing within it, or whatever its user likes, is copied as a whole.
fn copy(from: &Row, to: &mut Row, path: &str) {
    let (root, rest) = path.split_once('.').map_or((path, None), |(root, rest)| (root, Some(rest)));
    let Some(value) = from.get(root) else { return };
    match (value, rest) {
        (Value::Object(inner), Some(rest)) if root != "arguments" => {
            let mut copied = match to.remove(root) {
                Some(Value::Object(copied)) => copied,
                _ => Map::new(),
            };
            copy(inner, &mut copied, rest);
            to.insert(root.to_owned(), or_nothing(copied));
        }
        _ => {
            to.insert(root.to_owned(), value.clone());
        }
    }
}

fn or_nothing(row: Row) -> Value {
    if row.is_empty() { json!([]) } else { Value::Object(row) }
}

/// The page that is asked for.
fn page(query: &Query) -> Result<Option<Page>, Failure> {
    let (page, size) = (query.get("page"), query.get("page_size"));
    let Some(number) = page else { return Ok(None) };
    let read = |text: &str| text.parse::<i64>().map_err(|_| Failure::bad_request(INVALID_PAGE));
    let number = read(number)?;
    let size = size.map(read).transpose()?;
    let within = |number: i64, max: usize| usize::try_from(number).ok().filter(|number| (1..=max).contains(number));
    let found = within(number, usize::MAX).zip(size.map_or(Some(PAGE_SIZE), |size| within(size, PAGE_SIZE_MAX)));
    if let Some((number, size)) = found {
        return Ok(Some(Page { number, size }));
    }
    let size = size.map_or_else(|| "undefined".to_owned(), |size| size.to_string());
    let reason = format!("Invalid pagination parameters: page number {number}, page size {size}");
    Err(Failure::new(StatusCode::BAD_REQUEST, "invalid_pagination_parameters", reason))
}

/// Whether a name is wanted.
type Filter = Box<dyn Fn(&str) -> bool>;

/// What finds names: with a part of them, or a regular expression, in any case of letters.
fn filter(name: &str, is_regex: bool) -> Result<Filter, Failure> {
    if is_regex {
        let pattern = Pattern::ignoring_case(name).map_err(|_| Failure::bad_request(INVALID_PAGE))?;
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
        let row = object(json!({
            "name": "q", "vhost": "/", "message_stats": {"publish": 1, "ack": 2}, "arguments": {"a": 1}
        }));
        for (columns, expected) in [
            (
                None,
                json!({"name": "q", "vhost": "/", "message_stats": {"publish": 1, "ack": 2}, "arguments": {"a": 1}}),
            ),
            (Some("name"), json!({"name": "q"})),
            (Some("message_stats.ack,name,nothing"), json!({"message_stats": {"ack": 2}, "name": "q"})),
            (Some("message_stats.ack,message_stats.publish"), json!({"message_stats": {"publish": 1, "ack": 2}})),
            (Some("message_stats.ack.deeper"), json!({"message_stats": {"ack": 2}})),
            (Some("message_stats.nothing"), json!({"message_stats": []})),
            (Some("name.x"), json!({"name": "q"})),
            (Some("arguments.b"), json!({"arguments": {"a": 1}})),
            (Some("nothing"), json!([])),
            (Some(""), json!([])),
        ] {
            assert_eq!(Wanted::read(columns).cut(row.clone()), expected, "{columns:?}");
        }
    }

    #[test]
    fn pages_are_read_or_refused() {
        let found = |number, size| Ok(Some(Page { number, size }));
        for (query, expected) in [
            ("page_size=5", Ok(None)),
            ("page=1", found(1, 100)),
            ("page=3&page_size=500", found(3, 500)),
            ("page=0", Err("Invalid pagination parameters: page number 0, page size undefined")),
            ("page=1&page_size=0", Err("Invalid pagination parameters: page number 1, page size 0")),
            ("page=1&page_size=501", Err("Invalid pagination parameters: page number 1, page size 501")),
            ("page=-1&page_size=5", Err("Invalid pagination parameters: page number -1, page size 5")),
            ("page=x", Err("Pagination parameters are invalid")),
            ("page=1&page_size=x", Err("Pagination parameters are invalid")),
        ] {
            let read = page(&Query::read(Some(query))).map_err(|failure| failure.reason.as_str().unwrap().to_owned());
            assert_eq!(read, expected.map_err(str::to_owned), "{query}");
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
