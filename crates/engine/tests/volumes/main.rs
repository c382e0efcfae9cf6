//! Named volumes: made and deleted with their keys, found by UUID and by name, and missed where they are gone.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../common/mod.rs"]
mod common;
mod life;
mod lost;
mod races;
mod recovery;
mod refusals;

use std::sync::Arc;

use claviger::store::MemoryStore;
use claviger::{Engine, NewVolume, SvmId, VolumeName};

fn name(text: &str) -> VolumeName {
    text.parse().unwrap()
}

fn encrypted(text: &str) -> NewVolume {
    NewVolume::encrypted(name(text))
}

fn plain(text: &str) -> NewVolume {
    NewVolume::unencrypted(name(text))
}

/// A hierarchy with an SVM.
fn hierarchy() -> (Arc<MemoryStore>, Engine, SvmId) {
    let store = common::unattended();
    let engine = common::open(&store);
    let svm = engine.create_svm(&common::name("a")).unwrap().id();
    (store, engine, svm)
}

/// The names of all volumes, in pages of `limit`.
fn listed(engine: &Engine, svm: Option<SvmId>, limit: usize) -> Vec<String> {
    let (mut names, mut after) = (Vec::new(), None);
    loop {
        let page = engine.volumes(svm, after.as_ref(), limit).unwrap();
        for listed in page.volumes {
            let volume = listed.volume.unwrap();
            assert_eq!((volume.svm, &volume.name), (listed.position.svm, &listed.position.name));
            names.push(volume.name.to_string());
        }
        match page.next {
            Some(next) => after = Some(next),
            None => return names,
        }
    }
}
