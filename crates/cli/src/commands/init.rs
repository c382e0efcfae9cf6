//! `claviger init`.

use std::fmt;

use claviger::{Engine, Options, StoreKind, SvmName};
use serde::Serialize;
use uuid::Uuid;

use super::svm::SvmView;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::session::{Directory, Session};

#[derive(Serialize)]
struct Made {
    dir: String,
    store: &'static str,
    hierarchy: Option<Uuid>,
    svm: Option<SvmView>,
}

impl fmt::Display for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dir = &self.dir;
        write!(f, "hierarchy made in {dir}; next: claviger keystore create onboard --dir {dir}")
    }
}

pub(crate) fn run(
    session: &Session<'_>,
    directory: &Directory,
    name: &SvmName,
    store: StoreKind,
) -> Result<Exit, Failure> {
    let dir = directory.path()?;
    let engine = Engine::create(dir, name, Options { store, ..directory.options() })?;
    session.output.result(&Made {
        dir: dir.display().to_string(),
        store: store.name(),
        hierarchy: engine.identity().map(|(hierarchy, _)| hierarchy),
        svm: engine.svms().first().map(SvmView::of),
    })?;
    Ok(Exit::Done)
}
