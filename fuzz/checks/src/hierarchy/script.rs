//! What is done to a hierarchy: instructions of four bytes each, so that whatever is inserted, deleted or exchanged in
//! between leaves the others what they are.

use claviger::store::faults::{Crash, Failure, Strike, Tear};
use claviger::{KeyAlgorithm, NewKey, ObjectRef};
use uuid::Uuid;

/// Slots for SVMs. Each has its own name; that of the admin SVM is the first.
pub(super) const SVMS: usize = 4;

#[derive(Clone, Debug)]
pub(super) enum Step {
    CreateSvm(usize),
    RenameSvm(usize, usize),
    DeleteSvm(usize),
    CreateKey(usize, NewKey),
    CreateKeys(usize, Vec<NewKey>),
    OpenKey(usize, ObjectRef),
    DeleteKey(usize, ObjectRef),
    BeginRotation(usize, ObjectRef),
    FinishRotation(usize, ObjectRef),
    Rekey(usize, Then),
    /// Every job that has not ended goes on, and is waited for.
    FinishJobs,
    Backup,
    Verify,
    /// The next process meets this at this event.
    Arm(usize, Strike),
    Restart {
        resume_jobs: bool,
    },
}

/// What is done with a job that was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    Wait,
    Cancel,
    /// It runs beside what comes next.
    Leave,
}

/// So many instructions are enough to go from any state to any other.
const MOST: usize = 64;

pub(super) fn steps(data: &[u8]) -> impl Iterator<Item = Step> {
    data.as_chunks::<4>().0.iter().take(MOST).map(|instruction| step(*instruction))
}

fn step([operation, a, b, c]: [u8; 4]) -> Step {
    let svm = usize::from(a) % SVMS;
    match operation % 16 {
        0 => Step::CreateSvm(svm),
        1 => Step::RenameSvm(svm, usize::from(b) % SVMS),
        2 => Step::DeleteSvm(svm),
        3 => Step::CreateKey(svm, new_key(b, c)),
        4 => {
            let chosen = (0..8).filter(|bit| b & (1 << bit) != 0);
            Step::CreateKeys(svm, chosen.map(|number| new_key(number, c)).collect())
        }
        5 => Step::OpenKey(svm, object(b)),
        6 => Step::DeleteKey(svm, object(b)),
        7 => Step::BeginRotation(svm, object(b)),
        8 => Step::FinishRotation(svm, object(b)),
        9 => Step::Rekey(svm, Then::Wait),
        10 => Step::Rekey(svm, Then::Cancel),
        11 => Step::Rekey(svm, Then::Leave),
        12 => Step::FinishJobs,
        13 if a % 2 == 0 => Step::Backup,
        13 => Step::Verify,
        14 => Step::Arm(b.into(), strike(c)),
        _ => Step::Restart { resume_jobs: a % 2 == 0 },
    }
}

fn object(number: u8) -> ObjectRef {
    let kind = [ObjectRef::Volume, ObjectRef::Aggregate, ObjectRef::Drive][usize::from(number % 3)];
    kind(Uuid::from_u128((number / 3 % 3).into()))
}

fn new_key(number: u8, algorithm: u8) -> NewKey {
    let algorithm = [KeyAlgorithm::XtsAes256, KeyAlgorithm::Aes256][usize::from(algorithm % 2)];
    NewKey { object: object(number), algorithm }
}

fn strike(number: u8) -> Strike {
    let tears = [Tear::FirstHalf, Tear::SecondHalf, Tear::EverySecond, Tear::AllButFirst, Tear::AllButLast];
    match number % 10 {
        0 => Strike::Crash(Crash::Before),
        1 => Strike::Crash(Crash::After),
        2 => Strike::Failure(Failure::Refused),
        3 => Strike::Failure(Failure::Unreachable),
        4 => Strike::Failure(Failure::Unanswered),
        torn => Strike::Crash(Crash::Torn(tears[usize::from(torn) - 5])),
    }
}
