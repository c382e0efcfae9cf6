//! The parameters of a request, each at most once.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::codes;
use crate::problem::Problem;

/// The longest wait that a request can ask for.
const LONGEST_WAIT: u64 = 120;

/// The parameters of a request by name; each is taken out as it is read, and what is left over is unknown.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query {
    given: BTreeMap<String, String>,
}

impl Query {
    /// Reads the part of the address after the question mark.
    pub(crate) fn parse(raw: &str) -> Result<Self, Problem> {
        let mut given = BTreeMap::new();
        for (name, value) in form_urlencoded::parse(raw.as_bytes()) {
            let name = name.into_owned();
            if given.insert(name.clone(), value.into_owned()).is_some() {
                return Err(codes::invalid(&name, format!("The parameter \"{name}\" is given twice.")));
            }
        }
        Ok(Self { given })
    }

    pub(crate) fn take(&mut self, name: &str) -> Option<String> {
        self.given.remove(name)
    }

    /// A flag; the official client spells it `True`.
    pub(crate) fn take_flag(&mut self, name: &str) -> Result<Option<bool>, Problem> {
        let flag = |text: String| {
            boolean(&text).ok_or_else(|| codes::invalid(name, format!("\"{name}\" must be true or false.")))
        };
        self.take(name).map(flag).transpose()
    }

    pub(crate) fn take_number(&mut self, name: &str) -> Result<Option<u64>, Problem> {
        let number = |text: String| {
            text.trim().parse().map_err(|_| codes::invalid(name, format!("\"{name}\" must be a whole number.")))
        };
        self.take(name).map(number).transpose()
    }

    /// `return_timeout`: 0 to 120 seconds.
    pub(crate) fn take_wait(&mut self, default: Duration) -> Result<Duration, Problem> {
        match self.take_number("return_timeout")? {
            None => Ok(default),
            Some(seconds) if seconds <= LONGEST_WAIT => Ok(Duration::from_secs(seconds)),
            Some(_) => Err(codes::invalid(
                "return_timeout",
                format!("\"return_timeout\" must be 0 to {LONGEST_WAIT} seconds."),
            )),
        }
    }

    /// The same with another value for one parameter.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.given.insert(name.to_owned(), value.to_owned());
        self
    }

    /// The address of these parameters at a path.
    pub(crate) fn address(&self, path: &str) -> String {
        let query: String = form_urlencoded::Serializer::new(String::new()).extend_pairs(&self.given).finish();
        format!("{path}?{query}")
    }

    /// All that is given.
    pub(crate) fn all(&self) -> BTreeMap<String, String> {
        self.given.clone()
    }

    /// Takes all that is left.
    pub(crate) fn take_rest(&mut self) -> BTreeMap<String, String> {
        std::mem::take(&mut self.given)
    }

    /// Takes the parameters with these names.
    pub(crate) fn split_off<'a>(&mut self, names: impl Iterator<Item = &'a str>) -> Self {
        let given = names.filter_map(|name| Some((name.to_owned(), self.take(name)?))).collect();
        Self { given }
    }

    /// Whatever has not been taken is not known.
    pub(crate) fn end(self) -> Result<(), Problem> {
        match self.given.keys().next() {
            None => Ok(()),
            Some(name) => Err(unknown(name)),
        }
    }
}

pub(crate) fn unknown(name: &str) -> Problem {
    codes::invalid(name, format!("The parameter \"{name}\" is not known here."))
}

/// True or false in any letter case.
pub(crate) fn boolean(text: &str) -> Option<bool> {
    match text {
        text if text.eq_ignore_ascii_case("true") => Some(true),
        text if text.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}
