//! The onboard keeper: a CKEK under a passphrase (`docs/formats.md`, passphrase keys).

use std::time::Instant;

use claviger_secret::{Arena, ArenaError};
use claviger_wrap::{
    CheckValue, Iterations, Key256, Passphrase, PassphraseKdf, PassphraseKeys, SealingKey, SystemRandom, UnwrapError,
    WrappedKey, WrappingKey,
};
use uuid::Uuid;

use crate::check::Hop;
use crate::keeper::{Keeper, KeeperError, KekPlace, KeptKek};
use crate::keystores::KeystoreError;
use crate::records::OnboardRecord;

const CKEK_ID_LABEL: &[u8] = b"claviger-ckek-id-1";

/// Wraps SVM-KEKs under the CKEK by RFC 3394.
pub(crate) struct OnboardKeeper {
    ckek: Key256,
    wrapping: WrappingKey,
}

impl OnboardKeeper {
    pub(crate) fn new(arena: &Arena, ckek: Key256) -> Result<Self, ArenaError> {
        let wrapping = WrappingKey::new(arena, &ckek)?;
        Ok(Self { ckek, wrapping })
    }

    pub(crate) const fn ckek(&self) -> &Key256 {
        &self.ckek
    }
}

impl Keeper for OnboardKeeper {
    fn keep(&self, kek: &Key256, _place: KekPlace) -> Result<KeptKek, KeeperError> {
        Ok(KeptKek { bytes: self.wrapping.wrap(kek)?.as_bytes().to_vec() })
    }

    fn fetch(&self, kept: &KeptKek, _place: KekPlace) -> Result<Key256, KeeperError> {
        let wrapped = kept.bytes.as_slice().try_into().map_err(|_| KeeperError::Damaged)?;
        self.wrapping.unwrap(&WrappedKey::from_bytes(wrapped)).map_err(|error| match error {
            UnwrapError::Arena(full) => KeeperError::Arena(full),
            _ => KeeperError::Damaged,
        })
    }

    fn discard(&self, _kept: &KeptKek) -> Result<(), KeeperError> {
        Ok(())
    }

    /// The CKEK is in memory: there is nothing on the way to it.
    fn probe(&self, each: &mut dyn FnMut(Hop)) -> Result<(), KeeperError> {
        let began = Instant::now();
        let tried = self.wrapping.wrap(&self.ckek).map(drop);
        let outcome = tried.as_ref().map(|()| "RFC 3394".to_owned()).map_err(|error| error.to_string());
        each(Hop { name: "wrap".into(), took: began.elapsed(), outcome });
        Ok(tried?)
    }
}

/// A new CKEK's name.
fn ckek_id(ckek: &Key256) -> [u8; 16] {
    ckek.id(&[CKEK_ID_LABEL, &1_u32.to_be_bytes()])
}

/// How the CKEK is put away: under the passphrase always, and for an unattended start under the sealing key.
pub(crate) fn put_away(
    arena: &Arena,
    sealing: &SealingKey,
    keystore: Uuid,
    common_criteria: bool,
    ckek: &Key256,
    passphrase: &Passphrase,
) -> Result<OnboardRecord, KeystoreError> {
    let kdf = PassphraseKdf::generate(Iterations::MIN, &mut SystemRandom)?;
    let PassphraseKeys { wrapping, check } = kdf.derive(arena, passphrase)?;
    let ckek_unattended = match common_criteria {
        true => None,
        false => Some(*sealing.unattended(keystore)?.wrap(ckek)?.as_bytes()),
    };
    Ok(OnboardRecord {
        common_criteria,
        salt: kdf.salt,
        iterations: kdf.iterations,
        check: *check.as_bytes(),
        ckek_id: ckek_id(ckek),
        ckek_by_passphrase: *wrapping.wrap(ckek)?.as_bytes(),
        ckek_unattended,
        attempts: None,
    })
}

/// The same record, out of Common Criteria mode: the CKEK is under the sealing key, too.
pub(crate) fn opened_unattended(
    sealing: &SealingKey,
    keystore: Uuid,
    ckek: &Key256,
    onboard: &OnboardRecord,
) -> Result<OnboardRecord, KeystoreError> {
    let ckek_unattended = Some(*sealing.unattended(keystore)?.wrap(ckek)?.as_bytes());
    Ok(OnboardRecord { common_criteria: false, ckek_unattended, attempts: None, ..onboard.clone() })
}

/// Opens the CKEK with the passphrase.
pub(crate) fn by_passphrase(
    arena: &Arena,
    onboard: &OnboardRecord,
    passphrase: &Passphrase,
) -> Result<Key256, KeystoreError> {
    let OnboardRecord { salt, iterations, check, ckek_by_passphrase, .. } = onboard;
    let ckek = from_backup(arena, *iterations, *salt, *check, *ckek_by_passphrase, passphrase)?;
    check_id(ckek, onboard)
}

/// Opens the CKEK of a backup, whose own seal says that it is the right one.
pub(crate) fn from_backup(
    arena: &Arena,
    iterations: Iterations,
    salt: [u8; 32],
    check: [u8; 32],
    wrapped: [u8; 40],
    passphrase: &Passphrase,
) -> Result<Key256, KeystoreError> {
    let keys = PassphraseKdf { salt, iterations }.derive(arena, passphrase)?;
    match keys.check.ct_eq(&CheckValue::from_bytes(check)) {
        true => unwrap(&keys.wrapping, wrapped),
        false => Err(KeystoreError::WrongPassphrase),
    }
}

/// Opens the CKEK with the sealing key, where the keystore allows that.
pub(crate) fn unattended(
    sealing: &SealingKey,
    keystore: Uuid,
    onboard: &OnboardRecord,
) -> Result<Option<Key256>, KeystoreError> {
    match onboard.ckek_unattended {
        Some(wrapped) => {
            let ckek = unwrap(&sealing.unattended(keystore)?, wrapped)?;
            check_id(ckek, onboard).map(Some)
        }
        None => Ok(None),
    }
}

fn unwrap(wrapping: &WrappingKey, wrapped: [u8; 40]) -> Result<Key256, KeystoreError> {
    wrapping.unwrap(&WrappedKey::from_bytes(wrapped)).map_err(|error| match error {
        UnwrapError::Arena(full) => KeystoreError::Arena(full),
        _ => KeystoreError::DamagedCkek,
    })
}

fn check_id(ckek: Key256, onboard: &OnboardRecord) -> Result<Key256, KeystoreError> {
    match ckek_id(&ckek) == onboard.ckek_id {
        true => Ok(ckek),
        false => Err(KeystoreError::DamagedCkek),
    }
}
