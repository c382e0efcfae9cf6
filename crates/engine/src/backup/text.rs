//! A backup's text and bytes (`docs/formats.md`, backup).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use claviger_secret::{Arena, ArenaError};
use claviger_wrap::{BodyKey, Iterations, Key256, Passphrase, RandomError, UnsealError};
use sha2::{Digest as _, Sha256};

use crate::error::{Advice, Blame, Fault};
use crate::keystores::KeystoreError;
use crate::onboard;
use crate::records::OnboardRecord;

const BEGIN: &str = "-----BEGIN BACKUP-----";
const END: &str = "-----END BACKUP-----";
const LINE: usize = 64;

const MAGIC: [u8; 4] = *b"CLVB";
const FORMAT: u8 = 1;
const SUITE: u8 = 1;
const HEADER_LEN: usize = 118;
const DIGEST_LEN: usize = 32;
/// Nonce and tag of AES-256-GCM.
const SEAL_LEN: usize = 12 + 16;
const MAX_BODY: usize = 64 << 20;
/// Base64 of the longest backup, and as much again for white space and text around it.
const MAX_TEXT: usize = 4 * MAX_BODY;

/// Writes the backup of what `onboard` protects.
pub(super) fn write(
    arena: &Arena,
    onboard: &OnboardRecord,
    ckek: &Key256,
    hierarchy: &[u8],
) -> Result<String, BackupTextError> {
    let length = u32::try_from(hierarchy.len()).ok().filter(|_| hierarchy.len() <= MAX_BODY);
    let length = length.ok_or(BackupTextError::TooLarge { found: hierarchy.len() })?;
    let OnboardRecord { iterations, salt, check, ckek_by_passphrase, .. } = *onboard;
    let mut backup = Backup { iterations, salt, check, ckek: ckek_by_passphrase, length, body: Vec::new() };
    backup.body =
        BodyKey::of_backup(arena, ckek)?.seal(&backup.header(), hierarchy, &mut claviger_wrap::SystemRandom)?;
    Ok(backup.text())
}

/// A backup whose text and digest are right. Whether it opens depends on the passphrase.
pub(crate) struct Backup {
    iterations: Iterations,
    salt: [u8; 32],
    check: [u8; 32],
    ckek: [u8; 40],
    /// Of the ciphertext in the body.
    length: u32,
    body: Vec<u8>,
}

impl Backup {
    pub(crate) fn parse(text: &str) -> Result<Self, BackupTextError> {
        if text.len() > MAX_TEXT {
            return Err(BackupTextError::TooLarge { found: text.len() });
        }
        let (_, rest) = text.split_once(BEGIN).ok_or(BackupTextError::NoMarks)?;
        let (inner, _) = rest.split_once(END).ok_or(BackupTextError::NoMarks)?;
        let base64: Vec<u8> = inner.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
        let bytes = BASE64.decode(&base64).map_err(BackupTextError::Base64)?;

        let (signed, digest) = bytes.split_last_chunk::<DIGEST_LEN>().ok_or(BackupTextError::Truncated)?;
        let (header, body) = signed.split_first_chunk::<HEADER_LEN>().ok_or(BackupTextError::Truncated)?;
        let [m0, m1, m2, m3, format, suite, fields @ ..] = header;
        if [*m0, *m1, *m2, *m3] != MAGIC {
            return Err(BackupTextError::Magic);
        }
        if *format != FORMAT {
            return Err(BackupTextError::Format { found: *format });
        }
        if *suite != SUITE {
            return Err(BackupTextError::Suite { found: *suite });
        }
        if Sha256::digest(signed).as_slice() != digest {
            return Err(BackupTextError::Damaged);
        }
        let (iterations, rest) = take::<4>(fields)?;
        let (salt, rest) = take::<32>(rest)?;
        let (check, rest) = take::<32>(rest)?;
        let (ckek, rest) = take::<40>(rest)?;
        let (length, _) = take::<4>(rest)?;
        let iterations = u32::from_be_bytes(iterations);
        let iterations = Iterations::new(iterations).ok_or(BackupTextError::Iterations { found: iterations })?;
        let length = u32::from_be_bytes(length);
        let found = usize::try_from(length).unwrap_or(usize::MAX);
        if found > MAX_BODY {
            return Err(BackupTextError::TooLarge { found });
        }
        if found + SEAL_LEN != body.len() {
            return Err(BackupTextError::Truncated);
        }
        Ok(Self { iterations, salt, check, ckek, length, body: body.to_vec() })
    }

    /// The bytes before the body, which its seal binds.
    fn header(&self) -> Vec<u8> {
        let mut header = Vec::with_capacity(HEADER_LEN);
        header.extend_from_slice(&MAGIC);
        header.extend_from_slice(&[FORMAT, SUITE]);
        header.extend_from_slice(&self.iterations.get().to_be_bytes());
        header.extend_from_slice(&self.salt);
        header.extend_from_slice(&self.check);
        header.extend_from_slice(&self.ckek);
        header.extend_from_slice(&self.length.to_be_bytes());
        header
    }

    pub(crate) fn text(&self) -> String {
        let mut bytes = self.header();
        bytes.extend_from_slice(&self.body);
        let digest = Sha256::digest(&bytes);
        bytes.extend_from_slice(&digest);

        let base64 = BASE64.encode(&bytes);
        let mut text = String::with_capacity(base64.len() + base64.len() / LINE + BEGIN.len() + END.len() + 4);
        text.push_str(BEGIN);
        for line in base64.as_bytes().chunks(LINE) {
            text.push('\n');
            text.extend(line.iter().map(|byte| char::from(*byte)));
        }
        text.push('\n');
        text.push_str(END);
        text.push('\n');
        text
    }

    /// The CKEK and the body.
    pub(super) fn open(&self, arena: &Arena, passphrase: &Passphrase) -> Result<(Key256, Vec<u8>), BackupTextError> {
        let ckek = onboard::from_backup(arena, self.iterations, self.salt, self.check, self.ckek, passphrase).map_err(
            |error| match error {
                KeystoreError::WrongPassphrase => BackupTextError::WrongPassphrase,
                KeystoreError::Arena(full) => BackupTextError::Arena(full),
                _ => BackupTextError::Damaged,
            },
        )?;
        let body = BodyKey::of_backup(arena, &ckek)?.open(&self.header(), &self.body).map_err(BackupTextError::Body)?;
        Ok((ckek, body))
    }
}

fn take<const N: usize>(bytes: &[u8]) -> Result<([u8; N], &[u8]), BackupTextError> {
    bytes.split_first_chunk().map(|(field, rest)| (*field, rest)).ok_or(BackupTextError::Truncated)
}

/// Why a backup's text does not open. Nothing was made then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupTextError {
    /// There is no backup between the two marks.
    #[error("the text has no backup between \"{BEGIN}\" and \"{END}\"; copy it whole, with both lines")]
    NoMarks,
    /// What is between the marks is not base64.
    #[error("the backup is not base64; copy it whole and unchanged")]
    Base64(#[source] base64::DecodeError),
    /// Something is missing at the end.
    #[error("the backup is truncated; copy it whole")]
    Truncated,
    /// More bytes than any backup has.
    #[error("the backup has {found} bytes, more than any backup may have")]
    TooLarge {
        /// Bytes there are.
        found: usize,
    },
    /// The first four bytes are not `CLVB`.
    #[error("magic is not CLVB, so this is no backup of claviger")]
    Magic,
    /// A format version that this release does not know.
    #[error("format version {found} of the backup is unknown; this release reads version 1")]
    Format {
        /// What the field holds.
        found: u8,
    },
    /// A suite that this release does not know.
    #[error("suite {found} of the backup is unknown; this release reads suite 1")]
    Suite {
        /// What the field holds.
        found: u8,
    },
    /// An iteration count outside what is allowed.
    #[error("iterations of the backup are {found}, outside 600,000 to 10,000,000")]
    Iterations {
        /// What the field holds.
        found: u32,
    },
    /// The bytes have changed.
    #[error("the backup is damaged: its digest differs; use another copy of it")]
    Damaged,
    /// The passphrase is not the one of the backup's time.
    #[error("the passphrase is wrong; a backup opens with the passphrase that was in force when it was made")]
    WrongPassphrase,
    /// The passphrase is right, and the body does not open.
    #[error("the body of the backup does not open")]
    Body(#[source] UnsealError),
    /// There is no room in key memory.
    #[error("there is no room in key memory")]
    Arena(#[from] ArenaError),
    /// The random source failed.
    #[error(transparent)]
    Random(#[from] RandomError),
}

impl Blame for BackupTextError {
    fn blame(&self) -> (Fault, Advice) {
        match self {
            Self::NoMarks
            | Self::Base64(_)
            | Self::TooLarge { .. }
            | Self::Magic
            | Self::Format { .. }
            | Self::Suite { .. }
            | Self::Iterations { .. } => (Fault::Caller, Advice::Correct),
            Self::Truncated | Self::Damaged | Self::Body(_) => (Fault::Data, Advice::Repair),
            Self::WrongPassphrase => (Fault::Caller, Advice::GiveCredentials),
            Self::Arena(error) => error.blame(),
            Self::Random(_) => (Fault::Node, Advice::Retry),
        }
    }
}
