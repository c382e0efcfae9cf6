//! Every secret of a hierarchy, from its records, its sealing key and its passphrases alone, as `docs/formats.md` says.
//!
//! So a process under attack need tell nothing, which would leave copies.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use claviger_secret::{Arena, ArenaOptions, Protection};
use claviger_store::{Store, StoreOptions, Table, open_store_copy};
use claviger_wrap::{Kek, KekVersion, Key256, KeyBlob, RecordPlace, SealingKey, WrappedKey, WrappingKey};
use serde_json::Value;
use sha2::Sha256;
use uuid::Uuid;

use crate::forms;

/// What is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Form {
    /// The secret's own bytes.
    Plain,
    /// FIPS 197, section 5.2.
    EncryptionRoundKey,
    /// FIPS 197, section 5.3.5.
    DecryptionRoundKey,
    /// An encryption round key as software keeps it, where the processor has no AES instructions.
    BitslicedRoundKey,
    /// The GHASH key, and what is precomputed from it.
    GhashPower,
    /// The padded key of HMAC.
    HmacPad,
    /// A state of HMAC that holds the key and nothing else.
    HmacState,
}

impl Form {
    /// As in a sentence.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "key",
            Self::EncryptionRoundKey => "encryption round key",
            Self::DecryptionRoundKey => "decryption round key",
            Self::BitslicedRoundKey => "bitsliced round key",
            Self::GhashPower => "GHASH power",
            Self::HmacPad => "HMAC pad",
            Self::HmacState => "HMAC state",
        }
    }
}

/// A secret, by what it is, with the forms that it takes.
#[derive(Debug)]
pub struct Secret {
    /// What it is.
    pub name: String,
    /// Its own bytes first.
    pub forms: Vec<(Form, Vec<u8>)>,
}

/// What claviger does with a secret, which decides what forms it takes in memory.
#[derive(Clone, Copy, Debug)]
enum Use {
    /// It is handed out and used by others.
    Given,
    /// It is the key of HMAC-SHA-256, also within HKDF and PBKDF2.
    Hmac,
    /// It is a key of AES-256.
    Aes,
    /// It is both.
    HmacAndAes,
}

/// All secrets that have been learned, also of keys that are gone by now.
#[derive(Debug)]
pub struct Secrets {
    arena: Arena,
    passphrases: BTreeSet<Vec<u8>>,
    known: BTreeMap<Vec<u8>, Secret>,
    keks: BTreeMap<[u8; 16], Kek>,
    /// By URL.
    top_level_keys: BTreeMap<String, Vec<u8>>,
    /// Stretching a passphrase takes long: by passphrase and salt.
    stretched: BTreeMap<(Vec<u8>, Vec<u8>), [u8; 32]>,
}

impl Secrets {
    /// Nothing is known.
    ///
    /// # Errors
    /// There is no memory for an arena.
    pub fn new() -> Result<Self> {
        let options = ArenaOptions { keys: 1_024, states: 1_024, accept: Protection::Unlocked };
        Ok(Self {
            arena: Arena::new(&options)?,
            passphrases: BTreeSet::new(),
            known: BTreeMap::new(),
            keks: BTreeMap::new(),
            top_level_keys: BTreeMap::new(),
            stretched: BTreeMap::new(),
        })
    }

    /// All that is known.
    pub fn all(&self) -> impl Iterator<Item = &Secret> + Clone {
        self.known.values()
    }

    /// Learns a passphrase that will be used.
    pub fn passphrase(&mut self, passphrase: &[u8]) {
        self.learn("passphrase", passphrase, Use::Hmac);
        self.passphrases.insert(passphrase.to_vec());
    }

    /// Learns a key that is in no hierarchy. One of 32 bytes may be used as a KEK, a CKEK and a sealing key are.
    ///
    /// # Errors
    /// No room in key memory.
    pub fn learn_key(&mut self, name: &str, key: &[u8]) -> Result<()> {
        if key.len() != Key256::LEN {
            self.learn(name, key, Use::Given);
            return Ok(());
        }
        let key = self.key256(name, key, Use::HmacAndAes)?;
        self.expanded("record sealing key", &key, &[b"claviger-sealing-1"], Use::Aes)?;
        self.expanded("backup body key", &key, &[b"claviger-backup-1"], Use::Aes)?;
        Ok(())
    }

    /// Learns a top-level key, and the URL under which a Barbican has it.
    ///
    /// # Errors
    /// No room in key memory.
    pub fn top_level_key(&mut self, url: &str, key: &[u8]) -> Result<()> {
        self.key256("top-level key", key, Use::HmacAndAes)?;
        self.top_level_keys.insert(url.to_owned(), key.to_vec());
        Ok(())
    }

    /// Learns a secret that is only handed on: a password, a token.
    pub fn given(&mut self, name: &str, secret: &[u8]) {
        self.learn(name, secret, Use::Given);
    }

    /// Learns what comes of a passphrase with this salt.
    ///
    /// # Errors
    /// No room in key memory.
    pub fn learn_stretched(&mut self, passphrase: &[u8], salt: &[u8], iterations: u32) -> Result<()> {
        let prk = self.stretch(passphrase, salt, iterations)?;
        self.expanded("passphrase wrapping key", &prk, &[b"claviger-passphrase-wrap-1"], Use::Aes)?;
        Ok(())
    }

    fn stretch(&mut self, passphrase: &[u8], salt: &[u8], iterations: u32) -> Result<Key256> {
        let stretch = || {
            let mut prk = [0; 32];
            pbkdf2::pbkdf2_hmac::<Sha256>(passphrase, salt, iterations, &mut prk);
            prk
        };
        let prk = *self.stretched.entry((passphrase.to_vec(), salt.to_vec())).or_insert_with(stretch);
        self.key256("PBKDF2 output", &prk, Use::Hmac)
    }

    /// Learns the schedules of these volumes' keys too, which claviger itself never makes.
    pub fn expand(&mut self, volumes: &[Uuid]) {
        let is_wanted = |secret: &Secret| volumes.iter().any(|volume| secret.name.contains(&volume.to_string()));
        for (key, secret) in self.known.iter_mut().filter(|(_, secret)| is_wanted(secret)) {
            secret.forms = forms_of(key, Use::Aes);
        }
    }

    /// Learns all that a hierarchy's directory, or a copy of it, holds. Nobody may have it open.
    ///
    /// # Errors
    /// Something does not open, or is not as `docs/formats.md` says.
    pub fn learn_from(&mut self, dir: &Path) -> Result<()> {
        let sealing = std::fs::read(dir.join("sealing.key")).context("cannot read the sealing key")?;
        let sealing = sealing.strip_prefix(b"CLVK\x01").context("sealing.key is not as docs/formats.md says")?;
        self.learn_from_store(&*open_store_copy(&dir.join("store"), &StoreOptions::default())?, sealing)
    }

    /// Learns all that a store holds whose sealing key is `sealing`.
    ///
    /// # Errors
    /// As [`Secrets::learn_from`].
    pub fn learn_from_store(&mut self, store: &dyn Store, sealing: &[u8]) -> Result<()> {
        let sealing = self.key256("sealing key", sealing, Use::Hmac)?;
        self.expanded("record sealing key", &sealing, &[b"claviger-sealing-1"], Use::Aes)?;
        let records = Records { store, sealing: SealingKey::new(&self.arena, self.copy(&sealing)?)? };
        self.expanded("credential key", &sealing, &[b"claviger-credential-1"], Use::Aes)?;
        let mut keepers = BTreeMap::new();
        for (key, record) in records.opened(Table::Keystores)? {
            // Longer keys are those of the lists of SVMs' own keystores.
            if let Ok(id) = Uuid::from_slice(&key) {
                let ckek = self.ckek(&sealing, id, &record)?;
                keepers.insert(id, WrappingKey::new(&self.arena, &ckek)?);
            } else {
                for own in record.get("keystores").and_then(Value::as_array).context("no keystores")? {
                    let (id, url) = (own.get("keystore"), own.pointer("/keeper/barbican/key_id"));
                    let id = id.and_then(Value::as_str).context("no keystore")?.parse()?;
                    let url = url.and_then(Value::as_str).context("no key id")?;
                    keepers.insert(id, self.at_barbican(url)?);
                }
            }
        }
        for (key, record) in records.opened(Table::Keks)? {
            // Longer keys are those of the counts of seals.
            if let Ok(svm) = <[u8; 16]>::try_from(key.as_slice()) {
                let entries = [record.get("current"), record.get("retiring")];
                self.keks_of(Uuid::from_bytes(svm), &keepers, entries)?;
            }
        }
        for entry in store.scan(Table::Keys, &[], None, usize::MAX)? {
            self.keys_of(&entry.value)?;
        }
        Ok(())
    }

    /// What a keystore at a Barbican wraps with.
    fn at_barbican(&self, url: &str) -> Result<WrappingKey> {
        let key = self.top_level_keys.get(url).with_context(|| format!("the key {url} is not known"))?;
        let mut slot = self.arena.bytes(key.len())?;
        slot.expose_mut().copy_from_slice(key);
        Ok(WrappingKey::new(&self.arena, &Key256::new(slot)?)?)
    }

    /// The CKEK of a keystore, by a known passphrase; where it opens unattended, in that way too.
    fn ckek(&mut self, sealing: &Key256, id: Uuid, keystore: &Value) -> Result<Key256> {
        let onboard = &keystore["onboard"];
        let unattended =
            self.expanded("unattended key", sealing, &[b"claviger-unattended-1", id.as_bytes()], Use::Aes)?;
        let salt = bytes_of(&onboard["salt"])?;
        let iterations = onboard["iterations"].as_u64().context("no iterations")?.try_into()?;
        for passphrase in self.passphrases.clone() {
            let prk = self.stretch(&passphrase, &salt, iterations)?;
            let check = prk.expand(&self.arena, &[b"claviger-passphrase-check-1"])?;
            if check.expose() != bytes_of(&onboard["check"])? {
                continue;
            }
            let wrapping =
                self.expanded("passphrase wrapping key", &prk, &[b"claviger-passphrase-wrap-1"], Use::Aes)?;
            let ckek = self.unwrapped(&wrapping, &onboard["ckek_by_passphrase"])?;
            if onboard["ckek_unattended"].is_string()
                && !self.unwrapped(&unattended, &onboard["ckek_unattended"])?.ct_eq(&ckek)
            {
                bail!("the two ways to the CKEK differ");
            }
            let ckek = self.key256("CKEK", ckek.expose(), Use::HmacAndAes)?;
            self.expanded("backup body key", &ckek, &[b"claviger-backup-1"], Use::Aes)?;
            return Ok(ckek);
        }
        bail!("no known passphrase opens keystore {id}")
    }

    fn keks_of(
        &mut self,
        svm: Uuid,
        keepers: &BTreeMap<Uuid, WrappingKey>,
        entries: [Option<&Value>; 2],
    ) -> Result<()> {
        for entry in entries.into_iter().flatten().filter(|entry| entry.is_object()) {
            let number = entry["kek_version"].as_u64().context("no KEK version")?.try_into()?;
            let version = KekVersion::new(number).context("KEK version 0")?;
            for kept in entry["kept"].as_array().context("no kept KEK")? {
                let keystore: Uuid = kept["keystore"].as_str().context("no keystore")?.parse()?;
                let keeper = keepers.get(&keystore).with_context(|| format!("a KEK is under keystore {keystore}"))?;
                let key = keeper.unwrap(&wrapped(&kept["bytes"])?)?;
                let key = self.key256(&format!("KEK {version} of SVM {svm}"), key.expose(), Use::HmacAndAes)?;
                let kek = Kek::new(&self.arena, version, key, 0)?;
                self.keks.insert(*kek.id().as_bytes(), kek);
            }
        }
        Ok(())
    }

    /// The one or two keys of a key record.
    fn keys_of(&mut self, record: &[u8]) -> Result<()> {
        let mut rest = record;
        while !rest.is_empty() {
            let len = if rest.get(7) == Some(&2) { 124 } else { 156 };
            let (blob, behind) = rest.split_at_checked(len).context("a key record ends within a blob")?;
            rest = behind;
            let blob = KeyBlob::parse(blob)?;
            let header = blob.header();
            let kek = self.keks.get(header.kek_id.as_bytes()).context("a key is under a KEK that was never seen")?;
            let key = kek.open(&self.arena, &blob, &header.place)?;
            let name = format!("{} {} version {}", header.place.key_type, header.place.object, header.place.version);
            let key = key.expose().to_vec();
            self.learn(&name, &key, Use::Given);
        }
        Ok(())
    }

    fn unwrapped(&self, wrapping: &Key256, value: &Value) -> Result<Key256> {
        Ok(WrappingKey::new(&self.arena, wrapping)?.unwrap(&wrapped(value)?)?)
    }

    fn expanded(&mut self, name: &str, key: &Key256, info: &[&[u8]], of_use: Use) -> Result<Key256> {
        let expanded = key.expand(&self.arena, info)?;
        self.learn(name, expanded.expose(), of_use);
        Ok(expanded)
    }

    fn key256(&mut self, name: &str, bytes: &[u8], of_use: Use) -> Result<Key256> {
        self.learn(name, bytes, of_use);
        let mut slot = self.arena.bytes(bytes.len())?;
        slot.expose_mut().copy_from_slice(bytes);
        Ok(Key256::new(slot)?)
    }

    fn copy(&self, key: &Key256) -> Result<Key256> {
        let mut slot = self.arena.bytes(Key256::LEN)?;
        slot.expose_mut().copy_from_slice(key.expose());
        Ok(Key256::new(slot)?)
    }

    fn learn(&mut self, name: &str, secret: &[u8], of_use: Use) {
        let forms = || forms_of(secret, of_use);
        self.known.entry(secret.to_vec()).or_insert_with(|| Secret { name: name.to_owned(), forms: forms() });
    }
}

/// The sealed records of a store.
struct Records<'a> {
    store: &'a dyn Store,
    sealing: SealingKey,
}

impl Records<'_> {
    /// Each record of a table: its key and its JSON.
    fn opened(&self, table: Table) -> Result<Vec<(Vec<u8>, Value)>> {
        let open = |key: Vec<u8>, sealed: &[u8]| {
            let json = self.sealing.open(RecordPlace { table: table.number(), key: &key }, sealed)?;
            Ok((key, serde_json::from_slice(&json)?))
        };
        let all = self.store.scan(table, &[], None, usize::MAX)?;
        all.into_iter().map(|entry| open(entry.key, &entry.value)).collect()
    }
}

fn bytes_of(value: &Value) -> Result<Vec<u8>> {
    Ok(hex::decode(value.as_str().context("no hex")?)?)
}

/// A wrapped key, behind the id of what wraps it where there is one.
fn wrapped(value: &Value) -> Result<WrappedKey> {
    let bytes = bytes_of(value)?;
    Ok(WrappedKey::from_bytes(*bytes.last_chunk().context("a wrapped key has 40 bytes")?))
}

fn forms_of(secret: &[u8], of_use: Use) -> Vec<(Form, Vec<u8>)> {
    let mut forms = vec![(Form::Plain, secret.to_vec())];
    let (is_hmac, is_aes) = match of_use {
        Use::Given => (false, false),
        Use::Hmac => (true, false),
        Use::Aes => (false, true),
        Use::HmacAndAes => (true, true),
    };
    if is_hmac {
        // Behind the key, a pad is only the constant.
        let len = if secret.len() > 64 { 32 } else { secret.len() };
        for pad in forms::hmac_pads(secret) {
            let pad = pad.get(..len).unwrap_or(&pad);
            forms.push((Form::HmacPad, pad.to_vec()));
            forms.push((Form::HmacPad, forms::as_words(pad)));
        }
        forms.extend(forms::hmac_states(secret).map(|state| (Form::HmacState, state.to_vec())));
    }
    if let (true, Ok(key)) = (is_aes, <[u8; 32]>::try_from(secret)) {
        let encryption = forms::encryption_schedule(&key);
        // The first two and the last two are the key itself, and round keys of the other direction.
        let own = |schedule: &[[u8; 16]]| schedule.get(2..).unwrap_or_default().as_flattened().to_vec();
        let inner = |schedule: &[[u8; 16]]| schedule.get(1..14).unwrap_or_default().as_flattened().to_vec();
        forms.push((Form::EncryptionRoundKey, own(&encryption)));
        forms.push((Form::DecryptionRoundKey, inner(&forms::decryption_schedule(&key))));
        forms.push((Form::BitslicedRoundKey, forms::bitsliced_schedule(&key).as_flattened().to_vec()));
        forms.push((Form::GhashPower, forms::ghash_powers(&key).as_flattened().to_vec()));
    }
    forms
}
