//! The body of a POST or PATCH: read as its schema says, and nothing else is taken (conventions, section 6).

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use zeroize::Zeroize as _;

use crate::codes;
use crate::problem::Problem;
use crate::record::Record;
use crate::schema::{Field, Kind, Schema, is_at_or_below};

/// Which of a schema's fields may be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Post,
    Patch,
}

/// The fields that a body gives, by path. `null` stands for "none". What is secret of it is wiped when it is dropped.
#[derive(Default)]
pub(crate) struct Body {
    given: BTreeMap<&'static str, Value>,
    secrets: Vec<&'static str>,
}

impl Drop for Body {
    fn drop(&mut self) {
        for path in &self.secrets {
            if let Some(Value::String(secret)) = self.given.get_mut(path) {
                secret.zeroize();
            }
        }
    }
}

impl Body {
    /// Reads a body. None at all is an empty one.
    pub(crate) fn parse(bytes: &[u8], schema: &'static Schema, verb: Verb) -> Result<Self, Problem> {
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Ok(Self::default());
        }
        let json: Value = serde_json::from_slice(bytes).map_err(|error| {
            // What the library quotes of the body may be a secret.
            let (line, column) = (error.line(), error.column());
            codes::malformed(format!("The body is not valid JSON: see line {line}, column {column}."))
        })?;
        let Value::Object(members) = json else { return Err(codes::malformed("The body is not a JSON object.")) };
        let mut body = Self::default();
        body.read(members, "", schema, verb)?;
        Ok(body)
    }

    /// Reads the body of a request that takes none: nothing, or an empty object.
    pub(crate) fn parse_empty(bytes: &[u8]) -> Result<Self, Problem> {
        static NOTHING: Schema = Schema { name: "", fields: &[], lists: &[], links: &[] };
        Self::parse(bytes, &NOTHING, Verb::Post)
    }

    fn read(
        &mut self,
        members: Map<String, Value>,
        at: &str,
        schema: &'static Schema,
        verb: Verb,
    ) -> Result<(), Problem> {
        for (name, value) in members {
            let path = if at.is_empty() { name } else { format!("{at}.{name}") };
            if let Some(field) = schema.field(&path) {
                if !field.may_be_given(verb) {
                    return Err(codes::invalid(&path, format!("The field \"{path}\" cannot be given here.")));
                }
                self.put(field, schema, value)?;
                continue;
            }
            if schema.has_object(&path) && !schema.may_give_any_of(&path, verb) {
                return Err(codes::invalid(&path, format!("The field \"{path}\" cannot be given here.")));
            }
            match value {
                Value::Object(members) if schema.has_object(&path) => self.read(members, &path, schema, verb)?,
                Value::Array(items) if schema.lists.contains(&path.as_str()) => {
                    for item in items {
                        let Value::Object(members) = item else { return Err(wrong_type(&path, "a list of objects")) };
                        self.read(members, &path, schema, verb)?;
                    }
                }
                Value::Null if schema.has_object(&path) && !schema.lists.contains(&path.as_str()) => {}
                _ if schema.lists.contains(&path.as_str()) => return Err(wrong_type(&path, "a list of objects")),
                _ if schema.has_object(&path) => return Err(wrong_type(&path, "an object")),
                _ => return Err(unexpected(&path)),
            }
        }
        Ok(())
    }

    /// Values of fields within a list are gathered.
    fn put(&mut self, field: &'static Field, schema: &Schema, value: Value) -> Result<(), Problem> {
        let value = checked(field, value)?;
        if field.is_secret() {
            self.secrets.push(field.path);
        }
        match schema.lists.iter().any(|list| is_at_or_below(field.path, list)) {
            true => match self.given.entry(field.path).or_insert_with(|| Value::Array(Vec::new())) {
                Value::Array(values) => values.push(value),
                other => *other = value,
            },
            false => {
                self.given.insert(field.path, value);
            }
        }
        Ok(())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.given.is_empty()
    }

    /// Whether a field is given, be it as `null`.
    pub(crate) fn gives(&self, path: &str) -> bool {
        self.given.contains_key(path)
    }

    /// Whether a field of an object is given.
    pub(crate) fn gives_any_of(&self, object: &str) -> bool {
        self.given.keys().any(|path| is_at_or_below(path, object))
    }

    pub(crate) fn text(&self, path: &str) -> Option<&str> {
        self.given.get(path)?.as_str()
    }

    pub(crate) fn flag(&self, path: &str) -> Option<bool> {
        self.given.get(path)?.as_bool()
    }

    pub(crate) fn number(&self, path: &str) -> Option<i64> {
        self.given.get(path)?.as_i64()
    }

    /// The texts of a list, or of a field within a list of objects.
    pub(crate) fn texts(&self, path: &str) -> Vec<&str> {
        let items = self.given.get(path).and_then(Value::as_array);
        items.into_iter().flatten().filter_map(Value::as_str).collect()
    }

    /// What must be there.
    pub(crate) fn required(&self, path: &str) -> Result<&str, Problem> {
        self.text(path).ok_or_else(|| codes::invalid(path, format!("The field \"{path}\" is missing.")))
    }

    /// What of it may be audited.
    pub(crate) fn audited(&self, schema: &Schema) -> Value {
        let open = self.given.iter().filter(|(path, _)| schema.field(path).is_some_and(|field| !field.is_secret()));
        open.fold(Record::new(), |record, (path, value)| record.with(path, value.clone())).into_json()
    }
}

impl Schema {
    /// Whether a field below an object may be given.
    fn may_give_any_of(&self, object: &str, verb: Verb) -> bool {
        self.fields.iter().any(|field| is_at_or_below(field.path, object) && field.may_be_given(verb))
    }
}

impl Field {
    const fn may_be_given(&self, verb: Verb) -> bool {
        match verb {
            Verb::Post => self.post,
            Verb::Patch => self.patch,
        }
    }
}

fn checked(field: &Field, value: Value) -> Result<Value, Problem> {
    let path = field.path;
    match (field.kind, value) {
        (_, Value::Null) => Ok(Value::Null),
        (Kind::Text | Kind::Secret | Kind::Time, value @ Value::String(_)) => Ok(value),
        (Kind::Boolean, value @ Value::Bool(_)) => Ok(value),
        (Kind::Integer, value) if value.is_i64() => Ok(value),
        (Kind::Texts, Value::Array(items)) if items.iter().all(Value::is_string) => Ok(Value::Array(items)),
        (Kind::OneOf(names), Value::String(name)) => match names.contains(&name.as_str()) {
            true => Ok(Value::String(name)),
            false => Err(codes::invalid(path, format!("\"{path}\" must be one of: {}.", names.join(", ")))),
        },
        (Kind::OneOf(_) | Kind::Text | Kind::Secret | Kind::Time, _) => Err(wrong_type(path, "a text")),
        (Kind::Boolean, _) => Err(wrong_type(path, "true or false")),
        (Kind::Integer, _) => Err(wrong_type(path, "a whole number")),
        (Kind::Texts, _) => Err(wrong_type(path, "a list of texts")),
    }
}

fn wrong_type(path: &str, what: &str) -> Problem {
    codes::invalid(path, format!("The field \"{path}\" must be {what}."))
}

fn unexpected(path: &str) -> Problem {
    codes::invalid(path, format!("The field \"{path}\" is not known here."))
}
