//! A scenario is run once for each of its writes, and dies there: before it, after it, and, where the write is not atomic,
//! in the middle of it. What was acknowledged must be there after each reopening, and what was begun must go on.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;

use claviger::store::MemoryStore;
use claviger::store::faults::{Crash, FaultClock, FaultyStore, Strike, Tear};
use claviger::{
    Engine, JobStatus, KeyAlgorithm, KeyError, KeystoreError, NewKey, ObjectRef, OnboardMode, OpenEngineError,
    SvmError, SvmId,
};
use common::{Bytes, bytes, kek_versions, name, passphrase, verify_clean, versions, volume};

const XTS: KeyAlgorithm = KeyAlgorithm::XtsAes256;
const CRASHES: [Crash; 3] = [Crash::Before, Crash::After, Crash::Torn(Tear::EverySecond)];

/// The versions that an object's key has; none where there is no key.
type State = Vec<(u32, Bytes)>;

/// What somebody outside knows.
#[derive(Default)]
struct Acknowledged {
    svm: Option<SvmId>,
    keys: BTreeMap<ObjectRef, State>,
    /// The object of the call that was never answered: what it may be besides what it was.
    in_doubt: Option<(ObjectRef, Doubt)>,
    svm_in_doubt: bool,
    rekeys: u32,
}

#[derive(Clone, Copy, Debug)]
enum Doubt {
    Created,
    Deleted,
    Begun,
    Finished,
}

/// The call died, for whatever reason it gives.
struct Died;

impl Acknowledged {
    fn call<T, E>(&mut self, object: ObjectRef, doubt: Doubt, call: impl FnOnce() -> Result<T, E>) -> Result<T, Died> {
        self.in_doubt = Some((object, doubt));
        let answer = call().map_err(|_| Died)?;
        self.in_doubt = None;
        Ok(answer)
    }

    fn create(&mut self, engine: &Engine, svm: SvmId, object: ObjectRef) -> Result<(), Died> {
        let key = self.call(object, Doubt::Created, || engine.create_key(svm, object, XTS))?;
        self.keys.insert(object, vec![(1, bytes(&key))]);
        Ok(())
    }

    /// Everything that a hierarchy goes through.
    fn scenario(&mut self, engine: &Engine) -> Result<(), Died> {
        self.svm_in_doubt = true;
        let svm = engine.create_svm(&name("vs0")).map_err(|_| Died)?.id();
        (self.svm, self.svm_in_doubt) = (Some(svm), false);
        for number in 0..8 {
            self.create(engine, svm, volume(number))?;
        }
        let many: Vec<_> = (100..122).map(|number| NewKey { object: volume(number), algorithm: XTS }).collect();
        engine.create_keys(svm, &many).map_err(|_| Died)?;
        for key in many {
            let opened = engine.open_key(svm, key.object).map_err(|_| Died)?;
            self.keys.insert(key.object, versions(&opened));
        }
        self.begin(engine, svm, volume(0))?;
        self.begin(engine, svm, volume(1))?;
        self.finish(engine, svm, volume(1))?;
        self.rekey(engine, svm)?;
        self.delete(engine, svm, volume(2))?;
        self.delete(engine, svm, volume(100))?;
        self.create(engine, svm, volume(2))?;
        self.finish(engine, svm, volume(0))?;
        engine.rename_svm(svm, &name("vs1")).map_err(|_| Died)?;
        self.rekey(engine, svm)?;
        let other = engine.create_svm(&name("short-lived")).map_err(|_| Died)?.id();
        engine.create_key(other, volume(0), XTS).map_err(|_| Died)?;
        engine.delete_key(other, volume(0)).map_err(|_| Died)?;
        engine.delete_svm(other).map_err(|_| Died)?;
        self.create(engine, svm, volume(50))
    }

    fn begin(&mut self, engine: &Engine, svm: SvmId, object: ObjectRef) -> Result<(), Died> {
        let opened = self.call(object, Doubt::Begun, || engine.begin_rotation(svm, object))?;
        self.keys.insert(object, versions(&opened));
        Ok(())
    }

    fn finish(&mut self, engine: &Engine, svm: SvmId, object: ObjectRef) -> Result<(), Died> {
        let kept = self.call(object, Doubt::Finished, || engine.finish_rotation(svm, object))?;
        self.keys.insert(object, vec![(kept.version().get(), bytes(&kept))]);
        Ok(())
    }

    fn delete(&mut self, engine: &Engine, svm: SvmId, object: ObjectRef) -> Result<(), Died> {
        self.call(object, Doubt::Deleted, || engine.delete_key(svm, object))?;
        self.keys.remove(&object);
        Ok(())
    }

    fn rekey(&mut self, engine: &Engine, svm: SvmId) -> Result<(), Died> {
        engine.rekey_internal(svm).map_err(|_| Died)?.wait().map_err(|_| Died)?;
        self.rekeys += 1;
        Ok(())
    }

    /// All that was acknowledged is there, and what was in doubt is either as it was or as it was to be.
    fn check(&self, engine: &Engine, at: &str) {
        let Some(svm) = self.svm else {
            assert!(engine.svms().len() == 1 || self.svm_in_doubt, "{at}");
            return;
        };
        for (&object, expected) in &self.keys {
            if self.in_doubt.is_none_or(|(in_doubt, _)| in_doubt != object) {
                assert_eq!(versions(&engine.open_key(svm, object).unwrap()), *expected, "{at}: {object}");
            }
        }
        let Some((object, doubt)) = self.in_doubt else { return };
        let before = self.keys.get(&object).cloned().unwrap_or_default();
        let now = match engine.open_key(svm, object) {
            Ok(opened) => versions(&opened),
            Err(KeyError::Missing { .. }) => State::new(),
            Err(error) => panic!("{at}: {error:?}"),
        };
        let as_it_was_to_be = match doubt {
            Doubt::Created => now.len() == 1 && now[0].0 == 1,
            Doubt::Deleted => now.is_empty(),
            Doubt::Begun => now.len() == 2 && now[..1] == before[..],
            Doubt::Finished => now == before[1..],
        };
        assert!(now == before || as_it_was_to_be, "{at}: {object} {doubt:?}");
    }
}

#[test]
fn a_hierarchy_survives_a_crash_at_each_of_its_writes() {
    for crash in CRASHES {
        let mut writes = 0;
        loop {
            let at = format!("{crash:?} {writes}");
            let disk = common::unattended();
            let clock = FaultClock::striking([(writes, Strike::Crash(crash))]);
            let store = Arc::new(FaultyStore::over(disk.clone(), clock.clone()));
            let mut known = Acknowledged::default();
            let engine = common::open(&store);
            let survived = known.scenario(&engine).is_ok();
            drop(engine);
            assert_eq!(survived, !clock.is_dead(), "{at}");

            let engine = common::open(&disk);
            known.check(&engine, &at);
            finish_jobs(&engine, &at);
            known.check(&engine, &at);
            if let Some(svm) = known.svm {
                go_on(&engine, svm, &known, &at);
                known.check(&engine, &at);
            }
            let names: Vec<_> = engine.svms().iter().map(|svm| svm.name().unwrap().to_string()).collect();
            assert!(
                names[1..].iter().all(|name| ["vs0", "vs1", "short-lived"].contains(&name.as_str())),
                "{at}: {names:?}"
            );
            let report = verify_clean(&engine);
            drop(engine);
            assert_eq!(verify_clean(&common::open(&disk)).keys, report.keys, "{at}");
            if survived {
                println!("{writes} writes");
                assert!(writes > 30);
                break;
            }
            writes += 1;
        }
    }
}

/// What was running at the crash goes on by itself to its end.
fn finish_jobs(engine: &Engine, at: &str) {
    for job in engine.jobs().unwrap() {
        if let Ok(resumed) = engine.resume_job(job.id) {
            resumed.wait().unwrap();
        }
        assert_eq!(engine.job(job.id).unwrap().status, JobStatus::Succeeded, "{at}");
    }
}

/// The hierarchy is not only there, but works.
fn go_on(engine: &Engine, svm: SvmId, known: &Acknowledged, at: &str) {
    let kek = kek_versions(engine, svm);
    if let Some((version, retiring)) = kek {
        // A rekey that was begun has ended; one that was only asked for has not happened.
        assert_eq!(retiring, None, "{at}");
        assert!((known.rekeys + 1..=known.rekeys + 2).contains(&version), "{at}");
    }
    engine.create_key(svm, volume(200), XTS).unwrap();
    engine.rekey_internal(svm).unwrap().wait().unwrap();
    assert_eq!(kek_versions(engine, svm), Some((kek.map_or(1, |(version, _)| version) + 1, None)), "{at}");
    match engine.svm_named("short-lived") {
        Ok(short_lived) => {
            // A deletion that was begun has been completed. Here it was not begun: the SVM takes keys.
            let short_lived = short_lived.id();
            engine.create_key(short_lived, volume(5), XTS).unwrap_or_else(|error| panic!("{at}: {error:?}"));
            assert!(matches!(engine.delete_svm(short_lived), Err(SvmError::HasKeys { .. })), "{at}");
            engine.delete_key(short_lived, volume(5)).unwrap();
            match engine.delete_key(short_lived, volume(0)) {
                Ok(()) | Err(KeyError::Missing { .. }) => engine.delete_svm(short_lived).unwrap(),
                Err(error) => panic!("{at}: {error:?}"),
            }
        }
        Err(error) => assert!(matches!(error, SvmError::UnknownName { .. })),
    }
}

/// Keys are re-wrapped a page at a time, and the cursor is written once in 16 pages.
#[test]
fn a_rekey_of_many_pages_survives_a_crash_at_each_of_its_writes() {
    const KEYS: u64 = 17 * 1_024 + 5;
    let made = common::unattended();
    let engine = common::open(&made);
    let svm = engine.create_svm(&name("vs0")).unwrap().id();
    let many: Vec<_> =
        (0..KEYS).map(|number| NewKey { object: volume(number.into()), algorithm: KeyAlgorithm::Aes256 }).collect();
    engine.create_keys(svm, &many).unwrap();
    let mut expected = BTreeMap::new();
    engine.open_all(svm, |object, key| drop(expected.insert(object, versions(&key.unwrap())))).unwrap();
    drop(engine);

    // The first writes, those around the cursor, and the last.
    for writes in [0, 1, 2, 17, 18, 19, 20, 21, 22, 23, 24] {
        for crash in CRASHES {
            let disk = Arc::new(common::copy_of(made.as_ref()));
            let clock = FaultClock::striking([(writes, Strike::Crash(crash))]);
            let store = Arc::new(FaultyStore::over(disk.clone(), clock.clone()));
            let engine = common::open(&store);
            let ended = engine.rekey_internal(svm).map_err(|_| Died).and_then(|job| job.wait().map_err(|_| Died));
            drop(engine);
            if ended.is_ok() {
                assert!(writes >= 22, "{writes}");
                continue;
            }
            let engine = common::open(&disk);
            finish_jobs(&engine, "");
            let mut opened = BTreeMap::new();
            engine.open_all(svm, |object, key| drop(opened.insert(object, versions(&key.unwrap())))).unwrap();
            assert!(opened == expected, "{crash:?} {writes}");
            let (version, retiring) = kek_versions(&engine, svm).unwrap();
            assert!(retiring.is_none() && (writes == 0 || version == 2), "{crash:?} {writes}");
            assert_eq!(verify_clean(&engine).keys, KEYS);
        }
    }
}

#[test]
fn creation_and_passphrase_survive_a_crash_at_each_of_their_writes() {
    let old = || passphrase(common::PASSPHRASE);
    let new = || passphrase(common::OTHER_PASSPHRASE);
    for crash in [Crash::Before, Crash::After] {
        for writes in 0.. {
            let disk = Arc::new(MemoryStore::default());
            let clock = FaultClock::striking([(writes, Strike::Crash(crash))]);
            let store = Arc::new(FaultyStore::over(disk.clone(), clock.clone()));
            let mut acknowledged = 0;
            let scenario = || -> Result<(), Died> {
                let engine =
                    Engine::create_on(store.clone(), &name("cluster1"), common::options()).map_err(|_| Died)?;
                acknowledged = 1;
                engine.create_onboard(OnboardMode::Unattended, &old()).map_err(|_| Died)?;
                acknowledged = 2;
                engine.change_passphrase(&old(), &new()).map_err(|_| Died)?;
                acknowledged = 3;
                Ok(())
            };
            let survived = { scenario }().is_ok();

            let engine = match Engine::open_on(disk.clone(), common::options()) {
                Ok(engine) => engine,
                Err(OpenEngineError::Unfinished { .. }) => {
                    assert_eq!(acknowledged, 0);
                    Engine::create_on(disk.clone(), &name("cluster1"), common::options()).unwrap()
                }
                Err(error) => panic!("{error:?}"),
            };
            assert_eq!(engine.svms().len(), 1);
            match (acknowledged, engine.unlock(&old()), engine.unlock(&new())) {
                (0 | 1, Err(KeystoreError::None), _) => {
                    engine.create_onboard(OnboardMode::Unattended, &old()).unwrap();
                }
                (1 | 2, Ok(()), Err(KeystoreError::WrongPassphrase)) => {}
                (2 | 3, Err(KeystoreError::WrongPassphrase), Ok(())) => {}
                answers => panic!("{crash:?} {writes}: {answers:?}"),
            }
            let svm = engine.svms()[0].id();
            engine.create_key(svm, volume(1), XTS).unwrap();
            verify_clean(&engine);
            if survived {
                assert!(writes >= 3);
                break;
            }
        }
    }
}
