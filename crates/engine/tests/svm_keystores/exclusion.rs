//! Operations on one SVM exclude each other: one is held back when it has begun, and each other one is asked for meanwhile.

use std::thread;

use claviger::{
    Advice, BarbicanUpdate, Blame as _, Fault, Job, KeyError, KeystoreState, RekeyError, SvmError,
    SvmKeystoreError as No, Table,
};
use uuid::Uuid;

use crate::common::stores::Write;
use crate::common::vault::secret_url;
use crate::common::{verify_clean, volume};
use crate::stage::{Stage, XTS};

const RETRY: (Fault, Advice) = (Fault::Caller, Advice::Retry);

/// What can be held, each on its own stage, with what it makes of the keystore that it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Held {
    Enable,
    Switch,
    MigrateToOwn,
    MigrateToCluster,
    RekeyExternal,
    Disable,
    RekeyInternal,
}

impl Held {
    const ALL: [Self; 7] = [
        Self::Enable,
        Self::Switch,
        Self::MigrateToOwn,
        Self::MigrateToCluster,
        Self::RekeyExternal,
        Self::Disable,
        Self::RekeyInternal,
    ];

    fn stage(self) -> Stage {
        match self {
            Self::Enable => Stage::not_enabled(),
            Self::MigrateToOwn | Self::Disable => Stage::mixed(),
            Self::Switch | Self::MigrateToCluster | Self::RekeyExternal | Self::RekeyInternal => Stage::with_keys(),
        }
    }

    fn begin(self, stage: &Stage) -> Job {
        let Stage { engine, svm, own, .. } = stage;
        match self {
            Self::Enable => engine.enable(own[0]).unwrap(),
            Self::Switch => engine.switch(*svm, own[1]).unwrap(),
            Self::MigrateToOwn => engine.migrate(*svm, own[0]).unwrap(),
            Self::MigrateToCluster => engine.migrate(*svm, stage.cluster()).unwrap(),
            Self::RekeyExternal => engine.rekey_external(own[0], &secret_url(3)).unwrap(),
            Self::Disable => engine.disable(own[0]).unwrap(),
            Self::RekeyInternal => engine.rekey_internal(*svm).unwrap(),
        }
    }

    fn state(self) -> KeystoreState {
        match self {
            Self::Enable => KeystoreState::Initializing,
            Self::Switch | Self::MigrateToOwn | Self::MigrateToCluster => KeystoreState::Switching,
            Self::RekeyExternal | Self::RekeyInternal => KeystoreState::SvmKekRekey,
            Self::Disable => KeystoreState::Disabling,
        }
    }
}

/// The operations on keystores that another one excludes, each with what it is refused with.
fn others(held: Held, stage: &Stage) -> Vec<(&'static str, No)> {
    let Stage { svm, own, .. } = stage;
    let (a, b, cluster) = (own[0], own[1], stage.cluster());
    let is = |other: Held| held == other;
    let mut refused = Vec::new();
    let mut ask = |name, ask: &dyn Fn(&claviger::Engine) -> Result<Job, No>, is_held: bool| {
        if !is_held {
            refused.push((name, stage.refuses(ask)));
        }
    };
    ask("enable a", &|engine| engine.enable(a), is(Held::Enable));
    ask("enable b", &|engine| engine.enable(b), false);
    ask("switch to a", &|engine| engine.switch(*svm, a), false);
    ask("switch to b", &|engine| engine.switch(*svm, b), is(Held::Switch));
    ask("switch to the cluster", &|engine| engine.switch(*svm, cluster), false);
    ask("migrate to a", &|engine| engine.migrate(*svm, a), is(Held::MigrateToOwn));
    ask("migrate to the cluster", &|engine| engine.migrate(*svm, cluster), is(Held::MigrateToCluster));
    ask("rekey a", &|engine| engine.rekey_external(a, &secret_url(3)), is(Held::RekeyExternal));
    ask("rekey a to another", &|engine| engine.rekey_external(a, &secret_url(4)), false);
    ask("disable a", &|engine| engine.disable(a), is(Held::Disable));
    ask("disable b", &|engine| engine.disable(b), false);
    refused
}

#[test]
fn an_operation_on_keystores_excludes_every_other_and_keys_go_on() {
    for held in Held::ALL.into_iter().filter(|held| *held != Held::RekeyInternal) {
        let stage = held.stage();
        let trap = stage.hold_job();
        let job = held.begin(&stage);
        trap.reached();
        let busy = |error: &No| matches!(error, No::Busy { state, .. } if *state == held.state());
        for (what, error) in others(held, &stage) {
            assert!(busy(&error), "{what} while {held:?}: {error:?}");
            assert_eq!(error.blame(), RETRY);
        }
        let update = BarbicanUpdate { verify: Some(false), ..BarbicanUpdate::default() };
        assert!(busy(&stage.refuses(|engine| engine.update_barbican(stage.own[1], &update))), "{held:?}");
        assert!(busy(&stage.refuses(|engine| engine.delete_keystore(stage.own[1]))), "{held:?}");
        if !stage.keys.is_empty() {
            let rekey = stage.refuses(|engine| engine.rekey_internal(stage.svm));
            assert_matches!(rekey, RekeyError::KeystoreBusy { state, .. } if *state == held.state());
            assert_eq!(rekey.blame(), RETRY);
        }
        assert_matches!(stage.refuses(|engine| engine.delete_svm(stage.svm)), SvmError::HasKeystores { .. });
        // The same one is the same job.
        assert_eq!(held.begin(&stage).id(), job.id());
        // How the keystore stands; and of a switch, where it goes to.
        assert_eq!(stage.state(stage.own[0]), Some(held.state()), "{held:?}");
        let other = (held == Held::Switch).then_some(KeystoreState::Switching);
        assert_eq!(stage.state(stage.own[1]), other, "{held:?}");
        // Nobody waits for it but who must.
        stage.creates("meanwhile", 5);
        stage.serves();
        trap.release();
        job.wait().unwrap();
        verify_clean(&stage.engine);
        stage.serves();
    }
}

#[test]
fn a_rekey_excludes_every_operation_on_keystores() {
    let stage = Held::RekeyInternal.stage();
    let trap = stage.hold_job();
    let job = Held::RekeyInternal.begin(&stage);
    trap.reached();
    assert_eq!(stage.state(stage.own[0]), Some(KeystoreState::SvmKekRekey));
    for (what, error) in others(Held::RekeyInternal, &stage) {
        let expected = match what {
            // What makes no sense at any time is told first.
            "enable a" | "switch to a" => matches!(error, No::Enabled { .. }),
            "enable b" => matches!(error, No::AnotherEnabled { .. }),
            "migrate to a" => matches!(error, No::KeptThere { .. }),
            "disable a" => matches!(error, No::KeepsKeys { .. }),
            "disable b" => matches!(error, No::NotEnabled { .. }),
            _ => matches!(error, No::Rekeying { .. }) && error.blame() == RETRY,
        };
        assert!(expected, "{what}: {error:?}");
    }
    // Which keeper keeps what does not change by these.
    stage.creates("meanwhile", 5);
    stage.engine.delete_keystore(stage.own[1]).unwrap();
    stage.serves();
    trap.release();
    job.wait().unwrap();
    assert_eq!(stage.keepers(), [stage.own[0]]);
    verify_clean(&stage.engine);
}

#[test]
fn keystores_that_keep_no_keys_are_disabled_while_the_first_key_is_made_or_the_other_way_round() {
    // The KEK is announced as going: no key is made under it, and it is not looked for any longer.
    let stage = Stage::empty();
    let a = stage.own[0];
    stage.create_key(0);
    stage.engine.delete_key(stage.svm, volume(0)).unwrap();
    let list = stage.svm.as_bytes().to_vec();
    let scan = stage.store.hold_before(|write| matches!(write, Write::Scan { table: Table::Keys }));
    let job = thread::scope(|scope| {
        let disable = scope.spawn(|| stage.engine.disable(a).unwrap());
        // The first look comes before anything is announced, the second one after it.
        scan.reached();
        let second = stage.store.hold_before(|write| matches!(write, Write::Scan { table: Table::Keys }));
        scan.release();
        let job = disable.join().unwrap();
        second.reached();
        let refused = stage.engine.create_key(stage.svm, volume(1), XTS).unwrap_err();
        assert_matches!(refused, KeyError::KeystoreBeingDisabled { .. });
        assert_eq!(refused.blame(), RETRY);
        assert_matches!(
            stage.engine.rekey_internal(stage.svm),
            Err(RekeyError::KeystoreBusy { state: KeystoreState::Disabling, .. })
        );
        second.release();
        job
    });
    job.wait().unwrap();
    assert_eq!((stage.engine.kek(stage.svm).unwrap(), stage.keepers()), (None, vec![]));
    // From now on, the cluster's keeps them.
    stage.create_key(1);
    assert_eq!(stage.keepers(), [stage.cluster()]);
    verify_clean(&stage.engine);

    // The key comes first.
    let stage = Stage::empty();
    stage.create_key(0);
    stage.engine.delete_key(stage.svm, volume(0)).unwrap();
    let announce = stage.store.hold_before(move |write| write.puts(Table::Keks, &list) || is_list(write));
    let job = stage.engine.disable(stage.own[0]).unwrap();
    announce.reached();
    let key = stage.create_key(7);
    announce.release();
    let failed = job.wait().unwrap_err();
    assert_eq!(failed.blame(), (Fault::Caller, Advice::Correct), "{failed:?}");
    assert_eq!(stage.state(stage.own[0]), Some(KeystoreState::Active));
    assert_eq!(crate::common::bytes(stage.engine.open_key(stage.svm, volume(7)).unwrap().newest()), key);
    stage.serves();
    verify_clean(&stage.engine);
}

/// A commit that puts a list of KEKs.
fn is_list(write: &Write<'_>) -> bool {
    matches!(write, Write::Commit { changes } if changes.iter().any(|change| {
        let (table, key) = change.place();
        table == Table::Keks && key.len() == 16 && change.value().is_some()
    }))
}

#[test]
fn the_first_key_and_a_switch_meet() {
    // The KEK is kept by the keystore that was enabled when it began; the switch takes it along, or the creation begins anew.
    let stage = Stage::empty();
    let [a, b] = stage.own[..] else { panic!() };
    let first = stage.store.hold_before(is_list);
    thread::scope(|scope| {
        let creation = scope.spawn(|| stage.create_key(0));
        first.reached();
        // The commit is held with what it has seen; the switch cannot publish before it, but its job begins.
        let job = scope.spawn(|| stage.engine.switch(stage.svm, b).unwrap().wait().unwrap());
        first.release();
        creation.join().unwrap();
        job.join().unwrap();
    });
    assert_eq!(stage.keepers(), [b]);
    assert_ne!(a, b);
    verify_clean(&stage.engine);
}

/// No call of the store lies between what such a job looks at and what it commits, so this is tried some times.
#[test]
fn keystores_that_are_made_meanwhile_do_not_hold_up_a_job() {
    for _ in 0..10 {
        let stage = Stage::with_keys();
        thread::scope(|scope| {
            let made = scope.spawn(|| (0..30).for_each(|number| stage.creates(&format!("number {number}"), 3)));
            while !made.is_finished() {
                let to = stage.own.iter().find(|keystore| **keystore != stage.keepers()[0]).unwrap();
                stage.engine.switch(stage.svm, *to).unwrap().wait().unwrap();
            }
        });
        verify_clean(&stage.engine);
    }
}

/// Two threads ask for the same thing, and for two different ones, at the same time: one job each time, or a clear no.
#[test]
fn two_that_ask_at_once_get_one_job_or_a_clear_answer() {
    for _ in 0..20 {
        let stage = Stage::with_keys();
        let [a, b] = stage.own[..] else { panic!() };
        let (first, second) = thread::scope(|scope| {
            let first = scope.spawn(|| stage.engine.switch(stage.svm, b).map(|job| job.wait()));
            let second = scope.spawn(|| stage.engine.migrate(stage.svm, stage.cluster()).map(|job| job.wait()));
            (first.join().unwrap(), second.join().unwrap())
        });
        let ended = |answer: Result<Result<_, claviger::JobError>, No>| match answer {
            Ok(ended) => ended.map(drop).is_ok(),
            Err(No::Busy { .. }) => false,
            Err(error) => panic!("{error:?}"),
        };
        let keeps: Uuid = match (ended(first), ended(second)) {
            (true, false) => b,
            (false, true) | (true, true) => stage.keepers()[0],
            (false, false) => panic!("neither"),
        };
        assert!(keeps != a && stage.keepers() == [keeps]);
        verify_clean(&stage.engine);
    }
}
