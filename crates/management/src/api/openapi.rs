//! The `OpenAPI` document, made of the table of routes.

use hyper::Method;
use serde_json::{Map, Value, json};

use super::access::Access;
use super::route::{Field, Gives, Kind, Operation, Param, Route, Takes};
use super::routes::GROUPS;
use super::schemas::{SCHEMAS, Shape, Type};

/// What listings take, with what it does.
pub(super) const LISTED: [Param; 4] = [
    Param { name: "columns", help: "Only these fields, such as `name,message_stats.publish`" },
    Param { name: "sort", help: "The field to sort by, such as `messages` or `message_stats.publish`" },
    Param { name: "sort_reverse", help: "`true` sorts the other way round" },
    Param { name: "disable_stats", help: "`true` leaves out what is counted" },
];
/// What listings with pages take beyond that.
pub(super) const PAGED: [Param; 4] = [
    Param { name: "page", help: "The number of a page, from 1; without it, everything comes as one array" },
    Param { name: "page_size", help: "Rows of a page: 100 unless said, 500 at most" },
    Param { name: "name", help: "Only what has this in its name, in any case of letters; needs `page`" },
    Param { name: "use_regex", help: "`true`: `name` is a regular expression" },
];

/// The document. `prefix` comes before all paths.
pub(super) fn document(version: &str, prefix: &str) -> Value {
    let tags: Vec<Value> = GROUPS.iter().map(|group| json!({ "name": group.title })).collect();
    let mut paths = Map::new();
    for group in GROUPS {
        for route in group.routes {
            let mut item = Map::new();
            for operation in route.operations {
                let method = operation.method.as_str().to_ascii_lowercase();
                item.insert(method, described(group.title, route, operation));
            }
            paths.insert(route.path.to_owned(), Value::Object(item));
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Leveret HTTP API",
            "version": version,
            "summary": "What the management plugin of RabbitMQ offers, by a broker that is compatible with it",
            "license": { "name": "MIT OR Apache-2.0" },
        },
        "servers": [{ "url": if prefix.is_empty() { "/" } else { prefix } }],
        "tags": tags,
        "paths": paths,
        "components": {
            "schemas": schemas(),
            "responses": responses(),
            "securitySchemes": {
                "basic": { "type": "http", "scheme": "basic", "description": "A name and a password" },
                "bearer": { "type": "http", "scheme": "bearer", "description": "A token of an OAuth 2.0 provider" },
            },
        },
    })
}

/// The parts of a path that have a name.
pub(super) fn parts(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
}

fn described(tag: &str, route: &Route, operation: &Operation) -> Value {
    let in_path = parts(route.path).map(|name| {
        let help = match name {
            "vhost" => "A vhost; `/` is written as `%2F`",
            _ => "A part of the path, percent-encoded",
        };
        json!({ "name": name, "in": "path", "required": true, "description": help, "schema": { "type": "string" } })
    });
    let in_query = queries(operation).map(|Param { name, help }| {
        json!({ "name": name, "in": "query", "description": help, "schema": { "type": "string" } })
    });
    let parameters: Vec<Value> = in_path.chain(in_query).collect();
    let id = format!("{} {}", operation.method, route.path);
    let mut described = json!({
        "operationId": id,
        "tags": [tag],
        "summary": operation.summary,
        "description": format!("For {}.", operation.access.text()),
        "parameters": parameters,
        "responses": answers(operation),
        "security": match operation.access {
            Access::Anybody | Access::Reader => json!([]),
            _ => json!([{ "basic": [] }, { "bearer": [] }]),
        },
    });
    if let (Some(fields), Value::Object(members)) = (operation.body, &mut described) {
        members.insert("requestBody".to_owned(), body(operation.takes, fields));
    }
    described
}

/// Everything that may stand behind the `?`.
pub(super) fn queries(operation: &Operation) -> impl Iterator<Item = &Param> {
    let (listed, paged): (&[Param], &[Param]) = match operation.gives {
        Gives::Many(_) => (&LISTED, &PAGED),
        Gives::All(_) => (&LISTED, &[]),
        Gives::One(_) | Gives::Nothing => (&[], &[]),
    };
    let own = operation.query;
    let more = listed.iter().chain(paged).filter(|param| !own.iter().any(|own| own.name == param.name));
    own.iter().chain(more)
}

fn answers(operation: &Operation) -> Value {
    let content = |schema: Value| json!({ operation.media: { "schema": schema } });
    let of = |name: &str| json!({ "$ref": format!("#/components/schemas/{name}") });
    let mut answers = Map::new();
    let mut add = |status: &str, description: &str, schema: Option<Value>| {
        let mut answer = json!({ "description": description });
        if let (Some(schema), Value::Object(members)) = (schema, &mut answer) {
            members.insert("content".to_owned(), content(schema));
        }
        answers.insert(status.to_owned(), answer);
    };
    match operation.gives {
        Gives::One(name) => add("200", "What was asked for", Some(of(name))),
        Gives::All(name) => add("200", "All of them", Some(json!({ "type": "array", "items": of(name) }))),
        Gives::Many(name) => {
            let page = json!({
                "type": "object",
                "required": ["filtered_count", "item_count", "items", "page", "page_count", "page_size", "total_count"],
                "properties": {
                    "filtered_count": { "type": "integer" },
                    "item_count": { "type": "integer" },
                    "items": { "type": "array", "items": of(name) },
                    "page": { "type": "integer" },
                    "page_count": { "type": "integer" },
                    "page_size": { "type": "integer" },
                    "total_count": { "type": "integer" },
                },
            });
            let all = json!({ "type": "array", "items": of(name) });
            add("200", "All of them, or a page", Some(json!({ "oneOf": [all, page] })));
        }
        Gives::Nothing if operation.media != super::answer::JSON => {
            add("200", "A page", Some(json!({ "type": "string" })));
        }
        Gives::Nothing => {
            if matches!(operation.method.as_str(), "PUT" | "POST") {
                add("201", "It was made", None);
            }
            add("204", "It was done", None);
        }
    }
    if operation.gives == Gives::One("Health") {
        add("503", "Something is not well", Some(of("Health")));
    }
    // Whoever logs in may fail to.
    let is_open = matches!(operation.access, Access::Anybody | Access::Reader) && operation.method == Method::GET;
    if operation.takes != Takes::Any && operation.method != Method::GET {
        add("415", "The body is said to be of another type", None);
    }
    for (status, name, applies) in [
        ("400", "Refused", true),
        ("401", "NotAuthorized", !is_open),
        ("404", "NotFound", true),
        ("413", "TooLarge", operation.body.is_some()),
    ] {
        if applies {
            answers.insert(status.to_owned(), json!({ "$ref": format!("#/components/responses/{name}") }));
        }
    }
    Value::Object(answers)
}

fn body(takes: Takes, fields: &[Field]) -> Value {
    let mut properties = Map::new();
    for Field { name, kind, help, .. } in fields {
        let mut property = match kind {
            Kind::Text => json!({ "type": "string" }),
            Kind::Flag => json!({ "type": ["boolean", "string"] }),
            Kind::Number => json!({ "type": ["integer", "string"] }),
            Kind::Object => json!({ "type": "object" }),
            Kind::List => json!({ "type": "array" }),
            Kind::Any => json!({}),
        };
        if let Value::Object(members) = &mut property {
            members.insert("description".to_owned(), json!(help));
        }
        properties.insert((*name).to_owned(), property);
    }
    let needed: Vec<&str> = fields.iter().filter(|field| field.is_needed).map(|field| field.name).collect();
    let kind = match takes {
        Takes::Any | Takes::Json => "application/json",
        Takes::Form => "application/x-www-form-urlencoded",
    };
    let schema = json!({ "type": "object", "required": needed, "properties": properties });
    json!({ "required": !needed.is_empty(), "content": { kind: { "schema": schema } } })
}

fn schemas() -> Value {
    let mut schemas = Map::new();
    for known in SCHEMAS {
        let schema = match known.shape {
            Shape::Text => json!({ "type": "string", "description": known.about }),
            Shape::Object(fields) => {
                let properties: Map<String, Value> =
                    fields.iter().map(|(name, kind)| ((*name).to_owned(), type_of(*kind))).collect();
                let required: Vec<&str> = fields.iter().map(|(name, _)| *name).collect();
                json!({
                    "type": "object",
                    "description": known.about,
                    "required": required,
                    "properties": properties,
                    "additionalProperties": true,
                })
            }
        };
        schemas.insert(known.name.to_owned(), schema);
    }
    let error = json!({
        "type": "object",
        "description": "Why a request failed.",
        "required": ["error", "reason"],
        "properties": {
            "error": { "type": "string", "description": "A word for programs, such as `bad_request`" },
            "reason": { "description": "What a person reads, or a list with what is wrong" },
        },
    });
    schemas.insert("Error".to_owned(), error);
    Value::Object(schemas)
}

fn type_of(kind: Type) -> Value {
    match kind {
        Type::Text => json!({ "type": "string" }),
        Type::Flag => json!({ "type": "boolean" }),
        Type::Whole => json!({ "type": "integer" }),
        Type::Number => json!({ "type": "number" }),
        Type::Object => json!({ "type": "object" }),
        Type::List => json!({ "type": "array" }),
        Type::Texts => json!({ "type": "array", "items": { "type": "string" } }),
        Type::Any => json!({}),
    }
}

fn responses() -> Value {
    let error = |description: &str| {
        let content = json!({ "application/json": { "schema": { "$ref": "#/components/schemas/Error" } } });
        json!({ "description": description, "content": content })
    };
    json!({
        "Refused": error("The request is wrong, or the broker refuses it"),
        "NotAuthorized": error("Nobody said who asks, or who asks may not; without a body if there was no login"),
        "NotFound": error("There is no such thing"),
        "TooLarge": error("The body is larger than `management.http.max_body_size`"),
    })
}
