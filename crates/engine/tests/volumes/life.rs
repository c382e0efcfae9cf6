//! What goes right.

use std::sync::Arc;

use claviger::store::MemoryStore;
use claviger::{
    AggregateRef, Engine, KeyAlgorithm, KeyName, NamedKey, NewVolume, ObjectRef, Table, VolumeEncryption, VolumeError,
    VolumeKind,
};
use uuid::Uuid;

use crate::common::{self, records, verify_clean};
use crate::{encrypted, hierarchy, listed, name, plain};

#[test]
fn a_volume_is_what_it_was_made_as_after_a_restart_too() {
    let (store, engine, svm) = hierarchy();
    let (id, aggregate) = (Uuid::from_u128(7), Uuid::from_u128(8));
    let aggregates = vec![
        AggregateRef::Name("aggr1".parse().unwrap()),
        AggregateRef::Uuid(aggregate),
        AggregateRef::Both { name: "aggr2".parse().unwrap(), uuid: aggregate },
    ];
    let new = NewVolume {
        id: Some(id),
        size: Some(20 << 30),
        kind: VolumeKind::Dp,
        aggregates: aggregates.clone(),
        ..encrypted("vol1")
    };
    let made = engine.create_volume(svm, &new).unwrap();
    assert_eq!((made.id, made.svm, made.name.as_str(), made.size), (id, svm, "vol1", Some(20 << 30)));
    assert_eq!((made.kind, &made.aggregates), (VolumeKind::Dp, &aggregates));
    let VolumeEncryption::On { key, made: key_made } = made.encryption else { panic!("{made:?}") };
    assert_eq!((key.object, key.algorithm), (ObjectRef::Volume(id), KeyAlgorithm::XtsAes256));
    assert_eq!(key_made, Some(made.created));
    let bytes = common::versions(&engine.open_key(svm, ObjectRef::Volume(id)).unwrap());
    let other = engine.create_volume(svm, &plain("vol2")).unwrap();
    assert_eq!(other.encryption, VolumeEncryption::Off);
    assert_ne!(other.id, id);
    drop(engine);

    let engine = common::open(&store);
    assert_eq!(engine.volume(id).unwrap(), made);
    assert_eq!(engine.volume_named(svm, &name("vol1")).unwrap(), made);
    assert_eq!(engine.volume_named(svm, &name("vol2")).unwrap(), other);
    assert_eq!(common::versions(&engine.open_key(svm, ObjectRef::Volume(id)).unwrap()), bytes);
    verify_clean(&engine);
}

#[test]
fn a_deleted_volume_leaves_nothing_and_its_name_is_free() {
    let (store, engine, svm) = hierarchy();
    engine.create_volume(svm, &encrypted("stays")).unwrap();
    let before: Vec<_> = records(&*store).into_iter().filter(|(table, ..)| *table != Table::Node).collect();
    for new in [encrypted("vol"), plain("vol")] {
        let volume = engine.create_volume(svm, &new).unwrap();
        engine.delete_volume(volume.id).unwrap();
        assert!(matches!(engine.volume(volume.id), Err(VolumeError::Unknown { .. })));
        assert!(matches!(engine.volume_named(svm, &name("vol")), Err(VolumeError::UnknownName { .. })));
        assert!(matches!(engine.delete_volume(volume.id), Err(VolumeError::Unknown { .. })));
        let now: Vec<_> = records(&*store).into_iter().filter(|(table, ..)| *table != Table::Node).collect();
        assert!(now == before, "something is left of {new:?}");
    }
}

#[test]
fn a_rotation_moves_the_time_of_the_key_however_it_is_begun() {
    let (_, engine, svm) = hierarchy();
    let made = engine.create_volume(svm, &encrypted("vol")).unwrap();
    let state = |engine: &Engine| match engine.volume(made.id).unwrap().encryption {
        VolumeEncryption::On { key, made } => {
            (key.version.get(), key.rotating_from.map(|from| from.get()), made.expect("a time"))
        }
        other => panic!("{other:?}"),
    };
    let first = state(&engine);
    assert_eq!((first.0, first.1), (1, None));

    engine.begin_volume_rotation(made.id).unwrap();
    let begun = state(&engine);
    assert_eq!((begun.0, begun.1), (2, Some(1)));
    assert!(begun.2 > first.2, "{begun:?} after {first:?}");
    assert_eq!(engine.finish_volume_rotation(made.id).unwrap().version().get(), 2);
    assert_eq!(state(&engine), (2, None, begun.2));

    // By the key itself.
    let object = ObjectRef::Volume(made.id);
    engine.begin_rotation(svm, object).unwrap();
    let again = state(&engine);
    assert!(again.0 == 3 && again.2 > begun.2, "{again:?} after {begun:?}");
    engine.rekey_internal(svm).unwrap().wait().unwrap();
    engine.finish_rotation(svm, object).unwrap();
    assert_eq!(state(&engine), (3, None, again.2));
    assert_eq!(engine.volume(made.id).unwrap().created, made.created);
    verify_clean(&engine);
}

#[test]
fn volumes_are_listed_in_one_order_in_pages_of_any_size() {
    let store = common::unattended();
    let engine = common::open(&store);
    let mut svms: Vec<_> =
        ["a", "b", "c"].iter().map(|svm| engine.create_svm(&common::name(svm)).unwrap().id()).collect();
    for svm in &svms {
        for number in [3, 1, 2, 10] {
            let new = if number == 1 { plain("v1") } else { encrypted(&format!("v{number}")) };
            engine.create_volume(*svm, &new).unwrap();
        }
    }
    let of_one = ["v1", "v10", "v2", "v3"].map(str::to_owned).to_vec();
    for limit in [1, 2, 3, 4, 5, 100] {
        assert_eq!(listed(&engine, None, limit), [&of_one[..]; 3].concat(), "in pages of {limit}");
        assert_eq!(listed(&engine, Some(svms[1]), limit), of_one, "in pages of {limit}");
    }
    // A page goes on behind a volume that is gone, and what is made before it is not seen again.
    svms.sort();
    let page = engine.volumes(None, None, 2).unwrap();
    let next = page.next.unwrap();
    assert_eq!((next.svm, next.name.as_str()), (svms[0], "v10"));
    engine.delete_volume(page.volumes[1].volume.as_ref().unwrap().id).unwrap();
    engine.create_volume(svms[0], &plain("v0")).unwrap();
    let rest = engine.volumes(None, Some(&next), 100).unwrap();
    assert_eq!((rest.volumes.len(), rest.next), (10, None));
}

/// What a page and a look-up cost is told by what they read, not by a clock.
#[test]
fn a_page_and_a_look_up_cost_the_same_however_many_volumes_there_are() {
    let (store, engine, svm) = hierarchy();
    let first = engine.create_volume(svm, &plain("first")).unwrap();
    drop(engine);
    let reads = |store: &Arc<MemoryStore>| {
        let counting = Arc::new(Counting::over(store.clone()));
        let engine = common::open(&counting);
        counting.take();
        engine.volume(first.id).unwrap();
        let by_id = counting.take();
        engine.volume_named(svm, &name("first")).unwrap();
        let by_name = counting.take();
        engine.volumes(None, None, 1).unwrap();
        (by_id, by_name, counting.take())
    };
    let few = reads(&store);
    assert_eq!(few, (1, 2, 3));
    let engine = common::open(&store);
    (0..300).for_each(|number| drop(engine.create_volume(svm, &plain(&format!("vol{number}"))).unwrap()));
    drop(engine);
    assert_eq!(reads(&store), few);
}

#[test]
fn a_key_is_found_by_its_name_for_as_long_as_there_is_that_version() {
    let (_, engine, svm) = hierarchy();
    let volume = engine.create_volume(svm, &encrypted("vol")).unwrap().id;
    let object = ObjectRef::Volume(volume);
    let key = |engine: &Engine| KeyName::of_key(svm, &engine.key(svm, object).unwrap());
    let kek = |engine: &Engine| KeyName::of_kek(svm, &engine.kek(svm).unwrap().unwrap());
    let is_there = |name: KeyName| {
        let name: KeyName = name.to_string().parse().unwrap();
        match engine.key_named(&name).unwrap() {
            Some(NamedKey::Key(info)) => info.object == object,
            Some(NamedKey::Kek(info)) => info == engine.kek(svm).unwrap().unwrap(),
            None => false,
            other => panic!("{other:?}"),
        }
    };
    let (first, first_kek) = (key(&engine), kek(&engine));
    assert!(is_there(first) && is_there(first_kek));
    engine.begin_volume_rotation(volume).unwrap();
    let second = key(&engine);
    assert!(first != second && is_there(first) && is_there(second));
    engine.finish_volume_rotation(volume).unwrap();
    assert!(!is_there(first) && is_there(second));

    engine.rekey_internal(svm).unwrap().wait().unwrap();
    let second_kek = kek(&engine);
    assert!(!is_there(first_kek) && is_there(second_kek) && is_there(second));
    assert_eq!(key(&engine), second, "a rekey gives a key no other name");
    engine.delete_volume(volume).unwrap();
    assert!(!is_there(second));
    engine.delete_svm(svm).unwrap();
    assert!(!is_there(second_kek));
}

/// Counts what is read.
struct Counting {
    inner: Arc<MemoryStore>,
    reads: std::sync::atomic::AtomicUsize,
}

impl Counting {
    fn over(inner: Arc<MemoryStore>) -> Self {
        Self { inner, reads: 0.into() }
    }

    fn take(&self) -> usize {
        self.reads.swap(0, std::sync::atomic::Ordering::Relaxed)
    }

    fn add(&self, reads: usize) {
        self.reads.fetch_add(reads, std::sync::atomic::Ordering::Relaxed);
    }
}

impl claviger::Store for Counting {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, claviger::StoreError> {
        self.add(1);
        self.inner.get(table, key)
    }

    fn scan(
        &self,
        table: Table,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<claviger::store::Entry>, claviger::StoreError> {
        let page = self.inner.scan(table, prefix, after, limit)?;
        self.add(page.len());
        Ok(page)
    }

    fn commit(&self, batch: claviger::store::Batch) -> Result<(), claviger::StoreError> {
        self.inner.commit(batch)
    }

    fn replace_each(
        &self,
        table: Table,
        items: &[claviger::store::Replacement],
        guard: &[claviger::store::Expectation],
    ) -> Result<Vec<claviger::store::Outcome>, claviger::StoreError> {
        self.inner.replace_each(table, items, guard)
    }
}
