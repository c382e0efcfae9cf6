//! The engine: opening, what it holds, closing.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use claviger_secret::{Arena, Protection, Usage};
use claviger_store::{
    Batch, Expect, OpenError as StoreOpenError, Store, StoreKind, Table, open_store, open_store_copy,
};
use claviger_wrap::{Passphrase, PassphraseError, SealingKey, SvmId, SystemRandom, UnsealError, random_uuid};
use jiff::Timestamp;
use uuid::Uuid;

use crate::anchor::{self, Anchor};
use crate::authorities::Authorities;
use crate::clock::Clock;
use crate::epoch::{Epoch, Standing};
use crate::jobs::Jobs;
use crate::keeper::Calls;
use crate::keys::PAGE;
use crate::keystores::Keystore;
use crate::live::{Keks, Live, LiveSvm};
use crate::live_keystores::{Keystores, LiveKeystores};
use crate::open_error::OpenEngineError;
use crate::options::{Fetching, Options};
use crate::platform::Platform;
use crate::records::{
    Body, EpochRecord, KekList, NodeRecord, Operation, Read, RecordError, RecordName, Records, SvmKeystores, SvmRecord,
    V1,
};
use crate::recovery::Recovery;
use crate::sealing_key;
use crate::svms::{SvmError, SvmName};

/// A key hierarchy, open.
///
/// Any thread may call any method at any time; share it in an `Arc`. One process has a hierarchy open at a time. Opening
/// keys takes no lock and does no I/O outside the node. Dropping the engine stops its jobs at their next durable point; they
/// go on when the hierarchy is opened again.
pub struct Engine {
    /// First, so that nobody fetches any more when the rest is dropped.
    _recovery: Recovery,
    pub(crate) core: Arc<Core>,
    pub(crate) jobs: Arc<Jobs>,
    /// Whether interrupted jobs go on by themselves.
    pub(crate) resumes: bool,
}

/// What the engine's methods and its jobs share.
pub(crate) struct Core {
    pub(crate) arena: Arena,
    pub(crate) records: Records,
    pub(crate) live: Live,
    pub(crate) keystore: Keystore,
    pub(crate) authorities: Authorities,
    pub(crate) calls: Calls,
    pub(crate) clock: Arc<Clock>,
    pub(crate) platform: Arc<dyn Platform>,
    pub(crate) job_retention: Duration,
    /// The store is a copy for reading.
    pub(crate) read_only: bool,
    pub(crate) epoch: Epoch,
    /// How the store stood to its anchor when it was opened.
    pub(crate) standing: Standing,
    /// `None` where the record does not open, and until creation is complete.
    pub(crate) node: Option<NodeRecord>,
}

/// Where the store lies below the hierarchy's directory.
const STORE_DIR: &str = "store";

impl Engine {
    /// Makes a new hierarchy in `dir`, which must not exist or be empty, with its admin SVM.
    ///
    /// # Errors
    /// [`OpenEngineError`]. A creation that was interrupted can be repeated.
    pub fn create(dir: &Path, admin: &SvmName, options: Options) -> Result<Self, OpenEngineError> {
        let store = create_store(dir, &options)?;
        Self::create_in(store, Some(dir), admin, options)
    }

    /// Makes a new hierarchy in a store of the embedder's. The sealing key cannot be beside that.
    ///
    /// # Errors
    /// As [`Engine::create`].
    pub fn create_on(store: Arc<dyn Store>, admin: &SvmName, options: Options) -> Result<Self, OpenEngineError> {
        Self::create_in(store, None, admin, options)
    }

    /// Opens the hierarchy in `dir`, and resumes its unfinished jobs.
    ///
    /// Damage to one record does not keep the rest from opening: what depends on it says so when it is used, and
    /// [`Engine::verify`] names it.
    ///
    /// # Errors
    /// [`OpenEngineError`]; nothing is changed then.
    pub fn open(dir: &Path, options: Options) -> Result<Self, OpenEngineError> {
        let store = open_store(&store_dir(dir), &options.store_options)?;
        Self::open_in(store.into(), Some(dir), options)
    }

    /// Opens the hierarchy in a store of the embedder's.
    ///
    /// # Errors
    /// As [`Engine::open`].
    pub fn open_on(store: Arc<dyn Store>, options: Options) -> Result<Self, OpenEngineError> {
        Self::open_in(store, None, options)
    }

    /// Opens the hierarchy in `dir` for reading only: nothing below `dir` is written, and jobs stay where they are.
    /// The store is copied to the directory for temporary files first.
    ///
    /// It opens also where the record is missing that says that the hierarchy is complete: [`Engine::verify`] names it.
    ///
    /// # Errors
    /// As [`Engine::open`].
    pub fn open_copy(dir: &Path, options: Options) -> Result<Self, OpenEngineError> {
        let store_options = options.store_options.clone();
        let copy = || -> Result<Arc<dyn Store>, OpenEngineError> {
            let store: Arc<dyn Store> = open_store_copy(&store_dir(dir), &store_options)?.into();
            if store.scan(Table::Svms, SvmRecord::PREFIX, None, 1)?.is_empty() {
                refuse_unfinished(&*store, Some(dir))?;
            }
            Ok(store)
        };
        let store = copy()?;
        let fetching = options.fetching;
        let beside = BesideStore::of(options, Some(dir))?;
        let mut core = Core::read(store, beside.clone())?;
        // Whoever has opened the store since it was copied may have raised the anchor: the next copy tells.
        if let Standing::RolledBack { .. } = core.standing {
            core = Core::read(copy()?, beside)?;
        }
        core.read_only = true;
        Ok(Self::over(core, false, fetching))
    }

    fn create_in(
        store: Arc<dyn Store>,
        dir: Option<&Path>,
        admin: &SvmName,
        options: Options,
    ) -> Result<Self, OpenEngineError> {
        let resumes = options.resume_jobs;
        let mut core = Core::empty(store, dir, options)?;
        core.check_leftovers(dir, |_, _| false)?;
        // One commit: either the hierarchy is there with its admin SVM, or nothing is.
        let hierarchy = random_uuid(&mut SystemRandom).map_err(RecordError::Random)?;
        let node = NodeRecord { version: V1, hierarchy, created: core.clock.now() };
        let epoch = core.first_epoch(hierarchy)?;
        let batch = core.put_node(Batch::new(), &node, &epoch)?;
        core.add_svm(admin, true, batch).map_err(|error| match error {
            SvmError::Records(error) => OpenEngineError::Records(error),
            _ => OpenEngineError::Exists { dir: dir.map(Path::to_owned) },
        })?;
        core.begin_epochs(epoch);
        core.node = Some(node);
        Ok(Self::over(core, resumes, Fetching::OnRequest))
    }

    fn open_in(store: Arc<dyn Store>, dir: Option<&Path>, options: Options) -> Result<Self, OpenEngineError> {
        let Options { resume_jobs: resumes, danger_accept_rollback: accept_rollback, fetching, .. } = options;
        let mut core = Core::load(store, dir, options)?;
        core.refuse_rollback(accept_rollback)?;
        core.finish_deletions();
        core.finish_onboard_deletion();
        let engine = Self::over(core, resumes, fetching);
        // A node must come up with its keys, whatever becomes of its jobs.
        if let Err(error) = engine.core.forget_old_jobs() {
            tracing::error!(%error, "jobs that ended long ago were not forgotten");
        }
        if resumes {
            engine.resume_what_can_be();
        }
        Ok(engine)
    }

    pub(crate) fn over(core: Core, resumes: bool, fetching: Fetching) -> Self {
        let (core, jobs) = (Arc::new(core), Arc::default());
        Self { _recovery: Recovery::begin(&core, &jobs, fetching, resumes), core, jobs, resumes }
    }

    /// The arena that keys lie in, for an embedder's own secrets.
    #[must_use]
    pub fn arena(&self) -> &Arena {
        &self.core.arena
    }

    /// The protection that key memory really has: the weakest of what is in use.
    #[must_use]
    pub fn protection(&self) -> Protection {
        self.core.arena.protection()
    }

    /// How full key memory is, and why it is not better protected where it is not.
    #[must_use]
    pub fn memory(&self) -> Usage {
        self.core.arena.usage()
    }

    /// The hierarchy's own UUID and when it was made; a restored hierarchy keeps both. `None` where the record that
    /// holds them is damaged.
    #[must_use]
    pub fn identity(&self) -> Option<(Uuid, Timestamp)> {
        self.core.node.as_ref().map(|node| (node.hierarchy, node.created))
    }

    /// How the store stood to its anchor when it was opened. For an engine that is open for writing, one of
    /// [`Standing::Current`] and [`Standing::Lost`]: every other store was refused, or accepted and mended.
    #[must_use]
    pub fn standing(&self) -> &Standing {
        &self.core.standing
    }

    /// Copies a passphrase into key memory. The caller wipes its own copy.
    ///
    /// # Errors
    /// [`PassphraseError`].
    pub fn passphrase(&self, bytes: &[u8]) -> Result<Passphrase, PassphraseError> {
        Passphrase::copy_from(&self.core.arena, bytes)
    }
}

impl Core {
    /// A core over a store that holds no hierarchy yet.
    pub(crate) fn empty(store: Arc<dyn Store>, dir: Option<&Path>, options: Options) -> Result<Self, OpenEngineError> {
        if store.get(Table::Node, NodeRecord::KEY)?.is_some() {
            return Err(OpenEngineError::Exists { dir: dir.map(Path::to_owned) });
        }
        let calls = Calls::of(&options);
        let arena = options.memory.arena()?;
        let sealing = Arc::new(SealingKey::new(&arena, options.sealing.create(&arena, dir)?)?);
        let epoch = Epoch::unborn(options.anchor.anchor(dir, &sealing)?);
        Ok(Self {
            arena,
            records: Records::new(store, sealing),
            live: Live::default(),
            keystore: Keystore::none(),
            authorities: Authorities::default(),
            calls,
            clock: Arc::new(Clock::System),
            platform: options.platform,
            job_retention: options.job_retention,
            read_only: false,
            epoch,
            standing: Standing::Current,
            node: None,
        })
    }

    /// Refuses a store with records that an interrupted creation or recovery would not have left.
    pub(crate) fn check_leftovers(
        &self,
        dir: Option<&Path>,
        is_leftover: impl Fn(Table, &[u8]) -> bool,
    ) -> Result<(), OpenEngineError> {
        for table in Table::ALL.into_iter().filter(|table| *table != Table::Node) {
            let mut after: Option<Vec<u8>> = None;
            loop {
                let page = self.records.store().scan(table, &[], after.as_deref(), PAGE)?;
                if page.iter().any(|entry| !is_leftover(table, &entry.key)) {
                    return Err(OpenEngineError::Exists { dir: dir.map(Path::to_owned) });
                }
                match page.last() {
                    Some(last) => after = Some(last.key.clone()),
                    None => break,
                }
            }
        }
        Ok(())
    }

    /// Adds to `batch` the record whose presence says that the hierarchy is complete, and its first epoch.
    fn put_node(&self, batch: Batch, node: &NodeRecord, epoch: &Read<EpochRecord>) -> Result<Batch, RecordError> {
        let raw = self.records.seal(node)?;
        Ok(batch.require(Table::Node, node.key(), Expect::Absent).put(Table::Node, node.key(), raw).put(
            Table::Node,
            epoch.body.key(),
            epoch.raw.clone(),
        ))
    }

    /// Commits that the hierarchy is complete.
    pub(crate) fn finish_restore(&mut self, node: NodeRecord) -> Result<(), OpenEngineError> {
        let epoch = self.first_epoch(node.hierarchy)?;
        let batch = self.put_node(Batch::new(), &node, &epoch)?;
        self.records.store().commit(batch)?;
        self.begin_epochs(epoch);
        self.node = Some(node);
        Ok(())
    }

    pub(crate) fn load(store: Arc<dyn Store>, dir: Option<&Path>, options: Options) -> Result<Self, OpenEngineError> {
        refuse_unfinished(&*store, dir)?;
        Self::read(store, BesideStore::of(options, dir)?)
    }

    /// A core over what is in the store, complete or not.
    fn read(store: Arc<dyn Store>, beside: BesideStore) -> Result<Self, OpenEngineError> {
        let BesideStore { arena, sealing, anchor, calls, platform, job_retention } = beside;
        let records = Records::new(store, sealing);
        let node = match records.read::<NodeRecord>(NodeRecord::KEY) {
            Ok(node) => node.map(|node| node.body),
            // Where it opens other records, the sealing key is the right one, and this record is damaged.
            Err(RecordError::Sealed { source: UnsealError::OtherSealingKey, .. })
                if !records.scan::<SvmRecord>(SvmRecord::PREFIX)?.iter().any(|svm| svm.read.is_ok()) =>
            {
                return Err(OpenEngineError::OtherSealingKey);
            }
            Err(error @ RecordError::Store(_)) => return Err(error.into()),
            Err(error) => {
                tracing::error!(%error, "the record of the hierarchy's identity does not open; the rest goes on");
                None
            }
        };
        let (epoch, standing) = Epoch::load(anchor, &records, node.as_ref())?;
        let keystore = Keystore::load(&arena, &records)?;
        let core = Self {
            arena,
            records,
            live: Live::default(),
            keystore,
            authorities: Authorities::default(),
            calls,
            clock: Arc::new(Clock::System),
            platform,
            job_retention,
            read_only: false,
            epoch,
            standing,
            node,
        };
        core.load_authorities()?;
        core.load_svms()?;
        Ok(core)
    }

    /// Refuses a store that may be an older copy, unless that is accepted. Where nobody can know because the epoch's own
    /// record is lost, keys open, and what would change the hierarchy is refused later.
    fn refuse_rollback(&mut self, accept: bool) -> Result<(), OpenEngineError> {
        match std::mem::take(&mut self.standing) {
            Standing::Current => Ok(()),
            standing if accept => {
                tracing::warn!(%standing, "accepted on purpose");
                self.standing = self.accept_rollback(self.node.as_ref())?;
                Ok(())
            }
            Standing::RolledBack { store, anchored } => Err(OpenEngineError::RolledBack { store, anchored }),
            Standing::NotAnchored => Err(OpenEngineError::NotAnchored),
            Standing::Unread(source) => Err(OpenEngineError::Anchor { source }),
            Standing::Lost => {
                self.standing = Standing::Lost;
                Ok(())
            }
        }
    }

    /// Publishes every SVM that has a record of its own or of KEKs, with its keystores, and as many KEKs as can be had without
    /// asking anybody outside the node.
    pub(crate) fn load_svms(&self) -> Result<(), RecordError> {
        let mut keystores = BTreeMap::new();
        for scanned in self.records.scan_where::<SvmKeystores>(&[], |key| SvmKeystores::svm_of(key).is_some())? {
            let Some(svm) = SvmKeystores::svm_of(&scanned.key) else { continue };
            let read = scanned.read.map_or_else(
                |error| {
                    tracing::error!(%error, "the record of an SVM's keystores does not open");
                    Keystores::Damaged
                },
                |list| Keystores::There(LiveKeystores::new(list)),
            );
            keystores.insert(svm, read);
        }
        let (lists, reservations) = self.read_keks()?;
        let mut lists: BTreeMap<_, _> = lists
            .into_iter()
            .filter_map(|scanned| Some((SvmId::from_bytes(scanned.key.try_into().ok()?), scanned.read)))
            .collect();
        let mut svms = Vec::new();
        let mut add = |svm, record, keystores: Option<Keystores>, list: Option<Result<Read<KekList>, RecordError>>| {
            let live = LiveSvm::new(svm, record, keystores.unwrap_or(Keystores::None));
            let keks = match list {
                None => Keks::None,
                Some(Ok(list)) => self.open_at_start(&live, list, &reservations),
                Some(Err(error)) => {
                    tracing::error!(%error, "an SVM's KEK record does not open");
                    Keks::Damaged
                }
            };
            live.keks.store(Arc::new(keks));
            svms.push(live);
        };
        for scanned in self.records.scan::<SvmRecord>(SvmRecord::PREFIX)? {
            let Some(svm) = SvmRecord::svm_of(&scanned.key) else { continue };
            add(svm, scanned.read, keystores.remove(&svm), lists.remove(&svm));
        }
        for (svm, list) in lists {
            tracing::error!(%svm, "an SVM has KEKs and no record of its own");
            let lost = RecordError::Lost { name: RecordName::of::<SvmRecord>(&SvmRecord::key_of(svm)) };
            add(svm, Err(lost), keystores.remove(&svm), Some(list));
        }
        self.live.add_all(svms);
        Ok(())
    }

    /// Takes up deletions of SVMs that a crash interrupted.
    fn finish_deletions(&self) {
        for svm in self.live.svms().values() {
            let keks = svm.keks.load();
            if keks.list().is_some_and(|list| list.body.operation == Some(Operation::Delete))
                && let Ok(record) = svm.record.load().as_ref()
                && let Err(error) = self.delete_svm(svm, record)
            {
                tracing::warn!(svm = %svm.id, %error, "an interrupted deletion was not completed");
            }
        }
    }
}

/// What is needed besides a store to read the hierarchy in it.
#[derive(Clone)]
struct BesideStore {
    arena: Arena,
    sealing: Arc<SealingKey>,
    anchor: Option<Arc<dyn Anchor>>,
    calls: Calls,
    platform: Arc<dyn Platform>,
    job_retention: Duration,
}

impl BesideStore {
    fn of(options: Options, dir: Option<&Path>) -> Result<Self, OpenEngineError> {
        let calls = Calls::of(&options);
        let arena = options.memory.arena()?;
        let sealing = Arc::new(SealingKey::new(&arena, options.sealing.open(&arena, dir)?)?);
        let anchor = options.anchor.anchor(dir, &sealing)?;
        let Options { platform, job_retention, .. } = options;
        Ok(Self { arena, sealing, anchor, calls, platform, job_retention })
    }
}

pub(crate) fn store_dir(dir: &Path) -> PathBuf {
    dir.join(STORE_DIR)
}

/// Whether there is nothing in the directory but what an interrupted creation leaves: the store first, then the sealing key.
fn is_free(dir: &Path) -> io::Result<bool> {
    let names: Vec<_> = std::fs::read_dir(dir)?.map(|entry| Ok(entry?.file_name())).collect::<io::Result<_>>()?;
    let has_store = names.iter().any(|name| name == STORE_DIR);
    let is_leftover = |name: &OsStr| sealing_key::is_file_name(name) || anchor::is_file_name(name);
    Ok(names.iter().all(|name| name == STORE_DIR || (has_store && is_leftover(name))))
}

/// Makes the directory, for its owner alone, durably.
fn make_dir(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    match dir.canonicalize()?.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

/// Refuses a store whose hierarchy's creation was not completed.
fn refuse_unfinished(store: &dyn Store, dir: Option<&Path>) -> Result<(), OpenEngineError> {
    match store.get(Table::Node, NodeRecord::KEY)? {
        Some(_) => Ok(()),
        None => Err(OpenEngineError::Unfinished { dir: dir.map(Path::to_owned) }),
    }
}

/// Makes the store, or takes over one that an interrupted creation has left without a hierarchy.
pub(crate) fn create_store(dir: &Path, options: &Options) -> Result<Arc<dyn Store>, OpenEngineError> {
    let failed = |source| OpenEngineError::Directory { dir: dir.to_owned(), source };
    make_dir(dir).map_err(failed)?;
    if !is_free(dir).map_err(failed)? {
        return Err(OpenEngineError::NotEmpty { dir: dir.to_owned() });
    }
    match options.store.create(&store_dir(dir), &options.store_options) {
        Err(StoreOpenError::Exists { .. }) => {
            let kind = StoreKind::of(&store_dir(dir))?;
            if kind != options.store {
                return Err(StoreOpenError::OtherKind { dir: store_dir(dir), kind }.into());
            }
            Ok(open_store(&store_dir(dir), &options.store_options)?.into())
        }
        created => Ok(created?.into()),
    }
}
