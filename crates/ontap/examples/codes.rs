//! Prints the page on codes: `cargo run -p claviger-ontap --example codes >docs/rest-codes.md`.

use std::io::{self, Write as _};
use std::path::Path;

#[path = "support/codes_page.rs"]
mod codes_page;

fn main() -> io::Result<()> {
    let page = codes_page::page(Path::new(env!("CARGO_MANIFEST_DIR")))?;
    io::stdout().lock().write_all(page.as_bytes())
}
