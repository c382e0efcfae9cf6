//! Named volumes and installed certificates: each has a record, and another for its name. A page at a time, because of volumes
//! there may be a million.

use claviger_store::{Entry, Store, Table};

use super::diagnosis::Unreadable;
use super::records::PAGE;
use super::report::{Findings, Problem};
use crate::engine::Core;
use crate::key_error::KeyError;
use crate::records::{Body, RecordError, RecordName, Subject};
use crate::volume::VolumePosition;

/// The check of a table of things with names.
pub(super) struct Objects<'a> {
    pub(super) core: &'a Core,
    /// Where the keys lie.
    pub(super) keys: &'a dyn Store,
    pub(super) findings: &'a mut Findings,
    /// How many records there are.
    pub(super) records: u64,
}

/// A record, and its bytes when it was read.
pub(super) type Seen = (RecordName, Option<Vec<u8>>);
pub(super) type Found = Option<(RecordName, Problem, String)>;

impl Objects<'_> {
    pub(super) fn check_all(&mut self, table: Table) -> Result<(), KeyError> {
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = self.core.records.store().scan(table, &[], after.as_deref(), PAGE)?;
            for entry in &page {
                self.records += 1;
                self.check(table, entry)?;
            }
            match page.last() {
                Some(last) => after = Some(last.key.clone()),
                None => return Ok(()),
            }
        }
    }

    /// Looks until there is nothing to find, or until what was seen stood like that at one moment: no record ever gets the same bytes
    /// twice.
    fn check(&mut self, table: Table, entry: &Entry) -> Result<(), KeyError> {
        let name = RecordName { table, key: entry.key.clone() };
        loop {
            let mut seen = Vec::new();
            let found = match name.subject() {
                Subject::Volume(volume) => self.volume(volume, &mut seen)?,
                Subject::VolumeName(svm, volume) => {
                    self.volume_name(&VolumePosition { svm, name: volume }, &mut seen)?
                }
                Subject::Certificate(certificate) => self.certificate(certificate, &mut seen)?,
                Subject::CertificateName(scope, name) => self.certificate_name(scope, &name, &mut seen)?,
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

    /// The record, or what it shows where it does not open.
    pub(super) fn open<T: Body>(&self, key: &[u8], seen: &mut Vec<Seen>) -> Result<Result<Option<T>, Found>, KeyError> {
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

    pub(super) fn get(&self, record: &RecordName, seen: &mut Vec<Seen>) -> Result<Option<Vec<u8>>, RecordError> {
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
