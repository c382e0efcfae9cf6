//! Writes the seeds into `fuzz/seeds/`. Inputs that were found, whose names begin with `found-`, stay as they are.
#![forbid(unsafe_code)]

use std::fs;
use std::io::Result;
use std::path::Path;

use claviger_fuzz_checks::seeds;

fn main() -> Result<()> {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let directory = fuzz.join("seeds");
    for target in fs::read_dir(&directory).into_iter().flatten() {
        for seed in fs::read_dir(target?.path())? {
            let seed = seed?;
            if !seed.file_name().to_string_lossy().starts_with("found-") {
                fs::remove_file(seed.path())?;
            }
        }
    }
    for seed in seeds(&fuzz.join("../crates/wrap/tests/vectors")) {
        let target = directory.join(seed.target);
        fs::create_dir_all(&target)?;
        fs::write(target.join(seed.name), seed.bytes)?;
    }
    Ok(())
}
