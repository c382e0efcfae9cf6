//! What commands share: the hierarchy that they are over, where secrets come from, and what they speak through.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use claviger::{
    Arena, ArenaOptions, Engine, Fetching, JobInfo, JobStatus, KeyMemory, KeystoreInfo, Options, Passphrase,
    SecretBytes, StoreKind, SvmId, SvmInfo,
};
use claviger_server::{FactsFile, FactsPath};

use crate::commands::job::JobView;
use crate::event::{Event, Wanted};
use crate::failure::Failure;
use crate::output::Output;
use crate::secret::{Secret, Secrets};

/// Where the store is in a hierarchy's directory (`docs/formats.md`, store directory).
pub(crate) const STORE_DIR: &str = "store";

/// One command's run.
pub(crate) struct Session<'a> {
    pub(crate) output: Output<'a>,
    hierarchy: Hierarchy<'a>,
    secrets: &'a dyn Secrets,
}

/// The hierarchy that a command is over.
#[derive(Clone, Copy)]
pub(crate) enum Hierarchy<'a> {
    /// Opened for the command alone.
    In(&'a Directory),
    /// Open already, for many at once.
    Live(&'a Live),
}

/// A hierarchy that a service has open.
#[derive(Clone)]
pub(crate) struct Live {
    pub(crate) engine: Arc<Engine>,
    /// The database that its store is on.
    pub(crate) store: StoreKind,
}

/// A hierarchy's directory, and how it is opened.
pub(crate) struct Directory {
    path: Option<PathBuf>,
    danger_accept_rollback: bool,
    /// One arena holds all secrets of the process.
    pub(crate) arena: Arena,
}

impl Directory {
    pub(crate) fn new(path: Option<PathBuf>, danger_accept_rollback: bool) -> Result<Self, Failure> {
        Ok(Self { path, danger_accept_rollback, arena: Arena::new(&ArenaOptions::default())? })
    }

    /// The directory, if one was named.
    pub(crate) fn path_if_named(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// The directory.
    pub(crate) fn path(&self) -> Result<&Path, Failure> {
        let message = || "the hierarchy's directory is not named: --dir D is missing, or --url URL".to_owned();
        self.path_if_named().ok_or_else(|| Failure::Usage { message: message() })
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

    fn open(&self, fetching: Fetching) -> Result<Arc<Engine>, Failure> {
        let dir = self.path()?;
        // What the node may do, it may do by a command as by the service beside it.
        let platform = Arc::new(FactsFile::new(&FactsPath::in_data_dir(dir))?);
        Ok(Engine::open(dir, Options { fetching, platform, ..self.options() })?.into())
    }
}

impl<'a> Session<'a> {
    pub(crate) const fn new(output: Output<'a>, hierarchy: Hierarchy<'a>, secrets: &'a dyn Secrets) -> Self {
        Self { output, hierarchy, secrets }
    }

    /// Opens the hierarchy with its KEKs, and says which jobs wait in it. Keepers outside the node are asked.
    pub(crate) fn open(&self) -> Result<Arc<Engine>, Failure> {
        self.open_fetching(Fetching::default())
    }

    /// The same without the KEKs that are kept outside the node: nobody there is asked.
    pub(crate) fn open_offline(&self) -> Result<Arc<Engine>, Failure> {
        self.open_fetching(Fetching::OnRequest)
    }

    fn open_fetching(&self, fetching: Fetching) -> Result<Arc<Engine>, Failure> {
        self.noting_interrupted_jobs(match self.hierarchy {
            Hierarchy::In(directory) => directory.open(fetching)?,
            Hierarchy::Live(live) => Arc::clone(&live.engine),
        })
    }

    /// The same over a copy to read: nothing below the directory is written.
    pub(crate) fn open_copy(&self) -> Result<Arc<Engine>, Failure> {
        self.noting_interrupted_jobs(match self.hierarchy {
            Hierarchy::In(directory) => Engine::open_copy(directory.path()?, directory.options())?.into(),
            Hierarchy::Live(live) => Arc::clone(&live.engine),
        })
    }

    /// The database that the hierarchy's store is on.
    pub(crate) fn store(&self) -> Result<StoreKind, Failure> {
        match self.hierarchy {
            Hierarchy::In(directory) => Ok(StoreKind::of(&directory.path()?.join(STORE_DIR))?),
            Hierarchy::Live(live) => Ok(live.store),
        }
    }

    /// The arena that holds all secrets of the process.
    pub(crate) fn arena(&self) -> &'a Arena {
        match self.hierarchy {
            Hierarchy::In(directory) => &directory.arena,
            Hierarchy::Live(live) => live.engine.arena(),
        }
    }

    /// In Common Criteria mode, gives the keystore its passphrase.
    pub(crate) fn unlock(&self, engine: &Engine) -> Result<(), Failure> {
        if engine.keystore().is_some_and(|keystore| keystore.locked) {
            let passphrase = self.passphrase(Wanted::Passphrase)?.ok_or(Failure::Locked)?;
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
        self.passphrase(Wanted::Passphrase)?.ok_or(Failure::NotGiven(Secret::Passphrase))
    }

    /// A new passphrase.
    pub(crate) fn new_passphrase(&self) -> Result<Passphrase, Failure> {
        self.passphrase(Wanted::NewPassphrase)?.ok_or(Failure::NotGiven(Secret::Passphrase))
    }

    fn passphrase(&self, wanted: Wanted) -> Result<Option<Passphrase>, Failure> {
        Ok(self.secrets.secret(self.arena(), wanted)?.map(Passphrase::new).transpose()?)
    }

    /// A secret that the command cannot do without.
    ///
    /// Whoever wants one has changed nothing yet: the command may end here, and be given again with it.
    pub(crate) fn secret(&self, wanted: Wanted) -> Result<SecretBytes, Failure> {
        self.secrets.secret(self.arena(), wanted)?.ok_or(Failure::NotGiven(wanted.secret()))
    }

    fn noting_interrupted_jobs(&self, engine: Arc<Engine>) -> Result<Arc<Engine>, Failure> {
        for job in engine.jobs()?.iter().filter(|job| job.status == JobStatus::Interrupted) {
            let JobInfo { id, .. } = *job;
            let what = JobView::of(&engine, job).what_and_how_far();
            self.output.aside(Event::Waits { job: id, what });
        }
        Ok(engine)
    }
}

/// An SVM's name, or its UUID where the name is lost.
pub(crate) fn name_of(svm: &SvmInfo) -> String {
    svm.name().map_or_else(|| svm.id().to_string(), ToString::to_string)
}
