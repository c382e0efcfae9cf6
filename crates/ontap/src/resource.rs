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

    /// Refuses a path whose upper parts name nothing.
    fn exists(&self, _call: &Call<'_>) -> Result<(), Problem> {
        Ok(())
    }

    /// Whether any of the fields that are wanted is added by [`Resource::compute`].
    fn computes(&self, wanted: &Wanted) -> bool {
        wanted.has_expensive(self.schema())
    }

    /// Adds the fields that are wanted and take work.
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

/// Rows of a collection that fits into memory: of those behind `after`, in the order of their places. Records are made of no others.
pub(crate) fn few<T>(
    all: impl IntoIterator<Item = T>,
    place: impl Fn(&T) -> String,
    after: Option<&str>,
    limit: usize,
    record: impl Fn(&T) -> Option<Record>,
) -> Vec<Row> {
    let placed = all.into_iter().map(|one| (place(&one), one));
    let mut behind: Vec<_> = placed.filter(|(place, _)| after.is_none_or(|after| place.as_str() > after)).collect();
    behind.sort_by(|(a, _), (b, _)| a.cmp(b));
    behind.truncate(limit);
    behind.into_iter().map(|(place, one)| Row { record: record(&one), place }).collect()
}
