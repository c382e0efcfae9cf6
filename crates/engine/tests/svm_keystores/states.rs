//! How keystores stand: by what is in force, by what is in memory, and by how the last contact with the keeper went.

use claviger::{
    Advice, BarbicanUpdate, Fault, JobError, KekStanding, KeystoreState, KeystoreStatus, NodeStatus,
    SvmKeystoreError as No, Trouble,
};

use crate::common::vault::{CREDENTIALS, on_request, secret};
use crate::stage::Stage;

fn node(stage: &Stage, at: usize) -> NodeStatus {
    let KeystoreStatus { nodes, .. } = stage.engine.keystore_status(stage.own[at]).unwrap();
    let [node] = nodes.try_into().unwrap();
    node
}

#[test]
fn keystores_stand_as_they_keep() {
    let status = |stage: &Stage, at: usize| {
        let KeystoreStatus { state, keeps_keks, .. } = stage.engine.keystore_status(stage.own[at]).unwrap();
        (state, keeps_keks, node(stage, at).kek)
    };
    let stage = Stage::not_enabled();
    assert_eq!(status(&stage, 0), (None, false, KekStanding::NoKeys));
    let stage = Stage::empty();
    assert_eq!(status(&stage, 0), (Some(KeystoreState::Active), false, KekStanding::NoKeys));
    let stage = Stage::with_keys();
    assert_eq!(status(&stage, 0), (Some(KeystoreState::Active), true, KekStanding::InMemory));
    assert_eq!(status(&stage, 1), (None, false, KekStanding::InMemory));
    let stage = Stage::mixed();
    assert_eq!(status(&stage, 0), (Some(KeystoreState::Mixed), false, KekStanding::InMemory));
    let cluster = stage.engine.keystore_status(stage.cluster()).unwrap();
    assert_eq!((cluster.state, cluster.keeps_keks), (Some(KeystoreState::Active), true));
    stage.engine.migrate(stage.svm, stage.own[0]).unwrap().wait().unwrap();
    assert_eq!(status(&stage, 0).0, Some(KeystoreState::Active));
    assert!(!stage.engine.keystore_status(stage.cluster()).unwrap().keeps_keks);
    stage.engine.migrate(stage.svm, stage.cluster()).unwrap().wait().unwrap();
    assert_eq!(status(&stage, 0).0, Some(KeystoreState::Mixed));
    assert!(!node(&stage, 0).node.is_empty());

    // The words of the contract.
    let words = ["initializing", "active", "svm_kek_rekey", "switching", "blocked", "disabling", "mixed"];
    let states = [
        KeystoreState::Initializing,
        KeystoreState::Active,
        KeystoreState::SvmKekRekey,
        KeystoreState::Switching,
        KeystoreState::Blocked,
        KeystoreState::Disabling,
        KeystoreState::Mixed,
    ];
    assert_eq!(states.map(KeystoreState::as_str), words);
}

/// What can befall the keystore at secret 1, and what undoes it.
type Befall = fn(&Stage);

const TROUBLES: [(Trouble, Befall, Befall); 5] = [
    (Trouble::Unreachable, |stage| stage.vault.set_away(true), |stage| stage.vault.set_away(false)),
    (
        Trouble::CredentialRefused,
        |stage| stage.vault.revoke(CREDENTIALS[0]),
        |stage| stage.vault.allow(CREDENTIALS[0], crate::common::vault::CREDENTIAL_SECRET),
    ),
    (Trouble::KeyMissing, |stage| stage.vault.delete(&secret(1)), |stage| stage.vault.put(&secret(1), &[1; 32])),
    (
        Trouble::KeyUnsuitable,
        |stage| stage.vault.put(&secret(1), &[1; 16]),
        |stage| stage.vault.put(&secret(1), &[1; 32]),
    ),
    (Trouble::OtherKey, |stage| stage.vault.put(&secret(1), &[9; 32]), |stage| stage.vault.put(&secret(1), &[1; 32])),
];

#[test]
fn with_the_keks_in_memory_a_refusal_blocks_and_an_outage_does_not() {
    for (trouble, befall, undo) in TROUBLES {
        let stage = Stage::with_keys();
        befall(&stage);
        // Nobody has asked since.
        assert_eq!((stage.state(stage.own[0]), node(&stage, 0).trouble), (Some(KeystoreState::Active), None));
        assert_matches!(stage.restore(), Err(JobError::Failed { fault: Fault::Keeper, .. }));
        let state = if trouble.is_refusal() { KeystoreState::Blocked } else { KeystoreState::Active };
        let stands = node(&stage, 0);
        assert_eq!((stage.state(stage.own[0]), stands.kek), (Some(state), KekStanding::InMemory), "{trouble}");
        assert_eq!(stands.trouble.unwrap().what, trouble);
        assert_eq!(node(&stage, 1).trouble, None);
        stage.serves();
        undo(&stage);
        stage.restore().unwrap();
        assert_eq!((stage.state(stage.own[0]), node(&stage, 0).trouble), (Some(KeystoreState::Active), None));
    }
}

#[test]
fn without_the_keks_a_keystore_is_blocked_until_they_come() {
    for (trouble, befall, undo) in TROUBLES {
        let stage = Stage::with_keys().restarted(on_request);
        let missing = |stage: &Stage| match node(stage, 0).kek {
            KekStanding::Missing { reason } => reason,
            other => panic!("{other:?}"),
        };
        assert_eq!(stage.state(stage.own[0]), Some(KeystoreState::Blocked));
        assert!(missing(&stage).contains("not been fetched"), "{}", missing(&stage));
        befall(&stage);
        let failed = stage.restore().unwrap_err();
        assert!(failed.to_string().contains(trouble.as_str()), "{failed}");
        assert_eq!(
            (stage.state(stage.own[0]), node(&stage, 0).trouble.unwrap().what),
            (Some(KeystoreState::Blocked), trouble)
        );
        assert!(missing(&stage).contains(trouble.as_str()), "{}", missing(&stage));
        undo(&stage);
        stage.restore().unwrap();
        assert_eq!((stage.state(stage.own[0]), node(&stage, 0).trouble), (Some(KeystoreState::Active), None));
        stage.serves();
    }
}

#[test]
fn trouble_is_told_since_its_first_contact_and_goes_with_the_first_good_one() {
    let stage = Stage::with_keys();
    let check = || stage.engine.check_keystore(stage.own[0], |_| ());
    let trouble = || node(&stage, 0).trouble.unwrap();
    stage.vault.set_away(true);
    assert_matches!(check(), Err(No::Keeper(_)));
    let first = trouble();
    assert_eq!((first.what, first.since), (Trouble::Unreachable, first.last));
    assert!(first.message.contains("the vault is away"), "{first:?}");
    check().unwrap_err();
    stage.restore().unwrap_err();
    let third = trouble();
    assert_eq!((third.what, third.since), (first.what, first.since));
    assert!(third.last > first.last);
    // Of another kind, it is another one.
    stage.vault.set_away(false);
    stage.vault.revoke(CREDENTIALS[0]);
    check().unwrap_err();
    let other = trouble();
    assert_eq!((other.what, other.since), (Trouble::CredentialRefused, other.last));
    assert!(other.since > third.last);
    stage.vault.allow(CREDENTIALS[0], crate::common::vault::CREDENTIAL_SECRET);
    check().unwrap();
    assert_eq!(node(&stage, 0).trouble, None);
}

/// A check tells each hop, of a keystore that is not enabled too, and changes nothing.
#[test]
fn a_check_tells_its_hops() {
    let stage = Stage::not_enabled();
    let before = crate::common::records(&*stage.store.inner);
    let mut hops = Vec::new();
    stage.engine.check_keystore(stage.own[1], |hop| hops.push(hop.clone())).unwrap();
    assert_eq!(hops.last().map(|hop| (hop.name.as_ref(), hop.outcome.is_ok())), Some(("wrap round trip", true)));
    stage.vault.put(&secret(2), b"no key");
    let failed = stage.engine.check_keystore(stage.own[1], |_| ()).unwrap_err();
    assert_eq!(claviger::Blame::blame(&failed), (Fault::Keeper, Advice::SeeToTheKeeper));
    assert_eq!((stage.state(stage.own[1]), node(&stage, 1).trouble.unwrap().what), (None, Trouble::KeyUnsuitable));
    stage.engine.check_keystore(stage.cluster(), |_| ()).unwrap();
    assert!(crate::common::records(&*stage.store.inner) == before);
}

/// With other settings, or another top-level key, a keystore begins anew: both were tried.
#[test]
fn what_was_tried_has_no_trouble_left() {
    let blocked = |befall: Befall| {
        let stage = Stage::with_keys();
        befall(&stage);
        stage.engine.check_keystore(stage.own[0], |_| ()).unwrap_err();
        assert!(node(&stage, 0).trouble.is_some());
        stage
    };
    let stage = blocked(|stage| stage.vault.delete(&secret(1)));
    let key = crate::common::vault::secret_url(4);
    stage.engine.rekey_external(stage.own[0], &key).unwrap().wait().unwrap();
    assert_eq!((stage.state(stage.own[0]), node(&stage, 0).trouble), (Some(KeystoreState::Active), None));
    // Another keystore's change leaves it.
    let stage = blocked(|stage| stage.vault.delete(&secret(1)));
    let update = BarbicanUpdate { verify: Some(false), ..BarbicanUpdate::default() };
    stage.engine.update_barbican(stage.own[1], &update).unwrap();
    assert_eq!(node(&stage, 0).trouble.unwrap().what, Trouble::KeyMissing);
}
