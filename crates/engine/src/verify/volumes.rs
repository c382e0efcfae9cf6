//! Every named volume: its record and that of its name point at each other, and its key record is there, and as new as the
//! volume knows it. A page at a time, because there may be a million.

use claviger_store::{Entry, Store, Table};
use claviger_wrap::SvmId;
use uuid::Uuid;

use super::diagnosis::Unreadable;
use super::records::PAGE;
use super::report::{Findings, Problem};
use crate::engine::Core;
use crate::key_error::KeyError;
use crate::key_record::{ObjectRef, store_key};
use crate::keys::info;
use crate::records::{Body, NewestKey, RecordError, RecordName, Subject, SvmRecord, VolumeNameRecord, VolumeRecord};
use crate::volume::VolumePosition;

/// The check of the table `volumes`.
pub(super) struct Volumes<'a> {
    pub(super) core: &'a Core,
    /// Where the keys lie.
    pub(super) keys: &'a dyn Store,
    pub(super) findings: &'a mut Findings,
    /// How many records there are.
    pub(super) records: u64,
}

/// A record, and its bytes when it was read.
type Seen = (RecordName, Option<Vec<u8>>);
type Found = Option<(RecordName, Problem, String)>;

impl Volumes<'_> {
    pub(super) fn check_all(&mut self) -> Result<(), KeyError> {
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = self.core.records.store().scan(Table::Volumes, &[], after.as_deref(), PAGE)?;
            for entry in &page {
                self.records += 1;
                self.check(entry)?;
            }
            match page.last() {
                Some(last) => after = Some(last.key.clone()),
                None => return Ok(()),
            }
        }
    }

    /// Looks until there is nothing to find, or until what was seen stood like that at one moment: no record ever gets the same bytes
    /// twice.
    fn check(&mut self, entry: &Entry) -> Result<(), KeyError> {
        let name = RecordName { table: Table::Volumes, key: entry.key.clone() };
        loop {
            let mut seen = Vec::new();
            let found = match name.subject() {
                Subject::Volume(volume) => self.volume(volume, &mut seen)?,
                Subject::VolumeName(svm, volume) => self.naming(&VolumePosition { svm, name: volume }, &mut seen)?,
                _ => {
                    let detail = "a record of a kind that this release does not know; it may be of a later release";
                    Some((name.clone(), Problem::UnknownFormat, detail.to_owned()))
                }
            };
            let Some((record, problem, detail)) = found else { return Ok(()) };
            if self.still_stands(&seen)? {
                self.findings.add(record, problem, detail);
                return Ok(());
            }
        }
    }

    fn volume(&self, volume: Uuid, seen: &mut Vec<Seen>) -> Result<Found, KeyError> {
        let key = VolumeRecord::key_of(volume);
        let record = match self.open::<VolumeRecord>(&key, seen)? {
            Ok(Some(record)) => record,
            Ok(None) => return Ok(None),
            Err(found) => return Ok(found),
        };
        let here = RecordName::of::<VolumeRecord>(&key);
        let svm = SvmId::from(record.svm);
        if self.core.live.svm(svm).is_none()
            && self.get(&RecordName::of::<SvmRecord>(&SvmRecord::key_of(svm)), seen)?.is_none()
        {
            let detail = format!("its SVM {svm} does not exist; delete the volume");
            return Ok(Some((here, Problem::Inconsistent, detail)));
        }
        let naming = VolumeNameRecord::key_of(svm, &record.name);
        match self.open::<VolumeNameRecord>(&naming, seen)? {
            Ok(None) => {
                let detail = format!(
                    "volume {volume} has this name: another could take it too; put the record back from a copy"
                );
                return Ok(Some((RecordName::of::<VolumeNameRecord>(&naming), Problem::Missing, detail)));
            }
            Ok(Some(naming)) if naming.volume != volume => {
                let detail = format!("its name belongs to volume {}; delete one of them", naming.volume);
                return Ok(Some((here, Problem::Inconsistent, detail)));
            }
            // Its own finding is made in its turn.
            Ok(Some(_)) | Err(_) => {}
        }
        self.key(here, &record, seen)
    }

    /// The volume and its key.
    fn key(&self, here: RecordName, record: &VolumeRecord, seen: &mut Vec<Seen>) -> Result<Found, KeyError> {
        let (svm, object) = (SvmId::from(record.svm), ObjectRef::Volume(record.volume));
        let key = RecordName { table: Table::Keys, key: store_key(svm, object).to_vec() };
        let raw = self.get(&key, seen)?;
        Ok(match (record.key, raw) {
            (None, None) => None,
            (None, Some(_)) => {
                let detail = "the volume is not encrypted, and there is a key of it: one of the two records is from another time";
                Some((here, Problem::Inconsistent, detail.to_owned()))
            }
            (Some(_), None) => {
                let detail = format!("the volume \"{}\" is encrypted with it; put it back from a copy", record.name);
                Some((key, Problem::Missing, detail))
            }
            (Some(NewestKey { key_version, .. }), Some(raw)) => match info(svm, object, &raw) {
                Ok(info) if info.version < key_version => {
                    let detail = format!(
                        "it is an older copy: the volume \"{}\" has had key version {key_version}, and here is {}; put the newest back",
                        record.name, info.version
                    );
                    Some((key, Problem::Inconsistent, detail))
                }
                Ok(info) if info.version > key_version => {
                    let detail = format!(
                        "it is an older copy: its key has version {} already; put the newest back",
                        info.version
                    );
                    Some((here, Problem::Inconsistent, detail))
                }
                // What does not parse has a finding among the keys.
                Ok(_) | Err(_) => None,
            },
        })
    }

    fn naming(&self, position: &VolumePosition, seen: &mut Vec<Seen>) -> Result<Found, KeyError> {
        let key = VolumeNameRecord::key_of(position.svm, &position.name);
        let naming = match self.open::<VolumeNameRecord>(&key, seen)? {
            Ok(Some(naming)) => naming,
            Ok(None) => return Ok(None),
            Err(found) => return Ok(found),
        };
        let volume = VolumeRecord::key_of(naming.volume);
        Ok(match self.open::<VolumeRecord>(&volume, seen)? {
            Ok(None) => {
                let detail = format!("\"{}\" names this volume; put its record back from a copy", naming.name);
                Some((RecordName::of::<VolumeRecord>(&volume), Problem::Missing, detail))
            }
            Ok(Some(record)) if record.naming() != naming => {
                let detail =
                    format!("volume {} is named \"{}\": nobody else can take this name", record.volume, record.name);
                Some((RecordName::of::<VolumeNameRecord>(&key), Problem::Inconsistent, detail))
            }
            Ok(Some(_)) | Err(_) => None,
        })
    }

    /// The record, or what it shows where it does not open.
    fn open<T: Body>(&self, key: &[u8], seen: &mut Vec<Seen>) -> Result<Result<Option<T>, Found>, KeyError> {
        let record = RecordName::of::<T>(key);
        let Some(raw) = self.get(&record, seen)? else { return Ok(Ok(None)) };
        match self.core.records.open::<T>(key, raw.clone()) {
            Ok(read) => Ok(Ok(Some(read.body))),
            Err(error) => {
                let unreadable = Unreadable { record: record.clone(), raw, error };
                // Of a million records it is not asked whether they belong under another key.
                let (problem, detail) = unreadable.diagnose(&self.core.records, &[])?;
                Ok(Err(Some((record, problem, detail))))
            }
        }
    }

    fn get(&self, record: &RecordName, seen: &mut Vec<Seen>) -> Result<Option<Vec<u8>>, RecordError> {
        let raw = self.store_of(record).get(record.table, &record.key)?;
        seen.push((record.clone(), raw.clone()));
        Ok(raw)
    }

    fn still_stands(&self, seen: &[Seen]) -> Result<bool, RecordError> {
        for (record, raw) in seen {
            if self.store_of(record).get(record.table, &record.key)? != *raw {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn store_of(&self, record: &RecordName) -> &dyn Store {
        match record.table {
            Table::Keys => self.keys,
            _ => self.core.records.store(),
        }
    }
}
