//! `store.json`: what kind of store this is, and the parameters that were fixed when it was created.

use serde_json::{Map, Value, json};

use super::StoreKind;
use super::fault::Damage;
use crate::sled_store::SEGMENT_BYTES;

/// The version of everything below the store's directory: layout, header, and the keys within the database.
const FORMAT: u32 = 1;
/// sled promises no format across versions; the dependency is pinned to this one.
const SLED: &str = "0.34.7";
/// redb's file format, which it keeps across versions, and refuses where it is another.
const REDB_FILE_FORMAT: u32 = 3;
/// Far more than any header has. JSON of unknown members takes many times its size in memory.
const MAX_BYTES: usize = 4096;

#[derive(Debug, thiserror::Error)]
pub(super) enum HeaderError {
    #[error("the field {0} or its value is unknown")]
    Field(String),
    #[error(transparent)]
    Damaged(#[from] Damage),
}

/// The header's bytes. There is one format, and all its parameters are constants, so this is the one valid header of a
/// kind.
pub(super) fn header(kind: StoreKind) -> Vec<u8> {
    format!("{:#}\n", Value::Object(fields(kind))).into_bytes()
}

/// Accepts the [`header`] of a kind and nothing else, and says which field is in the way.
pub(super) fn kind(bytes: &[u8]) -> Result<StoreKind, HeaderError> {
    if bytes.len() > MAX_BYTES {
        return Err(Damage::HeaderChanged.into());
    }
    let found: Map<String, Value> = serde_json::from_slice(bytes).map_err(Damage::HeaderNotJson)?;
    let named = found.get("kind").and_then(Value::as_str).and_then(|name| name.parse().ok());
    // Without a known one, it is the first field to differ.
    let kind = named.unwrap_or_default();
    let known = fields(kind);
    // The format first: it decides what the others mean. Then the kind, for the same reason.
    let names = ["format", "kind"].into_iter().chain(known.keys().chain(found.keys()).map(String::as_str));
    for name in names {
        if found.get(name) != known.get(name) {
            return Err(HeaderError::Field(name.to_owned()));
        }
    }
    if bytes != header(kind) {
        return Err(Damage::HeaderChanged.into());
    }
    Ok(kind)
}

fn fields(kind: StoreKind) -> Map<String, Value> {
    let of_all = [("format", json!(FORMAT)), ("kind", json!(kind.name()))];
    let of_kind = match kind {
        StoreKind::Sled => {
            vec![("sled", json!(SLED)), ("segment_bytes", json!(SEGMENT_BYTES)), ("compression", json!(false))]
        }
        StoreKind::Redb => vec![("file_format", json!(REDB_FILE_FORMAT))],
    };
    of_all.into_iter().chain(of_kind).map(|(name, value)| (name.to_owned(), value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header with one field set to another value, or taken out.
    fn with(kind: StoreKind, name: &str, value: Option<Value>) -> Vec<u8> {
        let mut fields = fields(kind);
        match value {
            Some(value) => fields.insert(name.to_owned(), value),
            None => fields.remove(name),
        };
        format!("{:#}\n", Value::Object(fields)).into_bytes()
    }

    fn refused(bytes: &[u8]) -> String {
        match kind(bytes) {
            Err(HeaderError::Field(name)) => name,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_header_of_each_kind_is_fixed() {
        let sled = concat!(
            "{\n  \"compression\": false,\n  \"format\": 1,\n  \"kind\": \"sled\",\n",
            "  \"segment_bytes\": 4194304,\n  \"sled\": \"0.34.7\"\n}\n"
        );
        let redb = "{\n  \"file_format\": 3,\n  \"format\": 1,\n  \"kind\": \"redb\"\n}\n";
        for (expected, of) in [(sled, StoreKind::Sled), (redb, StoreKind::Redb)] {
            assert_eq!(String::from_utf8(header(of)).unwrap(), expected);
            assert_eq!(kind(&header(of)).unwrap(), of);
        }
    }

    #[test]
    fn every_field_is_checked_and_named() {
        let others: [(StoreKind, &[(&str, Value)]); 2] = [
            (
                StoreKind::Sled,
                &[
                    ("format", json!(2)),
                    ("kind", json!("lmdb")),
                    ("sled", json!("0.34.8")),
                    ("segment_bytes", json!(524_288)),
                    ("compression", json!(true)),
                ],
            ),
            (StoreKind::Redb, &[("format", json!(2)), ("kind", json!("lmdb")), ("file_format", json!(4))]),
        ];
        for (of, others) in others {
            assert_eq!(others.len(), fields(of).len());
            for (name, value) in others {
                assert_eq!(refused(&with(of, name, Some(value.clone()))), *name);
                assert_eq!(refused(&with(of, name, Some(Value::Null))), *name);
                assert_eq!(refused(&with(of, name, None)), *name);
            }
            assert_eq!(refused(&with(of, "reserve", Some(json!(0)))), "reserve");
        }
        // The parameters of one kind are not those of another.
        assert_eq!(refused(&with(StoreKind::Sled, "kind", Some(json!("redb")))), "file_format");
    }

    #[test]
    fn an_unknown_format_is_named_before_what_it_may_have_brought() {
        let text = String::from_utf8(with(StoreKind::Sled, "a_field_of_format_2", Some(json!(1)))).unwrap();
        assert_eq!(refused(text.replace("\"format\": 1", "\"format\": 2").as_bytes()), "format");
    }

    #[test]
    fn what_is_not_the_header_is_damage() {
        for bytes in [&b""[..], b"\0\0\0", b"[]", b"{}{}"] {
            assert!(matches!(kind(bytes), Err(HeaderError::Damaged(Damage::HeaderNotJson(_)))));
        }
        let header = header(StoreKind::Sled);
        let twice =
            String::from_utf8(header.clone()).unwrap().replace("\"format\": 1", "\"format\": 2,\n  \"format\": 1");
        let long = [&header[..], &[b' '; MAX_BYTES]].concat();
        for bytes in [twice.into_bytes(), [&header[..], b" "].concat(), long] {
            assert!(matches!(kind(&bytes), Err(HeaderError::Damaged(Damage::HeaderChanged))));
        }
    }

    #[test]
    fn the_header_names_the_sled_that_is_linked() {
        let lock = include_str!("../../../../Cargo.lock");
        assert!(lock.contains(&format!("name = \"sled\"\nversion = \"{SLED}\"\n")));
    }
}
