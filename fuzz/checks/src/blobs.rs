//! Key blobs and key records.

use claviger::{KekVersion, KeyAlgorithm, KeyType, KeyVersion, SvmId, fuzzing};
use claviger_wrap::{BlobError, KekId, KeyBlob, KeyHeader, KeyPlace, Nonce, ObjectId, OpenError, PlainKey};

use crate::input::Input;
use crate::memory::frugally;
use crate::secrets::{arena, kek, secret};

/// A blob as it comes, or one that is sealed here and then damaged or read in another place: mode (1), how (3), then a
/// blob, or its place, nonce and key.
pub fn key_blob(data: &[u8]) {
    let mut input = Input::new(data);
    let (mode, at, other) = (input.byte(), usize::from(input.u16()), input.byte());
    if mode % 8 == 0 {
        check_layout(input.rest());
        return;
    }
    let header = KeyHeader {
        algorithm: [KeyAlgorithm::XtsAes256, KeyAlgorithm::Aes256][usize::from(input.byte() % 2)],
        place: KeyPlace {
            svm: SvmId::from_bytes(input.array()),
            key_type: KeyType::ALL[usize::from(input.byte() % 3)],
            object: ObjectId::from_bytes(input.array()),
            version: KeyVersion::new(u32::from_be_bytes(input.array())).unwrap_or(KeyVersion::FIRST),
        },
        kek_version: kek().version(),
        kek_id: kek().id(),
    };
    let nonce = Nonce::danger_from_bytes(input.array());
    let mut plain = input.array::<64>();
    plain[0] = !plain[32]; // An XTS key's halves differ.
    let key = PlainKey::new(header.algorithm, secret(&plain[..header.algorithm.key_len()])).unwrap();
    let mut sealed = Vec::new();
    kek().seal(&key, &header.place, nonce, &mut sealed).unwrap();
    assert_eq!(sealed[..64], layout_of(&header));

    let mut place = header.place;
    let mut blob = sealed.clone();
    match mode % 8 {
        1 => {}
        2 => blob.truncate(at % blob.len()),
        3 => blob.resize(blob.len() + 1 + at, other),
        4 => place.svm = SvmId::from_bytes([other; 16]),
        5 => place.object = ObjectId::from_bytes([other; 16]),
        6 => place.version = KeyVersion::new(other.into()).unwrap_or(KeyVersion::FIRST),
        _ => {
            let at = at % blob.len();
            blob[at] ^= other;
        }
    }
    check_layout(&blob);
    let Ok(parsed) = KeyBlob::parse(&blob) else { return };
    let opened = kek().open(arena(), &parsed, &place);
    let found = *parsed.header();
    match opened {
        Ok(opened) => {
            assert!(blob == sealed && place == header.place, "a blob opens that was not sealed so");
            assert!(opened.ct_eq(&key), "a blob opens as another key");
        }
        Err(OpenError::OtherPlace { found: named, .. }) => assert!(found.place != place && *named == found.place),
        Err(OpenError::OtherKek { .. }) => {
            assert!(found.place == place && (found.kek_id, found.kek_version) != (kek().id(), kek().version()));
        }
        Err(OpenError::Damaged) => {
            assert!(found.place == place && (found.kek_id, found.kek_version) == (kek().id(), kek().version()));
            assert_ne!(blob, sealed, "a blob does not open that was sealed so");
        }
        Err(error) => panic!("{error:?}"),
    }
}

/// A key record under a key: length of the key (1), key, record.
pub fn key_record(data: &[u8]) {
    let mut input = Input::new(data);
    let (key, record) = (input.short(), input.rest());
    let read = frugally(data.len(), || fuzzing::key_record(key, record));

    let expected = key.len() == 33 && (1..=3).contains(&key[16]) && {
        let is_here = |blob: &[u8]| {
            blob[8..24] == key[..16] && blob[6] == key[16] && blob[24..40] == key[17..] && layout(blob).is_ok()
        };
        match blob_len(record) {
            Some(first) if first == record.len() => is_here(record),
            Some(first) if first < record.len() => {
                let (old, new) = record.split_at(first);
                let is_next = || u32_at(old, 40).checked_add(1) == Some(u32_at(new, 40));
                layout(new).is_ok() && is_here(old) && is_here(new) && is_next()
            }
            _ => false,
        }
    };
    assert_eq!(read.is_ok(), expected, "{:?}", read.err());
    if let Ok((svm, object, headers)) = read {
        let named = [svm.as_bytes().as_slice(), &[object.key_type().number()], object.uuid().as_bytes()].concat();
        assert_eq!(named, key);
        let mut rest = record;
        for header in headers {
            assert_eq!(layout_of(&header), rest[..64]);
            rest = &rest[header.blob_len()..];
        }
        assert_eq!(rest, [0; 0]);
    }
}

fn check_layout(bytes: &[u8]) {
    let parsed = frugally(bytes.len(), || KeyBlob::parse(bytes));
    assert_eq!(parsed.map(|_| ()), layout(bytes));
    let Ok(blob) = parsed else { return };
    let header = blob.header();
    assert_eq!((blob.as_bytes(), header.blob_len()), (bytes, bytes.len()));
    assert_eq!(header.encode(), bytes[..64]);
    assert_eq!(layout_of(header), bytes[..64]);

    let followed = [bytes, b"CLVG"].concat();
    let (first, rest) = KeyBlob::parse_first(&followed).unwrap();
    assert_eq!((first.header(), first.as_bytes(), rest), (header, bytes, b"CLVG".as_slice()));
}

/// The format's own words, once more: what a reader says of these bytes.
fn layout(bytes: &[u8]) -> Result<(), BlobError> {
    let found = bytes.len();
    if found < 64 {
        return Err(BlobError::Length { found, expected: 64 });
    }
    match *bytes {
        [b'C', b'L', b'V', b'G', 1, 1, 1..=3, 1..=2, ..] => {}
        [b'C', b'L', b'V', b'G', 1, 1, 1..=3, found, ..] => return Err(BlobError::KeyAlgorithm { found }),
        [b'C', b'L', b'V', b'G', 1, 1, found, ..] => return Err(BlobError::KeyType { found }),
        [b'C', b'L', b'V', b'G', 1, found, ..] => return Err(BlobError::Suite { found }),
        [b'C', b'L', b'V', b'G', found, ..] => return Err(BlobError::Format { found }),
        _ => return Err(BlobError::Magic),
    }
    if u32_at(bytes, 40) == 0 {
        return Err(BlobError::KeyVersion);
    }
    if u32_at(bytes, 44) == 0 {
        return Err(BlobError::KekVersion);
    }
    match blob_len(bytes) {
        Some(expected) if expected == found => Ok(()),
        Some(expected) => Err(BlobError::Length { found, expected }),
        None => unreachable!("the algorithm is known"),
    }
}

/// Bytes of a blob that begins so.
fn blob_len(bytes: &[u8]) -> Option<usize> {
    match *bytes.get(7)? {
        1 => Some(156),
        2 => Some(124),
        _ => None,
    }
}

fn layout_of(header: &KeyHeader) -> [u8; 64] {
    let KeyHeader { algorithm, place: KeyPlace { svm, key_type, object, version }, kek_version, kek_id } = *header;
    let mut bytes = [0; 64];
    bytes[..6].copy_from_slice(b"CLVG\x01\x01");
    bytes[6] = key_type.number();
    bytes[7] = algorithm.number();
    bytes[8..24].copy_from_slice(svm.as_bytes());
    bytes[24..40].copy_from_slice(object.as_bytes());
    bytes[40..44].copy_from_slice(&KeyVersion::get(version).to_be_bytes());
    bytes[44..48].copy_from_slice(&KekVersion::get(kek_version).to_be_bytes());
    bytes[48..].copy_from_slice(KekId::as_bytes(&kek_id));
    bytes
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}
