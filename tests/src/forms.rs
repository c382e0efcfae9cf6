//! What a key becomes where it is used: the schedules of AES (FIPS 197), the powers of the GHASH key as `polyval` keeps
//! them, and the padded keys and first states of HMAC (RFC 2104). Each gives the key away, or does its work.

use aes_gcm::KeyInit as _;
use aes_gcm::aes::Aes256;
use aes_gcm::aes::cipher::BlockCipherEncrypt as _;
use sha2::block_api::compress256;
use sha2::{Digest as _, Sha256};

type Block = [u8; 16];

/// Round keys of AES-256: FIPS 197, section 5.
const ROUND_KEYS: usize = 15;

/// FIPS 197, section 5.2, for a key of 256 bits.
pub(crate) fn encryption_schedule(key: &[u8; 32]) -> [Block; ROUND_KEYS] {
    let mut words: Vec<[u8; 4]> = key.as_chunks().0.to_vec();
    let mut rcon = 1;
    for at in words.len()..4 * ROUND_KEYS {
        let mut word = words.last().copied().unwrap_or_default();
        if at % 8 == 0 {
            word.rotate_left(1);
            word = word.map(sub);
            word[0] ^= rcon;
            rcon = times_x(rcon);
        } else if at % 8 == 4 {
            word = word.map(sub);
        }
        let before = words.get(at - 8).copied().unwrap_or_default();
        word.iter_mut().zip(before).for_each(|(byte, before)| *byte ^= before);
        words.push(word);
    }
    let mut schedule = [[0; 16]; ROUND_KEYS];
    for (round_key, words) in schedule.iter_mut().zip(words.chunks_exact(4)) {
        round_key.copy_from_slice(words.as_flattened());
    }
    schedule
}

/// FIPS 197, section 5.3.5: the schedule of the equivalent inverse cipher, which AES instructions want.
pub(crate) fn decryption_schedule(key: &[u8; 32]) -> [Block; ROUND_KEYS] {
    let mut schedule = encryption_schedule(key);
    schedule.reverse();
    if let [_, inner @ .., _] = schedule.as_mut_slice() {
        inner.iter_mut().for_each(|round_key| *round_key = inverse_mix_columns(round_key));
    }
    schedule
}

/// The encryption schedule as the software of the `aes` crate keeps it, where a processor has no AES instructions:
/// fix-sliced, <https://eprint.iacr.org/2020/1123>.
pub(crate) fn bitsliced_schedule(key: &[u8; 32]) -> [Block; ROUND_KEYS] {
    let mut schedule = encryption_schedule(key);
    for (round, round_key) in schedule.iter_mut().enumerate() {
        // The rounds leave ShiftRows out, and the S-box its last negations, so the round keys make up for both.
        let (shifts, negation) = match round {
            0 => (0, 0),
            14 => (0, 0x63),
            round => (round % 4, 0x63),
        };
        let block = *round_key;
        let byte = |row: usize, column: usize| {
            let from = (column + 4 - row * shifts % 4) % 4;
            block.get(4 * from + row).copied().unwrap_or_default() ^ negation
        };
        for (bit, word) in round_key.as_chunks_mut::<2>().0.iter_mut().enumerate() {
            let cell = |cell: usize| u16::from(byte(cell / 4, cell % 4) >> bit & 1) << cell;
            *word = (0..16).map(cell).sum::<u16>().to_le_bytes();
        }
    }
    schedule
}

/// The GHASH key of AES-256-GCM, and what `polyval` makes of it: its first four powers, and with each the factor of the
/// R/F algorithm, <https://eprint.iacr.org/2025/2171>.
pub(crate) fn ghash_powers(key: &[u8; 32]) -> Vec<Block> {
    let mut ghash_key = Block::default();
    Aes256::new(key.into()).encrypt_block((&mut ghash_key).into());
    let mut reversed = ghash_key;
    reversed.reverse();
    let first = polyval_times_x(u128::from_le_bytes(reversed));
    let powers = std::iter::successors(Some(first), |power| Some(polyval_dot(*power, first))).take(4);
    let with_factor = powers.flat_map(|power| [power, rf_factor(power)]);
    [ghash_key, reversed].into_iter().chain(with_factor.map(u128::to_le_bytes)).collect()
}

/// Two blocks: the key of HMAC-SHA-256 as it goes into the inner and into the outer hash.
pub(crate) fn hmac_pads(key: &[u8]) -> [[u8; 64]; 2] {
    let digest = Sha256::digest(key);
    let key = if key.len() > 64 { digest.as_slice() } else { key };
    [0x36, 0x5c].map(|pad| std::array::from_fn(|at| key.get(at).copied().unwrap_or_default() ^ pad))
}

/// The states of the inner and the outer hash behind the key: all that HMAC needs of it.
pub(crate) fn hmac_states(key: &[u8]) -> [[u8; 32]; 2] {
    /// FIPS 180-4, section 5.3.3.
    const INITIAL: [u32; 8] =
        [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];
    hmac_pads(key).map(|pad| {
        let mut state = INITIAL;
        compress256(&mut state, &[pad]);
        let mut bytes = [0; 32];
        bytes.copy_from_slice(state.map(u32::to_ne_bytes).as_flattened());
        bytes
    })
}

/// As SHA-256 reads its input: words of 32 bits, the first byte on top.
pub(crate) fn as_words(bytes: &[u8]) -> Vec<u8> {
    let words = bytes.as_chunks::<4>().0.iter().map(|word| u32::from_be_bytes(*word).to_ne_bytes());
    words.flatten().collect()
}

fn sub(byte: u8) -> u8 {
    // FIPS 197, section 5.1.1: the inverse in GF(2^8), which is the 254th power, then an affine map.
    let inverse = (0..253).fold(byte, |power, _| times(power, byte));
    [0, 1, 2, 3, 4].into_iter().fold(0x63, |sum, turn| sum ^ inverse.rotate_left(turn))
}

fn times_x(byte: u8) -> u8 {
    byte << 1 ^ if byte & 0x80 == 0 { 0 } else { 0x1b }
}

fn times(a: u8, b: u8) -> u8 {
    let multiples = std::iter::successors(Some(a), |multiple| Some(times_x(*multiple)));
    multiples.take(8).enumerate().filter(|(bit, _)| b >> bit & 1 == 1).fold(0, |sum, (_, multiple)| sum ^ multiple)
}

fn inverse_mix_columns(block: &Block) -> Block {
    let mut mixed = *block;
    for column in mixed.as_chunks_mut::<4>().0 {
        let old = *column;
        for (row, byte) in column.iter_mut().enumerate() {
            let terms = old.iter().enumerate().map(|(at, old)| match (at + 4 - row) % 4 {
                0 => times(*old, 0x0e),
                1 => times(*old, 0x0b),
                2 => times(*old, 0x0d),
                _ => times(*old, 0x09),
            });
            *byte = terms.fold(0, |sum, term| sum ^ term);
        }
    }
    mixed
}

/// RFC 8452, appendix A.
fn polyval_times_x(element: u128) -> u128 {
    let carry = element >> 127;
    element << 1 ^ carry ^ carry << 121 ^ carry << 126 ^ carry << 127
}

/// `dot` of RFC 8452, section 3: the product, divided by x^128.
fn polyval_dot(a: u128, b: u128) -> u128 {
    const POLYNOMIAL_OVER_X: u128 = 1 << 127 | 1 << 126 | 1 << 125 | 1 << 120;
    (0..128).fold(0, |sum, bit| {
        let sum = sum ^ if a >> bit & 1 == 1 { b } else { 0 };
        sum >> 1 ^ if sum & 1 == 1 { POLYNOMIAL_OVER_X } else { 0 }
    })
}

/// D = swap(H) + H0 x P1.
fn rf_factor(power: u128) -> u128 {
    const P1: u128 = 0xc200_0000_0000_0000;
    let low = power & u128::from(u64::MAX);
    let product = (0..64).filter(|bit| low >> bit & 1 == 1).fold(0, |sum, bit| sum ^ P1 << bit);
    power.rotate_left(64) ^ product
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(text: &str) -> Block {
        hex::decode(text).unwrap().try_into().unwrap()
    }

    fn element(text: &str) -> u128 {
        u128::from_le_bytes(block(text))
    }

    #[test]
    fn the_schedule_is_that_of_fips_197() {
        // Appendix A.3.
        let key = "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4";
        let schedule = encryption_schedule(&hex::decode(key).unwrap().try_into().unwrap());
        assert_eq!(schedule[..2].concat(), hex::decode(key).unwrap());
        assert_eq!(schedule[2], block("9ba354118e6925afa51a8b5f2067fcde"));
        assert_eq!(schedule[3], block("a8b09c1a93d194cdbe49846eb75d5b9a"));
        assert_eq!(schedule[14], block("fe4890d1e6188d0b046df344706c631e"));
    }

    #[test]
    fn the_inverse_schedule_is_that_of_fips_197() {
        // Appendix C.3.
        let key: [u8; 32] = std::array::from_fn(|at| u8::try_from(at).unwrap());
        let schedule = decryption_schedule(&key);
        assert_eq!(schedule[0], block("24fc79ccbf0979e9371ac23c6d68de36"));
        assert_eq!(schedule[1], block("34f1d1ffbfceaa2ffce9e25f2558016e"));
        assert_eq!(schedule[14], block("000102030405060708090a0b0c0d0e0f"));
    }

    #[test]
    fn polyval_is_that_of_rfc_8452() {
        let key = element("25629347589242761d31f826ba4b757b");
        let sum = polyval_dot(element("4f4f95668c83dfb6401762bb2d01a262"), key);
        let sum = polyval_dot(sum ^ element("d1a24ddd2721d006bbe45f20d3c9f362"), key);
        assert_eq!(sum, element("f7a3b47b846119fae5b7866cf5e5b77e"));
    }

    #[test]
    fn the_states_are_those_of_hmac() {
        // RFC 4231, test case 2, from the states alone.
        let [inner, outer] = hmac_states(b"Jefe").map(|state| {
            let words = state.as_chunks::<4>().0.iter().map(|word| u32::from_ne_bytes(*word));
            <[u32; 8]>::try_from(words.collect::<Vec<_>>()).unwrap()
        });
        let finish = |mut state: [u32; 8], message: &[u8]| {
            let mut last = [0; 64];
            last[..message.len()].copy_from_slice(message);
            last[message.len()] = 0x80;
            last[56..].copy_from_slice(&((64 + message.len() as u64) * 8).to_be_bytes());
            compress256(&mut state, &[last]);
            state.map(u32::to_be_bytes).as_flattened().to_vec()
        };
        let tag = finish(outer, &finish(inner, b"what do ya want for nothing?"));
        assert_eq!(hex::encode(tag), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }
}
