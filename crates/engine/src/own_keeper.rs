//! The keepers of an SVM's own keystores.

use std::sync::Arc;

use claviger_secret::ArenaError;
use claviger_wrap::SvmId;

use crate::engine::Core;
use crate::keeper::Keeper;
use crate::live_keystores::{LiveKeystore, Watched};
use crate::metered::Kind;
use crate::records::{Configuration, KeeperRecord};

/// Why a keystore has no keeper.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NoKeeper {
    /// The settings cannot be used.
    #[cfg(feature = "barbican")]
    #[error(transparent)]
    Barbican(crate::barbican::BarbicanSetupError),
    /// This build has no keeper of its kind.
    #[error("this build has no keeper of the kind \"{kind}\"; use one that has")]
    NotBuilt {
        /// The kind.
        kind: &'static str,
    },
    /// There is no room in key memory.
    #[error("there is no room in key memory")]
    Arena(#[from] ArenaError),
}

#[cfg(feature = "barbican")]
impl From<crate::barbican::BarbicanSetupError> for NoKeeper {
    fn from(error: crate::barbican::BarbicanSetupError) -> Self {
        match error {
            crate::barbican::BarbicanSetupError::Arena(full) => Self::Arena(full),
            error => Self::Barbican(error),
        }
    }
}

impl Core {
    /// The keeper of a keystore of the SVM's own. Nothing is sent.
    pub(crate) fn own_keeper(&self, svm: SvmId, live: &LiveKeystore) -> Result<Arc<dyn Keeper>, NoKeeper> {
        live.keeper(|| {
            let keeper = self.trial_keeper(svm, &live.configuration)?;
            Ok(Arc::new(Watched::new(live, keeper, self.clock.clone())))
        })
    }

    /// A keeper with this configuration, which need not be in force. Its contacts are not noted.
    pub(crate) fn trial_keeper(&self, svm: SvmId, configuration: &Configuration) -> Result<Arc<dyn Keeper>, NoKeeper> {
        let (kind, keeper) = self.make_keeper(svm, configuration)?;
        Ok(self.calls.to(kind, keeper))
    }

    #[cfg(feature = "barbican")]
    fn make_keeper(&self, svm: SvmId, configuration: &Configuration) -> Result<(Kind, Arc<dyn Keeper>), NoKeeper> {
        let Configuration { keystore, keeper: KeeperRecord::Barbican(record), .. } = configuration;
        let seal = crate::barbican::CredentialSeal::of(self.records.sealing(), &self.arena, svm, *keystore)?;
        let keeper = crate::barbican::BarbicanKeeper::new(record, &seal, self.authorities.of(svm), &self.calls)?;
        Ok((Kind::Barbican, Arc::new(keeper)))
    }

    #[cfg(not(feature = "barbican"))]
    fn make_keeper(&self, _: SvmId, configuration: &Configuration) -> Result<(Kind, Arc<dyn Keeper>), NoKeeper> {
        let KeeperRecord::Barbican(_) = configuration.keeper;
        Err(NoKeeper::NotBuilt { kind: "barbican" })
    }
}
