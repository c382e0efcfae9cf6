//! Keys are made, opened, rotated and deleted by many threads while their SVM is rekeyed again and again.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;

use claviger::store::MemoryStore;
use claviger::{
    Engine, JobError, JobStatus, KeyAlgorithm, KeyError, NewKey, ObjectRef, OnboardMode, Options, SvmError, SvmId,
};
use common::{Bytes, bytes, kek_versions, name, verify_clean, versions, volume};

const THREADS: usize = 8;
const XTS: KeyAlgorithm = KeyAlgorithm::XtsAes256;

/// What the threads of a test know of the keys: each the versions that its object must have.
type Known = BTreeMap<ObjectRef, Vec<(u32, Bytes)>>;

fn all_open(engine: &Engine, svm: SvmId, known: &Known) {
    for (&object, expected) in known {
        assert_eq!(versions(&engine.open_key(svm, object).unwrap()), *expected, "{object}");
    }
    assert_eq!(engine.count_keys(svm).unwrap().values().sum::<u64>(), known.len() as u64);
}

/// One thread's life: it makes, opens, rotates and deletes keys of its own, and opens those of all.
fn work(engine: &Engine, svm: SvmId, thread: usize, rounds: usize, shared: &Known, contested: &Mutex<Known>) -> Known {
    let mut own = Known::new();
    for round in 0..rounds {
        let number = |of: usize| volume(((thread + 1) * 1_000_000 + of) as u128);
        let object = number(round);
        let made = engine.create_key(svm, object, XTS).unwrap();
        own.insert(object, vec![(1, bytes(&made))]);
        assert!(matches!(engine.create_key(svm, object, XTS), Err(KeyError::Exists { .. })));

        let earlier = number(round / 2);
        if let Some(known) = own.get_mut(&earlier) {
            assert_eq!(versions(&engine.open_key(svm, earlier).unwrap()), *known);
            match known.len() {
                1 => *known = versions(&engine.begin_rotation(svm, earlier).unwrap()),
                _ => {
                    let kept = engine.finish_rotation(svm, earlier).unwrap();
                    known.remove(0);
                    assert_eq!(*known, [(kept.version().get(), bytes(&kept))]);
                }
            }
        }
        if round % 5 == 4 {
            let gone = number(round - 2);
            engine.delete_key(svm, gone).unwrap();
            own.remove(&gone).unwrap();
            assert!(matches!(engine.open_key(svm, gone), Err(KeyError::Missing { .. })));
        }

        let (&object, expected) = shared.iter().nth((round * 7 + thread) % shared.len()).unwrap();
        assert_eq!(versions(&engine.open_key(svm, object).unwrap()), *expected);

        // All threads want the same key. One makes it.
        let wanted = volume(9_000_000 + round as u128);
        match engine.create_key(svm, wanted, KeyAlgorithm::Aes256) {
            Ok(key) => assert!(contested.lock().unwrap().insert(wanted, vec![(1, bytes(&key))]).is_none()),
            Err(error) => assert!(matches!(error, KeyError::Exists { object } if object == wanted)),
        }
        assert_eq!(engine.open_key(svm, wanted).unwrap().newest().expose().len(), 32);
    }
    own
}

fn stress(engine: &Engine, rounds: usize) -> (SvmId, Known) {
    let svm = engine.create_svm(&name("vs0")).unwrap().id();
    let shared: Known = (0..50)
        .map(volume)
        .map(|object| (object, vec![(1, bytes(&engine.create_key(svm, object, XTS).unwrap()))]))
        .collect();
    let contested = Mutex::new(Known::new());
    let working = AtomicUsize::new(THREADS);
    let mut rekeys = 0;

    let mut known = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (shared, contested, working) = (&shared, &contested, &working);
                scope.spawn(move || {
                    let _working = Leave(working);
                    work(engine, svm, thread, rounds, shared, contested)
                })
            })
            .collect();
        while working.load(Ordering::SeqCst) > 0 || rekeys < 3 {
            engine.rekey_internal(svm).unwrap().wait().unwrap();
            rekeys += 1;
        }
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect::<Known>()
    });

    known.extend(shared);
    known.extend(contested.into_inner().unwrap());
    all_open(engine, svm, &known);
    assert_eq!(kek_versions(engine, svm), Some((rekeys + 1, None)));
    assert_eq!(verify_clean(engine).keys, known.len() as u64);
    (svm, known)
}

/// Counts a thread out, also when it panics.
struct Leave<'a>(&'a AtomicUsize);

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[test]
fn nothing_is_lost_through_rekeys_in_memory() {
    let store = common::unattended();
    let (svm, known) = stress(&common::open(&store), 150);
    all_open(&common::open(&store), svm, &known);
}

#[test]
fn nothing_is_lost_through_rekeys_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    let engine = on_disk(dir.path());
    let (svm, known) = stress(&engine, 40);
    drop(engine);
    let engine = Engine::open(dir.path(), common::dir_options()).unwrap();
    all_open(&engine, svm, &known);
    verify_clean(&engine);
}

fn on_disk(dir: &Path) -> Engine {
    let engine = Engine::create(dir, &name("cluster1"), common::dir_options()).unwrap();
    engine.create_onboard(OnboardMode::Unattended, &common::passphrase(common::PASSPHRASE)).unwrap();
    engine
}

#[test]
fn eight_first_keys_make_one_kek() {
    let store = common::unattended();
    let engine = common::open(&store);
    for round in 0..50 {
        let svm = engine.create_svm(&name(&format!("vs{round}"))).unwrap().id();
        let start = Barrier::new(THREADS);
        let made = thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS as u128)
                .map(|number| {
                    let (engine, start) = (&engine, &start);
                    scope.spawn(move || {
                        start.wait();
                        // Made by one thread and looked for by another, a key is there or not, and never damaged.
                        match engine.open_key(svm, volume((number + 1) % THREADS as u128)) {
                            Ok(_) | Err(KeyError::Missing { .. }) => {}
                            Err(error) => panic!("{error:?}"),
                        }
                        (volume(number), vec![(1, bytes(&engine.create_key(svm, volume(number), XTS).unwrap()))])
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Known>()
        });
        assert_eq!(kek_versions(&engine, svm), Some((1, None)));
        all_open(&engine, svm, &made);
    }
    verify_clean(&engine);
    verify_clean(&common::open(&store));
}

#[test]
fn eight_threads_that_ask_for_a_rekey_get_one() {
    let store = common::unattended();
    let engine = common::open(&store);
    let svm = engine.create_svm(&name("vs0")).unwrap().id();
    engine.create_key(svm, volume(1), XTS).unwrap();
    for _ in 0..50 {
        let start = Barrier::new(THREADS);
        thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    start.wait();
                    let ended = engine.rekey_internal(svm).unwrap().wait().unwrap();
                    assert_eq!(ended.status, JobStatus::Succeeded);
                });
            }
        });
        assert_eq!(kek_versions(&engine, svm).unwrap().1, None);
    }
    assert!(engine.jobs().unwrap().iter().all(|job| job.status == JobStatus::Succeeded));
    verify_clean(&engine);
}

#[test]
fn an_svm_is_deleted_or_gets_its_key_and_never_both() {
    let store = common::unattended();
    let engine = common::open(&store);
    let (mut deleted, mut kept) = (0, 0);
    for round in 0..200_usize {
        let svm = engine.create_svm(&name(&format!("vs{round}"))).unwrap().id();
        if round % 2 == 0 {
            // With a KEK that there was before.
            engine.create_key(svm, volume(0), XTS).unwrap();
            engine.delete_key(svm, volume(0)).unwrap();
        }
        let start = Barrier::new(3);
        let (deletion, made) = thread::scope(|scope| {
            let create = |number| {
                let (engine, start) = (&engine, &start);
                scope.spawn(move || {
                    start.wait();
                    (volume(number), engine.create_key(svm, volume(number), XTS).map(|key| bytes(&key)))
                })
            };
            let creators = [create(1), create(2)];
            start.wait();
            let deletion = engine.delete_svm(svm);
            (deletion, creators.map(|thread| thread.join().unwrap()))
        });
        match deletion {
            Ok(()) => {
                deleted += 1;
                for (_, created) in made {
                    assert!(matches!(created, Err(KeyError::UnknownSvm { .. } | KeyError::SvmBeingDeleted { .. })));
                }
                assert!(matches!(engine.svm(svm), Err(SvmError::Unknown { .. })));
            }
            Err(SvmError::HasKeys { .. } | SvmError::Busy { .. }) => {
                kept += 1;
                for (object, created) in made {
                    match created {
                        Ok(key) => assert_eq!(versions(&engine.open_key(svm, object).unwrap()), [(1, key)]),
                        Err(error) => assert!(matches!(error, KeyError::SvmBeingDeleted { .. }), "{error:?}"),
                    }
                }
                engine.create_key(svm, volume(3), XTS).unwrap();
            }
            Err(error) => panic!("{error:?}"),
        }
    }
    println!("{deleted} deleted, {kept} kept");
    // A key without an SVM would be found here.
    verify_clean(&engine);
    verify_clean(&common::open(&store));
}

#[test]
fn a_rekey_that_a_close_interrupts_goes_on_at_the_next_start() {
    const KEYS: u128 = 6 * 1_024;
    let store = common::unattended();
    let engine = common::open(&store);
    let svm = engine.create_svm(&name("vs0")).unwrap().id();
    let new: Vec<_> = (0..KEYS).map(|number| NewKey { object: volume(number), algorithm: XTS }).collect();
    engine.create_keys(svm, &new).unwrap();
    let mut known = Known::new();
    engine.open_all(svm, |object, key| drop(known.insert(object, versions(&key.unwrap())))).unwrap();

    let mut engine = Some(engine);
    let mut version = 1;
    let mut interrupted = 0;
    for _ in 0..20 {
        let job = engine.as_ref().unwrap().rekey_internal(svm).unwrap();
        let seen = AtomicBool::new(false);
        let ended = job.wait_with(|progress| {
            // The first page is done, others are not.
            if progress.done > 0 && !seen.swap(true, Ordering::SeqCst) {
                engine = None;
            }
        });
        engine = Some(Engine::open_on(store.clone(), Options { resume_jobs: false, ..common::options() }).unwrap());
        let reopened = engine.as_ref().unwrap();
        version += 1;
        match ended {
            Err(JobError::Interrupted { job: id }) => {
                interrupted += 1;
                assert_eq!(reopened.job(id).unwrap().status, JobStatus::Interrupted);
                assert_eq!(kek_versions(reopened, svm), Some((version, Some(version - 1))));
                all_open(reopened, svm, &known);
                assert!(matches!(reopened.delete_svm(svm), Err(SvmError::Busy { .. })));
                // It is asked for again, and goes on with its own job.
                let resumed = reopened.rekey_internal(svm).unwrap();
                assert_eq!(resumed.id(), id);
                resumed.wait().unwrap();
            }
            ended => drop(ended.unwrap()),
        }
        assert_eq!(kek_versions(reopened, svm), Some((version, None)));
        if interrupted == 2 {
            break;
        }
    }
    assert_eq!(interrupted, 2, "no close was fast enough");
    all_open(engine.as_ref().unwrap(), svm, &known);
    verify_clean(engine.as_ref().unwrap());
}

#[test]
fn who_waits_for_a_job_is_told_when_jobs_stop_and_no_other_begins() {
    let store = common::unattended();
    let engine = common::open(&store);
    let svms = ["vs0", "vs1"].map(|svm| engine.create_svm(&name(svm)).unwrap().id());
    let new: Vec<_> = (0..8 * 1_024).map(|number| NewKey { object: volume(number), algorithm: XTS }).collect();
    for svm in svms {
        engine.create_keys(svm, &new).unwrap();
    }
    let running = engine.rekey_internal(svms[0]).unwrap();
    engine.stop_jobs();
    let is_interrupted = |job: &claviger::Job| match job.wait() {
        Err(JobError::Interrupted { job: id }) => id == job.id(),
        _ => false,
    };
    assert!(is_interrupted(&running));
    // What is asked for now is written down, and done after the next start.
    let late = engine.rekey_internal(svms[1]).unwrap();
    assert!(is_interrupted(&late));
    assert_eq!(engine.job(late.id()).unwrap().status, JobStatus::Interrupted);
    // Keys are opened and made all the same.
    engine.create_key(svms[0], volume(1_000_000), XTS).unwrap();
    drop(engine);

    let engine = common::open(&store);
    for (svm, job) in svms.into_iter().zip([running.id(), late.id()]) {
        if let Ok(job) = engine.resume_job(job) {
            job.wait().unwrap();
        }
        assert_eq!(kek_versions(&engine, svm), Some((2, None)));
    }
}

#[test]
fn after_a_cancelled_rekey_the_next_goes_on_to_the_same_kek() {
    let memory: Arc<MemoryStore> = common::unattended();
    let store = common::stores::HoldingStore::over(memory);
    let engine = common::open(&store);
    let svm = engine.create_svm(&name("vs0")).unwrap().id();
    let made: Known = (0..10)
        .map(volume)
        .map(|object| (object, vec![(1, bytes(&engine.create_key(svm, object, XTS).unwrap()))]))
        .collect();

    let held = store.hold_before(|write| write.replaces());
    let job = engine.rekey_internal(svm).unwrap();
    held.reached();
    job.cancel();
    held.release();
    assert!(matches!(job.wait(), Err(JobError::Cancelled { .. })));
    assert_eq!(kek_versions(&engine, svm), Some((2, Some(1))));
    let id = engine.kek(svm).unwrap().unwrap().id;
    all_open(&engine, svm, &made);
    verify_clean(&engine);

    let next = engine.rekey_internal(svm).unwrap();
    assert_ne!(next.id(), job.id());
    next.wait().unwrap();
    let kek = engine.kek(svm).unwrap().unwrap();
    assert_eq!((kek.version.get(), kek.retiring, kek.id), (2, None, id));
    all_open(&engine, svm, &made);
    verify_clean(&engine);
}
