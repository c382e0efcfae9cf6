//! A service to try things on: everything in one directory, one account with a password of this start's own.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use claviger::{Arena, ArenaError, Engine, InvalidSvmName, OpenEngineError, Options, SecretBytes, SvmName};
use claviger_ontap::Role;
use tempfile::TempDir;

use crate::accounts::{AccountName, Accounts, AccountsError};
use crate::config::{Config, ConfigErrors, Overrides};
use crate::tls::{self, TlsError};

/// The admin SVM, which stands for the cluster.
const CLUSTER: &str = "cluster1";

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
    /// Takes the directory, or makes one, and chooses the password. A directory that is given is empty, or has a hierarchy. `listen` is a
    /// port of loopback that nobody has, where it is not given.
    ///
    /// # Errors
    /// [`DevError`].
    pub fn prepare(dir: Option<&Path>, listen: Option<SocketAddr>, arena: &Arena) -> Result<Self, DevError> {
        let (data_dir, scratch) = match dir {
            Some(dir) => (made(dir)?, None),
            None => {
                let scratch = tempfile::Builder::new().prefix("claviger-dev-").tempdir().map_err(DevError::Scratch)?;
                (made(scratch.path())?, Some(scratch))
            }
        };
        let listen = listen.unwrap_or_else(|| (Ipv4Addr::LOCALHOST, 0).into());
        tls::forget_own_without(&data_dir, listen.ip())?;
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
        let unread = |source| DevError::Directory { dir: data_dir.clone(), source };
        let is_empty = std::fs::read_dir(data_dir).map_err(unread)?.next().is_none();
        let engine = match is_empty {
            true => Engine::create(data_dir, &CLUSTER.parse::<SvmName>()?, options)?,
            false => Engine::open(data_dir, options)?,
        };
        let mut accounts = Accounts::load(data_dir)?;
        match accounts.list().iter().any(|account| account.name == self.user) {
            true => accounts.set_password(&self.user, &self.password)?,
            false => accounts.create(self.user.clone(), Role::Admin, &self.password)?,
        }
        Ok(engine)
    }

    /// The URL of the service that listens at `address`, as somebody on this machine calls it.
    #[must_use]
    pub fn url(&self, mut address: SocketAddr) -> String {
        match address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
            IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
            IpAddr::V4(_) | IpAddr::V6(_) => {}
        }
        format!("https://{address}")
    }
}

/// The directory, made where it is not there; its path is good wherever it is used.
fn made(dir: &Path) -> Result<PathBuf, DevError> {
    let made = || {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        dir.canonicalize()
    };
    made().map_err(|source| DevError::Directory { dir: dir.to_owned(), source })
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
    /// The directory that was given does not serve.
    #[error("the directory {} cannot be made or read", dir.display())]
    Directory {
        /// The directory.
        dir: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The certificate of an earlier start does not serve.
    #[error(transparent)]
    Tls(#[from] TlsError),
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
