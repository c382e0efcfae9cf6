//! `claviger keystore`.

mod barbican;
mod check;
mod view;

use std::fmt;

use claviger::{Engine, Job, KeystoreInfo, OnboardMode, SvmInfo, SvmKeystoreError};
use serde::Serialize;
use uuid::Uuid;

pub(crate) use self::view::{EnabledView, KeystoreView, missing_keks};
use super::job::wait;
use crate::args::KeystoreArg;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::request::Keystore;
use crate::session::{Session, name_of};

/// Something that was done, and needs no more said.
#[derive(Serialize)]
struct Done {
    done: &'static str,
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.done)
    }
}

#[derive(Serialize)]
struct Keystores {
    keystores: Vec<KeystoreView>,
}

impl fmt::Display for Keystores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.keystores.is_empty() {
            return f.write_str("no keystores");
        }
        let lines: Vec<_> = self.keystores.iter().map(KeystoreView::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

/// A keystore that was enabled or disabled.
#[derive(Serialize)]
struct Changed {
    #[serde(flatten)]
    keystore: KeystoreView,
    job: Uuid,
}

impl fmt::Display for Changed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.keystore.fmt(f)
    }
}

#[derive(Serialize)]
struct Deleted {
    deleted: KeystoreView,
}

impl fmt::Display for Deleted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} deleted", self.deleted.named())
    }
}

/// KEKs that another keystore keeps now.
#[derive(Serialize)]
pub(crate) struct Moved {
    svm: String,
    job: Uuid,
    /// How many.
    keks: u64,
    keystore: KeystoreView,
}

impl Moved {
    /// Waits for the end of the job that moves them.
    pub(crate) fn by(
        session: &Session<'_>,
        engine: &Engine,
        svm: &SvmInfo,
        to: Uuid,
        job: &Job,
    ) -> Result<Self, Failure> {
        let ended = wait(session, engine, job, "move")?;
        let keystore = KeystoreView::of(engine, &engine.keystore_with_id(to)?);
        Ok(Self { svm: name_of(svm), job: ended.id, keks: ended.progress.done, keystore })
    }
}

impl fmt::Display for Moved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keystore = self.keystore.named();
        match self.keks {
            0 => write!(f, "SVM {}: there was no KEK to move to {keystore}", self.svm),
            1 => write!(f, "SVM {}: the KEK is kept by {keystore}", self.svm),
            keks => write!(f, "SVM {}: {keks} KEKs are kept by {keystore}", self.svm),
        }
    }
}

pub(crate) fn run(session: &Session<'_>, command: Keystore) -> Result<Exit, Failure> {
    match command {
        Keystore::CreateOnboard { common_criteria } => {
            let engine = session.open_offline()?;
            let mode = if common_criteria { OnboardMode::CommonCriteria } else { OnboardMode::Unattended };
            let passphrase = session.new_passphrase()?;
            engine.create_onboard(mode, &passphrase)?;
            let keystore = info(&engine, &KeystoreArg::Cluster)?;
            session.output.result(&KeystoreView::of(&engine, &keystore))?;
        }
        Keystore::CreateBarbican(new) => barbican::create(session, *new)?,
        Keystore::List { svm } => {
            let engine = session.open_offline()?;
            let svm = svm.map(|svm| engine.svm_named(&svm)).transpose()?.map(|svm| svm.id());
            let all = engine.keystores().into_iter().filter(|keystore| svm.is_none() || keystore.svm == svm);
            let keystores = all.map(|keystore| KeystoreView::of(&engine, &keystore)).collect();
            session.output.result(&Keystores { keystores })?;
        }
        Keystore::Show { keystore } => {
            let engine = session.open()?;
            let keystore = info(&engine, &keystore)?;
            let status = engine.keystore_status(keystore.id)?;
            session.output.result(&KeystoreView::of(&engine, &keystore).with_status(&status))?;
        }
        Keystore::Check { keystore } => check::run(session, &keystore)?,
        Keystore::Enable { keystore, migrate } => enable(session, &keystore, migrate)?,
        Keystore::Switch { svm, to } => {
            let engine = session.open()?;
            let svm = engine.svm_named(&svm)?;
            let to = resolve(&engine, &to)?;
            let is_own = |id: Uuid| engine.keystores().iter().any(|one| one.id == id && one.svm == Some(svm.id()));
            if !is_own(to) || EnabledView::of(&engine, svm.id()).is_none() {
                // The cluster's keystore is the one or the other.
                session.unlock(&engine)?;
            }
            let job = engine.switch(svm.id(), to)?;
            session.output.result(&Moved::by(session, &engine, &svm, to, &job)?)?;
        }
        Keystore::Update { keystore, changes } => barbican::update(session, &keystore, *changes)?,
        Keystore::Disable { keystore } => {
            let engine = session.open_offline()?;
            let keystore = resolve(&engine, &keystore)?;
            let job = wait(session, &engine, &engine.disable(keystore)?, "disable")?.id;
            let keystore = KeystoreView::of(&engine, &engine.keystore_with_id(keystore)?);
            session.output.result(&Changed { keystore, job })?;
        }
        Keystore::Delete { keystore } => {
            let engine = session.open_offline()?;
            let keystore = info(&engine, &keystore)?;
            engine.delete_keystore(keystore.id)?;
            session.output.result(&Deleted { deleted: KeystoreView::of(&engine, &keystore) })?;
        }
        Keystore::Passphrase => {
            let engine = session.open_offline()?;
            let existing = session.existing_passphrase()?;
            let new = session.new_passphrase()?;
            engine.change_passphrase(&existing, &new)?;
            session.output.result(&Done { done: "passphrase changed; make a new backup" })?;
        }
        Keystore::Unlock => {
            let engine = session.open_offline()?;
            engine.unlock(&session.existing_passphrase()?)?;
            session.output.result(&Done { done: "the passphrase opens the keystore" })?;
        }
    }
    Ok(Exit::Done)
}

/// With `migrate`, where the keystore is enabled already, only the KEK is moved: so a command that was interrupted can be repeated.
fn enable(session: &Session<'_>, keystore: &KeystoreArg, migrate: bool) -> Result<(), Failure> {
    let engine = if migrate { session.open()? } else { session.open_offline()? };
    if migrate {
        session.unlock(&engine)?;
    }
    let keystore = resolve(&engine, keystore)?;
    let enabled = match engine.enable(keystore) {
        Ok(job) => Some(wait(session, &engine, &job, "enable")?.id),
        Err(SvmKeystoreError::Enabled { .. }) if migrate => None,
        Err(error) => return Err(error.into()),
    };
    let enabled_by = |job| -> Result<Changed, Failure> {
        Ok(Changed { keystore: KeystoreView::of(&engine, &engine.keystore_with_id(keystore)?), job })
    };
    let Some(svm) = engine.keystore_with_id(keystore)?.svm.filter(|_| migrate) else {
        return enabled.map_or(Ok(()), |job| session.output.result(&enabled_by(job)?));
    };
    match (engine.migrate(svm, keystore), enabled) {
        (Ok(job), _) => session.output.result(&Moved::by(session, &engine, &engine.svm(svm)?, keystore, &job)?),
        // The first KEK will be kept there.
        (Err(SvmKeystoreError::NoKeys { .. } | SvmKeystoreError::KeptThere { .. }), Some(job)) => {
            session.output.result(&enabled_by(job)?)
        }
        (Err(error), _) => Err(error.into()),
    }
}

/// The UUID of the keystore that is meant. One that is named by its UUID need not exist.
pub(crate) fn resolve(engine: &Engine, keystore: &KeystoreArg) -> Result<Uuid, Failure> {
    match keystore {
        KeystoreArg::Cluster => Ok(engine.keystore().ok_or(Failure::NoKeystore)?.id),
        KeystoreArg::Id(keystore) => Ok(*keystore),
        KeystoreArg::Named { svm, name } => {
            let svm = engine.svm_named(svm)?;
            let mut all = engine.keystores().into_iter();
            let found = all.find(|keystore| keystore.svm == Some(svm.id()) && keystore.name.as_ref() == Some(name));
            let unknown = || Failure::UnknownKeystore { svm: name_of(&svm), name: name.clone() };
            Ok(found.ok_or_else(unknown)?.id)
        }
    }
}

fn info(engine: &Engine, keystore: &KeystoreArg) -> Result<KeystoreInfo, Failure> {
    Ok(engine.keystore_with_id(resolve(engine, keystore)?)?)
}
