//! The names of things: SVMs, objects, versions, types, algorithms.

use std::fmt;
use std::num::NonZeroU32;

use uuid::Uuid;

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            /// The 16 bytes in RFC 9562 order.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }

            /// From the 16 bytes in RFC 9562 order.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Uuid::from_bytes(bytes))
            }

            /// The UUID.
            #[must_use]
            pub const fn uuid(&self) -> Uuid {
                self.0
            }
        }

        impl From<Uuid> for $name {
            fn from(uuid: Uuid) -> Self {
                Self(uuid)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

uuid_id! {
    /// An SVM (tenant), or the admin SVM of the cluster.
    SvmId
}
uuid_id! {
    /// The volume, aggregate or drive that a key encrypts.
    ObjectId
}

macro_rules! version {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(NonZeroU32);

        impl $name {
            /// Version 1.
            pub const FIRST: Self = Self(NonZeroU32::MIN);

            /// Version `number`, or `None` for 0, which no version has.
            #[must_use]
            pub const fn new(number: u32) -> Option<Self> {
                match NonZeroU32::new(number) {
                    Some(number) => Some(Self(number)),
                    None => None,
                }
            }

            /// The number, from 1.
            #[must_use]
            pub const fn get(self) -> u32 {
                self.0.get()
            }

            /// The version after this one.
            ///
            /// # Errors
            /// [`VersionExhausted`] behind 2^32-1.
            pub const fn next(self) -> Result<Self, VersionExhausted> {
                match self.0.checked_add(1) {
                    Some(number) => Ok(Self(number)),
                    None => Err(VersionExhausted),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

version! {
    /// Which key of an object: 1 for its first, one more with each rotation.
    KeyVersion
}
version! {
    /// Which KEK of an SVM: 1 for its first, one more with each internal rekey.
    KekVersion
}

/// All 2^32-1 versions have been used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("all 2^32-1 versions have been used; make a new object and move its data there")]
pub struct VersionExhausted;

/// What kind of object a key encrypts. The numbers are part of the key blob's format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum KeyType {
    /// A volume's key (VEK).
    Vek = 1,
    /// An aggregate's key (AEK).
    Aek = 2,
    /// A drive's authentication key (NSE-AK).
    NseAk = 3,
}

impl KeyType {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 3] = [Self::Vek, Self::Aek, Self::NseAk];

    /// The number in a key blob.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Vek => 1,
            Self::Aek => 2,
            Self::NseAk => 3,
        }
    }

    /// The type with this number.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Vek),
            2 => Some(Self::Aek),
            3 => Some(Self::NseAk),
            _ => None,
        }
    }
}

impl fmt::Display for KeyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Vek => "VEK",
            Self::Aek => "AEK",
            Self::NseAk => "NSE-AK",
        })
    }
}

/// The cipher that a key is for. The numbers are part of the key blob's format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum KeyAlgorithm {
    /// XTS-AES-256 (IEEE 1619, NIST SP 800-38E): two AES-256 keys, 64 bytes.
    XtsAes256 = 1,
    /// AES-256: 32 bytes.
    Aes256 = 2,
}

impl KeyAlgorithm {
    /// The number in a key blob.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::XtsAes256 => 1,
            Self::Aes256 => 2,
        }
    }

    /// The algorithm with this number.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::XtsAes256),
            2 => Some(Self::Aes256),
            _ => None,
        }
    }

    /// Bytes of such a key.
    #[must_use]
    pub const fn key_len(self) -> usize {
        match self {
            Self::XtsAes256 => 64,
            Self::Aes256 => 32,
        }
    }
}

impl fmt::Display for KeyAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::XtsAes256 => "XTS-AES-256",
            Self::Aes256 => "AES-256",
        })
    }
}

/// Names a KEK without telling it, and proves that an opened KEK is the right one: the first 16 bytes of
/// HMAC-SHA-256 of the KEK over a label and its version (`docs/formats.md`, identifiers).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KekId([u8; 16]);

impl KekId {
    /// The 16 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// From the 16 bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for KekId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KekId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KekId({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_name_the_types_and_algorithms_of_the_format_and_nothing_else() {
        let names = |number| {
            let key_type = KeyType::from_number(number).inspect(|of| assert_eq!(of.number(), number));
            let algorithm = KeyAlgorithm::from_number(number).inspect(|of| assert_eq!(of.number(), number));
            (key_type.map(|of| of.to_string()), algorithm.map(|of| (of.to_string(), of.key_len())))
        };
        let some = |name: &str| Some(name.to_owned());
        assert_eq!(names(1), (some("VEK"), Some(("XTS-AES-256".to_owned(), 64))));
        assert_eq!(names(2), (some("AEK"), Some(("AES-256".to_owned(), 32))));
        assert_eq!(names(3), (some("NSE-AK"), None));
        assert!((4..=u8::MAX).chain([0]).all(|number| names(number) == (None, None)));
        assert_eq!(KeyType::ALL.map(KeyType::number), [1, 2, 3]);
    }

    #[test]
    fn versions_begin_at_1_and_end() {
        assert_eq!(KeyVersion::new(0), None);
        assert_eq!(KeyVersion::FIRST.get(), 1);
        assert_eq!(KeyVersion::FIRST.next(), Ok(KeyVersion::new(2).unwrap()));
        assert_eq!(KekVersion::new(u32::MAX).unwrap().next(), Err(VersionExhausted));
    }
}
