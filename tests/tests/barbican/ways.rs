//! The way to the services: authorities, addresses, proxies.

use std::time::{Duration, Instant};

use claviger::{Advice, BarbicanUpdate, Fault, KeystoreState, Trouble, certificates_from_pem};
use claviger_tests::openstack::{Lab, Role};

use super::support::way::{Way, outages, proxy};
use super::support::{Home, Keys, keystore, state, svm, tenant, trouble, why};

#[test]
fn an_authority_that_signed_nothing_here_is_not_trusted() {
    let lab = Lab::shared();
    let home = Home::new();
    let engine = home.create();
    let svm = svm(&engine, "vs0");
    let wrong = Way { ca_path: lab.info().wrong_ca_path.clone(), ..Way::to(lab) };
    let keystore = keystore(&engine, svm, "barbican", &wrong);
    let began = Instant::now();
    let (message, fault, advice) = why(engine.enable(keystore).unwrap().wait());
    assert_eq!((fault, advice), (Fault::Keeper, Advice::Retry), "{message}");
    assert!(message.contains("no TLS with Keystone"), "{message}");
    assert!(began.elapsed() < Duration::from_secs(10));
    assert_eq!((state(&engine, keystore), trouble(&engine, keystore)), (None, Some(Trouble::Unreachable)));

    let roots = certificates_from_pem(&std::fs::read(&lab.info().ca_path).unwrap()).unwrap();
    let update = BarbicanUpdate { extra_roots: Some(roots), ..BarbicanUpdate::default() };
    engine.update_barbican(keystore, &update).unwrap();
    engine.enable(keystore).unwrap().wait().unwrap();
    assert!(Keys::make(&engine, svm, 1).open(&engine));
}

#[test]
fn services_are_asked_by_address_as_by_name() {
    let lab = Lab::shared();
    let home = Home::new();
    let engine = home.create();
    let mut way = Way::to(lab);
    for url in [&mut way.key_id, &mut way.keystone_url] {
        *url = url.replace("localhost", "127.0.0.1");
    }
    let (svm, _) = tenant(&engine, "vs0", &way);
    let keys = Keys::make(&engine, svm, 10);
    drop(engine);
    assert!(keys.open(&home.open()));
}

#[test]
fn a_proxy_that_refuses_or_is_gone_is_told_and_left() {
    let lab = outages();
    let home = Home::new();
    let engine = home.create();
    let svm = svm(&engine, "vs0");
    let through = |url: &str| Way { proxy: Some(url.to_owned()), ..Way::to(&lab).hasty() };
    let keystore = keystore(&engine, svm, "barbican", &through(&lab.info().proxy_url_no_auth));
    let (message, fault, _) = why(engine.enable(keystore).unwrap().wait());
    assert!(fault == Fault::Keeper && message.contains("407"), "{message}");

    let with_password = || Some(Some(proxy(&lab.info().proxy_url)));
    let update = BarbicanUpdate { proxy: with_password(), ..BarbicanUpdate::default() };
    engine.update_barbican(keystore, &update).unwrap();
    engine.enable(keystore).unwrap().wait().unwrap();
    let keys = Keys::make(&engine, svm, 10);

    lab.stop(Role::Proxy).unwrap();
    let (_, fault, advice) = why(engine.rekey_internal(svm).unwrap().wait());
    assert_eq!((fault, advice), (Fault::Keeper, Advice::Retry));
    assert_eq!(trouble(&engine, keystore), Some(Trouble::Unreachable));
    assert!(keys.open(&engine));
    let without = BarbicanUpdate { proxy: Some(None), ..BarbicanUpdate::default() };
    engine.update_barbican(keystore, &without).unwrap();
    engine.rekey_internal(svm).unwrap().wait().unwrap();
    assert_eq!(state(&engine, keystore), Some(KeystoreState::Active));
    assert!(keys.open(&engine));
}
