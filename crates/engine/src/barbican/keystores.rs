//! Keystores at a Barbican: made, changed, and put under another secret.

use std::sync::Arc;

use claviger_barbican::SecretUrl;
use claviger_store::{Batch, Expect, MAX_RECORD_BYTES, StoreError, Table};
use claviger_wrap::{KekId, SvmId, SystemRandom, random_uuid};
use uuid::Uuid;

use super::{BarbicanSettings, BarbicanUpdate, CredentialSeal};
use crate::engine::{Core, Engine};
use crate::jobs::{Job, JobOperation};
use crate::keeper::{KekPlace, KeptKek};
use crate::key_error::KeyError;
use crate::keystore_name::KeystoreName;
use crate::live::LiveSvm;
use crate::live_keystores::Keystores;
use crate::opening::open_all;
use crate::operations::move_task;
use crate::own_keeper::NoKeeper;
use crate::records::svm_keystores::BarbicanRecord;
use crate::records::{
    Body, Configuration, KeeperRecord, Purpose, Read, RecordError, RecordName, SvmKeystores, SvmRecord,
};
use crate::svm_keystore_error::SvmKeystoreError;
use crate::svm_keystores::KeystoreInfo;

impl Engine {
    /// Makes a keystore at an OpenStack Barbican for a data SVM. It is not enabled, and nothing is sent.
    ///
    /// # Errors
    /// Those of [`Engine::may_create_barbican`]; [`SvmKeystoreError::NameTaken`], [`SvmKeystoreError::TooMany`];
    /// [`SvmKeystoreError::Settings`] where they cannot be used; others as they say. Nothing has changed then.
    pub fn create_barbican(
        &self,
        svm: SvmId,
        name: &KeystoreName,
        settings: &BarbicanSettings,
    ) -> Result<KeystoreInfo, SvmKeystoreError> {
        self.may_create_barbican(svm)?;
        let core = &self.core;
        let live = core.data_svm(svm)?;
        let keystore = random_uuid(&mut SystemRandom)?;
        let seal = CredentialSeal::of(core.records.sealing(), &core.arena, svm, keystore).map_err(NoKeeper::from)?;
        let record = BarbicanRecord::new(settings, &seal).map_err(NoKeeper::from)?;
        let configuration = Configuration {
            keystore,
            name: name.clone(),
            created: core.clock.now(),
            keeper: KeeperRecord::Barbican(record),
        };
        // What no client can be made of is refused here.
        core.trial_keeper(svm, &configuration)?;
        core.add_configuration(&live, &configuration)?;
        tracing::info!(%svm, %keystore, %name, "Barbican keystore created");
        Ok(KeystoreInfo::own(svm, &configuration, None))
    }

    /// Changes how a keystore asks its Barbican, or as whom, after a fetch of the top-level key, and of every KEK that it keeps, in
    /// the new way. Where nothing changes, nothing is sent.
    ///
    /// # Errors
    /// [`SvmKeystoreError::Keeper`] where the fetch fails; [`SvmKeystoreError::Busy`]; others as they say. The old settings stay in
    /// force then.
    pub fn update_barbican(&self, keystore: Uuid, update: &BarbicanUpdate) -> Result<KeystoreInfo, SvmKeystoreError> {
        let core = &self.core;
        let live = core.svm_of_keystore(keystore)?;
        let svm = live.id;
        loop {
            let (keks, keystores) = (live.keks.load_full(), live.keystores.load_full());
            let Keystores::There(there) = keystores.as_ref() else {
                return Err(SvmKeystoreError::Unknown { keystore });
            };
            let list = &there.list.body;
            let old = list.get(keystore).ok_or(SvmKeystoreError::Unknown { keystore })?;
            if update.is_empty() {
                return Ok(KeystoreInfo::own(svm, old, list.enabled));
            }
            core.refuse_busy(svm, list)?;
            let seal =
                CredentialSeal::of(core.records.sealing(), &core.arena, svm, keystore).map_err(NoKeeper::from)?;
            let KeeperRecord::Barbican(record) = &old.keeper;
            let record = record.updated(update, &seal).map_err(NoKeeper::from)?;
            let new = Configuration { keeper: KeeperRecord::Barbican(record), ..old.clone() };
            let changed = list.with(new.clone());
            refuse_too_large(&changed)?;
            core.try_configuration(&live, &new)?;
            let (batch, changed) = core.put_keystores(Batch::new(), &there.list, changed)?;
            match core.commit_keystores(&live, batch, changed) {
                Ok(()) => {
                    tracing::info!(%svm, %keystore, "keystore updated");
                    // What the old settings did not give comes into memory now.
                    let closed = core.to_open([live.clone()], |keks| !keks.is_open())?;
                    open_all(closed, || true, |_, _, _| ());
                    return Ok(KeystoreInfo::own(svm, &new, list.enabled));
                }
                // Another keystore of the SVM was made or changed meanwhile.
                Err(RecordError::Store(StoreError::Conflict { .. })) if live.has_changed(&keks, &keystores) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Has what an enabled keystore keeps be kept under another top-level key of the same keeper; for Barbican, the secret with this
    /// URL. Returns at once with the job.
    ///
    /// # Errors
    /// [`SvmKeystoreError::NotEnabled`]; [`SvmKeystoreError::NoKeys`] before the first key; [`SvmKeystoreError::Mixed`] where the
    /// cluster's keystore still keeps the SVM's KEK; [`SvmKeystoreError::SameKey`]; others as [`Engine::switch`].
    pub fn rekey_external(&self, keystore: Uuid, key: &SecretUrl) -> Result<Job, SvmKeystoreError> {
        let live = self.core.svm_of_keystore(keystore)?;
        let svm = live.id;
        let key_id = key.to_string();
        let operation = JobOperation::RekeyExternal { svm, keystore, key_id: key_id.clone() };
        self.begin(&live, &operation, |there, list| {
            let configuration = there.get(keystore).ok_or(SvmKeystoreError::Unknown { keystore })?;
            if there.enabled != Some(keystore) {
                return Err(SvmKeystoreError::NotEnabled { keystore });
            }
            let KeeperRecord::Barbican(record) = &configuration.keeper;
            if record.key_id == key_id {
                return Err(SvmKeystoreError::SameKey { keystore });
            }
            match list.ok_or(SvmKeystoreError::NoKeys { svm })?.is_kept_by(keystore) {
                true => Ok(move_task(svm, Some(keystore), keystore, Purpose::RekeyExternal { key_id: key_id.clone() })),
                false => Err(SvmKeystoreError::Mixed { svm, keystore }),
            }
        })
    }
}

impl Core {
    /// Makes a new configuration durable and publishes it.
    fn add_configuration(&self, live: &LiveSvm, configuration: &Configuration) -> Result<(), SvmKeystoreError> {
        loop {
            let (keks, record) = (live.keks.load_full(), live.record.load_full());
            let Ok(svm) = record.as_ref() else { return Err(SvmKeystoreError::Damaged { svm: live.id }) };
            let keystores = live.keystores.load_full();
            let (mut list, expect) = match keystores.as_ref() {
                Keystores::None => (SvmKeystores::empty(live.id), Expect::Absent),
                Keystores::There(there) => (there.list.body.clone(), there.list.unchanged()),
                Keystores::Damaged => return Err(SvmKeystoreError::Damaged { svm: live.id }),
            };
            if list.keystores.iter().any(|one| one.name == configuration.name) {
                return Err(SvmKeystoreError::NameTaken { name: configuration.name.clone() });
            }
            if list.keystores.len() >= SvmKeystores::MAX {
                return Err(SvmKeystoreError::TooMany);
            }
            list.keystores.push(configuration.clone());
            refuse_too_large(&list)?;
            let raw = self.records.seal(&list)?;
            let key = SvmKeystores::key_of(live.id);
            let batch = Batch::new()
                .require(Table::Svms, SvmRecord::key_of(live.id), svm.unchanged())
                .require(Table::Keystores, key.clone(), expect)
                .put(Table::Keystores, key, raw.clone());
            match self.commit_keystores(live, batch, Read { body: list, raw }) {
                Ok(()) => return Ok(()),
                Err(RecordError::Store(StoreError::Conflict { table: Table::Keystores, .. }))
                    if live.has_changed(&keks, &keystores) => {}
                // Renamed or deleted meanwhile.
                Err(RecordError::Store(StoreError::Conflict { table: Table::Svms, .. }))
                    if !Arc::ptr_eq(&record, &live.record.load()) || self.live.svm(live.id).is_none() =>
                {
                    self.live.svm(live.id).ok_or(SvmKeystoreError::UnknownSvm { svm: live.id })?;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Asks the keeper in the way of a configuration that is not in force: for the top-level key, and for every KEK that the keystore
    /// keeps.
    fn try_configuration(&self, live: &LiveSvm, new: &Configuration) -> Result<(), SvmKeystoreError> {
        let keeper = self.trial_keeper(live.id, new)?;
        keeper.probe(&mut |_| ())?;
        let keks = live.keks.load_full();
        for entry in keks.list().iter().flat_map(|list| list.body.entries()) {
            for kept in entry.kept.iter().filter(|kept| kept.keystore == new.keystore) {
                let place = KekPlace { svm: live.id, version: entry.kek_version };
                let key = keeper.fetch(&KeptKek { bytes: kept.bytes.clone() }, place)?;
                if KekId::of(&key, entry.kek_version) != entry.kek_id {
                    return Err(KeyError::KeptOtherwise.into());
                }
            }
        }
        Ok(())
    }
}

/// Room that a record of keystores must leave, so that an operation can still be written into it.
const SLACK_BYTES: usize = 512;

fn refuse_too_large(list: &SvmKeystores) -> Result<(), SvmKeystoreError> {
    let json = serde_json::to_vec(list)
        .map_err(|source| RecordError::Body { name: RecordName::of::<SvmKeystores>(&list.key()), source })?;
    match json.len() + SLACK_BYTES <= MAX_RECORD_BYTES {
        true => Ok(()),
        false => Err(SvmKeystoreError::TooMany),
    }
}
