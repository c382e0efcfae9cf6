//! `claviger migrate`.

use super::keystore::{Moved, resolve};
use crate::args::KeystoreArg;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::session::Session;

pub(crate) fn run(session: &Session<'_>, svm: &str, to: &KeystoreArg) -> Result<Exit, Failure> {
    let engine = session.open()?;
    let svm = engine.svm_named(svm)?;
    let to = resolve(&engine, to)?;
    session.unlock(&engine)?;
    let job = engine.migrate(svm.id(), to)?;
    session.output.result(&Moved::by(session, &engine, &svm, to, &job)?)?;
    Ok(Exit::Done)
}
