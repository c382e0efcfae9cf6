//! The Barbican keeper: SVM-KEKs wrapped by RFC 3394 under a key that is a secret of an OpenStack Barbican
//! (`docs/formats.md`, kept KEKs). The secret is fetched for each use, and forgotten after it.

use std::time::Instant;

use claviger_barbican::{BarbicanError, CertificateDer, Client, Credential, SecretUrl, Site};
use claviger_secret::{Arena, SecretBytes};
use claviger_wrap::{Key256, SystemRandom, UnwrapError, WrappedKey, WrappingKey};

use super::{BarbicanSettings, BarbicanSetupError, CredentialSeal};
use crate::check::Hop;
use crate::keeper::{Calls, Keeper, KeeperError, KekPlace, KeptKek};
use crate::records::svm_keystores::BarbicanRecord;

/// What names the top-level key in front of what it wraps.
const TOP_LEVEL_KEY_LABEL: &[u8] = b"claviger-top-level-key-1";
const TOP_LEVEL_KEY_ID_LEN: usize = 16;

/// Wraps SVM-KEKs under a secret of a Barbican.
pub(crate) struct BarbicanKeeper {
    arena: Arena,
    key: SecretUrl,
    source: Source,
}

/// Where the top-level key is had from.
enum Source {
    Service(Box<Client>),
    #[cfg(feature = "faults")]
    Vault {
        vault: crate::faults::Vault,
        credential: Credential,
    },
}

impl BarbicanKeeper {
    /// The keeper of this record, which trusts these authorities too. Nothing is sent.
    pub(crate) fn new(
        record: &BarbicanRecord,
        seal: &CredentialSeal<'_>,
        authorities: Vec<Vec<u8>>,
        calls: &Calls,
    ) -> Result<Self, BarbicanSetupError> {
        let BarbicanSettings { key, mut site, credential } = record.settings(seal)?;
        site.extra_roots.extend(authorities.into_iter().map(CertificateDer::from));
        let arena = seal.arena.clone();
        let source = source(&arena, &site, credential, calls)?;
        Ok(Self { arena, key, source })
    }

    /// The top-level key, and what names it.
    fn top_level_key(&self) -> Result<TopLevelKey, KeeperError> {
        let bytes = match &self.source {
            Source::Service(client) => client.key(&self.key)?,
            #[cfg(feature = "faults")]
            Source::Vault { vault, credential } => vault.key(&self.arena, &self.key.to_string(), credential)?,
        };
        TopLevelKey::new(&self.arena, bytes)
    }
}

#[cfg(feature = "faults")]
fn source(arena: &Arena, site: &Site, credential: Credential, calls: &Calls) -> Result<Source, BarbicanSetupError> {
    match calls.vault() {
        Some(vault) => Ok(Source::Vault { vault, credential }),
        None => Ok(Source::Service(Box::new(Client::new(arena, site, &credential)?))),
    }
}

#[cfg(not(feature = "faults"))]
fn source(arena: &Arena, site: &Site, credential: Credential, _: &Calls) -> Result<Source, BarbicanSetupError> {
    Ok(Source::Service(Box::new(Client::new(arena, site, &credential)?)))
}

impl Keeper for BarbicanKeeper {
    fn keep(&self, kek: &Key256, _: KekPlace) -> Result<KeptKek, KeeperError> {
        self.top_level_key()?.wrap(kek)
    }

    fn fetch(&self, kept: &KeptKek, _: KekPlace) -> Result<Key256, KeeperError> {
        self.top_level_key()?.unwrap(kept)
    }

    /// Barbican holds nothing of the KEK.
    fn discard(&self, _: &KeptKek) -> Result<(), KeeperError> {
        Ok(())
    }

    fn probe(&self, each: &mut dyn FnMut(Hop)) -> Result<(), KeeperError> {
        let bytes = match &self.source {
            Source::Service(client) => client.check(&self.key, |hop| {
                each(Hop {
                    name: hop.name.to_string().into(),
                    took: hop.took,
                    outcome: hop.outcome.clone().map_err(|error| crate::error::chain(&error)),
                });
            })?,
            #[cfg(feature = "faults")]
            Source::Vault { vault, credential } => vault.key(&self.arena, &self.key.to_string(), credential)?,
        };
        let began = Instant::now();
        let round_trip = || -> Result<(), KeeperError> {
            let key = TopLevelKey::new(&self.arena, bytes)?;
            let kek = Key256::generate(&self.arena, &mut SystemRandom)
                .map_err(|error| KeeperError::Misbehaving { source: error.into() })?;
            match key.unwrap(&key.wrap(&kek)?)?.ct_eq(&kek) {
                true => Ok(()),
                false => Err(KeeperError::Damaged),
            }
        };
        let tried = round_trip();
        let outcome = tried.as_ref().map(|()| "RFC 3394".to_owned()).map_err(|error| crate::error::chain(error));
        each(Hop { name: "wrap round trip".into(), took: began.elapsed(), outcome });
        tried
    }
}

/// A top-level key, for the length of one call.
struct TopLevelKey {
    wrapping: WrappingKey,
    id: [u8; TOP_LEVEL_KEY_ID_LEN],
}

impl TopLevelKey {
    fn new(arena: &Arena, bytes: SecretBytes) -> Result<Self, KeeperError> {
        let key = Key256::new(bytes).map_err(|error| KeeperError::KeyUnsuitable { source: error.into() })?;
        Ok(Self { wrapping: WrappingKey::new(arena, &key)?, id: key.id(&[TOP_LEVEL_KEY_LABEL]) })
    }

    fn wrap(&self, kek: &Key256) -> Result<KeptKek, KeeperError> {
        let wrapped = self.wrapping.wrap(kek)?;
        Ok(KeptKek { bytes: [self.id.as_slice(), wrapped.as_bytes()].concat() })
    }

    fn unwrap(&self, kept: &KeptKek) -> Result<Key256, KeeperError> {
        let (id, wrapped) = kept.bytes.split_first_chunk().ok_or(KeeperError::Damaged)?;
        let wrapped = wrapped.try_into().map_err(|_| KeeperError::Damaged)?;
        self.wrapping.unwrap(&WrappedKey::from_bytes(wrapped)).map_err(|error| match error {
            UnwrapError::Arena(full) => KeeperError::Arena(full),
            // Which of the two it is, the id tells: a damaged id beside what unwraps does no harm.
            _ if *id != self.id => KeeperError::OtherKey,
            _ => KeeperError::Damaged,
        })
    }
}

impl From<BarbicanError> for KeeperError {
    fn from(error: BarbicanError) -> Self {
        match error {
            BarbicanError::CredentialRefused { .. } => Self::CredentialRefused { source: error.into() },
            BarbicanError::SecretMissing { .. } => Self::KeyMissing { source: error.into() },
            BarbicanError::Forbidden { .. } => Self::Forbidden { source: error.into() },
            BarbicanError::Unsuitable { .. } => Self::KeyUnsuitable { source: error.into() },
            BarbicanError::Misbehaving { .. } => Self::Misbehaving { source: error.into() },
            // The proxy and certificates are the way there.
            _ => Self::Unreachable { source: error.into() },
        }
    }
}
