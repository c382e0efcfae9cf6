//! Records that say something else, sealed as the engine would: only who has the sealing key can make them.

use claviger::{ObjectRef, Store, SvmId, Table};
use claviger_wrap::{RecordPlace, SealingKey, SystemRandom};
use serde_json::Value;

use super::store::put;
use super::{arena, sealing_key};

/// Changes what a record says.
pub(crate) fn change(store: &dyn Store, table: Table, key: &[u8], change: impl FnOnce(&mut Value)) {
    let sealing = SealingKey::new(&arena(), sealing_key()).unwrap();
    let place = || RecordPlace { table: table.number(), key };
    let raw = store.get(table, key).unwrap().unwrap();
    let mut body: Value = serde_json::from_slice(&sealing.open(place(), &raw).unwrap()).unwrap();
    change(&mut body);
    let json = serde_json::to_vec(&body).unwrap();
    put(store, table, key, &sealing.seal(place(), &json, &mut SystemRandom).unwrap());
}

/// The store key of an object's key record (`docs/formats.md`, key record).
pub(crate) fn store_key(svm: SvmId, object: ObjectRef) -> Vec<u8> {
    [svm.as_bytes().as_slice(), &[object.key_type().number()], object.uuid().as_bytes()].concat()
}

/// Changes the byte at `at` of an object's key record.
pub(crate) fn damage_key(store: &dyn Store, svm: SvmId, object: ObjectRef, at: usize) {
    let key = store_key(svm, object);
    let mut blob = store.get(Table::Keys, &key).unwrap().unwrap();
    blob[at] ^= 1;
    put(store, Table::Keys, &key, &blob);
}

/// Changes what a keeper has kept of the SVM's current KEK.
pub(crate) fn damage_kek(store: &dyn Store, svm: SvmId) {
    change(store, Table::Keks, svm.as_bytes(), |list| {
        let kept = &mut list["current"]["kept"][0]["bytes"];
        let text = kept.as_str().unwrap();
        let (text, last) = text.split_at(text.len() - 1);
        *kept = format!("{text}{}", if last == "0" { "1" } else { "0" }).into();
    });
}
