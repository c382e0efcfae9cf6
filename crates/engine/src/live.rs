//! What is in memory: the SVMs and their opened KEKs. Readers take no lock; whoever changes something persists it first,
//! then publishes it here.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use claviger_wrap::{Kek, KekId, SvmId};
use uuid::Uuid;

use crate::keeper::Trouble;
use crate::live_keystores::{Keystores, LiveKeystores};
use crate::records::{KekList, Read, RecordError, SealRecord, SvmKeystores, SvmRecord};

/// All SVMs of the hierarchy.
#[derive(Default)]
pub(crate) struct Live {
    svms: ArcSwap<BTreeMap<SvmId, Arc<LiveSvm>>>,
    changing: Mutex<()>,
}

impl Live {
    pub(crate) fn svm(&self, svm: SvmId) -> Option<Arc<LiveSvm>> {
        self.svms.load().get(&svm).cloned()
    }

    pub(crate) fn svms(&self) -> Arc<BTreeMap<SvmId, Arc<LiveSvm>>> {
        self.svms.load_full()
    }

    /// Publishes SVMs that were read at the start.
    pub(crate) fn add_all(&self, added: impl IntoIterator<Item = LiveSvm>) {
        self.change(|svms| svms.extend(added.into_iter().map(|svm| (svm.id, Arc::new(svm)))));
    }

    /// Publishes an SVM that has been made durable.
    pub(crate) fn add(&self, svm: LiveSvm) {
        self.change(|svms| {
            svms.insert(svm.id, Arc::new(svm));
        });
    }

    /// Publishes that an SVM has been deleted durably.
    pub(crate) fn remove(&self, svm: SvmId) {
        self.change(|svms| {
            svms.remove(&svm);
        });
    }

    fn change(&self, change: impl FnOnce(&mut BTreeMap<SvmId, Arc<LiveSvm>>)) {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut svms = self.svms.load().as_ref().clone();
        change(&mut svms);
        self.svms.store(Arc::new(svms));
    }
}

/// One SVM.
pub(crate) struct LiveSvm {
    pub(crate) id: SvmId,
    /// The SVM's record, or why it does not open: its keys open all the same.
    pub(crate) record: ArcSwap<Result<Read<SvmRecord>, RecordError>>,
    /// Its KEKs. Load this *before* reading a key record, so that the KEK that the record names is among them.
    pub(crate) keks: ArcSwap<Keks>,
    /// Its keystores.
    pub(crate) keystores: ArcSwap<Keystores>,
    /// Held from a commit that changes the record of its KEKs or of its keystores until that is published; never during I/O to
    /// a keeper.
    changing: Mutex<()>,
}

impl LiveSvm {
    pub(crate) fn new(id: SvmId, record: Result<Read<SvmRecord>, RecordError>, keystores: Keystores) -> Self {
        Self {
            id,
            record: ArcSwap::from_pointee(record),
            keks: ArcSwap::from_pointee(Keks::None),
            keystores: ArcSwap::from_pointee(keystores),
            changing: Mutex::new(()),
        }
    }

    /// Publishes a record of keystores that has been committed. `changing` is held.
    pub(crate) fn publish_keystores(&self, list: Read<SvmKeystores>) {
        self.keystores.store(Arc::new(Keystores::There(LiveKeystores::after(&self.keystores.load(), list))));
    }

    /// Publishes what came of opening the KEKs of a record: where that record is still in force, and its KEKs are not in memory.
    pub(crate) fn publish_opened(&self, tried: &Keks, opened: Keks) {
        let _changing = self.changing();
        if self.still_has(tried) && !self.keks.load().is_open() {
            self.keks.store(Arc::new(opened));
        }
    }

    /// Taken by whoever commits a change of one of these records, until it is published.
    pub(crate) fn changing(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until a change of the `keks` record that has been committed is published, and says whether there was one
    /// since `seen` was loaded.
    pub(crate) fn changed_since(&self, seen: &Arc<Keks>) -> bool {
        drop(self.changing());
        !Arc::ptr_eq(seen, &self.keks.load())
    }

    /// The same of the record of its KEKs or of that of its keystores.
    pub(crate) fn has_changed(&self, keks: &Arc<Keks>, keystores: &Arc<Keystores>) -> bool {
        self.changed_since(keks) || !Arc::ptr_eq(keystores, &self.keystores.load())
    }

    /// Whether the record of its KEKs is still the one that these are of.
    pub(crate) fn still_has(&self, keks: &Keks) -> bool {
        let raw = |keks: &Keks| keks.list().map(|list| list.raw.clone());
        raw(keks) == raw(&self.keks.load())
    }
}

/// The KEKs of an SVM.
pub(crate) enum Keks {
    /// None was made yet: the SVM has no keys.
    None,
    /// There are some, and they are not in memory.
    Closed { list: Read<KekList>, why: Closed },
    /// All live versions are in memory.
    Open(OpenKeks),
    /// The record itself does not open.
    Damaged,
}

impl Keks {
    /// Whether all live versions are in memory.
    pub(crate) const fn is_open(&self) -> bool {
        matches!(self, Self::Open(_))
    }

    /// Why they are not in memory, where there are some.
    pub(crate) const fn why_closed(&self) -> Option<Closed> {
        match self {
            Self::None | Self::Damaged | Self::Open(_) => None,
            Self::Closed { why, .. } => Some(*why),
        }
    }

    /// The record, where there is one that opens.
    pub(crate) const fn list(&self) -> Option<&Read<KekList>> {
        match self {
            Self::None | Self::Damaged => None,
            Self::Closed { list, .. } | Self::Open(OpenKeks { list, .. }) => Some(list),
        }
    }

    /// Whether this keystore keeps one of the live versions.
    pub(crate) fn is_kept_by(&self, keystore: Uuid) -> bool {
        self.list().is_some_and(|list| list.body.is_kept_by(keystore))
    }
}

/// Why KEKs are not in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Closed {
    /// Their keystore waits for its passphrase.
    Locked,
    /// No KEK was ever made, though there is a key.
    NoKek,
    /// The record of the keystore that keeps them is missing.
    NoKeystore,
    /// The record of the SVM's keystores does not open.
    KeystoresDamaged,
    /// What the keeper kept is damaged, or is another KEK.
    Damaged,
    /// Their keeper is outside the node, and nobody has asked it since the start.
    NotFetched,
    /// The keeper did not give them.
    Keeper(Trouble),
    /// The keystore's settings cannot be used, or this build has no keeper of its kind.
    NoKeeper,
    /// Key memory is full.
    ArenaFull,
}

/// The live KEKs of an SVM, in memory.
#[derive(Clone)]
pub(crate) struct OpenKeks {
    pub(crate) list: Read<KekList>,
    pub(crate) current: Arc<LiveKek>,
    pub(crate) retiring: Option<Arc<LiveKek>>,
}

impl OpenKeks {
    /// The live KEK with this id.
    pub(crate) fn by_id(&self, id: KekId) -> Option<&Arc<LiveKek>> {
        std::iter::once(&self.current).chain(&self.retiring).find(|live| live.kek.id() == id)
    }
}

/// A KEK in memory, with the durable record of its seals.
pub(crate) struct LiveKek {
    pub(crate) kek: Kek,
    /// Held while a higher reservation is committed to the local store. `None` where the record is lost, until the next
    /// reservation.
    reservation: Mutex<Option<Read<SealRecord>>>,
}

impl LiveKek {
    pub(crate) fn new(kek: Kek, reservation: Option<Read<SealRecord>>) -> Self {
        Self { kek, reservation: Mutex::new(reservation) }
    }

    pub(crate) fn reservation(&self) -> MutexGuard<'_, Option<Read<SealRecord>>> {
        self.reservation.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
