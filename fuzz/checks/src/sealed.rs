//! Sealed records.

use claviger_wrap::{RecordPlace, SystemRandom, UnsealError};

use crate::input::Input;
use crate::memory::frugally;
use crate::secrets::{SEALING_ID, sealing_key};

/// A record as it comes, or one that is sealed here and then damaged or read in another place: mode (1), how (3), table
/// (1), length of the key (1), key, then a record or a plaintext.
pub fn sealed_record(data: &[u8]) {
    let mut input = Input::new(data);
    let (mode, at, other) = (input.byte(), usize::from(input.u16()), input.byte());
    let (table, key) = (input.byte(), input.short());
    let place = RecordPlace { table, key };
    let rest = input.rest();
    if mode % 8 == 0 {
        let opened = frugally(data.len(), || sealing_key().open(place, rest));
        match refusal(rest, table) {
            Some(expected) => assert_eq!(opened, Err(expected)),
            // The comparisons that guide the fuzzer show it the right tag, and it has made records that open.
            None => assert!(matches!(opened, Ok(_) | Err(UnsealError::Damaged))),
        }
        return;
    }

    let sealed = sealing_key().seal(place, rest, &mut SystemRandom).unwrap();
    assert_eq!(sealed.len(), 52 + rest.len());
    assert_eq!(sealed[..8], [b'C', b'L', b'V', b'S', 1, 1, table, 0]);
    let mut record = sealed.clone();
    let mut read_in = place;
    let longer = [key, &[other]].concat();
    match mode % 8 {
        1 => {}
        2 => record.truncate(at % record.len()),
        3 => record.push(other),
        4 => read_in.table = other,
        5 => read_in.key = &longer,
        6 => read_in.key = &key[..at.min(key.len())],
        _ => {
            let at = at % record.len();
            record[at] ^= other;
        }
    }
    let opened = frugally(data.len(), || sealing_key().open(read_in, &record));
    match refusal(&record, read_in.table) {
        Some(expected) => assert_eq!(opened, Err(expected)),
        None if record == sealed && read_in == place => assert_eq!(opened.as_deref(), Ok(rest)),
        None => assert_eq!(opened, Err(UnsealError::Damaged)),
    }
}

/// The format's own words, once more: why these bytes are refused before their tag is looked at.
fn refusal(bytes: &[u8], in_table: u8) -> Option<UnsealError> {
    if bytes.len() < 52 {
        return Some(UnsealError::Truncated);
    }
    match *bytes {
        [b'C', b'L', b'V', b'S', 1, 1, _, 0, ..] => {}
        [b'C', b'L', b'V', b'S', 1, 1, _, found, ..] => return Some(UnsealError::Zero { found }),
        [b'C', b'L', b'V', b'S', 1, found, ..] => return Some(UnsealError::Suite { found }),
        [b'C', b'L', b'V', b'S', found, ..] => return Some(UnsealError::Format { found }),
        _ => return Some(UnsealError::Magic),
    }
    if bytes[8..24] != SEALING_ID.to_be_bytes() {
        return Some(UnsealError::OtherSealingKey);
    }
    (bytes[6] != in_table).then_some(UnsealError::OtherTable { found: bytes[6] })
}
