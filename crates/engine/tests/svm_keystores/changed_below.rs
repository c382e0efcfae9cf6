//! Records that somebody else changes under an engine that runs: what relies on them is refused, and not tried for ever.

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use claviger::{
    Advice, BarbicanUpdate, Blame, Engine, Job, JobError, KeyError, RecordError, RekeyError, Store as _, StoreError,
    SvmKeystoreError as No, Table,
};

use crate::common::vault::{keystore_name, secret_url, settings};
use crate::common::{put, volume};
use crate::stage::{Stage, XTS};

/// What is asked for, and whether it is refused as it must be.
type Ask = fn(&Engine, &Stage) -> Result<(), Box<dyn Blame>>;

fn ended(job: Result<Job, No>) -> Result<(), Box<dyn Blame>> {
    match job {
        Ok(job) => job.wait().map(drop).map_err(boxed),
        Err(error) => Err(boxed(error)),
    }
}

fn boxed(error: impl Blame + 'static) -> Box<dyn Blame> {
    Box::new(error)
}

const ASKED: [(&str, Ask); 8] = [
    ("create", |engine, stage| {
        engine.create_barbican(stage.svm, &keystore_name("X"), &settings(1)).map(drop).map_err(boxed)
    }),
    ("update", |engine, stage| {
        let update = BarbicanUpdate { verify: Some(false), ..BarbicanUpdate::default() };
        engine.update_barbican(stage.own[0], &update).map(drop).map_err(boxed)
    }),
    ("delete", |engine, stage| engine.delete_keystore(stage.own[1]).map_err(boxed)),
    ("switch", |engine, stage| ended(engine.switch(stage.svm, stage.own[1]))),
    ("migrate", |engine, stage| ended(engine.migrate(stage.svm, stage.cluster()))),
    ("rekey externally", |engine, stage| ended(engine.rekey_external(stage.own[0], &secret_url(3)))),
    ("rekey", |engine, stage| match engine.rekey_internal(stage.svm) {
        Ok(job) => job.wait().map(drop).map_err(boxed),
        Err(error) => Err(boxed(error)),
    }),
    ("disable", |engine, stage| ended(engine.disable(stage.own[0]))),
];

/// Asks in a thread of its own, lest a test never ends.
fn ask(stage: Stage, what: &'static str, ask: Ask) -> (Arc<Stage>, Result<(), Box<dyn std::fmt::Debug + Send>>) {
    let stage = Arc::new(stage);
    let (tell, told) = channel();
    let asker = stage.clone();
    thread::spawn(move || {
        let outcome = ask(&asker.engine, &asker).map_err(|error| {
            assert!(matches!(error.advice(), Advice::Retry | Advice::Correct), "{what}: {error:?}");
            Box::new(error.to_string()) as Box<dyn std::fmt::Debug + Send>
        });
        tell.send(outcome).ok();
    });
    let outcome = told.recv_timeout(Duration::from_secs(20)).unwrap_or_else(|_| panic!("{what} is tried for ever"));
    (stage, outcome)
}

/// The record in the store says the same and is another one, as after somebody put it back.
fn sealed_anew(stage: &Stage, table: Table, key: &[u8]) {
    crate::common::forge::change(&*stage.store.inner, table, key, |_| ());
}

#[test]
fn keystores_that_were_changed_by_somebody_else() {
    for (what, asked) in ASKED {
        let stage = Stage::with_keys();
        let key = [&[1], stage.svm.as_bytes().as_slice()].concat();
        sealed_anew(&stage, Table::Keystores, &key);
        let before = stage.store.inner.get(Table::Keystores, &key).unwrap();
        let (stage, outcome) = ask(stage, what, asked);
        assert!(outcome.is_err(), "{what}");
        assert!(stage.store.inner.get(Table::Keystores, &key).unwrap() == before, "{what}");
        // Keys open, and are created under the KEK that there is.
        stage.serves();
    }
}

#[test]
fn keks_that_were_changed_by_somebody_else() {
    for (what, asked) in &ASKED[3..7] {
        let stage = Stage::with_keys();
        sealed_anew(&stage, Table::Keks, stage.svm.as_bytes());
        let (stage, outcome) = ask(stage, what, *asked);
        assert!(outcome.is_err(), "{what}");
        stage.engine.open_key(stage.svm, volume(0)).unwrap();
        let refused = stage.engine.create_key(stage.svm, volume(9), XTS).unwrap_err();
        assert_matches!(refused, KeyError::KeksChanged { .. });
    }
}

#[test]
fn they_say_so() {
    let stage = Stage::with_keys();
    let key = [&[1], stage.svm.as_bytes().as_slice()].concat();
    sealed_anew(&stage, Table::Keystores, &key);
    let changed = |error: No| {
        assert_eq!(error.advice(), Advice::Retry);
        matches!(error, No::Records(RecordError::Store(StoreError::Conflict { .. })))
    };
    assert!(changed(stage.refuses(|engine| engine.create_barbican(stage.svm, &keystore_name("X"), &settings(1)))));
    assert!(changed(stage.refuses(|engine| engine.delete_keystore(stage.own[1]))));
    assert!(changed(stage.refuses(|engine| engine.switch(stage.svm, stage.own[1]))));
    assert_matches!(stage.refuses(|engine| engine.rekey_internal(stage.svm)), RekeyError::KeystoresChanged);
    // Opened again, all goes on.
    let stage = stage.restarted(crate::common::vault::options_with);
    stage.engine.switch(stage.svm, stage.own[1]).unwrap().wait().unwrap();
    crate::common::verify_clean(&stage.engine);

    // The first key of an SVM relies on its keystores; and an SVM's own record is one that a keystore relies on.
    let stage = Stage::empty();
    sealed_anew(&stage, Table::Keystores, &[&[1], stage.svm.as_bytes().as_slice()].concat());
    let (_, outcome) = ask(stage, "create a key", |engine, stage| {
        engine.create_key(stage.svm, volume(0), XTS).map(drop).map_err(boxed)
    });
    assert!(outcome.is_err());
    let stage = Stage::empty();
    sealed_anew(&stage, Table::Svms, &[&[0], stage.svm.as_bytes().as_slice()].concat());
    let (_, outcome) = ask(stage, "create", ASKED[0].1);
    assert!(outcome.is_err());
}

#[test]
fn a_job_that_meets_such_a_record_fails_and_says_so() {
    let stage = Stage::with_keys();
    let trap = stage.hold_job();
    let job = stage.engine.switch(stage.svm, stage.own[1]).unwrap();
    trap.reached();
    let key = [&[1], stage.svm.as_bytes().as_slice()].concat();
    let there = stage.store.inner.get(Table::Keystores, &key).unwrap().unwrap();
    sealed_anew(&stage, Table::Keystores, &key);
    trap.release();
    // Nor can it write its end.
    let ended = job.wait().unwrap_err();
    assert_matches!(ended, JobError::Failed { .. } | JobError::Interrupted { .. });
    assert_eq!(stage.keepers(), [stage.own[0]]);
    // Put back, it goes on.
    put(&*stage.store.inner, Table::Keystores, &key, &there);
    stage.engine.switch(stage.svm, stage.own[1]).unwrap().wait().unwrap();
    assert_eq!(stage.keepers(), [stage.own[1]]);
    crate::common::verify_clean(&stage.engine);
}
