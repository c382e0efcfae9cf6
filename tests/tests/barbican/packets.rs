//! Once a KEK is in memory, its keeper hears nothing of the keys that are opened.

use claviger_tests::openstack::Role;

use super::support::relay::Relay;
use super::support::way::{Way, outages};
use super::support::{Home, Keys, tenant, until};

const KEYS: usize = 100;
const OPENINGS: usize = if cfg!(debug_assertions) { 10_000 } else { 100_000 };

#[test]
fn opening_keys_sends_nothing_to_the_keeper() {
    let lab = outages();
    let home = Home::new();
    let engine = home.create();
    let [keystone, barbican] = [&lab.info().keystone_url, &lab.info().key_id].map(|url| Relay::before(url));
    let direct = Way::to(&lab);
    let way = Way { keystone_url: keystone.url(&direct.keystone_url), key_id: barbican.url(&direct.key_id), ..direct };
    let (svm, keystore) = tenant(&engine, "vs0", &way);
    let keys = Keys::make(&engine, svm, KEYS);
    drop(engine);

    let relays = [&keystone, &barbican];
    let passed = || relays.map(Relay::passed);
    let all_grew =
        |before: &[(u64, u64); 2]| before.iter().zip(&passed()).all(|(old, new)| old.0 < new.0 && old.1 < new.1);

    let before = passed();
    let engine = home.open();
    // The relays do see what is sent.
    assert!(all_grew(&before));
    let open_many = || {
        until("the last connection has ended", || relays.iter().all(|relay| relay.is_quiet()));
        let before = passed();
        (0..OPENINGS / KEYS).for_each(|_| assert!(keys.open(&engine)));
        assert_eq!(passed(), before);
        before
    };
    let before = open_many();
    engine.check_keystore(keystore, |_| ()).unwrap();
    assert!(all_grew(&before));

    for role in [Role::Barbican, Role::Keystone] {
        lab.stop(role).unwrap();
    }
    open_many();
}
