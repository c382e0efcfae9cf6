//! What there is before a scenario. Made once for each, and copied for each run.

use std::collections::BTreeMap;
use std::sync::Arc;

use claviger::store::MemoryStore;
use claviger::{Engine, Fetching, OnboardMode, Options};

use uuid::Uuid;

use crate::common::{self, LONG_PASSPHRASE, PASSPHRASE, vault};
use crate::keystores::Change::*;
use crate::keystores::To;
use crate::node::{Failed, Node};
use crate::steps::Step::{self, *};
use crate::view::View;

pub(crate) struct Setup {
    pub(crate) disk: Arc<MemoryStore>,
    /// What the anchor remembers of it.
    pub(crate) anchored: BTreeMap<Uuid, u64>,
    pub(crate) view: View,
    pub(crate) source: Option<Arc<Source>>,
    pub(crate) fetching: Fetching,
}

/// A hierarchy that another is recovered from.
pub(crate) struct Source {
    pub(crate) backup: String,
    pub(crate) passphrase: &'static [u8],
    pub(crate) disk: Arc<MemoryStore>,
    pub(crate) view: View,
}

impl Source {
    /// What its backup gives back.
    pub(crate) fn without_keys(&self) -> View {
        let mut view = self.view.clone();
        view.svms.values_mut().for_each(|svm| {
            svm.keys.clear();
            svm.volumes.clear();
        });
        view
    }
}

pub(crate) fn nothing() -> Setup {
    Setup {
        disk: Arc::default(),
        anchored: BTreeMap::new(),
        view: View::default(),
        source: None,
        fetching: Fetching::OnRequest,
    }
}

/// A hierarchy without a keystore.
pub(crate) fn hierarchy() -> Setup {
    after(Node::new(Arc::default(), Arc::default(), None), &[CreateHierarchy])
}

/// A hierarchy with a keystore that opens unattended.
pub(crate) fn keystore() -> Setup {
    anchored(common::unattended(), &[])
}

/// One that opens unattended, with keys, whose passphrase is long enough for Common Criteria mode.
pub(crate) fn long_passphrase() -> Setup {
    let created = CreateKeystore(OnboardMode::Unattended, LONG_PASSPHRASE);
    let steps = [CreateHierarchy, created, CreateSvm("a"), CreateKeys("a", 0, 3)];
    after(Node::new(Arc::default(), Arc::default(), None), &steps)
}

/// One in Common Criteria mode, with keys.
pub(crate) fn common_criteria() -> Setup {
    anchored(common::common_criteria(), &[CreateSvm("a"), CreateKeys("a", 0, 3)])
}

pub(crate) fn empty_svm() -> Setup {
    anchored(common::unattended(), &[CreateSvm("a")])
}

/// An SVM with keys, one of which is in rotation; and another.
pub(crate) fn keys() -> Setup {
    let steps =
        [CreateSvm("a"), CreateKeys("a", 0, 9), BeginRotation("a", 0), CreateSvm("other"), CreateKey("other", 0)];
    anchored(common::unattended(), &steps)
}

/// An SVM with named volumes, one of which is in rotation, and with keys without names.
pub(crate) fn volumes() -> Setup {
    let steps = [
        CreateSvm("a"),
        CreateKeys("a", 0, 3),
        CreateVolume("a", "v", 10, true),
        CreateVolume("a", "w", 11, true),
        CreateVolume("a", "x", 12, false),
        BeginRotation("a", 10),
    ];
    anchored(common::unattended(), &steps)
}

/// An SVM without keys, and with two KEKs.
pub(crate) fn deleted_keys() -> Setup {
    let steps = [CreateSvm("a"), CreateKey("a", 0), CancelRekey("a"), DeleteKey("a", 0)];
    anchored(common::unattended(), &steps)
}

/// Two SVMs without keys, one of them with two KEKs; of a third, the KEK is kept by its own keystore, and it has keys.
pub(crate) fn nothing_under_the_clusters() -> Setup {
    let steps = [
        CreateSvm("a"),
        CreateKey("a", 0),
        CancelRekey("a"),
        DeleteKey("a", 0),
        CreateSvm("b"),
        CreateKey("b", 0),
        DeleteKey("b", 0),
        CreateSvm("own"),
        Own("own", Create("A", 1)),
        Own("own", Enable("A")),
        CreateKeys("own", 0, 3),
    ];
    anchored(common::unattended(), &steps)
}

/// An SVM without keys, whose enabled keystore is its own; it has another. Of the cluster's keystore, another SVM makes use.
pub(crate) fn barbican() -> Setup {
    anchored(common::unattended(), &BARBICAN)
}

const BARBICAN: [Step; 6] = [
    CreateSvm("a"),
    Own("a", Create("A", 1)),
    Own("a", Create("B", 2)),
    Own("a", Enable("A")),
    CreateSvm("other"),
    CreateKey("other", 0),
];

/// The same with keys, of which one is in rotation.
pub(crate) fn barbican_keys() -> Setup {
    anchored(common::unattended(), &[&BARBICAN[..], &[CreateKeys("a", 0, 6), BeginRotation("a", 0)]].concat())
}

/// The same, where KEKs come into memory by themselves.
pub(crate) fn barbican_automatic() -> Setup {
    Setup { fetching: Fetching::default(), ..barbican_keys() }
}

/// The same with two KEKs.
pub(crate) fn barbican_two_keks() -> Setup {
    anchored(common::unattended(), &[&BARBICAN[..], &[CreateKeys("a", 0, 4), CancelRekey("a")]].concat())
}

/// An SVM with keys whose KEK is kept by the cluster's keystore, and whose enabled keystore is its own.
pub(crate) fn mixed() -> Setup {
    let steps = [
        CreateSvm("a"),
        CreateKeys("a", 0, 4),
        Own("a", Create("A", 1)),
        Own("a", Enable("A")),
        CreateSvm("other"),
        CreateKey("other", 0),
    ];
    anchored(common::unattended(), &steps)
}

/// An SVM whose keys are deleted, and whose KEK is kept by its own keystore.
pub(crate) fn barbican_deleted_keys() -> Setup {
    let steps = [&BARBICAN[..], &[CreateKey("a", 0), CancelRekey("a"), DeleteKey("a", 0)]].concat();
    anchored(common::unattended(), &steps)
}

/// Keys under the cluster's keystore, and a keystore that is not enabled.
pub(crate) fn not_enabled() -> Setup {
    anchored(common::unattended(), &[CreateSvm("a"), CreateKeys("a", 0, 4), Own("a", Create("A", 1))])
}

/// Two SVMs with keys, each under a keystore of its own.
pub(crate) fn two_barbicans() -> Setup {
    let second = [
        CreateKey("a", 0),
        Own("other", Create("A", 3)),
        Own("other", Enable("A")),
        Own("other", Migrate(To::Own("A"))),
    ];
    anchored(common::unattended(), &[&BARBICAN[..], &second].concat())
}

/// Nothing, and a backup in which an SVM's KEKs are kept by its own keystore.
pub(crate) fn barbican_backup() -> Setup {
    let Setup { disk, view, .. } = barbican_two_keks();
    let backup = Engine::open_on(disk.clone(), vault::on_request(&vault::vault())).unwrap().backup().unwrap();
    Setup { source: Some(Arc::new(Source { backup, passphrase: PASSPHRASE, disk, view })), ..nothing() }
}

/// A page of keys, and half a one.
pub(crate) fn two_pages() -> Setup {
    anchored(common::unattended(), &[CreateSvm("a"), CreateKeys("a", 0, 1_024 + 512)])
}

/// More pages than there are between two cursors.
pub(crate) fn many_pages() -> Setup {
    anchored(common::unattended(), &[CreateSvm("a"), CreateKeys("a", 0, 17 * 1_024 + 5)])
}

/// Nothing, and a backup. One of the backup's SVMs has two live KEKs.
pub(crate) fn backup() -> Setup {
    Setup { source: Some(Arc::new(source())), ..nothing() }
}

/// What the backup gives back, and the copied store.
pub(crate) fn restored() -> Setup {
    let source = Some(Arc::new(source()));
    after(Node::new(Arc::default(), Arc::default(), source), &[Restore])
}

/// The same of a hierarchy with named volumes.
pub(crate) fn restored_volumes() -> Setup {
    let source = Some(Arc::new(source_after(volumes())));
    after(Node::new(Arc::default(), Arc::default(), source), &[Restore])
}

fn source() -> Source {
    let steps = [
        CreateSvm("a"),
        CreateKeys("a", 0, 9),
        BeginRotation("a", 0),
        CancelRekey("a"),
        CreateSvm("b"),
        CreateKeys("b", 0, 7),
    ];
    source_after(anchored(common::unattended(), &steps))
}

fn source_after(Setup { disk, view, .. }: Setup) -> Source {
    let backup = common::open(&disk).backup().unwrap();
    Source { backup, passphrase: PASSPHRASE, disk, view }
}

/// What there is after these steps on a hierarchy that has no anchor yet.
fn anchored(disk: Arc<MemoryStore>, steps: &[Step]) -> Setup {
    let node = Node::new(disk, Arc::default(), None);
    drop(Engine::open_on(node.disk.clone(), Options { danger_accept_rollback: true, ..node.options() }).unwrap());
    after(node, steps)
}

fn after(mut node: Node, steps: &[Step]) -> Setup {
    let run = || -> Result<View, Failed> {
        node.start()?;
        for step in steps {
            step.run(&mut node)?;
        }
        Ok(node.view().unwrap())
    };
    let view = { run }().unwrap_or_else(|failed| panic!("{:?}", failed.0));
    node.engine = None;
    let anchored = node.anchored.lock().unwrap().clone();
    Setup { disk: node.disk, anchored, view, source: node.source, fetching: Fetching::OnRequest }
}
