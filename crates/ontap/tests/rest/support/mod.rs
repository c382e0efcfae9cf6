//! What all tests share: a node with an engine in memory, a Barbican's secrets in a vault, facts that change, and a client.

pub(crate) mod client;
pub(crate) mod forge;
pub(crate) mod random;
pub(crate) mod store;

use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use claviger::faults::{KeeperFaults, Vault};
use claviger::store::MemoryStore;
use claviger::store::faults::FaultClock;
use claviger::{
    AnchorSource, Arena, ArenaOptions, BarbicanSettings, Credential, Engine, Facts, Fetching, Key256, KeyAlgorithm,
    KeyMemory, ObjectRef, OnboardMode, Options, Passphrase, Platform, Protection, SealingSource, SecretBytes, Site,
    SvmId, Table,
};
use claviger_ontap::Service;
use serde_json::{Value, json};
use uuid::Uuid;

use self::client::{Client, Reply};
use self::store::{Asked, Held, RiggedStore, copy_of};

/// The cluster's name, which stands for the admin SVM.
pub(crate) const CLUSTER: &str = "cluster1";
pub(crate) const PASSPHRASE: &str = "a passphrase of more than thirty-two characters";
pub(crate) const LONG_PASSPHRASE: &str =
    "a passphrase of more than sixty-four characters, as Common Criteria mode asks";
pub(crate) const OTHER_PASSPHRASE: &str =
    "another passphrase of more than sixty-four characters, which differs from it";
/// Nobody listens there: what passes the vault by is refused at once.
pub(crate) const KEYSTONE: &str = "https://127.0.0.1:1/v3";
/// Whom the vault lets in, with this secret.
pub(crate) const CREDENTIALS: [&str; 2] = ["first-credential", "second-credential"];
pub(crate) const CREDENTIAL_SECRET: &str = "Nf7-qZ!v2Lw9sEcreT-of-a-credential";
pub(crate) const XTS: KeyAlgorithm = KeyAlgorithm::XtsAes256;

/// A node whose facts a test changes.
#[derive(Debug, Default)]
pub(crate) struct Node(Mutex<Facts>);

impl Node {
    /// Ordinary facts with a change.
    pub(crate) fn set(&self, change: impl FnOnce(&mut Facts)) {
        let mut facts = Facts::default();
        change(&mut facts);
        *self.0.lock().unwrap() = facts;
    }

    pub(crate) fn ordinary(&self) {
        self.set(|_| ());
    }
}

impl Platform for Node {
    fn facts(&self) -> Facts {
        self.0.lock().unwrap().clone()
    }
}

/// Key memory that all tests share: locked memory is scarce.
pub(crate) fn arena() -> Arena {
    static ARENA: OnceLock<Arena> = OnceLock::new();
    let options = ArenaOptions { keys: 32_768, states: 1_024, accept: Protection::Unlocked };
    ARENA.get_or_init(|| Arena::new(&options).unwrap()).clone()
}

pub(crate) fn sealing_key() -> Key256 {
    let mut bytes = arena().bytes(Key256::LEN).unwrap();
    bytes.expose_mut().fill(0x5e);
    Key256::new(bytes).unwrap()
}

fn secret_bytes(text: &str) -> SecretBytes {
    let mut secret = arena().bytes(text.len()).unwrap();
    secret.expose_mut().copy_from_slice(text.as_bytes());
    secret
}

pub(crate) fn passphrase(text: &str) -> Passphrase {
    Passphrase::copy_from(&arena(), text.as_bytes()).unwrap()
}

/// The URL of the vault's secret with this number.
pub(crate) fn secret(number: u8) -> String {
    format!("https://127.0.0.1:1/v1/secrets/00000000-0000-4000-8000-0000000000{number:02x}")
}

pub(crate) fn volume(number: u128) -> ObjectRef {
    ObjectRef::Volume(Uuid::from_u128(number))
}

/// The API and all that is below it.
pub(crate) struct Stage {
    pub(crate) api: Client,
    pub(crate) engine: Arc<Engine>,
    pub(crate) store: Arc<RiggedStore>,
    pub(crate) vault: Vault,
    pub(crate) node: Arc<Node>,
    /// What befalls those who ask keepers.
    pub(crate) keepers: KeeperFaults,
}

impl Stage {
    /// A cluster without a key manager.
    pub(crate) fn bare() -> Self {
        static MADE: OnceLock<MemoryStore> = OnceLock::new();
        Self::over(MADE.get_or_init(|| template(None)))
    }

    /// A cluster with an onboard key manager, whose passphrase is [`PASSPHRASE`].
    pub(crate) fn new() -> Self {
        static MADE: OnceLock<MemoryStore> = OnceLock::new();
        Self::over(MADE.get_or_init(|| template(Some((OnboardMode::Unattended, PASSPHRASE)))))
    }

    /// The same in Common Criteria mode; the passphrase is [`LONG_PASSPHRASE`].
    pub(crate) fn common_criteria() -> Self {
        static MADE: OnceLock<MemoryStore> = OnceLock::new();
        let stage = Self::over(MADE.get_or_init(|| template(Some((OnboardMode::CommonCriteria, LONG_PASSPHRASE)))));
        stage.engine.unlock(&passphrase(LONG_PASSPHRASE)).unwrap();
        stage
    }

    fn over(template: &MemoryStore) -> Self {
        Self::on(copy_of(template), vault(), KeyMemory::Shared(arena()))
    }

    fn on(disk: MemoryStore, vault: Vault, memory: KeyMemory) -> Self {
        let (store, node) = (RiggedStore::over(disk), Arc::new(Node::default()));
        let keepers = KeeperFaults::on(FaultClock::counting()).with_vault(vault.clone());
        let options = Options { memory, ..options(keepers.clone(), node.clone()) };
        let engine = Arc::new(Engine::open_on(store.clone(), options).unwrap());
        let api = Client::of(Arc::new(Service::new(engine.clone())));
        Self { api, engine, store, vault, node, keepers }
    }

    /// The same after a restart of the process. KEKs that keepers outside the node keep are not in memory, and jobs wait.
    pub(crate) fn restarted(self) -> Self {
        self.restarted_in(KeyMemory::Shared(arena()))
    }

    /// The same with key memory of its own.
    pub(crate) fn restarted_in(self, memory: KeyMemory) -> Self {
        let left = copy_of(&self.store.inner);
        Self::on(left, self.vault, memory)
    }

    /// Another process on what this one had left at some time.
    pub(crate) fn restarted_on(self, left: MemoryStore) -> Self {
        Self::on(left, self.vault, KeyMemory::Shared(arena()))
    }

    pub(crate) fn svm(&self, name: &str) -> SvmId {
        self.engine.create_svm(&name.parse().unwrap()).unwrap().id()
    }

    pub(crate) fn admin(&self) -> SvmId {
        self.engine.svms().iter().find(|svm| svm.is_admin()).unwrap().id()
    }

    pub(crate) fn key(&self, svm: SvmId, number: u128) {
        self.engine.create_key(svm, volume(number), XTS).unwrap();
    }

    /// A keystore of the SVM at the vault's secret with this number, not enabled.
    pub(crate) fn barbican(&self, svm: SvmId, name: &str, number: u8) -> Uuid {
        let site = Site {
            keystone: KEYSTONE.parse().unwrap(),
            proxy: None,
            verify: true,
            verify_host: true,
            extra_roots: Vec::new(),
            timeout: Duration::from_secs(10),
        };
        let credential = Credential { id: CREDENTIALS[0].to_owned(), secret: secret_bytes(CREDENTIAL_SECRET) };
        let settings = BarbicanSettings { key: secret(number).parse().unwrap(), site, credential };
        self.engine.create_barbican(svm, &name.parse().unwrap(), &settings).unwrap().id
    }

    /// An SVM with keys under a keystore of its own, and that keystore.
    pub(crate) fn own(&self, name: &str) -> (SvmId, Uuid) {
        let svm = self.svm(name);
        let keystore = self.barbican(svm, "A", 1);
        self.engine.enable(keystore).unwrap().wait().unwrap();
        (0..3).for_each(|number| self.key(svm, number));
        (svm, keystore)
    }

    /// The cluster's key manager.
    pub(crate) fn onboard(&self) -> Uuid {
        self.engine.keystore().unwrap().id
    }

    /// The UUID of the one node.
    pub(crate) fn node_uuid(&self) -> String {
        self.api.column("/cluster/nodes", "/uuid").remove(0)
    }

    /// Begins a job, and holds it before it does anything until what is returned is dropped.
    pub(crate) fn begun_and_held(&self, begin: impl FnOnce() -> Reply) -> Held {
        let held = self.store.hold(|asked| matches!(asked, Asked::Get { table: Table::Jobs }));
        begin().job();
        held.reached();
        held
    }

    /// Waits as a client does for the end of a job, and returns it.
    #[track_caller]
    pub(crate) fn ended(&self, reply: Reply) -> Value {
        self.until_ended(&reply.job())
    }

    /// The same of a job by its UUID.
    #[track_caller]
    pub(crate) fn until_ended(&self, job: &str) -> Value {
        let until = Instant::now() + Duration::from_secs(60);
        while Instant::now() < until {
            let shown = self.api.get(&format!("/cluster/jobs/{job}")).ok();
            match shown["state"].as_str().unwrap() {
                "success" | "failure" => return shown,
                _ => std::thread::yield_now(),
            }
        }
        panic!("job {job} does not end");
    }

    pub(crate) fn until_all_ended(&self) {
        self.api.column("/cluster/jobs", "/uuid").iter().for_each(|job| drop(self.until_ended(job)));
    }
}

/// A Barbican with secrets 1 to 8, which lets both credentials in.
fn vault() -> Vault {
    let vault = Vault::default();
    (1..=8).for_each(|number| vault.put(&secret(number), &[number; 32]));
    CREDENTIALS.iter().for_each(|id| vault.allow(id, CREDENTIAL_SECRET.as_bytes()));
    vault
}

fn options(keepers: KeeperFaults, node: Arc<Node>) -> Options {
    Options {
        sealing: SealingSource::Provided(sealing_key()),
        anchor: AnchorSource::DangerNone,
        job_retention: Duration::from_secs(3_600),
        resume_jobs: false,
        fetching: Fetching::OnRequest,
        platform: node,
        keeper_faults: Some(keepers),
        ..Options::default()
    }
}

/// A hierarchy to copy: deriving keys from a passphrase takes long.
fn template(onboard: Option<(OnboardMode, &str)>) -> MemoryStore {
    let store = Arc::new(MemoryStore::default());
    let options = options(KeeperFaults::on(FaultClock::counting()), Arc::default());
    let options = Options { memory: KeyMemory::Shared(arena()), ..options };
    let engine = Engine::create_on(store.clone(), &CLUSTER.parse().unwrap(), options).unwrap();
    if let Some((mode, text)) = onboard {
        engine.create_onboard(mode, &passphrase(text)).unwrap();
    }
    drop(engine);
    Arc::into_inner(store).unwrap()
}

/// What creates a Barbican configuration.
pub(crate) fn barbican_body(svm: &str, name: &str) -> Value {
    json!({
        "svm": { "name": svm },
        "configuration": { "name": name },
        "key_id": secret(1),
        "keystone_url": KEYSTONE,
        "application_cred_id": CREDENTIALS[0],
        "application_cred_secret": CREDENTIAL_SECRET,
    })
}

/// The body with another value for one member, or without it.
pub(crate) fn changed(body: &Value, path: &str, value: Option<Value>) -> Value {
    let mut body = body.clone();
    let (parent, name) = path.rsplit_once('.').map_or((None, path), |(parent, name)| (Some(parent), name));
    let parent = match parent {
        None => &mut body,
        Some(parent) => body.pointer_mut(&format!("/{}", parent.replace('.', "/"))).unwrap(),
    };
    let members = parent.as_object_mut().unwrap();
    match value {
        Some(value) => drop(members.insert(name.to_owned(), value)),
        None => drop(members.remove(name)),
    }
    body
}
