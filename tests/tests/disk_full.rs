//! A disk that runs full in the middle of writes: a small file system of its own, in a mount namespace.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

use std::path::{Path, PathBuf};
use std::process::Command;

use claviger::{
    Advice, ArenaOptions, Blame as _, Engine, KeyAlgorithm, KeyMemory, ObjectRef, OnboardMode, Options, StoreError,
    StoreOptions, SvmId,
};
use uuid::Uuid;

/// Tells the test that it runs inside the namespace, and where the small file system is to be.
const INSIDE: &str = "CLAVIGER_TEST_SMALL_DISK";
const TEST: &str = "a_full_disk_loses_nothing_and_goes_on_when_there_is_room";

#[test]
fn a_full_disk_loses_nothing_and_goes_on_when_there_is_room() {
    if let Some(mount) = std::env::var_os(INSIDE) {
        inside(&PathBuf::from(mount));
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
        .args(["--exact", TEST, "--nocapture"])
        .env(INSIDE, mount.path())
        .status()
        .unwrap();
    assert!(status.success());
}

fn inside(mount: &Path) {
    mount_tmpfs(mount, "size=96m");
    let dir = mount.join("hierarchy");
    let engine = Engine::create(&dir, &"cluster1".parse().unwrap(), options(0)).unwrap();
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
    let error = std::io::copy(&mut std::io::repeat(1), &mut std::fs::File::create(path).unwrap()).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
}

fn mount_tmpfs(mount: &Path, options: &str) {
    let status = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(mount).status().unwrap();
    assert!(status.success());
}
