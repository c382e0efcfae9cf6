//! What there is before a scenario. Made once for each, and copied for each run.

use std::collections::BTreeMap;
use std::sync::Arc;

use claviger::store::MemoryStore;
use claviger::{Engine, Options};

use uuid::Uuid;

use crate::common::{self, PASSPHRASE};
use crate::node::{Failed, Node};
use crate::steps::Step::{self, *};
use crate::view::View;

pub(crate) struct Setup {
    pub(crate) disk: Arc<MemoryStore>,
    /// What the anchor remembers of it.
    pub(crate) anchored: BTreeMap<Uuid, u64>,
    pub(crate) view: View,
    pub(crate) source: Option<Arc<Source>>,
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
        view.svms.values_mut().for_each(|svm| svm.keys.clear());
        view
    }
}

pub(crate) fn nothing() -> Setup {
    Setup { disk: Arc::default(), anchored: BTreeMap::new(), view: View::default(), source: None }
}

/// A hierarchy without a keystore.
pub(crate) fn hierarchy() -> Setup {
    after(Node::new(Arc::default(), Arc::default(), None), &[CreateHierarchy])
}

/// A hierarchy with a keystore that opens unattended.
pub(crate) fn keystore() -> Setup {
    anchored(common::unattended(), &[])
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

/// An SVM without keys, and with two KEKs.
pub(crate) fn deleted_keys() -> Setup {
    let steps = [CreateSvm("a"), CreateKey("a", 0), CancelRekey("a"), DeleteKey("a", 0)];
    anchored(common::unattended(), &steps)
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

fn source() -> Source {
    let steps = [
        CreateSvm("a"),
        CreateKeys("a", 0, 9),
        BeginRotation("a", 0),
        CancelRekey("a"),
        CreateSvm("b"),
        CreateKeys("b", 0, 7),
    ];
    let Setup { disk, view, .. } = anchored(common::unattended(), &steps);
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
    Setup { disk: node.disk, anchored, view, source: node.source }
}
