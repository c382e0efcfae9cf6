//! Rekeying an SVM, beside the store's own durable rewrite of the same records: read a page, replace each record of it by as
//! many other bytes. Both stores have been rewritten equally often at each comparison. The other baselines are what a rekey
//! is made of.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use claviger::Table;
use claviger::store::{Entry, Expect, Outcome, Replacement};
use claviger::{
    Arena, ArenaOptions, KekVersion, KeyAlgorithm, KeyType, KeyVersion, SledStore, Store, StoreOptions, SvmId,
};
use claviger_benches::{Aim, Case, Hierarchy, PAGE, Report};
use claviger_secret::{Burning, burned};
use claviger_wrap::{Kek, KeyBlob, KeyPlace, ObjectId, PlainKey, SealCount, SystemRandom, fill};

const AIM: Aim = Aim::Times(1.3);
const KEYS: usize = 100_000;

fn main() -> Result<()> {
    let mut report = Report::from_args();
    let dir = tempfile::tempdir()?;
    let new_store = |name| SledStore::create(&dir.path().join(name), &StoreOptions::default());
    let hierarchy = Hierarchy::new(Arc::new(new_store("hierarchy")?), report.scaled(KEYS))?;
    let (rewritten, replaced) = (new_store("rewritten")?, new_store("replaced")?);
    hierarchy.copy_records(&rewritten)?;
    hierarchy.copy_records(&replaced)?;

    let Hierarchy { engine, svm, volumes, .. } = &hierarchy;
    let crypto = Crypto::new()?;
    let mut random = vec![0; 64 * 1024];
    fill(&mut SystemRandom, &mut random)?;
    let rekey = Case::each("claviger", || Ok(engine.rekey_internal(*svm)?.wait()?));
    let baselines = vec![
        (Case::each("store rewrite", || rewrite(&rewritten, &random)), AIM),
        (Case::each("store scan", || each_page(&replaced, |page| black_box(Ok(page)).map(drop))), Aim::None),
        (Case::new("store replace_each", |times| (0..times).map(|_| replace(&replaced, &random)).sum()), Aim::None),
        (Case::each("unwrap and wrap", || crypto.rewrap(volumes.len())), Aim::None),
    ];
    report.compare(&format!("rekey/{}", volumes.len()), rekey, baselines)?;
    report.finish();
    Ok(())
}

/// Replaces every record by other bytes, durably.
fn rewrite(store: &dyn Store, random: &[u8]) -> Result<()> {
    each_page(store, |page| replace_page(store, &replacements(page, random)?))
}

/// As [`rewrite`], and only what `replace_each` takes of it.
fn replace(store: &dyn Store, random: &[u8]) -> Result<Duration> {
    let mut took = Duration::ZERO;
    each_page(store, |page| {
        let items = replacements(page, random)?;
        let start = Instant::now();
        replace_page(store, &items)?;
        took += start.elapsed();
        Ok(())
    })?;
    Ok(took)
}

fn each_page(store: &dyn Store, mut work: impl FnMut(Vec<Entry>) -> Result<()>) -> Result<()> {
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = store.scan(Table::Keys, &[], after.as_deref(), PAGE)?;
        after = page.last().map(|last| last.key.clone());
        let is_last = page.len() < PAGE;
        work(page)?;
        if is_last {
            return Ok(());
        }
    }
}

fn replacements(page: Vec<Entry>, random: &[u8]) -> Result<Vec<Replacement>> {
    let windows = (0..random.len() / 2).step_by(7).cycle();
    let by_other_bytes = |(Entry { key, value }, at): (Entry, usize)| {
        let other = random.get(at..at + value.len()).context("a record of less than 32 KiB")?.to_vec();
        Ok(Replacement { key, value: other, expect: Expect::Exactly(value) })
    };
    page.into_iter().zip(windows).map(by_other_bytes).collect()
}

fn replace_page(store: &dyn Store, items: &[Replacement]) -> Result<()> {
    let outcomes = store.replace_each(Table::Keys, items, &[])?;
    ensure!(outcomes.iter().all(|outcome| *outcome == Outcome::Replaced), "a record was not as it had been read");
    Ok(())
}

/// Two KEKs and a page of blobs under the first.
struct Crypto {
    arena: Arena,
    old: Kek,
    new: Kek,
    blobs: Vec<Vec<u8>>,
}

impl Crypto {
    fn new() -> Result<Self> {
        let arena = Arena::new(&ArenaOptions::default())?;
        let kek = || -> Result<Kek> {
            let kek = Kek::generate(&arena, KekVersion::FIRST, &mut SystemRandom)?;
            kek.seals().raise(SealCount::LIMIT);
            Ok(kek)
        };
        let (old, new) = (kek()?, kek()?);
        let (svm, key_type, version) = (SvmId::from(uuid::Uuid::new_v4()), KeyType::Vek, KeyVersion::FIRST);
        let mut nonces = old.nonces(PAGE, &mut SystemRandom)?;
        let blob = |_| {
            let place = KeyPlace { svm, key_type, object: ObjectId::from(uuid::Uuid::new_v4()), version };
            let key = PlainKey::generate(&arena, KeyAlgorithm::XtsAes256, &mut SystemRandom)?;
            let mut blob = Vec::new();
            old.seal(&key, &place, nonces.take()?, &mut blob)?;
            Ok(blob)
        };
        let blobs = (0..PAGE).map(blob).collect::<Result<Vec<_>>>()?;
        Ok(Self { arena, old, new, blobs })
    }

    /// Opens `count` blobs and seals them under the other KEK, in memory.
    fn rewrap(&self, count: usize) -> Result<()> {
        for _ in 0..count.div_ceil(PAGE) {
            let mut nonces = self.new.nonces(PAGE, &mut SystemRandom)?;
            let mut rewrap = |burning: &Burning, blob: &Vec<u8>| -> Result<()> {
                let blob = KeyBlob::parse(blob)?;
                let place = &blob.header().place;
                let key = self.old.open_among(burning, &self.arena, &blob, place)?;
                let mut rewrapped = Vec::with_capacity(blob.as_bytes().len());
                self.new.seal_among(burning, &key, place, nonces.take()?, &mut rewrapped)?;
                black_box(rewrapped);
                Ok(())
            };
            burned(|burning| self.blobs.iter().try_for_each(|blob| rewrap(burning, blob)))?;
        }
        Ok(())
    }
}
