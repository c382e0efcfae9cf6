//! Who trusts an installed authority: connections of its scope, from when it is installed until it is deleted. Over TLS, to a server
//! whose certificate is from a private authority.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use claviger::store::{Batch, Entry, Expectation, MemoryStore, Outcome, Replacement};
use claviger::{
    BarbicanSettings, BarbicanUpdate, CertificateDer, CertificateError, CertificateKind, Engine, NewCertificate, Store,
    StoreError, SvmId, SvmKeystoreError, Table,
};
use uuid::Uuid;

use crate::common::vault::keystore_name;
use crate::common::{self, volume};
use crate::service::server::{Server, well};
use crate::service::{SECRET, site};
use crate::{hierarchy, made::Made};

/// A keystore at this server that names no authority of its own.
fn settings(server: &Server) -> BarbicanSettings {
    let credential = common::vault::credential("id", SECRET.as_bytes());
    BarbicanSettings { key: server.secret(), site: site(&server.keystone(), &[]), credential }
}

fn create(engine: &Engine, svm: SvmId, server: &Server) -> Uuid {
    engine.create_barbican(svm, &keystore_name("A"), &settings(server)).unwrap().id
}

fn install(engine: &Engine, scope: Option<SvmId>, kind: CertificateKind, root: &CertificateDer<'static>) -> Uuid {
    let new =
        NewCertificate { scope, name: None, kind, certificate: root.clone(), chain: Vec::new(), private_key: None };
    engine.install_certificate(&new).unwrap().id
}

/// Whether the keystore's keeper is reached. A failure is one of trust.
fn reaches(engine: &Engine, keystore: Uuid) -> bool {
    match engine.check_keystore(keystore, |_| ()) {
        Ok(()) => true,
        Err(error) => {
            let error = common::chain(&error);
            assert!(error.contains("authority") || error.contains("UnknownIssuer"), "{error}");
            false
        }
    }
}

#[test]
fn an_authority_is_trusted_in_its_scope_while_it_is_installed() {
    let (store, engine, a) = hierarchy();
    let b = engine.create_svm(&common::name("b")).unwrap().id();
    let (server, other) = (Server::start(well), Server::start(well));
    let [of_a, of_b] = [create(&engine, a, &server), create(&engine, b, &server)];
    let reached = |engine: &Engine| [reaches(engine, of_a), reaches(engine, of_b)];
    assert_eq!(reached(&engine), [false, false]);
    // Another authority, and another kind of the right one, are of no use.
    install(&engine, None, CertificateKind::ServerCa, &other.root);
    let root_ca = install(&engine, Some(b), CertificateKind::RootCa, &server.root);
    assert_eq!(reached(&engine), [false, false]);
    engine.delete_certificate(root_ca).unwrap();

    let in_a = install(&engine, Some(a), CertificateKind::ServerCa, &server.root);
    assert_eq!(reached(&engine), [true, false]);
    let in_cluster = install(&engine, None, CertificateKind::ServerCa, &server.root);
    assert_eq!(reached(&engine), [true, true]);
    drop(engine);
    let engine = common::open(&store);
    assert_eq!(reached(&engine), [true, true], "after a restart too");
    engine.delete_certificate(in_a).unwrap();
    assert_eq!(reached(&engine), [true, true]);
    engine.delete_certificate(in_cluster).unwrap();
    assert_eq!(reached(&engine), [false, false]);
}

#[test]
fn operations_and_trials_trust_it_too() {
    let (store, engine, svm) = hierarchy();
    let server = Server::start(well);
    let keystore = create(&engine, svm, &server);
    assert!(engine.enable(keystore).unwrap().wait().is_err());
    let untrusted =
        engine.update_barbican(keystore, &BarbicanUpdate { verify_host: Some(false), ..Default::default() });
    assert!(matches!(untrusted, Err(SvmKeystoreError::Keeper(_))), "{untrusted:?}");

    let root = install(&engine, Some(svm), CertificateKind::ServerCa, &server.root);
    engine.update_barbican(keystore, &BarbicanUpdate { verify_host: Some(false), ..Default::default() }).unwrap();
    engine.enable(keystore).unwrap().wait().unwrap();
    let key = engine.create_key(svm, volume(1), claviger::KeyAlgorithm::XtsAes256).unwrap();
    drop(engine);
    // The KEK comes from the server, by the authority that is installed.
    let engine = common::open(&store);
    engine.restore_keks(Some(svm)).unwrap().wait().unwrap();
    assert!(engine.open_key(svm, volume(1)).unwrap().newest().ct_eq(&key));
    engine.delete_certificate(root).unwrap();
    assert!(engine.rekey_internal(svm).unwrap().wait().is_err());
    // What is in memory stays.
    engine.open_key(svm, volume(1)).unwrap();
    install(&engine, None, CertificateKind::ServerCa, &server.root);
    engine.rekey_internal(svm).unwrap().wait().unwrap();
    common::verify_clean(&engine);
}

#[test]
fn an_authority_whose_record_is_damaged_is_not_trusted() {
    let (store, engine, svm) = hierarchy();
    let server = Server::start(well);
    let keystore = create(&engine, svm, &server);
    let root = install(&engine, None, CertificateKind::ServerCa, &server.root);
    engine.install_certificate(&Made::authority("more").to_install(None, None, CertificateKind::ServerCa)).unwrap();
    assert!(reaches(&engine, keystore));
    drop(engine);
    let key = [&[0], root.as_bytes().as_slice()].concat();
    let mut raw = Store::get(&*store, Table::Certificates, &key).unwrap().unwrap();
    raw[30] ^= 1;
    common::put(&*store, Table::Certificates, &key, &raw);
    let engine = common::open(&store);
    assert!(!reaches(&engine, keystore));
    engine.delete_certificate(root).unwrap();
    install(&engine, None, CertificateKind::ServerCa, &server.root);
    assert!(reaches(&engine, keystore));
}

/// A store that cannot list certificates while a test wants it so.
struct Unlisted {
    inner: Arc<MemoryStore>,
    fails: AtomicBool,
}

impl Store for Unlisted {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.get(table, key)
    }

    fn scan(&self, table: Table, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Entry>, StoreError> {
        match table == Table::Certificates && self.fails.load(Ordering::SeqCst) {
            true => Err(StoreError::Io(io::Error::other("as the test wants it"))),
            false => self.inner.scan(table, prefix, after, limit),
        }
    }

    fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        self.inner.commit(batch)
    }

    fn replace_each(
        &self,
        table: Table,
        items: &[Replacement],
        guard: &[Expectation],
    ) -> Result<Vec<Outcome>, StoreError> {
        self.inner.replace_each(table, items, guard)
    }
}

#[test]
fn an_authority_that_is_deleted_is_not_trusted_where_the_others_cannot_be_read() {
    let (disk, engine, svm) = hierarchy();
    drop(engine);
    let store = Arc::new(Unlisted { inner: disk, fails: AtomicBool::new(false) });
    let engine = common::open(&store);
    let (server, other) = (Server::start(well), Server::start(well));
    let keystore = create(&engine, svm, &server);
    let of_other = engine.create_barbican(svm, &keystore_name("B"), &settings(&other)).unwrap().id;
    let root = install(&engine, None, CertificateKind::ServerCa, &server.root);
    install(&engine, None, CertificateKind::ServerCa, &other.root);
    assert!(reaches(&engine, keystore) && reaches(&engine, of_other));

    store.fails.store(true, Ordering::SeqCst);
    let failed = engine.delete_certificate(root).unwrap_err();
    assert!(matches!(failed, CertificateError::Records(_)), "{failed:?}");
    assert!(!reaches(&engine, keystore));
    // It is gone, and asking again says so once it is known who is trusted.
    let again = engine.delete_certificate(root).unwrap_err();
    assert!(matches!(again, CertificateError::Records(_)), "{again:?}");
    store.fails.store(false, Ordering::SeqCst);
    let gone = engine.delete_certificate(root).unwrap_err();
    assert!(matches!(gone, CertificateError::Unknown { .. }), "{gone:?}");
    assert!(!reaches(&engine, keystore) && reaches(&engine, of_other));
}

#[test]
fn a_certificate_that_nobody_trusts_leaves_connections_as_they_are() {
    let (_, engine, svm) = hierarchy();
    let server = Server::start(well);
    let keystore = create(&engine, svm, &server);
    install(&engine, None, CertificateKind::ServerCa, &server.root);
    engine.enable(keystore).unwrap().wait().unwrap();
    engine.create_key(svm, volume(1), claviger::KeyAlgorithm::XtsAes256).unwrap();
    let logins = server.logins();
    let root_ca = install(&engine, Some(svm), CertificateKind::RootCa, &server.root);
    engine.delete_certificate(root_ca).unwrap();
    engine.delete_certificate(root_ca).unwrap_err();
    engine.rekey_internal(svm).unwrap().wait().unwrap();
    assert_eq!(server.logins(), logins, "the token was forgotten");
}
