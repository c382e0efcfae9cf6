//! Rekeys, internal and external, also with Barbican gone before and in the middle. Keys open all the time.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use claviger::store::{Batch, Entry, Expectation, MemoryStore, Outcome, Replacement};
use claviger::{
    Advice, AnchorSource, Engine, Fault, Key256, KeystoreState, Options, SealingSource, Store, StoreError,
    SvmKeystoreError, Table, Trouble,
};
use claviger_tests::openstack::{Lab, Role};

use super::support::way::{Way, outages, url};
use super::support::{Home, Keys, arena, onboard, options, state, tenant, trouble, verify_clean, why};

/// More than one page, so that there is a middle.
const KEYS: usize = 3_000;

/// A store that holds the second page of a rekey back.
struct Gate {
    inner: MemoryStore,
    trap: Mutex<Option<Trap>>,
}

/// The first page goes through; whoever comes with the second says so and waits.
struct Trap {
    first: bool,
    reached: Sender<()>,
    go: Receiver<()>,
}

impl Gate {
    /// The test's ends: what tells that the middle is reached, and what lets go when it is dropped.
    fn hold(&self) -> (Receiver<()>, Sender<()>) {
        let ((reached, is_reached), (let_go, go)) = (channel(), channel());
        *self.trap.lock().unwrap() = Some(Trap { first: true, reached, go });
        (is_reached, let_go)
    }
}

impl Store for Gate {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.get(table, key)
    }

    fn scan(&self, table: Table, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Entry>, StoreError> {
        self.inner.scan(table, prefix, after, limit)
    }

    fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        self.inner.commit(batch)
    }

    fn replace_each(
        &self,
        table: Table,
        items: &[Replacement],
        guard: &[Expectation],
    ) -> Result<Vec<Outcome>, StoreError> {
        let mut trap = self.trap.lock().unwrap();
        match trap.take() {
            Some(held) if held.first => *trap = Some(Trap { first: false, ..held }),
            Some(held) => {
                drop(trap);
                held.reached.send(()).ok();
                // An error means that the test has let go.
                held.go.recv().ok();
            }
            None => {}
        }
        self.inner.replace_each(table, items, guard)
    }
}

fn on_gate(gate: &Arc<Gate>) -> Engine {
    let mut sealing = arena().bytes(Key256::LEN).unwrap();
    sealing.expose_mut().fill(0x5e);
    let sealing = SealingSource::Provided(Key256::new(sealing).unwrap());
    let options = Options { sealing, anchor: AnchorSource::DangerNone, ..options() };
    let engine = Engine::create_on(gate.clone(), &"cluster1".parse().unwrap(), options).unwrap();
    onboard(&engine);
    engine
}

#[test]
fn a_rekey_without_barbican_fails_before_it_begins_and_completes_once_it_has() {
    let lab = outages();
    let gate = Arc::new(Gate { inner: MemoryStore::default(), trap: Mutex::default() });
    let engine = on_gate(&gate);
    let (svm, keystore) = tenant(&engine, "vs0", &Way::to(&lab).hasty());
    let mut keys = Keys::make(&engine, svm, KEYS);
    let kek = || {
        let kek = engine.kek(svm).unwrap().unwrap();
        (kek.version.get(), kek.retiring.map(|version| version.get()))
    };

    // In the middle: the new KEK is kept, and nobody is needed any more.
    keys.open_during(&engine, || {
        let (is_reached, let_go) = gate.hold();
        let rekey = engine.rekey_internal(svm).unwrap();
        is_reached.recv_timeout(Duration::from_secs(60)).unwrap();
        lab.kill(Role::Barbican).unwrap();
        assert_eq!((kek(), state(&engine, keystore)), ((2, Some(1)), Some(KeystoreState::SvmKekRekey)));
        drop(let_go);
        rekey.wait().unwrap();
    });
    assert_eq!(kek(), (2, None));

    // Before: nothing has changed, and the keys that are made meanwhile are under the KEK that there is.
    keys.open_during(&engine, || {
        let (message, fault, advice) = why(engine.rekey_internal(svm).unwrap().wait());
        assert_eq!((fault, advice), (Fault::Keeper, Advice::Retry));
        assert!(message.contains("Barbican gave no answer"), "{message}");
    });
    assert_eq!((kek(), trouble(&engine, keystore)), ((2, None), Some(Trouble::Unreachable)));
    // It does not answer, but it has refused nothing.
    assert_eq!(state(&engine, keystore), Some(KeystoreState::Active));
    keys.make_another(&engine);

    lab.start_role(Role::Barbican).unwrap();
    keys.open_during(&engine, || engine.rekey_internal(svm).unwrap().wait().unwrap());
    assert_eq!((kek(), trouble(&engine, keystore)), ((3, None), None));
    assert!(keys.open(&engine));
    verify_clean(&engine);
}

#[test]
fn a_rekey_to_another_secret_needs_the_old_one_no_more() {
    let lab = Lab::shared();
    let home = Home::new();
    let engine = home.create();
    let way = Way::to(lab).with_new_key(lab);
    let (svm, keystore) = tenant(&engine, "vs0", &way);
    let new = lab.new_key(32).unwrap().key_id;
    let keys = Keys::make(&engine, svm, 100);
    let key_ids = |engine: &Engine| -> Vec<_> {
        engine.kept_keks(svm).unwrap().into_iter().map(|kept| kept.key_id.unwrap()).collect()
    };

    let same = engine.rekey_external(keystore, &url(&way.key_id)).unwrap_err();
    assert!(matches!(same, SvmKeystoreError::SameKey { .. }), "{same:?}");
    // To one that is none, nothing moves.
    let (_, fault, advice) = why(engine.rekey_external(keystore, &url(&lab.info().other_keys.unknown)).unwrap().wait());
    assert_eq!((fault, advice), (Fault::Keeper, Advice::SeeToTheKeeper));
    assert_eq!(key_ids(&engine), [way.key_id.as_str()]);

    keys.open_during(&engine, || engine.rekey_external(keystore, &url(&new)).unwrap().wait().unwrap());
    assert_eq!(key_ids(&engine), [new.as_str()]);
    lab.fault("delete-secret", &[&way.key_id]).unwrap();
    engine.check_keystore(keystore, |_| ()).unwrap();
    drop(engine);
    let engine = home.open();
    assert!(keys.open(&engine));
    verify_clean(&engine);
}
