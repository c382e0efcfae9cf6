//! `claviger svm`.

use std::fmt;

use claviger::SvmInfo;
use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use super::show;
use crate::args::SvmCommand;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::session::Session;

/// An SVM, as it is printed.
#[derive(Serialize)]
pub(crate) struct SvmView {
    id: Uuid,
    name: Option<String>,
    admin: bool,
    created: Option<Timestamp>,
}

impl SvmView {
    pub(crate) fn of(svm: &SvmInfo) -> Self {
        Self {
            id: svm.id().uuid(),
            name: svm.name().map(ToString::to_string),
            admin: svm.is_admin(),
            created: svm.created(),
        }
    }

    /// The cluster's name, if this is its admin SVM.
    pub(crate) fn cluster_name(&self) -> Option<&str> {
        self.name.as_deref().filter(|_| self.admin)
    }

    /// As in a sentence.
    pub(crate) fn described(&self) -> String {
        match (&self.name, self.admin) {
            (Some(name), true) => format!("admin SVM {name} ({})", self.id),
            (Some(name), false) => format!("SVM {name} ({})", self.id),
            (None, _) => format!("SVM {}, whose record is damaged", self.id),
        }
    }

    /// Whether its record does not open.
    pub(crate) const fn is_damaged(&self) -> bool {
        self.name.is_none()
    }
}

impl fmt::Display for SvmView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.described())
    }
}

#[derive(Serialize)]
struct Svms {
    svms: Vec<SvmView>,
}

impl fmt::Display for Svms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<_> = self.svms.iter().map(SvmView::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

#[derive(Serialize)]
struct Deleted {
    deleted: SvmView,
}

impl fmt::Display for Deleted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} deleted", self.deleted)
    }
}

pub(crate) fn run(session: &Session<'_>, command: SvmCommand) -> Result<Exit, Failure> {
    let engine = match command {
        SvmCommand::Show { .. } => session.open()?,
        SvmCommand::Create { .. } | SvmCommand::List | SvmCommand::Rename { .. } | SvmCommand::Delete { .. } => {
            session.open_offline()?
        }
    };
    match command {
        SvmCommand::Show { svm } => return show::svm(session, &engine, &engine.svm_named(&svm)?),
        SvmCommand::Create { name } => session.output.result(&SvmView::of(&engine.create_svm(&name)?))?,
        SvmCommand::List => session.output.result(&Svms { svms: engine.svms().iter().map(SvmView::of).collect() })?,
        SvmCommand::Rename { svm, name } => {
            let id = engine.svm_named(&svm)?.id();
            engine.rename_svm(id, &name)?;
            session.output.result(&SvmView::of(&engine.svm(id)?))?;
        }
        SvmCommand::Delete { svm } => {
            let svm = engine.svm_named(&svm)?;
            engine.delete_svm(svm.id())?;
            session.output.result(&Deleted { deleted: SvmView::of(&svm) })?;
        }
    }
    Ok(Exit::Done)
}
