//! What goes right.

use std::time::Duration;

use claviger::{CertificateError, CertificateKind, NewCertificate, SignatureHash, Table};
use jiff::Timestamp;
use rcgen::{PKCS_ECDSA_P256_SHA256, SerialNumber, date_time_ymd};

use crate::common::{self, records, verify_clean};
use crate::made::{Made, algorithms};
use crate::{authority, hierarchy, name};

#[test]
fn a_certificate_says_what_it_is_after_a_restart_too() {
    let (store, engine, svm) = hierarchy();
    let root = Made::authority("the root");
    let mut installed = Vec::new();
    for (number, (algorithm, hash, bits)) in algorithms().into_iter().enumerate() {
        let leaf = root.under("a host", algorithm);
        let (scope, kind) = match number % 2 {
            0 => (None, CertificateKind::Server),
            _ => (Some(svm), CertificateKind::Client),
        };
        let text = format!("certificate {number}");
        let new = NewCertificate { chain: vec![root.der.clone()], ..leaf.to_install(scope, Some(&text), kind) };
        let info = engine.install_certificate(&new).unwrap();
        assert_eq!((info.scope, info.name.as_str(), info.kind), (scope, text.as_str(), kind));
        assert_eq!((&info.certificate, &info.chain), (&leaf.der, &vec![root.der.clone()]));
        assert!(info.has_private_key);
        let facts = &info.facts;
        assert_eq!(facts.hash.map(SignatureHash::as_str), Some("sha256"), "the root's key signed it");
        assert_eq!((facts.key_bits, facts.is_authority), (bits, false), "{hash}");
        assert_eq!(facts.common_name.as_deref(), Some("a host"));
        assert_eq!(facts.issuer_common_name.as_deref(), Some("the root"));
        assert_eq!(facts.serial, "0ABC01");
        assert_eq!(facts.not_before.to_string(), "2026-01-02T00:00:00Z");
        assert_eq!(facts.not_after.to_string(), "2036-01-02T00:00:00Z");
        installed.push(info);
    }
    let ca = engine.install_certificate(&root.to_install(Some(svm), None, CertificateKind::ServerCa)).unwrap();
    assert_eq!((ca.name.as_str(), ca.has_private_key, ca.facts.is_authority), ("the root_0ABC01", false, true));
    // What the authority signed names its key.
    let subject = ca.facts.subject_key_id.clone().unwrap();
    assert_eq!(installed[0].facts.authority_key_id.as_ref(), Some(&subject));
    let pairs: Vec<_> = subject.split(':').collect();
    assert!(pairs.len() == 20 && pairs.iter().all(|pair| pair.len() == 2), "{subject}");
    assert_eq!(subject, subject.to_uppercase());
    installed.push(ca);
    drop(engine);

    let engine = common::open(&store);
    for info in &installed {
        assert_eq!(engine.certificate(info.id).unwrap(), *info);
        assert_eq!(engine.certificate_named(info.scope, &info.name).unwrap(), *info);
    }
    installed.sort_by_key(|info| info.id);
    let listed: Vec<_> = engine.certificates().unwrap().into_iter().map(|one| one.certificate.unwrap()).collect();
    assert_eq!(listed, installed);
    verify_clean(&engine);
}

/// RFC 5280, sections 4.1.2.2 and 4.1.2.5: a positive number, and no expiry.
#[test]
fn a_serial_number_has_no_sign_and_a_certificate_may_never_expire() {
    let (_, engine, _) = hierarchy();
    let last = Timestamp::from_second(Timestamp::MAX.as_second()).unwrap();
    for (serial, told) in [(&[0x00, 0xff, 0x01][..], "FF01"), (&[0x00], "00"), (&[0x7f, 0x00], "7F00")] {
        let made = Made::authority_with("forever", |params| {
            params.serial_number = Some(SerialNumber::from_slice(serial));
            params.not_after = date_time_ymd(9999, 12, 31) + Duration::from_secs(86_399);
        });
        let info = engine.install_certificate(&made.to_install(None, None, CertificateKind::ServerCa)).unwrap();
        assert_eq!((info.facts.serial.as_str(), info.facts.not_after), (told, last));
        assert_eq!(info.name.as_str(), format!("forever_{told}"));
    }
    verify_clean(&engine);
}

/// By an algorithm that the certificate is signed with, and not the one of its key.
#[test]
fn the_hash_is_that_of_the_signature() {
    let (_, engine, _) = hierarchy();
    for (number, (algorithm, hash, bits)) in algorithms().into_iter().enumerate() {
        let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
        let params = rcgen::CertificateParams::new(vec!["self.example".to_owned()]).unwrap();
        let der = params.self_signed(&key).unwrap().der().clone();
        let new = NewCertificate {
            scope: None,
            name: Some(name(&format!("self {number}"))),
            kind: CertificateKind::Server,
            certificate: der,
            chain: Vec::new(),
            private_key: Some(claviger::PrivateKey::copy_from(&common::arena(), &key.serialize_der()).unwrap()),
        };
        let facts = engine.install_certificate(&new).unwrap().facts;
        assert_eq!((facts.hash.map(SignatureHash::as_str), facts.key_bits), (Some(hash), bits));
    }
}

#[test]
fn a_generated_name_is_of_common_name_and_serial() {
    let (_, engine, svm) = hierarchy();
    let root = Made::authority(&"ü".repeat(150));
    let first = engine.install_certificate(&root.to_install(None, None, CertificateKind::RootCa)).unwrap();
    assert_eq!(first.name.as_str(), format!("{}_0ABC01", "ü".repeat(96)));
    // In another scope it is another name; in this one it is installed already.
    engine.install_certificate(&root.to_install(Some(svm), None, CertificateKind::RootCa)).unwrap();
    let again = engine.install_certificate(&root.to_install(None, None, CertificateKind::RootCa)).unwrap_err();
    assert!(matches!(&again, CertificateError::NameTaken { name } if *name == first.name), "{again:?}");
}

#[test]
fn a_deleted_certificate_leaves_nothing_and_its_name_is_free() {
    let (store, engine, svm) = hierarchy();
    let count = || records(&*store).iter().filter(|(table, ..)| *table == Table::Certificates).count();
    let leaf = Made::authority("root").under("leaf", &PKCS_ECDSA_P256_SHA256);
    for scope in [None, Some(svm)] {
        for new in [leaf.to_install(scope, Some("one"), CertificateKind::Client), authority(scope, "one")] {
            let id = engine.install_certificate(&new).unwrap().id;
            assert_eq!(count(), 2);
            engine.delete_certificate(id).unwrap();
            assert_eq!(count(), 0);
            assert!(matches!(engine.certificate(id), Err(CertificateError::Unknown { .. })));
            let named = engine.certificate_named(scope, &name("one"));
            assert!(matches!(named, Err(CertificateError::UnknownName { .. })));
            assert!(matches!(engine.delete_certificate(id), Err(CertificateError::Unknown { .. })));
        }
    }
    assert!(engine.certificates().unwrap().is_empty());
}
