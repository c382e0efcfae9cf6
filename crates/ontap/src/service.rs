//! What all handlers share.

use std::sync::Arc;

use claviger::{Engine, SvmInfo};
use uuid::Uuid;

use crate::jobs::Jobs;
use crate::probes::Probes;

/// The API over one engine. Any thread may use it at any time.
pub struct Service {
    pub(crate) engine: Arc<Engine>,
    pub(crate) jobs: Jobs,
    pub(crate) probes: Probes,
    pub(crate) node: Node,
}

/// The node that this process is.
pub(crate) struct Node {
    pub(crate) uuid: Uuid,
    pub(crate) name: String,
}

impl Service {
    /// The API over `engine`.
    #[must_use]
    pub fn new(engine: Arc<Engine>) -> Self {
        let name = engine.node_name();
        // A node of one hierarchy keeps its UUID as long as it keeps its name.
        let hierarchy = engine.identity().map_or(Uuid::nil(), |(hierarchy, _)| hierarchy);
        let uuid = Uuid::new_v5(&hierarchy, name.as_bytes());
        Self { jobs: Jobs::over(engine.clone()), probes: Probes::default(), engine, node: Node { uuid, name } }
    }

    /// The SVM that stands for the cluster.
    pub(crate) fn admin(&self) -> Option<SvmInfo> {
        self.engine.svms().into_iter().find(SvmInfo::is_admin)
    }
}
