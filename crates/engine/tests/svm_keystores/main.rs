//! The keystores of an SVM over a Barbican that is a vault in memory: what each operation refuses and does, how keystores
//! stand, and what an outage costs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

macro_rules! assert_matches {
    ($value:expr, $($pattern:tt)+) => {{
        let value = &$value;
        assert!(matches!(value, $($pattern)+), "{value:?}");
    }};
}

mod backup;
mod changed_below;
#[path = "../common/mod.rs"]
mod common;
mod exclusion;
mod interrupted;
mod outages;
mod refusals;
mod stage;
mod states;
mod update;
mod verify;
mod wrong_keys;
