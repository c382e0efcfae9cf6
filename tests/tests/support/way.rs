//! The way to a lab's Barbican.

use std::env;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use claviger::{
    BarbicanSettings, Credential, Proxy, ProxyKind, ProxyUser, SecretBytes, SecretUrl, Site, certificates_from_pem,
};
use claviger_tests::openstack::{AppCredential, Lab, LabOptions, Role};
use serde::{Deserialize, Serialize};

use super::arena;

/// What the settings of a keystore are made of, also in another process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Way {
    pub(crate) key_id: String,
    pub(crate) keystone_url: String,
    pub(crate) credential_id: String,
    pub(crate) credential_secret: String,
    pub(crate) ca_path: PathBuf,
    pub(crate) proxy: Option<String>,
    pub(crate) timeout_seconds: u64,
}

impl Way {
    /// With the lab's own key and credential.
    pub(crate) fn to(lab: &Lab) -> Self {
        let info = lab.info();
        Self {
            key_id: info.key_id.clone(),
            keystone_url: info.keystone_url.clone(),
            credential_id: info.application_cred_id.clone(),
            credential_secret: info.application_cred_secret.clone(),
            ca_path: info.ca_path.clone(),
            proxy: None,
            timeout_seconds: 20,
        }
    }

    /// With a key that no other test has.
    pub(crate) fn with_new_key(self, lab: &Lab) -> Self {
        self.with_key(&lab.new_key(32).unwrap().key_id)
    }

    pub(crate) fn with_key(self, key_id: &str) -> Self {
        Self { key_id: key_id.to_owned(), ..self }
    }

    pub(crate) fn with_credential(self, AppCredential { id, secret }: AppCredential) -> Self {
        Self { credential_id: id, credential_secret: secret, ..self }
    }

    /// For a keeper that will not answer.
    pub(crate) fn hasty(self) -> Self {
        Self { timeout_seconds: 2, ..self }
    }

    pub(crate) fn settings(&self) -> BarbicanSettings {
        let roots = certificates_from_pem(&std::fs::read(&self.ca_path).unwrap()).unwrap();
        BarbicanSettings {
            key: url(&self.key_id),
            site: Site {
                keystone: self.keystone_url.parse().unwrap(),
                proxy: self.proxy.as_deref().map(proxy),
                verify: true,
                verify_host: true,
                extra_roots: roots,
                timeout: Duration::from_secs(self.timeout_seconds),
            },
            credential: self.credential(),
        }
    }

    pub(crate) fn credential(&self) -> Credential {
        Credential { id: self.credential_id.clone(), secret: secret(&self.credential_secret) }
    }
}

pub(crate) fn url(text: &str) -> SecretUrl {
    text.parse().unwrap()
}

/// The proxy of a URL like `http://name:password@host:port`.
pub(crate) fn proxy(url: &str) -> Proxy {
    let rest = url.strip_prefix("http://").unwrap();
    let (user, place) = rest.rsplit_once('@').map_or((None, rest), |(user, place)| (Some(user), place));
    let (host, port) = place.rsplit_once(':').unwrap();
    let user = user.map(|user| {
        let (name, password) = user.split_once(':').unwrap();
        ProxyUser { name: name.to_owned(), password: secret(password) }
    });
    Proxy { kind: ProxyKind::Http, host: host.to_owned(), port: port.parse().unwrap(), user }
}

fn secret(text: &str) -> SecretBytes {
    let mut bytes = arena().bytes(text.len()).unwrap();
    bytes.expose_mut().copy_from_slice(text.as_bytes());
    bytes
}

/// A credential that no other test has, of the shared lab: one is made at a time.
pub(crate) fn new_credential(lab: &Lab) -> AppCredential {
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    lab.new_app_cred(&["creator", "member"]).unwrap()
}

/// A lab whose services may be stopped, and all of them run now. One test at a time has it.
pub(crate) fn outages() -> MutexGuard<'static, Lab> {
    static LAB: OnceLock<Mutex<Lab>> = OnceLock::new();
    let lab = LAB.get_or_init(|| Mutex::new(Lab::start(&LabOptions::default()).unwrap()));
    let lab = lab.lock().unwrap_or_else(PoisonError::into_inner);
    for role in [Role::Keystone, Role::Barbican, Role::Proxy] {
        lab.start_role(role).unwrap();
    }
    lab
}

/// What a process is told in its environment.
pub(crate) fn told(name: &str) -> String {
    env::var(name).unwrap()
}
