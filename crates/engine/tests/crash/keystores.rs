//! The steps on an SVM's own keystores: what each asks for, and how a hierarchy may stand after it.

use claviger::{BarbicanInfo, BarbicanUpdate, Engine, Job, KeeperInfo, KeystoreInfo, SvmId, SvmKeystoreError};
use uuid::Uuid;

use crate::common::vault::{
    CREDENTIAL_SECRET, CREDENTIALS, KEYSTONE, credential, keystore_name, secret, secret_url, settings,
};
use crate::node::Failed;
use crate::steps::Stand;
use crate::view::{Svm, View};

/// One operation on the keystores of an SVM. Keystores are named, a top-level key is the secret with that number.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Change {
    Create(&'static str, u8),
    Enable(&'static str),
    Switch(To),
    Migrate(To),
    RekeyExternal(&'static str, u8),
    Disable(&'static str),
    Delete(&'static str),
    /// To this credential.
    Update(&'static str, &'static str),
}

/// A keystore that can keep the KEKs of an SVM.
#[derive(Clone, Copy, Debug)]
pub(crate) enum To {
    Cluster,
    Own(&'static str),
}

impl Change {
    /// Asks for it, and waits for its end.
    pub(crate) fn run(self, engine: &Engine, svm: SvmId) -> Result<(), Failed> {
        let own = |name: &str| own(engine, svm, name);
        let to = |to: To| match to {
            To::Cluster => engine.keystore().unwrap().id,
            To::Own(name) => own(name),
        };
        let ended = |job: Result<Job, SvmKeystoreError>| -> Result<(), Failed> {
            job?.wait()?;
            Ok(())
        };
        match self {
            Self::Create(name, number) => drop(engine.create_barbican(svm, &keystore_name(name), &settings(number))?),
            Self::Enable(name) => ended(engine.enable(own(name)))?,
            Self::Switch(keystore) => ended(engine.switch(svm, to(keystore)))?,
            Self::Migrate(keystore) => ended(engine.migrate(svm, to(keystore)))?,
            Self::RekeyExternal(name, number) => ended(engine.rekey_external(own(name), &secret_url(number)))?,
            Self::Disable(name) => ended(engine.disable(own(name)))?,
            Self::Delete(name) => engine.delete_keystore(own(name))?,
            Self::Update(name, id) => {
                let credential = Some(credential(id, CREDENTIAL_SECRET));
                let update = BarbicanUpdate { credential, ..BarbicanUpdate::default() };
                engine.update_barbican(own(name), &update)?;
            }
        }
        Ok(())
    }

    /// How a hierarchy that was as `before`, and is not any more, stands now.
    pub(crate) fn stand(self, svm: &str, before: &View, now: &View) -> Option<Stand> {
        let (id, old) = before.svm(svm)?;
        let cluster = before.keystore.map(|(cluster, _)| cluster);
        let after = match self {
            Self::Create(name, number) => {
                let made = now.svm(svm)?.1.keystores.get(name)?.clone();
                let expected = KeystoreInfo { id: made.id, created: made.created, ..new_keystore(id, name, number) };
                (made == expected).then_some(())?;
                before.clone().with(svm, |svm| drop(svm.keystores.insert(name.to_owned(), made)))
            }
            Self::Enable(name) => before.clone().with(svm, |svm| svm.enable(Some(name))),
            Self::Switch(to) => {
                let from = old.enabled().or(cluster)?;
                let (to, enabled) = match to {
                    To::Cluster => (cluster?, None),
                    To::Own(name) => (old.keystores.get(name)?.id, Some(name)),
                };
                before.clone().with(svm, |svm| {
                    svm.enable(enabled);
                    svm.rekeep(from, to);
                })
            }
            Self::Migrate(to) => {
                let (own, cluster) = (old.enabled()?, cluster?);
                before.clone().with(svm, |svm| match to {
                    To::Cluster => svm.rekeep(own, cluster),
                    To::Own(_) => svm.rekeep(cluster, own),
                })
            }
            Self::RekeyExternal(name, number) => {
                before.clone().with(svm, |svm| barbican(svm, name).key_id = secret(number))
            }
            Self::Disable(name) => before.clone().with(svm, |svm| {
                svm.enable(None);
                // What it kept had no keys, and is dropped.
                if svm.kept.values().flatten().any(|keystore| *keystore == svm.keystores[name].id) {
                    svm.kek = None;
                    svm.kept.clear();
                }
            }),
            Self::Delete(name) => before.clone().with(svm, |svm| drop(svm.keystores.remove(name))),
            Self::Update(name, credential) => {
                before.clone().with(svm, |svm| credential.clone_into(&mut barbican(svm, name).application_cred_id))
            }
        };
        (*now == after).then_some(Stand::Done)
    }
}

fn own(engine: &Engine, svm: SvmId, name: &str) -> Uuid {
    let is_it = |one: &KeystoreInfo| one.svm == Some(svm) && one.name.as_ref().is_some_and(|it| it.as_str() == name);
    engine.keystores().into_iter().find(is_it).expect("the scenario's keystore").id
}

/// A keystore as it shows itself after its creation.
fn new_keystore(svm: SvmId, name: &str, number: u8) -> KeystoreInfo {
    KeystoreInfo {
        id: Uuid::nil(),
        svm: Some(svm),
        name: Some(keystore_name(name)),
        enabled: false,
        created: jiff::Timestamp::UNIX_EPOCH,
        keeper: KeeperInfo::Barbican(BarbicanInfo {
            key_id: secret(number),
            keystone_url: KEYSTONE.to_owned(),
            application_cred_id: CREDENTIALS[0].to_owned(),
            proxy: None,
            verify: true,
            verify_host: true,
            timeout_seconds: 1,
            ca_certificates: Vec::new(),
        }),
    }
}

fn barbican<'a>(svm: &'a mut Svm, name: &str) -> &'a mut BarbicanInfo {
    match &mut svm.keystores.get_mut(name).expect("the scenario's keystore").keeper {
        KeeperInfo::Barbican(barbican) => barbican,
        other => panic!("{other:?}"),
    }
}
