//! Creating a key, beside the commit of one record of the same size to a store of the same kind and size in the same file
//! system.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use claviger::store::{Batch, Expect};
use claviger::{KeyAlgorithm, ObjectRef, SledStore, Store as _, StoreOptions, Table};
use claviger_benches::{Aim, Case, Hierarchy, Report, record_of};
use uuid::Uuid;

const AIM: Aim = Aim::Times(1.3);
const KEYS_BEFORE: usize = 10_000;

fn main() -> Result<()> {
    let mut report = Report::from_args();
    let dir = tempfile::tempdir()?;
    let new_store = |name| SledStore::create(&dir.path().join(name), &StoreOptions::default());
    let hierarchy = Hierarchy::new(Arc::new(new_store("hierarchy")?), report.scaled(KEYS_BEFORE))?;
    let bare = new_store("bare")?;
    hierarchy.copy_records(&bare)?;

    let Hierarchy { engine, svm, store, .. } = &hierarchy;
    let first = hierarchy.records().into_iter().next().context("a record")?;
    let value = store.get(Table::Keys, &first)?.context("a record")?;
    let new_volume = || ObjectRef::Volume(Uuid::new_v4());
    let create = Case::each("claviger", || Ok(engine.create_key(*svm, new_volume(), KeyAlgorithm::XtsAes256)?));
    let commit = Case::each("store commit", || {
        let key = record_of(*svm, new_volume());
        let batch = Batch::new().require(Table::Keys, key.clone(), Expect::Absent).put(Table::Keys, key, value.clone());
        Ok(bare.commit(batch)?)
    });
    report.compare("create/sled", create, vec![(commit, AIM)])?;
    report.finish();
    Ok(())
}
