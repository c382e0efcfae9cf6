//! Installed certificates: what they say, what is refused, and who trusts them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../common/mod.rs"]
mod common;
mod install;
mod lost;
mod made;
mod refusals;
#[path = "../../../barbican/tests/support/mod.rs"]
mod service;
mod trust;

use std::sync::Arc;

use claviger::store::MemoryStore;
use claviger::{CertificateKind, CertificateName, Engine, NewCertificate, SvmId};
use made::Made;

fn name(text: &str) -> CertificateName {
    text.parse().unwrap()
}

/// A hierarchy with an SVM.
fn hierarchy() -> (Arc<MemoryStore>, Engine, SvmId) {
    let store = common::unattended();
    let engine = common::open(&store);
    let svm = engine.create_svm(&common::name("a")).unwrap().id();
    (store, engine, svm)
}

/// An authority of this name, for a scope.
fn authority(scope: Option<SvmId>, text: &str) -> NewCertificate {
    Made::authority("an authority").to_install(scope, Some(text), CertificateKind::ServerCa)
}
