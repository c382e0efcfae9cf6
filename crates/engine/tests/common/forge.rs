//! Records that say something else, sealed as the engine would: only who has the sealing key can make them.

use claviger::{Store, Table};
use claviger_wrap::{RecordPlace, SealingKey, SystemRandom};
use serde_json::Value;

use super::{arena, put, sealing_key};

fn sealing() -> SealingKey {
    SealingKey::new(&arena(), sealing_key(0x5e)).unwrap()
}

/// What a record says.
pub(crate) fn read(store: &dyn Store, table: Table, key: &[u8]) -> Value {
    let raw = store.get(table, key).unwrap().unwrap();
    serde_json::from_slice(&sealing().open(RecordPlace { table: table.number(), key }, &raw).unwrap()).unwrap()
}

/// Puts a record that says this.
pub(crate) fn write(store: &dyn Store, table: Table, key: &[u8], body: &Value) {
    let json = serde_json::to_vec(body).unwrap();
    let raw = sealing().seal(RecordPlace { table: table.number(), key }, &json, &mut SystemRandom).unwrap();
    put(store, table, key, &raw);
}

/// Changes what a record says.
pub(crate) fn change(store: &dyn Store, table: Table, key: &[u8], change: impl FnOnce(&mut Value)) {
    let mut body = read(store, table, key);
    change(&mut body);
    write(store, table, key, &body);
}
