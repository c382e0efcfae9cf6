//! A keeper that refuses, does not answer, or whose answer is lost: what the caller is told, and how it goes on.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::sync::Arc;

use claviger::faults::KeeperFaults;
use claviger::store::MemoryStore;
use claviger::store::faults::{Event, Failure, FaultClock, FaultyStore, Strike};
use claviger::{
    Advice, Blame, Engine, Fault, JobError, JobStatus, KeeperError, KeyAlgorithm, KeyError, Options, Subject, SvmError,
    SvmId, Unavailable,
};
use common::{Bytes, bytes, kek_versions, name, verify_clean, versions, volume};

const XTS: KeyAlgorithm = KeyAlgorithm::XtsAes256;
const FAILURES: [Failure; 3] = [Failure::Refused, Failure::Unreachable, Failure::Unanswered];

/// An SVM with a key, on a store that nothing befalls.
fn with_a_key() -> (Arc<MemoryStore>, SvmId, Bytes) {
    let disk = common::unattended();
    let engine = common::open(&disk);
    let svm = engine.create_svm(&name("vs0")).unwrap().id();
    let key = bytes(&engine.create_key(svm, volume(1), XTS).unwrap());
    (disk, svm, key)
}

/// Opens what is on `disk` with a keeper whose calls fail at these events.
fn open(disk: &Arc<MemoryStore>, strikes: &[(usize, Failure)]) -> Engine {
    open_on(disk, FaultClock::striking(strikes.iter().map(|(at, failure)| (*at, Strike::Failure(*failure)))))
}

fn open_on(disk: &Arc<MemoryStore>, clock: FaultClock) -> Engine {
    let keeper_faults = Some(KeeperFaults::on(clock.clone()));
    let store = Arc::new(FaultyStore::over(disk.clone(), clock));
    Engine::open_on(store, Options { keeper_faults, ..common::options() }).unwrap()
}

/// The event at which the keeper is to forget something, where this is done on a copy of `disk`.
fn discard_in(disk: &MemoryStore, work: impl FnOnce(&Engine)) -> usize {
    let clock = FaultClock::counting();
    work(&open_on(&Arc::new(common::copy_of(disk)), clock.clone()));
    clock.events().iter().position(|event| *event == Event::Call("discard")).unwrap()
}

fn blame(failure: Failure) -> (Fault, Advice) {
    match failure {
        Failure::Refused => (Fault::Keeper, Advice::GiveCredentials),
        Failure::Unreachable | Failure::Unanswered => (Fault::Keeper, Advice::Retry),
    }
}

#[test]
fn keys_whose_kek_did_not_come_say_why_and_come_with_it() {
    for failure in FAILURES {
        let (disk, svm, key) = with_a_key();
        // The first event is the fetch at the start.
        let engine = open(&disk, &[(0, failure)]);
        let error = engine.open_key(svm, volume(1)).unwrap_err();
        match failure {
            Failure::Refused => assert!(matches!(error, KeyError::KekRefused { .. }), "{error:?}"),
            _ => assert!(matches!(error, KeyError::KekUnreachable { .. }), "{error:?}"),
        }
        assert_eq!(error.blame(), blame(failure));
        assert_eq!(engine.create_key(svm, volume(2), XTS).unwrap_err().blame(), blame(failure));
        assert_eq!(engine.rekey_internal(svm).unwrap_err().blame(), blame(failure));
        let report = engine.verify(|_| ()).unwrap();
        let [unchecked] = report.unchecked.try_into().unwrap();
        assert_eq!((report.findings, report.keys, report.opened), (vec![], 1, 0));
        assert_eq!((unchecked.svm, unchecked.keys, unchecked.why), (svm, 1, unavailable(failure)));
        // An SVM that needs nothing of the old KEK goes on.
        let other = engine.create_svm(&name("vs1")).unwrap().id();
        engine.create_key(other, volume(1), XTS).unwrap();

        engine.unlock(&common::passphrase(common::PASSPHRASE)).unwrap();
        assert_eq!(bytes(engine.open_key(svm, volume(1)).unwrap().newest()), key);
        verify_clean(&engine);
    }
}

fn unavailable(failure: Failure) -> Unavailable {
    match failure {
        Failure::Refused => Unavailable::KeeperRefused,
        Failure::Unreachable | Failure::Unanswered => Unavailable::KeeperUnreachable,
    }
}

#[test]
fn a_keeper_that_does_not_give_a_kek_back_is_told_though_the_kek_is_in_memory() {
    for failure in FAILURES {
        let (disk, svm, _) = with_a_key();
        // After the fetch at the start comes that of the verification.
        let engine = open(&disk, &[(1, failure)]);
        let report = engine.verify(|_| ()).unwrap();
        let [unchecked] = report.unchecked.try_into().unwrap();
        assert_eq!((report.findings, report.keys, report.opened), (vec![], 1, 1));
        assert_eq!((unchecked.svm, unchecked.keys, unchecked.why), (svm, 0, unavailable(failure)));
        let keystore = engine.keystore().unwrap().id;
        assert_eq!(unchecked.depends_on.subject(), Subject::Keystore(keystore));
        verify_clean(&engine);
    }
}

#[test]
fn a_first_kek_that_is_not_kept_is_no_key() {
    for (event, failure) in [0, 1].into_iter().flat_map(|event| FAILURES.map(|failure| (event, failure))) {
        let disk = common::unattended();
        let svm = common::open(&disk).create_svm(&name("vs0")).unwrap().id();
        let engine = open(&disk, &[(event, failure)]);
        let error = engine.create_key(svm, volume(1), XTS).unwrap_err();
        match failure {
            Failure::Refused => {
                assert!(matches!(error, KeyError::Keeper(KeeperError::CredentialRefused { .. })), "{error:?}");
            }
            _ => assert!(matches!(error, KeyError::Keeper(KeeperError::Unreachable { .. })), "{error:?}"),
        }
        assert_eq!(error.blame(), blame(failure));
        assert_eq!(engine.kek(svm).unwrap(), None);
        engine.create_key(svm, volume(1), XTS).unwrap();
        verify_clean(&engine);
    }
}

/// Once the old KEK is dropped, only the job knows that the keeper has something to forget.
#[test]
fn a_rekey_whose_old_kek_is_not_forgotten_waits_for_the_keeper() {
    for failure in FAILURES {
        let (disk, svm, key) = with_a_key();
        let discard = discard_in(&disk, |engine| drop(engine.rekey_internal(svm).unwrap().wait().unwrap()));
        let engine = open(&disk, &[(discard, failure)]);
        let job = engine.rekey_internal(svm).unwrap();
        assert!(matches!(job.wait(), Err(JobError::Interrupted { .. })));
        assert_eq!(kek_versions(&engine, svm), Some((2, None)));
        assert_eq!(engine.job(job.id()).unwrap().status, JobStatus::Interrupted);
        let too_late = engine.cancel_job(job.id()).unwrap_err();
        assert!(matches!(too_late, JobError::TooLate { .. }), "{too_late:?}");
        assert!(matches!(engine.delete_svm(svm), Err(SvmError::Busy { .. })));
        drop(engine);

        // It goes on when it is resumed, when a rekey is asked for, or by itself at the next start.
        let other = |resume_jobs| {
            let copy = Arc::new(common::copy_of(&*disk));
            Engine::open_on(copy, Options { resume_jobs, ..common::options() }).unwrap()
        };
        let resumed = other(false);
        resumed.resume_job(job.id()).unwrap().wait().unwrap();
        let asked = other(false);
        assert_eq!(asked.rekey_internal(svm).unwrap().wait().unwrap().id, job.id());
        let opened = other(true);
        match opened.resume_job(job.id()) {
            Ok(running) => drop(running.wait().unwrap()),
            Err(error) => assert!(matches!(error, JobError::Ended { .. }), "{error:?}"),
        }
        for engine in [resumed, asked, opened] {
            assert_eq!(engine.job(job.id()).unwrap().status, JobStatus::Succeeded);
            assert_eq!(kek_versions(&engine, svm), Some((2, None)));
            assert_eq!(versions(&engine.open_key(svm, volume(1)).unwrap()), [(1, key.clone())]);
            engine.rekey_internal(svm).unwrap().wait().unwrap();
            assert_eq!(kek_versions(&engine, svm), Some((3, None)));
            verify_clean(&engine);
        }
    }
}

#[test]
fn an_svm_whose_keks_are_not_forgotten_is_deleted_when_they_are() {
    for failure in FAILURES {
        let (disk, svm, _) = with_a_key();
        let discard = discard_in(&disk, |engine| {
            engine.delete_key(svm, volume(1)).unwrap();
            engine.delete_svm(svm).unwrap();
        });
        let engine = open(&disk, &[(discard, failure)]);
        engine.delete_key(svm, volume(1)).unwrap();
        let error = engine.delete_svm(svm).unwrap_err();
        assert!(matches!(error, SvmError::Keeper(_)), "{error:?}");
        assert_eq!(error.blame(), blame(failure));
        assert!(matches!(engine.create_key(svm, volume(2), XTS), Err(KeyError::SvmBeingDeleted { .. })));
        let restarted = common::open(&Arc::new(common::copy_of(&*disk)));
        assert!(matches!(restarted.svm(svm), Err(SvmError::Unknown { .. })));
        engine.delete_svm(svm).unwrap();
        verify_clean(&engine);
    }
}
