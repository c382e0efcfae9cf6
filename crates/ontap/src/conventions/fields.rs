//! Which fields an answer has: `fields=` (conventions, section 4).

use crate::codes;
use crate::problem::Problem;
use crate::schema::{Field, Schema, Shown, is_at_or_below};

/// The fields that are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    all: All,
    named: Vec<String>,
}

/// What is wanted beside what is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum All {
    Keys,
    Standard,
    Everything,
}

impl Wanted {
    /// Of a GET of a collection. Without `fields`, its keys alone.
    pub(crate) fn of_collection(fields: Option<&str>, schema: &Schema) -> Result<Self, Problem> {
        Self::parse(fields, All::Keys, schema)
    }

    /// Of a GET of one record. Without `fields`, what is common.
    pub(crate) fn of_instance(fields: Option<&str>, schema: &Schema) -> Result<Self, Problem> {
        Self::parse(fields, All::Standard, schema)
    }

    fn parse(fields: Option<&str>, default: All, schema: &Schema) -> Result<Self, Problem> {
        let names = fields.unwrap_or_default().split(',').map(str::trim).filter(|name| !name.is_empty());
        let mut wanted = Self { all: All::Keys, named: Vec::new() };
        for name in names {
            match name {
                "*" => wanted.all = wanted.all.max(All::Standard),
                "**" => wanted.all = All::Everything,
                "_links" => {}
                name if schema.knows(name) => wanted.named.push(name.to_owned()),
                name => {
                    return Err(codes::invalid(
                        "fields",
                        format!(
                            "The field \"{name}\" is not known; ask without \"fields\" or with \"*\" to see those there are."
                        ),
                    ));
                }
            }
        }
        // An empty one lost its asterisk on the way.
        if fields.is_none_or(|fields| fields.trim().is_empty()) {
            wanted.all = default;
        }
        Ok(wanted)
    }

    /// The same and one more: what is filtered by is shown.
    pub(crate) fn and(mut self, path: &str) -> Self {
        self.named.push(path.to_owned());
        self
    }

    pub(crate) fn has(&self, field: &Field) -> bool {
        let named = || self.named.iter().any(|name| is_at_or_below(field.path, name));
        match field.shown {
            Shown::Key => true,
            Shown::Never => false,
            Shown::Standard => self.all >= All::Standard || named(),
            Shown::Expensive => self.all == All::Everything || named(),
        }
    }

    /// Whether the field at a path is wanted.
    pub(crate) fn has_path(&self, path: &str, schema: &Schema) -> bool {
        schema.field(path).is_some_and(|field| self.has(field))
    }

    /// Whether any expensive field is wanted.
    pub(crate) fn has_expensive(&self, schema: &Schema) -> bool {
        self.has_expensive_at("", schema)
    }

    /// Whether an expensive field below `object` is wanted, or any where that is empty.
    pub(crate) fn has_expensive_at(&self, object: &str, schema: &Schema) -> bool {
        let mut below = schema.fields.iter().filter(|field| object.is_empty() || is_at_or_below(field.path, object));
        below.any(|field| field.shown == Shown::Expensive && self.has(field))
    }
}
