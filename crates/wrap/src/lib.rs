//! One key wrapped under another, and the bytes that come of it. No I/O, no state outside its values.
//!
//! - [`KeyBlob`]: a volume, aggregate or drive key under its SVM's KEK, bound to its place (AES-256-GCM).
//! - [`Kek`]: an SVM-KEK, its name [`KekId`] and its budget of seals.
//! - [`WrappingKey`]: what wraps a KEK as any HSM tool would (RFC 3394).
//! - [`Passphrase`] and [`PassphraseKdf`]: a [`WrappingKey`] from a passphrase, and how a wrong one is told.
//! - [`SealingKey`]: what seals a store's other records.
//! - [`BodyKey`]: what seals the body of a backup.
//!
//! The bytes are laid down in the book's page `docs/formats.md`. Every secret lives in an
//! [`Arena`](claviger_secret::Arena) and nowhere else.
//!
//! ```
//! use claviger_secret::{Arena, ArenaOptions};
//! use claviger_wrap::{Kek, KeyAlgorithm, KeyBlob, KeyPlace, KeyType, KeyVersion, KekVersion, ObjectId, PlainKey, SvmId, SystemRandom};
//!
//! let arena = Arena::new(&ArenaOptions { keys: 16, states: 4, ..ArenaOptions::default() })?;
//! let kek = Kek::generate(&arena, KekVersion::FIRST, &mut SystemRandom)?;
//! kek.seals().raise(1);
//! let place = KeyPlace {
//!     svm: SvmId::from(uuid::Uuid::new_v4()),
//!     key_type: KeyType::Vek,
//!     object: ObjectId::from(uuid::Uuid::new_v4()),
//!     version: KeyVersion::FIRST,
//! };
//!
//! let key = PlainKey::generate(&arena, KeyAlgorithm::XtsAes256, &mut SystemRandom)?;
//! let mut nonces = kek.nonces(1, &mut SystemRandom)?;
//! let mut blob = Vec::new();
//! kek.seal(&key, &place, nonces.take()?, &mut blob)?;
//!
//! let opened = kek.open(&arena, &KeyBlob::parse(&blob)?, &place)?;
//! assert!(key.ct_eq(&opened));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod blob;
mod derive;
mod ids;
mod kek;
mod keywrap;
mod passphrase;
mod plain;
mod random;
mod sealed;
mod seals;

pub use blob::{BlobError, HEADER_LEN, KeyBlob, KeyHeader, KeyPlace};
pub use derive::{GenerateError, Key256, KeyLength};
pub use ids::{KekId, KekVersion, KeyAlgorithm, KeyType, KeyVersion, ObjectId, SvmId, VersionExhausted};
pub use kek::{Kek, OpenError, SealError};
pub use keywrap::{IntegrityCheckFailed, UnwrapError, WrappedKey, WrappingKey};
pub use passphrase::{
    CheckValue, Iterations, Passphrase, PassphraseError, PassphraseKdf, PassphraseKeys, PassphraseRules,
};
pub use plain::PlainKey;
pub use random::{RandomError, SystemRandom, fill, random_uuid};
pub use sealed::{BodyKey, OpenSecretError, RecordPlace, SealingKey, UnsealError};
pub use seals::{Nonce, NonceError, Nonces, SealCount, SealsExhausted, SealsUnreserved};
