//! The text of a backup, and the bytes that it stands for. Opening one takes the passphrase, so it is not tried here.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use claviger::{BackupTextError, fuzzing};
use sha2::{Digest as _, Sha256};

use crate::memory::frugally;

const BEGIN: &str = "-----BEGIN BACKUP-----";
const END: &str = "-----END BACKUP-----";

/// A text as it comes.
pub fn backup_text(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(written) = frugally(text.len(), || fuzzing::backup(text)) else { return };
    let inner = |text: &str| {
        let text = text.split_once(BEGIN).expect("a beginning").1.split_once(END).expect("an end").0;
        BASE64.decode(text.split_ascii_whitespace().collect::<String>()).expect("base64")
    };
    assert_eq!(inner(text), inner(&written));
    assert_eq!(fuzzing::backup(&written).unwrap(), written);
}

/// The bytes before the digest, which is added here.
pub fn backup_bytes(data: &[u8]) {
    let text = text_of(data);
    let read = frugally(text.len(), || fuzzing::backup(&text));
    match expected(data) {
        Ok(()) => assert_eq!(read.unwrap(), text),
        Err(refusal) => assert_eq!(read.unwrap_err().to_string(), refusal.to_string()),
    }
    // Whatever is changed afterwards is seen.
    if let Some((last, rest)) = data.split_last() {
        let digest = Sha256::digest(data);
        let damaged = [rest, &[last ^ 1], &digest].concat();
        assert!(fuzzing::backup(&lines(&damaged)).is_err());
    }
}

/// The text of a backup with these bytes before its digest.
pub(crate) fn text_of(bytes: &[u8]) -> String {
    lines(&[bytes, &Sha256::digest(bytes)].concat())
}

fn lines(bytes: &[u8]) -> String {
    let base64 = BASE64.encode(bytes);
    let lines: Vec<_> = base64.as_bytes().chunks(64).map(|line| str::from_utf8(line).expect("ASCII")).collect();
    format!("{BEGIN}\n{}\n{END}\n", lines.join("\n"))
}

/// The format's own words, once more: what a reader says of these bytes when the digest is right.
fn expected(bytes: &[u8]) -> Result<(), BackupTextError> {
    let Some((header, body)) = bytes.split_first_chunk::<118>() else { return Err(BackupTextError::Truncated) };
    match *header {
        [b'C', b'L', b'V', b'B', 1, 1, ..] => {}
        [b'C', b'L', b'V', b'B', 1, found, ..] => return Err(BackupTextError::Suite { found }),
        [b'C', b'L', b'V', b'B', found, ..] => return Err(BackupTextError::Format { found }),
        _ => return Err(BackupTextError::Magic),
    }
    let number = |at: usize| u32::from_be_bytes(header[at..at + 4].try_into().expect("four bytes"));
    if !(600_000..=10_000_000).contains(&number(6)) {
        return Err(BackupTextError::Iterations { found: number(6) });
    }
    let found = number(114) as usize;
    if found > 64 << 20 {
        return Err(BackupTextError::TooLarge { found });
    }
    match found + 12 + 16 == body.len() {
        true => Ok(()),
        false => Err(BackupTextError::Truncated),
    }
}
