//! Claviger and a Python program that shares no code with it (`interop/claviger_formats.py`) open what the other wrote.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::env;
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use claviger_secret::Arena;
use claviger_wrap::{
    BodyKey, Iterations, Kek, KeyAlgorithm, KeyBlob, KeyPlace, KeyType, ObjectId, Passphrase, PassphraseKdf,
    RecordPlace, SealingKey, SvmId, SystemRandom, WrappedKey, WrappingKey, fill,
};
use common::{arena_of, kek_version, key_version, key256, plain_key};
use serde_json::{Value, json};
use uuid::Uuid;

const CASES: usize = 50;

#[test]
fn each_opens_what_the_other_wrote() {
    let Some(python) = Python::find() else { return };
    let mut talk = Talk { arena: arena_of(4 * CASES, 8 * CASES), questions: Vec::new() };
    for case in 0..CASES {
        talk.key_blobs(KeyType::ALL[case % 3], [KeyAlgorithm::XtsAes256, KeyAlgorithm::Aes256][case % 2]);
        talk.records(case);
        talk.wrapped_keys();
        talk.backup_bodies(case);
    }
    talk.highest_versions();
    for (length, iterations) in [(32, 600_000), (65, 600_001), (256, 600_000)] {
        talk.passphrase_keys(length, iterations);
    }
    talk.unattended();
    talk.ask(&python);
}

/// The vectors owe nothing to claviger's own code.
#[test]
fn the_vectors_are_those_that_python_writes() {
    let Some(python) = Python::find() else { return };
    let output = python.run("make_vectors.py", &["--check"], "");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Questions for one Python process, each with what is done with its answer.
struct Talk {
    arena: Arena,
    questions: Vec<(Value, Check)>,
}

type Check = Box<dyn FnOnce(&Arena, &Value)>;

impl Talk {
    fn question(&mut self, command: Value, check: impl FnOnce(&Arena, &Value) + 'static) {
        self.questions.push((command, Box::new(check)));
    }

    fn expect(&mut self, command: Value, expected: Value) {
        let shown = command.clone();
        self.question(command, move |_, answer| assert_eq!(*answer, expected, "{shown}"));
    }

    fn ask(self, python: &Python) {
        let (commands, checks): (Vec<_>, Vec<_>) = self.questions.into_iter().unzip();
        let output = python.run("claviger_formats.py", &[], &Value::Array(commands).to_string());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let answers: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(answers.len(), checks.len());
        for (check, answer) in checks.into_iter().zip(&answers) {
            check(&self.arena, answer);
        }
    }

    fn key_blobs(&mut self, key_type: KeyType, algorithm: KeyAlgorithm) {
        let place = KeyPlace {
            svm: SvmId::from_bytes(random()),
            key_type,
            object: ObjectId::from_bytes(random()),
            version: key_version(random_version()),
        };
        self.key_blob(place, algorithm, random_version());
    }

    fn highest_versions(&mut self) {
        let place = KeyPlace { version: key_version(u32::MAX), ..common::place() };
        self.key_blob(place, KeyAlgorithm::XtsAes256, u32::MAX);
    }

    fn key_blob(&mut self, place: KeyPlace, algorithm: KeyAlgorithm, version: u32) {
        let kek_bytes: [u8; 32] = random();
        let key_bytes = random_bytes(algorithm.key_len());
        let kek = Kek::new(&self.arena, kek_version(version), key256(&self.arena, &kek_bytes), 0).unwrap();
        kek.seals().raise(1);
        let nonce = kek.nonces(1, &mut SystemRandom).unwrap().take().unwrap();
        let mut blob = Vec::new();
        kek.seal(&plain_key(&self.arena, &key_bytes), &place, nonce, &mut blob).unwrap();
        let command = |name: &str| {
            json!({
                "do": name, "kek": hex::encode(kek_bytes), "kek_version": version,
                "svm": hex::encode(place.svm.as_bytes()), "object": hex::encode(place.object.as_bytes()),
                "key_type": place.key_type.number(), "key_version": place.version.get(),
            })
        };

        self.expect(command("name KEK"), json!({ "id": kek.id().to_string() }));
        let opened = json!({ "algorithm": algorithm.number(), "key": hex::encode(&key_bytes) });
        self.expect(with(command("open key blob"), "blob", &blob), opened);
        let refused = json!({ "refused": "other place" });
        self.expect(with(with(command("open key blob"), "blob", &blob), "object", &random::<16>()), refused);
        let damaged = json!({ "refused": "damaged" });
        self.expect(with(command("open key blob"), "blob", &damage(&blob, 64)), damaged);

        let mut seal = with(command("seal key blob"), "key", &key_bytes);
        seal["algorithm"] = algorithm.number().into();
        self.question(seal, move |arena, answer| {
            let blob = bytes(answer, "blob");
            let blob = KeyBlob::parse(&blob).unwrap();
            let key = kek.open(arena, &blob, &place).unwrap();
            assert_eq!((key.algorithm(), key.expose()), (algorithm, &key_bytes[..]));
        });
    }

    fn records(&mut self, case: usize) {
        let sealing_bytes: [u8; 32] = random();
        let sealing_key = SealingKey::new(&self.arena, key256(&self.arena, &sealing_bytes)).unwrap();
        let [table] = random();
        let (key, plain) = (random_bytes(case), random_bytes(7 * case));
        let command = |name: &str| {
            let command = json!({ "do": name, "table": table, "sealing_key": hex::encode(sealing_bytes) });
            with(command, "store_key", &key)
        };

        let record = sealing_key.seal(RecordPlace { table, key: &key }, &plain, &mut SystemRandom).unwrap();
        let opened = json!({ "plain": hex::encode(&plain) });
        self.expect(with(command("open record"), "record", &record), opened);
        let damaged = json!({ "refused": "damaged" });
        self.expect(with(command("open record"), "record", &damage(&record, 24)), damaged);
        let seal = with(command("seal record"), "plain", &plain);
        self.question(seal, move |_, answer| {
            let record = bytes(answer, "record");
            assert_eq!(sealing_key.open(RecordPlace { table, key: &key }, &record).unwrap(), plain);
        });
    }

    fn wrapped_keys(&mut self) {
        let (wrapping_bytes, key_bytes): ([u8; 32], [u8; 32]) = (random(), random());
        let wrapping = WrappingKey::new(&self.arena, &key256(&self.arena, &wrapping_bytes)).unwrap();
        let wrapped = wrapping.wrap(&key256(&self.arena, &key_bytes)).unwrap();
        let command = |name: &str| json!({ "do": name, "wrapping": hex::encode(wrapping_bytes) });

        let opened = json!({ "key": hex::encode(key_bytes) });
        self.expect(with(command("unwrap"), "wrapped", wrapped.as_bytes()), opened);
        let refused = json!({ "refused": "integrity" });
        self.expect(with(command("unwrap"), "wrapped", &damage(wrapped.as_bytes(), 0)), refused);
        self.question(with(command("wrap"), "key", &key_bytes), move |arena, answer| {
            let wrapped = WrappedKey::from_bytes(bytes(answer, "wrapped").try_into().unwrap());
            assert!(wrapping.unwrap(&wrapped).unwrap().ct_eq(&key256(arena, &key_bytes)));
        });
    }

    fn backup_bodies(&mut self, case: usize) {
        let ckek: [u8; 32] = random();
        let body_key = BodyKey::of_backup(&self.arena, &key256(&self.arena, &ckek)).unwrap();
        let (header, plain) = (random_bytes(118), random_bytes(20 * case));
        let command = |name: &str| with(json!({ "do": name, "ckek": hex::encode(ckek) }), "header", &header);

        let body = body_key.seal(&header, &plain, &mut SystemRandom).unwrap();
        let opened = json!({ "plain": hex::encode(&plain) });
        self.expect(with(command("open backup body"), "body", &body), opened);
        let damaged = json!({ "refused": "damaged" });
        self.expect(with(command("open backup body"), "body", &damage(&body, 0)), damaged);
        self.question(with(command("seal backup body"), "plain", &plain), move |_, answer| {
            assert_eq!(body_key.open(&header, &bytes(answer, "body")).unwrap(), plain);
        });
    }

    fn passphrase_keys(&mut self, length: usize, iterations: u32) {
        let passphrase: Vec<_> = random_bytes(length).iter().map(|byte| 0x20 + byte % 95).collect();
        let (salt, ckek): ([u8; 32], [u8; 32]) = (random(), random());
        let kdf = PassphraseKdf { salt, iterations: Iterations::new(iterations).unwrap() };
        let keys = kdf.derive(&self.arena, &Passphrase::copy_from(&self.arena, &passphrase).unwrap()).unwrap();
        let command = json!({ "do": "derive passphrase keys", "iterations": iterations });
        let command = with(with(command, "passphrase", &passphrase), "salt", &salt);
        self.question(command, move |arena, answer| {
            assert_eq!(bytes(answer, "check"), keys.check.as_bytes());
            let wrapping = WrappingKey::new(arena, &key256(arena, &bytes(answer, "wrapping"))).unwrap();
            let ckek = key256(arena, &ckek);
            assert_eq!(wrapping.wrap(&ckek).unwrap(), keys.wrapping.wrap(&ckek).unwrap());
        });
    }

    fn unattended(&mut self) {
        let (sealing_key, keystore, ckek): ([u8; 32], [u8; 16], [u8; 32]) = (random(), random(), random());
        let wrapping = SealingKey::new(&self.arena, key256(&self.arena, &sealing_key)).unwrap();
        let wrapping = wrapping.unattended(Uuid::from_bytes(keystore)).unwrap();
        let command = with(json!({ "do": "derive unattended" }), "sealing_key", &sealing_key);
        self.question(with(command, "keystore", &keystore), move |arena, answer| {
            let unattended = WrappingKey::new(arena, &key256(arena, &bytes(answer, "unattended"))).unwrap();
            let ckek = key256(arena, &ckek);
            assert_eq!(unattended.wrap(&ckek).unwrap(), wrapping.wrap(&ckek).unwrap());
        });
    }
}

fn with(mut command: Value, name: &str, bytes: &[u8]) -> Value {
    command[name] = hex::encode(bytes).into();
    command
}

fn bytes(answer: &Value, name: &str) -> Vec<u8> {
    let text = answer[name].as_str().unwrap_or_else(|| panic!("Python answered {answer}"));
    hex::decode(text).unwrap()
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    fill(&mut SystemRandom, &mut bytes).unwrap();
    bytes
}

fn random_bytes(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    fill(&mut SystemRandom, &mut bytes).unwrap();
    bytes
}

fn random_version() -> u32 {
    u32::from_be_bytes(random()).max(1)
}

/// One bit at or behind `start` changed.
fn damage(bytes: &[u8], start: usize) -> Vec<u8> {
    let bits = 8 * (bytes.len() - start);
    let bit = 8 * start + usize::from(u16::from_be_bytes(random())) % bits;
    let mut damaged = bytes.to_vec();
    damaged[bit / 8] ^= 1 << (bit % 8);
    damaged
}

/// An interpreter that has the package `cryptography`.
struct Python(OsString);

impl Python {
    /// Panics where there is none, as a test that silently tests nothing is worse than one that fails. Nothing is
    /// returned only where the environment says so.
    fn find() -> Option<Self> {
        if env::var_os("CLAVIGER_SKIP_INTEROP").is_some_and(|value| value == "1") {
            // Not by eprintln!, which the test harness hides.
            let skipped = "skipped: interoperability with Python, because CLAVIGER_SKIP_INTEROP=1\n";
            io::stderr().write_all(skipped.as_bytes()).unwrap();
            return None;
        }
        let python = Self(env::var_os("CLAVIGER_PYTHON").unwrap_or_else(|| "python3".into()));
        let found = Command::new(&python.0).args(["-c", "import cryptography"]).output();
        let missing = match found {
            Ok(output) if output.status.success() => return Some(python),
            Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
            Err(error) => error.to_string(),
        };
        panic!(
            "this test needs a Python that has the package `cryptography`, and {:?} is none: run `cargo xtask test`, \
             which makes one, or name one in CLAVIGER_PYTHON, or skip the test by CLAVIGER_SKIP_INTEROP=1\n{missing}",
            python.0
        );
    }

    /// Runs a program of `tests/interop/`, which reads all its input before it writes.
    fn run(&self, program: &str, arguments: &[&str], input: &str) -> Output {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop").join(program);
        let mut child = Command::new(&self.0)
            .arg("-B") // leaves no compiled files in the source tree
            .arg(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A child that dies early says why on its standard error, which tells more than the broken pipe.
        let written = child.stdin.take().unwrap().write_all(input.as_bytes());
        let output = child.wait_with_output().unwrap();
        assert!(written.is_ok() || !output.status.success(), "{written:?}");
        output
    }
}
