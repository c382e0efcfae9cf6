//! Keystores as they are printed.

use std::fmt;

use claviger::{
    BarbicanInfo, Engine, KeeperInfo, KeeperTrouble, KekStanding, KeystoreInfo, KeystoreStatus, NodeStatus,
    OnboardInfo, OnboardMode, ProxyInfo, SvmId,
};
use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use crate::age::Age;
use crate::session::name_of;
use crate::tree::Tree;

/// A keystore, as it is printed: in one line, or as a tree where it is told how it stands.
#[derive(Serialize)]
pub(crate) struct KeystoreView {
    id: Uuid,
    /// The SVM's name; the cluster's keystore has neither that nor a name.
    #[serde(skip_serializing_if = "Option::is_none")]
    svm: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    enabled: bool,
    created: Timestamp,
    #[serde(flatten)]
    keeper: KeeperView,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<StatusView>,
}

#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum KeeperView {
    Onboard { mode: &'static str, state: &'static str },
    Barbican(BarbicanView),
    Unknown,
}

#[derive(Serialize)]
struct BarbicanView {
    key_id: String,
    keystone_url: String,
    credential_id: String,
    proxy: Option<String>,
    proxy_user: Option<String>,
    verify: bool,
    verify_host: bool,
    timeout_seconds: u32,
    /// How many authorities are trusted beside the system's.
    ca_certificates: usize,
}

#[derive(Serialize)]
struct StatusView {
    state: Option<&'static str>,
    keeps_keks: bool,
    nodes: Vec<NodeView>,
}

#[derive(Serialize)]
struct NodeView {
    node: String,
    /// `None` where there are none.
    keks_in_memory: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    trouble: Option<TroubleView>,
}

#[derive(Serialize)]
struct TroubleView {
    what: &'static str,
    message: String,
    since: Timestamp,
    last: Timestamp,
}

impl KeystoreView {
    pub(crate) fn of(engine: &Engine, keystore: &KeystoreInfo) -> Self {
        let svm_name = |svm: SvmId| engine.svm(svm).map_or_else(|_| svm.to_string(), |svm| name_of(&svm));
        Self {
            id: keystore.id,
            svm: keystore.svm.map(svm_name),
            name: keystore.name.as_ref().map(ToString::to_string),
            enabled: keystore.enabled,
            created: keystore.created,
            keeper: KeeperView::of(&keystore.keeper),
            status: None,
        }
    }

    /// The same with how it stands.
    pub(crate) fn with_status(self, status: &KeystoreStatus) -> Self {
        let KeystoreStatus { keystore: _, state, keeps_keks, nodes } = status;
        let nodes = nodes.iter().map(NodeView::of).collect();
        let status = StatusView { state: state.map(|state| state.as_str()), keeps_keks: *keeps_keks, nodes };
        Self { status: Some(status), ..self }
    }

    /// `keystore vs0/barbican (UUID)`.
    pub(crate) fn named(&self) -> String {
        match (&self.svm, &self.name) {
            (Some(svm), Some(name)) => format!("keystore {svm}/{name} ({})", self.id),
            _ => format!("keystore {}", self.id),
        }
    }

    fn line(&self) -> String {
        let named = self.named();
        match &self.keeper {
            KeeperView::Onboard { mode, state } => format!("{named}: onboard, {mode}, {state}"),
            KeeperView::Barbican(_) => format!("{named}: barbican, {}", enabled(self.enabled)),
            KeeperView::Unknown => format!("{named}: of a kind unknown to this release, {}", enabled(self.enabled)),
        }
    }
}

const fn enabled(is_enabled: bool) -> &'static str {
    if is_enabled { "enabled" } else { "not enabled" }
}

impl fmt::Display for KeystoreView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(status) = &self.status else { return f.write_str(&self.line()) };
        let mut children = match &self.keeper {
            KeeperView::Barbican(barbican) => barbican.leaves(),
            KeeperView::Onboard { .. } | KeeperView::Unknown => Vec::new(),
        };
        children.push(Tree::leaf(format!("made {} ago", Age::since(self.created))));
        children.extend(status.trees());
        Tree::new(self.line(), children).fmt(f)
    }
}

impl KeeperView {
    fn of(keeper: &KeeperInfo) -> Self {
        match keeper {
            KeeperInfo::Onboard(OnboardInfo { mode, locked, .. }) => Self::Onboard {
                mode: match mode {
                    OnboardMode::Unattended => "unattended",
                    OnboardMode::CommonCriteria => "common-criteria",
                },
                state: if *locked { "locked" } else { "open" },
            },
            KeeperInfo::Barbican(barbican) => Self::Barbican(BarbicanView::of(barbican)),
            _ => Self::Unknown,
        }
    }
}

impl BarbicanView {
    fn of(barbican: &BarbicanInfo) -> Self {
        let BarbicanInfo {
            key_id,
            keystone_url,
            application_cred_id,
            proxy,
            verify,
            verify_host,
            timeout_seconds,
            ca_certificates,
        } = barbican;
        Self {
            key_id: key_id.clone(),
            keystone_url: keystone_url.clone(),
            credential_id: application_cred_id.clone(),
            proxy: proxy.as_ref().map(proxy_url),
            proxy_user: proxy.as_ref().and_then(|proxy| proxy.user.clone()),
            verify: *verify,
            verify_host: *verify_host,
            timeout_seconds: *timeout_seconds,
            ca_certificates: ca_certificates.len(),
        }
    }

    fn leaves(&self) -> Vec<Tree> {
        let Self { verify, verify_host, ca_certificates, .. } = self;
        let mut lines = vec![
            format!("top-level key: {}", self.key_id),
            format!("Keystone: {}", self.keystone_url),
            format!("application credential: {}", self.credential_id),
        ];
        let user = self.proxy_user.as_ref().map_or_else(String::new, |user| format!(", as {user}"));
        lines.extend(self.proxy.iter().map(|proxy| format!("proxy: {proxy}{user}")));
        lines.push(match (verify, verify_host) {
            (false, _) => "certificates: NOT VERIFIED".to_owned(),
            (true, false) => "certificates: verified, but for the HOST NAME".to_owned(),
            (true, true) => "certificates: verified".to_owned(),
        });
        if *ca_certificates > 0 {
            lines.push(format!("authorities beside the system's: {ca_certificates}"));
        }
        lines.push(format!("limit of one call: {} s", self.timeout_seconds));
        lines.into_iter().map(Tree::leaf).collect()
    }
}

fn proxy_url(proxy: &ProxyInfo) -> String {
    let scheme = if proxy.tls { "https" } else { "http" };
    match proxy.host.contains(':') {
        true => format!("{scheme}://[{}]:{}", proxy.host, proxy.port),
        false => format!("{scheme}://{}:{}", proxy.host, proxy.port),
    }
}

impl StatusView {
    fn trees(&self) -> Vec<Tree> {
        let keeps = if self.keeps_keks { "keeps KEKs" } else { "keeps no KEK" };
        let state = self.state.map_or_else(|| keeps.to_owned(), |state| format!("state: {state}; {keeps}"));
        let mut trees = vec![Tree::leaf(state)];
        trees.extend(self.nodes.iter().map(NodeView::tree));
        trees
    }
}

impl NodeView {
    fn of(status: &NodeStatus) -> Self {
        let NodeStatus { node, kek, trouble } = status;
        let (keks_in_memory, reason) = match kek {
            KekStanding::NoKeys => (None, None),
            KekStanding::InMemory => (Some(true), None),
            KekStanding::Missing { reason } => (Some(false), Some(reason.clone())),
            _ => (Some(false), Some("for a reason unknown to this release".to_owned())),
        };
        Self { node: node.clone(), keks_in_memory, reason, trouble: trouble.as_ref().map(TroubleView::of) }
    }

    fn tree(&self) -> Tree {
        let keks = match self.keks_in_memory {
            None => "no KEK yet",
            Some(true) => "KEKs in memory",
            Some(false) => "KEKs not in memory",
        };
        let mut children: Vec<_> = self.reason.iter().cloned().map(Tree::leaf).collect();
        children.extend(self.trouble.iter().map(|trouble| Tree::leaf(trouble.to_string())));
        Tree::new(format!("node {}: {keks}", self.node), children)
    }
}

impl TroubleView {
    fn of(trouble: &KeeperTrouble) -> Self {
        let KeeperTrouble { what, message, since, last } = trouble;
        Self { what: what.as_str(), message: message.clone(), since: *since, last: *last }
    }
}

impl fmt::Display for TroubleView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, message, since, last } = self;
        write!(f, "keeper: {what} since {since:.0}, last at {last:.0}: {message}")
    }
}

/// The enabled keystore of an SVM, in its place in the tree.
#[derive(Serialize)]
pub(crate) struct EnabledView {
    id: Uuid,
    name: Option<String>,
    state: Option<&'static str>,
}

impl EnabledView {
    /// `None` where none of the SVM's own is enabled.
    pub(crate) fn of(engine: &Engine, svm: SvmId) -> Option<Self> {
        let keystore = own(engine, svm).find(|keystore| keystore.enabled)?;
        // It may have been deleted meanwhile, which nobody has to be told.
        let state = engine.keystore_status(keystore.id).ok()?.state.map(|state| state.as_str());
        Some(Self { id: keystore.id, name: keystore.name.as_ref().map(ToString::to_string), state })
    }
}

impl fmt::Display for EnabledView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name.as_deref().unwrap_or_default();
        write!(f, "keystore {name} ({}): {}", self.id, self.state.unwrap_or("not enabled"))
    }
}

/// Why the KEKs of an SVM that has keystores of its own are not in memory; `None` where they are, or there are none.
pub(crate) fn missing_keks(engine: &Engine, svm: SvmId) -> Option<String> {
    let status = engine.keystore_status(own(engine, svm).next()?.id).ok()?;
    status.nodes.into_iter().find_map(|node| match node.kek {
        KekStanding::Missing { reason } => Some(reason),
        _ => None,
    })
}

fn own(engine: &Engine, svm: SvmId) -> impl Iterator<Item = KeystoreInfo> {
    engine.keystores().into_iter().filter(move |keystore| keystore.svm == Some(svm))
}
