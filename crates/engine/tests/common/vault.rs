//! Keystores at a Barbican, whose secrets are in a vault in memory.

use std::time::Duration;

use claviger::faults::{KeeperFaults, Vault};
use claviger::store::faults::FaultClock;
use claviger::{
    BarbicanSettings, Credential, Engine, Fetching, KeystoreInfo, KeystoreName, Options, SecretBytes, SecretUrl, Site,
    SvmId,
};
use uuid::Uuid;

use super::arena;

/// Nobody listens there: what passes the vault by is refused at once.
pub(crate) const KEYSTONE: &str = "https://127.0.0.1:1/v3";
/// Whom the vault lets in, each with this secret.
pub(crate) const CREDENTIALS: [&str; 2] = ["first-credential", "second-credential"];
pub(crate) const CREDENTIAL_SECRET: &[u8] = b"a secret of an application credential";

/// The URL of the secret with this number.
pub(crate) fn secret(number: u8) -> String {
    format!("https://127.0.0.1:1/v1/secrets/00000000-0000-4000-8000-0000000000{number:02x}")
}

pub(crate) fn secret_url(number: u8) -> SecretUrl {
    secret(number).parse().unwrap()
}

/// A vault with secrets 1 to 8, which lets both credentials in.
pub(crate) fn vault() -> Vault {
    let vault = Vault::default();
    for number in 1..=8 {
        vault.put(&secret(number), &[number; 32]);
    }
    CREDENTIALS.iter().for_each(|id| vault.allow(id, CREDENTIAL_SECRET));
    vault
}

pub(crate) fn secret_bytes(bytes: &[u8]) -> SecretBytes {
    let mut secret = arena().bytes(bytes.len()).unwrap();
    secret.expose_mut().copy_from_slice(bytes);
    secret
}

pub(crate) fn credential(id: &str, secret: &[u8]) -> Credential {
    Credential { id: id.to_owned(), secret: secret_bytes(secret) }
}

pub(crate) fn site() -> Site {
    Site {
        keystone: KEYSTONE.parse().unwrap(),
        proxy: None,
        verify: true,
        verify_host: true,
        extra_roots: Vec::new(),
        timeout: Duration::from_secs(1),
    }
}

/// A keystore whose top-level key is the secret with this number.
pub(crate) fn settings(number: u8) -> BarbicanSettings {
    BarbicanSettings {
        key: secret_url(number),
        site: site(),
        credential: credential(CREDENTIALS[0], CREDENTIAL_SECRET),
    }
}

pub(crate) fn keystore_name(text: &str) -> KeystoreName {
    text.parse().unwrap()
}

/// Keepers that find the secrets of a Barbican in this vault, and that nothing befalls.
pub(crate) fn keepers_with(vault: &Vault) -> Option<KeeperFaults> {
    Some(KeeperFaults::on(FaultClock::counting()).with_vault(vault.clone()))
}

/// For a store that a test brings.
pub(crate) fn options_with(vault: &Vault) -> Options {
    Options { keeper_faults: keepers_with(vault), ..super::options() }
}

/// The same, where nobody is asked for KEKs, and no job goes on, unless the test asks for it.
pub(crate) fn on_request(vault: &Vault) -> Options {
    Options { fetching: Fetching::OnRequest, resume_jobs: false, ..options_with(vault) }
}

/// Makes a keystore of the SVM at secret `number`.
pub(crate) fn create(engine: &Engine, svm: SvmId, name: &str, number: u8) -> KeystoreInfo {
    engine.create_barbican(svm, &keystore_name(name), &settings(number)).unwrap()
}

/// The same, and enables it.
pub(crate) fn create_enabled(engine: &Engine, svm: SvmId, name: &str, number: u8) -> Uuid {
    let keystore = create(engine, svm, name, number).id;
    engine.enable(keystore).unwrap().wait().unwrap();
    keystore
}

/// The keystores that keep the SVM's KEKs, the current one first.
pub(crate) fn keepers_of(engine: &Engine, svm: SvmId) -> Vec<Uuid> {
    engine.kept_keks(svm).unwrap().into_iter().map(|kept| kept.keystore).collect()
}
