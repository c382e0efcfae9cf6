//! Keystores at a real Keystone and a real Barbican.

use claviger_tests::openstack::{Lab, LabInfo, LabOptions, Role};
use serde_json::{Value, json};

use crate::support::{Place, UUID, stderr, stdout};

/// A hierarchy that can ask the services.
fn place(info: &LabInfo) -> Place {
    let place = Place::with_svm();
    prepare(&place, info);
    place
}

fn prepare(place: &Place, info: &LabInfo) {
    place.write("secret", &info.application_cred_secret);
    place.write("wrong", "another secret");
    std::fs::copy(&info.ca_path, place.path("ca")).unwrap();
}

/// Makes a keystore.
fn create(place: &Place, info: &LabInfo, svm: &str, name: &str, more: &str) -> Value {
    let LabInfo { key_id, keystone_url, application_cred_id, .. } = info;
    place.json(&format!(
        "keystore create barbican --svm {svm} {name} --key-id {key_id} --keystone-url {keystone_url} \
         --credential-id {application_cred_id} --ca ca {more}"
    ))
}

/// `http://USER:PASSWORD@HOST:PORT`, without the password, and that.
fn proxy(info: &LabInfo) -> (String, &str) {
    let (scheme, rest) = info.proxy_url.split_once("://").unwrap();
    let (user, rest) = rest.split_once(':').unwrap();
    let (password, host) = rest.split_once('@').unwrap();
    (format!("{scheme}://{user}@{host}"), password)
}

fn state(place: &Place, keystore: &str) -> Value {
    place.json(&format!("keystore show {keystore}"))["status"]["state"].clone()
}

/// Every key opens, in a process that had to fetch the KEKs.
#[track_caller]
fn opens(place: &Place, keys: u64) {
    let verified = place.json("verify");
    assert_eq!((&verified["opened"], &verified["findings"]), (&json!(keys), &json!([])));
}

#[test]
fn from_a_secret_to_keys_and_through_every_change_of_their_keeper() {
    let info = Lab::shared().info();
    let place = place(info);
    let (proxy, password) = proxy(info);
    place.write("password", password);
    let through = format!("--credential-file secret --proxy {proxy} --proxy-password-file password");
    create(&place, info, "vs0", "barbican", &through);

    let checked = place.json("keystore check vs0/barbican");
    let hops: Vec<_> = checked["hops"].as_array().unwrap().iter().map(|hop| hop["hop"].as_str().unwrap()).collect();
    assert_eq!(hops, ["proxy", "Keystone", "credential", "Barbican", "secret", "payload", "wrap round trip"]);
    let text = place.done("keystore check vs0/barbican");
    assert_eq!(text.lines().filter(|line| line.contains("  ok  ") && line.contains(" ms  ")).count(), 7, "{text}");

    assert_eq!(place.json("keystore enable vs0/barbican")["enabled"], true);
    assert_eq!(state(&place, "vs0/barbican"), "active");
    place.done(&format!("key create --svm vs0 --volume {UUID}"));
    place.done("key create --svm vs0 --count 20");
    opens(&place, 21);
    assert_eq!(place.json("svm show vs0")["keystore"]["state"], "active");
    assert_eq!(place.json("kek restore --all")["svms"], 1);

    assert_eq!(place.json("rekey --svm vs0")["kek_version"], 2);
    let other = Lab::shared().new_key(32).unwrap().key_id;
    assert_eq!(place.json(&format!("rekey --svm vs0 --external {other}"))["key_id"], other);
    assert!(place.refused(&format!("rekey --svm vs0 --external {other}"), 2).contains("this top-level key already"));
    let kept = &place.json("kek show vs0")["keks"];
    assert_eq!((&kept[0]["version"], &kept[0]["key_id"], &kept[1]), (&json!(2), &json!(other), &Value::Null));
    assert_eq!(kept[0]["top_level_key"].as_str().unwrap().len(), 32);
    assert_eq!(kept[0]["wrapped"].as_str().unwrap().len(), 80);
    opens(&place, 21);

    create(&place, info, "vs0", "second", "--credential-file secret");
    assert_eq!(place.json("keystore switch --svm vs0 --to vs0/second")["keks"], 1);
    place.done("keystore delete vs0/barbican");
    assert!(place.done("keystore switch --svm vs0 --to cluster").contains("the KEK is kept by keystore"));
    assert_eq!(place.json("svm show vs0")["keystore"], Value::Null);
    opens(&place, 21);
    place.done("keystore switch --svm vs0 --to vs0/second");
    opens(&place, 21);

    assert!(place.refused("keystore disable vs0/second", 2).contains("protects keys"));
    assert!(place.refused("keystore delete vs0/second", 2).contains("is enabled"));
    place.done("migrate --svm vs0 --to cluster");
    assert_eq!(state(&place, "vs0/second"), "mixed");
    assert!(place.refused("rekey --svm vs0", 2).contains("migrate"));
    place.done("keystore disable vs0/second");
    place.done("keystore delete vs0/second");
    opens(&place, 21);
}

#[test]
fn an_svm_that_has_keys_moves_to_its_first_keystore_in_one_step() {
    let info = Lab::shared().info();
    let place = place(info);
    place.done("key create --svm vs0 --count 3");
    create(&place, info, "vs0", "barbican", "--credential-file secret");
    place.done("keystore enable vs0/barbican");
    assert_eq!(state(&place, "vs0/barbican"), "mixed");
    // Enabled already: what is left is done.
    assert_eq!(place.json("keystore enable vs0/barbican --migrate")["keks"], 1);
    assert_eq!(state(&place, "vs0/barbican"), "active");
    assert!(place.refused("migrate --svm vs0 --to vs0/barbican", 2).contains("keeps the SVM's KEK already"));

    // Without a key there is nothing to move.
    place.done("svm create vs1");
    create(&place, info, "vs1", "barbican", "--credential-file secret");
    assert_eq!(place.json("keystore enable vs1/barbican --migrate")["enabled"], true);
    opens(&place, 3);
}

#[test]
fn what_barbican_keeps_needs_no_passphrase_in_common_criteria_mode() {
    let info = Lab::shared().info();
    let place = Place::empty();
    prepare(&place, info);
    place.done("init");
    place.done("keystore create onboard --common-criteria --passphrase-file long");
    place.done("svm create vs0");
    create(&place, info, "vs0", "barbican", "--credential-file secret");
    place.done("keystore enable vs0/barbican");
    place.done("key create --svm vs0 --count 2");
    assert_eq!(place.json("rekey --svm vs0")["kek_version"], 2);
    assert_eq!(place.json("kek restore --svm vs0")["svms"], 1);
    place.refused("keystore switch --svm vs0 --to cluster", 5);
    place.done("keystore switch --svm vs0 --to cluster --passphrase-file long");
    place.refused("key create --svm vs0 --count 1", 5);
    place.refused("keystore switch --svm vs0 --to vs0/barbican", 5);
    place.done("keystore switch --svm vs0 --to vs0/barbican --passphrase-file long");
    place.done("key create --svm vs0 --count 1");
}

#[test]
fn a_keeper_that_refuses_or_is_gone_is_told_and_what_needs_it_waits() {
    let lab = Lab::start(&LabOptions::default()).unwrap();
    let info = lab.info();
    let place = place(info);

    // Nothing but the secret is wrong.
    create(&place, info, "vs0", "wrong", "--credential-file wrong");
    let (hops, said) = stops(&place, "vs0/wrong");
    assert_eq!(hops.last().map(String::as_str), Some("credential"));
    assert!(said.contains("refused the application credential"), "{said}");
    assert!(said.contains("`claviger keystore update`"), "{said}");
    assert!(place.refused("keystore enable vs0/wrong", 8).contains("refused the credential"));
    place.refused("keystore update vs0/wrong --timeout 6", 8);
    place.done("keystore delete vs0/wrong");

    create(&place, info, "vs0", "barbican", "--credential-file secret --timeout 3");
    place.done("keystore enable vs0/barbican");
    place.done(&format!("key create --svm vs0 --volume {UUID}"));
    lab.stop(Role::Barbican).unwrap();
    let (hops, said) = stops(&place, "vs0/barbican");
    assert_eq!(hops.last().map(String::as_str), Some("Barbican"));
    assert!(said.contains("Barbican gave no answer"), "{said}");
    for needs_it in ["key create --svm vs0 --count 1", "rekey --svm vs0", "kek restore --svm vs0"] {
        let output = place.claviger(needs_it).output().unwrap();
        assert_eq!(output.status.code(), Some(8), "{needs_it}: {}", stderr(&output));
        assert!(stderr(&output).contains("unreachable"), "{needs_it}: {}", stderr(&output));
    }
    let verified = place.claviger("verify").output().unwrap();
    assert_eq!(verified.status.code(), Some(8), "{}", stdout(&verified));
    // What needs no KEK goes on.
    assert_eq!(place.json("key list --svm vs0")["keys"].as_array().unwrap().len(), 1);
    let shown = place.json("keystore show vs0/barbican")["status"].clone();
    assert_eq!((&shown["state"], &shown["nodes"][0]["trouble"]["what"]), (&json!("blocked"), &json!("unreachable")));
    let text = place.done("show");
    assert!(text.contains("not in memory") && text.contains("its keeper did not give it (unreachable)"), "{text}");
    lab.start_role(Role::Barbican).unwrap();
    opens(&place, 1);

    lab.fault("revoke-app-cred", &[]).unwrap();
    assert!(place.done("keystore show vs0/barbican").contains("credential refused since"));
    let new = lab.new_app_cred(&["member"]).unwrap();
    place.write("new", &new.secret);
    place.done(&format!("keystore update vs0/barbican --credential-id {} --credential-file new", new.id));
    assert_eq!(state(&place, "vs0/barbican"), "active");
    opens(&place, 1);
}

/// The hops of a check that stops, all but the last of which went well, and what it says then.
#[track_caller]
fn stops(place: &Place, keystore: &str) -> (Vec<String>, String) {
    let output = place.claviger(&format!("keystore check {keystore}")).output().unwrap();
    assert_eq!(output.status.code(), Some(8), "{}", stderr(&output));
    let printed = stdout(&output);
    let mut lines: Vec<_> = printed.lines().collect();
    assert!(lines.pop().unwrap().contains("  failed  "), "{printed}");
    assert!(lines.iter().all(|line| line.contains("  ok  ")), "{printed}");
    (printed.lines().map(|line| line.split_whitespace().next().unwrap().to_owned()).collect(), stderr(&output))
}
