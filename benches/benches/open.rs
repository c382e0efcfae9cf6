//! Opening a key that is not cached anywhere but in the store's memory, beside the store's own get of the same record.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use claviger::store::MemoryStore;
use claviger::{SledStore, Store, StoreOptions, Table};
use claviger_benches::{Aim, Case, Hierarchy, Report};

const AIM: Aim = Aim::Plus(Duration::from_nanos(600));

fn main() -> Result<()> {
    let mut report = Report::from_args();
    for count in [1_000, 100_000] {
        let dir = tempfile::tempdir()?;
        let sled = SledStore::create(&dir.path().join("store"), &StoreOptions::default())?;
        let stores: [(_, Arc<dyn Store>); 2] = [("sled", Arc::new(sled)), ("memory", Arc::<MemoryStore>::default())];
        for (name, store) in stores {
            let hierarchy = Hierarchy::new(store, report.scaled(count))?;
            open(&mut report, &format!("open/{name}/{count}"), &hierarchy)?;
        }
    }
    report.finish();
    Ok(())
}

fn open(report: &mut Report, name: &str, hierarchy: &Hierarchy) -> Result<()> {
    let Hierarchy { engine, svm, store, volumes } = hierarchy;
    let records = hierarchy.records();
    // All are read once, so that all are warm. The two cases go round in the same order and are apart in it.
    for record in &records {
        store.get(Table::Keys, record)?.context("a record for each volume")?;
    }
    let mut opened = volumes.iter().cycle();
    let mut got = records.iter().cycle().skip(records.len() / 2);
    let open = Case::each("claviger", move || Ok(engine.open_key(*svm, *opened.next().context("a volume")?)?));
    let get = Case::each("store get", move || Ok(store.get(Table::Keys, got.next().context("a record")?)?));
    report.compare(name, open, vec![(get, AIM)])
}
