//! How long calls to keepers take, and how often which of them fails: for whoever has installed a recorder of the `metrics` facade.

use std::sync::Arc;
use std::time::Instant;

use claviger_wrap::Key256;

use crate::check::Hop;
use crate::keeper::{Keeper, KeeperError, KekPlace, KeptKek, Trouble};

/// Seconds that a call took, with or without success, as a histogram.
const SECONDS: &str = "claviger_keeper_seconds";
/// Calls that failed.
const FAILURES: &str = "claviger_keeper_failures_total";

/// The kinds of keepers there are, as a label says them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Onboard,
    #[cfg(feature = "barbican")]
    Barbican,
}

impl Kind {
    const fn label(self) -> &'static str {
        match self {
            Self::Onboard => "onboard",
            #[cfg(feature = "barbican")]
            Self::Barbican => "barbican",
        }
    }
}

/// A keeper all of whose calls are measured. The labels have few values: nothing of a keystore or an SVM is in them.
pub(crate) struct Metered {
    pub(crate) kind: Kind,
    pub(crate) keeper: Arc<dyn Keeper>,
}

impl Metered {
    fn measured<T>(
        &self,
        operation: &'static str,
        ask: impl FnOnce(&dyn Keeper) -> Result<T, KeeperError>,
    ) -> Result<T, KeeperError> {
        let kind = self.kind.label();
        let began = Instant::now();
        let outcome = ask(self.keeper.as_ref());
        metrics::histogram!(SECONDS, "operation" => operation, "kind" => kind).record(began.elapsed());
        if let Err(error) = &outcome {
            let trouble = label(error);
            metrics::counter!(FAILURES, "operation" => operation, "kind" => kind, "trouble" => trouble).increment(1);
        }
        outcome
    }
}

const fn label(error: &KeeperError) -> &'static str {
    match error.trouble() {
        Some(Trouble::Unreachable) => "unreachable",
        Some(Trouble::CredentialRefused) => "credential_refused",
        Some(Trouble::KeyMissing) => "key_missing",
        Some(Trouble::Forbidden) => "forbidden",
        Some(Trouble::KeyUnsuitable) => "key_unsuitable",
        Some(Trouble::OtherKey) => "other_key",
        Some(Trouble::Misbehaving) => "misbehaving",
        None => match error {
            KeeperError::Arena(_) => "no_room",
            _ => "damaged",
        },
    }
}

impl Keeper for Metered {
    fn keep(&self, kek: &Key256, place: KekPlace) -> Result<KeptKek, KeeperError> {
        self.measured("keep", |keeper| keeper.keep(kek, place))
    }

    fn fetch(&self, kept: &KeptKek, place: KekPlace) -> Result<Key256, KeeperError> {
        self.measured("fetch", |keeper| keeper.fetch(kept, place))
    }

    fn discard(&self, kept: &KeptKek) -> Result<(), KeeperError> {
        self.measured("discard", |keeper| keeper.discard(kept))
    }

    fn probe(&self, each: &mut dyn FnMut(Hop)) -> Result<(), KeeperError> {
        self.measured("probe", |keeper| keeper.probe(each))
    }
}
