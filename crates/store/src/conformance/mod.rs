//! The suite that every store must pass, claviger's own and those of embedders.
//!
//! Each case panics where the store is not as [`Store`] says. [`run`] runs them all; with [`CASES`], each can be made a
//! test of its own. A store that outlives its process also passes [`run_persistent`].
//!
//! ```
//! use claviger_store::{MemoryStore, conformance};
//!
//! conformance::run(&|| Box::new(MemoryStore::default()));
//! ```
// A suite speaks by panicking.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::missing_panics_doc, clippy::panic, clippy::unwrap_used)]

mod batches;
mod bulk;
mod model;
mod persistent;
mod races;
mod scans;

pub use persistent::run_persistent;

use crate::{Batch, Expect, Store, Table};

/// One case of the suite.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    name: &'static str,
    check: fn(&dyn Store),
}

impl Case {
    /// What the case checks, as a Rust identifier.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Checks a store, which must be empty.
    pub fn check(&self, store: &dyn Store) {
        (self.check)(store);
    }
}

/// Runs every case, each on a store of its own: `make` returns a new and empty one each time.
pub fn run(make: &dyn Fn() -> Box<dyn Store>) {
    for case in CASES {
        case.check(&*make());
    }
}

macro_rules! cases {
    ($($module:ident { $($case:ident,)* })*) => {
        /// All cases.
        pub const CASES: &[Case] = &[$($(Case { name: stringify!($case), check: $module::$case },)*)*];
    };
}

cases! {
    scans {
        keys_are_ordered_as_unsigned_bytes,
        a_prefix_selects_the_keys_that_begin_with_it,
        after_is_exclusive_and_need_not_be_a_record,
        a_limit_divides_a_scan_into_pages,
        tables_do_not_mix,
    }
    batches {
        a_record_is_put_replaced_and_deleted,
        keys_and_values_may_be_empty_and_as_large_as_allowed,
        larger_keys_and_values_are_refused,
        a_conflict_changes_nothing,
        a_conflict_names_the_first_unmet_expectation,
        expectations_see_the_state_before_the_batch,
        a_batch_may_only_expect_or_be_empty,
        a_batch_has_at_most_128_operations,
        a_batch_changes_a_record_once,
    }
    bulk {
        each_item_has_its_own_outcome,
        outcomes_are_in_the_order_of_many_items,
        guards_are_about_any_table,
        a_guard_that_the_call_itself_changes_holds_no_more,
        an_item_that_is_too_large_stops_all,
    }
    races {
        increments_by_commit_are_not_lost,
        increments_by_replacement_are_not_lost,
        increments_by_both_are_not_lost,
        one_of_many_creates_a_record,
        a_scan_sees_all_of_a_commit_or_nothing,
        no_replacement_lands_after_its_guard_changed,
    }
    model {
        random_operations_agree_with_a_model,
    }
}

/// Puts one record.
fn put(store: &dyn Store, table: Table, key: &[u8], value: &[u8]) {
    store.commit(Batch::new().put(table, key, value)).unwrap();
}

fn exactly(value: &[u8]) -> Expect {
    Expect::Exactly(value.to_vec())
}

/// All records of a table as pairs.
fn all(store: &dyn Store, table: Table) -> Vec<(Vec<u8>, Vec<u8>)> {
    let entries = store.scan(table, &[], None, usize::MAX).unwrap();
    entries.into_iter().map(|entry| (entry.key, entry.value)).collect()
}
