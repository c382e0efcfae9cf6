//! What commands share: the hierarchy's directory, key memory, the passphrase, and opening.

use std::path::{Path, PathBuf};

use claviger::{
    Arena, ArenaOptions, Engine, Fetching, JobInfo, JobStatus, KeyMemory, KeystoreInfo, Options, Passphrase, SvmId,
    SvmInfo,
};

use crate::args::Common;
use crate::commands::job::JobView;
use crate::failure::Failure;
use crate::output::Output;
use crate::secret::{Secret, Source};

/// Where the store is in a hierarchy's directory (`docs/formats.md`, store directory).
pub(crate) const STORE_DIR: &str = "store";

/// One command's run.
pub(crate) struct Session {
    pub(crate) output: Output,
    /// One arena holds all secrets of the process.
    pub(crate) arena: Arena,
    pub(crate) passphrase: Source,
    dir: Option<PathBuf>,
    danger_accept_rollback: bool,
}

impl Session {
    pub(crate) fn new(common: Common, output: Output) -> Result<Self, Failure> {
        let Common { dir, json: _, passphrase_file, passphrase_fd, danger_accept_rollback } = common;
        let passphrase = Source::new(Secret::Passphrase, passphrase_file, passphrase_fd)?;
        let arena = Arena::new(&ArenaOptions::default())?;
        Ok(Self { output, arena, passphrase, dir, danger_accept_rollback })
    }

    /// The directory, if one was named.
    pub(crate) fn dir_if_named(&self) -> Option<&Path> {
        self.dir.as_deref()
    }

    /// The directory.
    pub(crate) fn dir(&self) -> Result<&Path, Failure> {
        let message = || "the hierarchy's directory is not named: --dir D is missing".to_owned();
        self.dir_if_named().ok_or_else(|| Failure::Usage { message: message() })
    }

    /// Jobs go on only where a command asks for it.
    pub(crate) fn options(&self) -> Options {
        Options {
            memory: KeyMemory::Shared(self.arena.clone()),
            resume_jobs: false,
            danger_accept_rollback: self.danger_accept_rollback,
            ..Options::default()
        }
    }

    /// Opens the hierarchy with its KEKs, and says which jobs wait in it. Keepers outside the node are asked.
    pub(crate) fn open(&self) -> Result<Engine, Failure> {
        self.open_fetching(Fetching::default())
    }

    /// The same without the KEKs that are kept outside the node: nobody there is asked.
    pub(crate) fn open_offline(&self) -> Result<Engine, Failure> {
        self.open_fetching(Fetching::OnRequest)
    }

    fn open_fetching(&self, fetching: Fetching) -> Result<Engine, Failure> {
        let engine = Engine::open(self.dir()?, Options { fetching, ..self.options() })?;
        self.note_interrupted_jobs(&engine)?;
        Ok(engine)
    }

    /// The same over a copy to read: nothing below the directory is written.
    pub(crate) fn open_copy(&self) -> Result<Engine, Failure> {
        let engine = Engine::open_copy(self.dir()?, self.options())?;
        self.note_interrupted_jobs(&engine)?;
        Ok(engine)
    }

    /// In Common Criteria mode, gives the keystore its passphrase.
    pub(crate) fn unlock(&self, engine: &Engine) -> Result<(), Failure> {
        if engine.keystore().is_some_and(|keystore| keystore.locked) {
            let passphrase = self.passphrase.existing(&self.arena)?.ok_or(Failure::Locked)?;
            engine.unlock(&passphrase)?;
        }
        Ok(())
    }

    /// The same for what is done with one SVM's KEK, which needs no passphrase where a keystore of the SVM's own keeps it, or will.
    pub(crate) fn unlock_for(&self, engine: &Engine, svm: SvmId) -> Result<(), Failure> {
        // One that is damaged is for the command itself to tell.
        let has_kek = !matches!(engine.kek(svm), Ok(None));
        let keeps = |keystore: &KeystoreInfo| match has_kek {
            true => engine.keystore_status(keystore.id).is_ok_and(|status| status.keeps_keks),
            false => keystore.enabled,
        };
        match engine.keystores().iter().any(|keystore| keystore.svm == Some(svm) && keeps(keystore)) {
            true => Ok(()),
            false => self.unlock(engine),
        }
    }

    /// A passphrase that the command cannot do without.
    pub(crate) fn existing_passphrase(&self) -> Result<Passphrase, Failure> {
        self.passphrase.existing(&self.arena)?.ok_or(Failure::NotGiven(Secret::Passphrase))
    }

    fn note_interrupted_jobs(&self, engine: &Engine) -> Result<(), Failure> {
        let dir = self.dir()?.display();
        for job in engine.jobs()?.iter().filter(|job| job.status == JobStatus::Interrupted) {
            let JobInfo { id, .. } = job;
            let what = JobView::of(engine, job).what_and_how_far();
            self.output.note(&format!(
                "job {id} ({what}) was interrupted; it goes on with `claviger job wait {id} --dir {dir}`, or when its command is given again"
            ));
        }
        Ok(())
    }
}

/// An SVM's name, or its UUID where the name is lost.
pub(crate) fn name_of(svm: &SvmInfo) -> String {
    svm.name().map_or_else(|| svm.id().to_string(), ToString::to_string)
}
