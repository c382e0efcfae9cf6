//! What a verification tells.

use std::collections::BTreeMap;
use std::fmt;

use claviger_wrap::{KekVersion, SvmId};

use crate::records::RecordName;

/// What a verification found. Each key record is counted once: it was opened, or it has a finding, or it is among those
/// that could not be checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Key records there are.
    pub keys: u64,
    /// Key records all of whose blobs opened.
    pub opened: u64,
    /// Other records there are.
    pub records: u64,
    /// Records that are not as they must be, in the order of tables and keys: the first [`Report::MAX_FINDINGS`] of them.
    pub findings: Vec<Finding>,
    /// Findings beyond those.
    pub further_findings: u64,
    /// What could not be checked because of something else. Where that is damaged or missing, it is among the findings.
    pub unchecked: Vec<Unchecked>,
    /// What is no damage, and worth knowing.
    pub notes: Vec<Note>,
}

impl Report {
    /// The most findings that are told one by one; whoever has more than these repairs a store and no records. It bounds the
    /// memory that a verification takes.
    pub const MAX_FINDINGS: usize = 10_000;

    /// Whether everything was checked, and is as it must be.
    #[must_use]
    pub const fn is_sound(&self) -> bool {
        self.findings.is_empty() && self.unchecked.is_empty()
    }
}

/// A record that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which record. What it is about: [`RecordName::subject`].
    pub record: RecordName,
    /// What kind of problem it is.
    pub problem: Problem,
    /// What exactly, and what to do.
    pub detail: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { record, problem, detail } = self;
        write!(f, "{record} ({}): {problem}: {detail}", record.subject())
    }
}

/// What is wrong with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Problem {
    /// Its bytes have changed: the key is the right one and the tag fails, or the layout is broken.
    Damaged,
    /// It belongs to another place: it was moved or copied.
    Misplaced,
    /// It must be there, and is not.
    Missing,
    /// It is sealed with another key than this hierarchy's.
    OtherKey,
    /// What the keeper gives back is another KEK than the record names.
    OtherKek,
    /// The store is an older copy than its anchor knows: this is the record that says so.
    RolledBack,
    /// It needs a KEK that there is not.
    MissingKek,
    /// The KEK that it needs is not in memory.
    ClosedKek,
    /// It is of a format version, or of a kind, that this release does not read.
    UnknownFormat,
    /// It opens, and contradicts another record.
    Inconsistent,
    /// It is of a job that has not ended and cannot go on.
    CannotResume,
}

impl Problem {
    /// The problem in one or two words.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Damaged => "damaged",
            Self::Misplaced => "misplaced",
            Self::Missing => "missing",
            Self::OtherKey => "under another key",
            Self::OtherKek => "another KEK",
            Self::RolledBack => "rolled back",
            Self::MissingKek => "KEK missing",
            Self::ClosedKek => "KEK not in memory",
            Self::UnknownFormat => "unknown format",
            Self::Inconsistent => "inconsistent",
            Self::CannotResume => "cannot resume",
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// KEKs that could not be had, and the keys under them: nothing is known of these but that their layout is right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unchecked {
    /// Whose KEKs.
    pub svm: SvmId,
    /// How many key records are under them.
    pub keys: u64,
    /// The record that they depend on.
    pub depends_on: RecordName,
    /// Why that does not serve.
    pub why: Unavailable,
}

impl fmt::Display for Unchecked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { svm, keys, depends_on, why } = self;
        write!(
            f,
            "the KEKs of SVM {svm} and {keys} keys under them depend on {depends_on} ({}): {why}",
            depends_on.subject()
        )
    }
}

/// Why a record does not serve what depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Unavailable {
    /// It has a finding.
    Damaged,
    /// It is missing.
    Missing,
    /// It is the keystore's, which waits for its passphrase.
    Locked,
    /// It is the keystore's, whose keeper did not answer.
    KeeperUnreachable,
    /// It is the keystore's, whose keeper refused.
    KeeperRefused,
    /// There was no room in key memory for the KEKs when the hierarchy was opened.
    NoRoom,
}

impl Unavailable {
    /// Whether KEKs in memory are no answer: their keeper must give them back at the next start.
    pub(super) const fn is_of_the_keeper(self) -> bool {
        matches!(self, Self::KeeperUnreachable | Self::KeeperRefused)
    }

    /// The reason in one or two words.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Damaged => "damaged",
            Self::Missing => "missing",
            Self::Locked => "locked",
            Self::KeeperUnreachable => "keeper unreachable",
            Self::KeeperRefused => "keeper refused",
            Self::NoRoom => "no room",
        }
    }
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Damaged | Self::Missing => self.as_str(),
            Self::Locked => "locked; unlock it with the passphrase and verify again",
            Self::KeeperUnreachable => "its keeper did not answer; see to it and to the way there, and verify again",
            Self::KeeperRefused => "its keeper refused; see to the credential that it is asked with, and verify again",
            Self::NoRoom => "no room in key memory; make it larger and verify again",
        })
    }
}

/// What is no damage, and worth knowing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Note {
    /// Nobody knows whether the store is the newest: its anchor is missing, or cannot be read. It is not opened for work like
    /// that.
    AgeUnknown {
        /// What is the matter with the anchor.
        why: String,
    },
    /// An SVM has a KEK and no key: its keys were deleted, or none was made after the KEK.
    KekWithoutKeys {
        /// The SVM.
        svm: SvmId,
        /// Its current KEK.
        version: KekVersion,
    },
    /// A rekey was cancelled or failed half-way. Everything opens; the next rekey goes on to the same new KEK.
    RekeyUnfinished {
        /// The SVM.
        svm: SvmId,
        /// The KEK that was to be retired.
        from: KekVersion,
        /// The KEK that new keys are under.
        to: KekVersion,
        /// Blobs that are still under the old one.
        left: u64,
    },
    /// The deletion of an SVM was interrupted. The next opening of the hierarchy completes it.
    DeletionUnfinished {
        /// The SVM.
        svm: SvmId,
    },
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AgeUnknown { why } => write!(f, "whether the store is the newest is not known: {why}"),
            Self::KekWithoutKeys { svm, version } => {
                write!(f, "no key is under KEK version {version} of SVM {svm}: its keys were deleted, or never made")
            }
            Self::RekeyUnfinished { svm, from, to, left } => write!(
                f,
                "a rekey of SVM {svm} from KEK version {from} to {to} stopped half-way; {left} blobs are under the old one: rekey it"
            ),
            Self::DeletionUnfinished { svm } => {
                write!(f, "the deletion of SVM {svm} was interrupted; it is completed when the hierarchy is opened")
            }
        }
    }
}

/// Findings as they are made, one per record and problem.
#[derive(Default)]
pub(super) struct Findings {
    by_record: BTreeMap<(RecordName, Problem), String>,
    further: u64,
}

impl Findings {
    pub(super) fn add(&mut self, record: RecordName, problem: Problem, detail: impl Into<String>) {
        let has_room = self.by_record.len() < Report::MAX_FINDINGS;
        let place = (record, problem);
        match self.by_record.contains_key(&place) {
            true => {}
            false if has_room => drop(self.by_record.insert(place, detail.into())),
            false => self.further += 1,
        }
    }

    /// All findings, and how many more there were.
    pub(super) fn finish(self) -> (Vec<Finding>, u64) {
        let finding = |((record, problem), detail)| Finding { record, problem, detail };
        (self.by_record.into_iter().map(finding).collect(), self.further)
    }
}
