//! What a request to the service costs, over TLS and with a login each, beside a bare handler that answers with the same bytes; what opening a
//! key costs meanwhile; and whether the last page of a long collection costs what the first does. Needs `wrk`.

mod bare;
mod opening;
mod pages;
mod site;
mod wrk;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use clap::Parser;
use serde_json::{Value, json};

use crate::bare::Bare;
use crate::opening::open_for;
use crate::site::{Site, Size};
use crate::wrk::{Load, Wrk};

/// Serve SVMs with volumes and keys, drive the service with wrk, and say what it took
#[derive(Parser)]
struct Cli {
    /// How many SVMs
    #[arg(long, default_value_t = 1_000)]
    svms: usize,
    /// Keys of each SVM
    #[arg(long, default_value_t = 100)]
    keys: usize,
    /// 1,000 keys for each SVM
    #[arg(long, conflicts_with = "keys")]
    full: bool,
    /// Seconds that each measurement takes
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Connections at a time
    #[arg(long, default_value_t = 16)]
    connections: u32,
    /// Where the hierarchy is made, in a directory that is removed at the end [default: where temporary files are]
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[expect(clippy::print_stdout, reason = "a command")]
fn main() -> Result<ExitCode> {
    let cli = Cli::parse();
    let wrk = Wrk::find(cli.seconds, cli.connections)?;
    let dir = match &cli.dir {
        Some(dir) => tempfile::tempdir_in(dir)?,
        None => tempfile::tempdir()?,
    };
    let size = Size { svms: cli.svms, keys: if cli.full { 1_000 } else { cli.keys } };
    let site = Site::serve(dir.path(), &size)?;

    let pages = pages::measure(&site)?;
    let idle = open_for(&site, cli.seconds)?;
    let mut requests = Vec::new();
    for (what, load) in loads(&site)? {
        let answer = site.example(&load)?;
        let bare = Bare::serve(answer)?;
        // Turn by turn, so that what slows one slows the other.
        let theirs = wrk.run(bare.url(), &site.authorization, &load)?;
        let ours = wrk.run(&site.url, &site.authorization, &load)?;
        requests.push(json!({
            "what": what,
            "p50_us": ours.p50,
            "p99_us": ours.p99,
            "per_second": ours.per_second(),
            "bare_p50_us": theirs.p50,
            "bare_p99_us": theirs.p99,
            "bare_per_second": theirs.per_second(),
            "p50_ratio": ratio(ours.p50, theirs.p50),
            "p99_ratio": ratio(ours.p99, theirs.p99),
        }));
    }
    let (loaded, _) = std::thread::scope(|scope| {
        let load = scope.spawn(|| wrk.run(&site.url, &site.authorization, &Load::get("/api/svm/svms?max_records=100")));
        let opened = open_for(&site, cli.seconds);
        let load = load.join().unwrap_or_else(|_| Err(anyhow::anyhow!("the load broke off")));
        Ok::<_, anyhow::Error>((opened?, load?))
    })?;
    site.stop();

    let result = json!({
        "svms": size.svms,
        "keys": size.svms * size.keys,
        "connections": cli.connections,
        "requests": requests,
        "open_key": { "idle": idle.json(), "under_load": loaded.json() },
        "pages": pages,
    });
    match cli.json {
        true => println!("{result}"),
        false => print!("{}", text(&result)),
    }
    Ok(ExitCode::SUCCESS)
}

/// What is asked for, and what that is called.
fn loads(site: &Site) -> Result<Vec<(&'static str, Load)>> {
    let volume = site.get("/api/storage/volumes?max_records=1")?;
    let uuid = volume.pointer("/records/0/uuid").and_then(Value::as_str).unwrap_or_default();
    ensure!(!uuid.is_empty(), "there is no volume");
    Ok(vec![
        ("GET of a collection, 100 SVMs a page", Load::get("/api/svm/svms?max_records=100")),
        ("GET of a collection, 100 volumes a page", Load::get("/api/storage/volumes?max_records=100")),
        ("GET of one volume", Load::get(&format!("/api/storage/volumes/{uuid}"))),
        ("POST of an encrypted volume", Load::create(&site.svm.to_string())),
    ])
}

#[expect(clippy::cast_precision_loss, reason = "microseconds of a request")]
fn ratio(ours: u64, theirs: u64) -> f64 {
    ours as f64 / theirs.max(1) as f64
}

fn text(result: &Value) -> String {
    let number = |value: &Value, name: &str| value.get(name).and_then(Value::as_f64).unwrap_or_default();
    let mut text = String::new();
    for request in result.get("requests").and_then(Value::as_array).into_iter().flatten() {
        let what = request.get("what").and_then(Value::as_str).unwrap_or_default();
        text += &format!(
            "{what}: p50 {:.0} us, p99 {:.0} us, {:.0} a second; bare {:.0} us, {:.0} us, {:.0}; ratio {:.2}, {:.2}\n",
            number(request, "p50_us"),
            number(request, "p99_us"),
            number(request, "per_second"),
            number(request, "bare_p50_us"),
            number(request, "bare_p99_us"),
            number(request, "bare_per_second"),
            number(request, "p50_ratio"),
            number(request, "p99_ratio"),
        );
    }
    for (name, opening) in result.get("open_key").and_then(Value::as_object).into_iter().flatten() {
        let (p50, p99) = (number(opening, "p50_ns"), number(opening, "p99_ns"));
        text += &format!("open_key, {name}: p50 {p50:.0} ns, p99 {p99:.0} ns\n");
    }
    for pages in result.get("pages").and_then(Value::as_array).into_iter().flatten() {
        let what = pages.get("what").and_then(Value::as_str).unwrap_or_default();
        text += &format!(
            "{what}: {:.0} records in {:.0} pages; the first {:.2} ms each, the last {:.2} ms each\n",
            number(pages, "records"),
            number(pages, "pages"),
            number(pages, "first_ms"),
            number(pages, "last_ms"),
        );
    }
    text
}
