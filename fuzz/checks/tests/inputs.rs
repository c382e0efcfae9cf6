//! Every input that was ever worth keeping, through the checks of the fuzz targets.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use claviger_fuzz_checks::{Seed, TARGETS, seeds};

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn names(directory: &Path) -> BTreeSet<String> {
    let names = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.collect()
}

#[test]
fn every_kept_input_passes() {
    let directory = fuzz().join("seeds");
    assert_eq!(names(&directory), TARGETS.iter().map(|target| target.name.to_owned()).collect());
    for target in TARGETS {
        for name in names(&directory.join(target.name)) {
            println!("{}/{name}", target.name);
            (target.check)(&fs::read(directory.join(target.name).join(name)).unwrap());
        }
    }
}

#[test]
fn the_seeds_are_those_that_make_seeds_writes() {
    let directory = fuzz().join("seeds");
    let made = seeds(&fuzz().join("../crates/wrap/tests/vectors"));
    let mut kept: Vec<_> = TARGETS
        .iter()
        .flat_map(|target| {
            let generated = names(&directory.join(target.name)).into_iter().filter(|name| !name.starts_with("found-"));
            let directory = &directory;
            generated.map(move |name| {
                let bytes = fs::read(directory.join(target.name).join(&name)).unwrap();
                Seed { target: target.name, name, bytes }
            })
        })
        .collect();
    kept.sort();
    let named = |seeds: &[Seed]| seeds.iter().map(|seed| format!("{}/{}", seed.target, seed.name)).collect::<Vec<_>>();
    assert_eq!(named(&kept), named(&made));
    assert!(kept == made, "run `cargo run -p claviger-fuzz-checks --bin make-seeds`");
}

#[test]
fn every_check_is_a_target() {
    let targets = TARGETS.iter().map(|target| format!("{}.rs", target.name)).collect();
    assert_eq!(names(&fuzz().join("targets")), targets);
    for target in TARGETS {
        let text = fs::read_to_string(fuzz().join("targets").join(format!("{}.rs", target.name))).unwrap();
        assert!(text.contains(&format!("claviger_fuzz_checks::{}(data)", target.name)), "{}", target.name);
    }
}
