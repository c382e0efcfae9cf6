//! All that a program said, and whether a secret is in it, in whatever spelling.

use std::any::type_name;
use std::collections::{BTreeSet, HashMap};
use std::error::Error;
use std::fmt::{Debug, Display};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// Bytes of a secret in a row that must not be seen.
const WINDOW: usize = 8;

/// What was said, and by which types.
#[derive(Default)]
pub struct Heard {
    said: Vec<u8>,
    /// The types whose `Debug` was heard, as `crate::Name`.
    pub debugged: BTreeSet<String>,
    /// The types whose `Display` was heard.
    pub displayed: BTreeSet<String>,
}

impl Heard {
    /// Hears bytes: a log, an output, a file.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.said.extend_from_slice(bytes);
        self.said.push(b'\n');
    }

    /// Hears `{:?}` and `{:#?}`.
    pub fn debug<T: Debug>(&mut self, value: &T) {
        self.bytes(format!("{value:?}\n{value:#?}").as_bytes());
        self.debugged.insert(short_name::<T>());
    }

    /// Hears `{}` too.
    pub fn display<T: Debug + Display>(&mut self, value: &T) {
        self.debug(value);
        self.bytes(value.to_string().as_bytes());
        self.displayed.insert(short_name::<T>());
    }

    /// Hears an error and all its causes.
    pub fn error<T: Error>(&mut self, error: &T) {
        self.display(error);
        let mut next = error.source();
        while let Some(cause) = next {
            self.bytes(format!("{cause}\n{cause:?}\n{cause:#?}").as_bytes());
            next = cause.source();
        }
    }

    /// Bytes heard.
    #[must_use]
    pub fn len(&self) -> usize {
        self.said.len()
    }

    /// Whether nothing was heard.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.said.is_empty()
    }

    /// Whether this was said as it stands.
    #[must_use]
    pub fn contains(&self, text: &str) -> bool {
        self.said.windows(text.len()).any(|window| window == text.as_bytes())
    }

    /// Which of the named secrets show eight bytes in a row, forwards or backwards, and in which spelling.
    pub fn find<'a>(&self, secrets: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> BTreeSet<String> {
        let mut windows = HashMap::new();
        for (name, secret) in secrets {
            for window in windows_of(secret) {
                let mut reversed = window;
                reversed.reverse();
                windows.insert(window, name);
                // As a number prints that was read from memory.
                windows.insert(reversed, name);
            }
        }
        let seen = |spelling: &'static str, bytes: &[u8]| -> Vec<String> {
            let names = windows_of(bytes).filter_map(|window| windows.get(&window));
            names.map(|name| format!("{name}, {spelling}")).collect()
        };
        readings(&self.said).iter().flat_map(|(spelling, bytes)| seen(spelling, bytes)).collect()
    }
}

fn windows_of(bytes: &[u8]) -> impl Iterator<Item = [u8; WINDOW]> {
    bytes.windows(WINDOW).filter_map(|window| window.first_chunk().copied())
}

/// The crate and the name, without modules and parameters.
fn short_name<T>() -> String {
    let name = type_name::<T>().trim_start_matches('&');
    let name = name.split('<').next().unwrap_or(name);
    match (name.split("::").next(), name.rsplit("::").next()) {
        (Some(of_crate), Some(name)) => format!("{of_crate}::{name}"),
        _ => name.to_owned(),
    }
}

/// What was said, read in every spelling of bytes, each with its name.
fn readings(said: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let unbroken: Vec<u8> = said.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let mut readings = vec![("as it is", said.to_vec()), ("escaped", unescaped(said))];
    for text in [said, &unbroken] {
        readings.push(("base64", decoded(text, b"+/", |run| STANDARD_NO_PAD.decode(run).ok())));
        readings.push(("base64url", decoded(text, b"-_", |run| URL_SAFE_NO_PAD.decode(run).ok())));
        readings.push(("hex", hex_runs(text)));
    }
    readings.push((
        "hex, byte by byte",
        listed(said, |word| match word.strip_prefix("0x").unwrap_or(word) {
            pair if pair.len() == 2 => u8::from_str_radix(pair, 16).ok(),
            _ => None,
        }),
    ));
    readings.push(("list of numbers", listed(said, |word| word.parse().ok())));
    readings
}

/// `\x1f`, `\u{1f}`, `\n` and the like as what they stand for.
fn unescaped(said: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(said.len());
    let mut rest = said;
    while let Some((first, behind)) = rest.split_first() {
        let (byte, behind) = match (first, behind) {
            (b'\\', [b'x', high, low, behind @ ..]) => (hex_byte(&[*high, *low]), behind),
            (b'\\', [b'u', b'{', digits @ ..]) => {
                let len = digits.iter().position(|byte| *byte == b'}').unwrap_or_default();
                (hex_byte(digits.get(..len).unwrap_or_default()), digits.get(len + 1..).unwrap_or_default())
            }
            (b'\\', [b'n', behind @ ..]) => (Some(b'\n'), behind),
            (b'\\', [b'r', behind @ ..]) => (Some(b'\r'), behind),
            (b'\\', [b't', behind @ ..]) => (Some(b'\t'), behind),
            (b'\\', [b'0', behind @ ..]) => (Some(0), behind),
            (b'\\', [escaped, behind @ ..]) => (Some(*escaped), behind),
            (byte, behind) => (Some(*byte), behind),
        };
        bytes.extend(byte);
        rest = behind;
    }
    bytes
}

fn hex_byte(digits: &[u8]) -> Option<u8> {
    u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// Every run of base64 that is long enough, from each of the four places at which its groups may begin.
fn decoded(text: &[u8], more: &[u8], decode: impl Fn(&[u8]) -> Option<Vec<u8>>) -> Vec<u8> {
    let runs = text.split(|byte| !byte.is_ascii_alphanumeric() && !more.contains(byte));
    let mut bytes = Vec::new();
    for run in runs.filter(|run| run.len() * 3 / 4 >= WINDOW) {
        for shift in 0..4 {
            let groups = run.get(shift..).unwrap_or_default();
            // What is left of a group at the end may be no base64 for itself.
            for end in 0..4 {
                let Some(groups) = groups.get(..groups.len().saturating_sub(end)) else { break };
                if let Some(decoded) = decode(groups) {
                    bytes.extend(decoded);
                    bytes.extend([0; WINDOW]);
                    break;
                }
            }
        }
    }
    bytes
}

/// Every run of hex digits that is long enough, from its first digit and from its second.
fn hex_runs(text: &[u8]) -> Vec<u8> {
    let runs = text.split(|byte| !byte.is_ascii_hexdigit()).filter(|run| run.len() >= 2 * WINDOW);
    let from = |run: &[u8], start: usize| -> Vec<u8> {
        run.get(start..).unwrap_or_default().as_chunks::<2>().0.iter().filter_map(|pair| hex_byte(pair)).collect()
    };
    runs.flat_map(|run| [from(run, 0), vec![0; WINDOW], from(run, 1), vec![0; WINDOW]]).flatten().collect()
}

/// Words that stand each for one byte, whatever separates them.
fn listed(said: &[u8], byte_of: impl Fn(&str) -> Option<u8>) -> Vec<u8> {
    let words = said.split(|byte| !byte.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let bytes = words.map(|word| std::str::from_utf8(word).ok().and_then(&byte_of));
    // What is no byte ends a list.
    bytes.flat_map(|byte| byte.map_or(vec![0; WINDOW], |byte| vec![byte])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE};

    #[test]
    fn a_secret_is_found_in_every_spelling() {
        let secret: Vec<u8> = (0..40_u8).map(|byte| byte.wrapping_mul(151) ^ 0x5c).collect();
        let joined = |part: &[u8], separator: &str| {
            part.iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(separator)
        };
        let number = |part: &[u8]| u64::from_le_bytes(part[..8].try_into().unwrap());
        let wrapped = |text: String| {
            text.as_bytes()
                .chunks(7)
                .map(|line| format!("{}\n", std::str::from_utf8(line).unwrap()))
                .collect::<String>()
        };
        for start in 0..4 {
            let part = &secret[start..start + 20];
            let mut spellings: Vec<Vec<u8>> = vec![part.to_vec(), part[3..11].to_vec()];
            spellings.extend(
                [
                    format!("{part:?}"),
                    format!("{part:#?}"),
                    format!("{part:02x?}"),
                    format!("{part:#04x?}"),
                    part.escape_ascii().to_string(),
                    joined(part, ""),
                    joined(part, ":"),
                    joined(part, ", "),
                    joined(part, "").to_lowercase(),
                    format!("key:f{}", joined(part, "")),
                    format!("{:x}", number(part)),
                    format!("{:#018x}", number(part)),
                    STANDARD.encode(part),
                    URL_SAFE.encode(part),
                    STANDARD.encode([&b"x"[..], part].concat()),
                    URL_SAFE.encode([&b"xy"[..], part].concat()),
                    wrapped(STANDARD.encode(part)),
                    wrapped(joined(part, "")),
                ]
                .map(String::into_bytes),
            );
            for spelling in spellings {
                let mut heard = Heard::default();
                heard.bytes(b"it says ");
                heard.bytes(&spelling);
                let found = heard.find([("key", secret.as_slice())]);
                assert!(!found.is_empty(), "{}", String::from_utf8_lossy(&spelling));
            }
        }
        let mut heard = Heard::default();
        heard.bytes(format!("{:?} {}", &secret[..7], hex::encode(&secret[..7])).as_bytes());
        assert_eq!(heard.find([("key", secret.as_slice())]), BTreeSet::new());
    }

    #[test]
    fn types_are_known_by_their_own_names() {
        let mut heard = Heard::default();
        heard.debug(&&Some(1));
        heard.error(&std::fmt::Error);
        assert_eq!(heard.debugged, BTreeSet::from(["core::Error".to_owned(), "core::Option".to_owned()]));
        assert_eq!(heard.displayed, BTreeSet::from(["core::Error".to_owned()]));
    }
}
