//! `/storage/volumes`: as much of a volume as its key needs.

mod schema;

use claviger::{
    AggregateRef, Engine, KeyName, SvmId, VolumeEncryption, VolumeError, VolumeInfo, VolumeKind, VolumeName,
    VolumePosition,
};
use claviger::{KeyError, ListedVolume, NewVolume};
use uuid::Uuid;

use self::schema::SCHEMA;
use super::running_jobs::time;
use crate::call::{Call, instance};
use crate::codes;
use crate::conventions::answer::Answer;
use crate::conventions::body::{Body, Verb};
use crate::conventions::filter::Filters;
use crate::conventions::query::Query;
use crate::conventions::references::required_svm;
use crate::endpoint::{Change, Does, Endpoint, always};
use crate::problem::Problem;
use crate::record::Record;
use crate::resource::{Resource, Row};
use crate::schema::Schema;

const COLLECTION: &str = "/storage/volumes";
/// Between the two parts of a row's place; it is in no name.
const SEPARATOR: char = '/';

struct Volumes;

impl Resource for Volumes {
    fn schema(&self) -> &'static Schema {
        &SCHEMA
    }

    /// By SVM and name: what a page costs does not depend on how many there are.
    fn rows(&self, call: &Call<'_>, filters: &Filters, after: Option<&str>, limit: usize) -> Result<Vec<Row>, Problem> {
        let engine = &call.service.engine;
        let svm = match only_svm(engine, filters) {
            Some(None) => return Ok(Vec::new()),
            Some(svm) => svm,
            None => None,
        };
        let row = |listed: ListedVolume| Row {
            place: format!("{}{SEPARATOR}{}", listed.position.svm, listed.position.name),
            record: listed.volume.ok().map(|volume| record(engine, &volume)),
        };
        let mut rows = Vec::new();
        let mut after = after.map(position).transpose()?;
        loop {
            let page = engine.volumes(svm, after.as_ref(), limit - rows.len()).map_err(|error| of_volume(&error))?;
            rows.extend(page.volumes.into_iter().map(row));
            // Of a page that is short because volumes were deleted meanwhile, the rest follows.
            match page.next {
                Some(next) if rows.len() < limit => after = Some(next),
                _ => return Ok(rows),
            }
        }
    }

    fn one(&self, call: &Call<'_>) -> Result<Record, Problem> {
        found(call).map(|volume| record(&call.service.engine, &volume))
    }
}

/// The one SVM whose volumes can match: `Some(None)` where none can.
fn only_svm(engine: &Engine, filters: &Filters) -> Option<Option<SvmId>> {
    let by_uuid = filters.only("svm.uuid").map(|uuid| {
        let id = Uuid::parse_str(uuid).ok().map(SvmId::from);
        id.filter(|id| engine.svm(*id).is_ok())
    });
    by_uuid.or_else(|| filters.only("svm.name").map(|name| engine.svm_named(name).ok().map(|svm| svm.id())))
}

fn position(place: &str) -> Result<VolumePosition, Problem> {
    let parts = place.split_once(SEPARATOR);
    let position = parts.and_then(|(svm, name)| {
        Some(VolumePosition { svm: Uuid::parse_str(svm).ok()?.into(), name: name.parse().ok()? })
    });
    position.ok_or_else(crate::conventions::position::refused)
}

fn found(call: &Call<'_>) -> Result<VolumeInfo, Problem> {
    let id = call.uuid("uuid")?;
    call.service.engine.volume(id).map_err(|error| of_volume(&error))
}

fn of_volume(error: &VolumeError) -> Problem {
    match error {
        VolumeError::UnknownSvm { .. } | VolumeError::Unknown { .. } | VolumeError::UnknownName { .. } => {
            codes::missing_entry()
        }
        VolumeError::NameTaken { .. } | VolumeError::Exists { .. } => codes::exists(error.to_string()).about("name"),
        VolumeError::TooManyAggregates { .. } => codes::invalid("aggregates", error.to_string()),
        VolumeError::NotEncrypted { .. } => codes::invalid("encryption.rekey", error.to_string()),
        VolumeError::Key(error) => codes::of_key(error),
        error => codes::failed(codes::chain(error)),
    }
}

fn record(engine: &Engine, volume: &VolumeInfo) -> Record {
    let svm_name = engine.svm(volume.svm).ok().and_then(|svm| svm.name().map(ToString::to_string));
    let record = Record::new()
        .with("uuid", volume.id.to_string())
        .with("name", volume.name.to_string())
        .with("svm.uuid", volume.svm.to_string())
        .with_some("svm.name", svm_name)
        .with_some("size", volume.size)
        .with("type", volume.kind.as_str())
        .with("aggregates", volume.aggregates.iter().map(aggregate).collect::<Vec<_>>());
    encryption(engine, volume, record)
}

fn aggregate(aggregate: &AggregateRef) -> serde_json::Value {
    Record::new()
        .with_some("name", aggregate.name().map(ToString::to_string))
        .with_some("uuid", aggregate.uuid().map(|uuid| uuid.to_string()))
        .into_json()
}

fn encryption(engine: &Engine, volume: &VolumeInfo, record: Record) -> Record {
    let (key, made) = match volume.encryption {
        VolumeEncryption::Off => {
            return record
                .with("encryption.enabled", false)
                .with("encryption.state", "unencrypted")
                .with("encryption.rekey", false)
                .with("encryption.type", "none");
        }
        VolumeEncryption::On { key, made } => (Some(key), made),
        // The volume is encrypted, and its key's record does not say more.
        _ => (None, None),
    };
    let rotates = key.is_some_and(|key| key.rotating_from.is_some());
    // Where the record that tells is damaged, nobody knows.
    let own = engine.kept_keks(volume.svm).ok().map(|keks| keks.iter().any(|kek| kek.key_id.is_some()));
    record
        .with("encryption.enabled", true)
        .with("encryption.state", if rotates { "rekeying" } else { "encrypted" })
        .with("encryption.rekey", rotates)
        .with_some("encryption.key_id", key.map(|key| KeyName::of_key(volume.svm, &key).to_string()))
        .with_some("encryption.key_creation_time", made.map(time))
        .with_some("encryption.key_manager_attribute", own.map(|own| if own { "external" } else { "onboard" }))
        .with("encryption.type", "volume")
}

fn create(call: &Call<'_>, _: &mut Query, body: &Body) -> Result<Answer, Problem> {
    let engine = &call.service.engine;
    let svm = required_svm(call.service, body)?;
    if svm.is_admin() {
        return Err(codes::invalid("svm", "Volumes are made in data SVMs."));
    }
    let name: VolumeName = body
        .required("name")?
        .parse()
        .map_err(|error: claviger::InvalidVolumeName| codes::invalid("name", error.to_string()))?;
    let size = body.number("size").map(u64::try_from).transpose();
    let size = size.map_err(|_| codes::invalid("size", "\"size\" must be a number of bytes."))?;
    let kind = match body.text("type") {
        None | Some("rw") => VolumeKind::Rw,
        Some("dp") => VolumeKind::Dp,
        Some(_) => VolumeKind::Ls,
    };
    let encrypted = match body.flag("encryption.enabled") {
        Some(encrypted) => encrypted,
        None => encrypts_by_default(engine, svm.id())?,
    };
    let new = NewVolume { id: None, name, size, kind, aggregates: aggregates(body)?, encrypted };
    let volume = engine.create_volume(svm.id(), &new).map_err(|error| match error {
        VolumeError::Key(error @ KeyError::NoKeystore) => {
            codes::in_use(format!("{error}; an encrypted volume needs a key manager."))
        }
        error => of_volume(&error),
    })?;
    let job = call.service.jobs.done(call.described(), Some(svm.id()));
    Ok(Answer::created(instance(COLLECTION, volume.id)).by(job))
}

/// Where nobody says otherwise, a volume is encrypted if its SVM has a keystore, or the cluster.
fn encrypts_by_default(engine: &Engine, svm: SvmId) -> Result<bool, Problem> {
    let settings = engine.settings().map_err(|error| codes::failed(codes::chain(&error)))?;
    let mut keystores = engine.keystores().into_iter();
    let has_one = keystores.any(|one| one.enabled && one.svm.is_none_or(|of| of == svm));
    // One whose record does not open is not listed; where it has made a KEK, that tells.
    let has_kek = !matches!(engine.kek(svm), Ok(None));
    Ok((has_one || has_kek) && !settings.data_at_rest_encryption_disabled)
}

/// Names and UUIDs of aggregates come as two lists; of which item each was, the contract does not need.
fn aggregates(body: &Body) -> Result<Vec<AggregateRef>, Problem> {
    let name = |name: &str| {
        let name = name
            .parse()
            .map_err(|error: claviger::InvalidAggregateName| codes::invalid("aggregates.name", error.to_string()))?;
        Ok(AggregateRef::Name(name))
    };
    let uuid = |uuid: &str| {
        let uuid = Uuid::parse_str(uuid).map_err(|_| codes::invalid("aggregates.uuid", "This is no UUID."))?;
        Ok(AggregateRef::Uuid(uuid))
    };
    let names = body.texts("aggregates.name").into_iter().map(name);
    names.chain(body.texts("aggregates.uuid").into_iter().map(uuid)).collect()
}

/// A rotation of the key: begun here, finished by the storage stack when it has re-encrypted its data.
fn change(call: &Call<'_>, _: &mut Query, body: &Body) -> Result<Answer, Problem> {
    let engine = &call.service.engine;
    let volume = found(call)?;
    let rotates = matches!(volume.encryption, VolumeEncryption::On { key, .. } if key.rotating_from.is_some());
    match (body.flag("encryption.rekey"), rotates) {
        (Some(true), false) => engine.begin_volume_rotation(volume.id).map(drop).map_err(|error| of_volume(&error))?,
        (Some(false), true) => engine.finish_volume_rotation(volume.id).map(drop).map_err(|error| of_volume(&error))?,
        (Some(true), true) => return Err(codes::in_use("The volume's key is being rotated already.")),
        (Some(false), false) | (None, _) => {}
    }
    Ok(Answer::changed().by(call.service.jobs.done(call.described(), Some(volume.svm))))
}

fn delete(call: &Call<'_>, _: &mut Query, _: &Body) -> Result<Answer, Problem> {
    let volume = found(call)?;
    call.service.engine.delete_volume(volume.id).map_err(|error| of_volume(&error))?;
    Ok(Answer::changed().by(call.service.jobs.done(call.described(), Some(volume.svm))))
}

static CREATE: Change =
    Change { exists: always, parameters: &[], body: Some((&SCHEMA, Verb::Post)), run: create, creates: Some(&Volumes) };

static CHANGE: Change = Change {
    exists: |call| found(call).map(drop),
    parameters: &[],
    body: Some((&SCHEMA, Verb::Patch)),
    run: change,
    creates: None,
};

static DELETE: Change =
    Change { exists: |call| found(call).map(drop), parameters: &[], body: None, run: delete, creates: None };

pub(crate) const ENDPOINTS: &[Endpoint] = &[
    Endpoint { method: "GET", path: COLLECTION, summary: "Lists the volumes.", does: Does::List(&Volumes) },
    Endpoint {
        method: "POST",
        path: COLLECTION,
        summary: "Makes a volume, with its key where it is encrypted.",
        does: Does::Change(&CREATE),
    },
    Endpoint {
        method: "PATCH",
        path: COLLECTION,
        summary: "Begins or finishes the rotation of the key of every volume that the filters select.",
        does: Does::Each { resource: &Volumes, change: &CHANGE, key: "uuid" },
    },
    Endpoint {
        method: "DELETE",
        path: COLLECTION,
        summary: "Deletes every volume that the filters select, with its key.",
        does: Does::Each { resource: &Volumes, change: &DELETE, key: "uuid" },
    },
    Endpoint { method: "GET", path: "/storage/volumes/{uuid}", summary: "Shows a volume.", does: Does::Show(&Volumes) },
    Endpoint {
        method: "PATCH",
        path: "/storage/volumes/{uuid}",
        summary: "Begins the rotation of a volume's key, or finishes it when all data is under the new one.",
        does: Does::Change(&CHANGE),
    },
    Endpoint {
        method: "DELETE",
        path: "/storage/volumes/{uuid}",
        summary: "Deletes a volume and its key.",
        does: Does::Change(&DELETE),
    },
];
