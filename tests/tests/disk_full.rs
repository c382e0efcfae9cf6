//! A disk that runs full in the middle of writes: a small file system of its own, in a mount namespace.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use claviger::{
    Advice, ArenaOptions, Blame as _, Engine, Fault, KeyAlgorithm, KeyMemory, ObjectRef, OnboardMode, Options,
    StoreError, StoreKind, StoreOptions, SvmId,
};
use uuid::Uuid;

/// Tells the test that it runs inside the namespace, and where the small file system is to be.
const INSIDE: &str = "CLAVIGER_TEST_SMALL_DISK";
const TEST: &str = "a_full_disk_loses_nothing_and_goes_on_when_there_is_room";

mod sled {
    #[test]
    fn a_full_disk_loses_nothing_and_goes_on_when_there_is_room() {
        super::on_a_small_disk(super::StoreKind::Sled);
    }
}

mod redb {
    #[test]
    fn a_full_disk_loses_nothing_and_goes_on_when_there_is_room() {
        super::on_a_small_disk(super::StoreKind::Redb);
    }
}

/// Runs the test of this kind once more, within a namespace of its own.
fn on_a_small_disk(kind: StoreKind) {
    if let Some(mount) = std::env::var_os(INSIDE) {
        inside(&PathBuf::from(mount), kind);
        return;
    }
    let mount = tempfile::tempdir().unwrap();
    let namespace = ["--user", "--map-root-user", "--mount"];
    let allowed = Command::new("unshare").args(namespace).arg("true").status().is_ok_and(|status| status.success());
    if !allowed {
        eprintln!("NOT TESTED: this system allows no mount namespace, so there is no small disk to fill");
        return;
    }
    let status = Command::new("unshare")
        .args(namespace)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", &format!("{kind}::{TEST}"), "--nocapture"])
        .env(INSIDE, mount.path())
        .status()
        .unwrap();
    assert!(status.success());
}

fn inside(mount: &Path, kind: StoreKind) {
    mount_tmpfs(mount, "size=96m");
    let dir = mount.join("hierarchy");
    let engine = Engine::create(&dir, &"cluster1".parse().unwrap(), Options { store: kind, ..options(0) }).unwrap();
    let passphrase = engine.passphrase(b"thirty-two bytes of ASCII at the least").unwrap();
    engine.create_onboard(OnboardMode::Unattended, &passphrase).unwrap();
    let svm = engine.create_svm(&"vs0".parse().unwrap()).unwrap().id();
    let mut acknowledged = create(&engine, svm, 200);

    // With the usual reserve, nothing is begun that could fail half-way.
    drop(engine);
    let careful = Engine::open(&dir, options(1 << 40)).unwrap();
    let refused = careful.create_key(svm, volume(), KeyAlgorithm::XtsAes256).unwrap_err();
    assert_eq!(refused.advice(), Advice::MakeRoom, "{refused}");
    check(&careful, svm, &acknowledged);
    let (object, _) = acknowledged.pop().unwrap();
    careful.delete_key(svm, object).unwrap();
    drop(careful);

    // Without a reserve, the disk itself refuses in the middle of a write.
    let engine = Engine::open(&dir, options(0)).unwrap();
    fill(&mount.join("ballast"));
    let error = loop {
        let object = volume();
        match engine.create_key(svm, object, KeyAlgorithm::XtsAes256) {
            Ok(key) => acknowledged.push((object, key.expose().to_vec())),
            Err(error) => break error,
        }
    };
    assert!(is_disk(&error), "{error:?}");
    drop(engine);

    // A process that starts on the full disk reads what is there, or says what to do.
    fill(&mount.join("rest"));
    for _ in 0..2 {
        match (kind, Engine::open(&dir, options(0))) {
            // sled writes a snapshot before it opens.
            (StoreKind::Sled, opened) => {
                let error = opened.map(drop).unwrap_err();
                assert_eq!(error.blame(), (Fault::Node, Advice::MakeRoom), "{error:?}");
                assert!(error.to_string().contains("make room"), "{error}");
            }
            (_, opened) => check(&opened.unwrap(), svm, &acknowledged),
        }
    }
    // With a little room, keys can be deleted, which makes more.
    let ballast = File::options().write(true).open(mount.join("ballast")).unwrap();
    ballast.set_len(ballast.metadata().unwrap().len() - 8 * 1024 * 1024).unwrap();
    let engine = Engine::open(&dir, options(1 << 40)).unwrap();
    check(&engine, svm, &acknowledged);
    let (object, _) = acknowledged.pop().unwrap();
    engine.delete_key(svm, object).unwrap();
    drop(engine);

    std::fs::remove_file(mount.join("ballast")).unwrap();
    let engine = Engine::open(&dir, options(0)).unwrap();
    check(&engine, svm, &acknowledged);
    acknowledged.extend(create(&engine, svm, 10));
    engine.rekey_internal(svm).unwrap().wait().unwrap();
    check(&engine, svm, &acknowledged);
    assert_eq!(engine.verify(|_| ()).unwrap().findings, []);
}

fn options(reserve_bytes: u64) -> Options {
    Options {
        // Engines follow one another here, and an unprivileged process may lock 8 MiB.
        memory: KeyMemory::Own(ArenaOptions { keys: 100, states: 20, ..ArenaOptions::default() }),
        store_options: StoreOptions { reserve_bytes, ..StoreOptions::default() },
        ..Options::default()
    }
}

fn volume() -> ObjectRef {
    ObjectRef::Volume(Uuid::new_v4())
}

fn create(engine: &Engine, svm: SvmId, count: usize) -> Vec<(ObjectRef, Vec<u8>)> {
    let create = |object| (object, engine.create_key(svm, object, KeyAlgorithm::XtsAes256).unwrap().expose().to_vec());
    (0..count).map(|_| create(volume())).collect()
}

fn check(engine: &Engine, svm: SvmId, acknowledged: &[(ObjectRef, Vec<u8>)]) {
    for (object, bytes) in acknowledged {
        assert_eq!(engine.open_key(svm, *object).unwrap().newest().expose(), bytes, "{object}");
    }
}

/// Whether the disk is what the error is about.
fn is_disk(error: &claviger::KeyError) -> bool {
    match error {
        claviger::KeyError::Records(claviger::RecordError::Store(error)) => {
            matches!(error, StoreError::DiskFull { .. } | StoreError::Io(_) | StoreError::Failed { .. })
        }
        claviger::KeyError::Records(claviger::RecordError::Anchor(_)) => error.advice() == Advice::MakeRoom,
        _ => false,
    }
}

/// Takes all the space there is.
fn fill(path: &Path) {
    let error = std::io::copy(&mut std::io::repeat(1), &mut File::create(path).unwrap()).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
}

fn mount_tmpfs(mount: &Path, options: &str) {
    let status = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(mount).status().unwrap();
    assert!(status.success());
}
