//! Outages of the vault: keys whose KEK is in memory never notice; what is not there comes back by itself; and nobody asks more
//! often than needed.

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use claviger::{
    Advice, Blame as _, Engine, Fault, Fetching, JobError, KeyAlgorithm, KeyError, KeystoreState, NewKey, Options,
    SvmKeystoreError as No, Trouble,
};

use crate::common::vault::{self, create_enabled, on_request, options_with, secret_url};
use crate::common::{kek_versions, name, records, verify_clean, volume};
use crate::stage::{Stage, XTS};

/// As a node starts by default, but that nobody waits for the first answers.
fn automatic(vault: &claviger::faults::Vault) -> Options {
    Options { fetching: Fetching::Automatic { wait: Duration::ZERO }, ..options_with(vault) }
}

/// Looks until it is so. The engine does it by itself, in a thread of its own.
#[track_caller]
fn until(mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !is_so() {
        assert!(Instant::now() < deadline, "it does not come");
        thread::yield_now();
    }
}

const RETRY_KEEPER: (Fault, Advice) = (Fault::Keeper, Advice::Retry);

#[test]
fn keys_whose_kek_is_in_memory_do_not_notice_an_outage() {
    let stage = Stage::with_keys();
    stage.vault.set_away(true);
    let asked = stage.vault.asked();
    stage.serves();
    let many: Vec<_> = (100..400).map(|number| NewKey { object: volume(number), algorithm: XTS }).collect();
    stage.engine.create_keys(stage.svm, &many).unwrap();
    stage.engine.begin_rotation(stage.svm, volume(0)).unwrap();
    stage.engine.finish_rotation(stage.svm, volume(1)).unwrap_err();
    stage.engine.open_all(stage.svm, |_, key| drop(key.unwrap())).unwrap();
    for _ in 0..10_000 / 300 {
        (100..400).for_each(|number| drop(stage.engine.open_key(stage.svm, volume(number)).unwrap()));
    }
    assert_eq!(stage.vault.asked(), asked, "the data path asks the keeper");
}

#[test]
fn what_needs_the_keeper_fails_with_it_and_changes_nothing() {
    let stage = Stage::with_keys();
    let other = stage.engine.create_svm(&name("vs1")).unwrap().id();
    create_enabled(&stage.engine, other, "A", 1);
    stage.vault.set_away(true);
    let before = View::of(&stage);
    let failed = |job: Result<claviger::Job, No>| {
        let error = job.unwrap().wait().unwrap_err();
        assert_matches!(error, JobError::Failed { .. });
        assert_eq!(error.blame(), RETRY_KEEPER);
        assert_eq!(View::of(&stage), before);
    };
    let rekey = stage.engine.rekey_internal(stage.svm).unwrap().wait().unwrap_err();
    assert_eq!(rekey.blame(), RETRY_KEEPER);
    assert_eq!(View::of(&stage), before);
    failed(stage.engine.switch(stage.svm, stage.own[1]));
    failed(stage.engine.rekey_external(stage.own[0], &secret_url(3)));
    failed(stage.engine.restore_keks(None));
    let first = stage.engine.create_key(other, volume(0), XTS).unwrap_err();
    assert_matches!(first, KeyError::Keeper(_));
    assert_eq!((first.blame(), stage.engine.kek(other).unwrap()), (RETRY_KEEPER, None));
    stage.serves();
    // A keeper that is gone for good can be left: the KEKs come from memory.
    stage.engine.migrate(stage.svm, stage.cluster()).unwrap().wait().unwrap();
    stage.engine.disable(stage.own[0]).unwrap().wait().unwrap();
    let stage = stage.restarted(on_request);
    stage.serves();

    stage.vault.set_away(false);
    stage.engine.rekey_internal(stage.svm).unwrap().wait().unwrap();
    stage.engine.create_key(other, volume(0), XTS).unwrap();
    verify_clean(&stage.engine);
}

/// All that an operation could have changed.
#[derive(Debug, PartialEq)]
struct View {
    keystores: Vec<claviger::KeystoreInfo>,
    kept: Vec<claviger::KeptKekInfo>,
    kek: Option<(u32, Option<u32>)>,
}

impl View {
    fn of(stage: &Stage) -> Self {
        let kept = stage.engine.kept_keks(stage.svm).unwrap();
        Self { keystores: stage.engine.keystores(), kept, kek: kek_versions(&stage.engine, stage.svm) }
    }
}

#[test]
fn a_cold_start_in_an_outage_comes_right_by_itself() {
    let stage = Stage::with_keys();
    stage.vault.set_away(true);
    let stage = stage.restarted(options_with);
    let closed = stage.engine.open_key(stage.svm, volume(0)).unwrap_err();
    assert_matches!(closed, KeyError::KekUnreachable { trouble: Trouble::Unreachable, .. });
    assert_eq!(closed.blame(), RETRY_KEEPER);
    assert_eq!(stage.engine.create_key(stage.svm, volume(9), XTS).unwrap_err().blame(), RETRY_KEEPER);
    assert_eq!(stage.engine.rekey_internal(stage.svm).unwrap_err().blame(), RETRY_KEEPER);
    assert_eq!(stage.state(stage.own[0]), Some(KeystoreState::Blocked));
    // Who does not need the vault goes on.
    let other = stage.engine.create_svm(&name("vs1")).unwrap().id();
    stage.engine.create_key(other, volume(0), XTS).unwrap();
    stage.vault.set_away(false);
    let back = Instant::now();
    until(|| stage.engine.open_key(stage.svm, volume(0)).is_ok());
    assert!(back.elapsed() < Duration::from_secs(10), "{:?}", back.elapsed());
    stage.serves();
    assert_eq!(stage.state(stage.own[0]), Some(KeystoreState::Active));
    verify_clean(&stage.engine);
}

#[test]
fn jobs_that_waited_for_keks_go_on_when_these_come() {
    // Cut short when it had begun.
    let stage = Stage::with_keys();
    let trap = stage.hold_job();
    let job = stage.engine.switch(stage.svm, stage.own[1]).unwrap();
    trap.reached();
    let begun = Arc::new(crate::common::copy_of(&*stage.store.inner));
    trap.release();
    job.wait().unwrap();

    let vault = vault::vault();
    vault.set_away(true);
    let engine = Engine::open_on(begun, automatic(&vault)).unwrap();
    let state = |keystore| engine.keystore_status(keystore).unwrap().state;
    assert_eq!(state(stage.own[1]), Some(KeystoreState::Switching));
    assert_matches!(engine.resume_job(job.id()), Err(JobError::Locked { .. }));
    vault.set_away(false);
    until(|| state(stage.own[1]) == Some(KeystoreState::Active));
    assert_eq!(vault::keepers_of(&engine, stage.svm), [stage.own[1]]);
    until(|| engine.job(job.id()).unwrap().status == claviger::JobStatus::Succeeded);
    verify_clean(&engine);
}

#[test]
fn an_engine_closes_at_once_while_a_keeper_hangs() {
    let stage = Stage::with_keys();
    stage.vault.set_silent(true);
    let before = stage.vault.asked();
    let Stage { store, vault, engine, svm, .. } = stage;
    drop(engine);
    let engine = Engine::open_on(store.clone(), automatic(&vault)).unwrap();
    until(|| vault.asked() > before);
    assert_matches!(engine.open_key(svm, volume(0)), Err(KeyError::KekNotFetched { .. }));
    let (closed, is_closed) = channel();
    let closing = thread::spawn(move || {
        drop(engine);
        closed.send(()).unwrap();
    });
    let outcome = is_closed.recv_timeout(Duration::from_secs(10));
    vault.set_silent(false);
    closing.join().unwrap();
    outcome.expect("the engine waits for the keeper");
    // The store is free, though the answer came after it was closed.
    let engine = Engine::open_on(store, options_with(&vault)).unwrap();
    engine.open_key(svm, volume(0)).unwrap();
}

/// A keeper that hangs for one SVM keeps nobody from opening keys, and no other SVM from making some.
#[test]
fn a_keeper_that_hangs_holds_up_nobody_else() {
    let stage = Stage::with_keys();
    let other = stage.engine.create_svm(&name("vs1")).unwrap().id();
    stage.vault.set_silent(true);
    let asked = stage.vault.asked();
    let job = stage.engine.rekey_internal(stage.svm).unwrap();
    until(|| stage.vault.asked() > asked);
    stage.serves();
    assert_eq!(stage.state(stage.own[0]), Some(KeystoreState::SvmKekRekey));
    stage.engine.create_svm(&name("vs2")).unwrap();
    stage.engine.rename_svm(other, &name("vs3")).unwrap();
    stage.vault.set_silent(false);
    job.wait().unwrap();
    verify_clean(&stage.engine);
}

/// Many SVMs at one service: a round in an outage asks a few times, and all recover when it is back.
#[test]
fn many_svms_do_not_stampede() {
    const SVMS: u64 = 200;
    const WORKERS: u64 = 8;
    let Stage { store, vault, engine, .. } = Stage::bare();
    let svms: Vec<_> = (0..SVMS)
        .map(|number| {
            let svm = engine.create_svm(&name(&format!("svm-{number}"))).unwrap().id();
            create_enabled(&engine, svm, "A", 1);
            engine.create_key(svm, volume(0), KeyAlgorithm::Aes256).unwrap();
            svm
        })
        .collect();
    drop(engine);
    let is_open = |engine: &Engine, svm| engine.kek(svm).unwrap().unwrap().in_memory;

    vault.set_away(true);
    let before = vault.asked();
    let engine = Engine::open_on(store.clone(), on_request(&vault)).unwrap();
    let failed = engine.restore_keks(None).unwrap().wait().unwrap_err();
    let round = vault.asked() - before;
    assert!((1..=WORKERS).contains(&round), "a round asks {round} times");
    assert!(failed.to_string().contains("of 199 other SVMs"), "{failed}");
    assert!(!svms.iter().any(|svm| is_open(&engine, *svm)));
    drop(engine);

    let engine = Engine::open_on(store.clone(), options_with(&vault)).unwrap();
    assert!(!svms.iter().any(|svm| is_open(&engine, *svm)));
    vault.set_away(false);
    let before = vault.asked();
    until(|| svms.iter().all(|svm| is_open(&engine, *svm)));
    let round = vault.asked() - before;
    assert!(round <= SVMS + WORKERS, "{SVMS} SVMs come with {round} calls");
    svms.iter().for_each(|svm| drop(engine.open_key(*svm, volume(0)).unwrap()));
    // Nothing of it is written.
    let before = records(&*store.inner);
    drop(engine);
    drop(Engine::open_on(store.clone(), options_with(&vault)).unwrap());
    assert!(records(&*store.inner) == before);
}

/// One service is away, another is not: who is at the other does not wait.
#[test]
fn what_is_at_another_service_comes_all_the_same() {
    let stage = Stage::with_keys();
    let elsewhere = stage.engine.create_svm(&name("vs1")).unwrap().id();
    let mut settings = vault::settings(5);
    settings.site.keystone = "https://127.0.0.1:2/v3".parse().unwrap();
    settings.credential = vault::credential("elsewhere", b"another secret");
    stage.vault.allow("elsewhere", b"another secret");
    let info = stage.engine.create_barbican(elsewhere, &vault::keystore_name("A"), &settings).unwrap();
    stage.engine.enable(info.id).unwrap().wait().unwrap();
    stage.engine.create_key(elsewhere, volume(0), XTS).unwrap();
    stage.vault.revoke(vault::CREDENTIALS[0]);
    let stage = stage.restarted(options_with);
    stage.engine.open_key(elsewhere, volume(0)).unwrap();
    let refused = stage.engine.open_key(stage.svm, volume(0)).unwrap_err();
    assert_matches!(refused, KeyError::KekRefused { trouble: Trouble::CredentialRefused, .. });
    // A refusal is asked about again too, as somebody may see to it at the keeper.
    stage.vault.allow(vault::CREDENTIALS[0], vault::CREDENTIAL_SECRET);
    until(|| stage.engine.open_key(stage.svm, volume(0)).is_ok());
}
