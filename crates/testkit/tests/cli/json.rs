//! JSON in a form that can be compared line by line: keys in order, one value per line.

use std::collections::BTreeMap;

use serde_json::Value;

/// The text if it is one JSON value, or several one after the other, with `level` applied to its strings and numbers;
/// the elements of arrays in order if `sorted`.
pub(crate) fn normal(text: &str, sorted: bool, level: &dyn Fn(&str) -> String) -> Option<String> {
    let mut out = String::new();
    for value in serde_json::Deserializer::from_str(text).into_iter::<Value>() {
        out.push_str(&print(&order(value.ok()?, sorted, level)));
        out.push('\n');
    }
    (!out.is_empty()).then_some(out)
}

fn order(value: Value, sorted: bool, level: &dyn Fn(&str) -> String) -> Value {
    match value {
        Value::Object(fields) => {
            // A key may be the name of a node; others are what they are.
            let key = |name: String| if name.contains('@') { level(&name) } else { name };
            let fields: BTreeMap<String, Value> = fields.into_iter().map(|(name, value)| (key(name), value)).collect();
            Value::Object(fields.into_iter().map(|(name, value)| (name, order(value, sorted, level))).collect())
        }
        Value::Array(values) => {
            let mut values: Vec<Value> = values.into_iter().map(|value| order(value, sorted, level)).collect();
            if sorted {
                values.sort_by_key(Value::to_string);
            }
            Value::Array(values)
        }
        Value::String(text) => Value::String(level(&text)),
        Value::Number(number) => {
            let text = number.to_string();
            let levelled = level(&text);
            if levelled == text { Value::Number(number) } else { Value::String(levelled) }
        }
        value @ (Value::Null | Value::Bool(_)) => value,
    }
}

fn print(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

#[test]
fn json_is_compared_without_layout_and_order_of_keys() {
    let level = |text: &str| text.replace("5672", "{port}");
    for (text, sorted, normal_text) in [
        ("[\n{\"b\":1,\"a\":[2,1]}\n]", false, Some("[{\"a\":[2,1],\"b\":1}]")),
        ("[{\"b\":1,\"a\":[2,1]}]", true, Some("[{\"a\":[1,2],\"b\":1}]")),
        ("{\"a\":1}\n{\"a\":2}\n", false, Some("{\"a\":1} {\"a\":2}")),
        ("{\"a\":5672,\"b\":\"port 5672\"}", false, Some("{\"a\":\"{port}\",\"b\":\"port {port}\"}")),
        ("Listing ...", false, None),
        ("", false, None),
    ] {
        let compact = |text: &str| text.replace("\" : ", "\":").split_whitespace().collect::<String>();
        assert_eq!(normal(text, sorted, &level).as_deref().map(compact), normal_text.map(compact), "{text}");
    }
}
