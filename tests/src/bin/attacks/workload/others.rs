//! What goes on beside the threads of keys: rekeys, SVMs that come and go, changes of the passphrase.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use claviger::{Engine, KeyAlgorithm, SvmId};
use fastrand::Rng;

use super::event::{Begun, Done, Event, KeyChange, Versions, digest, object, say};
use super::{TENANTS, passphrase};

/// Rekeys the SVMs in turn, without a pause.
pub(super) fn rekey(engine: &Engine, svms: &[SvmId], ended: &AtomicBool) -> Result<()> {
    for svm in svms.iter().cycle() {
        if ended.load(Ordering::Acquire) {
            break;
        }
        let uuid = svm.uuid();
        // Before an SVM's first key there is nothing to rekey.
        if engine.kek(*svm)?.is_none() {
            continue;
        }
        say(&Event::Begin(Begun::Rekey { svm: uuid }));
        engine.rekey_internal(*svm)?.wait()?;
        let kek = engine.kek(*svm)?.context("an SVM that was rekeyed has a KEK")?;
        say(&Event::Done(Done::Rekey { svm: uuid, kek_version: kek.version.get() }));
    }
    Ok(())
}

/// Makes an SVM with a key, renames it, deletes the key and the SVM, over and over; what an earlier process left comes first.
pub(super) fn tenants(engine: &Engine, mut rng: Rng, ended: &AtomicBool) -> Result<()> {
    let [first, second] = TENANTS;
    for name in [first, second] {
        if let Ok(left) = engine.svm_named(name) {
            let keys = super::keys::found(engine, left.id(), 0..1)?;
            let has_key = keys.iter().any(|(_, versions)| !versions.is_empty());
            remove(engine, left.id(), has_key)?;
        }
    }
    while !ended.load(Ordering::Acquire) {
        let svm = create_svm(engine, first)?;
        let (uuid, number, object) = (svm.uuid(), 0, object(0));
        let change = KeyChange::Create;
        say(&Event::Begin(Begun::Keys { svm: uuid, numbers: vec![number], change }));
        let made = engine.create_key(svm, object, KeyAlgorithm::XtsAes256)?;
        say(&Event::Done(Done::Keys { svm: uuid, keys: vec![(number, vec![digest(object, &made)])], change }));
        if rng.bool() {
            say(&Event::Begin(Begun::SvmRenamed { svm: uuid, name: second.to_owned() }));
            engine.rename_svm(svm, &second.parse()?)?;
            say(&Event::Done(Done::SvmRenamed { svm: uuid, name: second.to_owned() }));
        }
        remove(engine, svm, true)?;
    }
    Ok(())
}

pub(super) fn create_svm(engine: &Engine, name: &str) -> Result<SvmId> {
    say(&Event::Begin(Begun::SvmCreated { name: name.to_owned() }));
    let svm = engine.create_svm(&name.parse()?)?.id();
    say(&Event::Done(Done::SvmCreated { svm: svm.uuid(), name: name.to_owned() }));
    Ok(svm)
}

/// Deletes an SVM, and its key first if it has one.
fn remove(engine: &Engine, svm: SvmId, has_key: bool) -> Result<()> {
    let (uuid, number) = (svm.uuid(), 0);
    if has_key {
        let change = KeyChange::Delete;
        say(&Event::Begin(Begun::Keys { svm: uuid, numbers: vec![number], change }));
        engine.delete_key(svm, object(number))?;
        say(&Event::Done(Done::Keys { svm: uuid, keys: vec![(number, Versions::new())], change }));
    }
    say(&Event::Begin(Begun::SvmDeleted { svm: uuid }));
    engine.delete_svm(svm)?;
    say(&Event::Done(Done::SvmDeleted { svm: uuid }));
    Ok(())
}

/// Changes the passphrase from one number to the next.
pub(super) fn passphrases(engine: &Engine, mut number: u32, ended: &AtomicBool) -> Result<()> {
    while !ended.load(Ordering::Acquire) {
        let next = number + 1;
        say(&Event::Begin(Begun::Passphrase { number: next }));
        engine.change_passphrase(&passphrase(engine, number)?, &passphrase(engine, next)?)?;
        say(&Event::Done(Done::Passphrase { number: next }));
        number = next;
    }
    Ok(())
}
