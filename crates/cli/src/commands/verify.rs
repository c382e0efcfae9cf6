//! `claviger verify`.

use std::fmt;

use claviger::{Engine, Finding, OnboardMode, Report, Subject, Unavailable, Unchecked};
use serde::Serialize;

use super::key::type_name;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::session::Session;

/// A record that is not as it must be, as it is printed.
#[derive(Serialize)]
pub(crate) struct FindingView {
    record: String,
    subject: String,
    svm: Option<String>,
    #[serde(rename = "type")]
    object_type: Option<&'static str>,
    object: Option<String>,
    problem: &'static str,
    detail: String,
    #[serde(skip)]
    text: String,
}

impl FindingView {
    pub(crate) fn of(finding: &Finding) -> Self {
        let subject = finding.record.subject();
        let (svm, object) = match &subject {
            Subject::Key(svm, object) => (Some(svm), Some(object)),
            Subject::Svm(svm) | Subject::Keks(svm) | Subject::Seals(svm, _) => (Some(svm), None),
            _ => (None, None),
        };
        Self {
            record: finding.record.to_string(),
            svm: svm.map(ToString::to_string),
            object_type: object.map(|object| type_name(object.key_type())),
            object: object.map(|object| object.uuid().to_string()),
            problem: finding.problem.as_str(),
            detail: finding.detail.clone(),
            text: finding.to_string(),
            subject: subject.to_string(),
        }
    }
}

impl fmt::Display for FindingView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// What could not be checked because of another record, as it is printed.
#[derive(Serialize)]
struct UncheckedView {
    svm: String,
    keys: u64,
    depends_on: String,
    why: &'static str,
    #[serde(skip)]
    text: String,
}

impl UncheckedView {
    fn of(unchecked: &Unchecked) -> Self {
        Self {
            svm: unchecked.svm.to_string(),
            keys: unchecked.keys,
            depends_on: unchecked.depends_on.to_string(),
            why: unchecked.why.as_str(),
            text: unchecked.to_string(),
        }
    }
}

/// A report, as it is printed.
#[derive(Serialize)]
pub(crate) struct Verified {
    keys: u64,
    opened: u64,
    unchecked_keys: u64,
    records: u64,
    findings: Vec<FindingView>,
    further_findings: u64,
    unchecked: Vec<UncheckedView>,
    notes: Vec<String>,
}

impl Verified {
    pub(crate) fn of(report: &Report) -> Self {
        Self {
            keys: report.keys,
            opened: report.opened,
            unchecked_keys: report.unchecked.iter().map(|unchecked| unchecked.keys).sum(),
            records: report.records,
            findings: report.findings.iter().map(FindingView::of).collect(),
            further_findings: report.further_findings,
            unchecked: report.unchecked.iter().map(UncheckedView::of).collect(),
            notes: report.notes.iter().map(ToString::to_string).collect(),
        }
    }
}

impl fmt::Display for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in &self.findings {
            writeln!(f, "{finding}")?;
        }
        for UncheckedView { text, .. } in &self.unchecked {
            writeln!(f, "not checked: {text}")?;
        }
        for note in &self.notes {
            writeln!(f, "note: {note}")?;
        }
        let Self { keys, opened, unchecked_keys, records, findings, further_findings, .. } = self;
        write!(f, "{opened} of {keys} keys opened")?;
        if *unchecked_keys > 0 {
            write!(f, "; not checked: {unchecked_keys}")?;
        }
        write!(f, "; other records: {records}; findings: {}", findings.len())?;
        match further_findings {
            0 => Ok(()),
            further => write!(f, ", and {further} that are not listed"),
        }
    }
}

pub(crate) fn run(session: &Session<'_>) -> Result<Exit, Failure> {
    let engine = session.open_copy()?;
    // One that opens unattended and is locked all the same is damaged, which is to be told.
    if engine.keystore().is_some_and(|keystore| keystore.mode == OnboardMode::CommonCriteria) {
        session.unlock(&engine)?;
    }
    let report = verify(session, &engine)?;
    session.output.result(&Verified::of(&report))?;
    Ok(exit_of_report(&report))
}

/// Verifies, and shows how far that is.
pub(crate) fn verify(session: &Session<'_>, engine: &Engine) -> Result<Report, Failure> {
    // Counting reads all keys: only for who watches.
    let count = || engine.svms().iter().map(|svm| Ok(engine.count_keys(svm.id())?.values().sum::<u64>())).sum();
    let total: Option<Result<u64, Failure>> = session.output.is_watched().then(count);
    let bar = session.output.progress("verify", total.transpose()?);
    Ok(engine.verify(|seen| bar.set_position(seen))?)
}

pub(crate) fn exit_of_report(report: &Report) -> Exit {
    match (exit_of(&report.findings), report.unchecked.first().map(|unchecked| unchecked.why)) {
        (Exit::Done, None) => Exit::Done,
        (Exit::Done, Some(Unavailable::Locked)) => Exit::Passphrase,
        (Exit::Done, Some(Unavailable::NoRoom)) => Exit::Node,
        (Exit::Done, Some(Unavailable::KeeperUnreachable | Unavailable::KeeperRefused)) => Exit::Keeper,
        _ => Exit::Damage,
    }
}

pub(crate) fn exit_of(findings: &[Finding]) -> Exit {
    if findings.is_empty() { Exit::Done } else { Exit::Damage }
}
