//! `claviger key`.

mod list;

use std::fmt;
use std::sync::Arc;

use claviger::{Creation, Engine, KeyAlgorithm, KeyInfo, KeyType, KeyVersion, NewKey, ObjectRef, SvmId, SvmInfo};
use serde::Serialize;
use uuid::Uuid;

use crate::args::AlgorithmArg;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::request::Key;
use crate::session::{Session, name_of};

/// What the record of a key says, as it is printed. The key's bytes are not among it.
#[derive(Serialize)]
struct KeyView {
    #[serde(rename = "type")]
    object_type: &'static str,
    object: Uuid,
    algorithm: String,
    version: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    rotating_from: Option<u32>,
    kek_version: u32,
}

impl KeyView {
    fn of(key: &KeyInfo) -> Self {
        Self {
            object_type: type_name(key.object.key_type()),
            object: key.object.uuid(),
            algorithm: key.algorithm.to_string(),
            version: key.version.get(),
            rotating_from: key.rotating_from.map(KeyVersion::get),
            kek_version: key.kek_version.get(),
        }
    }
}

impl fmt::Display for KeyView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { object_type, object, algorithm, version, rotating_from, kek_version } = self;
        write!(f, "{object_type:9}  {object}  {algorithm:11}  version {version}, KEK version {kek_version}")?;
        match rotating_from {
            Some(old) => write!(f, ", rotating from version {old}"),
            None => Ok(()),
        }
    }
}

#[derive(Serialize)]
struct Created {
    svm: String,
    created: u64,
}

impl fmt::Display for Created {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} volume keys made in SVM {}", self.created, self.svm)
    }
}

/// Of a deleted key, nothing but its place is known: its record may have been damaged.
#[derive(Serialize)]
struct Deleted {
    svm: String,
    #[serde(rename = "type")]
    object_type: &'static str,
    object: Uuid,
}

impl fmt::Display for Deleted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "key of {} {} deleted", self.object_type, self.object)
    }
}

/// The name of what a key of this type encrypts.
pub(crate) fn type_name(key_type: KeyType) -> &'static str {
    match key_type {
        KeyType::Vek => "volume",
        KeyType::Aek => "aggregate",
        KeyType::NseAk => "drive",
    }
}

pub(crate) fn run(session: &Session<'_>, command: Key) -> Result<Exit, Failure> {
    match command {
        Key::Create { svm, object, algorithm } => {
            let (engine, svm) = open_for(session, &svm)?;
            let object = object.into();
            engine.create_key(svm.id(), object, AlgorithmArg::or_default(algorithm, object))?;
            show(session, &engine, svm.id(), object)
        }
        Key::CreateVolumes { svm, count, algorithm } => {
            let (engine, svm) = open_for(session, &svm)?;
            let algorithm = AlgorithmArg::or_default(algorithm, ObjectRef::Volume(Uuid::nil()));
            let created = create_volumes(session, &engine, &svm, count, algorithm)?;
            session.output.result(&Created { svm: name_of(&svm), created })?;
            Ok(Exit::Done)
        }
        Key::List { svm, key_type, limit } => {
            let engine = session.open_offline()?;
            let svm = engine.svm_named(&svm)?.id();
            list::run(session, &engine, svm, key_type.map(KeyType::from), limit)
        }
        Key::Show { svm, object } => {
            let engine = session.open_offline()?;
            show(session, &engine, engine.svm_named(&svm)?.id(), object.into())
        }
        Key::Delete { svm, object } => {
            let engine = session.open_offline()?;
            let (svm, object) = (engine.svm_named(&svm)?, ObjectRef::from(object));
            engine.delete_key(svm.id(), object)?;
            let object_type = type_name(object.key_type());
            session.output.result(&Deleted { svm: name_of(&svm), object_type, object: object.uuid() })?;
            Ok(Exit::Done)
        }
        Key::RotateBegin { svm, object } => {
            let (engine, svm) = open_for(session, &svm)?;
            engine.begin_rotation(svm.id(), object.into())?;
            show(session, &engine, svm.id(), object.into())
        }
        Key::RotateFinish { svm, object } => {
            let (engine, svm) = open_for(session, &svm)?;
            engine.finish_rotation(svm.id(), object.into())?;
            show(session, &engine, svm.id(), object.into())
        }
    }
}

/// Opens the hierarchy for what needs the KEK of this SVM.
fn open_for(session: &Session<'_>, svm: &str) -> Result<(Arc<Engine>, SvmInfo), Failure> {
    let engine = session.open()?;
    let svm = engine.svm_named(svm)?;
    session.unlock_for(&engine, svm.id())?;
    Ok((engine, svm))
}

/// Makes the keys of `count` new volumes. Returns how many were made.
pub(crate) fn create_volumes(
    session: &Session<'_>,
    engine: &Engine,
    svm: &SvmInfo,
    count: u64,
    algorithm: KeyAlgorithm,
) -> Result<u64, Failure> {
    const CHUNK: u64 = 1_024;
    let bar = session.output.progress("create", Some(count));
    let mut created = 0;
    while created < count {
        session.output.goes_on()?;
        let chunk = CHUNK.min(count - created);
        let new = || NewKey { object: ObjectRef::Volume(Uuid::new_v4()), algorithm };
        let keys: Vec<_> = std::iter::repeat_with(new).zip(0..chunk).map(|(key, _)| key).collect();
        for creation in engine.create_keys(svm.id(), &keys)? {
            created += u64::from(creation == Creation::Created);
        }
        bar.set_position(created);
    }
    Ok(created)
}

fn show(session: &Session<'_>, engine: &Engine, svm: SvmId, object: ObjectRef) -> Result<Exit, Failure> {
    session.output.result(&KeyView::of(&engine.key(svm, object)?))?;
    Ok(Exit::Done)
}
