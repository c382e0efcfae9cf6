//! Keystores of an SVM: the credential's secret, the proxy's password and the top-level key are nowhere in what is said, logged or
//! kept.

use std::sync::Arc;

use claviger::store::MemoryStore;
use claviger::{
    BackupError, BarbicanInfo, BarbicanSettings, BarbicanUpdate, Credential, Engine, Fetching, KeeperInfo,
    KeystoreName, NoKeeper, Options, Proxy, ProxyKind, ProxyUser, SealingSource, SecretBytes, Store, SvmId,
    SvmKeystoreError, Table,
};
use claviger_wrap::{Key256, WrappedKey, WrappingKey};
use uuid::Uuid;

use crate::common::vault::{self, keystore_name, secret, secret_url};
use crate::common::{self, forge, name, records, volume};
use crate::{Run, XTS, passphrase, random_text};

/// What must not be said.
struct Hidden {
    credential: Vec<u8>,
    other_credential: Vec<u8>,
    wrong_credential: Vec<u8>,
    password: Vec<u8>,
    /// Secrets 1, 2 and 3.
    top_level: [[u8; 32]; 3],
}

impl Hidden {
    fn new() -> Self {
        let key = || {
            let mut key = [0; 32];
            claviger_wrap::fill(&mut claviger_wrap::SystemRandom, &mut key).unwrap();
            key
        };
        Self {
            credential: random_text(41),
            other_credential: random_text(42),
            wrong_credential: random_text(43),
            password: random_text(44),
            top_level: [key(), key(), key()],
        }
    }

    fn proxy(&self) -> Proxy {
        let user = Some(ProxyUser { name: "user".to_owned(), password: bytes(&self.password) });
        Proxy { kind: ProxyKind::Https, host: "proxy.example".to_owned(), port: 3128, user }
    }

    fn settings(&self, number: u8) -> BarbicanSettings {
        let credential = Credential { id: "first".to_owned(), secret: bytes(&self.credential) };
        let site = claviger::Site { proxy: Some(self.proxy()), ..vault::site() };
        BarbicanSettings { key: secret_url(number), site, credential }
    }

    fn update(&self, id: &str, secret: &[u8]) -> BarbicanUpdate {
        let credential = Some(Credential { id: id.to_owned(), secret: bytes(secret) });
        BarbicanUpdate { credential, proxy: Some(Some(self.proxy())), ..BarbicanUpdate::default() }
    }
}

fn bytes(secret: &[u8]) -> SecretBytes {
    vault::secret_bytes(secret)
}

impl Run {
    pub(crate) fn own_keystores(&mut self) {
        let hidden = Hidden::new();
        for (what, secret) in [
            ("credential", &hidden.credential),
            ("other credential", &hidden.other_credential),
            ("wrong credential", &hidden.wrong_credential),
            ("proxy password", &hidden.password),
        ] {
            self.secrets.learn_key(what, secret).unwrap();
        }
        let vault = claviger::faults::Vault::default();
        for (number, key) in (1..).zip(&hidden.top_level) {
            self.secrets.learn_key("top-level key", key).unwrap();
            vault.put(&secret(number), key);
        }
        vault.allow("first", &hidden.credential);
        vault.allow("second", &hidden.other_credential);

        let store = common::unattended();
        let engine = Engine::open_on(store.clone(), vault::options_with(&vault)).unwrap();
        let svm = engine.create_svm(&name("vs0")).unwrap().id();
        self.heard.debug(&hidden.settings(1));
        self.heard.debug(&hidden.update("second", &hidden.other_credential));
        let [a, b] = [("A", 1), ("B", 2)].map(|(text, number)| {
            engine.create_barbican(svm, &keystore_name(text), &hidden.settings(number)).unwrap().id
        });
        engine.enable(a).unwrap().wait().unwrap();
        let key = engine.create_key(svm, volume(1), XTS).unwrap();
        self.secrets.learn_key("VEK", key.expose()).unwrap();
        self.keks(&engine, svm, &hidden.top_level[0]);
        engine.rekey_internal(svm).unwrap().wait().unwrap();
        self.keks(&engine, svm, &hidden.top_level[0]);
        engine.update_barbican(a, &hidden.update("second", &hidden.other_credential)).unwrap();
        engine.rekey_external(a, &secret_url(3)).unwrap().wait().unwrap();
        engine.switch(svm, b).unwrap().wait().unwrap();
        self.told(&engine, svm);
        self.refused(&engine, svm, [a, b], &vault, &hidden);

        let backup = engine.backup().unwrap();
        self.heard.bytes(backup.as_bytes());
        let restored = Engine::restore_on(
            Arc::new(MemoryStore::default()),
            &backup,
            &passphrase(common::PASSPHRASE),
            vault::options_with(&vault),
        );
        self.told(&restored.unwrap(), svm);
        records(&*store).iter().for_each(|(.., value)| self.heard.bytes(value));
        drop(engine);
        self.damaged(&store, &vault, svm);
    }

    /// Learns the KEKs that are kept under this top-level key.
    fn keks(&mut self, engine: &Engine, svm: SvmId, top_level: &[u8; 32]) {
        let top_level = Key256::new(bytes(top_level)).unwrap();
        let wrapping = WrappingKey::new(&common::arena(), &top_level).unwrap();
        for kept in engine.kept_keks(svm).unwrap() {
            let wrapped = WrappedKey::from_bytes(kept.bytes[16..].try_into().unwrap());
            self.secrets.learn_key("KEK", wrapping.unwrap(&wrapped).unwrap().expose()).unwrap();
        }
    }

    /// All that an engine tells of keystores.
    fn told(&mut self, engine: &Engine, svm: SvmId) {
        let heard = &mut self.heard;
        for keystore in engine.keystores() {
            heard.debug(&keystore);
            keystore.name.iter().for_each(|name| heard.display(name));
            heard.debug(&keystore.keeper);
            if let KeeperInfo::Barbican(info) = &keystore.keeper {
                heard.debug::<BarbicanInfo>(info);
                heard.debug(info.proxy.as_ref().unwrap());
            }
            let status = engine.keystore_status(keystore.id).unwrap();
            heard.debug(&status);
            heard.debug(&status.nodes[0]);
            heard.debug(&status.nodes[0].kek);
            status.state.iter().for_each(|state| heard.debug(state));
            // Hops are told also where the last one fails.
            if let Err(error) = engine.check_keystore(keystore.id, |hop| heard.debug(hop)) {
                heard.error(&error);
            }
            if let Some(trouble) = engine.keystore_status(keystore.id).unwrap().nodes[0].trouble.clone() {
                heard.display(&trouble.what);
                heard.debug(&trouble);
            }
        }
        for kept in engine.kept_keks(svm).unwrap() {
            heard.debug(&kept);
        }
        for job in engine.jobs().unwrap() {
            heard.debug(&job);
        }
        heard.debug(&Fetching::default());
    }

    fn refused(
        &mut self,
        engine: &Engine,
        svm: SvmId,
        [a, b]: [Uuid; 2],
        vault: &claviger::faults::Vault,
        hidden: &Hidden,
    ) {
        self.heard.error(&"".parse::<KeystoreName>().unwrap_err());
        let hear = |run: &mut Self, error: SvmKeystoreError| {
            run.heard.error(&error);
            match &error {
                SvmKeystoreError::Keeper(keeper) => run.heard.error(keeper),
                SvmKeystoreError::Settings(settings) => {
                    run.heard.error(settings);
                    if let NoKeeper::Barbican(setup) = settings {
                        run.heard.error(setup);
                    }
                }
                _ => {}
            }
        };
        let taken = engine.create_barbican(svm, &keystore_name("A"), &hidden.settings(1));
        hear(self, taken.unwrap_err());
        let short = BarbicanUpdate { timeout: Some(std::time::Duration::ZERO), ..hidden.update("second", b"x") };
        hear(self, engine.update_barbican(a, &short).unwrap_err());
        hear(self, engine.update_barbican(a, &hidden.update("second", &hidden.wrong_credential)).unwrap_err());
        for what in [engine.enable(a), engine.disable(b), engine.migrate(svm, b)] {
            hear(self, what.unwrap_err());
        }
        // Another key, no key, one of another length; and nobody there.
        let befalls: [&dyn Fn(); 5] = [
            &|| vault.put(&secret(2), &hidden.top_level[0]),
            &|| vault.put(&secret(2), &hidden.top_level[1][..24]),
            &|| vault.delete(&secret(2)),
            &|| vault.revoke("first"),
            &|| vault.set_away(true),
        ];
        for befall in befalls {
            befall();
            self.heard.error(&engine.restore_keks(Some(svm)).unwrap().wait().unwrap_err());
            if let Ok(job) = engine.rekey_internal(svm) {
                drop(job.wait().map_err(|error| self.heard.error(&error)));
            }
            self.told(engine, svm);
            self.heard.debug(&engine.verify(|_| ()).unwrap());
        }
        vault.set_away(false);
        vault.allow("first", &hidden.credential);
        vault.put(&secret(2), &hidden.top_level[1]);
        // In the last of them that it could, the rekey had made a KEK.
        engine.rekey_internal(svm).unwrap().wait().unwrap();
        self.keks(engine, svm, &hidden.top_level[1]);
        // The client itself, at which nobody listens.
        let bare = Engine::open_on(common::unattended(), common::options()).unwrap();
        let svm = bare.create_svm(&name("vs0")).unwrap().id();
        let info = bare.create_barbican(svm, &keystore_name("A"), &hidden.settings(1)).unwrap();
        hear(self, bare.check_keystore(info.id, |_| ()).unwrap_err());
        let bad = Proxy { host: "no host".to_owned(), ..hidden.proxy() };
        let settings =
            BarbicanSettings { site: claviger::Site { proxy: Some(bad), ..vault::site() }, ..hidden.settings(1) };
        hear(self, bare.create_barbican(svm, &keystore_name("B"), &settings).unwrap_err());
    }

    /// The keystores' record and the credential in it, damaged.
    fn damaged(&mut self, store: &MemoryStore, vault: &claviger::faults::Vault, svm: SvmId) {
        let key = [&[1], svm.as_bytes().as_slice()].concat();
        let open = |store: &Arc<MemoryStore>| Engine::open_on(store.clone(), vault::options_with(vault)).unwrap();
        let copy = Arc::new(common::copy_of(store));
        forge::change(&*copy, Table::Keystores, &key, |body| {
            body["keystores"][1]["keeper"]["barbican"]["application_cred_secret"] = "00".repeat(60).into();
        });
        let engine = open(&copy);
        match engine.backup().unwrap_err() {
            BackupError::Credential(error) => self.heard.error(&error),
            error => panic!("{error:?}"),
        }
        self.heard.error(&engine.open_key(svm, volume(1)).unwrap_err());
        self.told(&engine, svm);
        self.heard.debug(&engine.verify(|_| ()).unwrap());

        let value = store.get(Table::Keystores, &key).unwrap().unwrap();
        for at in [0, 8, value.len() / 2, value.len() - 1] {
            let mut changed = value.clone();
            changed[at] ^= 1;
            common::put(&*copy, Table::Keystores, &key, &changed);
            let engine = open(&copy);
            self.heard.error(&engine.open_key(svm, volume(1)).unwrap_err());
            self.heard.debug(&engine.verify(|_| ()).unwrap());
        }
        let other = SealingSource::Provided(common::sealing_key(9));
        let error = Engine::open_on(copy, Options { sealing: other, ..vault::options_with(vault) }).map(drop);
        self.heard.error(&error.unwrap_err());
    }
}
