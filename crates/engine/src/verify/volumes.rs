//! Named volumes: a volume's record and that of its name point at each other, and its key record is there, and as new as the
//! volume knows it.

use claviger_store::Table;
use claviger_wrap::SvmId;
use uuid::Uuid;

use super::objects::{Found, Objects, Seen};
use super::report::Problem;
use crate::key_error::KeyError;
use crate::key_record::{ObjectRef, store_key};
use crate::keys::info;
use crate::records::{NewestKey, RecordName, SvmRecord, VolumeNameRecord, VolumeRecord};
use crate::volume::VolumePosition;

impl Objects<'_> {
    pub(super) fn volume(&self, volume: Uuid, seen: &mut Vec<Seen>) -> Result<Found, KeyError> {
        let key = VolumeRecord::key_of(volume);
        let record = match self.open::<VolumeRecord>(&key, seen)? {
            Ok(Some(record)) => record,
            Ok(None) => return Ok(None),
            Err(found) => return Ok(found),
        };
        let here = RecordName::of::<VolumeRecord>(&key);
        let svm = SvmId::from(record.svm);
        if self.core.live.svm(svm).is_none()
            && self.get(&RecordName::of::<SvmRecord>(&SvmRecord::key_of(svm)), seen)?.is_none()
        {
            let detail = format!("its SVM {svm} does not exist; delete the volume");
            return Ok(Some((here, Problem::Inconsistent, detail)));
        }
        let naming = VolumeNameRecord::key_of(svm, &record.name);
        match self.open::<VolumeNameRecord>(&naming, seen)? {
            Ok(None) => {
                let detail = format!(
                    "volume {volume} has this name: another could take it too; put the record back from a copy"
                );
                return Ok(Some((RecordName::of::<VolumeNameRecord>(&naming), Problem::Missing, detail)));
            }
            Ok(Some(naming)) if naming.volume != volume => {
                let detail = format!("its name belongs to volume {}; delete one of them", naming.volume);
                return Ok(Some((here, Problem::Inconsistent, detail)));
            }
            // Its own finding is made in its turn.
            Ok(Some(_)) | Err(_) => {}
        }
        self.key(here, &record, seen)
    }

    /// The volume and its key.
    fn key(&self, here: RecordName, record: &VolumeRecord, seen: &mut Vec<Seen>) -> Result<Found, KeyError> {
        let (svm, object) = (SvmId::from(record.svm), ObjectRef::Volume(record.volume));
        let key = RecordName { table: Table::Keys, key: store_key(svm, object).to_vec() };
        let raw = self.get(&key, seen)?;
        Ok(match (record.key, raw) {
            (None, None) => None,
            (None, Some(_)) => {
                let detail = "the volume is not encrypted, and there is a key of it: one of the two records is from another time";
                Some((here, Problem::Inconsistent, detail.to_owned()))
            }
            (Some(_), None) => {
                let detail = format!("the volume \"{}\" is encrypted with it; put it back from a copy", record.name);
                Some((key, Problem::Missing, detail))
            }
            (Some(NewestKey { key_version, .. }), Some(raw)) => match info(svm, object, &raw) {
                Ok(info) if info.version < key_version => {
                    let detail = format!(
                        "it is an older copy: the volume \"{}\" has had key version {key_version}, and here is {}; put the newest back",
                        record.name, info.version
                    );
                    Some((key, Problem::Inconsistent, detail))
                }
                Ok(info) if info.version > key_version => {
                    let detail = format!(
                        "it is an older copy: its key has version {} already; put the newest back",
                        info.version
                    );
                    Some((here, Problem::Inconsistent, detail))
                }
                // What does not parse has a finding among the keys.
                Ok(_) | Err(_) => None,
            },
        })
    }

    pub(super) fn volume_name(&self, position: &VolumePosition, seen: &mut Vec<Seen>) -> Result<Found, KeyError> {
        let key = VolumeNameRecord::key_of(position.svm, &position.name);
        let naming = match self.open::<VolumeNameRecord>(&key, seen)? {
            Ok(Some(naming)) => naming,
            Ok(None) => return Ok(None),
            Err(found) => return Ok(found),
        };
        let volume = VolumeRecord::key_of(naming.volume);
        Ok(match self.open::<VolumeRecord>(&volume, seen)? {
            Ok(None) => {
                let detail = format!("\"{}\" names this volume; put its record back from a copy", naming.name);
                Some((RecordName::of::<VolumeRecord>(&volume), Problem::Missing, detail))
            }
            Ok(Some(record)) if record.naming() != naming => {
                let detail =
                    format!("volume {} is named \"{}\": nobody else can take this name", record.volume, record.name);
                Some((RecordName::of::<VolumeNameRecord>(&key), Problem::Inconsistent, detail))
            }
            Ok(Some(_)) | Err(_) => None,
        })
    }
}
