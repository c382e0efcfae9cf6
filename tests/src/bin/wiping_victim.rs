//! The process under attack at a Barbican, with the allocator of the `claviger` program, which wipes what is freed. The argument is
//! the directory of its files.
#![forbid(unsafe_code)]

use std::alloc::System;
use std::path::Path;

use anyhow::{Context as _, Result};
use zeroizing_alloc::ZeroAlloc;

#[global_allocator]
static WIPING: ZeroAlloc<System> = ZeroAlloc(System);

fn main() -> Result<()> {
    let base = std::env::args_os().nth(1).context("no directory is named")?;
    claviger_tests::barbican_victim::run(Path::new(&base))
}
