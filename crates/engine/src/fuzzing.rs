//! The fuzz targets' way to the parsers of what comes from a store or an operator. Not for other use: it changes as they do.

use std::path::Path;

use claviger_secret::Arena;
use claviger_store::Table;
use claviger_wrap::{Key256, KeyHeader, SvmId};

use crate::backup::text::Backup;
use crate::backup::{BackupTextError, Hierarchy};
use crate::key_record::{KeyRecord, KeyRecordError, ObjectRef, parse_store_key};
use crate::open_error::OpenEngineError;
use crate::options::SealingSource;
use crate::records::{
    AnchorRecord, Body, CertificateNameRecord, CertificateRecord, EpochRecord, JobRecord, KekList, KeystoreRecord,
    NameRecord, NodeRecord, RecordError, RecordName, SealRecord, SettingsRecord, SvmKeystores, SvmRecord,
    VolumeNameRecord, VolumeRecord, parse,
};

/// What a key record and its key say: whose it is, and the headers of its blobs.
///
/// # Errors
/// As the engine's own reading of it.
pub fn key_record(key: &[u8], value: &[u8]) -> Result<(SvmId, ObjectRef, Vec<KeyHeader>), KeyRecordError> {
    let (svm, object) = parse_store_key(key)?;
    let record = KeyRecord::parse(svm, object, value)?;
    Ok((svm, object, record.blobs().map(|blob| *blob.header()).collect()))
}

/// The JSON of a sealed record, read and written again.
///
/// # Errors
/// As the engine's own reading of it; [`RecordError::Misplaced`] for a table that has no sealed records.
pub fn record(table: Table, key: &[u8], json: &[u8]) -> Result<Vec<u8>, RecordError> {
    match table {
        Table::Node if key == NodeRecord::KEY => again::<NodeRecord>(key, json),
        Table::Node if key == EpochRecord::KEY => again::<EpochRecord>(key, json),
        Table::Node if key == SettingsRecord::KEY => again::<SettingsRecord>(key, json),
        Table::Node => again::<AnchorRecord>(key, json),
        Table::Svms if key.starts_with(SvmRecord::PREFIX) => again::<SvmRecord>(key, json),
        Table::Svms => again::<NameRecord>(key, json),
        Table::Keystores if SvmKeystores::svm_of(key).is_some() => again::<SvmKeystores>(key, json),
        Table::Keystores => again::<KeystoreRecord>(key, json),
        Table::Keks if KekList::is_key(key) => again::<KekList>(key, json),
        Table::Keks => again::<SealRecord>(key, json),
        Table::Jobs => again::<JobRecord>(key, json),
        Table::Volumes if VolumeRecord::volume_of(key).is_some() => again::<VolumeRecord>(key, json),
        Table::Volumes => again::<VolumeNameRecord>(key, json),
        Table::Certificates if CertificateRecord::certificate_of(key).is_some() => {
            again::<CertificateRecord>(key, json)
        }
        Table::Certificates => again::<CertificateNameRecord>(key, json),
        Table::Keys => Err(RecordError::Misplaced { name: RecordName { table, key: key.to_vec() } }),
    }
}

fn again<T: Body>(key: &[u8], json: &[u8]) -> Result<Vec<u8>, RecordError> {
    let body: T = parse(key, json)?;
    serde_json::to_vec(&body).map_err(|source| RecordError::Body { name: RecordName::of::<T>(key), source })
}

/// The text of a backup, read and written again. It is not opened.
///
/// # Errors
/// As the engine's own reading of it.
pub fn backup(text: &str) -> Result<String, BackupTextError> {
    Backup::parse(text).map(|backup| backup.text())
}

/// The JSON inside a backup, read and written again.
///
/// # Errors
/// As the engine's own reading of it.
pub fn hierarchy(json: &[u8]) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::from_slice::<Hierarchy>(json).and_then(|hierarchy| serde_json::to_vec(&hierarchy))
}

/// The sealing key of the hierarchy in `dir`.
///
/// # Errors
/// As the engine's own reading of it.
pub fn sealing_key(arena: &Arena, dir: &Path) -> Result<Key256, OpenEngineError> {
    SealingSource::BesideStore.open(arena, Some(dir))
}
