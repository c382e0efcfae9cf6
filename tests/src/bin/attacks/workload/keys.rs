//! The threads of keys: each has its own objects, and knows what their keys have to be.

use std::collections::BTreeMap;
use std::ops::Range;

use anyhow::{Context, Result, bail};
use claviger::{Creation, Engine, KeyAlgorithm, KeyError, KeyType, NewKey, ObjectRef, SvmId};
use fastrand::Rng;

use super::event::{Begun, Done, Event, KeyChange, Versions, digest, digests, object, say};

/// Objects per thread and SVM.
const OBJECTS: u32 = 24;
/// The objects whose keys stay have numbers from here on.
const FIRST_OF_BALLAST: u32 = 1_000;
/// The keys that stay are made so many at a time.
const CHUNK: usize = 500;

/// Creates, opens, rotates and deletes the keys of this thread's objects, so many times or without end.
pub(super) fn write(engine: &Engine, svms: &[SvmId], writer: u32, rng: Rng, calls: Option<u32>) -> Result<()> {
    let numbers = writer * OBJECTS..(writer + 1) * OBJECTS;
    let mut keys = BTreeMap::new();
    for &svm in svms {
        let of_svm = found(engine, svm, numbers.clone())?;
        keys.extend(of_svm.into_iter().map(|(number, versions)| ((svm, number), versions)));
    }
    let mut writer = Writer { engine, keys, rng };
    let mut made = 0;
    while calls.is_none_or(|calls| made < calls) {
        writer.call()?;
        made += 1;
    }
    Ok(())
}

struct Writer<'a> {
    engine: &'a Engine,
    /// What each key has to be.
    keys: BTreeMap<(SvmId, u32), Versions>,
    rng: Rng,
}

impl Writer<'_> {
    fn call(&mut self) -> Result<()> {
        let (svm, number) = self.rng.choice(self.keys.keys()).copied().context("there are objects")?;
        let there = self.keys.get(&(svm, number)).map_or(0, Vec::len);
        match (there, self.rng.u8(0..8)) {
            (0, 0) => self.create_many(svm),
            (0, _) => self.change(svm, number, KeyChange::Create),
            (_, 0..4) => self.open(svm, number),
            (_, 4) => self.change(svm, number, KeyChange::Delete),
            (1, _) => self.change(svm, number, KeyChange::BeginRotation),
            (_, _) => self.change(svm, number, KeyChange::FinishRotation),
        }
    }

    fn open(&self, svm: SvmId, number: u32) -> Result<()> {
        let (found, expected) = (versions(self.engine, svm, number)?, self.keys.get(&(svm, number)));
        if Some(&found) != expected {
            bail!("{} of SVM {svm} opened as {found:?} and not as {expected:?}", object(number));
        }
        Ok(())
    }

    fn change(&mut self, svm: SvmId, number: u32, change: KeyChange) -> Result<()> {
        say(&Event::Begin(Begun::Keys { svm: svm.uuid(), numbers: vec![number], change }));
        let (engine, object) = (self.engine, object(number));
        let after = match change {
            KeyChange::Create => vec![digest(object, &engine.create_key(svm, object, algorithm(object))?)],
            KeyChange::Delete => engine.delete_key(svm, object).map(|()| Versions::new())?,
            KeyChange::BeginRotation => digests(object, &engine.begin_rotation(svm, object)?),
            KeyChange::FinishRotation => vec![digest(object, &engine.finish_rotation(svm, object)?)],
        };
        say(&Event::Done(Done::Keys { svm: svm.uuid(), keys: vec![(number, after.clone())], change }));
        self.keys.insert((svm, number), after);
        Ok(())
    }

    /// Creates all keys of the SVM that are not there, in one call.
    fn create_many(&mut self, svm: SvmId) -> Result<()> {
        let absent = self.keys.iter().filter(|((of, _), versions)| *of == svm && versions.is_empty());
        let absent: Vec<_> = absent.map(|((_, number), _)| *number).collect();
        for (number, after) in create(self.engine, svm, absent)? {
            self.keys.insert((svm, number), after);
        }
        Ok(())
    }
}

/// Makes the keys that stay, as far as they are not there.
pub(super) fn ballast(engine: &Engine, svm: SvmId, count: u32) -> Result<()> {
    let mut absent = Vec::new();
    for number in FIRST_OF_BALLAST..FIRST_OF_BALLAST + count {
        if versions(engine, svm, number)?.is_empty() {
            absent.push(number);
        }
    }
    absent.chunks(CHUNK).try_for_each(|chunk| create(engine, svm, chunk.to_vec()).map(drop))
}

fn create(engine: &Engine, svm: SvmId, numbers: Vec<u32>) -> Result<Vec<(u32, Versions)>> {
    let change = KeyChange::Create;
    let new = |number: &u32| NewKey { object: object(*number), algorithm: algorithm(object(*number)) };
    let new: Vec<_> = numbers.iter().map(new).collect();
    say(&Event::Begin(Begun::Keys { svm: svm.uuid(), numbers: numbers.clone(), change }));
    let made = engine.create_keys(svm, &new)?;
    if made.iter().any(|creation| *creation != Creation::Created) {
        bail!("a key that was not there was found to exist");
    }
    let keys: Vec<_> =
        numbers.into_iter().map(|number| Ok((number, versions(engine, svm, number)?))).collect::<Result<_>>()?;
    say(&Event::Done(Done::Keys { svm: svm.uuid(), keys: keys.clone(), change }));
    Ok(keys)
}

/// What an earlier process has left of these objects' keys.
pub(super) fn found(engine: &Engine, svm: SvmId, numbers: Range<u32>) -> Result<Vec<(u32, Versions)>> {
    let keys: Vec<_> = numbers.map(|number| Ok((number, versions(engine, svm, number)?))).collect::<Result<_>>()?;
    let name = engine.svm(svm)?.name().map(ToString::to_string).unwrap_or_default();
    say(&Event::Found { svm: svm.uuid(), name, keys: keys.clone() });
    Ok(keys)
}

/// What the key of an object is now.
fn versions(engine: &Engine, svm: SvmId, number: u32) -> Result<Versions> {
    match engine.open_key(svm, object(number)) {
        Ok(opened) => Ok(digests(object(number), &opened)),
        Err(KeyError::Missing { .. }) => Ok(Versions::new()),
        Err(error) => Err(error.into()),
    }
}

fn algorithm(object: ObjectRef) -> KeyAlgorithm {
    match object.key_type() {
        KeyType::Vek | KeyType::Aek => KeyAlgorithm::XtsAes256,
        KeyType::NseAk => KeyAlgorithm::Aes256,
    }
}
