//! The book's page on emergencies: its commands, run as they stand there, bring a volume's key back without claviger.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::print_stderr)]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use claviger::{Engine, KeyAlgorithm, ObjectRef, Options, StoreKind, SvmId};
use claviger_tests::openstack::Lab;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use support::way::{Way, url};
use support::{Digest, Home, PASSPHRASE, digest, onboard, options, tenant};

const PAGE: &str = include_str!("../../docs/emergency.md");
const SCRIPT: &str = include_str!("../../docs/emergency.py");

/// The commands below each heading of the page.
fn commands() -> Vec<(String, String)> {
    let mut commands = Vec::new();
    let (mut heading, mut block) = (String::new(), None::<String>);
    for line in PAGE.lines() {
        match (&mut block, line) {
            (Some(_), "```") => commands.push((heading.clone(), block.take().unwrap())),
            (Some(block), line) => *block += &format!("{line}\n"),
            (None, "```sh") => block = Some(String::new()),
            (None, line) if line.starts_with('#') => heading = line.trim_start_matches(['#', ' ']).to_owned(),
            (None, _) => {}
        }
    }
    commands
}

/// What is different at each site, in the page's own names.
struct Site<'a> {
    lab: &'a Lab,
    svm: SvmId,
    object: ObjectRef,
    key_id: &'a str,
}

impl Site<'_> {
    /// These settings in place of the page's.
    fn settings(&self, settings: &str) -> String {
        let info = self.lab.info();
        let value = |name: &str| match name {
            "KEYSTONE_URL" => info.keystone_url.clone(),
            "CREDENTIAL_ID" => info.application_cred_id.clone(),
            "KEY_ID" => self.key_id.to_owned(),
            "SVM" => self.svm.to_string(),
            "OBJECT" => self.object.uuid().to_string(),
            "PYTHON" => info.python.display().to_string(),
            name => panic!("the page has another setting: {name}"),
        };
        let names = settings.lines().map(|line| line.split_once('=').unwrap().0);
        names.map(|name| format!("{name}={}\n", value(name))).collect()
    }

    /// Runs the page's commands but those below headings that are `left_out`.
    fn run(&self, dir: &Path, left_out: &[&str]) -> Output {
        let mut script = String::new();
        let all = commands();
        assert!(left_out.iter().all(|left_out| all.iter().any(|(heading, _)| heading == left_out)));
        for (number, (heading, block)) in all.iter().enumerate() {
            match number {
                0 => script += &self.settings(block),
                _ if left_out.contains(&heading.as_str()) => {}
                _ => script += block,
            }
        }
        let mut bash = Command::new("bash");
        for proxy in ["http_proxy", "https_proxy", "all_proxy"] {
            bash.env_remove(proxy).env_remove(proxy.to_uppercase());
        }
        bash.args(["-c", &script]).current_dir(dir).output().unwrap()
    }
}

const AFTERWARDS: &str = "Afterwards";
const FROM_BACKUP: &str = "From a backup";
const FROM_STORE: &str = "From the store";
const WITHOUT_PYTHON: &str = "The same without Python";

/// What the wrapped KEK is had from, and the sections that are not needed then.
type Source = (&'static str, &'static [&'static str]);

/// A hierarchy that has been closed, and the files that the page begins with.
struct Gone {
    home: Home,
    backup: String,
    kek_json: String,
    /// The wrapped KEK in it, in hex.
    wrapped: String,
    svm: SvmId,
    volume: ObjectRef,
    key: Digest,
    old_key: Digest,
    key_id: String,
}

/// The volume's key was rotated once; its KEK was changed, and is kept under the second secret.
fn gone(lab: &Lab, store: StoreKind) -> Gone {
    let home = Home::new();
    let engine = Engine::create(&home.path(), &"cluster1".parse().unwrap(), Options { store, ..options() }).unwrap();
    onboard(&engine);
    let (svm, keystore) = tenant(&engine, "vs0", &Way::to(lab).with_new_key(lab));
    let volume = ObjectRef::Volume(Uuid::new_v4());
    let old_key = digest(&engine.create_key(svm, volume, KeyAlgorithm::XtsAes256).unwrap());
    engine.create_key(svm, ObjectRef::Drive(Uuid::new_v4()), KeyAlgorithm::Aes256).unwrap();
    engine.begin_rotation(svm, volume).unwrap();
    let key = digest(&engine.finish_rotation(svm, volume).unwrap());
    let key_id = lab.new_key(32).unwrap().key_id;
    engine.rekey_internal(svm).unwrap().wait().unwrap();
    engine.rekey_external(keystore, &url(&key_id)).unwrap().wait().unwrap();
    let keks = engine.kept_keks(svm).unwrap();
    let kek = |kek: &claviger::KeptKekInfo| {
        let (id, wrapped) = kek.bytes.split_at(16);
        json!({
            "version": kek.version.get(), "id": kek.kek_id.to_string(), "keystore": kek.keystore, "key_id": kek.key_id,
            "top_level_key": hex::encode(id), "wrapped": hex::encode(wrapped),
        })
    };
    // As `claviger kek show --json` prints it.
    let kek_json =
        serde_json::to_string(&json!({ "svm": "vs0", "keks": keks.iter().map(kek).collect::<Vec<_>>() })).unwrap();
    let wrapped = hex::encode(&keks[0].bytes[16..]);
    let backup = engine.backup().unwrap();
    drop(engine);
    Gone { home, backup, kek_json, wrapped, svm, volume, key, old_key, key_id }
}

impl Gone {
    /// A directory with what the page says to copy there.
    fn work(&self, lab: &Lab, source: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let put = |name: &str, bytes: &[u8]| fs::write(dir.path().join(name), bytes).unwrap();
        put("emergency.py", SCRIPT.as_bytes());
        put("ca.pem", &fs::read(&lab.info().ca_path).unwrap());
        put("credential.secret", lab.info().application_cred_secret.as_bytes());
        copy(&self.home.path(), &dir.path().join("hierarchy"));
        match source {
            "kek.json" => put(source, self.kek_json.as_bytes()),
            "hierarchy.backup" => {
                put(source, self.backup.as_bytes());
                put("passphrase", &[PASSPHRASE, b"\n"].concat());
            }
            _ => {}
        }
        dir
    }

    fn site<'a>(&'a self, lab: &'a Lab) -> Site<'a> {
        Site { lab, svm: self.svm, object: self.volume, key_id: &self.key_id }
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to.join(entry.file_name())),
            false => drop(fs::copy(entry.path(), to.join(entry.file_name())).unwrap()),
        }
    }
}

/// The files that are left, by what their names begin with.
fn left(dir: &Path, prefix: &str) -> Vec<PathBuf> {
    let mut left: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    left.retain(|path| path.file_name().unwrap().to_str().unwrap().starts_with(prefix));
    left.sort();
    left
}

fn succeeded(output: &Output) -> String {
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}{}", said(&output.stdout), said(&output.stderr));
    said(&output.stdout)
}

#[test]
fn the_pages_commands_bring_a_key_back_from_each_of_its_sources() {
    let lab = Lab::shared();
    let from_kek_json: Source = ("kek.json", &[FROM_BACKUP, FROM_STORE]);
    let from_backup: Source = ("hierarchy.backup", &[FROM_STORE]);
    // The store's files name KEKs that are not in force any more, of which that section takes the first.
    let from_store: Source = ("store", &[FROM_BACKUP, WITHOUT_PYTHON]);
    for (store, sources) in
        [(StoreKind::Sled, [from_kek_json, from_store]), (StoreKind::Redb, [from_backup, from_store])]
    {
        let gone = gone(lab, store);
        for (source, left_out) in sources {
            let dir = gone.work(lab, source);
            let said = succeeded(&gone.site(lab).run(dir.path(), left_out));
            assert!(said.contains(&gone.volume.uuid().to_string()), "{source}: {said}");
            let key = |name: &str| -> Digest { Sha256::digest(fs::read(dir.path().join(name)).unwrap()).into() };
            assert_eq!(key("key-2"), gone.key, "{source} on {store}");
            assert!(left(dir.path(), "key-1").iter().all(|_| key("key-1") == gone.old_key));
            // What was in the clear besides is gone.
            assert!(
                ["kek-", "top-level", "token", "login", "credential"]
                    .iter()
                    .all(|prefix| left(dir.path(), prefix).is_empty())
            );
        }
    }
}

#[test]
fn openssl_and_python_unwrap_the_same_kek() {
    let lab = Lab::shared();
    let gone = gone(lab, StoreKind::Redb);
    let dir = gone.work(lab, "kek.json");
    succeeded(&gone.site(lab).run(dir.path(), &[FROM_BACKUP, FROM_STORE, AFTERWARDS]));
    let [python, openssl] = ["kek-2", "kek-openssl"].map(|name| fs::read(dir.path().join(name)).unwrap());
    assert!(python.len() == 32 && python == openssl);
}

#[test]
fn another_top_level_key_and_damage_are_told_apart() {
    const WITH_PYTHON: &str = "The KEK";
    let lab = Lab::shared();
    let gone = gone(lab, StoreKind::Redb);
    let (first, rest) = gone.wrapped.split_at(2);
    let damaged = gone.kek_json.replace(&gone.wrapped, &format!("{rest}{first}"));
    let fails = |key_id: &str, kek_json: &str, left_out: &str| {
        let dir = gone.work(lab, "kek.json");
        fs::write(dir.path().join("kek.json"), kek_json).unwrap();
        let site = Site { key_id, ..gone.site(lab) };
        let output = site.run(dir.path(), &[FROM_BACKUP, FROM_STORE, AFTERWARDS, left_out]);
        assert!(!output.status.success());
        assert!(left(dir.path(), "key-").is_empty());
        [output.stdout, output.stderr].map(|said| String::from_utf8(said).unwrap()).concat()
    };
    let other = fails(&lab.info().key_id, &gone.kek_json, WITHOUT_PYTHON);
    assert!(other.contains("kept under another top-level key"), "{other}");
    let damage = fails(&gone.key_id, &damaged, WITHOUT_PYTHON);
    assert!(damage.contains("what is kept is damaged"), "{damage}");
    // Without Python, what names the top-level key tells them apart: OpenSSL is not asked with another.
    let other = fails(&lab.info().key_id, &gone.kek_json, WITH_PYTHON);
    assert!(!other.contains("cipher operation failed"), "{other}");
    let damage = fails(&gone.key_id, &damaged, WITH_PYTHON);
    assert!(damage.contains("cipher operation failed"), "{damage}");
}
