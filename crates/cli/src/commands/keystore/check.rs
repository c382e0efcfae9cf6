//! `claviger keystore check`.

use std::fmt;

use claviger::Hop;
use serde::Serialize;
use uuid::Uuid;

use super::resolve;
use crate::args::KeystoreArg;
use crate::failure::Failure;
use crate::session::Session;

/// What came of it. As text, the hops stand before it already.
#[derive(Serialize)]
struct Checked {
    keystore: Uuid,
    passed: bool,
    hops: Vec<HopView>,
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "keystore {}: all is well, hops: {}", self.keystore, self.hops.len())
    }
}

#[derive(Serialize)]
struct HopView {
    hop: String,
    passed: bool,
    milliseconds: u64,
    /// What was met, or why it failed.
    outcome: String,
}

impl HopView {
    fn of(hop: &Hop) -> Self {
        Self {
            hop: hop.name.to_string(),
            passed: hop.outcome.is_ok(),
            milliseconds: u64::try_from(hop.took.as_millis()).unwrap_or(u64::MAX),
            outcome: hop.outcome.clone().unwrap_or_else(|why| why),
        }
    }
}

impl fmt::Display for HopView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { hop, passed, milliseconds, outcome } = self;
        let passed = if *passed { "ok" } else { "failed" };
        write!(f, "{hop:15}  {passed:6}  {milliseconds:>6} ms  {outcome}")
    }
}

/// The hops are the result, whether or not the last one failed.
pub(super) fn run(session: &Session<'_>, keystore: &KeystoreArg) -> Result<(), Failure> {
    let engine = session.open_offline()?;
    let keystore = resolve(&engine, keystore)?;
    if engine.keystore().is_some_and(|cluster| cluster.id == keystore) {
        session.unlock(&engine)?;
    }
    let as_json = session.output.is_json();
    let mut hops = Vec::new();
    let mut printed = Ok(());
    let checked = engine.check_keystore(keystore, |hop| {
        let hop = HopView::of(hop);
        if !as_json && printed.is_ok() {
            printed = session.output.part(format!("{hop}\n"));
        }
        hops.push(hop);
    });
    printed?;
    let passed = checked.is_ok();
    if passed || (as_json && !hops.is_empty()) {
        session.output.result(&Checked { keystore, passed, hops })?;
    }
    Ok(checked?)
}
