//! Tokens that hardly live.

use std::thread;
use std::time::{Duration, Instant};

use claviger_tests::openstack::{Lab, LabOptions};

use super::support::relay::Relay;
use super::support::way::Way;
use super::support::{Home, Keys, tenant};

#[test]
fn tokens_that_live_for_five_seconds_are_renewed_in_time() {
    const OPERATIONS: u32 = 60;
    const OVER: Duration = Duration::from_secs(20);
    let lab = Lab::start(&LabOptions { token_seconds: 5, ..LabOptions::default() }).unwrap();
    let home = Home::new();
    let engine = home.create();
    let keystone = Relay::before(&lab.info().keystone_url);
    let way = Way { keystone_url: keystone.url(&lab.info().keystone_url), ..Way::to(&lab) };
    let (svm, _) = tenant(&engine, "vs0", &way);
    let keys = Keys::make(&engine, svm, 10);

    // A fetch asks Keystone for nothing but a token, and each request has a connection of its own.
    let (began, before) = (Instant::now(), keystone.connections());
    for done in 1..=OPERATIONS {
        engine.restore_keks(Some(svm)).unwrap().wait().unwrap();
        // They are spread over the time, as far as the machine is fast enough.
        thread::park_timeout((OVER * done / OPERATIONS).saturating_sub(began.elapsed()));
    }
    let (took, logins) = (began.elapsed(), keystone.connections() - before);
    println!("{OPERATIONS} fetches in {took:?}, {logins} logins");
    let tokens = took.as_secs() / 5;
    assert!((tokens..=tokens * 4).contains(&logins), "{logins} logins in {took:?}");
    assert!(keys.open(&engine));
}
