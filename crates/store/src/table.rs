use std::fmt;
use std::ops::Bound;

/// The tables of a hierarchy. The numbers are part of every store's format and never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Table {
    /// What the hierarchy as a whole is: its identity and settings.
    Node = 1,
    /// One record per SVM.
    Svms = 2,
    /// One record per keystore configuration.
    Keystores = 3,
    /// The KEK versions of each SVM, as their keepers keep them.
    Keks = 4,
    /// One record per volume, aggregate or drive key.
    Keys = 5,
    /// One record per job.
    Jobs = 6,
    /// Certificates that connections to keepers use.
    Certificates = 7,
    /// One record per named volume, and one per name.
    Volumes = 8,
}

impl Table {
    /// All tables.
    pub const ALL: [Self; 8] = [
        Self::Node,
        Self::Svms,
        Self::Keystores,
        Self::Keks,
        Self::Keys,
        Self::Jobs,
        Self::Certificates,
        Self::Volumes,
    ];

    /// The number that stands for the table in a store's format.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The key of a record in a database that keeps all tables in one tree.
    pub(crate) fn whole_key(self, key: &[u8]) -> Vec<u8> {
        let mut whole = Vec::with_capacity(1 + key.len());
        whole.push(self.number());
        whole.extend_from_slice(key);
        whole
    }

    /// Where a scan begins in such a database.
    pub(crate) fn first_of_scan(self, prefix: &[u8], after: Option<&[u8]>) -> Bound<Vec<u8>> {
        match after {
            Some(after) if after >= prefix => Bound::Excluded(self.whole_key(after)),
            _ => Bound::Included(self.whole_key(prefix)),
        }
    }

    /// A key of such a database as a key of this table, if it is one, and begins with `prefix`.
    pub(crate) fn key_within<'a>(self, whole: &'a [u8], prefix: &[u8]) -> Option<&'a [u8]> {
        whole.strip_prefix(&[self.number()]).filter(|key| key.starts_with(prefix))
    }
}

/// The table's name in lower case.
impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Node => "node",
            Self::Svms => "svms",
            Self::Keystores => "keystores",
            Self::Keks => "keks",
            Self::Keys => "keys",
            Self::Jobs => "jobs",
            Self::Certificates => "certificates",
            Self::Volumes => "volumes",
        })
    }
}
