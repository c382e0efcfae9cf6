//! `wrk`, which makes the requests.

use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use axum::body::Body;
use axum::http::Request;
use serde::Deserialize;
use uuid::Uuid;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/bin/rest_load/wrk.lua");

/// What is asked for, over and over.
pub(crate) struct Load {
    address: String,
    /// The SVM of the volumes that are made.
    create_in: Option<String>,
}

impl Load {
    pub(crate) fn get(address: &str) -> Self {
        Self { address: address.to_owned(), create_in: None }
    }

    pub(crate) fn create(svm: &str) -> Self {
        // Without the wait there would be a job to ask for, too.
        Self { address: "/api/storage/volumes?return_timeout=120".to_owned(), create_in: Some(svm.to_owned()) }
    }

    /// One such request.
    pub(crate) fn example(&self) -> Result<Request<Body>> {
        let request = Request::builder().uri(&self.address);
        let Some(svm) = &self.create_in else { return Ok(request.body(Body::empty())?) };
        let body = format!(r#"{{"name":"example","svm":{{"uuid":"{svm}"}},"encryption":{{"enabled":true}}}}"#);
        Ok(request.method("POST").body(body.into())?)
    }
}

/// What wrk has measured; times in microseconds.
#[derive(Deserialize)]
pub(crate) struct Measured {
    requests: u64,
    microseconds: u64,
    failed: u64,
    pub(crate) p50: u64,
    pub(crate) p99: u64,
}

impl Measured {
    pub(crate) fn per_second(&self) -> u64 {
        self.requests * 1_000_000 / self.microseconds.max(1)
    }
}

pub(crate) struct Wrk {
    seconds: u64,
    connections: u32,
}

impl Wrk {
    pub(crate) fn find(seconds: u64, connections: u32) -> Result<Self> {
        // It says its version, and ends with 1.
        if Command::new("wrk").arg("--version").output().is_err() {
            bail!("there is no `wrk` in PATH, which makes the requests: `apt-get install wrk`");
        }
        Ok(Self { seconds, connections })
    }

    pub(crate) fn run(&self, url: &str, authorization: &str, load: &Load) -> Result<Measured> {
        let mut wrk = Command::new("wrk");
        wrk.args(["--threads", "1", "--connections", &self.connections.to_string()])
            .args(["--duration", &format!("{}s", self.seconds), "--script", SCRIPT])
            .args(["--header", authorization, "--header", "Content-Type: application/json"])
            .arg(format!("{url}{}", load.address));
        if let Some(svm) = &load.create_in {
            wrk.args(["--", "create", svm, &Uuid::new_v4().simple().to_string()]);
        }
        let output = wrk.output()?;
        let said = String::from_utf8_lossy(&output.stdout);
        ensure!(output.status.success(), "wrk: {said}{}", String::from_utf8_lossy(&output.stderr));
        let line = said.lines().find(|line| line.starts_with('{')).context("wrk did not say what it measured")?;
        let measured: Measured = serde_json::from_str(line)?;
        ensure!(measured.requests > 0 && measured.failed == 0, "{}: {} requests failed", load.address, measured.failed);
        Ok(measured)
    }
}
