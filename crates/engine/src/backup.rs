//! Backup of the onboard hierarchy as text, and recovery from it.

pub(crate) mod text;
mod volumes;

use std::path::Path;
use std::sync::Arc;

use claviger_secret::{Arena, burned};
use claviger_store::{
    Batch, Entry, Expect, MemoryStore, OpenError as StoreOpenError, Outcome, Replacement, Store, StoreError, Table,
};
use claviger_wrap::{BodyKey, Key256, Passphrase, SealCount, SvmId, SystemRandom};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::credential::{CredentialPlace, ResealError};
use crate::engine::{Core, Engine, create_store};
use crate::error::{Advice, Blame, Fault};
use crate::key_error::KeyError;
use crate::key_record::{KeyRecord, parse_store_key};
use crate::keys::{PAGE, guard, refuses_keys};
use crate::keystores::KeystoreError;
use crate::live::Keks;
use crate::onboard;
use crate::open_error::OpenEngineError;
use crate::opening::open_all;
use crate::options::{AnchorSource, KeyMemory, Options, SealingSource};
use crate::records::{
    Body, CertificateRecord, Configuration, KeeperRecord, KekEntry, KekList, KeystoreRecord, NameRecord, NodeRecord,
    OnboardRecord, Read, RecordError, RecordName, Scanned, SealRecord, SvmKeystores, SvmRecord, V1,
};
use crate::rekey::stale;
use crate::verify::{self, Finding, Report};

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
    /// The SVMs' own; their credentials are sealed for this backup.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    svm_keystores: Vec<SvmKeystores>,
    keks: Vec<KekList>,
    seals: Vec<SealRecord>,
    /// Keepers may not be reached without them; their private keys are sealed for this backup.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    certificates: Vec<CertificateRecord>,
}

impl Hierarchy {
    /// Whether the recovery of this backup puts such a record.
    fn has(&self, table: Table, key: &[u8]) -> bool {
        match table {
            Table::Svms => self.svms.iter().any(|svm| svm.key() == key || NameRecord::key_of(&svm.name) == key),
            Table::Keystores => {
                self.keystore.key() == key || self.svm_keystores.iter().any(|keystores| keystores.key() == key)
            }
            Table::Keks => self.keks.iter().any(|list| {
                let seals = |entry: &KekEntry| SealRecord::key_of(list.svm.into(), entry.kek_version);
                list.key() == key || list.entries().any(|entry| seals(entry) == key)
            }),
            Table::Certificates => self
                .certificates
                .iter()
                .any(|certificate| certificate.key() == key || certificate.naming().key() == key),
            Table::Node | Table::Keys | Table::Jobs | Table::Volumes => false,
        }
    }
}

/// What became of the keys and the named volumes of a copied store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Import {
    /// Keys taken over; each was opened.
    pub imported: u64,
    /// Keys that were there already, and are the same.
    pub present: u64,
    /// Named volumes taken over.
    pub volumes: u64,
    /// Named volumes that were there already, and are the same.
    pub volumes_present: u64,
    /// Named volumes that were not taken over because the copy's records are sealed with another sealing key than this hierarchy's. Their
    /// keys open; to have their names too, recover with the sealing key of the copy.
    pub volumes_sealed: u64,
    /// Keys and volumes that were not taken over, and why.
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
        let (lists, svm_keystores) = core.keks_and_keystores(keeper.ckek())?;
        // After the lists, so that no count is lower than what they have sealed.
        let (_, reservations) = core.read_keks()?;
        let hierarchy = Hierarchy {
            version: V1,
            made: core.clock.now(),
            node,
            svms: bodies(core.records.scan(SvmRecord::PREFIX)?)?,
            keystore: KeystoreRecord { onboard: onboard.clone(), deleting: false, ..present.record.body },
            svm_keystores,
            keks: lists.into_iter().map(|list| KekList { operation: None, ..list.body }).collect(),
            seals: reservations.into_values().map(|seals| seals.body).collect(),
            certificates: core.certificates_for_backup(keeper.ckek())?,
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
        let Options { resume_jobs: resumes, fetching, .. } = options;
        let mut core = Core::empty(store, dir, options)?;
        core.check_leftovers(dir, |table, key| hierarchy.has(table, key))?;
        // Put away anew: under the sealing key too, where it opens unattended.
        let KeystoreRecord { keystore, ref onboard, .. } = hierarchy.keystore;
        let common_criteria = onboard.common_criteria;
        let sealing = core.records.sealing();
        let onboard = onboard::put_away(&core.arena, sealing, keystore, common_criteria, &ckek, passphrase)?;
        core.put_hierarchy(hierarchy, onboard, ckek)?;
        Ok(Self::over(core, resumes, fetching))
    }

    /// Verifies a backup as [`Engine::verify`] verifies a hierarchy, with the passphrase alone and on any machine: has every
    /// KEK given back, and opens all blobs of `keys`, a copy of the store that the backup's hierarchy had. Nothing is written;
    /// in memory, too, there is no more than the backup and one page of the copy. `progress` is called with the number of key
    /// records seen.
    ///
    /// Records other than keys are those that the backup holds. Those of the copy need its sealing key:
    /// [`Engine::open_copy`] and [`Engine::verify`] look at these.
    ///
    /// # Errors
    /// [`BackupError`]; damage to what the backup and the copy hold is no error but a [`Finding`].
    pub fn verify_backup(
        backup: &str,
        passphrase: &Passphrase,
        keys: Option<&dyn Store>,
        memory: KeyMemory,
        progress: impl FnMut(u64),
    ) -> Result<Report, BackupError> {
        let arena = memory.arena().map_err(OpenEngineError::from)?;
        let (hierarchy, ckek) = open_text(&arena, backup, passphrase)?;
        // The backup is restored into a store that dies with this call, under a sealing key that nobody else has.
        let sealing =
            SealingSource::Provided(Key256::generate(&arena, &mut SystemRandom).map_err(OpenEngineError::Key)?);
        let anchor = AnchorSource::DangerNone;
        let options = Options { memory: KeyMemory::Shared(arena), sealing, anchor, ..Options::default() };
        let mut core = Core::empty(Arc::new(MemoryStore::default()), None, options)?;
        let onboard = hierarchy.keystore.onboard.clone();
        core.put_hierarchy(hierarchy, onboard, ckek)?;
        open_all(core.to_open(core.live.svms().values().cloned(), |keks| !keks.is_open())?, || true, |_, _, _| ());
        let none = MemoryStore::default();
        Ok(verify::verify(&core, keys.unwrap_or(&none), progress)?)
    }

    /// Takes over the keys of `source`, a copy of the store that the backup's hierarchy had: each is opened first, and only
    /// those that open are taken. Then its named volumes, where this hierarchy has the copy's sealing key. `progress` is called with the
    /// number of keys seen.
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
                _ => break,
            }
        }
        self.import_volumes(source, &mut import)?;
        Ok(import)
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
                    Err(error) => import.findings.push(self.unopened(keks.as_deref(), entry, error)?),
                }
            }
            let (Some(live), Some(keks)) = (&live, &keks) else { return Ok(()) };
            let Keks::Open(open) = keks.as_ref() else { return Ok(()) };
            self.core.raise_once()?;
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
        if let Some(error) = refuses_keys(&open.list.body) {
            return Err(error);
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
        let keks = self.core.svm(svm)?.keks.load_full();
        let is_same = || -> Result<bool, KeyError> {
            let imported = self.core.open_record(&keks, svm, object, &entry.value)?;
            Ok(self.open_key(svm, object)?.ct_eq(&imported))
        };
        match is_same() {
            Ok(true) => import.present += 1,
            Ok(false) => import.findings.push(self.unopened(Some(&keks), entry, KeyError::Exists { object })?),
            Err(error) => import.findings.push(self.unopened(Some(&keks), entry, error)?),
        }
        Ok(())
    }

    /// What a key shows that is not taken over. What is no fault of the key's is passed on.
    fn unopened(&self, keks: Option<&Keks>, entry: &Entry, error: KeyError) -> Result<Finding, KeyError> {
        let (problem, detail) = verify::of_key(&self.core, keks, &entry.key, &entry.value, error)?;
        Ok(Finding { record: RecordName { table: Table::Keys, key: entry.key.clone() }, problem, detail })
    }
}

/// What the passphrase opens of a backup's text.
fn open_text(arena: &Arena, backup: &str, passphrase: &Passphrase) -> Result<(Hierarchy, Key256), BackupError> {
    let (ckek, json) = text::Backup::parse(backup)?.open(arena, passphrase)?;
    Ok((serde_json::from_slice(&json).map_err(BackupError::Body)?, ckek))
}

/// Reads and opens the text before anything is made. Returned with options that share the key memory it was opened in.
fn open_backup(
    backup: &str,
    passphrase: &Passphrase,
    options: Options,
) -> Result<(Options, (Hierarchy, Key256)), BackupError> {
    let arena = options.memory.arena().map_err(OpenEngineError::from)?;
    let opened = open_text(&arena, backup, passphrase)?;
    Ok((Options { memory: KeyMemory::Shared(arena), ..options }, opened))
}

/// The SVM that a key record's key begins with.
fn svm_part(key: &[u8]) -> Option<&[u8; 16]> {
    key.first_chunk()
}

impl Core {
    /// Puts all that a backup holds, and last the record that says so. `onboard` is how its keystore is put away here.
    fn put_hierarchy(&mut self, hierarchy: Hierarchy, onboard: OnboardRecord, ckek: Key256) -> Result<(), BackupError> {
        let Hierarchy { version: _, made: _, node, svms, keystore, svm_keystores, keks, seals, certificates } =
            hierarchy;
        for svm in &svms {
            self.restore_svm(svm)?;
        }
        // Also those of an SVM whose own record was lost: its keys open all the same.
        for list in &keks {
            self.restore_keks(list, &seals)?;
        }
        for keystores in &svm_keystores {
            self.restore_svm_keystores(keystores, &ckek)?;
        }
        for certificate in certificates {
            self.restore_certificate(certificate, &ckek)?;
        }
        self.load_authorities()?;
        self.restore_keystore(KeystoreRecord { onboard, ..keystore }, ckek)?;
        self.load_svms()?;
        Ok(self.finish_restore(node)?)
    }

    /// Puts an SVM; again after an interrupted recovery, with the same outcome.
    fn restore_svm(&self, svm: &SvmRecord) -> Result<(), RecordError> {
        let name = NameRecord { version: V1, name: svm.name.clone(), svm: svm.svm };
        let batch = Batch::new().put(Table::Svms, svm.key(), self.records.seal(svm)?);
        Ok(self.records.store().commit(batch.put(Table::Svms, name.key(), self.records.seal(&name)?))?)
    }

    /// The KEKs, and the keystores of the SVMs as they were at the same time: what is kept, and the configuration that it is kept
    /// with, change together.
    fn keks_and_keystores(&self, ckek: &Key256) -> Result<(Vec<Read<KekList>>, Vec<SvmKeystores>), BackupError> {
        let read = || -> Result<Vec<_>, BackupError> {
            Ok(self.read_keks()?.0.into_iter().map(|scanned| scanned.read).collect::<Result<_, _>>()?)
        };
        let mut lists = read()?;
        loop {
            let keystores = self.keystores_for_backup(ckek)?;
            let now = read()?;
            // No record ever gets the same bytes twice.
            if now.iter().map(|list| &list.raw).eq(lists.iter().map(|list| &list.raw)) {
                return Ok((lists, keystores));
            }
            lists = now;
        }
    }

    /// The keystores of the SVMs, with their credentials sealed for the backup.
    fn keystores_for_backup(&self, ckek: &Key256) -> Result<Vec<SvmKeystores>, BackupError> {
        let all = self.records.scan_where::<SvmKeystores>(&[], |key| SvmKeystores::svm_of(key).is_some())?;
        let there = self.records.sealing().credentials().map_err(KeystoreError::Arena)?;
        let here = BodyKey::of_backup(&self.arena, ckek).map_err(KeystoreError::Arena)?;
        let free = |list: SvmKeystores| Ok(SvmKeystores { job: None, ..self.resealed(&list, &there, &here)? });
        bodies(all)?.into_iter().map(free).collect()
    }

    /// Puts the keystores of an SVM; again after an interrupted recovery, with the same outcome.
    fn restore_svm_keystores(&self, keystores: &SvmKeystores, ckek: &Key256) -> Result<(), BackupError> {
        let there = BodyKey::of_backup(&self.arena, ckek).map_err(KeystoreError::Arena)?;
        let here = self.records.sealing().credentials().map_err(KeystoreError::Arena)?;
        let keystores = self.resealed(keystores, &there, &here)?;
        let batch = Batch::new().put(Table::Keystores, keystores.key(), self.records.seal(&keystores)?);
        Ok(self.records.store().commit(batch)?)
    }

    /// All certificates, with their private keys sealed for the backup.
    fn certificates_for_backup(&self, ckek: &Key256) -> Result<Vec<CertificateRecord>, BackupError> {
        let all = bodies(self.records.scan::<CertificateRecord>(CertificateRecord::PREFIX)?)?;
        let there = self.records.sealing().credentials().map_err(KeystoreError::Arena)?;
        let here = BodyKey::of_backup(&self.arena, ckek).map_err(KeystoreError::Arena)?;
        let reseal = |record: CertificateRecord| {
            let private_key = record.key_place().reseal(&record.private_key, &there, &here)?;
            Ok(CertificateRecord { private_key, ..record })
        };
        all.into_iter().map(reseal).collect()
    }

    /// Puts a certificate; again after an interrupted recovery, with the same outcome.
    fn restore_certificate(&self, record: CertificateRecord, ckek: &Key256) -> Result<(), BackupError> {
        let there = BodyKey::of_backup(&self.arena, ckek).map_err(KeystoreError::Arena)?;
        let here = self.records.sealing().credentials().map_err(KeystoreError::Arena)?;
        let private_key = record.key_place().reseal(&record.private_key, &there, &here)?;
        let record = CertificateRecord { private_key, ..record };
        let naming = record.naming();
        let batch = Batch::new().put(Table::Certificates, record.key(), self.records.seal(&record)?).put(
            Table::Certificates,
            naming.key(),
            self.records.seal(&naming)?,
        );
        Ok(self.records.store().commit(batch)?)
    }

    /// The same keystores with their credentials under another key.
    fn resealed(&self, list: &SvmKeystores, from: &BodyKey, to: &BodyKey) -> Result<SvmKeystores, BackupError> {
        let mut list = list.clone();
        for Configuration { keystore, keeper: KeeperRecord::Barbican(record), .. } in &mut list.keystores {
            let place = CredentialPlace { svm: list.svm.into(), keystore: *keystore };
            record.reseal(|field, sealed| place.reseal(field, sealed, from, to))?;
        }
        Ok(list)
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
    /// A credential of a keystore could not be put into the backup, or taken out of it.
    #[error(transparent)]
    Credential(#[from] ResealError),
    /// The keystore failed.
    #[error(transparent)]
    Keystore(#[from] KeystoreError),
    /// The new hierarchy could not be made.
    #[error(transparent)]
    Open(#[from] OpenEngineError),
    /// The copied store failed, or there is no room in key memory.
    #[error(transparent)]
    Key(#[from] KeyError),
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
            Self::NoIdentity | Self::Credential(ResealError::Open(_)) => (Fault::Data, Advice::Repair),
            Self::Credential(ResealError::Random(_)) => (Fault::Node, Advice::Retry),
            Self::Text(error) => error.blame(),
            Self::Body(_) => (Fault::Caller, Advice::Correct),
            Self::Keystore(error) => error.blame(),
            Self::Open(error) => error.blame(),
            Self::Key(error) => error.blame(),
            Self::Records(error) => error.blame(),
        }
    }
}
