//! `claviger rekey`.

use std::fmt;

use claviger::{Engine, RekeyError, SecretUrl, SvmInfo, SvmKeystoreError};
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

/// An SVM whose KEK is kept under another top-level key.
#[derive(Serialize)]
struct RekeyedExternally {
    svm: String,
    job: Uuid,
    keystore: Uuid,
    key_id: String,
}

impl fmt::Display for RekeyedExternally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SVM {}: the KEK is kept under {}", self.svm, self.key_id)
    }
}

pub(crate) fn run(session: &Session<'_>, svm: Option<&str>) -> Result<Exit, Failure> {
    let engine = session.open()?;
    let Some(svm) = svm else { return every_svm(session, &engine) };
    let svm = engine.svm_named(svm)?;
    session.unlock_for(&engine, svm.id())?;
    session.output.result(&rekey(session, &engine, &svm)?)?;
    Ok(Exit::Done)
}

/// `claviger rekey --external`.
pub(crate) fn external(session: &Session<'_>, svm: &str, key: &SecretUrl) -> Result<Exit, Failure> {
    let engine = session.open()?;
    let svm = engine.svm_named(svm)?;
    let id = svm.id();
    let enabled = engine.keystores().into_iter().find(|keystore| keystore.svm == Some(id) && keystore.enabled);
    let keystore = enabled.ok_or(SvmKeystoreError::NoneEnabled { svm: id })?.id;
    let ended = wait(session, &engine, &engine.rekey_external(keystore, key)?, "rekey")?;
    let rekeyed = RekeyedExternally { svm: name_of(&svm), job: ended.id, keystore, key_id: key.to_string() };
    session.output.result(&rekeyed)?;
    Ok(Exit::Done)
}

/// One SVM's failure does not keep the others from their new KEKs. The exit code is the first failure's.
fn every_svm(session: &Session<'_>, engine: &Engine) -> Result<Exit, Failure> {
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
pub(crate) fn rekey(session: &Session<'_>, engine: &Engine, svm: &SvmInfo) -> Result<Rekeyed, Failure> {
    let job = engine.rekey_internal(svm.id())?;
    let ended = wait(session, engine, &job, "rekey")?;
    let kek_version = engine.kek(svm.id())?.map(|kek| kek.version.get());
    Ok(Rekeyed { svm: name_of(svm), job: ended.id, keys: ended.progress.done, kek_version })
}
