//! `claviger verify`.

use std::fmt;

use claviger::{Engine, Finding, Report};
use serde::Serialize;

use super::key::type_name;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::session::Session;

/// A record that is not as it must be, as it is printed.
#[derive(Serialize)]
pub(crate) struct FindingView {
    record: String,
    svm: Option<String>,
    #[serde(rename = "type")]
    object_type: Option<&'static str>,
    object: Option<String>,
    problem: String,
    detail: String,
    #[serde(skip)]
    text: String,
}

impl FindingView {
    pub(crate) fn of(finding: &Finding) -> Self {
        let object = finding.object.as_ref();
        Self {
            record: finding.record.to_string(),
            svm: object.map(|(svm, _)| svm.to_string()),
            object_type: object.map(|(_, object)| type_name(object.key_type())),
            object: object.map(|(_, object)| object.uuid().to_string()),
            problem: finding.problem.to_string(),
            detail: finding.detail.clone(),
            text: finding.to_string(),
        }
    }
}

impl fmt::Display for FindingView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[derive(Serialize)]
struct Verified {
    keys: u64,
    opened: u64,
    records: u64,
    findings: Vec<FindingView>,
}

impl fmt::Display for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in &self.findings {
            writeln!(f, "{finding}")?;
        }
        let Self { keys, opened, records, findings } = self;
        write!(f, "{opened} of {keys} keys opened; other records: {records}; findings: {}", findings.len())
    }
}

pub(crate) fn run(session: &Session) -> Result<Exit, Failure> {
    let engine = session.open_copy()?;
    session.unlock(&engine)?;
    let Report { keys, opened, records, findings } = verify(session, &engine)?;
    let verified = Verified { keys, opened, records, findings: findings.iter().map(FindingView::of).collect() };
    session.output.result(&verified)?;
    Ok(exit_of(&findings))
}

/// Verifies, and shows how far that is.
pub(crate) fn verify(session: &Session, engine: &Engine) -> Result<Report, Failure> {
    let bar = session.output.progress("verify", None);
    Ok(engine.verify(|seen| bar.set_position(seen))?)
}

pub(crate) fn exit_of(findings: &[Finding]) -> Exit {
    if findings.is_empty() { Exit::Done } else { Exit::Damage }
}
