//! A record of an answer, addressed by dotted paths.

use serde_json::{Map, Value};

use crate::conventions::fields::Wanted;
use crate::schema::Schema;

/// A record: nested objects whose leaves are the schema's fields.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Record(Value);

impl Record {
    pub(crate) fn new() -> Self {
        Self(Value::Object(Map::new()))
    }

    /// The record with a value at a path, whose objects are made where they are missing.
    pub(crate) fn with(mut self, path: &str, value: impl Into<Value>) -> Self {
        self.set(path, value);
        self
    }

    pub(crate) fn with_some(self, path: &str, value: Option<impl Into<Value>>) -> Self {
        match value {
            Some(value) => self.with(path, value),
            None => self,
        }
    }

    pub(crate) fn set(&mut self, path: &str, value: impl Into<Value>) {
        let mut at = &mut self.0;
        for name in path.split('.') {
            if !at.is_object() {
                *at = Value::Object(Map::new());
            }
            let Value::Object(members) = at else { return };
            at = members.entry(name).or_insert(Value::Null);
        }
        *at = value.into();
    }

    /// The values at a path: several where it leads through a list.
    pub(crate) fn values(&self, path: &str) -> Vec<&Value> {
        let mut found = vec![&self.0];
        for name in path.split('.') {
            found = found.into_iter().flat_map(items).filter_map(|value| value.get(name)).collect();
        }
        found.into_iter().flat_map(items).filter(|value| !value.is_null()).collect()
    }

    /// The text at a path.
    pub(crate) fn text(&self, path: &str) -> Option<&str> {
        self.values(path).first().and_then(|value| value.as_str())
    }

    /// The record with the fields that are wanted and nothing else.
    pub(crate) fn selected(&self, schema: &Schema, wanted: &Wanted) -> Self {
        let mut selected = Self::new();
        for field in schema.fields.iter().filter(|field| wanted.has(field)) {
            let path: Vec<_> = field.path.split('.').collect();
            copy(&self.0, &path, &mut selected.0);
        }
        selected
    }

    /// The object at a path that leads through no list, the record itself where it is empty.
    pub(crate) fn object_mut(&mut self, path: &str) -> Option<&mut Map<String, Value>> {
        let mut names = path.split('.').filter(|name| !name.is_empty());
        names.try_fold(&mut self.0, |at, name| at.get_mut(name))?.as_object_mut()
    }

    pub(crate) fn into_json(self) -> Value {
        self.0
    }
}

fn items(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(items) => items.iter().collect(),
        value => vec![value],
    }
}

/// Copies what is at `path` of `from` to the same place of `to`, item by item through lists.
fn copy(from: &Value, path: &[&str], to: &mut Value) {
    let Some((name, rest)) = path.split_first() else {
        to.clone_from(from);
        return;
    };
    let Some(inner) = from.get(name).filter(|inner| !inner.is_null()) else { return };
    if !to.is_object() {
        *to = Value::Object(Map::new());
    }
    let Value::Object(members) = to else { return };
    let target = members.entry(*name).or_insert(Value::Null);
    match inner {
        Value::Array(items) if !rest.is_empty() => {
            if !target.is_array() {
                *target = Value::Array(items.iter().map(|_| Value::Object(Map::new())).collect());
            }
            let Value::Array(targets) = target else { return };
            for (item, target) in items.iter().zip(targets) {
                copy(item, rest, target);
            }
        }
        inner => copy(inner, rest, target),
    }
}
