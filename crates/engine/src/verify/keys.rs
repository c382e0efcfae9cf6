//! Every key: all its blobs are opened. A page at a time, whose traces are cleared at once.

use std::collections::BTreeMap;
use std::sync::Arc;

use claviger_secret::{Burning, burned};
use claviger_store::{Entry, Store, Table};
use claviger_wrap::{KekVersion, SvmId};
use uuid::Uuid;

use super::diagnosis;
use super::relations::missing_list;
use super::report::{Findings, Problem, Unavailable, Unchecked};
use crate::engine::Core;
use crate::key_error::KeyError;
use crate::key_record::{KeyRecord, KeyRecordError, ObjectRef, parse_store_key};
use crate::keys::{each_page, open_keks};
use crate::live::{Closed, Keks, OpenKeks};
use crate::records::{KekList, RecordError, RecordName, SvmKeystores, SvmRecord};

/// The check of all key records of a store.
pub(super) struct Keys<'a> {
    pub(super) core: &'a Core,
    /// Where the keys lie: in the hierarchy's own store, or in a copy of it.
    pub(super) store: &'a dyn Store,
    pub(super) findings: &'a mut Findings,
    pub(super) unchecked: &'a mut BTreeMap<SvmId, Unchecked>,
    /// Key records there are.
    pub(super) seen: u64,
    /// Those whose blobs all open.
    pub(super) opened: u64,
    pub(super) blobs: BlobCounts,
}

/// Blobs that opened, by their KEKs, of each SVM that has a key record.
pub(super) type BlobCounts = BTreeMap<SvmId, BTreeMap<KekVersion, u64>>;

impl Keys<'_> {
    pub(super) fn check_all(&mut self, progress: &mut impl FnMut(u64)) -> Result<(), KeyError> {
        let store = self.store;
        each_page(store, &[], |page| {
            let closed: Vec<&Entry> = burned(|burning| self.open_page(burning, page));
            for entry in closed {
                self.look_again(&entry.key)?;
            }
            progress(self.seen);
            Ok(())
        })
    }

    /// Opens the records of a page, and returns those that do not open, for whatever reason.
    fn open_page<'p>(&mut self, burning: &Burning, page: &'p [Entry]) -> Vec<&'p Entry> {
        let mut closed = Vec::new();
        for of_one_svm in page.chunk_by(|a, b| svm_part(a) == svm_part(b)) {
            // Loaded after the page was read. A rekey may have dropped the KEK of a blob in between: it is read again then.
            let svm = of_one_svm.first().and_then(svm_part).map(|svm| SvmId::from_bytes(*svm));
            let keks = svm.and_then(|svm| self.core.live.svm(svm)).map(|svm| svm.keks.load_full());
            let (Some(svm), Some(Keks::Open(open))) = (svm, keks.as_deref()) else {
                closed.extend(of_one_svm);
                continue;
            };
            let mut blobs = Blobs::default();
            for entry in of_one_svm {
                match self.open_entry(burning, open, entry, &mut blobs) {
                    Ok(()) => self.opened += 1,
                    Err(_) => closed.push(entry),
                }
            }
            self.count(svm, open, &blobs);
        }
        let opened = page.len().saturating_sub(closed.len());
        self.seen += u64::try_from(opened).unwrap_or(u64::MAX);
        closed
    }

    fn open_entry(&self, burning: &Burning, open: &OpenKeks, entry: &Entry, blobs: &mut Blobs) -> Result<(), KeyError> {
        let (svm, object) = parse(&entry.key)?;
        let record = layout(svm, object, &entry.value)?;
        for blob in record.blobs() {
            self.core.open_blob(burning, open, object, blob)?;
        }
        blobs.add(open, &record);
        Ok(())
    }

    /// Reads a record that did not open once more, until it and the KEKs are of one time.
    fn look_again(&mut self, key: &[u8]) -> Result<(), KeyError> {
        loop {
            let Some((svm, object)) = parse(key).ok() else { return self.under_no_key(key) };
            let live = self.core.live.svm(svm);
            let keks = live.as_ref().map(|svm| svm.keks.load_full());
            let Some(raw) = self.read(key)? else { return Ok(()) };
            let opened = match keks.as_deref() {
                Some(keks) => self.core.open_record(keks, svm, object, &raw),
                None => Err(KeyError::UnknownSvm { svm }),
            };
            let error = match (opened, keks.as_deref()) {
                (Ok(_), Some(Keks::Open(open))) => {
                    self.seen += 1;
                    self.opened += 1;
                    let mut blobs = Blobs::default();
                    blobs.add(open, &layout(svm, object, &raw)?);
                    self.count(svm, open, &blobs);
                    return Ok(());
                }
                (Ok(_), _) => continue,
                (Err(error), _) => error,
            };
            let keks_changed = match (&live, &keks) {
                (Some(live), Some(keks)) => live.changed_since(keks),
                _ => self.core.live.svm(svm).is_some(),
            };
            if keks_changed || self.read(key)?.as_ref() != Some(&raw) {
                continue;
            }
            return self.closed(keks.as_ref(), key, &raw, (svm, object), error);
        }
    }

    /// A record that does not open, and has not changed since.
    fn closed(
        &mut self,
        keks: Option<&Arc<Keks>>,
        key: &[u8],
        raw: &[u8],
        (svm, object): (SvmId, ObjectRef),
        error: KeyError,
    ) -> Result<(), KeyError> {
        self.seen += 1;
        let keks = keks.map(Arc::as_ref);
        let has_keks = keks.is_some_and(|keks| open_keks(keks, svm).is_ok());
        // What can be told without the KEK is told.
        let error = match layout(svm, object, raw) {
            Ok(_) if !has_keks => return self.not_checked(svm),
            Ok(_) => error,
            Err(error) => error,
        };
        let (problem, detail) = diagnosis::of_key(self.core, keks, key, raw, error)?;
        self.findings.add(diagnosis::key_record(key), problem, detail);
        Ok(())
    }

    /// Counts a key whose KEK cannot be had.
    fn not_checked(&mut self, svm: SvmId) -> Result<(), KeyError> {
        if !self.unchecked.contains_key(&svm) {
            let unchecked = self.why(svm)?;
            self.unchecked.insert(svm, unchecked);
        }
        if let Some(unchecked) = self.unchecked.get_mut(&svm) {
            unchecked.keys += 1;
        }
        Ok(())
    }

    /// Why the KEKs of an SVM are not in memory, of which the check of the records knows nothing.
    fn why(&mut self, svm: SvmId) -> Result<Unchecked, KeyError> {
        let list = RecordName::of::<KekList>(&KekList::key_of(svm));
        let (depends_on, why) = match self.core.records.read::<KekList>(&list.key) {
            Ok(None) => {
                self.findings.add(list.clone(), Problem::Missing, missing_list("keys"));
                let own = SvmRecord::key_of(svm);
                if self.core.records.store().get(Table::Svms, &own)?.is_none() {
                    let detail =
                        "the SVM has keys, and no record of its own: put it back from a copy, or restore a backup";
                    self.findings.add(RecordName::of::<SvmRecord>(&own), Problem::Missing, detail);
                }
                (list, Unavailable::Missing)
            }
            Ok(Some(read)) => self.since_opening(svm, list, &read.body),
            Err(error @ RecordError::Store(_)) => return Err(error.into()),
            Err(_) => (list, Unavailable::Damaged),
        };
        Ok(Unchecked { svm, keys: 0, depends_on, why })
    }

    /// What kept KEKs from memory when the hierarchy was opened, and would no longer.
    fn since_opening(&self, svm: SvmId, name: RecordName, list: &KekList) -> (RecordName, Unavailable) {
        let keystore = || {
            let live = self.core.live.svm(svm).map(|live| live.keystores.load_full());
            let record_of = |keystore: Uuid| match live.as_ref().and_then(|live| live.get(keystore)) {
                Some(_) => RecordName::of::<SvmKeystores>(&SvmKeystores::key_of(svm)),
                None => RecordName { table: Table::Keystores, key: keystore.as_bytes().to_vec() },
            };
            let mut kept = list.entries().flat_map(|entry| &entry.kept);
            kept.next().map_or_else(|| name.clone(), |kept| record_of(kept.keystore))
        };
        match self.core.live.svm(svm).map(|svm| svm.keks.load_full()).as_deref() {
            Some(Keks::Closed { why: Closed::Keeper(trouble), .. }) if trouble.is_refusal() => {
                (keystore(), Unavailable::KeeperRefused)
            }
            Some(Keks::Closed { why: Closed::Keeper(_) | Closed::NotFetched, .. }) => {
                (keystore(), Unavailable::KeeperUnreachable)
            }
            Some(Keks::Closed { why: Closed::NoKeeper | Closed::KeystoresDamaged, .. }) => {
                (keystore(), Unavailable::Damaged)
            }
            _ => (name, Unavailable::NoRoom),
        }
    }

    /// A record under a key that is no key record's.
    fn under_no_key(&mut self, key: &[u8]) -> Result<(), KeyError> {
        if let (Some(raw), Err(error)) = (self.read(key)?, parse(key)) {
            self.seen += 1;
            let (problem, detail) = diagnosis::of_key(self.core, None, key, &raw, error)?;
            self.findings.add(diagnosis::key_record(key), problem, detail);
        }
        Ok(())
    }

    fn read(&self, key: &[u8]) -> Result<Option<Vec<u8>>, KeyError> {
        Ok(self.store.get(Table::Keys, key)?)
    }

    fn count(&mut self, svm: SvmId, open: &OpenKeks, blobs: &Blobs) {
        let of_svm = self.blobs.entry(svm).or_default();
        *of_svm.entry(open.current.kek.version()).or_default() += blobs.current;
        if let Some(retiring) = &open.retiring {
            *of_svm.entry(retiring.kek.version()).or_default() += blobs.retiring;
        }
    }
}

/// Blobs that opened, by the KEK that they are under.
#[derive(Default)]
struct Blobs {
    current: u64,
    retiring: u64,
}

impl Blobs {
    fn add(&mut self, open: &OpenKeks, record: &KeyRecord<'_>) {
        for blob in record.blobs() {
            match blob.header().kek_version == open.current.kek.version() {
                true => self.current += 1,
                false => self.retiring += 1,
            }
        }
    }
}

/// The SVM that a key record's key begins with.
fn svm_part(entry: &Entry) -> Option<&[u8; 16]> {
    entry.key.first_chunk()
}

fn parse(key: &[u8]) -> Result<(SvmId, ObjectRef), KeyError> {
    parse_store_key(key).map_err(|source: KeyRecordError| KeyError::StoreKey { key: key.to_vec(), source })
}

fn layout(svm: SvmId, object: ObjectRef, raw: &[u8]) -> Result<KeyRecord<'_>, KeyError> {
    KeyRecord::parse(svm, object, raw).map_err(|source| KeyError::Layout { object, source })
}
