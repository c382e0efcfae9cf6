//! What people type.

use claviger::{Passphrase, PassphraseError, PassphraseRules, SvmName};

use crate::memory::frugally;
use crate::secrets::arena;

/// A passphrase.
pub fn passphrase(data: &[u8]) {
    let read = frugally(data.len(), || Passphrase::copy_from(arena(), data));
    let is_printable = data.iter().all(|byte| (b' '..=b'~').contains(byte));
    match read {
        Ok(passphrase) => {
            assert!(is_printable && (1..=256).contains(&data.len()));
            assert_eq!(passphrase.check(PassphraseRules::Standard).is_ok(), data.len() >= 32);
            assert_eq!(passphrase.check(PassphraseRules::CommonCriteria).is_ok(), data.len() >= 64);
            assert_eq!(format!("{passphrase:?}"), "Passphrase(..)");
            assert!(passphrase.ct_eq(&Passphrase::copy_from(arena(), data).unwrap()));
        }
        Err(PassphraseError::NotAscii) => assert!(!is_printable && (1..=256).contains(&data.len())),
        Err(PassphraseError::Length { found, .. }) => {
            assert!(found == data.len() && !(1..=256).contains(&found));
        }
        Err(error) => panic!("{error:?}"),
    }
}

/// The name of an SVM.
pub fn svm_name(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let read = frugally(text.len(), || text.parse::<SvmName>());
    let is_word = text.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
    let begins = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    assert_eq!(read.is_ok(), is_word && begins && text.len() <= 47 && !is_uuid(text), "{text:?}");

    // In a record it is read by the same rules.
    let json = serde_json::to_string(text).unwrap();
    assert_eq!(serde_json::from_str::<SvmName>(&json).ok(), read.clone().ok());
    if let Ok(name) = read {
        assert_eq!((name.as_str(), name.to_string()), (text, text.to_owned()));
        assert_eq!(serde_json::to_string(&name).unwrap(), json);
    }
}

/// 32 hex digits, all together or in groups of 8, 4, 4, 4 and 12.
fn is_uuid(text: &str) -> bool {
    let groups: Vec<_> = text.split('-').map(str::len).collect();
    let is_hex = text.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
    is_hex && (groups == [32] || groups == [8, 4, 4, 4, 12])
}
