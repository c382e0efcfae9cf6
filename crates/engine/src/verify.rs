//! Verification of every record. Nothing is written.

use std::fmt;
use std::sync::Arc;

use claviger_store::{StoreError, Table};
use claviger_wrap::{BlobError, SvmId, UnsealError};

use crate::engine::{Core, Engine};
use crate::key_error::KeyError;
use crate::key_record::{KeyRecordError, ObjectRef, parse_store_key};
use crate::live::Keks;
use crate::records::{
    Body, EpochRecord, JobRecord, KekList, KeystoreRecord, NameRecord, NodeRecord, Phase, Plan, Read, RecordError,
    RecordName, Scanned, SealRecord, SvmRecord,
};

/// What a verification found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Key records there are.
    pub keys: u64,
    /// Key records all of whose blobs opened.
    pub opened: u64,
    /// Other records there are.
    pub records: u64,
    /// What is not as it must be, in the order of the tables and keys.
    pub findings: Vec<Finding>,
}

/// A record that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which record.
    pub record: RecordName,
    /// The SVM and object, where it is a key record.
    pub object: Option<(SvmId, ObjectRef)>,
    /// What kind of problem it is.
    pub problem: Problem,
    /// What exactly, and what to do.
    pub detail: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.object {
            Some((svm, object)) => {
                write!(f, "{} ({object} of SVM {svm}): {}: {}", self.record, self.problem, self.detail)
            }
            None => write!(f, "{}: {}: {}", self.record, self.problem, self.detail),
        }
    }
}

/// What is wrong with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Problem {
    /// Its bytes have changed: the key is the right one and the tag fails, or the layout is broken.
    Damaged,
    /// It belongs to another place: it was moved or copied.
    Misplaced,
    /// It is sealed with another key than this hierarchy's.
    OtherKey,
    /// It needs a KEK that there is not.
    MissingKek,
    /// The KEK that it needs is not in memory.
    ClosedKek,
    /// It is of a format version that this release does not read.
    UnknownFormat,
    /// It opens, and contradicts another record.
    Inconsistent,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Damaged => "damaged",
            Self::Misplaced => "misplaced",
            Self::OtherKey => "under another key",
            Self::MissingKek => "KEK missing",
            Self::ClosedKek => "KEK not in memory",
            Self::UnknownFormat => "unknown format",
            Self::Inconsistent => "inconsistent",
        })
    }
}

impl Engine {
    /// Opens every record and every blob, and names each that is not as it must be. Nothing is written; creates, opens and
    /// jobs go on meanwhile. `progress` is called with the number of key records seen, once a page.
    ///
    /// # Errors
    /// The store failed, or there is no room in key memory. Damage is no error but a [`Finding`].
    pub fn verify(&self, mut progress: impl FnMut(u64)) -> Result<Report, KeyError> {
        let mut report = Report::default();
        let core = &self.core;
        report.add::<NodeRecord>(core, NodeRecord::KEY, |_| Ok(None))?;
        report.add::<EpochRecord>(core, EpochRecord::KEY, |_| Ok(None))?;
        report.add::<SvmRecord>(core, SvmRecord::PREFIX, |svm| unnamed(core, svm))?;
        report.add::<NameRecord>(core, NameRecord::PREFIX, |name| ownerless(core, name))?;
        report.add::<KeystoreRecord>(core, &[], |_| Ok(None))?;
        report.keks(core)?;
        report.add::<JobRecord>(core, &[], |job| cannot_resume(core, job))?;
        report.keys(self, &mut progress)?;
        report.findings.sort_by(|a, b| a.record.cmp(&b.record));
        Ok(report)
    }
}

// Two records that belong together are read one after the other, while others change them. One contradicts the other
// only if it is found unchanged when the other has been read. Where the other is damaged, that is a finding of its own.

fn unnamed(core: &Core, svm: &Read<SvmRecord>) -> Result<Option<String>, StoreError> {
    let key = NameRecord::key_of(&svm.body.name);
    let named = match core.records.read::<NameRecord>(&key) {
        Ok(name) => name.is_some_and(|name| name.body.svm == svm.body.svm),
        Err(RecordError::Store(error)) => return Err(error),
        Err(_) => true,
    };
    Ok((!named && is_unchanged(core, svm)?).then(|| "the SVM's name is not recorded as its own".to_owned()))
}

fn ownerless(core: &Core, name: &Read<NameRecord>) -> Result<Option<String>, StoreError> {
    let svm = name.body.svm;
    let exists = core.records.store().get(Table::Svms, &SvmRecord::key_of(svm.into()))?.is_some();
    Ok((!exists && is_unchanged(core, name)?).then(|| format!("the name belongs to SVM {svm}, which does not exist")))
}

fn cannot_resume(core: &Core, job: &Read<JobRecord>) -> Result<Option<String>, StoreError> {
    let Plan::RekeyInternal { svm } = job.body.plan;
    let running = matches!(job.body.phase, Phase::Running { .. });
    let lost = running && core.live.svm(svm.into()).is_none() && is_unchanged(core, job)?;
    Ok(lost.then(|| format!("the job cannot go on: SVM {svm} does not exist")))
}

fn is_unchanged<T: Body>(core: &Core, record: &Read<T>) -> Result<bool, StoreError> {
    Ok(core.records.store().get(T::TABLE, &record.body.key())?.as_ref() == Some(&record.raw))
}

/// What is wrong with the live KEKs of an SVM, by what the list says.
fn check_keks(core: &Core, list: &KekList) -> Result<Vec<Finding>, StoreError> {
    let svm = SvmId::from(list.svm);
    let mut findings = Vec::new();
    for entry in list.entries() {
        if !core.has_kek(svm, entry.kek_id) {
            let detail = format!("KEK version {} of SVM {svm} could not be fetched", entry.kek_version);
            let record = RecordName::of::<KekList>(&list.key());
            findings.push(Finding { record, object: None, problem: Problem::ClosedKek, detail });
        }
        let seals = SealRecord::key_of(svm, entry.kek_version);
        if core.records.store().get(Table::Keks, &seals)?.is_none() {
            let detail =
                "the seal count of a live KEK is missing; the next key made under it writes a new one".to_owned();
            let record = RecordName::of::<SealRecord>(&seals);
            findings.push(Finding { record, object: None, problem: Problem::Inconsistent, detail });
        }
    }
    Ok(findings)
}

/// What is wrong with a count of seals: nobody needs it.
fn unneeded(core: &Core, seals: &Read<SealRecord>) -> Result<Option<String>, StoreError> {
    let version = seals.body.kek_version;
    let live = match core.records.read::<KekList>(&KekList::key_of(seals.body.svm.into())) {
        Ok(list) => list.is_some_and(|list| list.body.entries().any(|entry| entry.kek_version == version)),
        Err(RecordError::Store(error)) => return Err(error),
        Err(_) => true,
    };
    let there = || core.records.store().get(Table::Keks, &seals.body.key());
    Ok((!live && there()?.is_some()).then(|| format!("seals of KEK version {version}, which is not live")))
}

impl Report {
    /// Opens all records of one kind; `check` says what is wrong with one that opened.
    fn add<T: Body>(
        &mut self,
        core: &Core,
        prefix: &[u8],
        check: impl Fn(&Read<T>) -> Result<Option<String>, StoreError>,
    ) -> Result<(), StoreError> {
        core.records.scan::<T>(prefix)?.into_iter().try_for_each(|scanned| self.look_at(scanned, &check))
    }

    fn look_at<T: Body>(
        &mut self,
        scanned: Scanned<T>,
        check: impl Fn(&Read<T>) -> Result<Option<String>, StoreError>,
    ) -> Result<(), StoreError> {
        self.records += 1;
        let record = RecordName::of::<T>(&scanned.key);
        match scanned.read {
            Err(error) => self.findings.push(unreadable(record, &error)),
            Ok(read) => {
                if let Some(detail) = check(&read)? {
                    self.findings.push(Finding { record, object: None, problem: Problem::Inconsistent, detail });
                }
            }
        }
        Ok(())
    }

    /// The table `keks` holds two kinds of records, told by the length of their keys.
    fn keks(&mut self, core: &Core) -> Result<(), RecordError> {
        for scanned in core.records.scan_where::<KekList>(&[], KekList::is_key)? {
            if let Ok(list) = &scanned.read {
                let mut findings = check_keks(core, &list.body)?;
                if !findings.is_empty() {
                    // A rekey may have gone on in between. While this is held, none does.
                    let svm = core.live.svm(list.body.svm.into());
                    let _changing = svm.as_ref().map(|svm| svm.changing());
                    findings = match core.records.read::<KekList>(&scanned.key)? {
                        Some(list) => check_keks(core, &list.body)?,
                        None => Vec::new(),
                    };
                }
                self.findings.append(&mut findings);
            }
            self.look_at(scanned, |_| Ok(None))?;
        }
        for scanned in core.records.scan_where::<SealRecord>(&[], |key| !KekList::is_key(key))? {
            self.look_at(scanned, |seals| unneeded(core, seals))?;
        }
        Ok(())
    }

    fn keys(&mut self, engine: &Engine, progress: &mut impl FnMut(u64)) -> Result<(), KeyError> {
        let core = &engine.core;
        core.each_page::<KeyError>(&[], |page| {
            // Loaded after the page was read, so a rekey may have dropped a KEK that a blob of the page names: those are
            // read again below.
            let mut opened: Option<(SvmId, Arc<Keks>)> = None;
            for entry in page {
                self.keys += 1;
                match check_key(engine, &mut opened, &entry.key, &entry.value) {
                    Ok(()) => self.opened += 1,
                    Err(KeyError::Missing { .. }) => self.keys -= 1,
                    Err(error) => self.findings.push(unopened(&entry.key, error)?),
                }
            }
            progress(self.keys);
            Ok(())
        })
    }
}

fn check_key(engine: &Engine, keks: &mut Option<(SvmId, Arc<Keks>)>, key: &[u8], value: &[u8]) -> Result<(), KeyError> {
    let layout = |source| KeyError::StoreKey { key: key.to_vec(), source };
    let (svm, object) = parse_store_key(key).map_err(layout)?;
    let live = match keks {
        Some((known, live)) if *known == svm => live,
        _ => {
            let Some(live) = engine.core.live.svm(svm) else {
                // Unless its keys, and then itself, have been deleted since the page was read.
                engine.core.read_key(key, object)?;
                return Err(KeyError::UnknownSvm { svm });
            };
            &keks.insert((svm, live.keks.load_full())).1
        }
    };
    match engine.core.open_record(live, svm, object, value) {
        Err(KeyError::NoSuchKek { .. }) => engine.open_key(svm, object).map(|_| ()),
        opened => opened.map(|_| ()),
    }
}

/// What a record that does not open shows. A failing store is passed on.
fn unreadable(record: RecordName, error: &RecordError) -> Finding {
    let problem = match error {
        RecordError::Sealed { source, .. } => match source {
            UnsealError::OtherSealingKey => Problem::OtherKey,
            UnsealError::OtherTable { .. } => Problem::Misplaced,
            UnsealError::Format { .. } | UnsealError::Suite { .. } | UnsealError::Zero { .. } => Problem::UnknownFormat,
            _ => Problem::Damaged,
        },
        RecordError::Body { .. } => Problem::UnknownFormat,
        _ => Problem::Inconsistent,
    };
    Finding { record, object: None, problem, detail: with_cause(error) }
}

/// What a key that does not open shows. What is no fault of the key's is passed on.
pub(crate) fn unopened(key: &[u8], error: KeyError) -> Result<Finding, KeyError> {
    let problem = match &error {
        KeyError::Layout { source, .. } | KeyError::StoreKey { source, .. } => match source {
            KeyRecordError::OtherPlace { .. } => Problem::Misplaced,
            KeyRecordError::Blob(BlobError::Format { .. } | BlobError::Suite { .. }) => Problem::UnknownFormat,
            KeyRecordError::Blob(_) | KeyRecordError::StoreKey | KeyRecordError::Versions => Problem::Damaged,
        },
        KeyError::Damaged { .. } => Problem::Damaged,
        KeyError::NoSuchKek { .. } | KeyError::NoKek { .. } => Problem::MissingKek,
        KeyError::UnknownSvm { .. } | KeyError::Exists { .. } | KeyError::SvmBeingDeleted { .. } => {
            Problem::Inconsistent
        }
        KeyError::Locked { .. }
        | KeyError::KekDamaged { .. }
        | KeyError::KekUnreachable { .. }
        | KeyError::KekRefused { .. }
        | KeyError::KekWithoutRoom { .. }
        | KeyError::KeystoreLost { .. } => Problem::ClosedKek,
        KeyError::Missing { .. }
        | KeyError::Rotating { .. }
        | KeyError::NotRotating { .. }
        | KeyError::Versions { .. }
        | KeyError::NoKeystore
        | KeyError::KeystoreLocked
        | KeyError::KeptOtherwise
        | KeyError::Keeper(_)
        | KeyError::SealsExhausted { .. }
        | KeyError::KeksChanged { .. }
        | KeyError::Sealing
        | KeyError::Arena(_)
        | KeyError::Random(_)
        | KeyError::Records(_) => return Err(error),
    };
    let record = RecordName { table: Table::Keys, key: key.to_vec() };
    Ok(Finding { record, object: parse_store_key(key).ok(), problem, detail: with_cause(&error) })
}

fn with_cause(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}
