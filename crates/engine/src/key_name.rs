//! Names of keys and KEKs for whoever asks from outside (`docs/formats.md`, key name).

use std::fmt;
use std::str::FromStr;

use claviger_wrap::{KekId, KekVersion, KeyType, KeyVersion, ObjectId, SvmId};

use crate::engine::{Core, Engine};
use crate::keks::KekInfo;
use crate::key_error::KeyError;
use crate::key_record::ObjectRef;
use crate::keys::KeyInfo;

/// Names one version of a key, or one version of an SVM's KEK, without telling anything of its bytes: 76 lower-case hex
/// digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyName {
    /// A version of an object's key.
    Key {
        /// The SVM.
        svm: SvmId,
        /// What the key encrypts.
        object: ObjectRef,
        /// Which of its keys.
        version: KeyVersion,
    },
    /// A version of an SVM's KEK.
    Kek {
        /// The SVM.
        svm: SvmId,
        /// The KEK's name in blobs.
        id: KekId,
        /// Which of its KEKs.
        version: KekVersion,
    },
}

const FORMAT: u8 = 1;
/// After the numbers of [`KeyType`].
const KEK: u8 = 4;
const LEN: usize = 38;

impl KeyName {
    /// The name of the newest version of a key.
    #[must_use]
    pub const fn of_key(svm: SvmId, key: &KeyInfo) -> Self {
        Self::Key { svm, object: key.object, version: key.version }
    }

    /// The name of an SVM's current KEK.
    #[must_use]
    pub const fn of_kek(svm: SvmId, kek: &KekInfo) -> Self {
        Self::Kek { svm, id: kek.id, version: kek.version }
    }

    /// The SVM.
    #[must_use]
    pub const fn svm(&self) -> SvmId {
        match self {
            Self::Key { svm, .. } | Self::Kek { svm, .. } => *svm,
        }
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, svm, which, version) = match self {
            Self::Key { svm, object, version } => {
                (object.key_type().number(), svm, *object.uuid().as_bytes(), version.get())
            }
            Self::Kek { svm, id, version } => (KEK, svm, *id.as_bytes(), version.get()),
        };
        let bytes = [&[FORMAT, what], svm.as_bytes().as_slice(), &which, &version.to_be_bytes()].concat();
        f.write_str(&hex::encode(bytes))
    }
}

impl FromStr for KeyName {
    type Err = InvalidKeyName;

    fn from_str(name: &str) -> Result<Self, InvalidKeyName> {
        let mut bytes = [0; LEN];
        // One spelling: a name can be compared as text.
        let is_upper = name.bytes().any(|digit| digit.is_ascii_uppercase());
        match hex::decode_to_slice(name, &mut bytes) {
            Ok(()) if !is_upper => Self::parse(&bytes).ok_or(InvalidKeyName),
            Ok(()) | Err(_) => Err(InvalidKeyName),
        }
    }
}

impl KeyName {
    fn parse(bytes: &[u8; LEN]) -> Option<Self> {
        let ([format, what], rest) = bytes.split_first_chunk::<2>()?;
        let (svm, rest) = rest.split_first_chunk::<16>()?;
        let (which, version) = rest.split_first_chunk::<16>()?;
        let (svm, version) = (SvmId::from_bytes(*svm), u32::from_be_bytes(version.try_into().ok()?));
        match (*format, *what) {
            (FORMAT, KEK) => Some(Self::Kek { svm, id: KekId::from_bytes(*which), version: KekVersion::new(version)? }),
            (FORMAT, key_type) => {
                let object = ObjectRef::new(KeyType::from_number(key_type)?, ObjectId::from_bytes(*which));
                Some(Self::Key { svm, object, version: KeyVersion::new(version)? })
            }
            _ => None,
        }
    }
}

/// Not the name of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a key's name has 76 lower-case hex digits, as it was given out")]
pub struct InvalidKeyName;

/// What a [`KeyName`] names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NamedKey {
    /// A live version of this key.
    Key(KeyInfo),
    /// A live version of this KEK.
    Kek(KekInfo),
}

impl Engine {
    /// What `name` names: one read of the store at most. `None` where there is no such key, or no longer that version of it.
    ///
    /// # Errors
    /// [`KeyError::Layout`], [`KeyError::KekDamaged`] where the record that would tell is damaged; [`KeyError::Records`].
    pub fn key_named(&self, name: &KeyName) -> Result<Option<NamedKey>, KeyError> {
        match *name {
            KeyName::Key { svm, object, version } => match self.key(svm, object) {
                Ok(key) if key.version == version || key.rotating_from == Some(version) => Ok(Some(NamedKey::Key(key))),
                Ok(_) | Err(KeyError::UnknownSvm { .. } | KeyError::Missing { .. }) => Ok(None),
                Err(error) => Err(error),
            },
            KeyName::Kek { svm, id, version } => match self.kek(svm) {
                Ok(Some(kek)) if kek.id == id && kek.version == version => Ok(Some(NamedKey::Kek(kek))),
                Ok(Some(kek)) if self.core.retires(svm, id, version) => Ok(Some(NamedKey::Kek(kek))),
                Ok(_) | Err(KeyError::UnknownSvm { .. }) => Ok(None),
                Err(error) => Err(error),
            },
        }
    }
}

impl Core {
    /// Whether this is the KEK that the SVM is about to retire.
    fn retires(&self, svm: SvmId, id: KekId, version: KekVersion) -> bool {
        let keks = self.live.svm(svm).map(|live| live.keks.load_full());
        let retiring = keks.as_ref().and_then(|keks| keks.list()).and_then(|list| list.body.retiring.as_ref());
        retiring.is_some_and(|entry| entry.kek_id == id && entry.kek_version == version)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn names_are_as_the_format_says() {
        let svm = SvmId::from(Uuid::from_u128(0x11));
        let object = ObjectRef::Drive(Uuid::from_u128(0x22));
        let key = KeyName::Key { svm, object, version: KeyVersion::new(0x0102_0304).unwrap() };
        let kek = KeyName::Kek { svm, id: KekId::from_bytes([0xab; 16]), version: KekVersion::FIRST };
        let zeros = "0".repeat(30);
        assert_eq!(key.to_string(), format!("0103{zeros}11{zeros}2201020304"));
        assert_eq!(kek.to_string(), format!("0104{zeros}11{}00000001", "ab".repeat(16)));
        for name in [key, kek] {
            assert_eq!(name.to_string().parse(), Ok(name));
            assert_eq!(name.svm(), svm);
        }
        let text = kek.to_string();
        for wrong in [
            text.to_uppercase(),
            format!("{text}00"),
            text.replacen("01", "02", 1),
            text.replacen("0104", "0105", 1),
            text.replacen("0104", "0100", 1),
            format!("{}00000000", &text[..68]),
            String::new(),
        ] {
            assert_eq!(wrong.parse::<KeyName>(), Err(InvalidKeyName), "{wrong}");
        }
    }
}
