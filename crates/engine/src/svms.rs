//! SVMs: tenants, and the admin SVM that stands for the cluster.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use claviger_store::{Batch, Expect, StoreError, Table};
use claviger_wrap::{SvmId, SystemRandom, random_uuid};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::engine::{Core, Engine};
use crate::error::{Advice, Blame, Fault};
use crate::keeper::KeeperError;
use crate::key_error::KeyError;
use crate::keys::Committed;
use crate::live::LiveSvm;
use crate::live_keystores::Keystores;
use crate::records::{
    Body, CertificateNameRecord, KekList, NameRecord, Operation, Read, RecordError, SealRecord, SvmKeystores,
    SvmRecord, V1,
};

/// The name of an SVM: 1 to 47 ASCII letters, digits, `.`, `-` and `_`, of which the first is a letter or `_`; not a UUID.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SvmName(String);

impl SvmName {
    /// The most bytes of a name.
    pub const MAX_LEN: usize = 47;

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SvmName {
    type Err = InvalidSvmName;

    fn from_str(name: &str) -> Result<Self, InvalidSvmName> {
        Self::try_from(name.to_owned())
    }
}

impl TryFrom<String> for SvmName {
    type Error = InvalidSvmName;

    fn try_from(name: String) -> Result<Self, InvalidSvmName> {
        let first = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
        let rest = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'));
        // An SVM can be named by its UUID too, so no name looks like one.
        let is_uuid = Uuid::parse_str(&name).is_ok();
        match first && rest && name.len() <= Self::MAX_LEN && !is_uuid {
            true => Ok(Self(name)),
            false => Err(InvalidSvmName),
        }
    }
}

impl From<SvmName> for String {
    fn from(name: SvmName) -> Self {
        name.0
    }
}

impl fmt::Display for SvmName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Not a name of an SVM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "an SVM's name has 1 to 47 ASCII letters, digits, '.', '-' and '_', and begins with a letter or '_'; it is not a UUID"
)]
pub struct InvalidSvmName;

/// An SVM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SvmInfo {
    id: SvmId,
    name: Option<SvmName>,
    admin: bool,
    created: Option<Timestamp>,
}

impl SvmInfo {
    /// The SVM's UUID.
    #[must_use]
    pub const fn id(&self) -> SvmId {
        self.id
    }

    /// Its name; `None` where its record is damaged.
    #[must_use]
    pub const fn name(&self) -> Option<&SvmName> {
        self.name.as_ref()
    }

    /// Whether it is the admin SVM, which stands for the cluster.
    #[must_use]
    pub const fn is_admin(&self) -> bool {
        self.admin
    }

    /// When it was made; `None` where its record is damaged.
    #[must_use]
    pub const fn created(&self) -> Option<Timestamp> {
        self.created
    }

    pub(crate) fn of(svm: &LiveSvm) -> Self {
        match svm.record.load().as_ref() {
            Ok(record) => Self {
                id: svm.id,
                name: Some(record.body.name.clone()),
                admin: record.body.admin,
                created: Some(record.body.created),
            },
            Err(_) => Self { id: svm.id, name: None, admin: false, created: None },
        }
    }
}

impl Engine {
    /// Makes a data SVM. Its KEK is made with its first key.
    ///
    /// # Errors
    /// [`SvmError::NameTaken`]; [`SvmError::Records`].
    pub fn create_svm(&self, name: &SvmName) -> Result<SvmInfo, SvmError> {
        let svm = self.core.add_svm(name, false, Batch::new())?;
        tracing::info!(%name, id = %svm.id(), "SVM created");
        Ok(svm)
    }

    /// All SVMs, the admin SVM first, then by name.
    #[must_use]
    pub fn svms(&self) -> Vec<SvmInfo> {
        let mut svms: Vec<_> = self.core.live.svms().values().map(|svm| SvmInfo::of(svm)).collect();
        svms.sort_by(|a, b| (!a.admin, &a.name, a.id).cmp(&(!b.admin, &b.name, b.id)));
        svms
    }

    /// The SVM with this UUID.
    ///
    /// # Errors
    /// [`SvmError::Unknown`].
    pub fn svm(&self, svm: SvmId) -> Result<SvmInfo, SvmError> {
        Ok(SvmInfo::of(&*self.core.live.svm(svm).ok_or(SvmError::Unknown { svm })?))
    }

    /// The SVM with this name, or whose UUID this is.
    ///
    /// # Errors
    /// [`SvmError::UnknownName`].
    pub fn svm_named(&self, name: &str) -> Result<SvmInfo, SvmError> {
        let svms = self.core.live.svms();
        let by_name = svms
            .values()
            .map(|svm| SvmInfo::of(svm))
            .find(|svm| svm.name.as_ref().is_some_and(|known| known.as_str() == name));
        let by_uuid = || Some(SvmInfo::of(svms.get(&SvmId::from(Uuid::parse_str(name).ok()?))?));
        by_name.or_else(by_uuid).ok_or_else(|| SvmError::UnknownName { name: name.to_owned() })
    }

    /// Gives an SVM another name.
    ///
    /// # Errors
    /// [`SvmError::Unknown`], [`SvmError::NameTaken`], [`SvmError::Busy`], [`SvmError::Records`].
    pub fn rename_svm(&self, svm: SvmId, name: &SvmName) -> Result<(), SvmError> {
        let records = &self.core.records;
        let live = self.core.live.svm(svm).ok_or(SvmError::Unknown { svm })?;
        let old: Read<SvmRecord> = records.read(&SvmRecord::key_of(svm))?.ok_or(SvmError::Unknown { svm })?;
        if old.body.name == *name {
            return Ok(());
        }
        let record = SvmRecord { name: name.clone(), ..old.body.clone() };
        let taken = NameRecord { version: V1, name: name.clone(), svm: svm.uuid() };
        let raw = records.seal(&record)?;
        let batch = Batch::new()
            .require(Table::Svms, taken.key(), Expect::Absent)
            .require(Table::Svms, record.key(), old.unchanged())
            .put(Table::Svms, taken.key(), records.seal(&taken)?)
            .put(Table::Svms, record.key(), raw.clone())
            .delete(Table::Svms, NameRecord::key_of(&old.body.name));
        let publish = || live.record.store(Arc::new(Ok(Read { body: record, raw })));
        self.core.commit_and_publish(&live, batch, publish).map_err(|error| name_taken(error, name, &taken))
    }

    /// Deletes a data SVM that has no volumes, no keys and no certificates, and its KEKs with it. Where the store or the keeper fails in between, it is
    /// completed when it is asked for again, or when the hierarchy is opened again.
    ///
    /// # Errors
    /// [`SvmError::Unknown`], [`SvmError::Admin`], [`SvmError::HasVolumes`], [`SvmError::HasKeys`],
    /// [`SvmError::HasCertificates`], [`SvmError::HasKeystores`], [`SvmError::Busy`],
    /// [`SvmError::Keeper`], [`SvmError::Records`].
    pub fn delete_svm(&self, svm: SvmId) -> Result<(), SvmError> {
        let live = self.core.live.svm(svm).ok_or(SvmError::Unknown { svm })?;
        let record: Read<SvmRecord> =
            self.core.records.read(&SvmRecord::key_of(svm))?.ok_or(SvmError::Unknown { svm })?;
        if record.body.admin {
            return Err(SvmError::Admin);
        }
        self.core.delete_svm(&live, &record)?;
        tracing::info!(id = %svm, "SVM deleted");
        Ok(())
    }
}

impl Core {
    /// Commits a new SVM with what else `batch` holds, and publishes it.
    pub(crate) fn add_svm(&self, name: &SvmName, admin: bool, batch: Batch) -> Result<SvmInfo, SvmError> {
        let svm = SvmId::from(random_uuid(&mut SystemRandom).map_err(RecordError::Random)?);
        let record = SvmRecord { version: V1, svm: svm.uuid(), name: name.clone(), admin, created: self.clock.now() };
        let taken = NameRecord { version: V1, name: name.clone(), svm: svm.uuid() };
        let raw = self.records.seal(&record)?;
        let batch = batch
            .require(Table::Svms, taken.key(), Expect::Absent)
            .require(Table::Svms, record.key(), Expect::Absent)
            .put(Table::Svms, taken.key(), self.records.seal(&taken)?)
            .put(Table::Svms, record.key(), raw.clone());
        self.commit(batch).map_err(|error| name_taken(error, name, &taken))?;
        let live = LiveSvm::new(svm, Ok(Read { body: record, raw }), Keystores::None);
        let info = SvmInfo::of(&live);
        self.live.add(live);
        Ok(info)
    }

    /// A key or a volume that is being created while this looks for them must be found or must fail. So the deletion is announced in
    /// the `keks` record first, which every creation expects unchanged; only then are they looked for. Before there is such a
    /// record, a volume that is made without a key changes the SVM's own ([`Core::commit_into`]).
    pub(crate) fn delete_svm(&self, live: &LiveSvm, record: &Read<SvmRecord>) -> Result<(), SvmError> {
        let svm = live.id;
        let keystores = live.keystores.load_full();
        let own = match keystores.as_ref() {
            Keystores::None => None,
            Keystores::There(there) if there.list.body.keystores.is_empty() => Some(there.list.unchanged()),
            // What does not open may hold some.
            Keystores::There(_) | Keystores::Damaged => return Err(SvmError::HasKeystores { svm }),
        };
        let delete = |record: &Read<SvmRecord>| {
            let key = SvmKeystores::key_of(svm);
            let batch = match own.clone() {
                None => Batch::new().require(Table::Keystores, key, Expect::Absent),
                Some(unchanged) => {
                    Batch::new().require(Table::Keystores, key.clone(), unchanged).delete(Table::Keystores, key)
                }
            };
            batch
                .require(Table::Svms, record.body.key(), record.unchanged())
                .delete(Table::Svms, record.body.key())
                .delete(Table::Svms, NameRecord::key_of(&record.body.name))
        };

        let refuse_used = || -> Result<(), SvmError> {
            if self.has_volumes(svm)? {
                return Err(SvmError::HasVolumes { svm });
            }
            let names = CertificateNameRecord::prefix(Some(svm));
            if !self.records.store().scan(Table::Certificates, &names, None, 1).map_err(RecordError::Store)?.is_empty()
            {
                return Err(SvmError::HasCertificates { svm });
            }
            match self.scan_keys(svm.as_bytes(), None, 1)?.is_empty() {
                true => Ok(()),
                false => Err(SvmError::HasKeys { svm }),
            }
        };
        let Some(list) = self.records.read::<KekList>(&KekList::key_of(svm))? else {
            // Keys whose KEK record is lost are keys all the same: the record may come back from a copy.
            refuse_used()?;
            // No KEK, so no key; and the first one of an SVM expects the SVM's record unchanged.
            let batch = delete(record).require(Table::Keks, KekList::key_of(svm), Expect::Absent);
            self.commit(batch).map_err(|error| busy(error, svm))?;
            self.live.remove(svm);
            return Ok(());
        };

        // An announcement that has to be taken back would refuse creations for nothing.
        if list.body.operation.is_none() {
            refuse_used()?;
        }
        let announced = match list.body.operation {
            Some(Operation::Rekey { .. } | Operation::Disable { .. } | Operation::DeleteKeystore) => {
                return Err(SvmError::Busy { svm });
            }
            Some(Operation::Delete) => list,
            None => self.set_operation(live, &list, Some(Operation::Delete)).map_err(|error| busy(error, svm))?,
        };
        match refuse_used() {
            Ok(()) => {}
            Err(used @ (SvmError::HasKeys { .. } | SvmError::HasVolumes { .. } | SvmError::HasCertificates { .. })) => {
                self.set_operation(live, &announced, None).map_err(|error| busy(error, svm))?;
                return Err(used);
            }
            Err(error) => return Err(error),
        }
        // Another deletion may have met a key and be about to take the announcement back. Announced anew, it conflicts.
        let announced =
            self.set_operation(live, &announced, Some(Operation::Delete)).map_err(|error| busy(error, svm))?;
        // Nothing is under these KEKs any more, and nothing will be. The keeper forgets them while the records still say
        // what it has to forget.
        for entry in announced.body.entries() {
            self.discard(live, &entry.kept)?;
        }
        let mut record = record.clone();
        loop {
            let mut batch = delete(&record)
                .require(Table::Keks, announced.body.key(), announced.unchanged())
                .delete(Table::Keks, announced.body.key());
            for entry in announced.body.entries() {
                batch = batch.delete(Table::Keks, SealRecord::key_of(svm, entry.kek_version));
            }
            match self.commit(batch) {
                Ok(()) => break,
                // Renamed meanwhile: it goes under its new name.
                Err(RecordError::Store(StoreError::Conflict { table: Table::Svms, .. })) => {
                    record = self.records.read(&SvmRecord::key_of(svm))?.ok_or(SvmError::Unknown { svm })?;
                }
                Err(error) => return Err(busy(error, svm)),
            }
        }
        self.live.remove(svm);
        Ok(())
    }
}

impl Core {
    /// Commits `batch`, which puts something into the SVM that is under no KEK, so that the SVM's deletion either finds it or
    /// conflicts with it. Whether that is a structural change, or one as that of a key, is the caller's to say; it is structural where the
    /// SVM's record is sealed anew: before there are KEKs, and where `anew` asks for it, for others who expect that record unchanged.
    pub(crate) fn commit_into(
        &self,
        live: &LiveSvm,
        batch: &Batch,
        anew: bool,
        commit: impl Fn(Batch) -> Result<(), RecordError>,
    ) -> Result<Committed, KeyError> {
        let (svm, list) = (live.id, KekList::key_of(live.id));
        loop {
            let raw = self.records.store().get(Table::Keks, &list)?;
            let read = raw.clone().map(|raw| self.records.open::<KekList>(&list, raw));
            if read.is_some_and(|read| read.is_ok_and(|read| read.body.operation == Some(Operation::Delete))) {
                return Err(KeyError::SvmBeingDeleted { svm });
            }
            // Without KEKs, nothing announces the deletion. It expects the SVM's record unchanged from before it looks.
            let is_sealed_anew = anew || raw.is_none();
            let batch = batch.clone().require(Table::Keks, list.clone(), raw.map_or(Expect::Absent, Expect::Exactly));
            let committed = if is_sealed_anew {
                let old: Read<SvmRecord> =
                    self.records.read(&SvmRecord::key_of(svm))?.ok_or(KeyError::UnknownSvm { svm })?;
                let raw = self.records.seal(&old.body)?;
                let batch = batch.require(Table::Svms, old.body.key(), old.unchanged()).put(
                    Table::Svms,
                    old.body.key(),
                    raw.clone(),
                );
                let publish = || live.record.store(Arc::new(Ok(Read { body: old.body.clone(), raw })));
                self.commit_and_publish(live, batch, publish)
            } else {
                commit(batch)
            };
            match committed {
                Ok(()) => return Ok(Committed::Done),
                // A rekey has begun, or the SVM was renamed, in between.
                Err(RecordError::Store(StoreError::Conflict { table: Table::Keks | Table::Svms, .. })) => {}
                Err(RecordError::Store(StoreError::Conflict { table, key })) => {
                    return Ok(Committed::RecordChanged { table, key });
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn name_taken(error: RecordError, name: &SvmName, taken: &NameRecord) -> SvmError {
    match error {
        RecordError::Store(StoreError::Conflict { key, .. }) if key == taken.key() => {
            SvmError::NameTaken { name: name.clone() }
        }
        // Renamed or deleted meanwhile.
        RecordError::Store(StoreError::Conflict { .. }) => SvmError::Busy { svm: taken.svm.into() },
        error => SvmError::Records(error),
    }
}

fn busy(error: RecordError, svm: SvmId) -> SvmError {
    match error {
        RecordError::Store(StoreError::Conflict { .. }) => SvmError::Busy { svm },
        error => SvmError::Records(error),
    }
}

/// Why an SVM could not be made, changed or deleted. Nothing has changed then, unless the store failed: whether a change was
/// made is then known when the hierarchy is opened again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SvmError {
    /// There is no SVM with this UUID.
    #[error("SVM {svm} does not exist")]
    Unknown {
        /// The UUID.
        svm: SvmId,
    },
    /// There is no SVM with this name.
    #[error("SVM \"{name}\" does not exist")]
    UnknownName {
        /// The name.
        name: String,
    },
    /// Another SVM has this name.
    #[error("an SVM named \"{name}\" exists already; choose another name")]
    NameTaken {
        /// The name.
        name: SvmName,
    },
    /// The admin SVM cannot be deleted.
    #[error("the admin SVM stands for the cluster and cannot be deleted")]
    Admin,
    /// The SVM has keys.
    #[error("SVM {svm} has keys; delete its volumes, aggregates and drives, and their keys, first")]
    HasKeys {
        /// The SVM.
        svm: SvmId,
    },
    /// The SVM has named volumes.
    #[error("SVM {svm} has volumes; delete them first")]
    HasVolumes {
        /// The SVM.
        svm: SvmId,
    },
    /// The SVM has certificates. They are not deleted with it: a private key may be the only one there is.
    #[error("SVM {svm} has certificates; delete them first")]
    HasCertificates {
        /// The SVM.
        svm: SvmId,
    },
    /// The SVM has keystores of its own.
    #[error("SVM {svm} has keystores; disable and delete them first")]
    HasKeystores {
        /// The SVM.
        svm: SvmId,
    },
    /// Another operation has the SVM to itself.
    #[error("another operation runs on SVM {svm}; try again when it has ended")]
    Busy {
        /// The SVM.
        svm: SvmId,
    },
    /// The keeper has not forgotten the SVM's KEKs. The SVM takes no keys any more; delete it again.
    #[error("the keeper has not forgotten the SVM's KEKs; delete the SVM again when it answers")]
    Keeper(#[from] KeeperError),
    /// The store failed, or a record is damaged.
    #[error(transparent)]
    Records(#[from] RecordError),
}

impl Blame for SvmError {
    fn blame(&self) -> (Fault, Advice) {
        match self {
            Self::Unknown { .. } | Self::UnknownName { .. } | Self::NameTaken { .. } | Self::Admin => {
                (Fault::Caller, Advice::Correct)
            }
            Self::HasKeys { .. }
            | Self::HasVolumes { .. }
            | Self::HasCertificates { .. }
            | Self::HasKeystores { .. } => (Fault::Caller, Advice::Correct),
            Self::Busy { .. } => (Fault::Caller, Advice::Retry),
            Self::Keeper(error) => error.blame(),
            Self::Records(error) => error.blame(),
        }
    }
}
