//! The process under attack whose SVMs have their keystores at a Barbican: an engine, driven step by step over standard input.
//!
//! It is in the library because two programs are made of it: one that wipes what it frees, as the `claviger` program does, and one
//! that does not. It reads every secret from a file into key memory.

use std::fs::{self, File};
use std::io::{self, BufRead as _, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use claviger::{
    Arena, ArenaOptions, BarbicanSettings, BarbicanUpdate, Credential, Engine, Job, KeeperError, KeyAlgorithm,
    KeyMemory, NewKey, ObjectRef, OnboardMode, Options, Passphrase, Protection, Proxy, ProxyKind, ProxyUser,
    SecretBytes, Site, StoreOptions, SvmId, SvmKeystoreError, certificates_from_pem,
};
use uuid::Uuid;

use crate::openstack::LabInfo;

/// What the victim is told to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A hierarchy, and two SVMs with a keystore each: one asked directly, one through a proxy with a password.
    Enable,
    /// Keys, which brings the KEKs.
    CreateKeys,
    /// New KEKs under the same secret.
    Rekey,
    /// The same KEKs under another secret.
    RekeyExternal,
    /// Every hop, one by one.
    Check,
    /// The KEKs fetched again. Where the user was disabled meanwhile, with a new token in place of the one that is refused.
    Restore,
    /// A credential and a proxy's password that are wrong.
    FailedLogins,
    /// Closed, and opened again.
    Reopen,
    /// Everything is given up.
    DropAll,
}

impl Step {
    /// All, in the order in which they can be done.
    pub const ALL: [Self; 9] = [
        Self::Enable,
        Self::CreateKeys,
        Self::Rekey,
        Self::RekeyExternal,
        Self::Check,
        Self::Restore,
        Self::FailedLogins,
        Self::Reopen,
        Self::DropAll,
    ];

    /// As it is asked for.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Enable => "enable",
            Self::CreateKeys => "create-keys",
            Self::Rekey => "rekey",
            Self::RekeyExternal => "rekey-external",
            Self::Check => "check",
            Self::Restore => "restore",
            Self::FailedLogins => "failed-logins",
            Self::Reopen => "reopen",
            Self::DropAll => "drop-all",
        }
    }
}

/// What the victim reads, and where its hierarchy is, for both sides.
#[derive(Clone, Debug)]
pub struct Files(PathBuf);

impl Files {
    /// Those in a directory.
    #[must_use]
    pub fn new(base: &Path) -> Self {
        Self(base.to_owned())
    }

    /// The hierarchy.
    #[must_use]
    pub fn hierarchy(&self) -> PathBuf {
        self.0.join("at-barbican")
    }

    /// Writes what the victim needs of a lab. `second_key` is the URL of another secret.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn write(&self, lab: &LabInfo, second_key: &str, passphrase: &[u8], wrong_secret: &str) -> Result<ProxyParts> {
        let proxy = ProxyParts::parse(&lab.proxy_url).context("the lab's proxy has no name and password")?;
        fs::copy(&lab.ca_path, self.0.join("ca.pem"))?;
        for (name, text) in [
            ("passphrase", passphrase),
            ("keystone", lab.keystone_url.as_bytes()),
            ("key", lab.key_id.as_bytes()),
            ("second-key", second_key.as_bytes()),
            ("credential-id", lab.application_cred_id.as_bytes()),
            ("credential-secret", lab.application_cred_secret.as_bytes()),
            ("wrong-secret", wrong_secret.as_bytes()),
            ("proxy-user", proxy.user.as_bytes()),
            ("proxy-password", proxy.password.as_bytes()),
            ("proxy-port", proxy.port.as_bytes()),
        ] {
            fs::write(self.0.join(name), text)?;
        }
        Ok(proxy)
    }

    fn text(&self, name: &str) -> Result<String> {
        fs::read_to_string(self.0.join(name)).with_context(|| format!("no file {name}"))
    }

    fn secret(&self, arena: &Arena, name: &str) -> Result<SecretBytes> {
        let mut file = File::open(self.0.join(name))?;
        let mut bytes = arena.bytes(usize::try_from(file.metadata()?.len())?)?;
        file.read_exact(bytes.expose_mut())?;
        Ok(bytes)
    }
}

/// A proxy on loopback.
#[derive(Clone, Debug)]
pub struct ProxyParts {
    /// The name of its user.
    pub user: String,
    /// The user's password.
    pub password: String,
    port: String,
}

impl ProxyParts {
    /// The parts of `http://USER:PASSWORD@127.0.0.1:PORT`.
    fn parse(url: &str) -> Option<Self> {
        let (user, place) = url.strip_prefix("http://")?.split_once('@')?;
        let (user, password) = user.split_once(':')?;
        let (_, port) = place.rsplit_once(':')?;
        Some(Self { user: user.to_owned(), password: password.to_owned(), port: port.to_owned() })
    }
}

struct Victim {
    files: Files,
    arena: Arena,
    engine: Option<Engine>,
}

const SVMS: [&str; 2] = ["direct", "proxied"];
const KEYS: u128 = 50;

/// Says what memory it has, then does each step that a line of standard input names, and says so.
///
/// # Errors
/// A step did not go as it should.
pub fn run(base: &Path) -> Result<()> {
    let arena = Arena::new(&ArenaOptions { keys: 2_000, states: 200, accept: Protection::Unlocked })?;
    let mut victim = Victim { files: Files::new(base), arena, engine: None };
    say(victim.arena.protection().as_str())?;
    let mut line = String::new();
    while io::stdin().lock().read_line(&mut line)? > 0 {
        let named = Step::ALL.into_iter().find(|step| step.name() == line.trim());
        victim.step(named.with_context(|| format!("no step {line}"))?)?;
        say("done")?;
        line.clear();
    }
    Ok(())
}

fn say(what: &str) -> Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{what}")?;
    Ok(stdout.flush()?)
}

impl Victim {
    fn step(&mut self, step: Step) -> Result<()> {
        match step {
            Step::Enable => self.enable(),
            Step::CreateKeys => self.create_keys(),
            Step::Rekey => self.each_svm(|engine, svm, _| done(&engine.rekey_internal(svm)?)),
            Step::RekeyExternal => {
                let second = self.files.text("second-key")?.parse()?;
                self.each_svm(|engine, _, keystore| done(&engine.rekey_external(keystore, &second)?))
            }
            Step::Check => self.each_svm(|engine, _, keystore| Ok(engine.check_keystore(keystore, |_| ())?)),
            Step::Restore => self.restore(),
            Step::FailedLogins => self.failed_logins(),
            Step::Reopen => {
                self.engine = None;
                self.engine = Some(Engine::open(&self.files.hierarchy(), self.options())?);
                self.each_svm(|engine, svm, _| {
                    drop(engine.open_key(svm, volume(1))?);
                    Ok(())
                })
            }
            Step::DropAll => {
                self.engine = None;
                Ok(())
            }
        }
    }

    fn enable(&mut self) -> Result<()> {
        let engine = Engine::create(&self.files.hierarchy(), &"cluster1".parse()?, self.options())?;
        let passphrase = Passphrase::new(self.files.secret(&self.arena, "passphrase")?)?;
        engine.create_onboard(OnboardMode::Unattended, &passphrase)?;
        for name in SVMS {
            let svm = engine.create_svm(&name.parse()?)?.id();
            let settings = BarbicanSettings {
                key: self.files.text("key")?.parse()?,
                site: self.site((name == "proxied").then(|| self.proxy("proxy-password")).transpose()?)?,
                credential: self.credential("credential-secret")?,
            };
            let keystore = engine.create_barbican(svm, &"barbican".parse()?, &settings)?;
            done(&engine.enable(keystore.id)?)?;
        }
        self.engine = Some(engine);
        Ok(())
    }

    fn create_keys(&self) -> Result<()> {
        self.each_svm(|engine, svm, _| {
            drop(engine.create_key(svm, volume(1), KeyAlgorithm::XtsAes256)?);
            let algorithm = KeyAlgorithm::Aes256;
            let keys: Vec<_> = (2..=KEYS).map(|number| NewKey { object: volume(number), algorithm }).collect();
            drop(engine.create_keys(svm, &keys)?);
            Ok(())
        })
    }

    /// Until it goes well: Keystone counts a user's revoked tokens by the second, and refuses a new one of the same second too.
    fn restore(&self) -> Result<()> {
        let began = Instant::now();
        while let Err(error) = done(&self.engine()?.restore_keks(None)?) {
            ensure!(began.elapsed() < Duration::from_secs(20), error);
        }
        Ok(())
    }

    fn failed_logins(&self) -> Result<()> {
        self.each_svm(|engine, _, keystore| {
            let credential = Some(self.credential("wrong-secret")?);
            let refused = engine.update_barbican(keystore, &BarbicanUpdate { credential, ..BarbicanUpdate::default() });
            let Err(SvmKeystoreError::Keeper(KeeperError::CredentialRefused { .. })) = refused else {
                anyhow::bail!("a wrong secret gave {refused:?}")
            };
            let proxy = Some(Some(self.proxy("wrong-secret")?));
            let refused = engine.update_barbican(keystore, &BarbicanUpdate { proxy, ..BarbicanUpdate::default() });
            ensure!(matches!(refused, Err(SvmKeystoreError::Keeper(_))), "a wrong password gave {refused:?}");
            Ok(())
        })
    }

    /// Does something with each SVM and its keystore.
    fn each_svm(&self, work: impl Fn(&Engine, SvmId, Uuid) -> Result<()>) -> Result<()> {
        let engine = self.engine()?;
        for name in SVMS {
            let svm = engine.svm_named(name)?.id();
            let keystores = engine.keystores();
            let own = keystores.iter().find(|keystore| keystore.svm == Some(svm)).context("no keystore")?;
            work(engine, svm, own.id)?;
        }
        Ok(())
    }

    fn engine(&self) -> Result<&Engine> {
        self.engine.as_ref().context("the first step is to enable")
    }

    fn options(&self) -> Options {
        Options {
            memory: KeyMemory::Shared(self.arena.clone()),
            store_options: StoreOptions { cache_bytes: 8 << 20, reserve_bytes: 0 },
            ..Options::default()
        }
    }

    fn site(&self, proxy: Option<Proxy>) -> Result<Site> {
        Ok(Site {
            keystone: self.files.text("keystone")?.parse()?,
            proxy,
            verify: true,
            verify_host: true,
            extra_roots: certificates_from_pem(self.files.text("ca.pem")?.as_bytes())?,
            timeout: Duration::from_secs(20),
        })
    }

    fn proxy(&self, password: &str) -> Result<Proxy> {
        let user =
            ProxyUser { name: self.files.text("proxy-user")?, password: self.files.secret(&self.arena, password)? };
        let port = self.files.text("proxy-port")?.parse()?;
        Ok(Proxy { kind: ProxyKind::Http, host: "127.0.0.1".to_owned(), port, user: Some(user) })
    }

    fn credential(&self, secret: &str) -> Result<Credential> {
        Ok(Credential { id: self.files.text("credential-id")?, secret: self.files.secret(&self.arena, secret)? })
    }
}

/// Waits for a job to end well.
fn done(job: &Job) -> Result<()> {
    job.wait()?;
    Ok(())
}

fn volume(number: u128) -> ObjectRef {
    ObjectRef::Volume(Uuid::from_u128(number))
}
