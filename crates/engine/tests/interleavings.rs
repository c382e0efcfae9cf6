//! The dangerous interleavings, each forced: a store holds one call back until the others have passed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::sync::Arc;
use std::thread;

use claviger::faults::KeeperFaults;
use claviger::store::MemoryStore;
use claviger::store::faults::FaultClock;
use claviger::{
    Engine, KekVersion, KeyAlgorithm, KeyError, NewKey, ObjectRef, OpenKey, Options, Store as _, SvmError, SvmId, Table,
};
use common::stores::{HoldingStore, Write};
use common::{bytes, kek_versions, name, seal_key, store_key, verify_clean, versions, volume};

const XTS: KeyAlgorithm = KeyAlgorithm::XtsAes256;

struct Stage {
    store: Arc<HoldingStore<MemoryStore>>,
    engine: Engine,
    svm: SvmId,
}

impl Stage {
    /// An SVM without keys.
    fn empty() -> Self {
        let store = HoldingStore::over(common::unattended());
        let engine = common::open(&store);
        let svm = engine.create_svm(&name("vs0")).unwrap().id();
        Self { store, engine, svm }
    }

    /// An SVM with a key for each of volumes 0 to 9.
    fn with_keys() -> Self {
        let stage = Self::empty();
        for number in 0..10 {
            stage.engine.create_key(stage.svm, volume(number), XTS).unwrap();
        }
        stage
    }

    fn rekey(&self) {
        self.engine.rekey_internal(self.svm).unwrap().wait().unwrap();
    }

    fn kek(&self) -> (u32, Option<u32>) {
        kek_versions(&self.engine, self.svm).unwrap()
    }

    fn kek_of(&self, object: ObjectRef) -> u32 {
        self.engine.key(self.svm, object).unwrap().kek_version.get()
    }

    fn key_of(&self, object: ObjectRef) -> impl Fn(&Write<'_>) -> bool + Send + Clone + use<> {
        let key = store_key(self.svm, object);
        move |write| write.puts(Table::Keys, &key)
    }

    /// Does `held` up to the point that matches, then `meanwhile`, then the rest of `held`.
    fn overtake<T: Send>(
        &self,
        matches: impl Fn(&Write<'_>) -> bool + Send + 'static,
        held: impl FnOnce() -> T + Send,
        meanwhile: impl FnOnce(),
    ) -> T {
        let trap = self.store.hold_before(matches);
        overtaken(trap, held, meanwhile)
    }

    /// The same, where the store has answered already.
    fn overtake_answer<T: Send>(
        &self,
        matches: impl Fn(&Write<'_>) -> bool + Send + 'static,
        held: impl FnOnce() -> T + Send,
        meanwhile: impl FnOnce(),
    ) -> T {
        let trap = self.store.hold_after(matches);
        overtaken(trap, held, meanwhile)
    }
}

fn overtaken<T: Send>(trap: common::stores::Held, held: impl FnOnce() -> T + Send, meanwhile: impl FnOnce()) -> T {
    thread::scope(|scope| {
        let held = scope.spawn(held);
        trap.reached();
        meanwhile();
        trap.release();
        held.join().unwrap()
    })
}

#[test]
fn a_key_sealed_under_the_old_kek_is_sealed_again_when_a_rekey_overtakes_it() {
    let stage = Stage::with_keys();
    let object = volume(100);
    let key = stage.overtake(
        stage.key_of(object),
        || stage.engine.create_key(stage.svm, object, XTS).unwrap(),
        || stage.rekey(),
    );
    assert_eq!((stage.kek(), stage.kek_of(object)), ((2, None), 2));
    assert_eq!(versions(&stage.engine.open_key(stage.svm, object).unwrap()), [(1, bytes(&key))]);
    verify_clean(&stage.engine);
}

#[test]
fn a_key_sealed_under_the_old_kek_is_sealed_again_when_a_rekey_has_begun() {
    let stage = Stage::with_keys();
    let object = volume(100);
    let rekey_waits = stage.store.hold_before(|write| write.replaces());
    let mut job = None;
    stage.overtake(
        stage.key_of(object),
        || stage.engine.create_key(stage.svm, object, XTS).unwrap(),
        || {
            job = Some(stage.engine.rekey_internal(stage.svm).unwrap());
            rekey_waits.reached();
            assert_eq!(stage.kek(), (2, Some(1)));
        },
    );
    assert_eq!(stage.kek_of(object), 2);
    rekey_waits.release();
    job.unwrap().wait().unwrap();
    verify_clean(&stage.engine);
}

#[test]
fn many_keys_sealed_under_the_old_kek_are_sealed_again_when_a_rekey_overtakes_them() {
    let stage = Stage::with_keys();
    let new: Vec<_> = (5..15).map(|number| NewKey { object: volume(number), algorithm: XTS }).collect();
    let many = |write: &Write<'_>| matches!(write, Write::ReplaceEach { items } if items.len() == 10);
    // The rekey's own call has ten items too, and passes: the trap has caught the first.
    let creations = stage.overtake(many, || stage.engine.create_keys(stage.svm, &new).unwrap(), || stage.rekey());
    assert_eq!(creations.iter().filter(|creation| **creation == claviger::Creation::Created).count(), 5);
    assert_eq!((stage.kek(), stage.kek_of(volume(14))), ((2, None), 2));
    assert_eq!(verify_clean(&stage.engine).keys, 15);
}

#[test]
fn a_key_read_under_the_old_kek_opens_when_a_rekey_overtakes_it() {
    let stage = Stage::with_keys();
    let expected = versions(&stage.engine.open_key(stage.svm, volume(3)).unwrap());
    let key = store_key(stage.svm, volume(3));
    // Once with the old blob in hand, once with only the old KEK in hand.
    let gets = {
        let key = key.clone();
        move |write: &Write<'_>| write.gets(Table::Keys, &key)
    };
    let open = || stage.engine.open_key(stage.svm, volume(3)).unwrap();
    assert_eq!(versions(&stage.overtake_answer(gets.clone(), open, || stage.rekey())), expected);
    assert_eq!(versions(&stage.overtake(gets, open, || stage.rekey())), expected);
    assert_eq!(stage.kek(), (3, None));
}

#[test]
fn keys_read_under_the_old_kek_open_all_when_a_rekey_overtakes_them() {
    let stage = Stage::with_keys();
    let scans = |write: &Write<'_>| matches!(write, Write::Scan { table: Table::Keys });
    let open_all = || {
        let mut opened = 0;
        let visited = stage.engine.open_all(stage.svm, |_, key| {
            key.unwrap();
            opened += 1;
        });
        assert_eq!(visited.unwrap(), opened);
        opened
    };
    assert_eq!(stage.overtake_answer(scans, open_all, || stage.rekey()), 10);
    assert_eq!(stage.overtake(scans, open_all, || stage.rekey()), 10);
}

#[test]
fn a_key_looked_for_while_the_svm_gets_its_first_kek_opens() {
    let stage = Stage::empty();
    let key = store_key(stage.svm, volume(1));
    let gets = move |write: &Write<'_>| write.gets(Table::Keys, &key);
    let create = || drop(stage.engine.create_key(stage.svm, volume(1), XTS).unwrap());
    stage.overtake(gets, || stage.engine.open_key(stage.svm, volume(1)).unwrap(), create);

    let stage = Stage::empty();
    let scans = |write: &Write<'_>| matches!(write, Write::Scan { table: Table::Keys });
    let open_all = || stage.engine.open_all(stage.svm, |_, key| drop(key.unwrap())).unwrap();
    let create = || drop(stage.engine.create_key(stage.svm, volume(1), XTS).unwrap());
    assert_eq!(stage.overtake(scans, open_all, create), 1);
}

#[test]
fn rotations_that_a_rekey_overtakes_end_under_the_new_kek() {
    let stage = Stage::with_keys();
    let object = volume(3);
    let begun = stage.overtake(
        stage.key_of(object),
        || stage.engine.begin_rotation(stage.svm, object).unwrap(),
        || stage.rekey(),
    );
    assert!(matches!(begun, OpenKey::Rotating { .. }));
    assert_eq!(versions(&stage.engine.open_key(stage.svm, object).unwrap()), versions(&begun));
    assert_eq!(stage.kek_of(object), 2);

    let kept = stage.overtake(
        stage.key_of(object),
        || stage.engine.finish_rotation(stage.svm, object).unwrap(),
        || stage.rekey(),
    );
    assert!(kept.ct_eq(begun.newest()));
    assert_eq!(versions(&stage.engine.open_key(stage.svm, object).unwrap()), [(2, bytes(&kept))]);
    assert_eq!((stage.kek(), stage.kek_of(object)), ((3, None), 3));
    verify_clean(&stage.engine);
}

/// The rekey has made its KEK current, but not reached the key yet: only the key's record changes in between.
#[test]
fn rotations_whose_key_a_rekey_re_wraps_meanwhile_go_on() {
    let stage = Stage::with_keys();
    let object = volume(3);
    for round in 1..=2 {
        let pass = stage.store.hold_before(|write| write.replaces());
        let job = stage.engine.rekey_internal(stage.svm).unwrap();
        pass.reached();
        let next_pass = stage.store.hold_before(|write| matches!(write, Write::Scan { table: Table::Keys }));
        let rotation = stage.store.hold_before(stage.key_of(object));
        let opened = overtaken(
            rotation,
            || match round {
                1 => versions(&stage.engine.begin_rotation(stage.svm, object).unwrap()),
                _ => {
                    let kept = stage.engine.finish_rotation(stage.svm, object).unwrap();
                    vec![(kept.version().get(), bytes(&kept))]
                }
            },
            || {
                pass.release();
                next_pass.reached();
            },
        );
        next_pass.release();
        job.wait().unwrap();
        assert_eq!(versions(&stage.engine.open_key(stage.svm, object).unwrap()), opened);
        assert_eq!((stage.kek(), stage.kek_of(object)), ((round + 1, None), round + 1));
        verify_clean(&stage.engine);
    }
}

#[test]
fn a_rotation_that_reads_its_key_behind_a_rekey_takes_the_new_kek() {
    let stage = Stage::with_keys();
    let object = volume(3);
    let key = store_key(stage.svm, object);
    // The first read only looks whether there is a key. The second one follows the KEKs.
    let reads = std::sync::atomic::AtomicUsize::new(0);
    let second_get = move |write: &Write<'_>| {
        write.gets(Table::Keys, &key) && reads.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 1
    };
    stage.overtake(second_get, || drop(stage.engine.begin_rotation(stage.svm, object).unwrap()), || stage.rekey());
    assert_eq!(stage.kek_of(object), 2);
    verify_clean(&stage.engine);
}

#[test]
fn a_rekey_takes_what_changed_under_its_hands_in_its_next_pass() {
    let stage = Stage::with_keys();
    stage.engine.begin_rotation(stage.svm, volume(0)).unwrap();
    stage.overtake(
        |write| write.replaces(),
        || stage.rekey(),
        || {
            stage.engine.finish_rotation(stage.svm, volume(0)).unwrap();
            stage.engine.begin_rotation(stage.svm, volume(1)).unwrap();
            stage.engine.delete_key(stage.svm, volume(2)).unwrap();
            stage.engine.delete_key(stage.svm, volume(3)).unwrap();
            stage.engine.create_key(stage.svm, volume(3), KeyAlgorithm::Aes256).unwrap();
        },
    );
    assert_eq!(stage.kek(), (2, None));
    assert_eq!(verify_clean(&stage.engine).keys, 9);
    assert!(matches!(stage.engine.open_key(stage.svm, volume(1)).unwrap(), OpenKey::Rotating { .. }));
    assert_eq!(stage.engine.open_key(stage.svm, volume(3)).unwrap().newest().algorithm(), KeyAlgorithm::Aes256);
}

#[test]
fn a_delete_that_a_rekey_overtakes_deletes() {
    let stage = Stage::with_keys();
    let key = store_key(stage.svm, volume(3));
    stage.overtake(
        move |write| write.deletes(Table::Keys, &key),
        || stage.engine.delete_key(stage.svm, volume(3)).unwrap(),
        || stage.rekey(),
    );
    assert!(matches!(stage.engine.open_key(stage.svm, volume(3)), Err(KeyError::Missing { .. })));
    assert_eq!(verify_clean(&stage.engine).keys, 9);
}

#[test]
fn a_reservation_of_seals_that_a_rekey_overtakes_is_made_for_the_new_kek() {
    let stage = Stage::empty();
    let new: Vec<_> = (0..4_096).map(|number| NewKey { object: volume(number), algorithm: XTS }).collect();
    stage.engine.create_keys(stage.svm, &new).unwrap();
    // All seals that were reserved are used. The next key reserves more; meanwhile the KEK goes, and its record with it.
    let seals = seal_key(stage.svm, 1);
    stage.overtake(
        move |write| write.puts(Table::Keks, &seals),
        || stage.engine.create_key(stage.svm, volume(5_000), XTS).unwrap(),
        || stage.rekey(),
    );
    assert_eq!((stage.kek(), stage.kek_of(volume(5_000))), ((2, None), 2));
    verify_clean(&stage.engine);
}

#[test]
fn a_rekey_that_has_dropped_the_old_kek_is_not_cancelled_any_more() {
    let stage = Stage::with_keys();
    let seals = seal_key(stage.svm, 1);
    let dropped = stage.store.hold_after(move |write| write.deletes(Table::Keks, &seals));
    let job = stage.engine.rekey_internal(stage.svm).unwrap();
    dropped.reached();
    job.cancel();
    dropped.release();
    job.wait().unwrap();
    assert_eq!(stage.kek(), (2, None));
}

#[test]
fn an_svm_is_not_deleted_with_a_key_that_comes_in_between() {
    let stage = Stage::with_keys();
    for number in 0..10 {
        stage.engine.delete_key(stage.svm, volume(number)).unwrap();
    }
    // The creation has sealed; the deletion finds no key and takes the SVM away; the creation must fail.
    let created = stage.overtake(
        stage.key_of(volume(1)),
        || stage.engine.create_key(stage.svm, volume(1), XTS),
        || stage.engine.delete_svm(stage.svm).unwrap(),
    );
    assert!(matches!(created, Err(KeyError::UnknownSvm { .. } | KeyError::SvmBeingDeleted { .. })), "{created:?}");
    assert_eq!(stage.store.scan(Table::Keys, &[], None, 10).unwrap(), []);
    verify_clean(&stage.engine);
}

/// The first KEK is durable and not published yet when a deletion reads it. Nothing can be held between the deletion's last
/// read and its own turn, so this is tried some times.
#[test]
fn a_deletion_that_meets_a_first_kek_leaves_no_svm_without_its_kek() {
    for _ in 0..20 {
        let stage = Stage::empty();
        let list = stage.svm.as_bytes().to_vec();
        let kek = stage.store.hold_after(move |write| write.puts(Table::Keks, &list));
        let scan = stage.store.hold_after(|write| matches!(write, Write::Scan { table: Table::Keys }));
        let (created, deletion) = thread::scope(|scope| {
            // The first key looks for keys too, before it makes the KEK.
            let creator = scope.spawn(|| stage.engine.create_key(stage.svm, volume(1), XTS));
            scan.reached();
            scan.release();
            kek.reached();
            let scan = stage.store.hold_after(|write| matches!(write, Write::Scan { table: Table::Keys }));
            let deleter = scope.spawn(|| stage.engine.delete_svm(stage.svm));
            scan.reached();
            scan.release();
            (0..1_000).for_each(|_| thread::yield_now());
            kek.release();
            (creator.join().unwrap(), deleter.join().unwrap())
        });
        match deletion {
            Ok(()) => assert!(
                matches!(created, Err(KeyError::UnknownSvm { .. } | KeyError::SvmBeingDeleted { .. })),
                "{created:?}"
            ),
            Err(error) => {
                assert!(matches!(error, SvmError::HasKeys { .. } | SvmError::Busy { .. }), "{error:?}");
                stage.engine.open_key(stage.svm, volume(1)).unwrap();
            }
        }
        verify_clean(&stage.engine);
    }
}

#[test]
fn a_deletion_that_is_refused_for_keys_does_not_refuse_a_key() {
    let stage = Stage::with_keys();
    let scans = |write: &Write<'_>| matches!(write, Write::Scan { table: Table::Keys });
    let deletion = stage.overtake_answer(
        scans,
        || stage.engine.delete_svm(stage.svm),
        || drop(stage.engine.create_key(stage.svm, volume(100), XTS).unwrap()),
    );
    assert!(matches!(deletion, Err(SvmError::HasKeys { .. })), "{deletion:?}");
}

/// The first deletion has met a key and is about to take its announcement back. The second has taken that announcement for
/// its own, and finds no key any more. Whichever is faster, an SVM that lives on has its KEK at the keeper.
#[test]
fn of_two_deletions_of_an_svm_none_takes_back_what_the_other_relies_on() {
    // The second is held before its first commit, and before its last.
    for before_its_first in [true, false] {
        let keepers = KeeperFaults::on(FaultClock::counting());
        let store = HoldingStore::over(common::unattended());
        let options = || Options { keeper_faults: Some(keepers.clone()), ..common::options() };
        let engine = Engine::open_on(store.clone(), options()).unwrap();
        let svm = engine.create_svm(&name("vs0")).unwrap().id();
        engine.create_key(svm, volume(1), XTS).unwrap();
        engine.delete_key(svm, volume(1)).unwrap();
        let scans = |write: &Write<'_>| matches!(write, Write::Scan { table: Table::Keys });
        let list = svm.as_bytes().to_vec();
        let last = move |write: &Write<'_>| write.deletes(Table::Keks, &list);
        let unannounced = store.hold_after(scans);
        let (first, second) = thread::scope(|scope| {
            let first = scope.spawn(|| engine.delete_svm(svm));
            unannounced.reached();
            engine.create_key(svm, volume(1), XTS).unwrap();
            let announced = store.hold_after(scans);
            unannounced.release();
            announced.reached();
            engine.delete_key(svm, volume(1)).unwrap();
            let trap = match before_its_first {
                true => store.hold_after(scans),
                false => store.hold_before(last),
            };
            let second = scope.spawn(|| engine.delete_svm(svm));
            trap.reached();
            announced.release();
            let first = first.join().unwrap();
            trap.release();
            (first, second.join().unwrap())
        });

        let held = keepers.held();
        match before_its_first {
            true => {
                assert!(matches!(first, Err(SvmError::HasKeys { .. })), "{first:?}");
                assert!(matches!(second, Err(SvmError::Busy { .. })), "{second:?}");
                assert_eq!(held, [(svm, KekVersion::FIRST)]);
                engine.create_key(svm, volume(1), XTS).unwrap();
            }
            false => {
                assert!(matches!(first, Err(SvmError::Busy { .. })), "{first:?}");
                second.unwrap();
                assert_eq!(held, []);
                assert!(matches!(engine.svm(svm), Err(SvmError::Unknown { .. })));
            }
        }
        drop(engine);
        verify_clean(&Engine::open_on(store, options()).unwrap());
    }
}

/// A verification is held back after each table that it reads, while everything changes.
#[test]
fn a_verification_finds_nothing_wrong_with_what_changes_meanwhile() {
    let reads: [fn(&Write<'_>) -> bool; 4] = [
        |write| matches!(write, Write::Scan { table: Table::Svms }),
        |write| matches!(write, Write::Scan { table: Table::Keks }),
        |write| matches!(write, Write::Scan { table: Table::Jobs }),
        |write| matches!(write, Write::Scan { table: Table::Keys }),
    ];
    for (number, read) in reads.into_iter().enumerate() {
        let stage = Stage::with_keys();
        let engine = &stage.engine;
        let other = engine.create_svm(&name("other")).unwrap().id();
        engine.create_key(other, volume(1), XTS).unwrap();
        let report = stage.overtake_answer(
            read,
            || engine.verify(|_| ()).unwrap(),
            || {
                stage.rekey();
                engine.delete_key(other, volume(1)).unwrap();
                engine.delete_svm(other).unwrap();
                engine.rename_svm(stage.svm, &name("other")).unwrap();
                let new = engine.create_svm(&name("vs0")).unwrap().id();
                engine.create_key(new, volume(1), XTS).unwrap();
            },
        );
        assert_eq!(report.findings, [], "held at read {number}");
    }
}
