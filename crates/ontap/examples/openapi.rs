//! Prints the OpenAPI document: `cargo run -p claviger-ontap --example openapi >docs/openapi.json`.

use std::io::{self, Write as _};

fn main() -> io::Result<()> {
    let document = serde_json::to_string_pretty(&claviger_ontap::openapi())?;
    writeln!(io::stdout().lock(), "{document}")
}
