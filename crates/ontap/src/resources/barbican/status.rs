//! Whether Barbican is reachable and the SVM's KEK in memory: asked for only where somebody wants to know.

use claviger::{Engine, KekStanding, NodeStatus};
use uuid::Uuid;

use super::SCHEMA;
use crate::call::Call;
use crate::codes::barbican as code;
use crate::conventions::fields::Wanted;
use crate::record::Record;

/// The code of what is well.
const FINE: &str = "0";

pub(super) fn compute(call: &Call<'_>, record: &mut Record, wanted: &Wanted) {
    let Some(keystore) = record.text("uuid").and_then(|uuid| Uuid::parse_str(uuid).ok()) else { return };
    if wanted.has_expensive_at("barbican_reachability", &SCHEMA) {
        let (reachable, code, message) = reachability(call, keystore);
        record.set("barbican_reachability.reachable", reachable);
        record.set("barbican_reachability.message", message);
        record.set("barbican_reachability.code", code);
    }
    if wanted.has_expensive_at("state", &SCHEMA)
        && let Some((available, code, message)) = state(&call.service.engine, keystore)
    {
        record.set("state.cluster_state", available);
        record.set("state.message", message);
        record.set("state.code", code);
    }
}

/// Asks Barbican, now, and waits no longer than the request may take.
fn reachability(call: &Call<'_>, keystore: Uuid) -> (bool, String, String) {
    let reason = match call.service.probes.ask(&call.service.engine, keystore, call.deadline) {
        Ok(()) => return (true, FINE.to_owned(), String::new()),
        Err(reason) => reason,
    };
    let message = format!("The Barbican service is not reachable from all nodes - {reason}.");
    (false, code::BARBICAN_UNREACHABLE.number.to_string(), message)
}

/// Looks at memory. A configuration that is not enabled has no state.
fn state(engine: &Engine, keystore: Uuid) -> Option<(bool, String, String)> {
    let status = engine.keystore_status(keystore).ok()?;
    status.state?;
    let reasons: Vec<_> = status.nodes.iter().filter_map(reason).collect();
    if reasons.is_empty() {
        return Some((true, FINE.to_owned(), String::new()));
    }
    let message =
        format!("The top-level internal key encryption key is not available on these nodes: {}", reasons.join(" "));
    Some((false, code::KEK_UNAVAILABLE.number.to_string(), message))
}

/// Why the KEK is not in a node's memory, if it is not.
fn reason(node: &NodeStatus) -> Option<String> {
    let reason = match &node.kek {
        KekStanding::InMemory => return None,
        KekStanding::NoKeys => {
            "No volumes created yet for the SVM. The status of the wrapped key follows once an encrypted volume exists."
        }
        KekStanding::Missing { reason } => reason,
        _ => "Unknown.",
    };
    Some(format!("Node: {}. Reason: {reason}", node.node))
}
