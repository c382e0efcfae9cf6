//! Operations on keystores that were interrupted: what they hold, how they go on, and how they are given up.

use std::sync::Arc;

use claviger::faults::KeeperFaults;
use claviger::store::MemoryStore;
use claviger::store::faults::{Event, Failure, FaultClock, Strike};
use claviger::{
    Advice, Blame as _, Engine, Fault, Fetching, Job, JobError, JobOperation, JobStatus, KeystoreState, Options,
    RekeyError, SvmKeystoreError as No,
};
use uuid::Uuid;

use crate::common::vault::{keepers_of, on_request, options_with, secret_url};
use crate::common::{copy_of, verify_clean};
use crate::stage::Stage;

/// An operation on keystores that is begun, and of which nothing more is done.
struct Begun {
    stage: Stage,
    operation: fn(&Engine, &Stage) -> Result<Job, No>,
    job: Uuid,
    store: MemoryStore,
}

fn begin(stage: Stage, operation: fn(&Engine, &Stage) -> Result<Job, No>) -> Begun {
    let trap = stage.hold_job();
    let job = operation(&stage.engine, &stage).unwrap();
    trap.reached();
    let store = copy_of(&*stage.store.inner);
    trap.release();
    job.wait().unwrap();
    Begun { operation, job: job.id(), store, stage }
}

fn all() -> Vec<Begun> {
    vec![
        begin(Stage::not_enabled(), |engine, stage| engine.enable(stage.own[0])),
        begin(Stage::with_keys(), |engine, stage| engine.switch(stage.svm, stage.own[1])),
        begin(Stage::mixed(), |engine, stage| engine.migrate(stage.svm, stage.own[0])),
        begin(Stage::with_keys(), |engine, stage| engine.migrate(stage.svm, stage.cluster())),
        begin(Stage::with_keys(), |engine, stage| engine.rekey_external(stage.own[0], &secret_url(3))),
        begin(Stage::mixed(), |engine, stage| engine.disable(stage.own[0])),
    ]
}

impl Begun {
    /// Another process on a copy of what the first one has left.
    fn open(&self, options: Options) -> Engine {
        Engine::open_on(Arc::new(copy_of(&self.store)), options).unwrap()
    }

    /// Nothing goes on by itself, and the KEKs are in memory.
    fn idle(&self) -> Engine {
        let engine = self.open(Options { resume_jobs: false, ..options_with(&self.stage.vault) });
        assert_eq!(engine.job(self.job).unwrap().status, JobStatus::Interrupted);
        engine
    }

    /// All is as it became where nothing was interrupted.
    fn is_done(&self, engine: &Engine) {
        assert_eq!(engine.job(self.job).unwrap().status, JobStatus::Succeeded);
        assert_eq!(engine.keystores(), self.stage.engine.keystores());
        assert_eq!(engine.kept_keks(self.stage.svm).unwrap(), self.stage.engine.kept_keks(self.stage.svm).unwrap());
        verify_clean(engine);
    }
}

#[test]
fn an_operation_goes_on_by_itself_when_it_is_resumed_or_when_it_is_repeated() {
    for begun in all() {
        let engine = begun.open(options_with(&begun.stage.vault));
        match engine.resume_job(begun.job) {
            Ok(job) => drop(job.wait().unwrap()),
            Err(error) => assert_matches!(error, JobError::Ended { .. }),
        }
        begun.is_done(&engine);

        let engine = begun.idle();
        engine.resume_job(begun.job).unwrap().wait().unwrap();
        begun.is_done(&engine);

        let engine = begun.idle();
        let jobs = engine.resume_jobs().unwrap();
        assert_eq!(jobs.iter().map(Job::id).collect::<Vec<_>>(), [begun.job]);
        jobs[0].wait().unwrap();
        begun.is_done(&engine);

        let engine = begun.idle();
        let again = (begun.operation)(&engine, &begun.stage).unwrap();
        assert_eq!(again.id(), begun.job);
        again.wait().unwrap();
        begun.is_done(&engine);
    }
}

#[test]
fn until_then_it_holds_the_svm_and_given_up_it_does_not() {
    for begun in all() {
        let (engine, stage) = (begun.idle(), &begun.stage);
        let operation = engine.job(begun.job).unwrap().operation;
        let other = |engine: &Engine| match operation {
            JobOperation::Disable { .. } => engine.migrate(stage.svm, stage.own[0]),
            _ => engine.disable(stage.own[0]),
        };
        let refused = other(&engine).unwrap_err();
        assert_matches!(refused, No::Busy { .. });
        assert_eq!(refused.blame(), (Fault::Caller, Advice::Retry));
        assert_matches!(engine.delete_keystore(stage.own[1]), Err(No::Busy { .. }));
        if !stage.keys.is_empty() {
            assert_matches!(engine.rekey_internal(stage.svm), Err(RekeyError::KeystoreBusy { .. }));
            engine.open_key(stage.svm, crate::common::volume(0)).unwrap();
        }
        engine.create_key(stage.svm, crate::common::volume(70), crate::stage::XTS).unwrap();

        engine.cancel_job(begun.job).unwrap();
        assert_eq!(engine.job(begun.job).unwrap().status, JobStatus::Cancelled);
        assert_matches!(engine.resume_job(begun.job), Err(JobError::Ended { .. }));
        // As if it had never been asked for.
        let again = (begun.operation)(&engine, stage).unwrap();
        assert_ne!(again.id(), begun.job);
        again.wait().unwrap();
        assert_eq!(engine.keystores(), stage.engine.keystores());
        verify_clean(&engine);
    }
}

#[test]
fn a_job_that_is_cancelled_while_it_runs_changes_nothing() {
    for operation in [
        |stage: &Stage| stage.engine.switch(stage.svm, stage.own[1]),
        |stage: &Stage| stage.engine.migrate(stage.svm, stage.cluster()),
        |stage: &Stage| stage.engine.rekey_external(stage.own[0], &secret_url(3)),
    ] {
        let stage = Stage::with_keys();
        let before = (stage.engine.keystores(), stage.engine.kept_keks(stage.svm).unwrap());
        let trap = stage.hold_job();
        let job = operation(&stage).unwrap();
        trap.reached();
        job.cancel();
        trap.release();
        assert_matches!(job.wait(), Err(JobError::Cancelled { .. }));
        assert_eq!((stage.engine.keystores(), stage.engine.kept_keks(stage.svm).unwrap()), before);
        assert_eq!(stage.state(stage.own[0]), Some(KeystoreState::Active));
        operation(&stage).unwrap().wait().unwrap();
        verify_clean(&stage.engine);
    }
}

/// KEKs that are not in memory cannot be moved; asked for again, the operation fetches them itself.
#[test]
fn a_move_waits_for_keks_that_are_not_in_memory() {
    let begun = begin(Stage::with_keys(), |engine, stage| engine.switch(stage.svm, stage.own[1]));
    let engine = begun.open(Options { fetching: Fetching::OnRequest, ..options_with(&begun.stage.vault) });
    assert_eq!(engine.job(begun.job).unwrap().status, JobStatus::Interrupted);
    assert_matches!(engine.resume_job(begun.job), Err(JobError::Locked { .. }));
    assert!(engine.resume_jobs().unwrap().is_empty());
    assert_eq!((begun.operation)(&engine, &begun.stage).unwrap().wait().unwrap().id, begun.job);
    begun.is_done(&engine);
    let engine = begun.open(on_request(&begun.stage.vault));
    engine.restore_keks(None).unwrap().wait().unwrap();
    engine.resume_job(begun.job).unwrap().wait().unwrap();
    begun.is_done(&engine);
}

/// Once the new keeper keeps the KEKs, only the job knows that the old one has something to forget.
#[test]
fn what_an_old_keeper_does_not_forget_is_asked_for_again() {
    let stage = Stage::mixed();
    let (to, svm) = (stage.own[0], stage.svm);
    let open = |clock: FaultClock| {
        let keeper_faults = Some(KeeperFaults::on(clock).with_vault(stage.vault.clone()));
        let copy = Arc::new(copy_of(&*stage.store.inner));
        Engine::open_on(copy, Options { keeper_faults, ..on_request(&stage.vault) }).unwrap()
    };
    let clock = FaultClock::counting();
    open(clock.clone()).migrate(svm, to).unwrap().wait().unwrap();
    let discard = clock.events().iter().position(|event| *event == Event::Call("discard")).unwrap();
    for failure in [Failure::Refused, Failure::Unreachable, Failure::Unanswered] {
        let engine = open(FaultClock::striking([(discard, Strike::Failure(failure))]));
        let job = engine.migrate(svm, to).unwrap();
        assert_matches!(job.wait(), Err(JobError::Interrupted { .. }));
        // It is in force already.
        assert_eq!(keepers_of(&engine, svm), [to]);
        assert_eq!(engine.keystore_status(to).unwrap().state, Some(KeystoreState::Switching));
        assert_matches!(engine.cancel_job(job.id()), Err(JobError::TooLate { .. }));
        assert_matches!(engine.disable(to), Err(No::Busy { .. }));
        assert_eq!(engine.migrate(svm, to).unwrap().id(), job.id());
        match engine.resume_job(job.id()) {
            Ok(job) => drop(job.wait().unwrap()),
            Err(error) => assert_matches!(error, JobError::Ended { .. }),
        }
        assert_eq!(engine.keystore_status(to).unwrap().state, Some(KeystoreState::Active));
        verify_clean(&engine);
    }
}

/// A job that fails frees the SVM, and leaves nothing with the keeper that nobody knows of.
#[test]
fn a_move_that_fails_half_way_leaves_nothing_behind() {
    let stage = Stage::with_keys();
    // Two KEKs are to be moved.
    let trap = stage.store.hold_before(|write| write.replaces());
    let job = stage.engine.rekey_internal(stage.svm).unwrap();
    trap.reached();
    job.cancel();
    trap.release();
    job.wait().unwrap_err();
    let disk = copy_of(&*stage.store.inner);

    let run = |clock: FaultClock| {
        let keepers = KeeperFaults::on(clock).with_vault(stage.vault.clone());
        let options = Options { keeper_faults: Some(keepers.clone()), ..on_request(&stage.vault) };
        let engine = Engine::open_on(Arc::new(copy_of(&disk)), options).unwrap();
        engine.restore_keks(None).unwrap().wait().unwrap();
        let before = keepers.held();
        assert_eq!(before.len(), 2);
        let ended = engine.switch(stage.svm, stage.own[1]).unwrap().wait();
        (engine, keepers, before, ended)
    };
    let clock = FaultClock::counting();
    run(clock.clone()).3.unwrap();
    let calls = |name| {
        let events = clock.events();
        (0..events.len()).filter(|at| events[*at] == Event::Call(name)).collect::<Vec<_>>()
    };
    // Of the four fetches, the first two are those of the restoring.
    for at in [calls("keep"), calls("fetch")[2..].to_vec()].concat() {
        for failure in [Failure::Refused, Failure::Unreachable] {
            let (engine, keepers, before, ended) = run(FaultClock::striking([(at, Strike::Failure(failure))]));
            assert_matches!(ended, Err(JobError::Failed { fault: Fault::Keeper, .. }));
            assert_eq!(keepers.held(), before, "{failure:?} at {at}");
            assert_eq!(keepers_of(&engine, stage.svm), [stage.own[0], stage.own[0]]);
            assert_eq!(engine.keystore_status(stage.own[0]).unwrap().state, Some(KeystoreState::Active));
            engine.switch(stage.svm, stage.own[1]).unwrap().wait().unwrap();
            assert_eq!(keepers.held(), before);
        }
    }
}
