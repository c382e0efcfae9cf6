//! A node that starts while its keeper is not to be had: it opens, says what is the matter, and gets well by itself.

use std::path::Path;
use std::time::{Duration, Instant};

use claviger::{BarbicanUpdate, Engine, KekStanding, KeyError, KeystoreState, ObjectRef, SvmId, Trouble};
use claviger_tests::openstack::{Lab, Role};
use uuid::Uuid;

use super::support::child::{Running, say, until_let_go};
use super::support::way::{Way, new_credential, outages, told};
use super::support::{
    Home, Keys, cluster, digest, onboard, options, state, status, svm, tenant, trouble, until, verify_clean,
};

const HOME: &str = "CLAVIGER_TEST_HOME";
const WAY: &str = "CLAVIGER_TEST_WAY";
const KEYS: usize = 1_000;

/// What the node below makes, as it says it.
struct Made {
    keystore: Uuid,
    barbican: Keys,
    onboard: Keys,
}

impl Made {
    fn by(node: &Running) -> Self {
        let line = || node.line();
        let keystore = loop {
            if let Some(keystore) = line().strip_prefix("keystore ") {
                break keystore.parse().unwrap();
            }
        };
        let keys = |count| {
            let svm = SvmId::from(Uuid::parse_str(&line()).unwrap());
            let key = |line: String| {
                let (volume, digest) = line.split_once(' ').unwrap();
                (ObjectRef::Volume(volume.parse().unwrap()), hex::decode(digest).unwrap().try_into().unwrap())
            };
            Keys { svm, all: (0..count).map(|_| key(line())).collect() }
        };
        Self { keystore, barbican: keys(KEYS), onboard: keys(10) }
    }
}

#[test]
#[ignore = "the node that another test kills"]
fn node() {
    let way: Way = serde_json::from_str(&told(WAY)).unwrap();
    let engine = Engine::create(Path::new(&told(HOME)), &"cluster1".parse().unwrap(), options()).unwrap();
    onboard(&engine);
    let (barbican, keystore) = tenant(&engine, "vs0", &way);
    let onboard = svm(&engine, "vs1");
    say(&format!("keystore {keystore}"));
    for (svm, count) in [(barbican, KEYS), (onboard, 10)] {
        say(&svm.to_string());
        for (object, _) in Keys::make(&engine, svm, count).all {
            let key = engine.open_key(svm, object).unwrap();
            say(&format!("{} {}", object.uuid(), hex::encode(digest(key.newest()))));
        }
    }
    until_let_go();
}

#[test]
fn a_node_that_starts_without_its_barbican_recovers_when_that_comes_back() {
    let lab = outages();
    let home = Home::new();
    let way = serde_json::to_string(&Way::to(&lab).hasty()).unwrap();
    let node = Running::test("cold_start::node", &[(HOME, home.path().to_str().unwrap()), (WAY, &way)]);
    let Made { keystore, barbican, mut onboard } = Made::by(&node);
    node.kill();

    lab.kill(Role::Barbican).unwrap();
    let began = Instant::now();
    let engine = home.open();
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    let blocked = status(&engine, keystore);
    let [node] = blocked.nodes.try_into().unwrap();
    assert_eq!((blocked.state, blocked.keeps_keks), (Some(KeystoreState::Blocked), true));
    assert_eq!(node.node, std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim());
    let first = node.trouble.unwrap();
    assert_eq!(first.what, Trouble::Unreachable);
    assert!(first.message.contains("Barbican gave no answer"), "{}", first.message);
    assert!(matches!(node.kek, KekStanding::Missing { .. }), "{:?}", node.kek);
    let refused = engine.open_key(barbican.svm, barbican.all[0].0).unwrap_err();
    assert!(matches!(refused, KeyError::KekUnreachable { trouble: Trouble::Unreachable, .. }), "{refused:?}");

    // The others serve.
    assert_eq!(state(&engine, cluster(&engine)), Some(KeystoreState::Active));
    assert!(onboard.open(&engine));
    onboard.make_another(&engine);
    // It is asked again, and since when it is in trouble stays known.
    until("asked again", || {
        let [node] = status(&engine, keystore).nodes.try_into().unwrap();
        let now = node.trouble.unwrap();
        assert_eq!((now.what, now.since), (first.what, first.since));
        now.last > first.last
    });

    lab.start_role(Role::Barbican).unwrap();
    let began = Instant::now();
    until("the KEK is in memory", || engine.open_key(barbican.svm, barbican.all[0].0).is_ok());
    println!("recovered {:?} after Barbican was there", began.elapsed());
    assert!(barbican.open(&engine) && onboard.open(&engine));
    assert_eq!((state(&engine, keystore), trouble(&engine, keystore)), (Some(KeystoreState::Active), None));
    verify_clean(&engine);
}

#[test]
fn a_node_that_starts_with_a_revoked_credential_recovers_with_another() {
    let lab = Lab::shared();
    let home = Home::new();
    let way = Way::to(lab).with_credential(new_credential(lab));
    let engine = home.create();
    let (svm, keystore) = tenant(&engine, "vs0", &way);
    let keys = Keys::make(&engine, svm, 10);
    drop(engine);

    lab.fault("revoke-app-cred", &[&way.credential_id]).unwrap();
    let engine = home.open();
    assert_eq!(state(&engine, keystore), Some(KeystoreState::Blocked));
    assert_eq!(trouble(&engine, keystore), Some(Trouble::CredentialRefused));
    let refused = engine.open_key(svm, keys.all[0].0).unwrap_err();
    assert!(matches!(refused, KeyError::KekRefused { trouble: Trouble::CredentialRefused, .. }), "{refused:?}");

    // One that is refused too changes nothing.
    let update = |way: &Way| BarbicanUpdate { credential: Some(way.credential()), ..BarbicanUpdate::default() };
    engine.update_barbican(keystore, &update(&way)).unwrap_err();
    assert_eq!(state(&engine, keystore), Some(KeystoreState::Blocked));
    engine.update_barbican(keystore, &update(&way.with_credential(new_credential(lab)))).unwrap();
    assert!(keys.open(&engine));
    assert_eq!((state(&engine, keystore), trouble(&engine, keystore)), (Some(KeystoreState::Active), None));
    drop(engine);
    assert!(keys.open(&home.open()));
}
