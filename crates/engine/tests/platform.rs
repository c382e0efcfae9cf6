//! The facts of the node: how they are written, and what is refused because of them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::sync::{Arc, Mutex};

use claviger::store::MemoryStore;
use claviger::{
    Blame, Cause, ClusterVersion, Engine, Fact, FactName, Facts, Fault, KeystoreError, OnboardMode, Options,
    PartnerKeyManager, Platform, Refusal, SvmKeystoreError,
};
use common::vault::{keystore_name, settings};
use common::{LONG_PASSPHRASE, PASSPHRASE, name, passphrase};

/// A node whose facts change.
#[derive(Debug, Default)]
struct Node(Mutex<Facts>);

impl Node {
    fn set(&self, change: impl FnOnce(&mut Facts)) {
        let mut facts = Facts::default();
        change(&mut facts);
        *self.0.lock().unwrap() = facts;
    }
}

impl Platform for Node {
    fn facts(&self) -> Facts {
        self.0.lock().unwrap().clone()
    }
}

fn on(node: &Arc<Node>) -> Options {
    Options { platform: node.clone(), ..common::options() }
}

fn parsed(json: &str) -> Result<Facts, String> {
    serde_json::from_str(json).map_err(|error| error.to_string())
}

#[test]
fn facts_that_are_not_given_are_ordinary() {
    assert_eq!(parsed("{}").unwrap(), Facts::default());
    let facts = parsed(r#"{"cluster":{"fips":true}}"#).unwrap();
    let mut expected = Facts::default();
    expected.cluster.fips = Fact::Known(true);
    assert_eq!(facts, expected);
}

#[test]
fn every_fact_can_be_given_and_can_be_unknown() {
    let given = r#"{
        "licenses": {"mt_ek_mgmt": false},
        "metrocluster": {"configured": true, "partner_healthy": false, "partner_key_manager": "external"},
        "cluster": {"version": "9.6", "platform_encryption": false, "nodes_without_volume_encryption": ["n1", "unknown"],
            "fips": true, "common_criteria": true, "cluster_interface": false},
        "storage": {"nae_aggregates": ["aggr1"], "drives_with_keys": 3, "encrypted_root_volume": true,
            "encrypted_core_files": true}
    }"#;
    let facts = parsed(given).unwrap();
    assert_eq!(facts.licenses.mt_ek_mgmt, Fact::Known(false));
    assert_eq!(facts.metrocluster.configured, Fact::Known(true));
    assert_eq!(facts.metrocluster.partner_healthy, Fact::Known(false));
    assert_eq!(facts.metrocluster.partner_key_manager, Fact::Known(PartnerKeyManager::External));
    assert_eq!(facts.cluster.version, Fact::Known(ClusterVersion::new(9, 6, 0)));
    assert_eq!(facts.cluster.platform_encryption, Fact::Known(false));
    let nodes = ["n1", "unknown"].map(str::to_owned).to_vec();
    assert_eq!(facts.cluster.nodes_without_volume_encryption, Fact::Known(nodes));
    assert_eq!(facts.cluster.fips, Fact::Known(true));
    assert_eq!(facts.cluster.common_criteria, Some(Fact::Known(true)));
    assert_eq!(facts.cluster.cluster_interface, Fact::Known(false));
    assert_eq!(facts.storage.nae_aggregates, Fact::Known(vec!["aggr1".to_owned()]));
    assert_eq!(facts.storage.drives_with_keys, Fact::Known(3));
    assert_eq!(facts.storage.encrypted_root_volume, Fact::Known(true));
    assert_eq!(facts.storage.encrypted_core_files, Fact::Known(true));

    let tables: serde_json::Value = serde_json::from_str(given).unwrap();
    for (table, members) in tables.as_object().unwrap() {
        for member in members.as_object().unwrap().keys() {
            let facts = parsed(&format!(r#"{{"{table}":{{"{member}":"unknown"}}}}"#)).unwrap();
            assert_ne!(facts, Facts::default(), "{table}.{member}");
            assert_eq!(format!("{facts:?}").matches("Unknown").count(), 1, "{table}.{member}");
        }
    }
}

#[test]
fn what_is_no_fact_is_refused_with_its_name() {
    for (json, part) in [
        (r#"{"license":{}}"#, "unknown field `license`"),
        (r#"{"licenses":{"mt-ek-mgmt":true}}"#, "unknown field `mt-ek-mgmt`"),
        (r#"{"licenses":{"mt_ek_mgmt":"yes"}}"#, "expected a boolean"),
        (r#"{"licenses":{"mt_ek_mgmt":"Unknown"}}"#, "expected a boolean"),
        (r#"{"storage":{"drives_with_keys":-1}}"#, "-1"),
        (r#"{"storage":{"nae_aggregates":"aggr1"}}"#, "expected a sequence"),
        (r#"{"cluster":{"version":"nine"}}"#, "such as 9.17.1"),
        (r#"{"cluster":{"version":"9"}}"#, "such as 9.17.1"),
        (r#"{"cluster":{"version":"9.17.1.1"}}"#, "such as 9.17.1"),
        (r#"{"cluster":{"version":"9.+1"}}"#, "such as 9.17.1"),
        (r#"{"metrocluster":{"partner_key_manager":"okm"}}"#, "unknown variant `okm`"),
    ] {
        let error = parsed(json).unwrap_err();
        assert!(error.contains(part), "{json}: {error}");
    }
}

#[test]
fn versions_compare_as_numbers() {
    let version = |text: &str| text.parse::<ClusterVersion>().unwrap();
    assert!(version("9.6.0") < version("9.17.1") && version("9.17") < version("9.17.1"));
    assert!(version("10.0.0") > version("9.18.1"));
    assert_eq!(version("9.17.1").to_string(), "9.17.1");
}

#[test]
fn a_keystore_at_a_barbican_is_refused_in_the_order_of_the_rules() {
    let node = Arc::new(Node::default());
    let engine = Engine::open_on(common::unattended(), on(&node)).unwrap();
    let svm = engine.create_svm(&name("vs0")).unwrap().id();
    let admin = engine.svms()[0].id();
    engine.may_create_barbican(svm).unwrap();

    // Each rule is broken from the last on, so that the first one is told.
    let refusal = |facts: Facts, of| {
        node.set(|now| *now = facts.clone());
        let refused = engine.may_create_barbican(of).unwrap_err();
        let made = engine.create_barbican(of, &keystore_name("A"), &settings(1)).unwrap_err();
        assert_eq!(refused.to_string(), made.to_string());
        refused
    };
    let unknown =
        |error, fact| assert!(matches!(error, SvmKeystoreError::Refused(Refusal::Unknown { fact: of }) if of == fact));
    let mut facts = Facts::default();
    facts.cluster.version = Fact::Unknown;
    unknown(refusal(facts.clone(), svm), FactName::ClusterVersion);
    facts.cluster.version = Fact::Known(ClusterVersion::new(9, 16, 1));
    let old = refusal(facts.clone(), svm);
    assert!(matches!(old, SvmKeystoreError::Refused(Refusal::BarbicanVersion { .. })), "{old:?}");
    facts.metrocluster.configured = Fact::Unknown;
    unknown(refusal(facts.clone(), svm), FactName::MetroCluster);
    facts.metrocluster.configured = Fact::Known(true);
    assert!(matches!(refusal(facts.clone(), svm), SvmKeystoreError::Refused(Refusal::MetroCluster)));
    assert!(matches!(refusal(facts.clone(), admin), SvmKeystoreError::Admin));
    facts.licenses.mt_ek_mgmt = Fact::Unknown;
    let error = refusal(facts.clone(), admin);
    assert_eq!((error.fault(), Cause::from(&error)), (Fault::Node, Cause::Request));
    unknown(error, FactName::MtEkMgmt);
    facts.licenses.mt_ek_mgmt = Fact::Known(false);
    assert!(matches!(refusal(facts.clone(), admin), SvmKeystoreError::Refused(Refusal::License)));
    assert_eq!(engine.keystores().len(), 1);

    node.set(|facts| facts.cluster.version = Fact::Known(ClusterVersion::new(9, 17, 0)));
    engine.create_barbican(svm, &keystore_name("A"), &settings(1)).unwrap();
}

#[test]
fn keystores_of_svms_need_a_version() {
    let node = Arc::new(Node::default());
    let engine = Engine::open_on(common::unattended(), on(&node)).unwrap();
    engine.may_have_svm_keystores().unwrap();
    node.set(|facts| facts.cluster.version = Fact::Known(ClusterVersion::new(9, 5, 9)));
    let found = ClusterVersion::new(9, 5, 9);
    assert_eq!(engine.may_have_svm_keystores(), Err(Refusal::SvmKeystoresVersion { found }));
    node.set(|facts| facts.cluster.version = Fact::Known(ClusterVersion::new(9, 6, 0)));
    engine.may_have_svm_keystores().unwrap();
    node.set(|facts| facts.cluster.version = Fact::Unknown);
    assert_eq!(engine.may_have_svm_keystores(), Err(Refusal::Unknown { fact: FactName::ClusterVersion }));
    assert_eq!(engine.facts().cluster.version, Fact::Unknown);
}

#[test]
fn an_onboard_keystore_is_refused_in_the_order_of_the_rules() {
    let node = Arc::new(Node::default());
    let engine = Engine::create_on(Arc::new(MemoryStore::default()), &name("cluster1"), on(&node)).unwrap();
    let refusal = |facts: &Facts, mode, with_partner: bool| {
        node.set(|now| *now = facts.clone());
        let secret = passphrase(LONG_PASSPHRASE);
        let made = match with_partner {
            true => engine.synchronize_onboard(mode, &secret),
            false => engine.create_onboard(mode, &secret),
        };
        match made {
            Err(KeystoreError::Refused(refusal)) => refusal,
            other => panic!("{other:?}"),
        }
    };
    let (unattended, locking) = (OnboardMode::Unattended, OnboardMode::CommonCriteria);
    let unknown = |fact| Refusal::Unknown { fact };

    let mut facts = Facts::default();
    facts.cluster.common_criteria = Some(Fact::Unknown);
    assert_eq!(refusal(&facts, unattended, false), unknown(FactName::CommonCriteria));
    facts.cluster.common_criteria = Some(Fact::Known(false));
    assert_eq!(refusal(&facts, locking, false), Refusal::CommonCriteriaNotAllowed);
    facts.cluster.common_criteria = Some(Fact::Known(true));
    assert_eq!(refusal(&facts, unattended, false), Refusal::CommonCriteriaNeeded);
    assert_eq!(refusal(&facts, unattended, true), Refusal::NotMetroCluster);
    facts.metrocluster.configured = Fact::Known(true);
    assert_eq!(refusal(&facts, unattended, true), Refusal::PartnerNone);
    facts.metrocluster.partner_key_manager = Fact::Known(PartnerKeyManager::Onboard);
    assert_eq!(refusal(&facts, unattended, false), Refusal::PartnerOnboard);
    assert_eq!(refusal(&facts, unattended, true), Refusal::CommonCriteriaNeeded);
    facts.metrocluster.partner_key_manager = Fact::Known(PartnerKeyManager::External);
    assert_eq!(refusal(&facts, unattended, true), Refusal::PartnerExternal);
    facts.metrocluster.partner_key_manager = Fact::Unknown;
    assert_eq!(refusal(&facts, unattended, true), unknown(FactName::PartnerKeyManager));
    facts.metrocluster.partner_healthy = Fact::Known(false);
    assert_eq!(refusal(&facts, unattended, true), Refusal::PartnerUnhealthy);
    facts.metrocluster.partner_healthy = Fact::Unknown;
    assert_eq!(refusal(&facts, unattended, true), unknown(FactName::PartnerHealthy));
    facts.metrocluster.configured = Fact::Unknown;
    assert_eq!(refusal(&facts, unattended, true), unknown(FactName::MetroCluster));
    facts.cluster.platform_encryption = Fact::Known(false);
    assert_eq!(refusal(&facts, unattended, true), Refusal::NoPlatformEncryption);
    facts.cluster.platform_encryption = Fact::Unknown;
    assert_eq!(refusal(&facts, unattended, true), unknown(FactName::PlatformEncryption));
    assert_eq!(engine.keystore(), None);

    // What the partner is like means nothing where there is none, and a partner with an onboard keystore is synchronized with.
    let mut facts = Facts::default();
    facts.metrocluster.partner_healthy = Fact::Unknown;
    facts.metrocluster.partner_key_manager = Fact::Unknown;
    facts.cluster.common_criteria = Some(Fact::Known(true));
    node.set(|now| *now = facts);
    engine.create_onboard(locking, &passphrase(LONG_PASSPHRASE)).unwrap();
    let other = Engine::create_on(Arc::new(MemoryStore::default()), &name("cluster1"), on(&node)).unwrap();
    node.set(|facts| {
        facts.metrocluster.configured = Fact::Known(true);
        facts.metrocluster.partner_key_manager = Fact::Known(PartnerKeyManager::Onboard);
    });
    other.synchronize_onboard(unattended, &passphrase(PASSPHRASE)).unwrap();
}
