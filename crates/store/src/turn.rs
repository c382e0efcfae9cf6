//! The rules of [`Store::commit`](crate::Store::commit) and [`Store::replace_each`](crate::Store::replace_each) about one
//! record after the other, for a stretch of time in which nobody else changes anything.

use crate::{Expectation, Outcome, Replacement, Table};

/// What a database offers for that stretch.
pub(crate) trait Records {
    type Error;

    /// Whether the record is as expected.
    fn holds(&mut self, expectation: &Expectation) -> Result<bool, Self::Error>;

    /// Replaces the record if it is as expected, and tells whether it was.
    fn replace(&mut self, table: Table, item: &Replacement) -> Result<bool, Self::Error>;
}

/// The first of these that is not met.
pub(crate) fn first_unmet<'a, R: Records>(
    records: &mut R,
    expectations: &'a [Expectation],
) -> Result<Option<&'a Expectation>, R::Error> {
    for expectation in expectations {
        if !records.holds(expectation)? {
            return Ok(Some(expectation));
        }
    }
    Ok(None)
}

/// A part of a call of `replace_each`.
pub(crate) struct Turn<'a, R> {
    records: R,
    table: Table,
    guard: &'a [Expectation],
    /// Whether the guard holds. Looked at again only where this turn itself changes a record that the guard is about.
    guarded: bool,
}

impl<'a, R: Records> Turn<'a, R> {
    pub(crate) fn begin(mut records: R, table: Table, guard: &'a [Expectation]) -> Result<Self, R::Error> {
        let guarded = first_unmet(&mut records, guard)?.is_none();
        Ok(Self { records, table, guard, guarded })
    }

    /// What becomes of the next item.
    pub(crate) fn take(&mut self, item: &Replacement) -> Result<Outcome, R::Error> {
        if !self.guarded {
            return Ok(Outcome::Refused);
        }
        if !self.records.replace(self.table, item)? {
            return Ok(Outcome::Changed);
        }
        if self.guard.iter().any(|guard| guard.table == self.table && guard.key == item.key) {
            self.guarded = first_unmet(&mut self.records, self.guard)?.is_none();
        }
        Ok(Outcome::Replaced)
    }
}
