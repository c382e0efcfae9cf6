//! The client and real services.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::thread;
use std::time::{Duration, Instant};

use claviger_barbican::{
    BarbicanError, CertificateDer, Client, Credential, HopName, SecretStatus, SecretType, SecretUrl, Service, Site,
    TlsFault, Unanswered, Unsuitable, certificates_from_pem,
};
use claviger_tests::openstack::{AppCredential, Lab, LabOptions, Role};
use support::{arena, proxy, secret, site};

fn roots(lab: &Lab) -> Vec<CertificateDer<'static>> {
    certificates_from_pem(&std::fs::read(&lab.info().ca_path).unwrap()).unwrap()
}

fn credential_of(lab: &Lab) -> AppCredential {
    let info = lab.info();
    AppCredential { id: info.application_cred_id.clone(), secret: info.application_cred_secret.clone() }
}

/// A client with this credential, and the site changed.
fn client_with(lab: &Lab, credential: &AppCredential, change: impl FnOnce(Site) -> Site) -> Client {
    let arena = arena();
    let site = change(site(&lab.info().keystone_url, &roots(lab)));
    let secret = secret(&arena, &credential.secret);
    Client::new(&arena, &site, &Credential { id: credential.id.clone(), secret }).unwrap()
}

fn client_of(lab: &Lab) -> Client {
    client_with(lab, &credential_of(lab), |site| site)
}

fn hasty(lab: &Lab, seconds: u64) -> Client {
    client_with(lab, &credential_of(lab), |site| Site { timeout: Duration::from_secs(seconds), ..site })
}

fn url(text: &str) -> SecretUrl {
    text.parse().unwrap()
}

/// Whether the key is the lab's.
fn reads(client: &Client, lab: &Lab) -> Result<bool, BarbicanError> {
    Ok(client.key(&url(&lab.info().key_id))?.ct_eq(&lab.info().key))
}

#[test]
fn a_key_is_read_and_described() {
    let lab = Lab::shared();
    let client = client_of(lab);
    assert!(reads(&client, lab).unwrap());
    let metadata = client.metadata(&url(&lab.info().key_id)).unwrap();
    assert_eq!(metadata.status, SecretStatus::Active);
    assert_eq!(metadata.secret_type, SecretType::Symmetric);
    assert_eq!((metadata.algorithm.as_deref(), metadata.bit_length), (Some("aes"), Some(256)));
    assert!(metadata.has_payload && metadata.expiration.is_none());
    let stored = lab.new_key(32).unwrap();
    assert!(client.key(&url(&format!("{}///", stored.key_id))).unwrap().ct_eq(&stored.key));
}

#[test]
fn each_secret_that_is_no_key_is_refused_for_its_own_reason() {
    let lab = Lab::shared();
    let (client, others) = (client_of(lab), &lab.info().other_keys);
    let refused = |text: &str| client.key(&url(text)).unwrap_err();
    let why = |text: &str| match refused(text) {
        BarbicanError::Unsuitable { why } => why,
        error => panic!("{error:?}"),
    };
    assert!(matches!(refused(&others.unknown), BarbicanError::SecretMissing { status: 404 }));
    let capitals =
        lab.info().key_id.rsplit_once('/').map(|(base, id)| format!("{base}/{}", id.to_uppercase())).unwrap();
    assert!(matches!(refused(&capitals), BarbicanError::SecretMissing { status: 404 }));
    for shut in [&others.other_project, &others.private_acl] {
        assert!(matches!(refused(shut), BarbicanError::Forbidden { service: Service::Barbican, status: 403 }));
    }
    assert_eq!(why(&others.aes_128), Unsuitable::Bits(128));
    assert_eq!(why(&others.aes_256_mislabelled_16_bytes), Unsuitable::Length { found: Some(16) });
    assert_eq!(why(&others.passphrase_text), Unsuitable::Kind(SecretType::Other("passphrase".to_owned())));
    assert_eq!(why(&others.no_payload), Unsuitable::NoPayload);
    for good in [&others.shared_by_acl, &others.opaque_32_bytes] {
        assert_eq!(client.key(&url(good)).unwrap().len(), 32);
    }
}

#[test]
fn each_credential_is_refused_for_its_own_reason() {
    let lab = Lab::shared();
    let good = credential_of(lab);
    let refused = |credential: &AppCredential| reads(&client_with(lab, credential, |site| site), lab).unwrap_err();
    let status = |credential: &AppCredential| match refused(credential) {
        BarbicanError::CredentialRefused { service: Service::Keystone, status } => status,
        error => panic!("{error:?}"),
    };
    assert_eq!(status(&AppCredential { secret: "wrong".to_owned(), ..good.clone() }), 401);
    assert_eq!(status(&AppCredential { id: "0".repeat(32), ..good }), 404);
    let others = &lab.info().other_app_credentials;
    for poor in [&others.reader_only, &others.creator_only, &others.other_project] {
        assert!(matches!(refused(poor), BarbicanError::Forbidden { service: Service::Barbican, status: 403 }));
    }
    // It was made to expire four seconds after the lab was filled, and may not have yet.
    let began = Instant::now();
    while reads(&client_with(lab, &others.expired, |site| site), lab).is_ok() {
        assert!(began.elapsed() < Duration::from_secs(10));
    }
    assert_eq!(status(&others.expired), 401);
}

#[test]
fn an_unrelated_authority_is_not_trusted_unless_nothing_is_verified() {
    let lab = Lab::shared();
    let wrong = certificates_from_pem(&std::fs::read(&lab.info().wrong_ca_path).unwrap()).unwrap();
    for extra_roots in [wrong, Vec::new()] {
        let site = |site| Site { extra_roots: extra_roots.clone(), ..site };
        let began = Instant::now();
        let error = reads(&client_with(lab, &credential_of(lab), site), lab).unwrap_err();
        let BarbicanError::Tls { service: Service::Keystone, fault: TlsFault::Untrusted, .. } = error else {
            panic!("{error:?}")
        };
        assert!(began.elapsed() < Duration::from_secs(10));
        let unverified = client_with(lab, &credential_of(lab), |wrong| Site { verify: false, ..site(wrong) });
        assert!(reads(&unverified, lab).unwrap());
    }
    let by_address = lab.info().keystone_url.replace("localhost", "127.0.0.1").parse().unwrap();
    let client = client_with(lab, &credential_of(lab), |site| Site { keystone: by_address, ..site });
    assert!(reads(&client, lab).unwrap());
}

#[test]
fn every_hop_is_gone_through_the_proxy_too() {
    let lab = Lab::shared();
    let arena = arena();
    let mut hops = Vec::new();
    let through =
        |url: &str| client_with(lab, &credential_of(lab), |site| Site { proxy: Some(proxy(&arena, url)), ..site });
    let check = |client: &Client, hops: &mut Vec<(HopName, String)>| {
        let told = |hop: &claviger_barbican::Hop| hops.push((hop.name, format!("{:?}", hop.outcome)));
        client.check(&url(&lab.info().key_id), told).map(|key| key.ct_eq(&lab.info().key))
    };
    assert!(check(&through(&lab.info().proxy_url), &mut hops).unwrap());
    let shown = |name, text: &str| (name, format!("Ok({text:?})"));
    let wanted = [
        shown(HopName::Proxy, "reached"),
        shown(HopName::Keystone, "TLS 1.3, 200"),
        shown(HopName::Credential, "TLS 1.3, 201"),
        shown(HopName::Barbican, "TLS 1.3, 200"),
        shown(HopName::Secret, "TLS 1.3, 200, symmetric"),
        shown(HopName::Payload, "TLS 1.3, 200, 32 bytes"),
    ];
    assert_eq!(hops, wanted);
    hops.clear();
    assert!(check(&client_of(lab), &mut hops).unwrap());
    assert_eq!(hops, wanted.get(1..).unwrap());

    let error = reads(&through(&lab.info().proxy_url_no_auth), lab).unwrap_err();
    assert!(matches!(error, BarbicanError::ProxyRefused { status: 407 }), "{error:?}");
    let wrong = lab.info().proxy_url.replace("proxyuser", "nobody");
    let error = reads(&through(&wrong), lab).unwrap_err();
    assert!(matches!(error, BarbicanError::ProxyRefused { status: 407 }), "{error:?}");
}

#[test]
fn many_threads_read_at_once() {
    let lab = Lab::shared();
    let client = client_of(lab);
    thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| (0..5).for_each(|_| assert!(reads(&client, lab).unwrap())));
        }
    });
}

#[test]
fn services_that_go_and_come_back() {
    let lab = Lab::start(&LabOptions::default()).unwrap();
    let (client, quick) = (client_of(&lab), hasty(&lab, 2));
    assert!(reads(&client, &lab).unwrap() && reads(&quick, &lab).unwrap());
    let unanswered = |client: &Client| match reads(client, &lab).unwrap_err() {
        BarbicanError::Unreachable { service, source } => (service, source),
        error => panic!("{error:?}"),
    };

    lab.kill(Role::Barbican).unwrap();
    let (service, source) = unanswered(&quick);
    assert!(service == Service::Barbican && matches!(source, Unanswered::Connect(_)), "{source:?}");
    let arena = arena();
    let through = client_with(&lab, &credential_of(&lab), |site| Site {
        proxy: Some(proxy(&arena, &lab.info().proxy_url)),
        timeout: Duration::from_secs(2),
        ..site
    });
    let (service, source) = unanswered(&through);
    assert!(service == Service::Barbican && matches!(source, Unanswered::BehindProxy(502)), "{source:?}");
    // Calls that are under way when it comes back: one of them succeeds.
    thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let began = Instant::now();
            loop {
                match reads(&client, &lab) {
                    Ok(good) => return good,
                    Err(error) => assert!(began.elapsed() < Duration::from_secs(60), "{error:?}"),
                }
            }
        });
        lab.start_role(Role::Barbican).unwrap();
        assert!(waiting.join().unwrap());
    });

    lab.kill(Role::Keystone).unwrap();
    let (service, source) = unanswered(&quick);
    assert!(service == Service::Barbican && matches!(source, Unanswered::Status(503)), "{source:?}");
    let (service, source) = unanswered(&hasty(&lab, 2));
    assert!(service == Service::Keystone && matches!(source, Unanswered::Connect(_)), "{source:?}");
    lab.start_role(Role::Keystone).unwrap();
    // A token outlives Keystone's restart.
    assert!(reads(&client, &lab).unwrap());

    for role in [Role::Barbican, Role::Keystone] {
        lab.pause(role).unwrap();
        let began = Instant::now();
        unanswered(&quick);
        assert!(began.elapsed() < Duration::from_secs(6));
        lab.resume(role).unwrap();
        assert!(reads(&client, &lab).unwrap());
    }

    lab.stop(Role::Proxy).unwrap();
    let (service, source) = unanswered(&through);
    assert!(service == Service::Proxy && matches!(source, Unanswered::Connect(_)), "{source:?}");
}

#[test]
fn refusals_that_come_and_go() {
    let lab = Lab::start(&LabOptions::default()).unwrap();
    let client = client_of(&lab);
    assert!(reads(&client, &lab).unwrap());
    let refused = || match reads(&client, &lab).unwrap_err() {
        BarbicanError::CredentialRefused { service: Service::Keystone, status } => status,
        error => panic!("{error:?}"),
    };

    lab.fault("acl-deny", &[]).unwrap();
    assert!(matches!(reads(&client, &lab), Err(BarbicanError::Forbidden { service: Service::Barbican, .. })));
    lab.fault("acl-allow", &[]).unwrap();
    assert!(reads(&client, &lab).unwrap());

    // Tokens from before stay dead, so that these are new ones. Keystone counts whole seconds: one that was made in the
    // second of the revocation is dead too.
    let reads_again = || {
        let began = Instant::now();
        loop {
            match reads(&client, &lab) {
                Ok(good) => return good,
                Err(error) => assert!(began.elapsed() < Duration::from_secs(5), "{error:?}"),
            }
        }
    };
    lab.fault("disable-user", &[]).unwrap();
    assert_eq!(refused(), 401);
    lab.fault("enable-user", &[]).unwrap();
    assert!(reads_again());
    lab.fault("disable-project", &[]).unwrap();
    assert_eq!(refused(), 404);
    lab.fault("enable-project", &[]).unwrap();
    assert!(reads_again());

    lab.fault("revoke-app-cred", &[]).unwrap();
    assert_eq!(refused(), 404);
    let other = lab.new_app_cred(&["creator", "member"]).unwrap();
    let client = client_with(&lab, &other, |site| site);
    assert!(reads(&client, &lab).unwrap());

    lab.fault("delete-secret", &[]).unwrap();
    assert!(matches!(reads(&client, &lab), Err(BarbicanError::SecretMissing { status: 404 })));
}

#[test]
fn tokens_that_hardly_live() {
    let lab = Lab::start(&LabOptions { token_seconds: 2, ..LabOptions::default() }).unwrap();
    let client = client_of(&lab);
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(6) {
        assert!(reads(&client, &lab).unwrap());
    }
}
