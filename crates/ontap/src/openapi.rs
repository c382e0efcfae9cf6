//! The OpenAPI document, made of the table of endpoints that the router is made of.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::conventions::body::Verb;
use crate::conventions::links::BASE;
use crate::conventions::position;
use crate::endpoint::{self, Change, Does, Endpoint};
use crate::schema::{Field, Kind, Schema, Shown};

/// The OpenAPI document (version 3.0.3) of all that [`router`](crate::router) answers.
#[must_use]
pub fn openapi() -> Value {
    let mut paths: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    let mut schemas = Map::from_iter([("error".to_owned(), error_schema()), ("job_link".to_owned(), job_schema())]);
    for endpoint in endpoint::all() {
        let methods = paths.entry(template(endpoint.path)).or_default();
        methods.insert(endpoint.method.to_lowercase(), operation(endpoint));
        if let Does::List(resource) | Does::Show(resource) = endpoint.does {
            let schema = resource.schema();
            schemas.insert(schema.name.to_owned(), record_schema(schema));
        }
    }
    json!({
        "openapi": "3.0.3",
        "info": {
            "title": "claviger: the ONTAP key-management REST API",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Key managers, keystores and keys of a storage node, as ONTAP clients know them.",
        },
        "servers": [{ "url": BASE }],
        "security": [{ "basic": [] }],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": { "basic": { "type": "http", "scheme": "basic" } },
        },
    })
}

fn operation(endpoint: &Endpoint) -> Value {
    let mut operation = Map::new();
    operation.insert("operationId".to_owned(), operation_id(endpoint).into());
    operation.insert("summary".to_owned(), endpoint.summary.into());
    let own = match &endpoint.does {
        Does::List(resource) | Does::Each { resource, .. } => list_parameters(resource.schema()),
        Does::Show(_) => vec![fields_parameter()],
        Does::Change(change) => change_parameters(change),
        Does::Nothing(_) => Vec::new(),
    };
    let parameters: Vec<_> = path_parameters(endpoint.path).chain(own).collect();
    operation.insert("parameters".to_owned(), parameters.into());
    if let Does::Change(change) | Does::Each { change, .. } = &endpoint.does {
        operation.insert("requestBody".to_owned(), request_body(change));
    }
    operation.insert("responses".to_owned(), responses(endpoint));
    Value::Object(operation)
}

fn operation_id(endpoint: &Endpoint) -> String {
    let path = endpoint.path.replace(['{', '}'], "").replace(['/', '-', '.'], "_");
    format!("{}{path}", endpoint.method.to_lowercase())
}

/// Many readers of such documents know no dots in the names of a path's parameters, and no path of the API has them elsewhere.
fn template(path: &str) -> String {
    path.replace('.', "_")
}

fn path_parameters(path: &'static str) -> impl Iterator<Item = Value> {
    let names = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    names.map(|name| json!({ "name": template(name), "in": "path", "required": true, "schema": { "type": "string" } }))
}

fn parameter(name: &str, schema: &Value, about: &str) -> Value {
    json!({ "name": name, "in": "query", "required": false, "schema": schema, "description": about })
}

fn text() -> Value {
    json!({ "type": "string" })
}

fn flag() -> Value {
    json!({ "type": "boolean" })
}

fn seconds(default: u64) -> Value {
    json!({ "type": "integer", "minimum": 0, "maximum": 120, "default": default })
}

fn fields_parameter() -> Value {
    parameter(
        "fields",
        &text(),
        "Which fields to show: names with commas between them, `*` for the common ones, `**` for all.",
    )
}

fn list_parameters(schema: &Schema) -> Vec<Value> {
    let common = [
        fields_parameter(),
        parameter("order_by", &text(), "Fields to put the records in order by, each alone or with `asc` or `desc`."),
        parameter(
            "max_records",
            &json!({ "type": "integer", "minimum": 1, "default": 10_000 }),
            "The most records of a page.",
        ),
        parameter("return_timeout", &seconds(15), "The most seconds that a page may take."),
        parameter("return_records", &flag(), "Whether to show records, or only their number."),
        parameter("return_unmatched_nested_array_objects", &flag(), "Accepted: lists in records are always whole."),
        parameter(position::PARAMETER, &text(), "Where a page begins: only as a `next` link has it."),
    ];
    let filter = |field: &Field| {
        parameter(
            field.path,
            &text(),
            "A filter: a value, `!`, `<`, `<=`, `>`, `>=`, `a..b`, `a|b`, `*`, `null`, `!null`.",
        )
    };
    let filters = schema.fields.iter().filter(|field| field.shown != Shown::Never).map(filter);
    common.into_iter().chain(filters).collect()
}

fn change_parameters(change: &Change) -> Vec<Value> {
    let common = [
        parameter("return_timeout", &seconds(0), "How many seconds to wait for the job."),
        parameter("return_records", &flag(), "Whether to show what was made."),
    ];
    let own = change.parameters.iter().map(|own| parameter(own.name, &kind_schema(own.kind), own.about));
    common.into_iter().chain(own).collect()
}

fn request_body(change: &Change) -> Value {
    let schema = match change.body {
        Some((schema, verb)) => nested(
            schema,
            "",
            &|field| match verb {
                Verb::Post => field.post,
                Verb::Patch => field.patch,
            },
            true,
        ),
        None => json!({ "type": "object", "additionalProperties": false }),
    };
    json!({ "required": false, "content": { "application/json": { "schema": schema } } })
}

fn responses(endpoint: &Endpoint) -> Value {
    let mut responses = Map::new();
    let mut add = |status: &str, about: &str, schema: Value| {
        let content = json!({ "application/hal+json": { "schema": schema }, "application/json": { "schema": schema } });
        responses.insert(status.to_owned(), json!({ "description": about, "content": content }));
    };
    let reference = |name: &str| json!({ "$ref": format!("#/components/schemas/{name}") });
    match &endpoint.does {
        Does::List(resource) => add("200", "A page.", page_schema(reference(resource.schema().name))),
        Does::Show(resource) => add("200", "The record.", reference(resource.schema().name)),
        Does::Change(_) | Does::Each { .. } => {
            let done = if endpoint.method == "POST" { "201" } else { "200" };
            add(done, "Done.", json!({ "type": "object" }));
            add("202", "A job does it.", reference("job_link"));
        }
        Does::Nothing(_) => {}
    }
    let error = reference("error");
    for (status, about) in [
        ("400", "The request cannot be read, or not be done as asked."),
        ("401", "No account, or a wrong password."),
        ("403", "The account may not do this."),
        ("404", "There is no such object."),
        ("405", "The resource does not support this method."),
        ("409", "What is there is in the way."),
        ("413", "The body is too large."),
        ("500", "The service, or a keeper, failed."),
        ("503", "The service is too busy."),
    ] {
        let content = json!({ "application/json": { "schema": error } });
        responses.insert(status.to_owned(), json!({ "description": about, "content": content }));
    }
    Value::Object(responses)
}

fn page_schema(record: Value) -> Value {
    json!({
        "type": "object",
        "required": ["num_records"],
        "properties": {
            "records": { "type": "array", "items": record },
            "num_records": { "type": "integer", "minimum": 0 },
            "_links": { "type": "object" },
        },
    })
}

fn error_schema() -> Value {
    json!({
        "type": "object",
        "required": ["error"],
        "properties": {
            "error": {
                "type": "object",
                "required": ["code", "message"],
                "properties": { "code": text(), "message": text(), "target": text() },
            },
        },
    })
}

fn job_schema() -> Value {
    let href = json!({ "type": "object", "required": ["href"], "properties": { "href": text() } });
    json!({
        "type": "object",
        "properties": {
            "job": {
                "type": "object",
                "required": ["uuid", "_links"],
                "properties": { "uuid": text(), "_links": { "type": "object", "properties": { "self": href } } },
            },
        },
    })
}

fn record_schema(schema: &Schema) -> Value {
    nested(schema, "", &|field| field.shown != Shown::Never, false)
}

/// The fields below `at` as nested objects.
fn nested(schema: &Schema, at: &str, wanted: &dyn Fn(&Field) -> bool, is_closed: bool) -> Value {
    let mut properties = Map::new();
    for field in schema.fields.iter().filter(|field| wanted(field)) {
        let below = if at.is_empty() {
            Some(field.path)
        } else {
            field.path.strip_prefix(at).and_then(|rest| rest.strip_prefix('.'))
        };
        let Some(below) = below else { continue };
        let (name, is_leaf) = below.split_once('.').map_or((below, true), |(name, _)| (name, false));
        if properties.contains_key(name) {
            continue;
        }
        let path = if at.is_empty() { name.to_owned() } else { format!("{at}.{name}") };
        let value = match is_leaf {
            true => described(field, is_closed),
            false => {
                let object = nested(schema, &path, wanted, is_closed);
                match schema.lists.contains(&path.as_str()) {
                    true => json!({ "type": "array", "items": object }),
                    false => object,
                }
            }
        };
        properties.insert(name.to_owned(), value);
    }
    let mut object = json!({ "type": "object", "properties": properties });
    if let (true, Value::Object(members)) = (is_closed, &mut object) {
        members.insert("additionalProperties".to_owned(), json!(false));
    }
    object
}

fn described(field: &Field, is_closed: bool) -> Value {
    let mut schema = kind_schema(field.kind);
    if let Value::Object(members) = &mut schema {
        members.insert("description".to_owned(), field.about.into());
        // A value can be taken away.
        if is_closed {
            members.insert("nullable".to_owned(), json!(true));
        }
        if field.is_secret() {
            members.insert("writeOnly".to_owned(), json!(true));
        }
    }
    schema
}

fn kind_schema(kind: Kind) -> Value {
    match kind {
        Kind::Text | Kind::Secret => text(),
        Kind::Integer => json!({ "type": "integer", "format": "int64" }),
        Kind::Boolean => flag(),
        Kind::Time => json!({ "type": "string", "format": "date-time" }),
        Kind::OneOf(names) => json!({ "type": "string", "enum": names }),
        Kind::Texts => json!({ "type": "array", "items": text() }),
    }
}
