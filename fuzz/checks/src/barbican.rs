//! What a Barbican answers, and where one is said to be.

use std::fmt;
use std::str::FromStr;

use claviger::{KeystoneUrl, KeystoreName, SecretUrl};
use claviger_barbican::Metadata;
use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::memory::frugally;

/// What Barbican says of a secret.
pub fn barbican_metadata(data: &[u8]) {
    let Ok(metadata) = frugally(data.len(), || serde_json::from_slice::<Metadata>(data)) else { return };
    let is_fit = |now| {
        let fit = metadata.suits(now);
        // It is told to people.
        assert!(!fit.as_ref().is_err_and(|why| has_control(&why.to_string())), "{fit:?}");
        fit.is_ok()
    };
    // What is fit once is fit until it expires, and what has expired stays so.
    let (first, last) = (is_fit(Timestamp::MIN), is_fit(Timestamp::MAX));
    assert!(first || !last);
    assert_eq!(first && !last, first && metadata.expiration.is_some());
}

fn has_control(text: &str) -> bool {
    text.chars().any(char::is_control)
}

/// Where a secret and a Keystone are.
pub fn barbican_urls(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    url::<SecretUrl>(text);
    url::<KeystoneUrl>(text);
}

fn url<U: FromStr + fmt::Display + fmt::Debug + Serialize + DeserializeOwned + PartialEq>(text: &str)
where
    U::Err: fmt::Display,
{
    let json = serde_json::to_string(text).unwrap();
    // No longer text is parsed. What decodes names of hosts is not ours.
    match frugally(16 * 1024, || text.parse::<U>()) {
        Ok(url) => {
            let written = url.to_string();
            assert!(written.starts_with("https://") && written.len() <= 2048, "{written}");
            assert!(written.bytes().all(|byte| byte.is_ascii_graphic()), "{written}");
            assert!(!written.contains(['?', '#', '\\']), "{written}");
            let authority = written.split('/').nth(2).unwrap();
            assert!(!authority.is_empty() && !authority.contains('@'), "{written}");
            // What is written in a record is read as the same.
            assert_eq!(written.parse::<U>().ok().as_ref(), Some(&url));
            assert_eq!(serde_json::from_str::<U>(&json).ok(), Some(url));
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            assert!(serde_json::from_str::<U>(&json).is_err());
        }
    }
}

/// The name of a keystore.
pub fn keystore_name(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let read = frugally(text.len(), || text.parse::<KeystoreName>());
    let is_text = !text.chars().any(char::is_control) && text.trim() == text;
    assert_eq!(read.is_ok(), is_text && (1..=255).contains(&text.len()), "{text:?}");
    let json = serde_json::to_string(text).unwrap();
    assert_eq!(serde_json::from_str::<KeystoreName>(&json).ok(), read.ok());
}
