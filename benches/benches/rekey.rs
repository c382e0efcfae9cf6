//! Rekeying an SVM, beside the store's own durable rewrite of the same records: read a page, replace each record of it by as
//! many other bytes. Both stores have been rewritten equally often at each comparison.

use std::cell::RefCell;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use claviger::Table;
use claviger::store::{Entry, Expect, Outcome, Replacement};
use claviger::{
    Arena, ArenaOptions, KekVersion, KeyAlgorithm, KeyType, KeyVersion, SledOptions, SledStore, Store, SvmId,
};
use claviger_benches::{Aim, Case, Hierarchy, PAGE, Report};
use claviger_secret::{Burning, burned};
use claviger_wrap::{Kek, KeyBlob, KeyPlace, ObjectId, PlainKey, SealCount, SystemRandom, fill};

const AIM: Aim = Aim::Times(1.3);
const KEYS: usize = 100_000;

fn main() -> Result<()> {
    let mut report = Report::from_args();
    let dir = tempfile::tempdir()?;
    let new_store = |name| SledStore::create(&dir.path().join(name), &SledOptions::default());
    let hierarchy = Hierarchy::new(Arc::new(new_store("hierarchy")?), report.scaled(KEYS))?;
    let bare = new_store("bare")?;
    hierarchy.copy_records(&bare)?;

    let pieces = RefCell::new(Vec::new());
    let Hierarchy { engine, svm, volumes, .. } = &hierarchy;
    let rekey = Case::each("claviger", || Ok(engine.rekey_internal(*svm)?.wait()?));
    let rewrite = Case::new("store rewrite", |times| {
        let mut took = Duration::ZERO;
        for _ in 0..times {
            let pieces_of_one = rewrite(&bare)?;
            took += pieces_of_one.all;
            pieces.borrow_mut().push(pieces_of_one);
        }
        Ok(took)
    });
    let name = format!("rekey/{}", volumes.len());
    report.compare(&name, rekey, vec![(rewrite, AIM)])?;

    let middle = |piece: fn(&Pieces) -> Duration| {
        let mut all: Vec<_> = pieces.borrow().iter().map(piece).collect();
        all.sort_unstable();
        all.get(all.len() / 2).copied().unwrap_or_default()
    };
    report.part(&format!("{name} scan"), middle(|pieces| pieces.scan));
    report.part(&format!("{name} replace_each"), middle(|pieces| pieces.replace));
    report.part(&format!("{name} unwrap and wrap"), crypto(volumes.len())?);
    report.finish();
    Ok(())
}

struct Pieces {
    all: Duration,
    scan: Duration,
    replace: Duration,
}

/// Replaces every record by other bytes, durably.
fn rewrite(store: &dyn Store) -> Result<Pieces> {
    let mut random = vec![0; 64 * 1024];
    fill(&mut SystemRandom, &mut random)?;
    let (mut scan, mut replace) = (Duration::ZERO, Duration::ZERO);
    let mut after: Option<Vec<u8>> = None;
    let start = Instant::now();
    loop {
        let page_start = Instant::now();
        let page = store.scan(Table::Keys, &[], after.as_deref(), PAGE)?;
        scan += page_start.elapsed();
        after = page.last().map(|last| last.key.clone());
        let is_last = page.len() < PAGE;

        let windows = (0..random.len()).step_by(7).cycle();
        let other_bytes = |(Entry { key, value }, at): (Entry, usize)| {
            let other = random.get(at..).and_then(|rest| rest.get(..value.len())).unwrap_or(&value).to_vec();
            Replacement { key, value: other, expect: Expect::Exactly(value) }
        };
        let items: Vec<_> = page.into_iter().zip(windows).map(other_bytes).collect();
        let replace_start = Instant::now();
        let outcomes = store.replace_each(Table::Keys, &items, &[])?;
        replace += replace_start.elapsed();
        ensure!(outcomes.iter().all(|outcome| *outcome == Outcome::Replaced), "a record was not as it had been read");
        if is_last {
            return Ok(Pieces { all: start.elapsed(), scan, replace });
        }
    }
}

/// Opens `count` blobs under one KEK and seals them under another, in memory.
fn crypto(count: usize) -> Result<Duration> {
    let arena = Arena::new(&ArenaOptions::default())?;
    let kek = || -> Result<Kek> {
        let kek = Kek::generate(&arena, KekVersion::FIRST, &mut SystemRandom)?;
        kek.seals().raise(SealCount::LIMIT);
        Ok(kek)
    };
    let (old, new) = (kek()?, kek()?);
    let (svm, key_type, version) = (SvmId::random(), KeyType::Vek, KeyVersion::FIRST);
    let mut nonces = old.nonces(PAGE, &mut SystemRandom)?;
    let blob = |_| {
        let place = KeyPlace { svm, key_type, object: ObjectId::random(), version };
        let key = PlainKey::generate(&arena, KeyAlgorithm::XtsAes256, &mut SystemRandom)?;
        let mut blob = Vec::new();
        old.seal(&key, &place, nonces.take()?, &mut blob)?;
        Ok(blob)
    };
    let blobs = (0..PAGE).map(blob).collect::<Result<Vec<_>>>()?;

    let start = Instant::now();
    for _ in 0..count.div_ceil(PAGE) {
        let mut nonces = new.nonces(PAGE, &mut SystemRandom)?;
        let mut rewrap = |burning: &Burning, blob: &Vec<u8>| -> Result<()> {
            let blob = KeyBlob::parse(blob)?;
            let place = &blob.header().place;
            let key = old.open_among(burning, &arena, &blob, place)?;
            let mut rewrapped = Vec::with_capacity(blob.as_bytes().len());
            new.seal_among(burning, &key, place, nonces.take()?, &mut rewrapped)?;
            black_box(rewrapped);
            Ok(())
        };
        burned(|burning| blobs.iter().try_for_each(|blob| rewrap(burning, blob)))?;
    }
    Ok(start.elapsed())
}
