//! `store.json`: what kind of store this is, and the parameters that were fixed when it was created.

use serde_json::{Map, Value, json};

use super::database::SEGMENT_BYTES;
use super::fault::Damage;

/// The version of everything below the store's directory: layout, header, and the keys within sled.
const FORMAT: u32 = 1;
/// sled promises no format across versions; the dependency is pinned to this one.
const SLED: &str = "0.34.7";

#[derive(Debug, thiserror::Error)]
pub(super) enum HeaderError {
    #[error("the field {0} or its value is unknown")]
    Field(String),
    #[error(transparent)]
    Damaged(#[from] Damage),
}

/// The header's bytes. There is one format, and all its parameters are constants, so this is the one valid header.
pub(super) fn header() -> Vec<u8> {
    format!("{:#}\n", Value::Object(fields())).into_bytes()
}

/// Accepts [`header`] and nothing else, and says which field is in the way.
pub(super) fn check(bytes: &[u8]) -> Result<(), HeaderError> {
    let found: Map<String, Value> = serde_json::from_slice(bytes).map_err(Damage::HeaderNotJson)?;
    let known = fields();
    // The format first: it decides what the others mean.
    let names = ["format"].into_iter().chain(known.keys().chain(found.keys()).map(String::as_str));
    for name in names {
        if found.get(name) != known.get(name) {
            return Err(HeaderError::Field(name.to_owned()));
        }
    }
    if bytes != header() {
        return Err(Damage::HeaderChanged.into());
    }
    Ok(())
}

fn fields() -> Map<String, Value> {
    let fields = [
        ("format", json!(FORMAT)),
        ("kind", json!("sled")),
        ("sled", json!(SLED)),
        ("segment_bytes", json!(SEGMENT_BYTES)),
        ("compression", json!(false)),
    ];
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The header with one field set to another value, or taken out.
    fn with(name: &str, value: Option<Value>) -> Vec<u8> {
        let mut fields = fields();
        match value {
            Some(value) => fields.insert(name.to_owned(), value),
            None => fields.remove(name),
        };
        format!("{:#}\n", Value::Object(fields)).into_bytes()
    }

    fn refused(bytes: &[u8]) -> String {
        match check(bytes) {
            Err(HeaderError::Field(name)) => name,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_header_is_fixed() {
        let expected = concat!(
            "{\n  \"compression\": false,\n  \"format\": 1,\n  \"kind\": \"sled\",\n",
            "  \"segment_bytes\": 4194304,\n  \"sled\": \"0.34.7\"\n}\n"
        );
        assert_eq!(String::from_utf8(header()).unwrap(), expected);
        check(&header()).unwrap();
    }

    #[test]
    fn every_field_is_checked_and_named() {
        let other = [
            ("format", json!(2)),
            ("kind", json!("redb")),
            ("sled", json!("0.34.8")),
            ("segment_bytes", json!(524_288)),
            ("compression", json!(true)),
        ];
        assert_eq!(other.len(), fields().len());
        for (name, value) in other {
            assert_eq!(refused(&with(name, Some(value))), name);
            assert_eq!(refused(&with(name, Some(Value::Null))), name);
            assert_eq!(refused(&with(name, None)), name);
        }
        assert_eq!(refused(&with("reserve", Some(json!(0)))), "reserve");
    }

    #[test]
    fn an_unknown_format_is_named_before_what_it_may_have_brought() {
        let text = String::from_utf8(with("a_field_of_format_2", Some(json!(1)))).unwrap();
        assert_eq!(refused(text.replace("\"format\": 1", "\"format\": 2").as_bytes()), "format");
    }

    #[test]
    fn what_is_not_the_header_is_damage() {
        for bytes in [&b""[..], b"\0\0\0", b"[]", b"{}{}"] {
            assert!(matches!(check(bytes), Err(HeaderError::Damaged(Damage::HeaderNotJson(_)))));
        }
        let twice = String::from_utf8(header()).unwrap().replace("\"format\": 1", "\"format\": 2,\n  \"format\": 1");
        for bytes in [twice.into_bytes(), [&header()[..], b" "].concat()] {
            assert!(matches!(check(&bytes), Err(HeaderError::Damaged(Damage::HeaderChanged))));
        }
    }

    #[test]
    fn the_header_names_the_sled_that_is_linked() {
        let lock = include_str!("../../../../Cargo.lock");
        assert!(lock.contains(&format!("name = \"sled\"\nversion = \"{SLED}\"\n")));
    }
}
