//! The named volumes of a copied store. They are no part of a backup, which is small; and their records are sealed, so they are
//! read where the new hierarchy has the sealing key that the old one had.

use claviger_store::{Entry, Store, Table};
use claviger_wrap::UnsealError;

use super::Import;
use crate::engine::Engine;
use crate::key_error::KeyError;
use crate::keys::PAGE;
use crate::records::{RecordError, RecordName, VolumeRecord};
use crate::verify::{Finding, Problem};
use crate::volume_error::VolumeError;

impl Engine {
    pub(super) fn import_volumes(&self, source: &dyn Store, import: &mut Import) -> Result<(), KeyError> {
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = source.scan(Table::Volumes, VolumeRecord::PREFIX, after.as_deref(), PAGE)?;
            let last = page.last().map(|entry| entry.key.clone());
            for entry in page {
                self.import_volume(entry, import)?;
            }
            match last {
                Some(last) => after = Some(last),
                None => return Ok(()),
            }
        }
    }

    fn import_volume(&self, Entry { key, value }: Entry, import: &mut Import) -> Result<(), KeyError> {
        let core = &self.core;
        let mut not_taken = |problem, detail: String| {
            let record = RecordName { table: Table::Volumes, key: key.clone() };
            import.findings.push(Finding { record, problem, detail });
        };
        let record = match core.records.open::<VolumeRecord>(&key, value) {
            Ok(read) => read.body,
            Err(RecordError::Sealed { source: UnsealError::OtherSealingKey, .. }) => {
                import.volumes_sealed += 1;
                return Ok(());
            }
            Err(error) => {
                not_taken(Problem::Damaged, crate::error::chain(&error));
                return Ok(());
            }
        };
        let Some(svm) = core.live.svm(record.svm.into()) else {
            not_taken(Problem::Inconsistent, format!("SVM {} does not exist here", record.svm));
            return Ok(());
        };
        match core.add_volume(&svm, &record, true) {
            Ok(()) => import.volumes += 1,
            Err(VolumeError::Exists { .. }) => match core.records.read::<VolumeRecord>(&key)? {
                Some(read) if read.body == record => import.volumes_present += 1,
                Some(_) | None => not_taken(Problem::Inconsistent, "another volume has its UUID here".to_owned()),
            },
            Err(VolumeError::Key(error @ KeyError::Exists { .. })) => {
                not_taken(Problem::Inconsistent, error.to_string());
            }
            Err(VolumeError::Key(error)) => return Err(error),
            Err(VolumeError::Records(error)) => return Err(error.into()),
            Err(error) => not_taken(Problem::Inconsistent, error.to_string()),
        }
        Ok(())
    }
}
