//! Nothing that leaves the API shows a secret that came in: no answer, no error, no audit, no job and no log, in no spelling.

use std::io::{self, Write};
use std::sync::{Mutex, Once};

use claviger_tests::heard::Heard;
use serde_json::{Value, json};
use tracing_subscriber::filter::LevelFilter;

use crate::resources::certificates::certificate;
use crate::support::client::Reply;
use crate::support::{CREDENTIALS, PASSPHRASE, Stage, barbican_body};

/// Secrets that occur nowhere else, with no word in them that a message could have.
const SECRET: &str = "uT4!vkz-Qe9Rj2~Mb8Gy5=Lw7Xp0";
const PROXY: &str = "hG6?nbY-Sa3Dk8~Zm1Vc5Tr";
const NEW: &str = "Jf5+Wq8=Ey2(Ob7)Ik4 Rg6:Xa1;Mv3,Zt9.Cp0/Ln8 Hd2<Ku5>Bs7[Fw4]Ye3 Qj6{Ti1}Ao0";
const WRONG: &str = "Cx9*Nd3%Hu6&Pl1#Ts0 Ev4:Gk7;Ob2,Wr5.Jy8/Zf6 Mq3<Ia9>Dn1[Sh0]Xc5 Lt7{Uv2}Kp4";

/// What all tests of this process logged.
static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct Log;

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LOG.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn log_everything() {
    static BEGUN: Once = Once::new();
    BEGUN.call_once(|| {
        tracing_subscriber::fmt().with_max_level(LevelFilter::TRACE).with_ansi(false).with_writer(|| Log).init();
    });
}

/// All that came out.
struct Ears {
    heard: Heard,
    audited: Vec<Value>,
}

impl Ears {
    fn new() -> Self {
        log_everything();
        Self { heard: Heard::default(), audited: Vec::new() }
    }

    fn hear(&mut self, reply: &Reply) {
        self.heard.bytes(reply.text.as_bytes());
        self.heard.bytes(format!("{:?}", reply.headers).as_bytes());
        if let Some(audited) = &reply.audited {
            self.heard.debug(audited);
            self.heard.bytes(audited.arguments.to_string().as_bytes());
            self.heard.bytes(audited.what.as_bytes());
            self.audited.push(audited.arguments.clone());
        }
    }

    /// Whatever else can be asked for, and what was logged; then there must be no secret in any of it.
    fn silence(mut self, stage: &Stage, more: &[(&str, &str)]) {
        let jobs = stage.api.get("/cluster/jobs?fields=**");
        self.hear(&jobs);
        for path in
            ["/security/barbican-kms", "/security/key-managers", "/security/key-stores", "/security/certificates"]
        {
            self.hear(&stage.api.get(&format!("{path}?fields=**")));
        }
        self.heard.bytes(&LOG.lock().unwrap());
        let secrets = [("credential", SECRET), ("proxy", PROXY), ("new passphrase", NEW), ("wrong passphrase", WRONG)];
        let secrets = secrets.iter().chain(more).map(|(name, secret)| (*name, secret.as_bytes()));
        let found = self.heard.find(secrets);
        assert!(found.is_empty(), "{found:?}");
    }
}

/// A body that is right but for one member, for each way in which a member can be wrong.
fn spoiled(body: &Value) -> Vec<String> {
    let mut all = vec![body.to_string()];
    for member in body.as_object().unwrap().keys() {
        for wrong in [json!(5), json!(["x"]), json!({ "x": 1 }), json!(null), json!("")] {
            let mut body = body.clone();
            body[member] = wrong;
            all.push(body.to_string());
        }
    }
    let mut stranger = body.clone();
    stranger["colour"] = json!("red");
    all.push(stranger.to_string());
    // The secrets themselves, where nobody looks for them.
    let text = body.to_string();
    all.push(text.replace("application_cred_secret", "application_cred_secrets"));
    all.push(text.replace("passphrase", "passphrases"));
    all.extend([1, text.len() / 2, text.len() - 1].map(|len| text[..len].to_owned()));
    all.push(text.replace('}', ""));
    all
}

#[test]
fn a_credential_and_a_proxys_password() {
    let stage = Stage::new();
    stage.svm("vs0");
    stage.vault.allow(CREDENTIALS[1], SECRET.as_bytes());
    let mut ears = Ears::new();
    let mut body = barbican_body("vs0", "A");
    body["application_cred_id"] = json!(CREDENTIALS[1]);
    body["application_cred_secret"] = json!(SECRET);
    body["proxy_host"] = json!("proxy.example");
    body["proxy_port"] = json!(3128);
    body["proxy_username"] = json!("me");
    body["proxy_password"] = json!(PROXY);
    for body in spoiled(&body) {
        for query in ["?return_timeout=60&return_records=true", ""] {
            ears.hear(&stage.api.ask("POST", &format!("/security/barbican-kms{query}")).bytes(body.clone()).send());
        }
    }
    let keystore = stage.api.column("/security/barbican-kms?configuration.name=A", "/uuid").remove(0);
    let path = format!("/security/barbican-kms/{keystore}?return_timeout=60");
    let change = json!({
        "application_cred_id": CREDENTIALS[1], "application_cred_secret": SECRET, "timeout": 21,
        "proxy_host": "proxy.example", "proxy_port": 3128, "proxy_username": "me", "proxy_password": PROXY,
    });
    for body in spoiled(&change) {
        ears.hear(&stage.api.ask("PATCH", &path).bytes(body.clone()).send());
        let each = "/security/barbican-kms?configuration.name=A";
        ears.hear(&stage.api.ask("PATCH", each).bytes(body).send());
    }
    for trouble in [true, false] {
        stage.vault.set_away(trouble);
        stage.vault.revoke(CREDENTIALS[1]);
        let reply = stage.api.ask("PATCH", &path).json(&change).send();
        assert_eq!(reply.status.as_u16(), 500);
        ears.hear(&reply);
    }
    // As a filter or a field it is not known, and what is not known is not repeated.
    for name in ["application_cred_secret", "proxy_password", "colour"] {
        ears.hear(&stage.api.get(&format!("/security/barbican-kms?{name}={}", SECRET.replace('!', "%21"))));
    }
    let audited = Value::from(ears.audited.clone()).to_string();
    assert!(audited.contains("\"timeout\":21") && audited.contains("proxy.example"), "nothing is audited: {audited}");
    assert!(!audited.contains("application_cred_secret") && !audited.contains("proxy_password"), "{audited}");
    ears.silence(&stage, &[]);
}

#[test]
fn passphrases() {
    let stage = Stage::new();
    let mut ears = Ears::new();
    let path = format!("/security/key-managers/{}", stage.onboard());
    let change = |existing: &str, new: &str| json!({ "existing_passphrase": existing, "passphrase": new });
    for onboard in [change(WRONG, NEW), change(PASSPHRASE, "short"), change(PASSPHRASE, NEW), change(NEW, NEW)] {
        for body in spoiled(&onboard) {
            let body = format!("{{\"onboard\":{body}}}");
            ears.hear(&stage.api.ask("PATCH", &path).bytes(body.clone()).send());
            ears.hear(&stage.api.ask("POST", "/security/key-managers").bytes(body).send());
        }
    }
    for secret in [WRONG, NEW] {
        for body in spoiled(&json!({ "cc_mode_enabled": true, "passphrase": secret })) {
            ears.hear(&stage.api.ask("PATCH", "/security/key-manager-configs").bytes(body).send());
        }
    }
    let audited = Value::from(ears.audited.clone()).to_string();
    assert!(audited.contains("cc_mode_enabled") && !audited.contains("passphrase\":\""), "{audited}");
    ears.silence(&stage, &[]);
}

#[test]
fn a_private_key() {
    let stage = Stage::new();
    let mut ears = Ears::new();
    let (pem, key) = certificate("node.example", false);
    let (_, other) = certificate("other.example", false);
    for key in [&key, &other] {
        let body = json!({ "name": "node", "type": "client", "public_certificate": pem, "private_key": key });
        for body in spoiled(&body) {
            ears.hear(&stage.api.ask("POST", "/security/certificates").bytes(body).send());
        }
    }
    assert_eq!(stage.api.get("/security/certificates?name=node").ok()["num_records"], 1);
    let inner = |pem: &str| pem.lines().filter(|line| !line.starts_with('-')).collect::<String>();
    // Its last part is the key; what is before it is the same in every key.
    let tail = |pem: &str| inner(pem)[60..].to_owned();
    ears.silence(&stage, &[("private key", &tail(&key)), ("other private key", &tail(&other))]);
}
