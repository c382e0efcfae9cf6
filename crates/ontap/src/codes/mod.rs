//! The one table of ONTAP codes: each code of the contract, with its HTTP status, its text, and what makes claviger answer it.

pub(crate) mod azure;
pub(crate) mod barbican;
mod failures;
pub(crate) mod key_managers;
pub(crate) mod public;
mod refusals;

pub(crate) use self::failures::{chain, of_ended_job, of_job, of_key, of_keystore, of_rekey, of_svm, of_svm_keystore};

pub(crate) use self::refusals::{Guarded, of_delete_onboard, of_refusal};

use axum::http::StatusCode;

use crate::problem::Problem;

/// A code of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Code {
    pub(crate) number: u32,
    pub(crate) status: StatusCode,
    /// What it means, as a message of its own where there is no better one.
    pub(crate) meaning: &'static str,
}

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// The code.
    pub number: u32,
    /// The HTTP status of the answer.
    pub status: u16,
    /// What it means.
    pub meaning: &'static str,
    /// Whether this release answers it.
    pub reach: Reach,
    /// What makes it answer it; or why it never does.
    pub trigger: &'static str,
}

/// Whether this release answers a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// It does; a test shows it.
    Here,
    /// It comes with the KMIP keeper.
    Kmip,
    /// It comes with the Azure Key Vault keeper.
    Azure,
    /// It cannot happen here.
    Never,
}

impl Code {
    /// The error, in its own words.
    pub(crate) fn problem(self) -> Problem {
        Problem::new(self.status, self.number, self.meaning)
    }

    /// The error in its own words, and why.
    pub(crate) fn because(self, error: &dyn std::error::Error) -> Problem {
        self.with(format!("{} {}.", self.meaning, chain(error)))
    }

    /// The error, in these words.
    pub(crate) fn with(self, message: impl Into<String>) -> Problem {
        Problem::new(self.status, self.number, message)
    }
}

/// Every code of the contract that is no common one.
pub fn table() -> impl Iterator<Item = &'static Entry> {
    [barbican::TABLE, key_managers::TABLE, azure::TABLE, public::TABLE].into_iter().flatten()
}

/// Rows of the table: name, number, status, reach, meaning, trigger. A code that this release answers has a name.
macro_rules! codes {
    ($($name:tt = $number:literal $status:ident $reach:ident $meaning:literal $trigger:literal;)*) => {
        $(codes!(@constant $name $number $status $meaning);)*

        pub(crate) const TABLE: &[super::Entry] = &[$(super::Entry {
            number: $number,
            status: axum::http::StatusCode::$status.as_u16(),
            meaning: $meaning,
            reach: super::Reach::$reach,
            trigger: $trigger,
        }),*];
    };
    (@constant _ $number:literal $status:ident $meaning:literal) => {};
    (@constant $name:ident $number:literal $status:ident $meaning:literal) => {
        pub(crate) const $name: super::Code =
            super::Code { number: $number, status: axum::http::StatusCode::$status, meaning: $meaning };
    };
}
use codes;

/// Common code 1: the same identifier exists.
pub(crate) fn exists(message: impl Into<String>) -> Problem {
    Problem::new(StatusCode::CONFLICT, 1, message)
}

/// Common code 2: a field or parameter is invalid, missing or unexpected.
pub(crate) fn invalid(target: &str, message: impl Into<String>) -> Problem {
    malformed(message).about(target)
}

/// The same, where there is no field to name.
pub(crate) fn malformed(message: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, 2, message)
}

/// Common code 2: the body is larger than is read.
pub(crate) fn too_large() -> Problem {
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, 2, "The body is larger than this service reads.")
}

/// Common code 3: not supported.
pub(crate) fn unsupported(message: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, 3, message)
}

/// The method is none of the resource's.
pub(crate) fn no_method() -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, 3, "The resource does not support this method.")
}

/// Common code 4: there is no such object.
pub(crate) fn missing(message: impl Into<String>) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, 4, message)
}

/// The same, of a UUID in a path.
pub(crate) fn missing_entry() -> Problem {
    missing("entry doesn't exist")
}

/// Common code 6: the caller's role does not allow it.
pub(crate) fn forbidden() -> Problem {
    Problem::new(StatusCode::FORBIDDEN, 6, "Your account may only read; this needs the role \"admin\".")
}

/// Common code 8: in use.
pub(crate) fn in_use(message: impl Into<String>) -> Problem {
    Problem::new(StatusCode::CONFLICT, 8, message)
}

/// No code of the contract: the service itself is at fault.
const INTERNAL: u32 = 5;

/// The service itself is at fault.
pub(crate) fn internal() -> Problem {
    failed("The service failed; its log says more.")
}

/// The service could not do it now, or never.
pub(crate) fn failed(message: impl Into<String>) -> Problem {
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, INTERNAL, message)
}
