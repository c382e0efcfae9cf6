//! What a record that does not open shows. A field that says "another key" or "another place" may just have been damaged
//! itself: so the record is tried again with the header that it must have here. Where it then opens, its bytes have
//! changed, and nothing else is wrong.

use claviger_store::Table;
use claviger_wrap::{
    BlobError, HEADER_LEN, KeyAlgorithm, KeyBlob, KeyHeader, KeyPlace, KeyVersion, OpenError, RandomError, SvmId,
    UnsealError,
};

use super::report::Problem;
use crate::engine::Core;
use crate::key_error::KeyError;
use crate::key_record::{KeyRecord, KeyRecordError, ObjectRef, parse_store_key};
use crate::live::{Keks, LiveKek, OpenKeks};
use crate::records::{RecordError, RecordName, Records};

/// Of so many damaged records of a table it is asked whether they belong under another key of it.
pub(super) const SOUGHT_AT_MOST: usize = 64;

/// What every sealed record begins with.
const SEALED_MAGIC: &[u8] = b"CLVS";

/// A sealed record that does not open.
pub(super) struct Unreadable {
    pub(super) record: RecordName,
    pub(super) raw: Vec<u8>,
    pub(super) error: RecordError,
}

impl Unreadable {
    /// What is wrong with it. `keys` are those under which it may belong.
    pub(super) fn diagnose(&self, records: &Records, keys: &[Vec<u8>]) -> Result<(Problem, String), RandomError> {
        let Self { record, raw, error } = self;
        let RecordError::Sealed { source, .. } = error else {
            let problem = match error {
                RecordError::Body { .. } => Problem::UnknownFormat,
                _ => Problem::Inconsistent,
            };
            return Ok((problem, with_cause(error)));
        };
        if *source == UnsealError::Damaged {
            let elsewhere = keys.iter().filter(|key| **key != record.key);
            return Ok(match elsewhere.into_iter().find(|key| records.is_sealed_for(record.table, key, raw)) {
                Some(key) => {
                    let home = RecordName { table: record.table, key: key.clone() };
                    (Problem::Misplaced, format!("it is the record {home}: it was moved or copied here"))
                }
                None => (Problem::Damaged, with_cause(error)),
            });
        }
        if let Some(mended) = records.with_right_prefix(record.table, &record.key, raw)?
            && records.is_sealed_for(record.table, &record.key, &mended)
        {
            return Ok((Problem::Damaged, format!("its first bytes have changed; put it back from a copy ({source})")));
        }
        let problem = match source {
            UnsealError::OtherSealingKey => Problem::OtherKey,
            UnsealError::OtherTable { .. } => Problem::Misplaced,
            UnsealError::Magic if KeyBlob::parse_first(raw).is_ok() => Problem::Misplaced,
            UnsealError::Format { .. } | UnsealError::Suite { .. } | UnsealError::Zero { .. } => Problem::UnknownFormat,
            _ => Problem::Damaged,
        };
        Ok((problem, with_cause(error)))
    }
}

/// What a key record that does not open shows. What is no fault of the record's is passed on.
pub(crate) fn of_key(
    core: &Core,
    keks: Option<&Keks>,
    key: &[u8],
    raw: &[u8],
    error: KeyError,
) -> Result<(Problem, String), KeyError> {
    let problem = match &error {
        KeyError::StoreKey { .. } => Problem::UnknownFormat,
        KeyError::Layout { source, .. } => match source {
            KeyRecordError::OtherPlace { found } => match_place(core, raw, found)?,
            KeyRecordError::Blob(
                BlobError::Format { .. }
                | BlobError::Suite { .. }
                | BlobError::KeyType { .. }
                | BlobError::KeyAlgorithm { .. },
            ) => Problem::UnknownFormat,
            KeyRecordError::Blob(BlobError::Magic) if raw.starts_with(SEALED_MAGIC) => Problem::Misplaced,
            KeyRecordError::StoreKey => Problem::UnknownFormat,
            KeyRecordError::Blob(_) | KeyRecordError::Versions => Problem::Damaged,
        },
        KeyError::Damaged { .. } => Problem::Damaged,
        KeyError::NoSuchKek { .. } | KeyError::NoKek { .. } => Problem::MissingKek,
        KeyError::UnknownSvm { .. }
        | KeyError::Exists { .. }
        | KeyError::SvmBeingDeleted { .. }
        | KeyError::KeystoreBeingDisabled { .. }
        | KeyError::KeystoreBeingDeleted => Problem::Inconsistent,
        KeyError::Locked { .. }
        | KeyError::KekDamaged { .. }
        | KeyError::KekNotFetched { .. }
        | KeyError::KekUnreachable { .. }
        | KeyError::KeystoreUnusable { .. }
        | KeyError::KeystoresDamaged { .. }
        | KeyError::KekRefused { .. }
        | KeyError::KekWithoutRoom { .. }
        | KeyError::KeystoreLost { .. } => Problem::ClosedKek,
        KeyError::Missing { .. }
        | KeyError::Rotating { .. }
        | KeyError::NotRotating { .. }
        | KeyError::Versions { .. }
        | KeyError::NoKeystore
        | KeyError::KeystoreLocked
        | KeyError::KeptOtherwise
        | KeyError::Keeper(_)
        | KeyError::StillLive { .. }
        | KeyError::SealsExhausted { .. }
        | KeyError::KeksChanged { .. }
        | KeyError::Sealing
        | KeyError::Arena(_)
        | KeyError::Random(_)
        | KeyError::Records(_) => return Err(error),
    };
    let may_be_the_header = matches!(problem, Problem::Misplaced | Problem::UnknownFormat | Problem::MissingKek);
    if may_be_the_header
        && let (Some(Keks::Open(open)), Ok((svm, object))) = (keks, parse_store_key(key))
        && opens_with_right_headers(core, open, svm, object, raw)?
    {
        let detail = format!("its header has changed; put the record back from a copy ({})", with_cause(&error));
        return Ok((Problem::Damaged, detail));
    }
    Ok((problem, with_cause(&error)))
}

/// Whether a blob that names another place comes from there. Where the KEK of that place is not to be had, its word is
/// taken for it.
fn match_place(core: &Core, raw: &[u8], found: &KeyPlace) -> Result<Problem, KeyError> {
    let object = ObjectRef::new(found.key_type, found.object);
    let there = core.live.svm(found.svm).map(|svm| svm.keks.load_full());
    let Some(Keks::Open(open)) = there.as_deref() else { return Ok(Problem::Misplaced) };
    match KeyRecord::parse(found.svm, object, raw) {
        // The first blob belongs here, and the second one does not.
        Err(_) => Ok(Problem::Misplaced),
        Ok(record) => match core.open_blobs(open, object, &record) {
            Err(KeyError::Damaged { .. }) => Ok(Problem::Damaged),
            Err(KeyError::Arena(full)) => Err(full.into()),
            Ok(_) | Err(_) => Ok(Problem::Misplaced),
        },
    }
}

/// Whether all blobs of the record open once their headers say what they must in this place, under one of the KEKs.
fn opens_with_right_headers(
    core: &Core,
    open: &OpenKeks,
    svm: SvmId,
    object: ObjectRef,
    raw: &[u8],
) -> Result<bool, KeyError> {
    let mut rest = raw;
    for _ in 0..2 {
        let mut opened = None;
        for algorithm in [KeyAlgorithm::XtsAes256, KeyAlgorithm::Aes256] {
            for live in std::iter::once(&open.current).chain(&open.retiring) {
                opened = opened.or(first_with_header(core, live, svm, object, algorithm, rest)?);
            }
        }
        match opened {
            Some([]) => return Ok(true),
            Some(behind) => rest = behind,
            None => return Ok(false),
        }
    }
    Ok(false)
}

/// What follows the first blob, if that opens with the header that it must have.
fn first_with_header<'a>(
    core: &Core,
    live: &LiveKek,
    svm: SvmId,
    object: ObjectRef,
    algorithm: KeyAlgorithm,
    raw: &'a [u8],
) -> Result<Option<&'a [u8]>, KeyError> {
    // The key version is all that is taken from the header as it is: nothing else says it.
    let version = raw.get(40..).and_then(<[u8]>::first_chunk).copied().map(u32::from_be_bytes);
    let Some(version) = version.and_then(KeyVersion::new) else { return Ok(None) };
    let place = KeyPlace { svm, key_type: object.key_type(), object: object.uuid().into(), version };
    let header = KeyHeader { algorithm, place, kek_version: live.kek.version(), kek_id: live.kek.id() };
    let Some((blob, behind)) = raw.split_at_checked(header.blob_len()) else { return Ok(None) };
    let mut mended = header.encode().to_vec();
    mended.extend(blob.iter().skip(HEADER_LEN));
    let Ok(blob) = KeyBlob::parse(&mended) else { return Ok(None) };
    match live.kek.open(&core.arena, &blob, &place) {
        Ok(_) => Ok(Some(behind)),
        Err(OpenError::Arena(full)) => Err(full.into()),
        Err(_) => Ok(None),
    }
}

/// Whether the record is of the table `keys`, whatever its key.
pub(super) fn key_record(key: &[u8]) -> RecordName {
    RecordName { table: Table::Keys, key: key.to_vec() }
}

fn with_cause(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}
