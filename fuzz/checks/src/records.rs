//! The JSON of sealed records, after the seal was opened, and that inside a backup.

use claviger::{Table, fuzzing};
use jiff::Timestamp;
use serde_json::Value;
use uuid::Uuid;

use crate::input::Input;
use crate::memory::frugally;

/// A record of the table `node`: length of the key (1), key, JSON. The same for the other tables. Besides the identity,
/// the epoch and the settings, the body of the anchor beside the store.
pub fn record_node(data: &[u8]) {
    record(Table::Node, data);
}

/// A record of the table `svms`: an SVM, or a name.
pub fn record_svms(data: &[u8]) {
    record(Table::Svms, data);
}

/// A record of the table `keystores`.
pub fn record_keystores(data: &[u8]) {
    record(Table::Keystores, data);
}

/// A record of the table `keks`: an SVM's live KEKs, or a count of seals.
pub fn record_keks(data: &[u8]) {
    record(Table::Keks, data);
}

/// A record of the table `jobs`.
pub fn record_jobs(data: &[u8]) {
    record(Table::Jobs, data);
}

/// A record of the table `certificates`: a certificate, or a name.
pub fn record_certificates(data: &[u8]) {
    record(Table::Certificates, data);
}

/// A record of the table `volumes`: a named volume, or a name.
pub fn record_volumes(data: &[u8]) {
    record(Table::Volumes, data);
}

/// The JSON inside a backup.
pub fn backup_hierarchy(data: &[u8]) {
    if let Ok(written) = frugally(data.len(), || fuzzing::hierarchy(data)) {
        check_written(data, &written);
        assert_eq!(fuzzing::hierarchy(&written).unwrap(), written);
    }
}

fn record(table: Table, data: &[u8]) {
    let mut input = Input::new(data);
    let (key, json) = (input.short(), input.rest());
    if let Ok(written) = frugally(data.len(), || fuzzing::record(table, key, json)) {
        check_written(json, &written);
        assert_eq!(fuzzing::record(table, key, &written).unwrap(), written);
        assert!(is_key_of(table, key, &written), "a record under a key that it does not name");
    }
}

/// The format's own words, once more: whether a record belongs under a key.
fn is_key_of(table: Table, key: &[u8], json: &[u8]) -> bool {
    let json: Value = serde_json::from_slice(json).expect("JSON");
    let uuid = |member: &str| Uuid::parse_str(json[member].as_str().expect("a UUID")).expect("a UUID");
    match table {
        Table::Node if json.get("settings").is_some() => key == b"settings",
        Table::Node if json.get("epoch").is_some() => [&b"epoch"[..], b"anchor"].contains(&key),
        Table::Node => key == b"hierarchy",
        Table::Svms if json.get("admin").is_some() => key == [&[0], uuid("svm").as_bytes().as_slice()].concat(),
        Table::Svms => key == [b"\x01", json["name"].as_str().expect("a name").as_bytes()].concat(),
        Table::Keystores if json.get("keystores").is_some() => {
            key == [&[1], uuid("svm").as_bytes().as_slice()].concat()
        }
        Table::Keystores => key == uuid("keystore").as_bytes(),
        Table::Keks if json.get("current").is_some() => key == uuid("svm").as_bytes(),
        Table::Keks => {
            let version = json["kek_version"].as_u64().expect("a version").to_be_bytes();
            key == [uuid("svm").as_bytes(), &version[4..]].concat()
        }
        Table::Jobs => key == uuid("job").as_bytes(),
        Table::Volumes if json.get("kind").is_some() => key == [&[0], uuid("volume").as_bytes().as_slice()].concat(),
        Table::Volumes => {
            let name = json["name"].as_str().expect("a name").as_bytes();
            key == [&[1], uuid("svm").as_bytes().as_slice(), name].concat()
        }
        Table::Certificates if json.get("kind").is_some() => {
            key == [&[0], uuid("certificate").as_bytes().as_slice()].concat()
        }
        Table::Certificates => {
            let name = json["name"].as_str().expect("a name").as_bytes();
            let scope = match &json["svm"] {
                Value::Null => vec![1, 0],
                _ => [&[1, 1], uuid("svm").as_bytes().as_slice()].concat(),
            };
            key == [&scope, name].concat()
        }
        Table::Keys => false,
    }
}

/// What was read is written again with the same meaning, and nothing that was there has been ignored.
fn check_written(read: &[u8], written: &[u8]) {
    let object = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).expect("JSON");
    let (read, written) = (object(read), object(written));
    assert_eq!(read["version"], 1);
    assert!(is_same(&read, &written), "read {read}\nwritten {written}");
}

/// Whether both mean the same: a member may be left out where it is null or an empty list, and times and UUIDs have several spellings. Bytes
/// have one.
fn is_same(read: &Value, written: &Value) -> bool {
    match (read, written) {
        (Value::Object(read), Value::Object(written)) => {
            let names = read.keys().chain(written.keys());
            let of = |object: &serde_json::Map<_, _>, name: &String| object.get(name).cloned().unwrap_or_default();
            let is_empty = |value: &Value| value.is_null() || value.as_array().is_some_and(Vec::is_empty);
            names.into_iter().all(|name| {
                let (read, written) = (of(read, name), of(written, name));
                // Of a job that failed before causes were kept, none is known.
                let is_old = name == "cause" && read.is_null() && written == "other";
                is_old || is_same(&read, &written) || (is_empty(&read) && is_empty(&written))
            })
        }
        (Value::Array(read), Value::Array(written)) => {
            read.len() == written.len() && read.iter().zip(written).all(|(read, written)| is_same(read, written))
        }
        (Value::String(read), Value::String(written)) => {
            let is_time = || read.parse::<Timestamp>().is_ok_and(|read| Ok(read) == written.parse().map_err(drop));
            let is_uuid =
                || written.contains('-') && Uuid::parse_str(read).is_ok_and(|read| read.to_string() == *written);
            read == written || is_uuid() || is_time()
        }
        _ => read == written,
    }
}
