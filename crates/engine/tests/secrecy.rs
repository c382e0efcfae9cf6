//! Nothing that the engine tells or keeps holds a byte of a key.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::error::Error;
use std::fmt::Debug;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use claviger::store::MemoryStore;
use claviger::{Engine, KeyAlgorithm, ObjectRef, SvmId, Table};
use common::{OTHER_PASSPHRASE, PASSPHRASE, bytes, chain, name, passphrase, put, records, store_key, versions, volume};

const XTS: KeyAlgorithm = KeyAlgorithm::XtsAes256;

/// All that was said.
#[derive(Default)]
struct Heard(Vec<u8>);

impl Heard {
    fn debug(&mut self, said: &dyn Debug) {
        self.0.extend_from_slice(format!("{said:?}\n{said:#?}\n").as_bytes());
    }

    fn error(&mut self, error: &dyn Error) {
        self.debug(&error);
        self.0.extend_from_slice(chain(error).as_bytes());
    }

    /// Eight bytes of the secret, as they are, in hex, in base64, and as a list of numbers.
    fn holds(&self, secret: &[u8]) -> bool {
        let contains = |needle: &[u8]| self.0.windows(needle.len()).any(|window| window == needle);
        let list = |bytes: &[u8]| bytes.iter().map(u8::to_string).collect::<Vec<_>>();
        secret.chunks_exact(8).any(|part| {
            let lower: String = part.iter().map(|byte| format!("{byte:02x}")).collect();
            contains(part)
                || contains(lower.as_bytes())
                || contains(lower.to_uppercase().as_bytes())
                || contains(list(part).join(", ").as_bytes())
                || contains(list(part).join(",\n").as_bytes())
                || (0..3).any(|shift| {
                    // Base64 of the part wherever it begins in a longer text, without the characters that mix.
                    let base64 = STANDARD_NO_PAD.encode([&vec![0; shift], part].concat());
                    let end = base64.len() - 2;
                    contains(&base64.as_bytes()[shift.div_ceil(2) * 2..end])
                })
        })
    }
}

#[test]
fn the_search_finds_what_is_there() {
    let secret: Vec<u8> = (100..132).collect();
    let said: [Vec<u8>; 4] = [
        secret.clone(),
        format!("{secret:?}").into(),
        STANDARD.encode([&b"x"[..], &secret].concat()).into(),
        secret.iter().map(|byte| format!("{byte:02X}")).collect::<String>().into(),
    ];
    for said in said {
        let mut heard = Heard::default();
        assert!(!heard.holds(&secret));
        heard.0.extend(said);
        assert!(heard.holds(&secret));
    }
}

fn errors(heard: &mut Heard, engine: &Engine, store: &MemoryStore, svm: SvmId) {
    let nobody = SvmId::from(uuid::Uuid::new_v4());
    heard.error(&engine.create_key(svm, volume(1), XTS).unwrap_err());
    heard.error(&engine.open_key(nobody, volume(1)).unwrap_err());
    heard.error(&engine.open_key(svm, volume(99)).unwrap_err());
    heard.error(&engine.rekey_internal(nobody).unwrap_err());
    heard.error(&engine.create_svm(&name("vs0")).unwrap_err());
    heard.error(&engine.delete_svm(svm).unwrap_err());
    heard.error(&engine.unlock(&passphrase(OTHER_PASSPHRASE)).unwrap_err());
    let right = passphrase(PASSPHRASE);
    heard.debug(&right);
    heard.error(&engine.change_passphrase(&right, &right).unwrap_err());
    heard.error(&engine.passphrase(b"\xff").unwrap_err());
    heard.error(&engine.job(uuid::Uuid::nil()).unwrap_err());
    let text = engine.backup().unwrap();
    heard
        .error(&Engine::restore("/nowhere".as_ref(), &text[9..], &right, common::dir_options()).map(drop).unwrap_err());

    // Blobs and records of every kind of damage, and a rekey that stops at one.
    for (table, key, value) in records(store) {
        for at in [0, 4, 8, value.len() / 2, value.len() - 1] {
            let mut changed = value.clone();
            changed[at] ^= 1;
            put(store, table, &key, &changed);
            match Engine::open_on(Arc::new(common::copy_of(store)), common::options()) {
                Ok(other) => {
                    heard.debug(&other.verify(|_| ()).unwrap());
                    other.open_all(svm, |_, key| drop(key.map_err(|error| heard.error(&error)))).unwrap_or_default();
                    if let Ok(job) = other.rekey_internal(svm) {
                        drop(job.wait().map_err(|error| heard.error(&error)));
                        heard.debug(&job);
                    }
                }
                Err(error) => heard.error(&error),
            }
        }
        put(store, table, &key, &value);
    }
}

#[test]
fn what_is_told_and_what_is_kept_holds_no_key() {
    let store = common::unattended();
    let engine = common::open(&store);
    let svm = engine.create_svm(&name("vs0")).unwrap().id();
    let mut heard = Heard::default();
    let mut secrets = Vec::new();

    for (object, algorithm) in
        [(volume(1), XTS), (volume(2), KeyAlgorithm::Aes256), (ObjectRef::Drive(volume(1).uuid()), XTS)]
    {
        let key = engine.create_key(svm, object, algorithm).unwrap();
        heard.debug(&key);
        secrets.push(bytes(&key));
    }
    let rotating = engine.begin_rotation(svm, volume(1)).unwrap();
    heard.debug(&rotating);
    heard.debug(&engine.open_key(svm, volume(2)).unwrap());
    secrets.extend(versions(&rotating).into_iter().map(|(_, bytes)| bytes));

    let job = engine.rekey_internal(svm).unwrap();
    heard.debug(&job);
    heard.debug(&job.wait().unwrap());
    heard.debug(&engine.jobs().unwrap());
    heard.debug(&engine.key(svm, volume(1)).unwrap());
    heard.debug(&engine.list_keys(svm, None, 10).unwrap());
    heard.debug(&engine.count_keys(svm).unwrap());
    heard.debug(&engine.kek(svm).unwrap());
    heard.debug(&engine.svms());
    heard.debug(&engine.keystore());
    heard.debug(&engine.identity());
    heard.debug(&engine.memory());
    heard.debug(&engine.arena());
    heard.debug(&engine.verify(|_| ()).unwrap());
    heard.debug(&common::options());
    errors(&mut heard, &engine, &store, svm);

    // And what lies in the store, and in the backup that goes out of the house.
    let backup = engine.backup().unwrap();
    heard.0.extend_from_slice(backup.replace('\n', "").as_bytes());
    for (table, key, value) in records(&*store) {
        assert!(table == Table::Keys || value.starts_with(b"CLVS"), "{table} holds a record that is not sealed");
        heard.0.extend(key);
        heard.0.extend(value);
    }
    assert!(store_key(svm, volume(1)).len() == 33 && heard.0.len() > 50_000, "{}", heard.0.len());

    // The sealing key.
    secrets.push(vec![0x5e; 32]);
    for (number, secret) in secrets.iter().enumerate() {
        assert!(!heard.holds(secret), "secret {number}");
    }
    // These are English, and so are the messages.
    for said in [PASSPHRASE, OTHER_PASSPHRASE] {
        assert!(!heard.0.windows(said.len()).any(|window| window == said));
    }
}
