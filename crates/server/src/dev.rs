//! A service to try things on: everything in one directory, one account with a password of this start's own.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use claviger::{Arena, ArenaError, Engine, InvalidSvmName, OpenEngineError, Options, SecretBytes, SvmName};
use claviger_ontap::Role;
use tempfile::TempDir;

use crate::accounts::{AccountName, Accounts, AccountsError};
use crate::config::{Config, ConfigErrors, Overrides};
use crate::tls;

/// The admin SVM, which stands for the cluster.
const CLUSTER: &str = "cluster1";
/// Below the directory that was given or made: a hierarchy wants one to itself.
const HIERARCHY: &str = "hierarchy";

/// What a service to try things on needs. Its directory, where none was given, is gone when this is dropped.
pub struct DevSite {
    /// Its configuration: all defaults, but for where it listens and its data directory.
    pub config: Config,
    /// The account's name.
    pub user: AccountName,
    /// Its password, which is of this start alone.
    pub password: SecretBytes,
    /// The certificate that clients have to trust. It is there when the service has started.
    pub authority: PathBuf,
    _scratch: Option<TempDir>,
}

impl DevSite {
    /// Chooses the directory, or makes one, and the password. `listen` is a port of loopback that nobody has, where it is not given.
    ///
    /// # Errors
    /// [`DevError`].
    pub fn prepare(dir: Option<&Path>, listen: Option<SocketAddr>, arena: &Arena) -> Result<Self, DevError> {
        let (data_dir, scratch) = match dir {
            Some(dir) => (dir.join(HIERARCHY), None),
            None => {
                let scratch = tempfile::Builder::new().prefix("claviger-dev-").tempdir().map_err(DevError::Scratch)?;
                (scratch.path().join(HIERARCHY), Some(scratch))
            }
        };
        let listen = listen.unwrap_or_else(|| (Ipv4Addr::LOCALHOST, 0).into());
        let overrides = Overrides { listen: Some(listen), data_dir: Some(data_dir.clone()) };
        Ok(Self {
            config: Config::load(None, [], overrides)?,
            user: AccountName::admin(),
            password: password(arena)?,
            authority: tls::own_authority(&data_dir),
            _scratch: scratch,
        })
    }

    /// Makes the hierarchy where there is none, with nothing but its admin SVM, and opens it to the account.
    ///
    /// # Errors
    /// [`DevError`].
    pub fn open(&self, options: Options) -> Result<Engine, DevError> {
        let data_dir = &self.config.data_dir;
        let engine = match data_dir.exists() {
            true => Engine::open(data_dir, options)?,
            false => Engine::create(data_dir, &CLUSTER.parse::<SvmName>()?, options)?,
        };
        let mut accounts = Accounts::load(data_dir)?;
        match accounts.list().iter().any(|account| account.name == self.user) {
            true => accounts.set_password(&self.user, &self.password)?,
            false => accounts.create(self.user.clone(), Role::Admin, &self.password)?,
        }
        Ok(engine)
    }
}

/// 144 bits in letters, digits, `-` and `_`.
fn password(arena: &Arena) -> Result<SecretBytes, DevError> {
    const CHARACTERS: usize = 24;
    const BASE64URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut password = arena.bytes(CHARACTERS)?;
    getrandom::fill(password.expose_mut())?;
    for byte in password.expose_mut() {
        // Six bits of a random byte are as random.
        *byte = BASE64URL.get(usize::from(*byte & 0x3f)).copied().unwrap_or(b'A');
    }
    Ok(password)
}

/// A service to try things on could not be prepared.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DevError {
    /// No directory could be made.
    #[error("no directory could be made for the service")]
    Scratch(#[source] io::Error),
    /// The arguments do not serve.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// The hierarchy could not be made or opened.
    #[error(transparent)]
    Open(#[from] OpenEngineError),
    /// The account could not be made.
    #[error(transparent)]
    Accounts(#[from] AccountsError),
    /// A name of the service's own choosing is none.
    #[error(transparent)]
    Name(#[from] InvalidSvmName),
    /// There was no key memory.
    #[error(transparent)]
    Memory(#[from] ArenaError),
    /// The random source failed.
    #[error("the system's random source failed")]
    Random(#[from] getrandom::Error),
}
