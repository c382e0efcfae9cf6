//! What a collection of records must be able to do.

use crate::call::Call;
use crate::conventions::fields::Wanted;
use crate::conventions::filter::Filters;
use crate::problem::Problem;
use crate::record::Record;
use crate::schema::Schema;

/// A collection of records of one kind.
pub(crate) trait Resource: Sync {
    fn schema(&self) -> &'static Schema;

    /// Up to `limit` rows behind the place `after`, in an order that never changes, without their expensive fields. Fewer mean that there are
    /// no more. Filters may be used to read less; who calls applies them.
    fn rows(&self, call: &Call<'_>, filters: &Filters, after: Option<&str>, limit: usize) -> Result<Vec<Row>, Problem>;

    /// The record that the path names, without its expensive fields.
    fn one(&self, call: &Call<'_>) -> Result<Record, Problem>;

    /// Adds the expensive fields that are wanted.
    fn compute(&self, _call: &Call<'_>, _record: &mut Record, _wanted: &Wanted) -> Result<(), Problem> {
        Ok(())
    }
}

/// A place in a collection, and the record there; none where what it is made of is damaged, which `verify` tells of.
pub(crate) struct Row {
    pub(crate) place: String,
    pub(crate) record: Option<Record>,
}

impl Row {
    pub(crate) const fn new(place: String, record: Record) -> Self {
        Self { place, record: Some(record) }
    }
}

/// The part of a collection that fits into memory: rows behind `after`, in the order of their places.
pub(crate) fn few(mut rows: Vec<Row>, after: Option<&str>, limit: usize) -> Vec<Row> {
    rows.sort_by(|a, b| a.place.cmp(&b.place));
    rows.into_iter().filter(|row| after.is_none_or(|after| row.place.as_str() > after)).take(limit).collect()
}
