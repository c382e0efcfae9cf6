//! A hierarchy with an anchor that a test looks into.

use std::collections::BTreeMap;
use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use crate::common::{self, name, passphrase, volume};
use claviger::store::MemoryStore;
use claviger::{Anchor, AnchorError, AnchorSource, Engine, KeyAlgorithm, OnboardMode, OpenEngineError, Options, SvmId};
use uuid::Uuid;

pub(crate) const XTS: KeyAlgorithm = KeyAlgorithm::XtsAes256;

/// An anchor in memory, which answers or does not.
#[derive(Default)]
pub(crate) struct TestAnchor {
    pub(crate) epochs: Mutex<BTreeMap<Uuid, u64>>,
    pub(crate) refuses: Mutex<bool>,
    pub(crate) is_unread: Mutex<bool>,
    pub(crate) holds: Mutex<Option<(Sender<()>, Receiver<()>)>>,
}

impl TestAnchor {
    pub(crate) fn refuse(&self, refuses: bool) {
        *self.refuses.lock().unwrap() = refuses;
    }

    pub(crate) fn answers(&self) -> Result<(), AnchorError> {
        match *self.refuses.lock().unwrap() {
            true => Err(AnchorError::Other(Box::new(io::Error::other("the peer does not answer")))),
            false => Ok(()),
        }
    }

    /// Whether it says what it remembers; it is raised all the same.
    pub(crate) fn is_unread(&self, is_unread: bool) {
        *self.is_unread.lock().unwrap() = is_unread;
    }

    /// Holds the next raise: it is told when that comes, and lets it go by being dropped.
    pub(crate) fn hold(&self) -> (Receiver<()>, Sender<()>) {
        let ((came, has_come), (let_go, go)) = (channel(), channel());
        *self.holds.lock().unwrap() = Some((came, go));
        (has_come, let_go)
    }

    pub(crate) fn at(&self) -> u64 {
        *self.epochs.lock().unwrap().values().next().unwrap()
    }

    pub(crate) fn set(&self, epoch: u64) {
        self.epochs.lock().unwrap().values_mut().for_each(|at| *at = epoch);
    }
}

impl Anchor for TestAnchor {
    fn epoch(&self, hierarchy: Uuid) -> Result<Option<u64>, AnchorError> {
        self.answers()?;
        if *self.is_unread.lock().unwrap() {
            return Err(AnchorError::Other(Box::new(io::Error::other("the peer does not say"))));
        }
        Ok(self.epochs.lock().unwrap().get(&hierarchy).copied())
    }

    fn raise(&self, hierarchy: Uuid, epoch: u64) -> Result<(), AnchorError> {
        let held = self.holds.lock().unwrap().take();
        if let Some((came, go)) = held {
            came.send(()).ok();
            go.recv().ok();
        }
        self.answers()?;
        let before = self.epochs.lock().unwrap().insert(hierarchy, epoch);
        assert!(before.is_none_or(|before| before <= epoch), "an anchor is never lowered");
        Ok(())
    }
}

pub(crate) fn options(anchor: &Arc<TestAnchor>) -> Options {
    Options { anchor: AnchorSource::Provided(anchor.clone()), ..common::options() }
}

pub(crate) fn accepting(anchor: &Arc<TestAnchor>) -> Options {
    Options { danger_accept_rollback: true, ..options(anchor) }
}

/// A hierarchy with an SVM and a key, its disk and its anchor.
pub(crate) struct Node {
    pub(crate) disk: Arc<MemoryStore>,
    pub(crate) anchor: Arc<TestAnchor>,
    pub(crate) svm: SvmId,
}

impl Node {
    pub(crate) fn new() -> Self {
        let disk = Arc::new(MemoryStore::default());
        let anchor = Arc::new(TestAnchor::default());
        let engine = Engine::create_on(disk.clone(), &name("cluster1"), options(&anchor)).unwrap();
        engine.create_onboard(OnboardMode::Unattended, &passphrase(common::PASSPHRASE)).unwrap();
        let svm = engine.create_svm(&name("vs0")).unwrap().id();
        engine.create_key(svm, volume(1), XTS).unwrap();
        Self { disk, anchor, svm }
    }

    pub(crate) fn open(&self) -> Result<Engine, OpenEngineError> {
        Engine::open_on(self.disk.clone(), options(&self.anchor))
    }

    pub(crate) fn copy(&self) -> Arc<MemoryStore> {
        Arc::new(common::copy_of(self.disk.as_ref()))
    }

    /// Whether an older copy is refused, as what it is.
    pub(crate) fn refuses(&self, older: Arc<MemoryStore>) -> bool {
        match Engine::open_on(older, options(&self.anchor)) {
            Ok(_) => false,
            Err(OpenEngineError::RolledBack { store, anchored }) => {
                assert!(store < anchored && anchored == self.anchor.at());
                true
            }
            Err(error) => panic!("{error:?}"),
        }
    }
}
