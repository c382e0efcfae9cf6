//! `claviger store`: moving a hierarchy to a store of another kind.

use std::fmt;
use std::path::Path;

use claviger::store::StoreKind;
use claviger::{Engine, Report};
use serde::Serialize;

use super::verify::{FindingView, exit_of_report, verify};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::session::{Directory, Session};

#[derive(Serialize)]
struct Copied {
    from: String,
    to: String,
    store: &'static str,
    /// `None` where the keystore is locked, so that no key could be opened.
    #[serde(flatten)]
    verified: Option<Verified>,
}

#[derive(Serialize)]
struct Verified {
    keys: u64,
    opened: u64,
    findings: Vec<FindingView>,
}

impl fmt::Display for Copied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to, store, verified } = self;
        for finding in verified.iter().flat_map(|verified| &verified.findings) {
            writeln!(f, "{finding}")?;
        }
        write!(f, "{from} copied to {to}, a store on {store}; every record is as in the source")?;
        match verified {
            Some(Verified { keys, opened, findings }) => {
                write!(f, "; {opened} of {keys} keys opened; findings: {}", findings.len())
            }
            None => f.write_str("; no key was opened"),
        }?;
        write!(f, "\nUse one of the two from now on, and remove the other.")
    }
}

pub(crate) fn copy(
    session: &Session<'_>,
    directory: &Directory,
    from: &Path,
    to: &Path,
    store: StoreKind,
) -> Result<Exit, Failure> {
    let engine = {
        let bar = session.output.progress("copy", None);
        Engine::copy_store(from, to, store, directory.options(), |copied| bar.set_position(copied))?
    };
    let report = match session.unlock(&engine) {
        Ok(()) => Some(verify(session, &engine)?),
        // The copy is complete all the same.
        Err(Failure::Locked) => {
            session
                .output
                .note("the keystore is locked, and no passphrase was given: run `claviger verify` on the copy");
            None
        }
        Err(failure) => return Err(failure),
    };
    let exit = report.as_ref().map_or(Exit::Done, exit_of_report);
    let verified = report.map(|Report { keys, opened, findings, .. }| Verified {
        keys,
        opened,
        findings: findings.iter().map(FindingView::of).collect(),
    });
    let (from, to) = (from.display().to_string(), to.display().to_string());
    session.output.result(&Copied { from, to, store: store.name(), verified })?;
    Ok(exit)
}
