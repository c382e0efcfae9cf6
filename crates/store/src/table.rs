use std::fmt;

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
}

impl Table {
    /// The number that stands for the table in a store's format.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
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
        })
    }
}
