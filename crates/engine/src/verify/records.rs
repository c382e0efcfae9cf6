//! Every record but the keys: opened, or told what is wrong with it. What belongs together is checked afterwards.

use std::collections::{BTreeMap, BTreeSet};

use claviger_secret::ArenaError;
use claviger_store::{Entry, Table};
use claviger_wrap::SvmId;
use uuid::Uuid;

use super::diagnosis::{SOUGHT_AT_MOST, Unreadable};
use super::report::{Findings, Problem};
use crate::engine::Core;
use crate::epoch::Standing;
use crate::key_error::KeyError;
use crate::keystores::KeystoreError;
use crate::onboard;
use crate::records::{
    Body, EpochRecord, JobRecord, KekList, KeystoreRecord, NameRecord, NodeRecord, Read, RecordName, SealRecord,
    SettingsRecord, Subject, SvmKeystores, SvmRecord,
};

/// Records read at a time.
pub(super) const PAGE: usize = 256;

/// What the records say of one another. It may have changed since: whoever relies on it reads them again.
#[derive(Default)]
pub(super) struct Census {
    /// How many records there are.
    pub(super) records: u64,
    /// Every SVM that a record is about.
    pub(super) svms: BTreeSet<SvmId>,
    /// The names that an SVM has by the records of names.
    pub(super) names: BTreeMap<SvmId, Vec<Vec<u8>>>,
    /// Its jobs that have not ended.
    pub(super) jobs: BTreeMap<SvmId, Vec<Uuid>>,
    /// The keystores, and whether each is sound.
    pub(super) keystores: BTreeMap<Uuid, bool>,
}

/// Opens all records but the keys.
pub(super) fn read_all(core: &Core, findings: &mut Findings) -> Result<Census, KeyError> {
    let mut walk = Walk { core, findings, census: Census::default() };
    for table in [Table::Node, Table::Svms, Table::Keystores, Table::Keks, Table::Jobs] {
        walk.table(table)?;
    }
    let Walk { mut census, findings, .. } = walk;
    if core.records.store().get(Table::Node, NodeRecord::KEY)?.is_none() {
        let record = RecordName::of::<NodeRecord>(NodeRecord::KEY);
        findings.add(
            record,
            Problem::Missing,
            "the creation or recovery of the hierarchy was not completed, or this record is lost: repeat the recovery, or put the record back from a copy",
        );
    }
    let epoch = RecordName::of::<EpochRecord>(EpochRecord::KEY);
    if core.records.store().get(epoch.table, &epoch.key)?.is_none() {
        let detail = "nothing that changes the hierarchy is done without it: put it back from a copy, or accept the store as it is (danger_accept_rollback)";
        findings.add(epoch.clone(), Problem::Missing, detail);
    }
    if let Standing::RolledBack { .. } = &core.standing {
        let detail = format!("{}; put the newest one back, or accept this one (danger_accept_rollback)", core.standing);
        findings.add(epoch, Problem::RolledBack, detail);
    }
    if census.keystores.len() > 1 {
        for (keystore, is_sound) in &mut census.keystores {
            let record = RecordName { table: Table::Keystores, key: keystore.as_bytes().to_vec() };
            findings.add(
                record,
                Problem::Inconsistent,
                "a cluster has one keystore, and here are more records of keystores",
            );
            // None is used then.
            *is_sound = false;
        }
    }
    Ok(census)
}

struct Walk<'a> {
    core: &'a Core,
    findings: &'a mut Findings,
    census: Census,
}

impl Walk<'_> {
    fn table(&mut self, table: Table) -> Result<(), KeyError> {
        let mut keys = Vec::new();
        let mut unreadable = Vec::new();
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = self.core.records.store().scan(table, &[], after.as_deref(), PAGE)?;
            let is_last = page.len() < PAGE;
            for Entry { key, value } in page {
                self.census.records += 1;
                keys.push(key.clone());
                unreadable.extend(self.record(RecordName { table, key }, value)?);
            }
            if is_last {
                break;
            }
            after = keys.last().cloned();
        }
        for (at, unreadable) in unreadable.into_iter().enumerate() {
            let sought = if at < SOUGHT_AT_MOST { keys.as_slice() } else { &[] };
            let (problem, detail) = unreadable.diagnose(&self.core.records, sought)?;
            self.findings.add(unreadable.record, problem, detail);
        }
        Ok(())
    }

    /// Opens one record, and notes what it says of others. Returns it where it does not open.
    fn record(&mut self, record: RecordName, raw: Vec<u8>) -> Result<Option<Unreadable>, ArenaError> {
        let unreadable = match record.subject() {
            Subject::Hierarchy => self.open::<NodeRecord>(&record, raw).err(),
            Subject::Epoch => self.open::<EpochRecord>(&record, raw).err(),
            Subject::Settings => self.open::<SettingsRecord>(&record, raw).err(),
            Subject::Svm(svm) => {
                self.census.svms.insert(svm);
                self.open::<SvmRecord>(&record, raw).err()
            }
            Subject::Name(_) => match self.open::<NameRecord>(&record, raw) {
                Ok(name) => {
                    let svm = SvmId::from(name.body.svm);
                    self.census.svms.insert(svm);
                    self.census.names.entry(svm).or_default().push(record.key.clone());
                    None
                }
                Err(unreadable) => Some(unreadable),
            },
            Subject::Keystore(keystore) => match self.open::<KeystoreRecord>(&record, raw) {
                Ok(read) => {
                    let is_sound = self.keystore(&record, &read.body)?;
                    self.census.keystores.insert(keystore, is_sound);
                    None
                }
                Err(unreadable) => {
                    self.census.keystores.insert(keystore, false);
                    Some(unreadable)
                }
            },
            Subject::SvmKeystores(svm) => {
                self.census.svms.insert(svm);
                self.open::<SvmKeystores>(&record, raw).err()
            }
            Subject::Keks(svm) => {
                self.census.svms.insert(svm);
                self.open::<KekList>(&record, raw).err()
            }
            Subject::Seals(svm, _) => {
                self.census.svms.insert(svm);
                self.open::<SealRecord>(&record, raw).err()
            }
            Subject::Job(_) => match self.open::<JobRecord>(&record, raw) {
                Ok(job) => {
                    if let Some(svm) = job.body.svm().filter(|_| job.body.is_running()) {
                        self.census.svms.insert(svm);
                        self.census.jobs.entry(svm).or_default().push(job.body.job);
                    }
                    None
                }
                Err(unreadable) => Some(unreadable),
            },
            // The other tables are checked on their own.
            Subject::Key(..)
            | Subject::Certificate(_)
            | Subject::CertificateName(..)
            | Subject::Volume(_)
            | Subject::VolumeName(..)
            | Subject::Unknown => {
                let detail = "a record of a kind that this release does not know; it may be of a later release";
                self.findings.add(record, Problem::UnknownFormat, detail);
                None
            }
        };
        Ok(unreadable)
    }

    fn open<T: Body>(&self, record: &RecordName, raw: Vec<u8>) -> Result<Read<T>, Unreadable> {
        self.core.records.open(&record.key, raw.clone()).map_err(|error| Unreadable {
            record: record.clone(),
            raw,
            error,
        })
    }

    /// Whether the keystore's CKEK opens without the passphrase, where it must.
    fn keystore(&mut self, record: &RecordName, keystore: &KeystoreRecord) -> Result<bool, ArenaError> {
        match onboard::unattended(self.core.records.sealing(), keystore.keystore, &keystore.onboard) {
            Err(KeystoreError::DamagedCkek) => {
                let detail = "its CKEK does not open with the sealing key, or is another one; restore a backup";
                self.findings.add(record.clone(), Problem::Damaged, detail);
                Ok(false)
            }
            Err(KeystoreError::Arena(full)) => Err(full),
            Ok(_) | Err(_) => Ok(true),
        }
    }
}
