//! `claviger audit`.

use std::fmt;

use claviger_server::{AuditReport, audit_file, verify_audit};
use serde::Serialize;

use crate::args::AuditCommand;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::session::{Directory, Session};

/// What the check found, as it is printed.
#[derive(Serialize)]
struct AuditView {
    entries: u64,
    head: String,
    /// Behind how many entries the head stands that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    noted: Option<u64>,
    interrupted: u64,
    unfinished: bool,
    bad: Option<String>,
}

impl fmt::Display for AuditView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { entries, head, noted, interrupted, unfinished, bad } = self;
        if let Some(bad) = bad {
            return write!(f, "{bad}\n{entries} entries follow one another");
        }
        write!(f, "{entries} entries follow one another; note the head elsewhere: {head}")?;
        if let Some(noted) = noted {
            write!(f, "\nthe head that was noted is that of entry {noted}")?;
        }
        if *interrupted > 0 {
            write!(f, "\n{interrupted} requests were interrupted: they have no result")?;
        }
        if *unfinished {
            write!(f, "\nthe last line is unfinished: a crash left it, or it is being written now")?;
        }
        Ok(())
    }
}

pub(crate) fn run(session: &Session<'_>, directory: &Directory, command: &AuditCommand) -> Result<Exit, Failure> {
    let AuditCommand::Verify { head: wanted } = command;
    let AuditReport { entries, head, noted, interrupted, unfinished, bad, .. } =
        verify_audit(&audit_file(directory.path()?), *wanted, |_| {})?;
    let lost = || match (wanted, noted) {
        (Some(wanted), None) => {
            Some(format!("no line has the head {wanted}: the end was cut off, or all was written anew"))
        }
        (Some(_), Some(_)) | (None, _) => None,
    };
    let bad = bad.map(|bad| bad.to_string()).or_else(lost);
    let exit = if bad.is_some() { Exit::Damage } else { Exit::Done };
    session.output.result(&AuditView { entries, head: head.to_string(), noted, interrupted, unfinished, bad })?;
    Ok(exit)
}
