//! What `verify` says of the keystores of an SVM, and how each of its findings is mended.

use std::sync::Arc;

use claviger::{Engine, JobStatus, KeyError, Problem, RecordName, Report, Store, Table, Unavailable};
use serde_json::json;
use uuid::Uuid;

use crate::common::vault::{on_request, options_with};
use crate::common::{self, delete, forge, put, verify_clean, volume};
use crate::stage::Stage;

fn key(stage: &Stage) -> Vec<u8> {
    [&[1], stage.svm.as_bytes().as_slice()].concat()
}

fn keystores(stage: &Stage) -> RecordName {
    RecordName { table: Table::Keystores, key: key(stage) }
}

fn found(report: &Report) -> Vec<(RecordName, Problem)> {
    report.findings.iter().map(|finding| (finding.record.clone(), finding.problem)).collect()
}

/// What could not be checked, as keys and why.
fn unchecked(report: &Report) -> Vec<(RecordName, u64, Unavailable)> {
    report.unchecked.iter().map(|unchecked| (unchecked.depends_on.clone(), unchecked.keys, unchecked.why)).collect()
}

/// The hierarchy on a copy of the store with a change.
fn changed(stage: &Stage, change: impl FnOnce(&dyn Store)) -> Engine {
    let copy = Arc::new(common::copy_of(&*stage.store.inner));
    change(&*copy);
    Engine::open_on(copy, options_with(&stage.vault)).unwrap()
}

#[test]
fn their_record_damaged_missing_or_anothers() {
    let stage = Stage::with_keys();
    let it = keystores(&stage);
    let other = stage.engine.create_svm(&common::name("vs1")).unwrap().id();
    common::vault::create(&stage.engine, other, "A", 1);
    let others = [&[1], other.as_bytes().as_slice()].concat();
    verify_clean(&stage.engine);

    let engine = changed(&stage, |store| {
        let mut value = store.get(Table::Keystores, &it.key).unwrap().unwrap();
        *value.last_mut().unwrap() ^= 1;
        put(store, Table::Keystores, &it.key, &value);
    });
    let report = engine.verify(|_| ()).unwrap();
    assert_eq!(found(&report), [(it.clone(), Problem::Damaged)]);
    assert_eq!(unchecked(&report), [(it.clone(), 3, Unavailable::Damaged)]);

    let engine = changed(&stage, |store| delete(store, Table::Keystores, &it.key));
    let report = engine.verify(|_| ()).unwrap();
    assert_eq!(found(&report), [(it.clone(), Problem::Missing)]);
    assert_eq!(unchecked(&report), [(it.clone(), 3, Unavailable::Missing)]);
    assert!(report.findings[0].detail.contains(&stage.own[0].to_string()), "{report:?}");
    assert_matches!(engine.open_key(stage.svm, volume(0)), Err(KeyError::KeystoreLost { .. }));

    let engine = changed(&stage, |store| {
        let value = store.get(Table::Keystores, &others).unwrap().unwrap();
        put(store, Table::Keystores, &it.key, &value);
    });
    let report = engine.verify(|_| ()).unwrap();
    assert_eq!(found(&report), [(it.clone(), Problem::Misplaced)]);
    assert_eq!(unchecked(&report), [(it, 3, Unavailable::Damaged)]);
}

#[test]
fn a_keystore_that_is_enabled_or_keeps_keks_and_is_not_among_them() {
    let stage = Stage::with_keys();
    let it = keystores(&stage);
    let change = |change: fn(&mut serde_json::Value)| {
        changed(&stage, |store| forge::change(store, Table::Keystores, &it.key, change))
    };
    let engine = change(|body| body["enabled"] = json!(Uuid::from_u128(9)));
    let report = engine.verify(|_| ()).unwrap();
    assert_eq!((found(&report), report.opened), (vec![(it.clone(), Problem::Inconsistent)], 3));
    // The first switch mends it.
    engine.switch(stage.svm, stage.own[1]).unwrap().wait().unwrap();

    // An older copy, from before the keystore was made.
    let engine = change(|body| {
        body["enabled"] = json!(null);
        body["keystores"].as_array_mut().unwrap().remove(0);
    });
    let report = engine.verify(|_| ()).unwrap();
    assert_eq!(found(&report), [(it.clone(), Problem::Inconsistent)]);
    assert_eq!(unchecked(&report), [(it, 3, Unavailable::Damaged)]);
    assert!(report.findings[0].detail.contains(&stage.own[0].to_string()), "{report:?}");
}

#[test]
fn a_job_that_is_lost_or_has_ended_holds_nobody() {
    let stage = Stage::with_keys();
    let ended = stage.engine.jobs().unwrap()[0].id;
    for job in [Uuid::from_u128(9), ended] {
        let engine = changed(&stage, |store| {
            forge::change(store, Table::Keystores, &key(&stage), |body| body["job"] = json!(job));
        });
        let report = engine.verify(|_| ()).unwrap();
        assert_eq!((found(&report), report.opened), (vec![(keystores(&stage), Problem::Inconsistent)], 3));
        assert!(report.findings[0].detail.contains(&job.to_string()), "{report:?}");
        engine.switch(stage.svm, stage.own[1]).unwrap().wait().unwrap();
        verify_clean(&engine);
    }
}

/// A job whose record is lost while it holds the KEKs as going: no key is made until the next operation on the keystores.
#[test]
fn a_lost_job_that_was_to_disable_is_mended_by_the_next_operation() {
    for mend in [0, 1] {
        let stage = Stage::empty();
        stage.create_key(0);
        stage.engine.delete_key(stage.svm, volume(0)).unwrap();
        let job = Uuid::from_u128(9);
        let engine = changed(&stage, |store| {
            forge::change(store, Table::Keystores, &key(&stage), |body| body["job"] = json!(job));
            let operation = json!({ "disable": { "job": job } });
            forge::change(store, Table::Keks, stage.svm.as_bytes(), |body| body["operation"] = operation);
        });
        assert_matches!(
            engine.create_key(stage.svm, volume(0), crate::stage::XTS),
            Err(KeyError::KeystoreBeingDisabled { .. })
        );
        assert_eq!(found(&engine.verify(|_| ()).unwrap()), [(keystores(&stage), Problem::Inconsistent)]);
        let job = match mend {
            0 => engine.disable(stage.own[0]).unwrap(),
            _ => engine.switch(stage.svm, stage.own[1]).unwrap(),
        };
        assert_eq!(job.wait().unwrap().status, JobStatus::Succeeded);
        engine.create_key(stage.svm, volume(0), crate::stage::XTS).unwrap();
        verify_clean(&engine);
    }
}

#[test]
fn a_vault_that_does_not_give_keks_leaves_them_unchecked() {
    let stage = Stage::with_keys();
    stage.vault.set_away(true);
    let report = stage.engine.verify(|_| ()).unwrap();
    // The keys are checked all the same: their KEK is in memory.
    assert_eq!((found(&report), report.opened), (vec![], 3));
    assert_eq!(unchecked(&report), [(keystores(&stage), 0, Unavailable::KeeperUnreachable)]);
    let stage = stage.restarted(on_request);
    let report = stage.engine.verify(|_| ()).unwrap();
    assert_eq!(unchecked(&report), [(keystores(&stage), 3, Unavailable::KeeperUnreachable)]);
    stage.vault.set_away(false);
    stage.vault.revoke(common::vault::CREDENTIALS[0]);
    let report = stage.engine.verify(|_| ()).unwrap();
    assert_eq!(unchecked(&report), [(keystores(&stage), 3, Unavailable::KeeperRefused)]);
}
