//! What there is before a scenario. Made once for each, and copied for each run.

use std::sync::Arc;

use claviger::Engine;
use claviger::store::MemoryStore;
use claviger::store::faults::FaultClock;

use crate::common::{self, PASSPHRASE, passphrase};
use crate::node::Node;
use crate::steps::Step::{self, *};
use crate::view::View;

pub(crate) struct Setup {
    pub(crate) disk: Arc<MemoryStore>,
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
    Setup { disk: Arc::default(), view: View::default(), source: None }
}

/// A hierarchy without a keystore.
pub(crate) fn hierarchy() -> Setup {
    after(Arc::default(), &[CreateHierarchy])
}

/// A hierarchy with a keystore that opens unattended.
pub(crate) fn keystore() -> Setup {
    after(common::unattended(), &[])
}

/// One in Common Criteria mode, with keys.
pub(crate) fn common_criteria() -> Setup {
    after(common::common_criteria(), &[CreateSvm("a"), CreateKeys("a", 0, 3)])
}

pub(crate) fn empty_svm() -> Setup {
    after(common::unattended(), &[CreateSvm("a")])
}

/// An SVM with keys, one of which is in rotation; and another.
pub(crate) fn keys() -> Setup {
    let steps =
        [CreateSvm("a"), CreateKeys("a", 0, 9), BeginRotation("a", 0), CreateSvm("other"), CreateKey("other", 0)];
    after(common::unattended(), &steps)
}

/// An SVM without keys, and with two KEKs.
pub(crate) fn deleted_keys() -> Setup {
    let steps = [CreateSvm("a"), CreateKey("a", 0), CancelRekey("a"), DeleteKey("a", 0)];
    after(common::unattended(), &steps)
}

/// Two pages of keys, and half a one.
pub(crate) fn three_pages() -> Setup {
    after(common::unattended(), &[CreateSvm("a"), CreateKeys("a", 0, 2 * 1_024 + 512)])
}

/// More pages than there are between two cursors.
pub(crate) fn many_pages() -> Setup {
    after(common::unattended(), &[CreateSvm("a"), CreateKeys("a", 0, 17 * 1_024 + 5)])
}

/// Nothing, and a backup. One of the backup's SVMs has two live KEKs.
pub(crate) fn backup() -> Setup {
    Setup { source: Some(Arc::new(source())), ..nothing() }
}

/// What the backup gives back, and the copied store.
pub(crate) fn restored() -> Setup {
    let source = Arc::new(source());
    let disk = Arc::new(MemoryStore::default());
    let secret = passphrase(source.passphrase);
    drop(Engine::restore_on(disk.clone(), &source.backup, &secret, common::options()).unwrap());
    Setup { disk, view: source.without_keys(), source: Some(source) }
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
    let Setup { disk, view, .. } = after(common::unattended(), &steps);
    let backup = common::open(&disk).backup().unwrap();
    Source { backup, passphrase: PASSPHRASE, disk, view }
}

/// What there is after these steps on `disk`.
fn after(disk: Arc<MemoryStore>, steps: &[Step]) -> Setup {
    let mut node = Node::new(disk, None, FaultClock::counting());
    let run = || -> Result<View, crate::node::Failed> {
        node.start()?;
        for step in steps {
            step.run(&mut node)?;
        }
        Ok(node.view().unwrap())
    };
    let view = { run }().unwrap_or_else(|failed| panic!("{:?}", failed.0));
    node.engine = None;
    Setup { disk: node.disk, view, source: None }
}
