//! Hex of secrets, in a time that depends on their length alone.

use std::fmt;

/// Shows bytes in hex.
pub(super) struct Hex<'a>(pub(super) &'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write as _;
        for byte in self.0 {
            f.write_char(digit(byte >> 4).into())?;
            f.write_char(digit(byte & 0x0f).into())?;
        }
        Ok(())
    }
}

/// Reads hex in small letters into `bytes`, which has half its length. `None` where it is no such hex.
pub(super) fn read(text: &str, bytes: &mut [u8]) -> Option<()> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() || pairs.len() != bytes.len() {
        return None;
    }
    let mut wrong = 0;
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        let (high, low) = (nibble(*high), nibble(*low));
        wrong |= (high | low) & 0xf0;
        *byte = (high << 4) | (low & 0x0f);
    }
    (wrong == 0).then_some(())
}

/// No table and no branch: 39 is the way from behind `9` to `a`.
const fn digit(nibble: u8) -> u8 {
    nibble + b'0' + (mask(nibble > 9) & 39)
}

/// Above 15 where it is no digit.
const fn nibble(digit: u8) -> u8 {
    let number = digit.wrapping_sub(b'0');
    let letter = digit.wrapping_sub(b'a');
    let (is_number, is_letter) = (mask(number < 10), mask(letter < 6));
    (number & is_number) | (letter.wrapping_add(10) & is_letter) | !(is_number | is_letter)
}

const fn mask(condition: bool) -> u8 {
    (condition as u8).wrapping_neg()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_shown_and_read_again() {
        let all: Vec<u8> = (0..=255).collect();
        let text = Hex(&all).to_string();
        assert_eq!(text, ::hex::encode(&all));
        let mut read_again = vec![0; all.len()];
        read(&text, &mut read_again).unwrap();
        assert_eq!(read_again, all);
    }

    #[test]
    fn what_is_no_hex_is_refused() {
        for first in (0..=127).map(char::from).filter(|first| !matches!(first, '0'..='9' | 'a'..='f')) {
            assert_eq!(read(&format!("{first}0"), &mut [0]), None, "{first:?}");
            assert_eq!(read(&format!("0{first}"), &mut [0]), None, "{first:?}");
        }
        for (text, room) in [("0", 0), ("0", 1), ("00", 2), ("0000", 1), ("", 1)] {
            assert_eq!(read(text, &mut vec![0; room]), None, "{text}");
        }
        assert_eq!(read("", &mut []), Some(()));
    }
}
