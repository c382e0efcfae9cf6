//! Real Keystone and Barbican on loopback, for tests: what `tests/services/openstack` starts.

use std::io::{PipeReader, PipeWriter, pipe};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tempfile::TempDir;

/// Keystone, Barbican and a proxy, until it is dropped. They end with this process too, however that ends.
pub struct Lab {
    info: LabInfo,
    run: TempDir,
    /// The services' standard input. It ends when `_leash` is closed, and they with it.
    leashed: PipeReader,
    _leash: PipeWriter,
}

/// How a lab is started.
#[derive(Clone, Copy, Debug)]
pub struct LabOptions {
    /// How long a token lives, in seconds.
    pub token_seconds: u32,
    /// After how many seconds the lab ends by itself.
    pub ttl_seconds: u32,
}

impl Default for LabOptions {
    fn default() -> Self {
        Self { token_seconds: 3600, ttl_seconds: 900 }
    }
}

/// One of a lab's processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Gives tokens.
    Keystone,
    /// Keeps secrets.
    Barbican,
    /// Makes tunnels, for whoever has the password.
    Proxy,
}

impl Role {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Keystone => "keystone",
            Self::Barbican => "barbican",
            Self::Proxy => "proxy",
        }
    }
}

/// What a lab has.
#[derive(Debug, Deserialize)]
pub struct LabInfo {
    /// The certificate, as PEM, of the authority that signed the servers'.
    pub ca_path: PathBuf,
    /// That of another authority.
    pub wrong_ca_path: PathBuf,
    /// `https://localhost:PORT/v3/auth/tokens`.
    pub keystone_url: String,
    /// The id of a credential that may read `key_id`.
    pub application_cred_id: String,
    /// Its secret.
    pub application_cred_secret: String,
    /// `https://localhost:PORT/v1/secrets/UUID`.
    pub key_id: String,
    /// The key behind `key_id`.
    #[serde(rename = "key_hex", deserialize_with = "hex_bytes")]
    pub key: Vec<u8>,
    /// `http://USER:PASSWORD@127.0.0.1:PORT`.
    pub proxy_url: String,
    /// `http://127.0.0.1:PORT`.
    pub proxy_url_no_auth: String,
    /// The Python that the services run in, which has the package `cryptography`.
    pub python: PathBuf,
    /// Further secrets.
    pub other_keys: OtherKeys,
    /// Further credentials.
    pub other_app_credentials: OtherCredentials,
}

/// URLs of secrets, named by what they show.
#[derive(Debug, Deserialize)]
#[expect(missing_docs, reason = "the names say all there is to say")]
pub struct OtherKeys {
    pub unknown: String,
    pub other_project: String,
    pub private_acl: String,
    pub shared_by_acl: String,
    pub aes_128: String,
    pub aes_256_mislabelled_16_bytes: String,
    pub opaque_32_bytes: String,
    pub passphrase_text: String,
    pub no_payload: String,
    pub expires_in_60_s: String,
}

/// Credentials, named by what they show.
#[derive(Debug, Deserialize)]
#[expect(missing_docs, reason = "the names say all there is to say")]
pub struct OtherCredentials {
    pub reader_only: AppCredential,
    pub creator_only: AppCredential,
    pub other_project: AppCredential,
    pub expired: AppCredential,
}

/// An application credential.
#[derive(Clone, Debug, Deserialize)]
pub struct AppCredential {
    /// Its id.
    #[serde(alias = "application_cred_id")]
    pub id: String,
    /// Its secret.
    #[serde(alias = "application_cred_secret")]
    pub secret: String,
}

/// A secret that was stored.
#[derive(Debug, Deserialize)]
pub struct StoredKey {
    /// Its URL.
    pub key_id: String,
    /// Its payload.
    #[serde(rename = "key_hex", deserialize_with = "hex_bytes")]
    pub key: Vec<u8>,
}

impl Lab {
    /// Starts one, in a directory of its own. The first on a machine installs the services, which takes half a minute;
    /// whoever starts one meanwhile waits for that.
    ///
    /// # Errors
    /// Whatever the launcher says.
    pub fn start(options: &LabOptions) -> Result<Self> {
        let run = TempDir::with_prefix("claviger-openstack-")?;
        let (leashed, leash) = pipe()?;
        let (token_seconds, ttl) = (options.token_seconds.to_string(), options.ttl_seconds.to_string());
        let up = ["up", "--leash", "--token-seconds", &token_seconds, "--ttl", &ttl];
        let info = serde_json::from_str(&launch(run.path(), &leashed, &up)?)?;
        Ok(Self { info, run, leashed, _leash: leash })
    }

    /// The one that all tests of this process share that leave the services as they are.
    ///
    /// # Panics
    /// If it does not start.
    #[expect(clippy::panic, reason = "a test without its services has failed")]
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Lab> = OnceLock::new();
        SHARED.get_or_init(|| Self::start(&LabOptions::default()).unwrap_or_else(|error| panic!("no lab: {error:#}")))
    }

    /// What it has.
    #[must_use]
    pub const fn info(&self) -> &LabInfo {
        &self.info
    }

    /// Causes a fault: see `tests/services/openstack/README.md`.
    ///
    /// # Errors
    /// Whatever the launcher says, as in all that follow.
    pub fn fault(&self, what: &str, target: &[&str]) -> Result<()> {
        self.say(&[&["fault", what], target].concat()).map(drop)
    }

    /// Ends a process in good order.
    ///
    /// # Errors
    /// See [`Lab::fault`].
    pub fn stop(&self, role: Role) -> Result<()> {
        self.say(&["stop", role.as_str()]).map(drop)
    }

    /// Kills a process.
    ///
    /// # Errors
    /// See [`Lab::fault`].
    pub fn kill(&self, role: Role) -> Result<()> {
        self.say(&["kill", role.as_str()]).map(drop)
    }

    /// Starts a process again, and waits until it serves.
    ///
    /// # Errors
    /// See [`Lab::fault`].
    pub fn start_role(&self, role: Role) -> Result<()> {
        self.say(&["start", role.as_str()]).map(drop)
    }

    /// Has a process stand still.
    ///
    /// # Errors
    /// See [`Lab::fault`].
    pub fn pause(&self, role: Role) -> Result<()> {
        self.say(&["pause", role.as_str()]).map(drop)
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// See [`Lab::fault`].
    pub fn resume(&self, role: Role) -> Result<()> {
        self.say(&["resume", role.as_str()]).map(drop)
    }

    /// Stores a key of so many bytes.
    ///
    /// # Errors
    /// See [`Lab::fault`].
    pub fn new_key(&self, bytes: usize) -> Result<StoredKey> {
        self.ask(&["new-key", "--bytes", &bytes.to_string()])
    }

    /// Makes a credential with these roles. Faults then mean this one.
    ///
    /// # Errors
    /// See [`Lab::fault`].
    pub fn new_app_cred(&self, roles: &[&str]) -> Result<AppCredential> {
        self.ask(&["new-app-cred", "--roles", &roles.join(",")])
    }

    fn ask<T: DeserializeOwned>(&self, words: &[&str]) -> Result<T> {
        Ok(serde_json::from_str(&self.say(words)?)?)
    }

    fn say(&self, words: &[&str]) -> Result<String> {
        launch(self.run.path(), &self.leashed, words)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // The leash ends what this does not.
        drop(self.say(&["down"]));
    }
}

/// Has the launcher do something; returns what it prints.
fn launch(run: &Path, leashed: &PipeReader, words: &[&str]) -> Result<String> {
    let launcher = concat!(env!("CARGO_MANIFEST_DIR"), "/services/openstack/openstack-lab");
    let output = Command::new("python3")
        .args([launcher, "--run"])
        .arg(run)
        .args(words)
        .stdin(Stdio::from(leashed.try_clone()?))
        .output()
        .context("the services need python3")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "openstack-lab {}: {}: {said}", words.join(" "), output.status);
    Ok(String::from_utf8(output.stdout)?)
}

fn hex_bytes<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    hex::decode(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
}
