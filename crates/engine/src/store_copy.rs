//! Copying a hierarchy to a store of another kind, or of the same.

use std::io;
use std::path::{Path, PathBuf};

use claviger_store::{
    Entry, Expect, Replacement, Store, StoreError, StoreKind, Table, open_store, open_store_copy,
    open_store_copy_locked,
};

use crate::anchor;
use crate::engine::{Core, Engine, create_store, store_dir};
use crate::error::{Advice, Blame, Fault};
use crate::keys::PAGE;
use crate::open_error::OpenEngineError;
use crate::options::{KeyMemory, Options, SealingSource};
use crate::records::{NodeRecord, RecordName};
use crate::sealing_key;

impl Engine {
    /// Copies the hierarchy in `from` to a store of this kind in `to`, which must not exist or be empty, and returns the copy,
    /// open for reading only: verify it. `progress` is called with the number of records copied, once a page.
    ///
    /// Nothing is written below `from`, and its store stays locked for writing until the copy is complete. Records are copied
    /// as they are, byte for byte: one that is damaged is as damaged in the copy, and does not keep the others. The sealing
    /// key and the anchor are copied too, where they are beside the store. When all are copied, the copy's store is closed,
    /// opened anew, and compared with the source. The hierarchy's own record is copied last, after that, so that a copy that
    /// was interrupted, or that is not the same, does not open; it can be repeated, unless the source was changed in between.
    ///
    /// Source and copy are one hierarchy. Only one of them must be used from then on: a KEK's seals are counted in the store.
    ///
    /// # Errors
    /// [`CopyError`].
    pub fn copy_store(
        from: &Path,
        to: &Path,
        kind: StoreKind,
        options: Options,
        progress: impl FnMut(u64),
    ) -> Result<Self, CopyError> {
        let store_options = options.store_options.clone();
        let source = open_store_copy_locked(&store_dir(from), &store_options).map_err(OpenEngineError::from)?;
        if source.get(Table::Node, NodeRecord::KEY).map_err(CopyError::Source)?.is_none() {
            return Err(OpenEngineError::Unfinished { dir: Some(from.to_owned()) }.into());
        }
        let arena = options.memory.arena().map_err(OpenEngineError::from)?;
        let options = Options { memory: KeyMemory::Shared(arena.clone()), store: kind, ..options };

        let copy = create_store(to, &options)?;
        refuse_other_records(&*source, &*copy, to)?;
        if let SealingSource::BesideStore = options.sealing {
            sealing_key::copy_file(&arena, from, to)?;
        }
        copy_records(&*source, &*copy, progress)?;
        anchor::copy_file(from, to).map_err(|source| CopyError::Anchor { dir: from.to_owned(), source })?;
        drop(copy);
        let copy = open_store(&store_dir(to), &store_options).map_err(OpenEngineError::from)?;
        complete(&*source, &*copy)?;
        drop(copy);

        let copy = open_store_copy(&store_dir(to), &store_options).map_err(OpenEngineError::from)?;
        compare(&*source, &*copy, Table::Node, |_| true)?;
        let fetching = options.fetching;
        let mut core = Core::load(copy.into(), Some(to), options)?;
        core.read_only = true;
        Ok(Self::over(core, false, fetching))
    }
}

/// Refuses a store that has records which an interrupted copy of this source would not have left.
fn refuse_other_records(source: &dyn Store, copy: &dyn Store, to: &Path) -> Result<(), CopyError> {
    let exists = || OpenEngineError::Exists { dir: Some(to.to_owned()) };
    if copy.get(Table::Node, NodeRecord::KEY).map_err(CopyError::Copy)?.is_some() {
        return Err(exists().into());
    }
    for table in Table::ALL {
        each_page(copy, table, CopyError::Copy, |page| {
            for Entry { key, value } in page {
                if source.get(table, &key).map_err(CopyError::Source)?.as_ref() != Some(&value) {
                    return Err(exists().into());
                }
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// Copies all records but the hierarchy's own.
fn copy_records(source: &dyn Store, copy: &dyn Store, mut progress: impl FnMut(u64)) -> Result<(), CopyError> {
    let mut copied = 0;
    for table in Table::ALL {
        each_page(source, table, CopyError::Source, |page| {
            copied += page.len() as u64;
            put_all(copy, table, page.into_iter().filter(|entry| !is_last(table, entry)))?;
            progress(copied);
            Ok(())
        })?;
    }
    Ok(())
}

/// Compares what was copied, and only then copies the record that says that the hierarchy is complete.
fn complete(source: &dyn Store, copy: &dyn Store) -> Result<(), CopyError> {
    for table in Table::ALL {
        compare(source, copy, table, |entry| !is_last(table, entry))?;
    }
    let last = source.get(Table::Node, NodeRecord::KEY).map_err(CopyError::Source)?;
    put_all(copy, Table::Node, last.map(|value| Entry { key: NodeRecord::KEY.to_vec(), value }).into_iter())
}

/// Whether it is the hierarchy's own record.
fn is_last(table: Table, entry: &Entry) -> bool {
    table == Table::Node && entry.key == NodeRecord::KEY
}

/// What was there already is left, and compared at the end.
fn put_all(copy: &dyn Store, table: Table, entries: impl Iterator<Item = Entry>) -> Result<(), CopyError> {
    let put = |Entry { key, value }| Replacement { key, expect: Expect::Absent, value };
    copy.replace_each(table, &entries.map(put).collect::<Vec<_>>(), &[]).map(drop).map_err(CopyError::Copy)
}

/// Compares the records of a table that are `wanted`.
fn compare(
    source: &dyn Store,
    copy: &dyn Store,
    table: Table,
    wanted: impl Fn(&Entry) -> bool,
) -> Result<(), CopyError> {
    let is_wanted = |entry: &Result<Entry, CopyError>| entry.as_ref().map_or(true, &wanted);
    let mut expected = entries(source, table, CopyError::Source).filter(is_wanted);
    let mut found = entries(copy, table, CopyError::Copy).filter(is_wanted);
    loop {
        match (expected.next().transpose()?, found.next().transpose()?) {
            (None, None) => return Ok(()),
            (expected, found) if expected == found => {}
            (Some(Entry { key, .. }), _) | (None, Some(Entry { key, .. })) => {
                return Err(CopyError::Different { record: RecordName { table, key } });
            }
        }
    }
}

/// The records of a table, read a page at a time.
fn entries(
    store: &dyn Store,
    table: Table,
    failed: fn(StoreError) -> CopyError,
) -> impl Iterator<Item = Result<Entry, CopyError>> {
    let mut after: Option<Vec<u8>> = None;
    let mut page = Vec::new().into_iter();
    std::iter::from_fn(move || {
        if page.as_slice().is_empty() {
            match store.scan(table, &[], after.as_deref(), PAGE) {
                Ok(next) => page = next.into_iter(),
                Err(error) => return Some(Err(failed(error))),
            }
            after = page.as_slice().last().map(|last| last.key.clone());
        }
        page.next().map(Ok)
    })
    .fuse()
}

fn each_page(
    store: &dyn Store,
    table: Table,
    failed: fn(StoreError) -> CopyError,
    mut visit: impl FnMut(Vec<Entry>) -> Result<(), CopyError>,
) -> Result<(), CopyError> {
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = store.scan(table, &[], after.as_deref(), PAGE).map_err(failed)?;
        match page.last() {
            Some(last) => after = Some(last.key.clone()),
            None => return Ok(()),
        }
        visit(page)?;
    }
}

/// Why a hierarchy was not copied. The source is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CopyError {
    /// The source does not open, or the copy cannot be made or opened.
    #[error(transparent)]
    Open(#[from] OpenEngineError),
    /// The source's store failed.
    #[error("the store that is copied failed")]
    Source(#[source] StoreError),
    /// The copy's store failed. What is there of it does not open as a hierarchy.
    #[error("the copy's store failed; see to the cause, then repeat the copy")]
    Copy(#[source] StoreError),
    /// The anchor beside the source was not copied.
    #[error("the anchor in {} could not be copied", dir.display())]
    Anchor {
        /// The source's directory.
        dir: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A record of the copy is not what it is in the source.
    #[error("record {record} of the copy is not that of the source; remove the copy and report this")]
    Different {
        /// The record.
        record: RecordName,
    },
}

impl Blame for CopyError {
    fn blame(&self) -> (Fault, Advice) {
        match self {
            Self::Open(error) => error.blame(),
            Self::Source(error) | Self::Copy(error) => error.blame(),
            Self::Anchor { .. } => (Fault::Node, Advice::Retry),
            Self::Different { .. } => (Fault::Node, Advice::Report),
        }
    }
}

#[cfg(test)]
mod tests {
    use claviger_store::{Batch, MemoryStore};

    use super::*;

    fn store_of(records: &[(u16, u8)]) -> MemoryStore {
        let store = MemoryStore::default();
        for (key, value) in records {
            store.commit(Batch::new().put(Table::Keys, key.to_be_bytes(), [*value])).unwrap();
        }
        store
    }

    #[test]
    fn what_differs_is_named() {
        let records: Vec<_> = (0..3_000).map(|key| (key, 1)).collect();
        let source = store_of(&records);
        compare(&source, &store_of(&records), Table::Keys, |_| true).unwrap();
        let other_value: Vec<_> = (0..3_000).map(|key| (key, if key == 2_500 { 2 } else { 1 })).collect();
        let lacks_one: Vec<_> = records.iter().copied().filter(|(key, _)| *key != 1_024).collect();
        let has_more: Vec<_> = records.iter().copied().chain([(3_000, 1)]).collect();
        for (copy, key) in [(other_value, 2_500_u16), (lacks_one, 1_024), (has_more, 3_000), (vec![], 0)] {
            let error = compare(&source, &store_of(&copy), Table::Keys, |_| true).unwrap_err();
            let named = matches!(&error, CopyError::Different { record } if record.key == key.to_be_bytes());
            assert!(named, "{key}: {error}");
        }
        compare(&source, &store_of(&[]), Table::Svms, |_| true).unwrap();
    }

    #[test]
    fn only_a_copy_that_is_the_same_is_completed() {
        let put = |store: &MemoryStore, key: &[u8]| store.commit(Batch::new().put(Table::Node, key, [1])).unwrap();
        let source = store_of(&[(1, 1), (2, 1)]);
        put(&source, NodeRecord::KEY);
        put(&source, b"epoch");
        for (records, epoch, is_same) in [
            (&[(1, 1), (2, 1)][..], true, true),
            (&[(1, 1), (2, 2)], true, false),
            (&[(1, 1)], true, false),
            (&[(1, 1), (2, 1)], false, false),
        ] {
            let copy = store_of(records);
            if epoch {
                put(&copy, b"epoch");
            }
            let completed = complete(&source, &copy);
            assert_eq!(completed.is_ok(), is_same, "{records:?}: {completed:?}");
            let is_whole = copy.get(Table::Node, NodeRecord::KEY).unwrap().is_some();
            assert_eq!(is_whole, is_same, "{records:?}");
        }
    }
}
