//! Looking for many secrets in much memory at once.
//!
//! Every form of a secret is cut into pieces of eight bytes; a piece is looked for at every address. By chance one would
//! be found once in thousands of runs: a run compares some 2^50 pairs of 2^64.

use std::collections::HashMap;

use anyhow::{Result, bail};

use claviger_tests::secrets::{Form, Secrets};

/// Bytes of a piece.
pub(super) const PIECE: usize = 8;

/// What a piece is part of.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    pub(super) secret: String,
    pub(super) form: Form,
}

/// All pieces of all secrets.
pub(super) struct Search {
    pieces: HashMap<u64, Piece>,
    /// One bit for each value of [`Search::slot`] that a piece has: most of memory is passed over by it alone.
    filter: Vec<u64>,
}

const FILTER_BITS: u32 = 22;

impl Search {
    pub(super) fn new(secrets: &Secrets) -> Result<Self> {
        let mut search = Self { pieces: HashMap::new(), filter: vec![0; 1 << (FILTER_BITS - 6)] };
        for secret in secrets.all() {
            for (form, bytes) in &secret.forms {
                for piece in bytes.as_chunks::<PIECE>().0 {
                    if piece.iter().all(|byte| byte == &piece[0]) {
                        bail!("a piece of {} ({}) is one byte over and over", secret.name, form.name());
                    }
                    search.add(u64::from_ne_bytes(*piece), &secret.name, *form);
                }
            }
        }
        Ok(search)
    }

    fn add(&mut self, word: u64, secret: &str, form: Form) {
        let (index, bit) = Self::slot(word);
        if let Some(bits) = self.filter.get_mut(index) {
            *bits |= bit;
        }
        self.pieces.entry(word).or_insert_with(|| Piece { secret: secret.to_owned(), form });
    }

    fn slot(word: u64) -> (usize, u64) {
        // Fibonacci hashing: the top bits of a product with 2^64 over the golden ratio.
        let hash = word.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - FILTER_BITS);
        (usize::try_from(hash >> 6).unwrap_or_default(), 1 << (hash & 63))
    }

    pub(super) fn pieces(&self) -> usize {
        self.pieces.len()
    }

    /// Where which piece is, in the order of offsets.
    pub(super) fn find(&self, bytes: &[u8]) -> Vec<(usize, &Piece)> {
        let hit = |(at, window): (usize, &[u8])| {
            let word = u64::from_ne_bytes(window.try_into().ok()?);
            let (index, bit) = Self::slot(word);
            match self.filter.get(index) {
                Some(bits) if bits & bit != 0 => self.pieces.get(&word).map(|piece| (at, piece)),
                _ => None,
            }
        };
        // Whole pages of zeros are common, and hold nothing.
        let is_empty = |chunk: &[u8]| chunk.iter().all(|byte| *byte == 0);
        let mut found = Vec::new();
        for start in (0..bytes.len()).step_by(CHUNK) {
            let end = bytes.len().min(start + CHUNK + PIECE - 1);
            let chunk = bytes.get(start..end).unwrap_or_default();
            if !is_empty(chunk) {
                let windows = chunk.windows(PIECE).enumerate();
                found.extend(windows.filter_map(|(at, window)| hit((start + at, window))));
            }
        }
        found
    }
}

const CHUNK: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_is_found_at_every_address_and_across_chunks() {
        let mut secrets = Secrets::new().unwrap();
        let passphrase: Vec<u8> = (40..72).collect();
        secrets.passphrase(&passphrase);
        let search = Search::new(&secrets).unwrap();
        for at in [0, 1, 3, CHUNK - 17, CHUNK - 4, CHUNK - 1, CHUNK, 2 * CHUNK - 5, 3 * CHUNK - 32] {
            let mut memory = vec![0xee; 3 * CHUNK];
            memory[at..at + 32].copy_from_slice(&passphrase);
            let found: Vec<_> = search.find(&memory).into_iter().map(|(at, _)| at).collect();
            assert_eq!(found, [0, 8, 16, 24].map(|piece| at + piece));
        }
        assert!(search.find(&vec![0xee; 3 * CHUNK]).is_empty());
        // One piece alone, in another place than its own.
        assert_eq!(search.find(&[b"ab", &passphrase[8..16], b"cd"].concat()).len(), 1);
    }
}
