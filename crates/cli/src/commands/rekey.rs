//! `claviger rekey`.

use std::fmt;

use claviger::{Engine, RekeyError, SvmInfo};
use serde::Serialize;
use uuid::Uuid;

use super::job::wait;
use crate::exit::Exit;
use crate::failure::{Failure, FailureView};
use crate::session::{Session, name_of};

/// An SVM that has a new KEK.
#[derive(Serialize)]
pub(crate) struct Rekeyed {
    svm: String,
    job: Uuid,
    pub(crate) keys: u64,
    kek_version: Option<u32>,
}

/// An SVM whose rekey did not succeed.
#[derive(Serialize)]
struct Failed {
    svm: String,
    #[serde(flatten)]
    failure: FailureView,
}

#[derive(Serialize)]
struct Rekeys {
    rekeyed: Vec<Rekeyed>,
    /// SVMs without keys.
    skipped: Vec<String>,
    failed: Vec<Failed>,
}

impl fmt::Display for Rekeyed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SVM {}: {} keys", self.svm, self.keys)?;
        match self.kek_version {
            Some(version) => write!(f, " under KEK version {version}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Rekeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: u64 = self.rekeyed.iter().map(|rekeyed| rekeyed.keys).sum();
        for rekeyed in &self.rekeyed {
            writeln!(f, "{rekeyed}")?;
        }
        write!(f, "{keys} keys rekeyed")
    }
}

pub(crate) fn run(session: &Session, svm: Option<&str>) -> Result<Exit, Failure> {
    let engine = session.open()?;
    match svm {
        Some(svm) => {
            let svm = engine.svm_named(svm)?;
            session.unlock(&engine)?;
            session.output.result(&rekey(session, &engine, &svm)?)?;
            Ok(Exit::Done)
        }
        None => every_svm(session, &engine),
    }
}

/// One SVM's failure does not keep the others from their new KEKs. The exit code is the first failure's.
fn every_svm(session: &Session, engine: &Engine) -> Result<Exit, Failure> {
    session.unlock(engine)?;
    let mut exit = Exit::Done;
    let mut rekeys = Rekeys { rekeyed: Vec::new(), skipped: Vec::new(), failed: Vec::new() };
    for svm in engine.svms() {
        let name = name_of(&svm);
        match rekey(session, engine, &svm) {
            Ok(rekeyed) => rekeys.rekeyed.push(rekeyed),
            Err(Failure::Rekey(RekeyError::NoKeys { .. })) => {
                session.output.note(&format!("SVM {name} has no keys yet, and is passed over"));
                rekeys.skipped.push(name);
            }
            Err(failure) => {
                let code = session.output.failure(&failure);
                exit = if exit == Exit::Done { code } else { exit };
                rekeys.failed.push(Failed { svm: name, failure: failure.view() });
            }
        }
    }
    session.output.result(&rekeys)?;
    Ok(exit)
}

/// Rekeys one SVM, or goes on with its rekey.
pub(crate) fn rekey(session: &Session, engine: &Engine, svm: &SvmInfo) -> Result<Rekeyed, Failure> {
    let job = engine.rekey_internal(svm.id())?;
    let ended = wait(session, engine, &job, "rekey")?;
    let kek_version = engine.kek(svm.id())?.map(|kek| kek.version.get());
    Ok(Rekeyed { svm: name_of(svm), job: ended.id, keys: ended.progress.done, kek_version })
}
