//! Many keys at a time: a node boots with 100,000 volumes.

use claviger_secret::{Burning, burned};
use claviger_store::{Batch, Expect, Expectation, Outcome, Replacement, Table};
use claviger_wrap::{KeyAlgorithm, KeyPlace, KeyVersion, PlainKey, SvmId, SystemRandom};

use crate::engine::{Core, Engine};
use crate::key_error::KeyError;
use crate::key_record::{ObjectRef, parse_store_key, store_key};
use crate::keys::{OpenKey, PAGE, guard, seal};
use crate::live::OpenKeks;
use crate::records::{RecordError, SvmRecord};

/// A key to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewKey {
    /// What it is to encrypt.
    pub object: ObjectRef,
    /// The cipher that it is for.
    pub algorithm: KeyAlgorithm,
}

/// What became of one key of many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Creation {
    /// It was made, and is durable.
    Created,
    /// The object had a key already, which was left as it is.
    Exists,
}

impl Engine {
    /// Makes many keys, each on its own: one [`Creation`] per key, in their order. Durable when it returns.
    ///
    /// # Errors
    /// [`KeyError::OfVolume`] for a named volume: none was made then, unless the volume was made meanwhile. Others as they say: any subset of
    /// the keys may have been made then, and calling again makes the others.
    pub fn create_keys(&self, svm: SvmId, keys: &[NewKey]) -> Result<Vec<Creation>, KeyError> {
        let live = self.core.svm(svm)?;
        self.core.refuse_all_owned(svm, keys)?;
        let mut creations = Vec::with_capacity(keys.len());
        for chunk in keys.chunks(PAGE) {
            // What was made stays made when the KEKs change in between; only the rest is tried again.
            let mut done: Vec<Option<Creation>> = vec![None; chunk.len()];
            loop {
                // One expectation for all: a volume without a key whose UUID may be among these changes the SVM's record.
                let record = self.core.as_it_is(Table::Svms, SvmRecord::key_of(svm))?;
                self.core.refuse_all_owned(svm, chunk)?;
                match self.core.with_kek(&live, |keks| self.core.create_chunk(svm, keks, &record, chunk, &mut done)) {
                    Err(KeyError::KeksChanged { .. })
                        if self.core.as_it_is(Table::Svms, SvmRecord::key_of(svm))? != record => {}
                    created => break created?,
                }
            }
            creations.extend(done.into_iter().flatten());
        }
        Ok(creations)
    }

    /// Opens all keys of the SVM in the order of type and object, and gives each to `visit`, or the reason why it does
    /// not open. Returns how many there were.
    ///
    /// # Errors
    /// [`KeyError::UnknownSvm`], [`KeyError::Records`] where the store fails.
    pub fn open_all(
        &self,
        svm: SvmId,
        mut visit: impl FnMut(ObjectRef, Result<OpenKey, KeyError>),
    ) -> Result<u64, KeyError> {
        let live = self.core.svm(svm)?;
        let mut count = 0;
        let mut after: Option<Vec<u8>> = None;
        loop {
            let keks = live.keks.load_full();
            let page = self.core.scan_keys(svm.as_bytes(), after.as_deref(), PAGE)?;
            for entry in &page {
                let Ok((_, object)) = parse_store_key(&entry.key) else { continue };
                let opened = match self.core.open_record(&keks, svm, object, &entry.value) {
                    // The first KEK was made, or a rekey has overtaken this page.
                    Err(KeyError::NoSuchKek { .. } | KeyError::NoKek { .. }) => match self.open_key(svm, object) {
                        Err(KeyError::Missing { .. }) => continue,
                        opened => opened,
                    },
                    opened => opened,
                };
                count += 1;
                visit(object, opened);
            }
            match page.last() {
                Some(last) if page.len() == PAGE => after = Some(last.key.clone()),
                _ => return Ok(count),
            }
        }
    }
}

impl Core {
    /// Refuses where one of the objects is a named volume. One with a key that is made from now on finds its key here, or is found.
    fn refuse_all_owned(&self, svm: SvmId, keys: &[NewKey]) -> Result<(), KeyError> {
        // Where no volume has a name, there is nothing to look for.
        if self.has_volumes(svm)? {
            for key in keys {
                drop(self.refuse_owned(svm, key.object, Batch::new())?);
            }
        }
        Ok(())
    }

    /// That the record stays as it is now.
    fn as_it_is(&self, table: Table, key: Vec<u8>) -> Result<Expectation, RecordError> {
        let raw = self.records.store().get(table, &key)?;
        Ok(Expectation { table, key, expect: raw.map_or(Expect::Absent, Expect::Exactly) })
    }

    fn create_chunk(
        &self,
        svm: SvmId,
        keks: &OpenKeks,
        record: &Expectation,
        chunk: &[NewKey],
        done: &mut [Option<Creation>],
    ) -> Result<(), KeyError> {
        let open = done.iter().filter(|creation| creation.is_none()).count();
        let mut nonces = self.nonces(svm, &keks.current, open)?;
        self.raise_once()?;
        let mut sealed = |burning: &Burning, key: &NewKey| {
            let (key_type, object) = (key.object.key_type(), key.object.uuid().into());
            let place = KeyPlace { svm, key_type, object, version: KeyVersion::FIRST };
            let plain = PlainKey::generate(&self.arena, key.algorithm, &mut SystemRandom)?;
            let mut value = Vec::new();
            seal(burning, &keks.current, &plain, &place, &mut nonces, &mut value)?;
            Ok(Replacement { key: store_key(svm, key.object).to_vec(), expect: Expect::Absent, value })
        };
        let waiting = chunk.iter().zip(done.iter()).filter(|(_, creation)| creation.is_none());
        let items: Vec<_> =
            burned(|burning| waiting.map(|(key, _)| sealed(burning, key)).collect::<Result<_, KeyError>>())?;
        let guards = [guard(keks), record.clone()];
        let outcomes = self.records.store().replace_each(Table::Keys, &items, &guards).map_err(RecordError::Store)?;
        let waiting = done.iter_mut().filter(|creation| creation.is_none());
        for (creation, outcome) in waiting.zip(&outcomes) {
            *creation = match outcome {
                Outcome::Replaced => Some(Creation::Created),
                Outcome::Changed => Some(Creation::Exists),
                Outcome::Refused => None,
            };
        }
        match done.iter().all(Option::is_some) {
            true => Ok(()),
            false => Err(KeyError::KeksChanged { svm }),
        }
    }
}
