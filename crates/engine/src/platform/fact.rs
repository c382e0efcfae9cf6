//! A fact, or that it is not known.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::{BoolDeserializer, I64Deserializer, SeqAccessDeserializer, StrDeserializer, U64Deserializer};
use serde::de::{Deserialize, Deserializer, Error, IntoDeserializer as _, SeqAccess, Visitor};

/// A fact, or that it is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fact<T> {
    /// It is so.
    Known(T),
    /// Nobody knows. Whatever depends on it is refused.
    Unknown,
}

/// What is written in place of a value that is not known.
const UNKNOWN: &str = "unknown";

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Fact<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FactVisitor(PhantomData))
    }
}

/// Sees whether it is the text `unknown`, and else leaves it to the value's own type, whose error says what was expected.
struct FactVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for FactVisitor<T> {
    type Value = Fact<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a value, or the text \"{UNKNOWN}\"")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Fact<T>, E> {
        let value: BoolDeserializer<E> = value.into_deserializer();
        T::deserialize(value).map(Fact::Known)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Fact<T>, E> {
        let value: I64Deserializer<E> = value.into_deserializer();
        T::deserialize(value).map(Fact::Known)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Fact<T>, E> {
        let value: U64Deserializer<E> = value.into_deserializer();
        T::deserialize(value).map(Fact::Known)
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Fact<T>, E> {
        if value == UNKNOWN {
            return Ok(Fact::Unknown);
        }
        let value: StrDeserializer<'_, E> = value.into_deserializer();
        T::deserialize(value).map(Fact::Known)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, sequence: A) -> Result<Fact<T>, A::Error> {
        T::deserialize(SeqAccessDeserializer::new(sequence)).map(Fact::Known)
    }
}
