//! Updates of a keystore: tried first, kept if they fail, and credentials that open nowhere else.

use claviger::{
    Advice, BarbicanInfo, BarbicanUpdate, Blame as _, Engine, Fault, JobError, KeeperError, KeeperInfo, KeyError,
    Proxy, ProxyKind, ProxyUser, Store, SvmKeystoreError as No, Table, Trouble,
};
use serde_json::Value;

use crate::common::vault::{CREDENTIAL_SECRET, CREDENTIALS, credential, on_request, secret_bytes};
use crate::common::{self, forge, verify_clean};
use crate::stage::Stage;

fn to(id: &str, secret: &[u8]) -> BarbicanUpdate {
    BarbicanUpdate { credential: Some(credential(id, secret)), ..BarbicanUpdate::default() }
}

fn shown(stage: &Stage, at: usize) -> BarbicanInfo {
    match stage.engine.keystore_with_id(stage.own[at]).unwrap().keeper {
        KeeperInfo::Barbican(barbican) => barbican,
        other => panic!("{other:?}"),
    }
}

/// The keystores' record, as it says it.
fn record(stage: &Stage) -> Value {
    forge::read(&*stage.store.inner, Table::Keystores, &key(stage))
}

fn key(stage: &Stage) -> Vec<u8> {
    [&[1], stage.svm.as_bytes().as_slice()].concat()
}

#[test]
fn an_update_that_fails_changes_nothing() {
    let stage = Stage::with_keys();
    let before = common::records(&*stage.store.inner);
    for (id, secret) in [("nobody", CREDENTIAL_SECRET), (CREDENTIALS[1], b"a wrong secret")] {
        let error = stage.engine.update_barbican(stage.own[0], &to(id, secret)).unwrap_err();
        assert_matches!(error, No::Keeper(KeeperError::CredentialRefused { .. }));
        assert_eq!(error.blame(), (Fault::Keeper, Advice::GiveCredentials));
    }
    stage.vault.set_away(true);
    for at in [0, 1] {
        let error = stage.engine.update_barbican(stage.own[at], &to(CREDENTIALS[1], CREDENTIAL_SECRET)).unwrap_err();
        assert_matches!(error, No::Keeper(KeeperError::Unreachable { .. }));
        assert_eq!(error.blame(), (Fault::Keeper, Advice::Retry));
    }
    stage.vault.set_away(false);
    assert!(common::records(&*stage.store.inner) == before);
    assert_eq!(shown(&stage, 0).application_cred_id, CREDENTIALS[0]);
    // What was tried in vain says nothing of the settings that are in force.
    assert_eq!(stage.engine.keystore_status(stage.own[0]).unwrap().nodes[0].trouble, None);
    stage.restore().unwrap();
}

#[test]
fn an_update_is_in_force_at_once_and_after_a_restart() {
    let stage = Stage::with_keys();
    let info = stage.engine.update_barbican(stage.own[0], &to(CREDENTIALS[1], CREDENTIAL_SECRET)).unwrap();
    assert_eq!(info, stage.engine.keystore_with_id(stage.own[0]).unwrap());
    assert_eq!(shown(&stage, 0).application_cred_id, CREDENTIALS[1]);
    // Its id and its secret are the new ones; the other keystore has its own.
    stage.vault.revoke(CREDENTIALS[0]);
    stage.restore().unwrap();
    let stage = stage.restarted(on_request);
    stage.restore().unwrap();
    stage.serves();
    assert_eq!(shown(&stage, 1).application_cred_id, CREDENTIALS[0]);
    let failed = stage.engine.check_keystore(stage.own[1], |_| ()).unwrap_err();
    assert_matches!(failed, No::Keeper(KeeperError::CredentialRefused { .. }));
    verify_clean(&stage.engine);
}

#[test]
fn each_setting_changes_alone() {
    let stage = Stage::with_keys();
    let proxy = |password: &[u8]| Proxy {
        kind: ProxyKind::Https,
        host: "proxy.example".to_owned(),
        port: 3128,
        user: Some(ProxyUser { name: "user".to_owned(), password: secret_bytes(password) }),
    };
    let mut expected = shown(&stage, 0);
    let mut update = |update: BarbicanUpdate, change: &dyn Fn(&mut BarbicanInfo)| {
        stage.engine.update_barbican(stage.own[0], &update).unwrap();
        change(&mut expected);
        assert_eq!(shown(&stage, 0), expected);
    };
    let none = BarbicanUpdate::default;
    update(BarbicanUpdate { verify: Some(false), ..none() }, &|info| info.verify = false);
    update(BarbicanUpdate { verify_host: Some(false), ..none() }, &|info| info.verify_host = false);
    let timeout = std::time::Duration::from_secs(30);
    update(BarbicanUpdate { timeout: Some(timeout), ..none() }, &|info| info.timeout_seconds = 30);
    let user = Some("user".to_owned());
    let shown_proxy = claviger::ProxyInfo { tls: true, host: "proxy.example".to_owned(), port: 3128, user };
    update(BarbicanUpdate { proxy: Some(Some(proxy(b"a password"))), ..none() }, &|info| {
        info.proxy = Some(shown_proxy.clone());
    });
    let sealed = record(&stage)["keystores"][0]["keeper"]["barbican"].clone();
    // Another setting leaves both credentials byte for byte.
    update(BarbicanUpdate { verify: Some(true), ..none() }, &|info| info.verify = true);
    let after = record(&stage)["keystores"][0]["keeper"]["barbican"].clone();
    assert_eq!(after["proxy"], sealed["proxy"]);
    assert_eq!(after["application_cred_secret"], sealed["application_cred_secret"]);
    update(BarbicanUpdate { proxy: Some(None), ..none() }, &|info| info.proxy = None);
    stage.restore().unwrap();
}

/// The way out of a revoked credential, warm and cold.
#[test]
fn another_credential_ends_the_trouble() {
    let trouble = |stage: &Stage| {
        let status = stage.engine.keystore_status(stage.own[0]).unwrap();
        (status.state, status.nodes[0].trouble.as_ref().map(|trouble| trouble.what))
    };
    let blocked = (Some(claviger::KeystoreState::Blocked), Some(Trouble::CredentialRefused));
    let active = (Some(claviger::KeystoreState::Active), None);

    let stage = Stage::with_keys();
    stage.vault.revoke(CREDENTIALS[0]);
    assert_matches!(
        stage.restore(),
        Err(JobError::Failed { fault: Fault::Keeper, advice: Advice::GiveCredentials, .. })
    );
    assert_eq!(trouble(&stage), blocked);
    stage.serves();
    stage.engine.update_barbican(stage.own[0], &to(CREDENTIALS[1], CREDENTIAL_SECRET)).unwrap();
    assert_eq!(trouble(&stage), active);

    stage.vault.revoke(CREDENTIALS[1]);
    let stage = stage.restarted(on_request);
    stage.restore().unwrap_err();
    assert_eq!(trouble(&stage), blocked);
    let closed = stage.engine.open_key(stage.svm, common::volume(0)).unwrap_err();
    assert_matches!(closed, KeyError::KekRefused { trouble: Trouble::CredentialRefused, .. });
    assert_eq!(closed.blame(), (Fault::Keeper, Advice::GiveCredentials));
    // The KEKs come with the update.
    stage.vault.allow("third-credential", b"another secret");
    stage.engine.update_barbican(stage.own[0], &to("third-credential", b"another secret")).unwrap();
    assert_eq!(trouble(&stage), active);
    stage.serves();
    verify_clean(&stage.engine);
}

/// Whoever can write records, and has the sealing key of records but not that of credentials, cannot move a credential.
#[test]
fn a_credential_opens_in_its_own_place_alone() {
    let stage = Stage::with_keys();
    stage.engine.update_barbican(stage.own[0], &to(CREDENTIALS[1], CREDENTIAL_SECRET)).unwrap();
    let proxy = Proxy {
        kind: ProxyKind::Http,
        host: "proxy.example".to_owned(),
        port: 3128,
        user: Some(ProxyUser { name: "user".to_owned(), password: secret_bytes(CREDENTIAL_SECRET) }),
    };
    let update = BarbicanUpdate { proxy: Some(Some(proxy)), ..BarbicanUpdate::default() };
    stage.engine.update_barbican(stage.own[1], &update).unwrap();
    let key = key(&stage);
    let store = stage.store.inner.clone();
    let (own, svm) = (stage.own.clone(), stage.svm);
    let vault = stage.vault.clone();
    drop(stage);

    let password = |body: &Value| body["keystores"][1]["keeper"]["barbican"]["proxy"]["user"]["password"].clone();
    let secret =
        |body: &Value, at: usize| body["keystores"][at]["keeper"]["barbican"]["application_cred_secret"].clone();
    type Move<'a> = &'a dyn Fn(&mut Value);
    let moves: [(&str, Move<'_>); 4] = [
        ("from one keystore to the other", &|body| {
            let other = secret(body, 1);
            body["keystores"][0]["keeper"]["barbican"]["application_cred_secret"] = other;
        }),
        ("from the proxy's password", &|body| {
            let other = password(body);
            body["keystores"][0]["keeper"]["barbican"]["application_cred_secret"] = other;
        }),
        ("changed", &|body| {
            let text = secret(body, 0).as_str().unwrap().to_owned();
            let last = if text.ends_with('0') { "1" } else { "0" };
            let changed = format!("{}{last}", &text[..text.len() - 1]);
            body["keystores"][0]["keeper"]["barbican"]["application_cred_secret"] = changed.into();
        }),
        ("cut short", &|body| body["keystores"][0]["keeper"]["barbican"]["application_cred_secret"] = "00".into()),
    ];
    for (what, change) in moves {
        let copy = std::sync::Arc::new(common::copy_of(&*store));
        forge::change(&*copy, Table::Keystores, &key, change);
        let engine = Engine::open_on(copy, on_request(&vault)).unwrap();
        let error = engine.check_keystore(own[0], |_| ()).unwrap_err();
        assert_matches!(error, No::Settings(_));
        assert_eq!(error.blame(), (Fault::Data, Advice::Repair), "{what}");
        assert_matches!(engine.restore_keks(Some(svm)).unwrap().wait(), Err(JobError::Failed { .. }));
        let closed = engine.open_key(svm, common::volume(0)).unwrap_err();
        assert_matches!(closed, KeyError::KeystoreUnusable { .. });
        let report = engine.verify(|_| ()).unwrap();
        assert!(report.findings.iter().any(|finding| finding.record.key == key), "{what}: {report:?}");
        // It can be given again.
        engine.update_barbican(own[0], &to(CREDENTIALS[0], CREDENTIAL_SECRET)).unwrap();
        engine.open_key(svm, common::volume(0)).unwrap();
        assert!(engine.verify(|_| ()).unwrap().findings.is_empty(), "{what}");
    }
    assert!(store.get(Table::Keystores, &key).unwrap().is_some());
}
