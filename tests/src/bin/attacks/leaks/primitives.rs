//! Each use of a key alone, in a thread that does nothing after it: what it leaves on its stack or in its registers stays to
//! be found. In the engine, the next use would cover it.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Barrier};
use std::thread;

use anyhow::{Result, anyhow};
use claviger_secret::{Arena, SecretBytes};
use claviger_tests::secrets::Secrets;
use claviger_wrap::{
    BodyKey, Iterations, Kek, KekVersion, Key256, KeyAlgorithm, KeyBlob, KeyPlace, KeyType, KeyVersion, Nonce,
    Passphrase, PassphraseKdf, PlainKey, RecordPlace, SealingKey, SystemRandom, WrappedKey, WrappingKey, fill,
};
use uuid::Uuid;

/// The files of a key of 32 bytes, of one of 64, and of a passphrase.
const FILES: [(&str, usize); 3] = [("primitive.key", 32), ("primitive.volume", 64), ("first", 0)];
const SALT: [u8; 32] = [7; 32];

/// Makes the keys, and learns them with what comes of them.
pub(super) fn prepare(base: &Path, secrets: &mut Secrets) -> Result<()> {
    for (name, len) in FILES.into_iter().filter(|(_, len)| *len > 0) {
        let mut bytes = vec![0; len];
        fill(&mut SystemRandom, &mut bytes)?;
        fs::write(base.join(name), &bytes)?;
        secrets.learn_key(name, &bytes)?;
    }
    secrets.learn_stretched(&fs::read(base.join("first"))?, &SALT, Iterations::MIN.get())
}

/// What the uses need, made before.
struct Material {
    arena: Arena,
    key: Key256,
    same_key: Key256,
    volume: PlainKey,
    same_volume: PlainKey,
    passphrase: Passphrase,
    passphrase_bytes: SecretBytes,
    kek: Kek,
    wrapping: WrappingKey,
    wrapped: WrappedKey,
    sealing: SealingKey,
    blob: Vec<u8>,
    record: Vec<u8>,
}

const RECORD: RecordPlace<'static> = RecordPlace { table: 1, key: b"record" };

type Use = fn(&Material) -> Result<()>;

const USES: [Use; 18] = [
    |m| {
        drop(Kek::new(&m.arena, KekVersion::FIRST, m.copy_of_key()?, 0)?);
        Ok(())
    },
    |m| Ok(m.kek.seal(&m.volume, &place(), Nonce::danger_from_bytes([9; 12]), &mut Vec::new())?),
    |m| {
        drop(m.kek.open(&m.arena, &KeyBlob::parse(&m.blob)?, &place())?);
        Ok(())
    },
    |m| match m.kek.open(&m.arena, &KeyBlob::parse(&damaged(&m.blob))?, &place()) {
        Ok(_) => Err(anyhow!("a damaged blob was opened")),
        Err(_) => Ok(()),
    },
    |m| {
        drop(WrappingKey::new(&m.arena, &m.key)?);
        Ok(())
    },
    |m| m.wrapping.wrap(&m.key).map(drop).map_err(Into::into),
    |m| {
        drop(m.wrapping.unwrap(&m.wrapped)?);
        Ok(())
    },
    |m| match m.wrapping.unwrap(&WrappedKey::from_bytes([3; 40])) {
        Ok(_) => Err(anyhow!("damaged bytes were unwrapped")),
        Err(_) => Ok(()),
    },
    |m| m.is_so(m.key.id(&[b"label"]) == m.same_key.id(&[b"label"])),
    |m| {
        drop(m.key.expand(&m.arena, &[b"claviger-backup-1"])?);
        Ok(())
    },
    |m| {
        drop(SealingKey::new(&m.arena, m.copy_of_key()?)?);
        Ok(())
    },
    |m| {
        drop(m.sealing.seal(RECORD, b"{}", &mut SystemRandom)?);
        Ok(())
    },
    |m| {
        drop(m.sealing.open(RECORD, &m.record)?);
        Ok(())
    },
    |m| {
        drop(BodyKey::of_backup(&m.arena, &m.key)?.seal(b"header", b"{}", &mut SystemRandom)?);
        Ok(())
    },
    |m| m.is_so(m.key.ct_eq(&m.same_key)),
    |m| m.is_so(m.volume.ct_eq(&m.same_volume)),
    |m| {
        drop(Passphrase::copy_from(&m.arena, m.passphrase_bytes.expose())?);
        Ok(())
    },
    |m| {
        drop(PassphraseKdf { salt: SALT, iterations: Iterations::MIN }.derive(&m.arena, &m.passphrase)?);
        Ok(())
    },
];

impl Material {
    fn read(base: &Path, arena: &Arena) -> Result<Self> {
        let read = |name: &str| read(base, arena, name);
        let key = || Ok::<_, anyhow::Error>(Key256::new(read("primitive.key")?)?);
        let volume = || Ok::<_, anyhow::Error>(PlainKey::new(KeyAlgorithm::XtsAes256, read("primitive.volume")?)?);
        let kek = Kek::new(arena, KekVersion::FIRST, key()?, 0)?;
        let wrapping = WrappingKey::new(arena, &key()?)?;
        let sealing = SealingKey::new(arena, key()?)?;
        let mut blob = Vec::new();
        kek.seal(&volume()?, &place(), Nonce::danger_from_bytes([8; 12]), &mut blob)?;
        Ok(Self {
            arena: arena.clone(),
            key: key()?,
            same_key: key()?,
            volume: volume()?,
            same_volume: volume()?,
            passphrase: Passphrase::new(read("first")?)?,
            passphrase_bytes: read("first")?,
            wrapped: wrapping.wrap(&key()?)?,
            record: sealing.seal(RECORD, b"{}", &mut SystemRandom)?,
            kek,
            wrapping,
            sealing,
            blob,
        })
    }

    /// Unwrapped, as a copy of the bytes would be a use of its own.
    fn copy_of_key(&self) -> Result<Key256> {
        Ok(self.wrapping.unwrap(&self.wrapped)?)
    }

    fn is_so(&self, is_so: bool) -> Result<()> {
        is_so.then_some(()).ok_or_else(|| anyhow!("the same secrets differ"))
    }
}

/// Makes each use in a thread of its own. The threads never end.
pub(super) fn run(base: &Path, arena: &Arena) -> Result<()> {
    let material = Arc::new(Material::read(base, arena)?);
    for one_use in USES {
        let (done, material) = (Arc::new(Barrier::new(2)), Arc::clone(&material));
        let is_done = Arc::clone(&done);
        thread::spawn(move || {
            if let Err(error) = one_use(&material) {
                eprintln!("error: {error:#}");
                std::process::exit(1);
            }
            is_done.wait();
            loop {
                thread::park();
            }
        });
        done.wait();
    }
    Ok(())
}

fn read(base: &Path, arena: &Arena, name: &str) -> Result<SecretBytes> {
    use std::io::Read as _;
    let mut file = fs::File::open(base.join(name))?;
    let mut bytes = arena.bytes(usize::try_from(file.metadata()?.len())?)?;
    file.read_exact(bytes.expose_mut())?;
    Ok(bytes)
}

fn place() -> KeyPlace {
    KeyPlace { svm: Uuid::nil().into(), key_type: KeyType::Vek, object: Uuid::max().into(), version: KeyVersion::FIRST }
}

fn damaged(blob: &[u8]) -> Vec<u8> {
    let mut damaged = blob.to_vec();
    if let Some(last) = damaged.last_mut() {
        *last ^= 1;
    }
    damaged
}
