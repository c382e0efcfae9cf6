//! The Barbican keeper: SVM-KEKs wrapped by RFC 3394 under a key that is a secret of an OpenStack Barbican
//! (`docs/formats.md`, KEKs kept by Barbican). The secret is fetched for each use, and forgotten after it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use claviger_barbican::{
    BarbicanError, CertificateDer, Client, Credential, KeystoneUrl, Proxy, ProxyKind, ProxyUser, SecretUrl, SetupError,
    Site, UrlError,
};
use claviger_secret::{Arena, ArenaError, SecretBytes};
use claviger_wrap::{
    BodyKey, Key256, OpenSecretError, RandomError, SealingKey, SvmId, SystemRandom, UnwrapError, WrappedKey,
    WrappingKey,
};
use uuid::Uuid;

use crate::check::Hop;
use crate::credential::{CredentialField, CredentialPlace};
use crate::error::{Advice, Blame, Fault};
use crate::keeper::{Calls, Keeper, KeeperError, KekPlace, KeptKek};
use crate::records::{BarbicanRecord, CaCertificate, ProxyRecord, ProxyUserRecord};

/// What names the top-level key in front of what it wraps.
const TOP_LEVEL_KEY_LABEL: &[u8] = b"claviger-top-level-key-1";
const TOP_LEVEL_KEY_ID_LEN: usize = 16;

/// A keystore at an OpenStack Barbican, as it is made.
#[derive(Debug)]
pub struct BarbicanSettings {
    /// The secret that is the top-level key.
    pub key: SecretUrl,
    /// The services and the way to them.
    pub site: Site,
    /// Who asks.
    pub credential: Credential,
}

/// What changes of a keystore at a Barbican. What is `None` stays.
#[derive(Debug, Default)]
pub struct BarbicanUpdate {
    /// Another credential: its id and its secret together.
    pub credential: Option<Credential>,
    /// Another proxy, or with `Some(None)` none.
    pub proxy: Option<Option<Proxy>>,
    /// Whether a certificate must come from a trusted authority.
    pub verify: Option<bool>,
    /// Whether a certificate must name the host.
    pub verify_host: Option<bool>,
    /// The limit of one call.
    pub timeout: Option<Duration>,
    /// Other authorities to trust beside the system's own.
    pub extra_roots: Option<Vec<CertificateDer<'static>>>,
}

impl BarbicanUpdate {
    /// Whether nothing changes.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        let Self { credential, proxy, verify, verify_host, timeout, extra_roots } = self;
        credential.is_none()
            && proxy.is_none()
            && verify.is_none()
            && verify_host.is_none()
            && timeout.is_none()
            && extra_roots.is_none()
    }
}

/// Why the settings of a keystore at a Barbican cannot be used. Nothing was sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BarbicanSetupError {
    /// The client cannot be made of them.
    #[error(transparent)]
    Client(#[from] SetupError),
    /// The keystore's record holds a URL that is none.
    #[error("the keystore's record is damaged: it holds a URL that is none")]
    Url(#[from] UrlError),
    /// The keystore's credential does not open with the sealing key.
    #[error("the credential in the keystore's record is damaged; give it again, or put the record back from a copy")]
    DamagedCredential,
    /// The limit of one call is not 1 s to an hour in whole seconds.
    #[error("the time limit is {} s; it must be 1 to 3600 whole seconds", found.as_secs_f32())]
    Timeout {
        /// The limit that was given.
        found: Duration,
    },
    /// There is no room in key memory.
    #[error("there is no room in key memory")]
    Arena(#[from] ArenaError),
    /// The random source failed.
    #[error(transparent)]
    Random(#[from] RandomError),
}

impl Blame for BarbicanSetupError {
    fn blame(&self) -> (Fault, Advice) {
        match self {
            Self::Client(SetupError::Arena(full)) | Self::Arena(full) => full.blame(),
            Self::Client(SetupError::Thread(_)) | Self::Random(_) => (Fault::Node, Advice::Retry),
            Self::Client(_) | Self::Timeout { .. } => (Fault::Caller, Advice::Correct),
            Self::Url(_) | Self::DamagedCredential => (Fault::Data, Advice::Repair),
        }
    }
}

impl From<OpenSecretError> for BarbicanSetupError {
    fn from(error: OpenSecretError) -> Self {
        match error {
            OpenSecretError::Arena(full) => Self::Arena(full),
            _ => Self::DamagedCredential,
        }
    }
}

/// What seals a keystore's credentials, and where they are.
pub(crate) struct CredentialSeal<'a> {
    key: BodyKey,
    place: CredentialPlace,
    arena: &'a Arena,
}

impl<'a> CredentialSeal<'a> {
    pub(crate) fn of(sealing: &SealingKey, arena: &'a Arena, svm: SvmId, keystore: Uuid) -> Result<Self, ArenaError> {
        Ok(Self { key: sealing.credentials()?, place: CredentialPlace { svm, keystore }, arena })
    }

    fn seal(&self, field: CredentialField, secret: &SecretBytes) -> Result<Vec<u8>, RandomError> {
        self.place.seal(field, secret, &self.key)
    }

    fn open(&self, field: CredentialField, sealed: &[u8]) -> Result<SecretBytes, OpenSecretError> {
        self.place.open(field, sealed, &self.key)
    }
}

impl BarbicanRecord {
    pub(crate) fn new(settings: &BarbicanSettings, seal: &CredentialSeal<'_>) -> Result<Self, BarbicanSetupError> {
        let BarbicanSettings { key, site, credential } = settings;
        let Site { keystone, proxy, verify, verify_host, extra_roots, timeout } = site;
        Ok(Self {
            key_id: key.to_string(),
            keystone_url: keystone.to_string(),
            application_cred_id: credential.id.clone(),
            application_cred_secret: seal.seal(CredentialField::ApplicationCredSecret, &credential.secret)?,
            proxy: proxy.as_ref().map(|proxy| proxy_record(proxy, seal)).transpose()?,
            verify: *verify,
            verify_host: *verify_host,
            timeout_seconds: seconds(*timeout)?,
            ca_certificates: certificates(extra_roots),
        })
    }

    /// The same with what changes.
    pub(crate) fn updated(
        &self,
        update: &BarbicanUpdate,
        seal: &CredentialSeal<'_>,
    ) -> Result<Self, BarbicanSetupError> {
        let BarbicanUpdate { credential, proxy, verify, verify_host, timeout, extra_roots } = update;
        let mut record = self.clone();
        if let Some(credential) = credential {
            record.application_cred_id.clone_from(&credential.id);
            record.application_cred_secret = seal.seal(CredentialField::ApplicationCredSecret, &credential.secret)?;
        }
        if let Some(proxy) = proxy {
            record.proxy = proxy.as_ref().map(|proxy| proxy_record(proxy, seal)).transpose()?;
        }
        if let Some(timeout) = timeout {
            record.timeout_seconds = seconds(*timeout)?;
        }
        if let Some(roots) = extra_roots {
            record.ca_certificates = certificates(roots);
        }
        record.verify = verify.unwrap_or(record.verify);
        record.verify_host = verify_host.unwrap_or(record.verify_host);
        Ok(record)
    }

    fn settings(&self, seal: &CredentialSeal<'_>) -> Result<BarbicanSettings, BarbicanSetupError> {
        let proxy = |record: &ProxyRecord| -> Result<Proxy, BarbicanSetupError> {
            let user = |user: &ProxyUserRecord| -> Result<ProxyUser, BarbicanSetupError> {
                let password = seal.open(CredentialField::ProxyPassword, &user.password)?;
                Ok(ProxyUser { name: user.name.clone(), password })
            };
            Ok(Proxy {
                kind: if record.tls { ProxyKind::Https } else { ProxyKind::Http },
                host: record.host.clone(),
                port: record.port,
                user: record.user.as_ref().map(user).transpose()?,
            })
        };
        Ok(BarbicanSettings {
            key: self.key_id.parse()?,
            site: Site {
                keystone: self.keystone_url.parse::<KeystoneUrl>()?,
                proxy: self.proxy.as_ref().map(proxy).transpose()?,
                verify: self.verify,
                verify_host: self.verify_host,
                extra_roots: self.ca_certificates.iter().map(|der| CertificateDer::from(der.0.clone())).collect(),
                timeout: Duration::from_secs(self.timeout_seconds.into()),
            },
            credential: Credential {
                id: self.application_cred_id.clone(),
                secret: seal.open(CredentialField::ApplicationCredSecret, &self.application_cred_secret)?,
            },
        })
    }
}

fn proxy_record(proxy: &Proxy, seal: &CredentialSeal<'_>) -> Result<ProxyRecord, BarbicanSetupError> {
    let user = |user: &ProxyUser| -> Result<ProxyUserRecord, BarbicanSetupError> {
        let password = seal.seal(CredentialField::ProxyPassword, &user.password)?;
        Ok(ProxyUserRecord { name: user.name.clone(), password })
    };
    Ok(ProxyRecord {
        tls: match proxy.kind {
            ProxyKind::Http => false,
            ProxyKind::Https => true,
        },
        host: proxy.host.clone(),
        port: proxy.port,
        user: proxy.user.as_ref().map(user).transpose()?,
    })
}

fn certificates(roots: &[CertificateDer<'static>]) -> Vec<CaCertificate> {
    roots.iter().map(|root| CaCertificate(root.to_vec())).collect()
}

fn seconds(timeout: Duration) -> Result<u32, BarbicanSetupError> {
    match u32::try_from(timeout.as_secs()) {
        Ok(seconds @ 1..=3600) if timeout.subsec_nanos() == 0 => Ok(seconds),
        _ => Err(BarbicanSetupError::Timeout { found: timeout }),
    }
}

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
    /// The keeper of this record. Nothing is sent.
    pub(crate) fn new(
        record: &BarbicanRecord,
        seal: &CredentialSeal<'_>,
        calls: &Calls,
    ) -> Result<Arc<dyn Keeper>, BarbicanSetupError> {
        let BarbicanSettings { key, site, credential } = record.settings(seal)?;
        let arena = seal.arena.clone();
        let source = source(&arena, &site, credential, calls)?;
        Ok(Arc::new(Self { arena, key, source }))
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
