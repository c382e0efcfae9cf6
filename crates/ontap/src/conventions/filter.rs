//! Filters: `<field>=<query>` (conventions, section 5).

use std::cmp::Ordering;
use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

use super::query::{boolean, unknown};
use crate::codes;
use crate::problem::Problem;
use crate::record::Record;
use crate::schema::{Field, Kind, Schema, Shown};

/// The filters of a request; a record must match all of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filters {
    all: Vec<Filter>,
}

#[derive(Clone, Debug)]
struct Filter {
    field: &'static Field,
    test: Test,
}

/// What a field's value must be.
#[derive(Clone, Debug)]
enum Test {
    IsNull,
    IsSet,
    Any(Vec<Term>),
    /// Set, and none of these.
    None(Vec<Term>),
}

#[derive(Clone, Debug)]
enum Term {
    Is(Value),
    Like(Pattern),
    Below(Value),
    AtMost(Value),
    Above(Value),
    AtLeast(Value),
    Between(Value, Value),
}

/// A text with asterisks, each of which stands for any text.
#[derive(Clone, Debug)]
struct Pattern {
    first: String,
    middle: Vec<String>,
    last: String,
}

impl Filters {
    /// Every parameter is a filter by the field of its name.
    pub(crate) fn parse(parameters: BTreeMap<String, String>, schema: &Schema) -> Result<Self, Problem> {
        let filter = |(name, text): (String, String)| {
            let field =
                schema.field(&name).filter(|field| field.shown != Shown::Never).ok_or_else(|| unknown(&name))?;
            Ok(Filter { field, test: Test::parse(&text, field)? })
        };
        Ok(Self { all: parameters.into_iter().map(filter).collect::<Result<_, Problem>>()? })
    }

    pub(crate) fn fields(&self) -> impl Iterator<Item = &'static Field> {
        self.all.iter().map(|filter| filter.field)
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// The same with "not set" for what the field must be.
    pub(crate) fn unset(mut self, path: &str) -> Self {
        for filter in self.all.iter_mut().filter(|filter| filter.field.path == path) {
            filter.test = Test::IsNull;
        }
        self
    }

    /// Whether a record whose expensive fields are not there yet can match.
    pub(crate) fn match_cheap(&self, record: &Record) -> bool {
        let mut cheap = self.all.iter().filter(|filter| filter.field.shown != Shown::Expensive);
        cheap.all(|filter| filter.matches(record))
    }

    pub(crate) fn matches(&self, record: &Record) -> bool {
        self.all.iter().all(|filter| filter.matches(record))
    }

    /// The one value that the field must have, where the filter says so: a collection need not be read to its end then.
    pub(crate) fn only(&self, path: &str) -> Option<&str> {
        let filter = self.all.iter().find(|filter| filter.field.path == path)?;
        match &filter.test {
            Test::Any(terms) => match terms.as_slice() {
                [Term::Is(value)] => value.as_str(),
                _ => None,
            },
            Test::IsNull | Test::IsSet | Test::None(_) => None,
        }
    }
}

impl Filter {
    /// Of a list, one item must match. What is not set matches nothing but `null`.
    fn matches(&self, record: &Record) -> bool {
        let values = record.values(self.field.path);
        let kind = self.field.kind;
        let any = |terms: &[Term]| values.iter().any(|value| terms.iter().any(|term| term.matches(kind, value)));
        match &self.test {
            Test::IsNull => values.is_empty(),
            Test::IsSet => !values.is_empty(),
            Test::Any(terms) => any(terms),
            Test::None(terms) => !values.is_empty() && !any(terms),
        }
    }
}

impl Test {
    fn parse(text: &str, field: &Field) -> Result<Self, Problem> {
        let terms = |text: &str| text.split('|').map(|term| Term::parse(term, field)).collect::<Result<_, _>>();
        match text {
            "null" => Ok(Self::IsNull),
            "!null" => Ok(Self::IsSet),
            text => match text.strip_prefix('!') {
                Some(text) => Ok(Self::None(terms(text)?)),
                None => Ok(Self::Any(terms(text)?)),
            },
        }
    }
}

impl Term {
    fn parse(text: &str, field: &Field) -> Result<Self, Problem> {
        let value = |text: &str| value(text, field);
        if let Some(text) = text.strip_prefix("<=") {
            return Ok(Self::AtMost(value(text)?));
        }
        if let Some(text) = text.strip_prefix(">=") {
            return Ok(Self::AtLeast(value(text)?));
        }
        if let Some(text) = text.strip_prefix('<') {
            return Ok(Self::Below(value(text)?));
        }
        if let Some(text) = text.strip_prefix('>') {
            return Ok(Self::Above(value(text)?));
        }
        match text.split_once("..") {
            Some((from, to)) if !from.is_empty() && !to.is_empty() => Ok(Self::Between(value(from)?, value(to)?)),
            _ if text.contains('*') => Ok(Self::Like(Pattern::parse(text))),
            _ => Ok(Self::Is(value(text)?)),
        }
    }

    fn matches(&self, kind: Kind, found: &Value) -> bool {
        let against = |value: &Value| compare(kind, found, value);
        match self {
            Self::Is(value) => against(value) == Some(Ordering::Equal),
            Self::Like(pattern) => match found {
                Value::String(text) => pattern.matches(text),
                found => pattern.matches(&found.to_string()),
            },
            Self::Below(value) => against(value) == Some(Ordering::Less),
            Self::AtMost(value) => against(value).is_some_and(Ordering::is_le),
            Self::Above(value) => against(value) == Some(Ordering::Greater),
            Self::AtLeast(value) => against(value).is_some_and(Ordering::is_ge),
            Self::Between(from, to) => {
                against(from).is_some_and(Ordering::is_ge) && against(to).is_some_and(Ordering::is_le)
            }
        }
    }
}

impl Pattern {
    fn parse(text: &str) -> Self {
        let mut parts = text.split('*').map(str::to_owned);
        let first = parts.next().unwrap_or_default();
        let mut middle: Vec<_> = parts.collect();
        let last = middle.pop().unwrap_or_default();
        Self { first, middle, last }
    }

    fn matches(&self, text: &str) -> bool {
        let Some(rest) = text.strip_prefix(self.first.as_str()) else { return false };
        let Some(mut rest) = rest.strip_suffix(self.last.as_str()) else { return false };
        for part in &self.middle {
            match rest.split_once(part.as_str()) {
                Some((_, behind)) => rest = behind,
                None => return false,
            }
        }
        true
    }
}

/// A value of a field, as a parameter spells it.
fn value(text: &str, field: &Field) -> Result<Value, Problem> {
    let refused =
        |what| codes::invalid(field.path, format!("\"{text}\" is no value of \"{}\", which is {what}.", field.path));
    match field.kind {
        Kind::Text | Kind::Secret | Kind::Texts | Kind::OneOf(_) => Ok(Value::from(text)),
        Kind::Integer => integer(text).map(Value::from).ok_or_else(|| refused("a whole number")),
        Kind::Boolean => boolean(text).map(Value::from).ok_or_else(|| refused("true or false")),
        Kind::Time => match text.parse::<Timestamp>() {
            Ok(_) => Ok(Value::from(text)),
            Err(_) => Err(refused("a time such as 2026-11-21T18:00:00+00:00")),
        },
    }
}

/// A whole number, which may have a suffix of size.
fn integer(text: &str) -> Option<i64> {
    const SUFFIXES: [(&str, u32); 5] = [("KB", 10), ("MB", 20), ("GB", 30), ("TB", 40), ("PB", 50)];
    let text = text.trim();
    let sized = SUFFIXES.iter().find_map(|(suffix, bits)| {
        let at = text.len().checked_sub(suffix.len())?;
        let (number, end) = text.split_at_checked(at)?;
        end.eq_ignore_ascii_case(suffix).then_some((number, *bits))
    });
    match sized {
        Some((number, bits)) => number.trim().parse::<i64>().ok()?.checked_mul(1_i64.checked_shl(bits)?),
        None => text.parse().ok(),
    }
}

/// How two values of a kind lie.
pub(crate) fn compare(kind: Kind, a: &Value, b: &Value) -> Option<Ordering> {
    match kind {
        Kind::Integer => Some(a.as_i64()?.cmp(&b.as_i64()?)),
        Kind::Boolean => Some(a.as_bool()?.cmp(&b.as_bool()?)),
        Kind::Time => {
            let time = |value: &Value| value.as_str()?.parse::<Timestamp>().ok();
            Some(time(a)?.cmp(&time(b)?))
        }
        Kind::Text | Kind::Secret | Kind::Texts | Kind::OneOf(_) => Some(a.as_str()?.cmp(b.as_str()?)),
    }
}
