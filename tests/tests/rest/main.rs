//! The service as it is shipped, `claviger serve`, and clients of the API that know nothing of it: the official one, those that others wrote,
//! one that sends what no client sends, and one that tries whatever the API's own document allows. `tests/clients` has them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::print_stdout)]

mod python;
mod service;

use claviger_tests::openstack::Lab;
use serde_json::json;
use uuid::Uuid;

use service::Service;

/// Nothing like it is in a log by chance.
fn passphrase() -> String {
    format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple())
}

#[test]
fn the_official_client_tells_a_clusters_life() {
    let service = Service::start();
    let lab = Lab::shared().info();
    let lab = json!({
        "ca_path": lab.ca_path,
        "keystone_url": lab.keystone_url,
        "application_cred_id": lab.application_cred_id,
        "application_cred_secret": lab.application_cred_secret,
        "key_id": lab.key_id,
        "other_keys": { "shared_by_acl": lab.other_keys.shared_by_acl },
    });
    let passphrases = [passphrase(), passphrase(), passphrase()];
    python::run("acceptance.py", &json!({ "service": service.told(), "passphrases": passphrases, "lab": lab }));
    let secrets = passphrases.iter().map(String::as_str).chain([lab["application_cred_secret"].as_str().unwrap()]);
    service.stop(secrets);
}

#[test]
fn other_clients_keep_their_habits() {
    let service = Service::start();
    let passwords = [("latin", "pässwörd, größer als Latein"), ("mixed", "contraseña ½ §")];
    for (name, password) in passwords {
        service.create_account(name, password);
    }
    let accounts = passwords.map(|(name, password)| json!({ "user": name, "password": password }));
    let passphrases = [passphrase(), passphrase()];
    let told = json!({ "service": service.told(), "passphrases": passphrases, "accounts": accounts });
    python::run("other_clients.py", &told);
    service.stop(passphrases.iter().map(String::as_str).chain(passwords.map(|(_, password)| password)));
}

#[test]
fn what_no_client_sends_changes_nothing() {
    let service = Service::start();
    python::run("bad_input.py", &json!({ "service": service.told() }));
    service.stop([]);
}

#[test]
fn the_documents_promises_hold_for_whatever_it_allows() {
    let service = Service::start();
    python::fuzz(service.told());
    service.stop([]);
}
