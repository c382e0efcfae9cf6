//! `order_by` (conventions, section 5).

use std::cmp::Ordering;

use serde_json::Value;

use super::filter;
use crate::codes;
use crate::problem::Problem;
use crate::record::Record;
use crate::schema::{Field, Schema, Shown};

/// By which fields a collection is put in order; by none, it comes as it is kept.
#[derive(Clone, Debug, Default)]
pub(crate) struct Order {
    by: Vec<(&'static Field, Direction)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    Ascending,
    Descending,
}

impl Order {
    pub(crate) fn parse(text: Option<&str>, schema: &Schema) -> Result<Self, Problem> {
        let terms = text.unwrap_or_default().split(',').map(str::trim).filter(|term| !term.is_empty());
        let by = terms.map(|term| Self::term(term, schema)).collect::<Result<_, _>>()?;
        Ok(Self { by })
    }

    fn term(term: &str, schema: &Schema) -> Result<(&'static Field, Direction), Problem> {
        let mut words = term.split_whitespace();
        let (name, direction, rest) = (words.next().unwrap_or_default(), words.next(), words.next());
        let direction = match direction {
            None => Direction::Ascending,
            Some(word) if word.eq_ignore_ascii_case("asc") => Direction::Ascending,
            Some(word) if word.eq_ignore_ascii_case("desc") => Direction::Descending,
            Some(_) => return Err(refused(term)),
        };
        let field = schema.field(name).filter(|field| field.shown != Shown::Never && rest.is_none());
        Ok((field.ok_or_else(|| refused(term))?, direction))
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.by.is_empty()
    }

    pub(crate) fn fields(&self) -> impl Iterator<Item = &'static Field> {
        self.by.iter().map(|(field, _)| *field)
    }

    /// What a record is put in order by.
    pub(crate) fn keys(&self, record: &Record) -> Vec<Value> {
        self.fields()
            .map(|field| record.values(field.path).first().map_or(Value::Null, |value| (*value).clone()))
            .collect()
    }

    /// How two records lie, by their [`Order::keys`]. What is not set comes first.
    pub(crate) fn compare(&self, a: &[Value], b: &[Value]) -> Ordering {
        let each = self.by.iter().zip(a.iter().zip(b));
        let each = each.map(|((field, direction), (a, b))| {
            let ordering = match (a.is_null(), b.is_null()) {
                (false, false) => filter::compare(field.kind, a, b).unwrap_or(Ordering::Equal),
                (a, b) => b.cmp(&a),
            };
            match direction {
                Direction::Ascending => ordering,
                Direction::Descending => ordering.reverse(),
            }
        });
        each.fold(Ordering::Equal, Ordering::then)
    }
}

fn refused(term: &str) -> Problem {
    codes::invalid("order_by", format!("\"{term}\" is not the name of a field, alone or with \"asc\" or \"desc\"."))
}
