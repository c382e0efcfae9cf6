//! Every public type of the libraries, and a value of each that holds or has seen a secret where the type can.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use claviger::store::{Batch, Entry, Expect, Expectation, MemoryStore, Outcome, Replacement};
use claviger::{
    Advice, AnchorSource, Arena, ArenaError, ArenaOptions, Cause, ClusterVersion, Creation, FactName, Facts, Fault,
    InvalidSvmName, KekVersion, Key256, KeyAlgorithm, KeyManagerSettings, KeyMemory, KeyType, KeyVersion, NewKey,
    PartnerKeyManager, Passphrase, PassphraseRules, RecordName, Refusal, RetryCount, SealingSource, Store,
    StoreOptions, Table,
};
use claviger_secret::{SlotKind, burned};
use claviger_tests::heard::Heard;
use claviger_wrap::{
    BodyKey, Iterations, Kek, KeyBlob, KeyPlace, Nonce, ObjectId, PassphraseKdf, PlainKey, RecordPlace, SealError,
    SealingKey, SystemRandom, WrappedKey, WrappingKey,
};
use uuid::Uuid;

use crate::common::volume;

/// Types of which nothing can be printed, each with the reason.
const SILENT: [(&str, &str); 8] = [
    ("claviger::Anchor", "a trait"),
    ("claviger::Blame", "a trait"),
    ("claviger::CertificateDer", "public bytes; of the rustls-pki-types crate"),
    ("claviger::Engine", "has no Debug"),
    ("claviger::Platform", "a trait"),
    ("claviger::KeyCounts", "an alias of a map"),
    ("claviger_store::Store", "a trait"),
    ("claviger_wrap::SystemRandom", "has no state; of the getrandom crate"),
];

/// A public type of each library that was not heard, in its `Debug` or, where it has one, in its `Display`.
pub(crate) fn unheard(heard: &Heard) -> Vec<String> {
    let libraries =
        [("claviger_secret", "secret"), ("claviger_wrap", "wrap"), ("claviger_store", "store"), ("claviger", "engine")];
    let mut unheard = Vec::new();
    for (library, dir) in libraries {
        let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(dir).join("src");
        let (lib, sources) = (fs::read_to_string(src.join("lib.rs")).unwrap(), sources(&src));
        let displayed: BTreeSet<_> = sources.iter().flat_map(|source| displayed(source)).collect();
        let public = public_types(&lib);
        assert!(public.len() > 8, "{library}: {public:?}");
        for name in public {
            let full = format!("{library}::{name}");
            if SILENT.iter().any(|(silent, _)| *silent == full) {
                continue;
            }
            if !heard.debugged.contains(&full) {
                unheard.push(format!("Debug of {full}"));
            }
            if displayed.contains(&name) && !heard.displayed.contains(&full) {
                unheard.push(format!("Display of {full}"));
            }
        }
    }
    unheard
}

fn sources(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| if path.is_dir() { sources(&path) } else { vec![fs::read_to_string(path).unwrap()] })
        .collect()
}

/// The types that a library names in `pub use`, but for those of our other libraries. Constants and functions are not types.
fn public_types(lib: &str) -> BTreeSet<String> {
    let uses = lib.split("\npub use ").skip(1).map(|rest| rest.split(';').next().unwrap());
    let own = uses.filter(|names| !names.starts_with("claviger_"));
    let names =
        own.flat_map(|names| names.rsplit("::").next().unwrap().split(|c: char| !c.is_alphanumeric() && c != '_'));
    let is_type = |name: &&str| name.starts_with(char::is_uppercase) && name.contains(char::is_lowercase);
    names.filter(is_type).map(str::to_owned).collect()
}

/// The types with a `Display`, written out or derived.
fn displayed(source: &str) -> Vec<String> {
    let word = |text: &str| text.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap().to_owned();
    let written = source.split("Display for ").skip(1).map(word);
    let is_error =
        |attribute: &&str| attribute.split(')').next().unwrap().split([',', ' ', ':']).any(|word| word == "Error");
    let derived = source.split("#[derive(").skip(1).filter(is_error).filter_map(|rest| {
        let keyword =
            ["pub enum ", "pub struct "].into_iter().filter_map(|word| Some((rest.find(word)?, word.len()))).min();
        keyword.map(|(at, len)| word(&rest[at + len..]))
    });
    written.chain(derived).filter(|name| !name.is_empty()).collect()
}

/// Prints what the engine does not give out by itself, made of these secrets.
pub(crate) fn print_made_of(heard: &mut Heard, arena: &Arena, key: &[u8; 64], passphrase: &[u8]) {
    let secret = |bytes: &[u8]| {
        let mut secret = arena.bytes(bytes.len()).unwrap();
        secret.expose_mut().copy_from_slice(bytes);
        secret
    };
    let half = || Key256::new(secret(&key[..32])).unwrap();
    heard.debug(&secret(key));
    heard.debug(&half());
    heard.debug(&ArenaOptions::default());
    heard.debug(&arena.usage().keys);
    heard.debug(&arena.usage().slabs[0]);
    heard.display(&SlotKind::Key);
    heard.display(&arena.protection());
    heard.debug(&arena.build(|| *key).unwrap());
    burned(|burning| heard.debug(burning));
    let small = Arena::new(&ArenaOptions { keys: 0, states: 0, ..ArenaOptions::default() }).unwrap();
    heard.error(&small.bytes(64).unwrap_err());
    heard.error(&small.bytes(4_096).unwrap_err());
    heard.error(&Arena::new(&ArenaOptions { keys: usize::MAX, ..ArenaOptions::default() }).unwrap_err());
    // More than there are addresses.
    let refused = Arena::new(&ArenaOptions { keys: 1 << 42, ..ArenaOptions::default() }).unwrap_err();
    heard.error(&refused);
    let ArenaError::Refused { source, .. } = refused else { panic!("{refused:?}") };
    heard.error(&source);

    let kek = Kek::new(arena, KekVersion::FIRST, half(), 0).unwrap();
    let place = KeyPlace {
        svm: Uuid::nil().into(),
        key_type: KeyType::Vek,
        object: ObjectId::from(Uuid::max()),
        version: KeyVersion::FIRST,
    };
    heard.display(&place.svm);
    heard.display(&place.object);
    heard.display(&place.version);
    heard.display(&place.key_type);
    heard.display(&kek.id());
    heard.display(&kek.version());
    heard.debug(&place);
    heard.error(&KekVersion::new(u32::MAX).unwrap().next().unwrap_err());
    let plain = PlainKey::new(KeyAlgorithm::XtsAes256, secret(key)).unwrap();
    heard.debug(&plain);
    heard.display(&plain.algorithm());
    heard.error(&PlainKey::new(KeyAlgorithm::Aes256, secret(key)).unwrap_err());
    heard.debug(kek.seals());
    heard.error(&kek.nonces(1, &mut SystemRandom).unwrap_err());
    heard.error(&kek.seals().next_reservation(u64::MAX / 2, 1).unwrap_err());
    kek.seals().raise(1);
    let mut nonces = kek.nonces(1, &mut SystemRandom).unwrap();
    nonces.take().unwrap();
    heard.error(&nonces.take().unwrap_err());
    heard.debug(&nonces);
    heard.debug(&Nonce::danger_from_bytes([7; 12]));
    heard.error(&SealError);
    let mut bytes = Vec::new();
    kek.seal(&plain, &place, Nonce::danger_from_bytes([7; 12]), &mut bytes).unwrap();
    let blob = KeyBlob::parse(&bytes).unwrap();
    heard.debug(&kek);
    heard.debug(&blob);
    heard.debug(blob.header());
    let elsewhere = KeyPlace { svm: Uuid::max().into(), ..place };
    heard.error(&kek.open(arena, &blob, &elsewhere).unwrap_err());
    heard.error(
        &Kek::new(arena, KekVersion::FIRST, Key256::new(secret(&key[32..])).unwrap(), 0)
            .unwrap()
            .open(arena, &blob, &place)
            .unwrap_err(),
    );
    // What is given as a blob and is none may be a key.
    heard.error(&KeyBlob::parse(key).unwrap_err());
    for at in 0..64 {
        let mut changed = bytes.clone();
        changed[at] = key[at];
        if let Err(error) = KeyBlob::parse(&changed) {
            heard.error(&error);
        }
    }
    *bytes.last_mut().unwrap() ^= 1;
    heard.error(&kek.open(arena, &KeyBlob::parse(&bytes).unwrap(), &place).unwrap_err());

    let wrapping = WrappingKey::new(arena, &half()).unwrap();
    heard.debug(&wrapping);
    heard.debug(&wrapping.wrap(&half()).unwrap());
    let unwrap = wrapping.unwrap(&WrappedKey::from_bytes([0; 40])).unwrap_err();
    heard.error(&unwrap);
    if let claviger_wrap::UnwrapError::Integrity(integrity) = &unwrap {
        heard.error(integrity);
    }
    let sealing = SealingKey::new(arena, half()).unwrap();
    heard.debug(&sealing);
    let record = RecordPlace { table: 1, key: b"x" };
    heard.debug(&record);
    heard.error(&sealing.open(record, key).unwrap_err());
    heard.error(&sealing.open(record, &[key, &key[..]].concat()).unwrap_err());
    let body = BodyKey::of_backup(arena, &half()).unwrap();
    heard.debug(&body);
    heard.error(&body.open_secret(b"x", &[key, &key[..]].concat()).unwrap_err());
    heard.error(&claviger_wrap::GenerateError::from(arena_full(arena)));
    heard.error(&random_error());

    let given = Passphrase::copy_from(arena, passphrase).unwrap();
    heard.debug(&given);
    heard.debug(&PassphraseRules::CommonCriteria);
    heard.error(&Passphrase::copy_from(arena, &passphrase.repeat(9)).unwrap_err());
    heard.error(&Passphrase::copy_from(arena, &[passphrase, b"\n"].concat()).unwrap_err());
    let kdf = PassphraseKdf { salt: [7; 32], iterations: Iterations::MIN };
    let derived = kdf.derive(arena, &given).unwrap();
    heard.debug(&kdf);
    heard.debug(&kdf.iterations);
    heard.debug(&derived);
    heard.debug(&derived.check);

    let store = MemoryStore::default();
    let batch = Batch::new().require(Table::Keys, *b"k", Expect::Absent).put(Table::Keys, *b"k", bytes.clone());
    heard.debug(&batch);
    let operations = batch.clone().into_operations().unwrap();
    heard.debug(&operations.changes[0]);
    heard.debug(&operations);
    store.commit(batch.clone()).unwrap();
    heard.error(&store.commit(batch).unwrap_err());
    heard.debug(&store);
    heard.debug(&Entry { key: b"k".to_vec(), value: bytes.clone() });
    heard.debug(&Expect::Exactly(bytes.clone()));
    heard.debug(&Expectation { table: Table::Keys, key: b"k".to_vec(), expect: Expect::Absent });
    heard.debug(&Replacement { key: b"k".to_vec(), expect: Expect::Absent, value: bytes });
    heard.debug(&Outcome::Refused);
    heard.display(&Table::Keys);
    heard.debug(&StoreOptions::default());

    heard.debug(&KeyMemory::Shared(arena.clone()));
    heard.debug(&SealingSource::Provided(half()));
    heard.debug(&AnchorSource::BesideStore);
    heard.debug(&NewKey { object: volume(1), algorithm: KeyAlgorithm::Aes256 });
    heard.debug(&Creation::Exists);
    heard.display(&volume(1));
    heard.display(&RecordName { table: Table::Keks, key: b"k".to_vec() });
    heard.error(&InvalidSvmName);
    heard.debug(&Fault::Ours);
    heard.display(&Advice::Report);
    heard.display(&Cause::Other);
    print_facts(heard);
}

/// Nothing of them is secret.
fn print_facts(heard: &mut Heard) {
    let facts = Facts::default();
    heard.debug(&facts);
    heard.debug(&facts.licenses);
    heard.debug(&facts.metrocluster);
    heard.debug(&facts.cluster);
    heard.debug(&facts.storage);
    heard.debug(&facts.cluster.fips);
    heard.debug(&PartnerKeyManager::None);
    heard.display(&FactName::ClusterVersion);
    heard.display(&ClusterVersion::new(9, 17, 1));
    heard.error(&"nine".parse::<ClusterVersion>().unwrap_err());
    let settings = KeyManagerSettings::default();
    heard.debug(&settings);
    heard.debug(&settings.health_monitor_polling_interval);
    heard.debug(&settings.cloud_kms_retry_count);
    heard.debug(&settings.health_monitor_policy);
    heard.debug(&settings.health_monitor_policy.okm);
    heard.error(&RetryCount::try_from(11).unwrap_err());
    heard.error(&Refusal::Unknown { fact: FactName::ClusterVersion });
}

fn arena_full(arena: &Arena) -> ArenaError {
    arena.bytes(4_096).unwrap_err()
}

fn random_error() -> claviger_wrap::RandomError {
    claviger_wrap::fill(&mut Broken, &mut [0; 8]).unwrap_err()
}

/// A random source that fails.
struct Broken;

impl rand_core::TryRng for Broken {
    type Error = std::fmt::Error;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        Err(std::fmt::Error)
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        Err(std::fmt::Error)
    }

    fn try_fill_bytes(&mut self, _: &mut [u8]) -> Result<(), Self::Error> {
        Err(std::fmt::Error)
    }
}

impl rand_core::TryCryptoRng for Broken {}
