//! An SVM, its keystores, and the vault that they are at.

use std::sync::Arc;

use claviger::faults::Vault;
use claviger::store::MemoryStore;
use claviger::{Blame, Engine, KeyAlgorithm, KeystoreState, Options, SvmId, Table};
use uuid::Uuid;

use crate::common::stores::{Held, HoldingStore, Write};
use crate::common::vault::{self, create, create_enabled, keystore_name, settings};
use crate::common::{self, Bytes, bytes, name, records, volume};

pub(crate) const XTS: KeyAlgorithm = KeyAlgorithm::XtsAes256;

pub(crate) struct Stage {
    pub(crate) store: Arc<HoldingStore<MemoryStore>>,
    pub(crate) vault: Vault,
    pub(crate) engine: Engine,
    pub(crate) svm: SvmId,
    /// The SVM's own keystores. The first one is the enabled one, where one is.
    pub(crate) own: Vec<Uuid>,
    /// The keys of volumes 0, 1 and so on.
    pub(crate) keys: Vec<Bytes>,
}

impl Stage {
    /// An SVM without keys and keystores.
    pub(crate) fn bare() -> Self {
        let store = HoldingStore::over(common::unattended());
        let vault = vault::vault();
        let engine = Engine::open_on(store.clone(), vault::options_with(&vault)).unwrap();
        let svm = engine.create_svm(&name("vs0")).unwrap().id();
        Self { store, vault, engine, svm, own: Vec::new(), keys: Vec::new() }
    }

    /// An SVM without keys, with two keystores at secrets 1 and 2, of which none is enabled.
    pub(crate) fn not_enabled() -> Self {
        let mut stage = Self::bare();
        stage.own = [("A", 1), ("B", 2)].map(|(text, number)| stage.create(text, number)).to_vec();
        stage
    }

    /// An SVM without keys whose first keystore is enabled.
    pub(crate) fn empty() -> Self {
        let stage = Self::not_enabled();
        stage.engine.enable(stage.own[0]).unwrap().wait().unwrap();
        stage
    }

    /// The same with three keys.
    pub(crate) fn with_keys() -> Self {
        Self::empty().and_keys()
    }

    /// Three keys whose KEK is kept by the cluster's keystore, though a keystore of the SVM's own is enabled.
    pub(crate) fn mixed() -> Self {
        let mut stage = Self::bare().and_keys();
        stage.own = vec![create_enabled(&stage.engine, stage.svm, "A", 1), stage.create("B", 2)];
        stage
    }

    fn and_keys(mut self) -> Self {
        self.keys = (0..3).map(|number| self.create_key(number)).collect();
        self
    }

    pub(crate) fn create(&self, name: &str, number: u8) -> Uuid {
        create(&self.engine, self.svm, name, number).id
    }

    pub(crate) fn create_key(&self, number: u128) -> Bytes {
        bytes(&self.engine.create_key(self.svm, volume(number), XTS).unwrap())
    }

    pub(crate) fn cluster(&self) -> Uuid {
        self.engine.keystore().unwrap().id
    }

    /// Closes the engine and opens the hierarchy again.
    pub(crate) fn restarted(self, options: impl FnOnce(&Vault) -> Options) -> Self {
        let Self { store, vault, engine, svm, own, keys } = self;
        drop(engine);
        let engine = Engine::open_on(store.clone(), options(&vault)).unwrap();
        Self { store, vault, engine, svm, own, keys }
    }

    /// The same on another store, open with nobody asked.
    pub(crate) fn on(&self, store: Arc<MemoryStore>) -> Self {
        let store = HoldingStore::over(store);
        let engine = Engine::open_on(store.clone(), vault::on_request(&self.vault)).unwrap();
        Self { store, vault: self.vault.clone(), engine, svm: self.svm, own: self.own.clone(), keys: self.keys.clone() }
    }

    /// Its keys open, and another one is created and deleted.
    pub(crate) fn serves(&self) {
        for (number, expected) in (0..).zip(&self.keys) {
            let opened = self.engine.open_key(self.svm, volume(number)).unwrap();
            assert_eq!(bytes(opened.newest()), *expected, "volume {number}");
        }
        self.engine.create_key(self.svm, volume(1_000), XTS).unwrap();
        self.engine.delete_key(self.svm, volume(1_000)).unwrap();
    }

    pub(crate) fn state(&self, keystore: Uuid) -> Option<KeystoreState> {
        self.engine.keystore_status(keystore).unwrap().state
    }

    pub(crate) fn restore(&self) -> Result<claviger::JobInfo, claviger::JobError> {
        self.engine.restore_keks(Some(self.svm)).unwrap().wait()
    }

    /// Which keystores keep its KEKs, the current one first.
    pub(crate) fn keepers(&self) -> Vec<Uuid> {
        vault::keepers_of(&self.engine, self.svm)
    }

    /// Holds the next job back before it does anything but to have begun.
    pub(crate) fn hold_job(&self) -> Held {
        self.store.hold_before(|write| matches!(write, Write::Get { table: Table::Jobs, .. }))
    }

    /// The call fails, nothing in the store is changed, and the vault is not asked. Returns the error.
    #[track_caller]
    pub(crate) fn refuses<T, E: Blame>(&self, call: impl FnOnce(&Engine) -> Result<T, E>) -> E {
        let (before, asked) = (records(&*self.store.inner), self.vault.asked());
        let Err(error) = call(&self.engine) else { panic!("not refused") };
        assert!(records(&*self.store.inner) == before, "something has changed: {error}");
        assert_eq!(self.vault.asked(), asked, "the vault was asked: {error}");
        error
    }

    /// That a keystore of this name is created.
    pub(crate) fn creates(&self, name: &str, number: u8) {
        self.engine.create_barbican(self.svm, &keystore_name(name), &settings(number)).unwrap();
    }
}
