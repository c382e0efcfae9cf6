//! Backup of the onboard hierarchy as text, and recovery from it.

pub(crate) mod text;

use std::path::Path;
use std::sync::Arc;

use claviger_secret::burned;
use claviger_store::{
    Batch, Entry, Expect, OpenError as StoreOpenError, Outcome, Replacement, Store, StoreError, Table,
};
use claviger_wrap::{Key256, Passphrase, SealCount, SvmId};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::engine::{Core, Engine, OpenEngineError, create_store};
use crate::error::{Advice, Blame, Fault};
use crate::key_error::KeyError;
use crate::key_record::{KeyRecord, parse_store_key};
use crate::keys::{PAGE, guard};
use crate::keystores::KeystoreError;
use crate::live::Keks;
use crate::onboard;
use crate::options::{KeyMemory, Options};
use crate::records::{
    Body, KekEntry, KekList, KeystoreRecord, NameRecord, NodeRecord, OnboardRecord, Operation, Read, RecordError,
    Scanned, SealRecord, SvmRecord, V1,
};
use crate::rekey::stale;
use crate::verify::{Finding, unopened};

pub use text::BackupTextError;

/// A restored KEK may have made more seals since the backup than the backup says: half of what was left is taken for used.
const fn seals_after_restore(reserved: u64) -> u64 {
    reserved + SealCount::LIMIT.saturating_sub(reserved) / 2
}

/// What a backup holds besides what the passphrase opens: no sealing key, and no keys.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Hierarchy {
    version: V1,
    made: Timestamp,
    node: NodeRecord,
    svms: Vec<SvmRecord>,
    keystore: KeystoreRecord,
    keks: Vec<KekList>,
    seals: Vec<SealRecord>,
}

impl Hierarchy {
    /// Whether the recovery of this backup puts such a record.
    fn has(&self, table: Table, key: &[u8]) -> bool {
        match table {
            Table::Svms => self.svms.iter().any(|svm| svm.key() == key || NameRecord::key_of(&svm.name) == key),
            Table::Keystores => self.keystore.key() == key,
            Table::Keks => self.keks.iter().any(|list| {
                let seals = |entry: &KekEntry| SealRecord::key_of(list.svm.into(), entry.kek_version);
                list.key() == key || list.entries().any(|entry| seals(entry) == key)
            }),
            Table::Node | Table::Keys | Table::Jobs | Table::Certificates => false,
        }
    }
}

/// What became of the keys of a copied store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Import {
    /// Keys taken over; each was opened.
    pub imported: u64,
    /// Keys that were there already, and are the same.
    pub present: u64,
    /// Keys that were not taken over, and why.
    pub findings: Vec<Finding>,
}

impl Engine {
    /// The onboard hierarchy as text, which opens with the passphrase alone: SVMs and KEKs, no keys. Make a new one after
    /// each SVM's first key, each rekey and each change of the passphrase.
    ///
    /// # Errors
    /// [`BackupError::Keystore`] where it is locked; [`BackupError::Records`] where a record is damaged: a backup that lacks
    /// something is not made.
    pub fn backup(&self) -> Result<String, BackupError> {
        let core = &self.core;
        let present = core.keystore.present()?;
        let keeper = present.keeper.ok_or(BackupError::Locked)?;
        let node = core.node.clone().ok_or(BackupError::NoIdentity)?;
        let onboard = OnboardRecord { ckek_unattended: None, attempts: None, ..present.record.body.onboard.clone() };
        let (lists, reservations) = core.read_keks()?;
        let hierarchy = Hierarchy {
            version: V1,
            made: core.clock.now(),
            node,
            svms: bodies(core.records.scan(SvmRecord::PREFIX)?)?,
            keystore: KeystoreRecord { onboard: onboard.clone(), ..present.record.body },
            keks: bodies(lists)?.into_iter().map(|list: KekList| KekList { operation: None, ..list }).collect(),
            seals: reservations.into_values().map(|seals| seals.body).collect(),
        };
        let json = serde_json::to_vec(&hierarchy).map_err(BackupError::Body)?;
        Ok(text::write(&core.arena, &onboard, keeper.ckek(), &json)?)
    }

    /// Makes in `dir`, which must not exist or be empty, the hierarchy that `backup` holds. Its keys come from a copy of the
    /// store by [`Engine::import_keys`].
    ///
    /// # Errors
    /// [`BackupError`]. A recovery that was interrupted can be repeated.
    pub fn restore(dir: &Path, backup: &str, passphrase: &Passphrase, options: Options) -> Result<Self, BackupError> {
        let (options, opened) = open_backup(backup, passphrase, options)?;
        let store = create_store(dir, &options)?;
        Self::restore_in(store, Some(dir), opened, passphrase, options)
    }

    /// Makes in a store of the embedder's, which must be empty, the hierarchy that `backup` holds.
    ///
    /// # Errors
    /// As [`Engine::restore`].
    pub fn restore_on(
        store: Arc<dyn Store>,
        backup: &str,
        passphrase: &Passphrase,
        options: Options,
    ) -> Result<Self, BackupError> {
        let (options, opened) = open_backup(backup, passphrase, options)?;
        Self::restore_in(store, None, opened, passphrase, options)
    }

    fn restore_in(
        store: Arc<dyn Store>,
        dir: Option<&Path>,
        (hierarchy, ckek): (Hierarchy, Key256),
        passphrase: &Passphrase,
        options: Options,
    ) -> Result<Self, BackupError> {
        let resumes = options.resume_jobs;
        let mut core = Core::empty(store, dir, options)?;
        core.check_leftovers(dir, |table, key| hierarchy.has(table, key))?;
        for svm in &hierarchy.svms {
            core.restore_svm(svm)?;
        }
        // Also those of an SVM whose own record was lost: its keys open all the same.
        for list in &hierarchy.keks {
            core.restore_keks(list, &hierarchy.seals)?;
        }
        let id = hierarchy.keystore.keystore;
        let common_criteria = hierarchy.keystore.onboard.common_criteria;
        let onboard = onboard::put_away(&core.arena, core.records.sealing(), id, common_criteria, &ckek, passphrase)?;
        core.restore_keystore(KeystoreRecord { onboard, ..hierarchy.keystore }, ckek)?;
        core.load_svms()?;
        core.finish_restore(hierarchy.node)?;
        Ok(Self::over(core, resumes))
    }

    /// Takes over the keys of `source`, a copy of the store that the backup's hierarchy had: each is opened first, and only
    /// those that open are taken. `progress` is called with the number of keys seen.
    ///
    /// # Errors
    /// A store failed, or there is no room in key memory; what was taken over before stays, and importing again goes on.
    pub fn import_keys(&self, source: &dyn Store, mut progress: impl FnMut(u64)) -> Result<Import, KeyError> {
        let mut import = Import::default();
        let mut after: Option<Vec<u8>> = None;
        let mut seen = 0;
        loop {
            let page = source.scan(Table::Keys, &[], after.as_deref(), PAGE).map_err(RecordError::Store)?;
            for of_one_svm in page.chunk_by(|a, b| svm_part(&a.key) == svm_part(&b.key)) {
                self.import_of_one_svm(of_one_svm, &mut import)?;
            }
            seen += page.len() as u64;
            progress(seen);
            match page.last() {
                Some(last) if page.len() == PAGE => after = Some(last.key.clone()),
                _ => return Ok(import),
            }
        }
    }

    fn import_of_one_svm(&self, entries: &[Entry], import: &mut Import) -> Result<(), KeyError> {
        let svm = entries.first().and_then(|entry| svm_part(&entry.key)).map(|svm| SvmId::from_bytes(*svm));
        let mut waiting: Vec<&Entry> = entries.iter().collect();
        while !waiting.is_empty() {
            let live = svm.and_then(|svm| self.core.live.svm(svm));
            let keks = live.as_ref().map(|live| live.keks.load_full());
            let mut taken = Vec::new();
            let mut items = Vec::new();
            for entry in waiting.drain(..) {
                match self.take_over(keks.as_deref(), entry) {
                    Ok(item) => {
                        taken.push(entry);
                        items.push(item);
                    }
                    Err(error) => import.findings.push(unopened(&entry.key, error)?),
                }
            }
            let (Some(live), Some(keks)) = (&live, &keks) else { return Ok(()) };
            let Keks::Open(open) = keks.as_ref() else { return Ok(()) };
            let outcomes = self
                .core
                .records
                .store()
                .replace_each(Table::Keys, &items, &[guard(open)])
                .map_err(RecordError::Store)?;
            for (entry, outcome) in taken.into_iter().zip(outcomes) {
                match outcome {
                    Outcome::Replaced => import.imported += 1,
                    Outcome::Changed => self.count_present(entry, import)?,
                    // A rekey came in between.
                    Outcome::Refused if live.changed_since(keks) => waiting.push(entry),
                    Outcome::Refused => return Err(KeyError::KeksChanged { svm: live.id }),
                }
            }
        }
        Ok(())
    }

    /// A key that opens, as it may be put while the KEKs are these. As each new blob it is under the current KEK, so that a
    /// rekey need not look for it before it drops the older one.
    fn take_over(&self, keks: Option<&Keks>, entry: &Entry) -> Result<Replacement, KeyError> {
        let layout = |source| KeyError::StoreKey { key: entry.key.clone(), source };
        let (svm, object) = parse_store_key(&entry.key).map_err(layout)?;
        let keks = keks.ok_or(KeyError::UnknownSvm { svm })?;
        self.core.open_record(keks, svm, object, &entry.value)?;
        let Keks::Open(open) = keks else { return Err(KeyError::NoKek { svm }) };
        if open.list.body.operation == Some(Operation::Delete) {
            return Err(KeyError::SvmBeingDeleted { svm });
        }
        let layout = |source| KeyError::Layout { object, source };
        let record = KeyRecord::parse(svm, object, &entry.value).map_err(layout)?;
        let mut nonces = self.core.nonces(svm, &open.current, stale(open, &record))?;
        let value = burned(|burning| self.core.rewrap(burning, open, object, &record, &mut nonces))?;
        Ok(Replacement { key: entry.key.clone(), expect: Expect::Absent, value })
    }

    /// Counts a key that is there already, if it is the same.
    fn count_present(&self, entry: &Entry, import: &mut Import) -> Result<(), KeyError> {
        let Ok((svm, object)) = parse_store_key(&entry.key) else { return Ok(()) };
        let is_same = || -> Result<bool, KeyError> {
            let keks = self.core.svm(svm)?.keks.load_full();
            let imported = self.core.open_record(&keks, svm, object, &entry.value)?;
            Ok(self.open_key(svm, object)?.ct_eq(&imported))
        };
        match is_same() {
            Ok(true) => import.present += 1,
            Ok(false) => import.findings.push(unopened(&entry.key, KeyError::Exists { object })?),
            Err(error) => import.findings.push(unopened(&entry.key, error)?),
        }
        Ok(())
    }
}

/// Reads and opens the text before anything is made. Returned with options that share the key memory it was opened in.
fn open_backup(
    backup: &str,
    passphrase: &Passphrase,
    options: Options,
) -> Result<(Options, (Hierarchy, Key256)), BackupError> {
    let backup = text::Backup::parse(backup)?;
    let arena = options.memory.arena().map_err(OpenEngineError::from)?;
    let (ckek, json) = backup.open(&arena, passphrase)?;
    let hierarchy = serde_json::from_slice(&json).map_err(BackupError::Body)?;
    Ok((Options { memory: KeyMemory::Shared(arena), ..options }, (hierarchy, ckek)))
}

/// The SVM that a key record's key begins with.
fn svm_part(key: &[u8]) -> Option<&[u8; 16]> {
    key.first_chunk()
}

impl Core {
    /// Puts an SVM; again after an interrupted recovery, with the same outcome.
    fn restore_svm(&self, svm: &SvmRecord) -> Result<(), RecordError> {
        let name = NameRecord { version: V1, name: svm.name.clone(), svm: svm.svm };
        let batch = Batch::new().put(Table::Svms, svm.key(), self.records.seal(svm)?);
        Ok(self.records.store().commit(batch.put(Table::Svms, name.key(), self.records.seal(&name)?))?)
    }

    /// Puts the KEKs of an SVM, with what seals they may have made.
    fn restore_keks(&self, list: &KekList, seals: &[SealRecord]) -> Result<(), RecordError> {
        let mut batch = Batch::new().put(Table::Keks, list.key(), self.records.seal(list)?);
        for entry in list.entries() {
            let (svm, kek_version) = (list.svm, entry.kek_version);
            let of_entry = |seals: &&SealRecord| seals.svm == svm && seals.kek_version == kek_version;
            let reserved = seals_after_restore(seals.iter().find(of_entry).map_or(0, |seals| seals.reserved));
            let seals = SealRecord { version: V1, svm, kek_version, reserved };
            batch = batch.put(Table::Keks, seals.key(), self.records.seal(&seals)?);
        }
        Ok(self.records.store().commit(batch)?)
    }
}

/// The bodies of scanned records, or why one does not open.
fn bodies<T>(scanned: Vec<Scanned<T>>) -> Result<Vec<T>, RecordError> {
    scanned.into_iter().map(|scanned| scanned.read.map(|Read { body, .. }| body)).collect()
}

/// Why a backup was not made or not restored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// The keystore waits for its passphrase.
    #[error("the keystore is locked; unlock it with the passphrase")]
    Locked,
    /// The record of the hierarchy's identity is damaged.
    #[error("the record of the hierarchy's identity is damaged; put it back from a copy")]
    NoIdentity,
    /// The text is no backup, or is damaged, or the passphrase is wrong.
    #[error(transparent)]
    Text(#[from] BackupTextError),
    /// The backup opened, and what it says is not what this release reads.
    #[error("the backup is not as this release reads it; it may be of a later release")]
    Body(#[source] serde_json::Error),
    /// The keystore failed.
    #[error(transparent)]
    Keystore(#[from] KeystoreError),
    /// The new hierarchy could not be made.
    #[error(transparent)]
    Open(#[from] OpenEngineError),
    /// The store failed, or a record is damaged.
    #[error(transparent)]
    Records(#[from] RecordError),
}

impl From<StoreError> for BackupError {
    fn from(error: StoreError) -> Self {
        Self::Records(error.into())
    }
}

impl From<StoreOpenError> for BackupError {
    fn from(error: StoreOpenError) -> Self {
        Self::Open(error.into())
    }
}

impl Blame for BackupError {
    fn blame(&self) -> (Fault, Advice) {
        match self {
            Self::Locked => (Fault::Caller, Advice::GiveCredentials),
            Self::NoIdentity => (Fault::Data, Advice::Repair),
            Self::Text(error) => error.blame(),
            Self::Body(_) => (Fault::Caller, Advice::Correct),
            Self::Keystore(error) => error.blame(),
            Self::Open(error) => error.blame(),
            Self::Records(error) => error.blame(),
        }
    }
}
