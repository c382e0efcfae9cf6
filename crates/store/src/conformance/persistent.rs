use std::path::Path;

use super::{all, exactly, put};
use crate::{Batch, Expect, Outcome, Replacement, Store, Table};

/// Checks that a store keeps its records when it is closed. `open` opens the store at a path, and creates it if there is
/// none; dropping closes it. The path is in a temporary directory, and does not exist at first.
pub fn run_persistent(open: &dyn Fn(&Path) -> Box<dyn Store>) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("store");
    assert_eq!(all(&*open(&path), Table::Svms), []);

    let key = |number: u16| number.to_be_bytes().to_vec();
    for round in 0..5_u8 {
        let store = open(&path);
        let kept = Batch::new().put(Table::Svms, [round], [round]).put(Table::Keks, [round], []);
        store.commit(kept.delete(Table::Jobs, *b"job")).unwrap();
        put(&*store, Table::Jobs, &[round], &[round; 4]);
        let replace = |number| Replacement {
            key: key(number),
            expect: round.checked_sub(1).map_or(Expect::Absent, |before| exactly(&[before; 100])),
            value: vec![round; 100],
        };
        let outcomes = store.replace_each(Table::Keys, &(0..500).map(replace).collect::<Vec<_>>(), &[]).unwrap();
        assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Replaced));
        let conflict = Batch::new().put(Table::Svms, *b"never", []).require(Table::Svms, [round], Expect::Absent);
        store.commit(conflict).unwrap_err();
        put(&*store, Table::Jobs, b"job", &[]);
        drop(store);

        let store = open(&path);
        let rounds = || 0..=round;
        assert_eq!(all(&*store, Table::Svms), rounds().map(|n| (vec![n], vec![n])).collect::<Vec<_>>());
        assert_eq!(all(&*store, Table::Keks), rounds().map(|n| (vec![n], vec![])).collect::<Vec<_>>());
        let job = (b"job".to_vec(), vec![]);
        assert_eq!(all(&*store, Table::Jobs), rounds().map(|n| (vec![n], vec![n; 4])).chain([job]).collect::<Vec<_>>());
        let keys = (0..500).map(|number| (key(number), vec![round; 100]));
        assert_eq!(all(&*store, Table::Keys), keys.collect::<Vec<_>>());
    }
}
