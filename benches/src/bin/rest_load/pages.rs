//! Long collections, page by page: what the first pages cost, and what the last ones do.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::site::Site;

const PAGE: usize = 1_000;
/// So many pages at either end, of which the median counts.
const SOME: usize = 5;

/// Every collection that grows with what is stored.
pub(crate) fn measure(site: &Site) -> Result<Vec<Value>> {
    let node = one(site, "/api/cluster/nodes")?;
    let manager = one(site, "/api/security/key-managers")?;
    let keys = format!("/api/security/key-managers/{manager}/keys/{node}/key-ids");
    let mut all = vec![walk(site, "SVMs", "/api/svm/svms", PAGE / 10)?];
    all.push(walk(site, "volumes", "/api/storage/volumes", PAGE)?);
    all.push(walk(site, "keys of a key manager", &keys, PAGE)?);
    Ok(all)
}

fn one(site: &Site, collection: &str) -> Result<String> {
    let found = site.get(collection)?;
    let uuid = found.pointer("/records/0/uuid").and_then(Value::as_str);
    Ok(uuid.with_context(|| format!("{collection} is empty"))?.to_owned())
}

fn walk(site: &Site, what: &str, collection: &str, page: usize) -> Result<Value> {
    let mut next = Some(format!("{collection}?max_records={page}"));
    let (mut times, mut records) = (Vec::new(), 0);
    while let Some(address) = next {
        let began = Instant::now();
        let found = site.get(&address)?;
        let took = began.elapsed();
        let count = found.get("num_records").and_then(Value::as_u64).context("a page without a number")?;
        records += count;
        next = found.pointer("/_links/next/href").and_then(Value::as_str).map(str::to_owned);
        // The last page may have fewer.
        if count == u64::try_from(page)? {
            times.push(took);
        }
    }
    let some = SOME.min(times.len());
    let (first, last) = (times.get(..some), times.get(times.len() - some..));
    Ok(json!({
        "what": what,
        "records": records,
        "page": page,
        "pages": times.len(),
        "first_ms": median(first.unwrap_or_default()).as_secs_f64() * 1e3,
        "last_ms": median(last.unwrap_or_default()).as_secs_f64() * 1e3,
    }))
}

fn median(times: &[Duration]) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}
