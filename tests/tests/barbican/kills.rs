//! A node that is killed again and again while it moves a KEK between keystores and top-level keys.

use std::path::Path;
use std::time::{Duration, Instant};

use claviger::{Engine, JobError, KeeperInfo, SvmKeystoreError};
use claviger_tests::openstack::Lab;
use fastrand::Rng;

use super::support::child::{Running, say};
use super::support::way::{Way, told, url};
use super::support::{Home, Keys, keystore, options, svm, tenant, until, verify_clean};

const ROUNDS: u32 = 20;
const HOME: &str = "CLAVIGER_TEST_HOME";
const SECRETS: &str = "CLAVIGER_TEST_SECRETS";
const SEED: &str = "CLAVIGER_TEST_SEED";

#[test]
#[ignore = "the node that another test kills"]
fn node() {
    let engine = Engine::open(Path::new(&told(HOME)), options()).unwrap();
    let secrets: Vec<String> = told(SECRETS).split(' ').map(str::to_owned).collect();
    let mut rng = Rng::with_seed(told(SEED).parse().unwrap());
    let svm = engine.svm_named("vs0").unwrap().id();
    say("is open");
    let until = Instant::now() + Duration::from_secs(30);
    while Instant::now() < until {
        let keystores = engine.keystores();
        let at = &keystores[rng.usize(..keystores.len())];
        let job = match (&at.keeper, at.enabled && at.svm.is_some()) {
            (KeeperInfo::Barbican(barbican), true) => {
                let others: Vec<_> = secrets.iter().filter(|secret| **secret != barbican.key_id).collect();
                engine.rekey_external(at.id, &url(others[rng.usize(..others.len())]))
            }
            _ => engine.switch(svm, at.id),
        };
        let ended = match job {
            Ok(job) => job.wait(),
            // What the last node left goes on first.
            Err(SvmKeystoreError::Busy { .. } | SvmKeystoreError::Enabled { .. }) => continue,
            Err(error) => panic!("{error:?}"),
        };
        match ended {
            Ok(info) => say(&format!("has done {:?}", info.operation)),
            Err(JobError::Interrupted { .. }) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
}

#[test]
fn a_node_that_is_killed_while_a_kek_moves_opens_every_key() {
    let seed = fastrand::u64(0..1 << 32);
    println!("seed {seed}");
    let mut rng = Rng::with_seed(seed);
    let lab = Lab::shared();
    let home = Home::new();
    let engine = home.create();
    let secrets: Vec<_> = (0..3).map(|_| lab.new_key(32).unwrap().key_id).collect();
    let way = |number: usize| Way::to(lab).with_key(&secrets[number]);
    let (moved, _) = tenant(&engine, "vs0", &way(0));
    keystore(&engine, moved, "second", &way(1));
    let keys = [Keys::make(&engine, moved, 20), Keys::make(&engine, svm(&engine, "vs1"), 20)];
    drop(engine);

    let (mut done, mut under_way) = (0, 0);
    for round in 0..ROUNDS {
        let told = [
            (HOME, home.path().to_str().unwrap().to_owned()),
            (SECRETS, secrets.join(" ")),
            (SEED, rng.u64(..).to_string()),
        ];
        let node = Running::test("kills::node", &told.each_ref().map(|(name, value)| (*name, value.as_str())));
        while node.line() != "is open" {}
        let moment = Instant::now() + Duration::from_millis(rng.u64(0..800));
        while node.line_until(moment).is_some_and(|line| line.starts_with("has done")) {
            done += 1;
        }
        node.kill();

        let engine = home.open();
        assert!(keys.iter().all(|keys| keys.open(&engine)), "round {round}, seed {seed}");
        under_way += u32::from(!engine.jobs().unwrap().iter().all(|job| job.ended.is_some()));
        if round % 4 == 3 {
            until("what was under way has ended", || engine.jobs().unwrap().iter().all(|job| job.ended.is_some()));
            assert_eq!(engine.kept_keks(moved).unwrap().len(), 1);
            assert!(engine.keystores().iter().any(|at| at.id == engine.kept_keks(moved).unwrap()[0].keystore));
            verify_clean(&engine);
        }
    }
    println!("{ROUNDS} kills, {under_way} with a job under way, {done} jobs done");
    assert!(done > 0 && under_way > 0, "{done} done, {under_way} under way, seed {seed}");
}
