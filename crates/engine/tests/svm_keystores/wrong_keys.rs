//! A wrong top-level key, damaged bytes and a keeper that does not answer are three errors, wherever they are met.

use std::sync::Arc;

use claviger::{
    Advice, BarbicanUpdate, Blame as _, Engine, Fault, KeeperError, KeyError, Problem, SvmKeystoreError as No, Table,
    Trouble, Unavailable,
};
use serde_json::json;

use crate::common::vault::{CREDENTIAL_SECRET, CREDENTIALS, credential, on_request, secret};
use crate::common::{self, forge, volume};
use crate::stage::{Stage, XTS};

const REPAIR: (Fault, Advice) = (Fault::Data, Advice::Repair);
const SEE_TO_IT: (Fault, Advice) = (Fault::Keeper, Advice::SeeToTheKeeper);
const RETRY: (Fault, Advice) = (Fault::Keeper, Advice::Retry);

/// Changes what is kept of the current KEK, with a record that is sealed as it must be.
fn damage(stage: &Stage, at: usize) {
    forge::change(&*stage.store.inner, Table::Keks, stage.svm.as_bytes(), |list| {
        let kept = list["current"]["kept"][0]["bytes"].as_str().unwrap().to_owned();
        let mut bytes = hex::decode(kept).unwrap();
        bytes[at] ^= 1;
        list["current"]["kept"][0]["bytes"] = json!(hex::encode(bytes));
    });
}

/// How an update is refused, which has what is kept fetched in the new way.
fn update(engine: &Engine, stage: &Stage) -> KeeperError {
    let other = Some(credential(CREDENTIALS[1], CREDENTIAL_SECRET));
    let update = BarbicanUpdate { credential: other, ..BarbicanUpdate::default() };
    match engine.update_barbican(stage.own[0], &update) {
        Err(No::Keeper(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn three_errors_that_are_never_taken_for_one_another() {
    let other_key = Stage::with_keys();
    other_key.vault.put(&secret(1), &[9; 32]);
    let damaged = Stage::with_keys();
    damage(&damaged, 30);
    let silent = Stage::with_keys();
    silent.vault.set_away(true);

    let stage = other_key.restarted(on_request);
    assert_eq!(stage.restore().unwrap_err().blame(), SEE_TO_IT);
    let error = stage.engine.open_key(stage.svm, volume(0)).unwrap_err();
    assert_matches!(error, KeyError::KekRefused { trouble: Trouble::OtherKey, .. });
    assert_eq!(error.blame(), SEE_TO_IT);
    assert_matches!(update(&stage.engine, &stage), KeeperError::OtherKey);
    let report = stage.engine.verify(|_| ()).unwrap();
    assert_eq!(report.findings.iter().map(|finding| finding.problem).collect::<Vec<_>>(), [Problem::OtherKey]);

    let stage = damaged.restarted(on_request);
    assert_eq!(stage.restore().unwrap_err().blame(), REPAIR);
    let error = stage.engine.open_key(stage.svm, volume(0)).unwrap_err();
    assert_matches!(error, KeyError::KekDamaged { .. });
    assert_eq!(error.blame(), REPAIR);
    assert_matches!(update(&stage.engine, &stage), KeeperError::Damaged);
    // It says nothing of the keeper.
    assert_eq!(stage.engine.keystore_status(stage.own[0]).unwrap().nodes[0].trouble, None);
    let report = stage.engine.verify(|_| ()).unwrap();
    assert_eq!(report.findings.iter().map(|finding| finding.problem).collect::<Vec<_>>(), [Problem::Damaged]);

    let stage = silent.restarted(on_request);
    assert_eq!(stage.restore().unwrap_err().blame(), RETRY);
    let error = stage.engine.open_key(stage.svm, volume(0)).unwrap_err();
    assert_matches!(error, KeyError::KekUnreachable { trouble: Trouble::Unreachable, .. });
    assert_eq!(error.blame(), RETRY);
    assert_matches!(update(&stage.engine, &stage), KeeperError::Unreachable { .. });
    let report = stage.engine.verify(|_| ()).unwrap();
    assert_eq!(report.findings, []);
    assert_eq!(report.unchecked[0].why, Unavailable::KeeperUnreachable);
}

/// Each byte of what is kept, with the right key: damaged, but for those of the key's name, which nobody needs then.
#[test]
fn each_changed_byte_of_what_is_kept_is_damage() {
    let stage = Stage::with_keys();
    let whole = Arc::new(common::copy_of(&*stage.store.inner));
    let kept = stage.engine.kept_keks(stage.svm).unwrap().remove(0).bytes;
    assert_eq!(kept.len(), 56);
    for at in 0..kept.len() {
        let stage = stage.on(Arc::new(common::copy_of(&*whole)));
        damage(&stage, at);
        let stage = stage.restarted(on_request);
        match (at, stage.restore()) {
            (0..16, restored) => drop(restored.unwrap()),
            (_, restored) => assert_eq!(restored.unwrap_err().blame(), REPAIR, "byte {at}"),
        }
    }
    // With another key, its name tells.
    stage.vault.put(&secret(1), &[9; 32]);
    damage(&stage, 40);
    let stage = stage.restarted(on_request);
    assert_eq!(stage.restore().unwrap_err().blame(), SEE_TO_IT);
}

/// Another top-level key behind the same URL is noticed by whoever fetches, and new KEKs are made under it.
#[test]
fn a_top_level_key_that_was_exchanged_locks_nobody_out_whose_kek_is_in_memory() {
    let stage = Stage::with_keys();
    stage.vault.put(&secret(1), &[9; 32]);
    stage.serves();
    assert_eq!(stage.restore().unwrap_err().blame(), SEE_TO_IT);
    // The way out with the KEK in memory: have it kept anew.
    stage.engine.switch(stage.svm, stage.own[1]).unwrap().wait().unwrap();
    let stage = stage.restarted(on_request);
    stage.restore().unwrap();
    stage.serves();
    stage.engine.create_key(stage.svm, volume(50), XTS).unwrap();
    common::verify_clean(&stage.engine);
}
