//! The data path: keys are opened in the process, never over the network.

use std::hint::black_box;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::site::Site;

/// Nanoseconds that opening a key took.
pub(crate) struct Opened {
    sorted: Vec<u64>,
}

/// Opens keys of the site's SVM one after another, for so long.
pub(crate) fn open_for(site: &Site, seconds: u64) -> Result<Opened> {
    let until = Instant::now() + Duration::from_secs(seconds);
    let mut sorted = Vec::new();
    for object in site.objects.iter().cycle() {
        let began = Instant::now();
        black_box(site.engine.open_key(site.svm, *object)?);
        let took = began.elapsed();
        sorted.push(u64::try_from(took.as_nanos()).context("a key took centuries to open")?);
        if Instant::now() >= until {
            break;
        }
    }
    sorted.sort_unstable();
    Ok(Opened { sorted })
}

impl Opened {
    pub(crate) fn json(&self) -> Value {
        json!({ "p50_ns": self.percentile(50), "p99_ns": self.percentile(99), "opened": self.sorted.len() })
    }

    fn percentile(&self, percent: usize) -> Option<u64> {
        self.sorted.get(self.sorted.len() * percent / 100).copied()
    }
}
