//! What the storage node knows, from a file that it writes (`docs/service.md`, facts).

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use claviger::{Facts, Platform};

use crate::config::FactsPath;
use crate::stamp::Stamp;

/// Every fact there is, unknown: what depends on one is refused.
const NOTHING_KNOWN: &str = r#"
licenses = { mt_ek_mgmt = "unknown" }
metrocluster = { configured = "unknown", partner_healthy = "unknown", partner_key_manager = "unknown" }
cluster.version = "unknown"
cluster.platform_encryption = "unknown"
cluster.nodes_without_volume_encryption = "unknown"
cluster.fips = "unknown"
cluster.common_criteria = "unknown"
cluster.cluster_interface = "unknown"
storage.nae_aggregates = "unknown"
storage.drives_with_keys = "unknown"
storage.encrypted_root_volume = "unknown"
storage.encrypted_core_files = "unknown"
"#;

/// A platform whose facts are a file's, read again when that has changed. A file that cannot be read or understood makes all facts
/// unknown. Where the configuration names none, a node that never had one is an ordinary node.
pub struct FactsFile {
    path: PathBuf,
    unknown: Facts,
    last: Mutex<Last>,
}

struct Last {
    stamp: Option<Stamp>,
    facts: Facts,
    /// Whether a file was named, or was there once: then it is not missing by intent.
    must_be_there: bool,
    /// Whether the file could not be read. The next look may succeed, though the file stays as it is.
    is_unread: bool,
}

impl FactsFile {
    /// The facts in the file at `path`.
    ///
    /// # Errors
    /// [`FactsError`], where this program does not know its own facts.
    pub fn new(path: &FactsPath) -> Result<Self, FactsError> {
        let unknown: Facts = toml::from_str(NOTHING_KNOWN)?;
        let must_be_there = match path {
            FactsPath::Given(_) => true,
            FactsPath::Ordinary(_) => false,
        };
        let path = path.path();
        let stamp = Stamp::of(path);
        let mut last = Last { stamp, facts: Facts::default(), must_be_there, is_unread: false };
        last.read(path, &unknown);
        Ok(Self { path: path.to_owned(), unknown, last: last.into() })
    }
}

impl Last {
    fn read(&mut self, path: &Path, unknown: &Facts) {
        self.facts = match std::fs::read_to_string(path) {
            Ok(text) => {
                (self.must_be_there, self.is_unread) = (true, false);
                toml::from_str(&text).unwrap_or_else(|error| {
                    // In one line, and not with the line of the file.
                    let why = error.message();
                    tracing::error!(path = %path.display(), why, "the facts are not understood: none is known");
                    unknown.clone()
                })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound && !self.must_be_there => {
                self.is_unread = false;
                Facts::default()
            }
            Err(error) => {
                if !self.is_unread {
                    tracing::error!(path = %path.display(), %error, "the facts cannot be read: none is known");
                }
                self.is_unread = true;
                unknown.clone()
            }
        };
    }
}

impl Platform for FactsFile {
    /// One system call where nothing has changed.
    fn facts(&self) -> Facts {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        // Before the file is read: what changes meanwhile is seen the next time.
        let stamp = Stamp::of(&self.path);
        if stamp != last.stamp || last.is_unread {
            last.stamp = stamp;
            last.read(&self.path, &self.unknown);
            if !last.is_unread {
                tracing::info!(path = %self.path.display(), "the facts were read again");
            }
        }
        last.facts.clone()
    }
}

impl fmt::Debug for FactsFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FactsFile").field(&self.path).finish()
    }
}

/// This program does not know its own facts; report it.
#[derive(Debug, thiserror::Error)]
#[error("claviger does not know its own facts; report it")]
pub struct FactsError(#[from] toml::de::Error);

#[cfg(test)]
mod tests {
    use claviger::Fact;

    use super::*;

    fn write(path: &Path, text: &str) {
        let new = tempfile::NamedTempFile::new_in(path.parent().unwrap()).unwrap();
        std::fs::write(new.path(), text).unwrap();
        new.persist(path).unwrap();
    }

    #[test]
    fn where_nothing_is_known_no_fact_is() {
        let unknown: Facts = toml::from_str(NOTHING_KNOWN).unwrap();
        let told = format!("{unknown:?}");
        assert!(!told.contains("Known(") && !told.contains("None"), "{told}");
    }

    #[test]
    fn a_node_without_the_file_is_an_ordinary_one_until_it_has_had_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("facts.toml");
        let file = FactsFile::new(&FactsPath::Ordinary(path.clone())).unwrap();
        assert_eq!(file.facts(), Facts::default());
        write(&path, "licenses.mt_ek_mgmt = false");
        assert_eq!(file.facts().licenses.mt_ek_mgmt, Fact::Known(false));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(file.facts(), file.unknown);
    }

    #[test]
    fn a_file_that_was_named_and_is_not_there_makes_all_facts_unknown() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("facts.toml");
        let file = FactsFile::new(&FactsPath::Given(path.clone())).unwrap();
        assert_eq!(file.facts(), file.unknown);
        write(&path, "");
        assert_eq!(file.facts(), Facts::default());
    }

    #[test]
    fn a_file_that_could_not_be_read_is_looked_at_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("facts.toml");
        write(&path, "");
        let file = FactsFile::new(&FactsPath::Ordinary(path.clone())).unwrap();
        // As an error that passes leaves it: the file is the same.
        *file.last.lock().unwrap() =
            Last { stamp: Stamp::of(&path), facts: file.unknown.clone(), must_be_there: true, is_unread: true };
        assert_eq!(file.facts(), Facts::default());
        assert!(!file.last.lock().unwrap().is_unread);
    }

    #[test]
    fn a_file_that_is_not_understood_makes_all_facts_unknown_until_it_is_mended() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("facts.toml");
        write(&path, "[storage]\ndrives_with_keys = 4\nencrypted_root_volume = 'unknown'");
        let file = FactsFile::new(&FactsPath::Ordinary(path.clone())).unwrap();
        assert_eq!(file.facts().storage.drives_with_keys, Fact::Known(4));
        assert_eq!(file.facts().storage.encrypted_root_volume, Fact::Unknown);
        for wrong in ["storage.drives_with_keys = 'many'", "storage.drives = 4", "[", "storage = 4"] {
            write(&path, wrong);
            assert_eq!(file.facts(), file.unknown, "{wrong}");
        }
        write(&path, "");
        assert_eq!(file.facts(), Facts::default());
    }
}
