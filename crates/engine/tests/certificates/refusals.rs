//! What is refused, and that nothing has changed then.

use claviger::{
    Advice, Arena, ArenaOptions, Blame, CertificateDer, CertificateError, CertificateKind, CertificateName, Fault,
    NewCertificate, PrivateKey, PrivateKeyError, SvmError, SvmId, Table,
};
use rcgen::{PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256};
use uuid::Uuid;

use crate::common::{arena, records, verify_clean};
use crate::made::Made;
use crate::{authority, hierarchy};

/// The certificate that is not installed, and why.
fn refused(new: &NewCertificate) -> CertificateError {
    let (store, engine, _) = hierarchy();
    let before = records(&*store);
    let error = engine.install_certificate(new).map(|info| panic!("{info:?}")).unwrap_err();
    assert!(records(&*store) == before, "{error} changed something");
    assert_eq!(error.blame(), (Fault::Caller, Advice::Correct), "{error}");
    error
}

#[test]
fn what_is_no_certificate_is_told() {
    let root = Made::authority("root");
    let whole = root.der.to_vec();
    let wrong = [
        Vec::new(),
        b"-----BEGIN CERTIFICATE-----".to_vec(),
        whole[..whole.len() - 1].to_vec(),
        [&whole[..], b"\n"].concat(),
        [&whole[..], &whole].concat(),
    ];
    for der in wrong {
        let der = CertificateDer::from(der);
        let new =
            NewCertificate { certificate: der.clone(), ..root.to_install(None, Some("n"), CertificateKind::ServerCa) };
        assert!(matches!(refused(&new), CertificateError::NotACertificate));
        let chain = vec![root.der.clone(), der];
        let new = NewCertificate { chain, ..root.to_install(None, Some("n"), CertificateKind::ServerCa) };
        assert!(matches!(refused(&new), CertificateError::NotAChain { number: 2 }));
    }
}

#[test]
fn an_authority_must_be_one_and_has_no_private_key_here() {
    let root = Made::authority("root");
    let leaf = root.under("leaf", &PKCS_ECDSA_P256_SHA256);
    for kind in [CertificateKind::ClientCa, CertificateKind::ServerCa, CertificateKind::RootCa] {
        let error = refused(&leaf.to_install(None, Some("n"), kind));
        assert!(matches!(error, CertificateError::NotAnAuthority { kind: told } if told == kind), "{error:?}");
        let new = NewCertificate { private_key: Some(root.private_key()), ..root.to_install(None, Some("n"), kind) };
        let error = refused(&new);
        assert!(matches!(error, CertificateError::TakesNoPrivateKey { kind: told } if told == kind), "{error:?}");
    }
}

#[test]
fn a_private_key_must_be_there_and_belong_to_the_certificate() {
    let root = Made::authority("root");
    for algorithm in [&PKCS_ECDSA_P256_SHA256, &PKCS_RSA_SHA256] {
        let [leaf, other] = [root.under("leaf", algorithm), root.under("leaf", algorithm)];
        for kind in [CertificateKind::Client, CertificateKind::Server] {
            let with = |private_key| NewCertificate { private_key, ..leaf.to_install(None, Some("n"), kind) };
            assert!(matches!(refused(&with(None)), CertificateError::NeedsPrivateKey { .. }));
            for foreign in [other.private_key(), root.private_key()] {
                assert!(matches!(refused(&with(Some(foreign))), CertificateError::OtherPrivateKey(_)));
            }
            for no_key in [&b"no key"[..], &leaf.der, &leaf.key.serialize_der()[1..], &[0x30; 2_000]] {
                let no_key = PrivateKey::copy_from(&arena(), no_key).unwrap();
                assert!(matches!(refused(&with(Some(no_key))), CertificateError::NotAPrivateKey));
            }
        }
    }
}

#[test]
fn a_private_key_has_bounds() {
    for length in [0, PrivateKey::MAX_LEN + 1] {
        let error = PrivateKey::copy_from(&arena(), &vec![7; length]).unwrap_err();
        assert!(matches!(error, PrivateKeyError::Length { found } if found == length), "{error:?}");
    }
    let longest: Vec<u8> = (0..PrivateKey::MAX_LEN).map(|at| u8::try_from(at % 251).unwrap()).collect();
    let key = PrivateKey::copy_from(&arena(), &longest).unwrap();
    key.with(|bytes| assert_eq!(bytes, longest));
    assert_eq!(format!("{key:?}"), "PrivateKey(..)");
    let small = Arena::new(&ArenaOptions { keys: 1, states: 1, ..ArenaOptions::default() }).unwrap();
    let held: Vec<_> = std::iter::from_fn(|| small.bytes(1_024).ok()).collect();
    assert!(!held.is_empty());
    assert!(matches!(PrivateKey::copy_from(&small, &longest), Err(PrivateKeyError::Arena(_))));
}

#[test]
fn what_no_record_can_hold_is_too_large() {
    let root = Made::authority("root");
    let with = |length| NewCertificate { chain: vec![root.der.clone(); length], ..authority(None, "n") };
    assert!(matches!(refused(&with(200)), CertificateError::TooLarge { .. }));
    let (_, engine, _) = hierarchy();
    engine.install_certificate(&with(20)).unwrap();
}

#[test]
fn an_svm_that_is_not_there_takes_none_and_one_with_certificates_is_not_deleted() {
    let nobody = SvmId::from(Uuid::from_u128(1));
    assert!(matches!(refused(&authority(Some(nobody), "n")), CertificateError::UnknownSvm { svm } if svm == nobody));

    for has_kek in [false, true] {
        let (store, engine, svm) = hierarchy();
        if has_kek {
            engine.create_key(svm, crate::common::volume(1), claviger::KeyAlgorithm::Aes256).unwrap();
            engine.delete_key(svm, crate::common::volume(1)).unwrap();
        }
        engine.install_certificate(&authority(None, "of the cluster")).unwrap();
        let id = engine.install_certificate(&authority(Some(svm), "of the SVM")).unwrap().id;
        let error = engine.delete_svm(svm).unwrap_err();
        assert!(matches!(error, SvmError::HasCertificates { .. }), "{error:?}");
        verify_clean(&engine);
        engine.delete_certificate(id).unwrap();
        engine.delete_svm(svm).unwrap();
        assert_eq!(records(&*store).iter().filter(|(table, ..)| *table == Table::Certificates).count(), 2);
        verify_clean(&engine);
    }
}

#[test]
fn names_are_text() {
    for good in ["a", "a b", "ü", &"a".repeat(200)] {
        assert_eq!(good.parse::<CertificateName>().unwrap().as_str(), good);
    }
    for wrong in ["", " a", "a ", "a\nb", &"a".repeat(201)] {
        assert!(wrong.parse::<CertificateName>().is_err(), "{wrong}");
    }
}
