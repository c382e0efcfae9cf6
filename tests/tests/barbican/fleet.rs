//! Many SVMs at two Barbicans, of which one is dead.

use std::thread;
use std::time::{Duration, Instant};

use claviger::{Advice, Engine, Fault, Fetching, KekStanding, KeyError, KeystoreState, Options, Progress, Trouble};
use claviger_tests::openstack::{Lab, Role};
use uuid::Uuid;

use super::support::relay::Relay;
use super::support::way::{Way, outages};
use super::support::{Home, Keys, options, state, status, tenant, trouble, why};

const AT_EACH: usize = 50;
/// The dead one has so many addresses.
const SITES: u32 = 6;
/// Of one call to it.
const LIMIT: Duration = Duration::from_secs(6);
/// So many threads make them.
const MAKERS: usize = 4;

/// SVMs at one Barbican, each with a keystore and a key. They go there by these ways in turn.
fn made(engine: &Engine, name: &str, ways: &[Way]) -> Vec<(Uuid, Keys)> {
    let made = |maker: usize| {
        let make = |number| {
            let (svm, keystore) = tenant(engine, &format!("{name}{number}"), &ways[number % ways.len()]);
            (keystore, Keys::make(engine, svm, 1))
        };
        (maker..AT_EACH).step_by(MAKERS).map(make).collect::<Vec<_>>()
    };
    thread::scope(|scope| {
        let makers: Vec<_> = (0..MAKERS).map(|maker| scope.spawn(move || made(maker))).collect();
        makers.into_iter().flat_map(|maker| maker.join().unwrap()).collect()
    })
}

/// Each is a site of its own to the engine.
fn ways_to(lab: &Lab) -> Vec<Way> {
    let direct = &lab.info().keystone_url;
    let keystone_urls = (0..SITES).map(|_| Relay::before(direct).url(direct));
    let way = |keystone_url| Way { keystone_url, timeout_seconds: LIMIT.as_secs(), ..Way::to(lab) };
    keystone_urls.map(way).collect()
}

#[test]
fn a_dead_barbican_keeps_no_svm_of_a_live_one_waiting() {
    let (alive, dead) = (Lab::shared(), outages());
    let home = Home::new();
    let engine = home.create();
    let began = Instant::now();
    let at_alive = made(&engine, "alive", &[Way::to(alive)]);
    let at_dead = made(&engine, "dead", &ways_to(&dead));
    println!("{} SVMs made in {:?}", 2 * AT_EACH, began.elapsed());
    drop(engine);

    dead.kill(Role::Barbican).unwrap();
    let engine = home.open_with(Options { fetching: Fetching::OnRequest, ..options() });
    for (keystore, keys) in at_alive.iter().chain(&at_dead) {
        assert_eq!((state(&engine, *keystore), trouble(&engine, *keystore)), (Some(KeystoreState::Blocked), None));
        let refused = engine.open_key(keys.svm, keys.all[0].0).unwrap_err();
        assert!(matches!(refused, KeyError::KekNotFetched { .. }), "{refused:?}");
    }

    let began = Instant::now();
    let job = engine.restore_keks(None).unwrap();
    let (message, fault, advice) = why(job.wait());
    let took = began.elapsed();
    println!("restored in {took:?}: {message}");
    assert_eq!((fault, advice), (Fault::Keeper, Advice::Retry));
    assert!(message.contains(&format!("and of {} other SVMs", AT_EACH - 1)), "{message}");
    let each = AT_EACH as u64;
    assert_eq!(job.info().progress, Progress { done: each, total: Some(2 * each) });
    // One limit is waited out for each dead site, and not one for each SVM, and these at the same time.
    assert!(took < LIMIT * (SITES - 1), "{took:?}");

    for (keystore, keys) in &at_alive {
        assert!(keys.open(&engine));
        assert_eq!((state(&engine, *keystore), trouble(&engine, *keystore)), (Some(KeystoreState::Active), None));
    }
    for (keystore, keys) in &at_dead {
        let refused = engine.open_key(keys.svm, keys.all[0].0).unwrap_err();
        assert!(matches!(refused, KeyError::KekUnreachable { trouble: Trouble::Unreachable, .. }), "{refused:?}");
        let blocked = status(&engine, *keystore);
        assert_eq!(blocked.state, Some(KeystoreState::Blocked));
        let KekStanding::Missing { reason } = &blocked.nodes[0].kek else { panic!("{blocked:?}") };
        assert!(reason.contains(&keys.svm.to_string()), "{reason}");
    }

    dead.start_role(Role::Barbican).unwrap();
    engine.restore_keks(None).unwrap().wait().unwrap();
    assert!(at_alive.iter().chain(&at_dead).all(|(_, keys)| keys.open(&engine)));
}
