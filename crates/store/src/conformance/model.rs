use std::collections::BTreeMap;

use crate::{Batch, Entry, Expect, Expectation, Outcome, Replacement, Store, StoreError, Table};

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

const TABLE: Table = Table::Keystores;

/// Marsaglia's xorshift: the same numbers every time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    /// One of 85 keys, so that most are met again, and many are prefixes of others.
    fn key(&mut self) -> Vec<u8> {
        let length = self.below(4);
        (0..length).map(|_| if self.below(2) == 0 { 0 } else { 255 - u8::try_from(self.below(3)).unwrap() }).collect()
    }

    fn value(&mut self) -> Vec<u8> {
        let length = usize::try_from(self.below(40)).unwrap();
        vec![u8::try_from(self.below(256)).unwrap(); length]
    }

    /// Mostly what holds.
    fn expect(&mut self, model: &Model, key: &[u8]) -> Expect {
        match (self.below(8), model.get(key)) {
            (0, _) => Expect::Exactly(self.value()),
            (1, _) | (_, None) => Expect::Absent,
            (_, Some(value)) => Expect::Exactly(value.clone()),
        }
    }
}

pub(super) fn random_operations_agree_with_a_model(store: &dyn Store) {
    let mut numbers = Numbers(0x6B65_7973);
    let mut model = Model::new();
    for _ in 0..1500 {
        match numbers.below(10) {
            0..5 => commit(store, &mut model, &mut numbers),
            5..7 => replace_each(store, &mut model, &mut numbers),
            _ => read(store, &model, &mut numbers),
        }
    }
    assert!(model.len() > 20, "{} records are too few to have met anything", model.len());
}

fn commit(store: &dyn Store, model: &mut Model, numbers: &mut Numbers) {
    let (mut batch, mut conflict, mut changed) = (Batch::new(), None, model.clone());
    let mut keys = Vec::new();
    for _ in 0..numbers.below(6) {
        let key = numbers.key();
        if numbers.below(2) == 0 {
            let expect = numbers.expect(model, &key);
            if conflict.is_none() && !expect.holds(model.get(&key).map(Vec::as_slice)) {
                conflict = Some(key.clone());
            }
            batch = batch.require(TABLE, key.clone(), expect);
        }
        if keys.contains(&key) {
            continue;
        }
        if numbers.below(3) == 0 {
            changed.remove(&key);
            batch = batch.delete(TABLE, key.clone());
        } else {
            let value = numbers.value();
            changed.insert(key.clone(), value.clone());
            batch = batch.put(TABLE, key.clone(), value);
        }
        keys.push(key);
    }
    match (store.commit(batch), conflict) {
        (Ok(()), None) => *model = changed,
        (Err(StoreError::Conflict { table: TABLE, key }), Some(conflict)) => assert_eq!(key, conflict),
        (answer, conflict) => panic!("{answer:?} where the model says {conflict:?}"),
    }
}

fn replace_each(store: &dyn Store, model: &mut Model, numbers: &mut Numbers) {
    let key = numbers.key();
    let guard = Expectation { table: TABLE, expect: numbers.expect(model, &key), key };
    let (mut items, mut expected) = (Vec::new(), Vec::new());
    for _ in 0..numbers.below(100) {
        let key = numbers.key();
        let item = Replacement { expect: numbers.expect(model, &key), key, value: numbers.value() };
        expected.push(if !guard.expect.holds(model.get(&guard.key).map(Vec::as_slice)) {
            Outcome::Refused
        } else if !item.expect.holds(model.get(&item.key).map(Vec::as_slice)) {
            Outcome::Changed
        } else {
            model.insert(item.key.clone(), item.value.clone());
            Outcome::Replaced
        });
        items.push(item);
    }
    assert_eq!(store.replace_each(TABLE, &items, &[guard]).unwrap(), expected);
}

fn read(store: &dyn Store, model: &Model, numbers: &mut Numbers) {
    let key = numbers.key();
    assert_eq!(store.get(TABLE, &key).unwrap(), model.get(&key).cloned());
    let (prefix, after) = (numbers.key(), numbers.key());
    let after = (numbers.below(2) == 0).then_some(after.as_slice());
    let limit = usize::try_from(numbers.below(12)).unwrap();
    let selected =
        model.iter().filter(|(key, _)| key.starts_with(&prefix) && after.is_none_or(|after| &key[..] > after));
    let expected: Vec<_> =
        selected.take(limit).map(|(key, value)| Entry { key: key.clone(), value: value.clone() }).collect();
    assert_eq!(store.scan(TABLE, &prefix, after, limit).unwrap(), expected);
}
