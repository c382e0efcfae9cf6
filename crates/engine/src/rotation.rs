//! Rotation of one key, for the storage stack's own re-encryption: both versions are open until it is finished.

use claviger_secret::burned;
use claviger_store::{Batch, Expect, Table};
use claviger_wrap::{PlainKey, SvmId, SystemRandom};

use crate::engine::Engine;
use crate::key_error::KeyError;
use crate::key_record::{KeyRecord, ObjectRef, store_key};
use crate::keys::{Committed, Key, OpenKey, seal};

impl Engine {
    /// Makes version n+1 of the object's key beside version n. Both are open until [`Engine::finish_rotation`].
    ///
    /// # Errors
    /// [`KeyError::Rotating`] where a rotation runs already, [`KeyError::Missing`]; others as [`Engine::create_key`].
    pub fn begin_rotation(&self, svm: SvmId, object: ObjectRef) -> Result<OpenKey, KeyError> {
        let live = self.core.svm(svm)?;
        let key = store_key(svm, object);
        // Without a key there is nothing to make a KEK for.
        self.core.read_key(&key, object)?;
        self.core.with_kek(&live, |keks| {
            loop {
                let raw = self.core.read_key(&key, object)?;
                let layout = |source| KeyError::Layout { object, source };
                let KeyRecord::Current(blob) = KeyRecord::parse(svm, object, &raw).map_err(layout)? else {
                    return Err(KeyError::Rotating { object });
                };
                let old = burned(|burning| self.core.open_blob(burning, keks, object, &blob))?;
                let mut place = blob.header().place;
                place.version = place.version.next().map_err(|source| KeyError::Versions { object, source })?;
                let plain = PlainKey::generate(&self.core.arena, blob.header().algorithm, &mut SystemRandom)?;

                let mut value = raw.clone();
                let mut nonces = self.core.nonces(svm, &keks.current, 1)?;
                self.core.raise_once()?;
                burned(|burning| seal(burning, &keks.current, &plain, &place, &mut nonces, &mut value))?;
                let batch = Batch::new().require(Table::Keys, key, Expect::Exactly(raw)).put(Table::Keys, key, value);
                let batch = self.core.rotate_volume(svm, object, place.version, batch)?;
                match self.core.commit_under(keks, batch)? {
                    Committed::Done => {
                        return Ok(OpenKey::Rotating { old, new: Key::new(place.version, plain) });
                    }
                    // A rekey or a delete was faster: look again.
                    Committed::RecordChanged { .. } => {}
                }
            }
        })
    }

    /// Drops the older version: the storage stack has re-encrypted everything.
    ///
    /// # Errors
    /// [`KeyError::NotRotating`] where no rotation runs, [`KeyError::Missing`]; [`KeyError::Damaged`] where the newer
    /// version does not open: then the older one is kept.
    pub fn finish_rotation(&self, svm: SvmId, object: ObjectRef) -> Result<Key, KeyError> {
        let live = self.core.svm(svm)?;
        let key = store_key(svm, object);
        self.core.read_key(&key, object)?;
        self.core.with_kek(&live, |keks| {
            loop {
                let raw = self.core.read_key(&key, object)?;
                let layout = |source| KeyError::Layout { object, source };
                let KeyRecord::Rotating { new, .. } = KeyRecord::parse(svm, object, &raw).map_err(layout)? else {
                    return Err(KeyError::NotRotating { object });
                };
                let opened = burned(|burning| self.core.open_blob(burning, keks, object, &new))?;
                self.core.raise_once()?;
                let kept = new.as_bytes().to_vec();
                let batch =
                    Batch::new().require(Table::Keys, key, Expect::Exactly(raw.clone())).put(Table::Keys, key, kept);
                match self.core.commit_under(keks, batch)? {
                    Committed::Done => return Ok(opened),
                    Committed::RecordChanged { .. } => {}
                }
            }
        })
    }
}
