//! Named volumes: made and deleted together with their keys, and found by UUID or by name.

use std::sync::Arc;

use claviger_secret::burned;
use claviger_store::{Batch, Expect, Expectation, StoreError, Table};
use claviger_wrap::{KeyAlgorithm, KeyPlace, KeyVersion, PlainKey, SvmId, SystemRandom, random_uuid};
use uuid::Uuid;

use crate::engine::{Core, Engine};
use crate::key_error::KeyError;
use crate::key_record::{ObjectRef, store_key};
use crate::keys::{Committed, Key, KeyInfo, OpenKey, PAGE, info, seal};
use crate::live::{LiveSvm, OpenKeks};
use crate::records::{Body, NewestKey, Read, RecordError, RecordName, V1, VolumeNameRecord, VolumeRecord};
use crate::volume::{NewVolume, VolumeEncryption, VolumeInfo, VolumeName, VolumePosition};
use crate::volume_error::VolumeError;

/// A page of volumes, in the order of SVM UUID and name.
#[derive(Debug)]
pub struct VolumePage {
    /// The volumes.
    pub volumes: Vec<ListedVolume>,
    /// Where the next page begins; `None` where there are no more.
    pub next: Option<VolumePosition>,
}

/// One volume of a page.
#[derive(Debug)]
pub struct ListedVolume {
    /// Its SVM and name.
    pub position: VolumePosition,
    /// The volume, or why its records do not tell.
    pub volume: Result<VolumeInfo, VolumeError>,
}

impl Engine {
    /// Makes a volume and, where it is to be encrypted, its key. Both are durable when it returns, or neither is there.
    /// [`Engine::open_key`] with [`ObjectRef::Volume`] opens the key. The SVM's first key makes the SVM's KEK.
    ///
    /// # Errors
    /// [`VolumeError::UnknownSvm`], [`VolumeError::NameTaken`], [`VolumeError::Exists`], [`VolumeError::TooManyAggregates`];
    /// [`VolumeError::Key`] as [`Engine::create_key`].
    pub fn create_volume(&self, svm: SvmId, new: &NewVolume) -> Result<VolumeInfo, VolumeError> {
        if new.aggregates.len() > NewVolume::MAX_AGGREGATES {
            return Err(VolumeError::TooManyAggregates { found: new.aggregates.len() });
        }
        let core = &self.core;
        let live = core.svm(svm)?;
        let volume = new.id.map_or_else(|| random_uuid(&mut SystemRandom), Ok)?;
        let created = core.clock.now();
        let NewVolume { id: _, name, size, kind, aggregates, encrypted } = new.clone();
        let key = encrypted.then_some(NewestKey { key_version: KeyVersion::FIRST, made: created });
        let (version, svm_uuid) = (V1, svm.uuid());
        let record = VolumeRecord { version, volume, svm: svm_uuid, name, size, kind, aggregates, created, key };
        let encryption = match key {
            Some(NewestKey { made, .. }) => {
                VolumeEncryption::On { key: core.add_encrypted(&live, &record)?, made: Some(made) }
            }
            None => {
                core.add_volume(&live, &record, new.id.is_some())?;
                VolumeEncryption::Off
            }
        };
        tracing::info!(%svm, %volume, name = %record.name, encrypted, "volume created");
        Ok(info_of(record, encryption))
    }

    /// The named volume with this UUID.
    ///
    /// # Errors
    /// [`VolumeError::Unknown`], [`VolumeError::Records`].
    pub fn volume(&self, volume: Uuid) -> Result<VolumeInfo, VolumeError> {
        self.core.volume_info(volume)?.ok_or(VolumeError::Unknown { volume })
    }

    /// The volume of this name.
    ///
    /// # Errors
    /// [`VolumeError::UnknownSvm`], [`VolumeError::UnknownName`], [`VolumeError::Records`].
    pub fn volume_named(&self, svm: SvmId, name: &VolumeName) -> Result<VolumeInfo, VolumeError> {
        self.core.svm(svm)?;
        let position = VolumePosition { svm, name: name.clone() };
        self.core.volume_at(&position)?.ok_or_else(|| VolumeError::UnknownName { svm, name: name.clone() })
    }

    /// Up to `limit` volumes of an SVM, or of all, behind `after`, in the order of SVM UUID and name. What a page costs does
    /// not depend on how many volumes there are.
    ///
    /// # Errors
    /// [`VolumeError::UnknownSvm`], [`VolumeError::Records`] where the store fails. A record that is damaged is an error in its
    /// place, and the others are listed.
    pub fn volumes(
        &self,
        svm: Option<SvmId>,
        after: Option<&VolumePosition>,
        limit: usize,
    ) -> Result<VolumePage, VolumeError> {
        svm.map(|svm| self.core.svm(svm)).transpose()?;
        let after = after.map(|after| VolumeNameRecord::key_of(after.svm, &after.name));
        let prefix = VolumeNameRecord::prefix(svm);
        let page = self.core.records.store().scan(Table::Volumes, &prefix, after.as_deref(), limit);
        let page = page.map_err(RecordError::Store)?;
        // A key of another form is none of this release's; verification names it.
        let positions: Vec<_> = page.iter().filter_map(|entry| VolumeNameRecord::position_of(&entry.key)).collect();
        let next = if page.len() == limit { positions.last().cloned() } else { None };
        let mut volumes = Vec::with_capacity(positions.len());
        for position in positions {
            match self.core.volume_at(&position).transpose() {
                // Deleted meanwhile.
                None => {}
                Some(Err(VolumeError::Records(RecordError::Store(error)))) => {
                    return Err(RecordError::Store(error).into());
                }
                Some(volume) => volumes.push(ListedVolume { position, volume }),
            }
        }
        Ok(VolumePage { volumes, next })
    }

    /// Begins a rotation of the volume's key, as [`Engine::begin_rotation`].
    ///
    /// # Errors
    /// [`VolumeError::Unknown`], [`VolumeError::NotEncrypted`]; [`VolumeError::Key`] as [`Engine::begin_rotation`].
    pub fn begin_volume_rotation(&self, volume: Uuid) -> Result<OpenKey, VolumeError> {
        let svm = self.core.svm_of_encrypted(volume)?;
        Ok(self.begin_rotation(svm, ObjectRef::Volume(volume))?)
    }

    /// Drops the older version of the volume's key, as [`Engine::finish_rotation`].
    ///
    /// # Errors
    /// [`VolumeError::Unknown`], [`VolumeError::NotEncrypted`]; [`VolumeError::Key`] as [`Engine::finish_rotation`].
    pub fn finish_volume_rotation(&self, volume: Uuid) -> Result<Key, VolumeError> {
        let svm = self.core.svm_of_encrypted(volume)?;
        Ok(self.finish_rotation(svm, ObjectRef::Volume(volume))?)
    }

    /// Deletes the volume and its key in one commit, also where its records or the key are damaged. As with
    /// [`Engine::delete_key`], it is no erasure.
    ///
    /// # Errors
    /// [`VolumeError::Unknown`]; [`VolumeError::Records`], also where the volume's record and that of its name are both damaged:
    /// nobody knows its SVM then.
    pub fn delete_volume(&self, volume: Uuid) -> Result<(), VolumeError> {
        let core = &self.core;
        let key = VolumeRecord::key_of(volume);
        core.get_volume(&key)?.ok_or(VolumeError::Unknown { volume })?;
        core.raise_once()?;
        loop {
            let raw = core.get_volume(&key)?.ok_or(VolumeError::Unknown { volume })?;
            let position = match core.records.open::<VolumeRecord>(&key, raw.clone()) {
                Ok(read) => VolumePosition { svm: read.body.svm.into(), name: read.body.name },
                Err(error) => core.position_by_name(volume)?.ok_or(error)?,
            };
            match core.records.store().commit(core.deletion(volume, raw, &position)?) {
                Ok(()) => {
                    tracing::info!(svm = %position.svm, %volume, name = %position.name, "volume deleted");
                    return Ok(());
                }
                // A rekey, a rotation or another deletion was faster.
                Err(StoreError::Conflict { .. }) => {}
                Err(error) => return Err(RecordError::from(error).into()),
            }
        }
    }
}

/// What the table `volumes` says of the object of a key.
pub(crate) enum Owner {
    /// No volume with a name: this says so in the commit.
    Nobody(Option<Expectation>),
    /// A volume with a name.
    Volume(Box<Read<VolumeRecord>>),
}

impl Core {
    /// Puts a volume without a key. Where others may know its UUID, they may be making a key of it: whoever makes many expects the SVM's
    /// record unchanged since it has looked for volumes.
    pub(crate) fn add_volume(&self, svm: &LiveSvm, record: &VolumeRecord, is_known: bool) -> Result<(), VolumeError> {
        self.raise_once()?;
        let commit = |batch| Ok(self.records.store().commit(batch)?);
        match self.commit_into(svm, &self.put_volume(record)?, is_known, commit)? {
            Committed::Done => Ok(()),
            Committed::RecordChanged { table, key } => Err(is_there(record, table, &key)),
        }
    }

    /// Puts a volume with its key, which it returns.
    fn add_encrypted(&self, svm: &Arc<LiveSvm>, record: &VolumeRecord) -> Result<KeyInfo, VolumeError> {
        let object = record.object();
        let key = store_key(svm.id, object);
        // Looked for before, so that no KEK is made for a volume that is refused.
        for (table, key) in
            [(Table::Volumes, record.key()), (Table::Volumes, record.naming().key()), (Table::Keys, key.to_vec())]
        {
            if self.records.store().get(table, &key).map_err(RecordError::Store)?.is_some() {
                return Err(is_there(record, table, &key));
            }
        }
        let batch = self.put_volume(record)?;
        let plain =
            PlainKey::generate(&self.arena, KeyAlgorithm::XtsAes256, &mut SystemRandom).map_err(KeyError::from)?;
        let place = KeyPlace {
            svm: svm.id,
            key_type: object.key_type(),
            object: record.volume.into(),
            version: KeyVersion::FIRST,
        };
        let commit = |keks: &OpenKeks| {
            let mut blob = Vec::new();
            let mut nonces = self.nonces(svm.id, &keks.current, 1)?;
            self.raise_once()?;
            burned(|burning| seal(burning, &keks.current, &plain, &place, &mut nonces, &mut blob))?;
            let made = info(svm.id, object, &blob)?;
            let batch = batch.clone().require(Table::Keys, key, Expect::Absent).put(Table::Keys, key, blob);
            Ok((self.commit_under(keks, batch)?, made))
        };
        match self.with_kek(svm, commit)? {
            (Committed::Done, made) => Ok(made),
            (Committed::RecordChanged { table, key }, _) => Err(is_there(record, table, &key)),
        }
    }

    /// A batch that makes the volume, if neither its UUID nor its name is taken, and if it has no key where it is to have none.
    fn put_volume(&self, record: &VolumeRecord) -> Result<Batch, RecordError> {
        let naming = record.naming();
        let batch = match record.key {
            Some(_) => Batch::new(),
            None => {
                let key = store_key(record.svm.into(), record.object());
                Batch::new().require(Table::Keys, key, Expect::Absent)
            }
        };
        Ok(batch
            .require(Table::Volumes, record.key(), Expect::Absent)
            .require(Table::Volumes, naming.key(), Expect::Absent)
            .put(Table::Volumes, record.key(), self.records.seal(record)?)
            .put(Table::Volumes, naming.key(), self.records.seal(&naming)?))
    }

    /// A batch that deletes the volume, its name and its key, whatever these records hold.
    fn deletion(&self, volume: Uuid, raw: Vec<u8>, position: &VolumePosition) -> Result<Batch, RecordError> {
        let store = self.records.store();
        let key = VolumeRecord::key_of(volume);
        let mut batch =
            Batch::new().require(Table::Volumes, key.clone(), Expect::Exactly(raw)).delete(Table::Volumes, key);
        let key = store_key(position.svm, ObjectRef::Volume(volume));
        if let Some(raw) = store.get(Table::Keys, &key)? {
            batch = batch.require(Table::Keys, key, Expect::Exactly(raw)).delete(Table::Keys, key);
        } else {
            batch = batch.require(Table::Keys, key, Expect::Absent);
        }
        let key = VolumeNameRecord::key_of(position.svm, &position.name);
        if let Some(raw) = self.get_volume(&key)? {
            match self.records.open::<VolumeNameRecord>(&key, raw.clone()) {
                // It names another volume, which keeps it.
                Ok(naming) if naming.body.volume != volume => {}
                Ok(_) | Err(_) => {
                    batch =
                        batch.require(Table::Volumes, key.clone(), Expect::Exactly(raw)).delete(Table::Volumes, key);
                }
            }
        }
        Ok(batch)
    }

    fn get_volume(&self, key: &[u8]) -> Result<Option<Vec<u8>>, RecordError> {
        Ok(self.records.store().get(Table::Volumes, key)?)
    }

    /// Where the volume is, by the records of all names: for one whose own record is damaged.
    fn position_by_name(&self, volume: Uuid) -> Result<Option<VolumePosition>, RecordError> {
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page =
                self.records.store().scan(Table::Volumes, &VolumeNameRecord::prefix(None), after.as_deref(), PAGE)?;
            let last = page.last().map(|entry| entry.key.clone());
            for entry in page {
                if let Ok(naming) = self.records.open::<VolumeNameRecord>(&entry.key, entry.value)
                    && naming.body.volume == volume
                {
                    return Ok(Some(VolumePosition { svm: naming.body.svm.into(), name: naming.body.name }));
                }
            }
            match last {
                Some(last) => after = Some(last),
                None => return Ok(None),
            }
        }
    }

    /// The volume, with what its key's record says, both of one time. `None` where there is no such volume.
    fn volume_info(&self, volume: Uuid) -> Result<Option<VolumeInfo>, VolumeError> {
        let key = VolumeRecord::key_of(volume);
        loop {
            let Some(read) = self.records.read::<VolumeRecord>(&key)? else { return Ok(None) };
            let encryption = self.encryption(&read.body)?;
            let agrees = match (&encryption, read.body.key) {
                (VolumeEncryption::Off, _) | (VolumeEncryption::On { made: Some(_), .. }, _) => true,
                (VolumeEncryption::On { made: None, .. } | VolumeEncryption::KeyMissing, _)
                | (VolumeEncryption::KeyDamaged, _) => false,
            };
            // A rotation, or the volume's deletion, may have come between the two reads.
            if agrees || self.get_volume(&key)?.as_ref() == Some(&read.raw) {
                return Ok(Some(info_of(read.body, encryption)));
            }
        }
    }

    fn encryption(&self, record: &VolumeRecord) -> Result<VolumeEncryption, RecordError> {
        let Some(NewestKey { key_version, made }) = record.key else { return Ok(VolumeEncryption::Off) };
        let (svm, object) = (record.svm.into(), record.object());
        let Some(raw) = self.records.store().get(Table::Keys, &store_key(svm, object))? else {
            return Ok(VolumeEncryption::KeyMissing);
        };
        Ok(match info(svm, object, &raw) {
            Ok(key) => VolumeEncryption::On { key, made: (key.version == key_version).then_some(made) },
            Err(_) => VolumeEncryption::KeyDamaged,
        })
    }

    /// The volume of this name. `None` where there is none.
    fn volume_at(&self, position: &VolumePosition) -> Result<Option<VolumeInfo>, VolumeError> {
        let key = VolumeNameRecord::key_of(position.svm, &position.name);
        loop {
            let Some(naming) = self.records.read::<VolumeNameRecord>(&key)? else { return Ok(None) };
            if let Some(volume) = self.volume_info(naming.body.volume)? {
                return Ok(Some(volume));
            }
            if self.get_volume(&key)?.as_ref() == Some(&naming.raw) {
                let name = RecordName::of::<VolumeRecord>(&VolumeRecord::key_of(naming.body.volume));
                return Err(RecordError::Lost { name }.into());
            }
        }
    }

    fn svm_of_encrypted(&self, volume: Uuid) -> Result<SvmId, VolumeError> {
        let read: Option<Read<VolumeRecord>> = self.records.read(&VolumeRecord::key_of(volume))?;
        let VolumeRecord { svm, name, key, .. } = read.ok_or(VolumeError::Unknown { volume })?.body;
        match key {
            Some(_) => Ok(svm.into()),
            None => Err(VolumeError::NotEncrypted { volume, name }),
        }
    }

    /// Whether the SVM has a volume with a name.
    pub(crate) fn has_volumes(&self, svm: SvmId) -> Result<bool, RecordError> {
        Ok(!self.records.store().scan(Table::Volumes, &VolumeNameRecord::prefix(Some(svm)), None, 1)?.is_empty())
    }

    /// The named volume whose key this is.
    pub(crate) fn owner(&self, svm: SvmId, object: ObjectRef) -> Result<Owner, RecordError> {
        let ObjectRef::Volume(volume) = object else { return Ok(Owner::Nobody(None)) };
        let key = VolumeRecord::key_of(volume);
        let nobody = |expect| Owner::Nobody(Some(Expectation { table: Table::Volumes, key: key.clone(), expect }));
        let Some(raw) = self.get_volume(&key)? else { return Ok(nobody(Expect::Absent)) };
        let read = self.records.open::<VolumeRecord>(&key, raw)?;
        Ok(match SvmId::from(read.body.svm) == svm {
            true => Owner::Volume(Box::new(read)),
            // The same UUID in another SVM.
            false => nobody(read.unchanged()),
        })
    }

    /// Refuses to make or delete the key of a named volume on its own. The batch will conflict where such a volume is made meanwhile.
    pub(crate) fn refuse_owned(&self, svm: SvmId, object: ObjectRef, batch: Batch) -> Result<Batch, KeyError> {
        match self.owner(svm, object)? {
            Owner::Nobody(None) => Ok(batch),
            Owner::Nobody(Some(Expectation { table, key, expect })) => Ok(batch.require(table, key, expect)),
            Owner::Volume(read) => Err(KeyError::OfVolume { object, name: read.body.name }),
        }
    }

    /// Adds to `batch`, which makes a version of a key, that its volume has that now.
    pub(crate) fn rotate_volume(
        &self,
        svm: SvmId,
        object: ObjectRef,
        key_version: KeyVersion,
        batch: Batch,
    ) -> Result<Batch, RecordError> {
        match self.owner(svm, object)? {
            Owner::Nobody(None) => Ok(batch),
            Owner::Nobody(Some(Expectation { table, key, expect })) => Ok(batch.require(table, key, expect)),
            Owner::Volume(old) => {
                let newest = NewestKey { key_version, made: self.clock.now() };
                let record = VolumeRecord { key: Some(newest), ..old.body.clone() };
                let (key, raw) = (record.key(), self.records.seal(&record)?);
                Ok(batch.require(Table::Volumes, key.clone(), old.unchanged()).put(Table::Volumes, key, raw))
            }
        }
    }

    /// Fails where an encrypted volume of the SVM has no key record. Whoever drops a KEK asks first: the record may come back from
    /// a copy, and be under it. `go_on` is asked once a page.
    pub(crate) fn refuse_lost_volume_keys<E: From<RecordError> + From<KeyError>>(
        &self,
        svm: SvmId,
        mut go_on: impl FnMut() -> Result<(), E>,
    ) -> Result<(), E> {
        let prefix = VolumeNameRecord::prefix(Some(svm));
        let mut after: Option<Vec<u8>> = None;
        loop {
            go_on()?;
            let page = self.records.store().scan(Table::Volumes, &prefix, after.as_deref(), PAGE);
            let page = page.map_err(RecordError::Store)?;
            let last = page.last().map(|entry| entry.key.clone());
            for entry in page {
                let naming = match self.records.open::<VolumeNameRecord>(&entry.key, entry.value) {
                    Ok(naming) => naming,
                    Err(error) => {
                        self.refuse_lost_key_under(&entry.key, error)?;
                        continue;
                    }
                };
                let key = store_key(svm, ObjectRef::Volume(naming.body.volume));
                if self.records.store().get(Table::Keys, &key).map_err(RecordError::Store)?.is_none() {
                    self.refuse_lost_key(&naming)?;
                }
            }
            match last {
                Some(last) => after = Some(last),
                None => return Ok(()),
            }
        }
    }

    /// Whether the SVM has keys, or an encrypted volume whose key record is lost and may come back.
    pub(crate) fn needs_keks(&self, svm: SvmId) -> Result<bool, KeyError> {
        if !self.scan_keys(svm.as_bytes(), None, 1)?.is_empty() {
            return Ok(true);
        }
        match self.refuse_lost_volume_keys(svm, || Ok(())) {
            Ok(()) => Ok(false),
            Err(KeyError::VolumeKeyMissing { .. }) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Fails where this volume, which has no key record, needs one.
    fn refuse_lost_key(&self, naming: &Read<VolumeNameRecord>) -> Result<(), KeyError> {
        let key = VolumeRecord::key_of(naming.body.volume);
        match self.records.read::<VolumeRecord>(&key)? {
            Some(read) => self.refuse_without_key(&read),
            // Nobody knows whether it was encrypted.
            None if self.get_volume(&naming.body.key())?.as_ref() == Some(&naming.raw) => {
                Err(RecordError::Lost { name: RecordName::of::<VolumeRecord>(&key) }.into())
            }
            None => Ok(()),
        }
    }

    /// The same for the volume whose name's record does not open: its own record tells, which is looked for among all. `error` says what is
    /// wrong with the name.
    fn refuse_lost_key_under(&self, name: &[u8], error: RecordError) -> Result<(), KeyError> {
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = self.records.store().scan(Table::Volumes, VolumeRecord::PREFIX, after.as_deref(), PAGE);
            let page = page.map_err(RecordError::Store)?;
            let Some(last) = page.last().map(|entry| entry.key.clone()) else { return Err(error.into()) };
            // One that does not open may be the one that is meant: then none is found.
            let mut volumes = page.into_iter().filter_map(|entry| self.records.open(&entry.key, entry.value).ok());
            if let Some(read) = volumes.find(|read: &Read<VolumeRecord>| read.body.naming().key() == name) {
                return self.refuse_without_key(&read);
            }
            after = Some(last);
        }
    }

    /// Fails where the volume is encrypted and its key record is gone. Both go in one commit: where the volume is still the same, only the
    /// key is.
    fn refuse_without_key(&self, read: &Read<VolumeRecord>) -> Result<(), KeyError> {
        let VolumeRecord { volume, svm, name, key, .. } = &read.body;
        let record = store_key((*svm).into(), read.body.object());
        let is_lost = key.is_some()
            && self.records.store().get(Table::Keys, &record).map_err(RecordError::Store)?.is_none()
            && self.get_volume(&read.body.key())?.as_ref() == Some(&read.raw);
        match is_lost {
            true => Err(KeyError::VolumeKeyMissing { volume: *volume, name: name.clone() }),
            false => Ok(()),
        }
    }
}

fn info_of(record: VolumeRecord, encryption: VolumeEncryption) -> VolumeInfo {
    let VolumeRecord { version: _, volume: id, svm, name, size, kind, aggregates, created, key: _ } = record;
    VolumeInfo { id, svm: svm.into(), name, size, kind, aggregates, created, encryption }
}

/// What kept a volume from being made.
fn is_there(record: &VolumeRecord, table: Table, key: &[u8]) -> VolumeError {
    match table {
        Table::Keys => KeyError::Exists { object: record.object() }.into(),
        _ if key == record.key() => VolumeError::Exists { volume: record.volume },
        _ => VolumeError::NameTaken { svm: record.svm.into(), name: record.name.clone() },
    }
}
