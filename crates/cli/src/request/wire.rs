//! A request as it travels: one JSON object, with its secrets beside the command.

use std::collections::BTreeMap;

use claviger::{Arena, SecretBytes};
use serde::{Deserialize, Serialize, Serializer};

use super::{Command, hex};
use crate::event::{Form, Wanted};
use crate::failure::Failure;
use crate::secret::Secrets;

/// The version of what client and service say to each other. One that speaks another is refused.
pub(crate) const INTERFACE: u32 = 1;

/// A command, and how its result is wanted.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) form: Form,
    /// Whether progress is wanted.
    pub(crate) watched: bool,
    pub(crate) command: Command,
}

/// Secrets that came with a request, or that are to go with one.
///
/// A secret that was not sent is not the same as one that cannot be had: only the first is asked for.
#[derive(Default)]
pub(crate) struct Given(BTreeMap<Wanted, Option<SecretBytes>>);

/// Why a body is no request.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unreadable {
    /// What stands there is not repeated: it may be a secret in the wrong place.
    #[error("the body is no request that this release knows; see line {line}, column {column}")]
    Body { line: usize, column: usize },
    #[error(
        "the request speaks interface {found}, and this service {INTERFACE}: use a claviger of the service's release"
    )]
    Interface { found: u32 },
    #[error("the secret \"{0}\" is no hex, or too long")]
    Secret(Wanted),
}

impl Request {
    /// Reads a body. Secrets go straight into the arena.
    ///
    /// The inner result is about the body, the outer one about the arena.
    pub(crate) fn from_body(body: &[u8], arena: &Arena) -> Result<Result<(Self, Given), Unreadable>, Failure> {
        let received = match read(body) {
            Ok(received) => received,
            Err(unreadable) => return Ok(Err(unreadable)),
        };
        let Received { _interface: _, form, watched, command, secrets } = received;
        let mut given = Given::default();
        for (wanted, text) in secrets {
            let secret = match text {
                None => None,
                Some(text) if text.len() / 2 > wanted.secret().max_len() => {
                    return Ok(Err(Unreadable::Secret(wanted)));
                }
                Some(text) => {
                    let mut secret = arena.bytes(text.len() / 2)?;
                    if hex::read(text, secret.expose_mut()).is_none() {
                        return Ok(Err(Unreadable::Secret(wanted)));
                    }
                    Some(secret)
                }
            };
            given.0.insert(wanted, secret);
        }
        Ok(Ok((Self { form, watched, command }, given)))
    }
}

/// The body of a request. The program wipes what it frees; see [`WIPING`](crate::WIPING).
pub(crate) fn to_body(request: &Request, given: &Given) -> Result<Vec<u8>, serde_json::Error> {
    let Request { form, watched, command } = request;
    let secrets = given.0.iter().map(|(wanted, secret)| (*wanted, secret.as_ref().map(Sent))).collect();
    serde_json::to_vec(&Sending { interface: INTERFACE, form: *form, watched: *watched, command, secrets })
}

impl Given {
    /// Adds one. Returns whether it was there already.
    pub(crate) fn add(&mut self, wanted: Wanted, secret: Option<SecretBytes>) -> bool {
        self.0.insert(wanted, secret).is_some()
    }
}

impl Secrets for Given {
    fn secret(&self, arena: &Arena, wanted: Wanted) -> Result<Option<SecretBytes>, Failure> {
        match self.0.get(&wanted) {
            None => Err(Failure::Wanted(wanted)),
            Some(None) => Ok(None),
            Some(Some(given)) => {
                let mut copy = arena.bytes(given.len())?;
                copy.expose_mut().copy_from_slice(given.expose());
                Ok(Some(copy))
            }
        }
    }
}

#[derive(Serialize)]
struct Sending<'a> {
    interface: u32,
    form: Form,
    watched: bool,
    command: &'a Command,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    secrets: BTreeMap<Wanted, Option<Sent<'a>>>,
}

/// A secret on its way out. This is the one place where one is written.
struct Sent<'a>(&'a SecretBytes);

impl Serialize for Sent<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&hex::Hex(self.0.expose()))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Received<'a> {
    /// Looked at already.
    #[serde(rename = "interface")]
    _interface: u32,
    form: Form,
    watched: bool,
    command: Command,
    /// Borrowed from the body, so that nothing between there and the arena holds them.
    #[serde(borrow, default)]
    secrets: BTreeMap<Wanted, Option<&'a str>>,
}

/// All that is read of a request of another interface.
#[derive(Deserialize)]
struct Versioned {
    interface: u32,
}

fn read(body: &[u8]) -> Result<Received<'_>, Unreadable> {
    let unreadable = |error: serde_json::Error| Unreadable::Body { line: error.line(), column: error.column() };
    let Versioned { interface } = serde_json::from_slice(body).map_err(unreadable)?;
    if interface != INTERFACE {
        return Err(Unreadable::Interface { found: interface });
    }
    serde_json::from_slice(body).map_err(unreadable)
}

#[cfg(test)]
mod tests {
    use claviger::ArenaOptions;
    use serde_json::{Value, json};

    use super::*;

    const WORD: &str = "correct horse battery staple, twice over";

    fn arena() -> Arena {
        Arena::new(&ArenaOptions { keys: 16, states: 16, ..ArenaOptions::default() }).unwrap()
    }

    fn secret(arena: &Arena, bytes: &[u8]) -> SecretBytes {
        let mut secret = arena.bytes(bytes.len()).unwrap();
        secret.expose_mut().copy_from_slice(bytes);
        secret
    }

    fn request(command: Value) -> Request {
        Request { form: Form::Text, watched: true, command: serde_json::from_value(command).unwrap() }
    }

    /// Every command. One that is missing here is missed by `about`, whose match is exhaustive.
    fn commands() -> Vec<Value> {
        const ID: &str = "5d1c8a52-5d3c-4f0c-8f66-0cf5bb3c2f9a";
        let key = json!({ "svm": "vs0", "object": { "volume": ID } });
        let url = format!("https://b.example.com/v1/secrets/{ID}");
        let proxy = json!({ "kind": "https", "host": "proxy", "port": 3128, "user": "me" });
        let barbican = json!({
            "svm": "vs0", "name": "barbican", "key_id": url, "keystone_url": "https://k.example.com/v3",
            "credential_id": "id", "proxy": proxy, "ca": ["3000"], "timeout_seconds": 10, "verify": true,
            "verify_host": false,
        });
        let changes = json!({
            "credential_id": "id", "proxy": { "through": proxy }, "ca": [], "timeout_seconds": 10, "verify": null,
            "verify_host": true,
        });
        let keystore = json!({ "keystore": "vs0/barbican" });
        vec![
            json!({ "svm": { "create": { "name": "vs0" } } }),
            json!({ "svm": { "show": { "svm": "vs0" } } }),
            json!({ "svm": "list" }),
            json!({ "svm": { "rename": { "svm": "vs0", "name": "vs1" } } }),
            json!({ "svm": { "delete": { "svm": "vs0" } } }),
            json!({ "keystore": { "create-onboard": { "common_criteria": true } } }),
            json!({ "keystore": { "create-barbican": barbican } }),
            json!({ "keystore": { "list": { "svm": null } } }),
            json!({ "keystore": { "show": { "keystore": "cluster" } } }),
            json!({ "keystore": { "check": keystore } }),
            json!({ "keystore": { "enable": { "keystore": ID, "migrate": true } } }),
            json!({ "keystore": { "switch": { "svm": "vs0", "to": "cluster" } } }),
            json!({ "keystore": { "update": { "keystore": ID, "changes": changes } } }),
            json!({ "keystore": { "disable": keystore } }),
            json!({ "keystore": { "delete": keystore } }),
            json!({ "keystore": "passphrase" }),
            json!({ "keystore": "unlock" }),
            json!({ "key": { "create": { "svm": "vs0", "object": { "drive": ID }, "algorithm": "aes-256" } } }),
            json!({ "key": { "create-volumes": { "svm": "vs0", "count": 7, "algorithm": null } } }),
            json!({ "key": { "list": { "svm": "vs0", "key_type": "aggregate", "limit": 3 } } }),
            json!({ "key": { "show": key } }),
            json!({ "key": { "delete": key } }),
            json!({ "key": { "rotate-begin": key } }),
            json!({ "key": { "rotate-finish": key } }),
            json!({ "rekey": { "svm": null } }),
            json!({ "rekey-external": { "svm": "vs0", "key": url } }),
            json!({ "migrate": { "svm": "vs0", "to": "vs0/barbican" } }),
            json!({ "kek": { "show": { "svm": "vs0" } } }),
            json!({ "kek": { "restore": { "svm": "vs0" } } }),
            json!("verify"),
            json!("backup-create"),
            json!({ "job": "list" }),
            json!({ "job": { "show": { "job": ID } } }),
            json!({ "job": { "wait": { "job": ID } } }),
            json!({ "job": { "cancel": { "job": ID } } }),
            json!("show"),
        ]
    }

    #[test]
    fn every_command_travels_as_it_is() {
        let arena = arena();
        let names: Vec<_> = commands()
            .into_iter()
            .map(|command| {
                let mut given = Given::default();
                given.add(Wanted::NewPassphrase, Some(secret(&arena, WORD.as_bytes())));
                given.add(Wanted::Credential, None);
                let sent = request(command.clone());
                let body = to_body(&sent, &given).unwrap();
                let (received, given) = Request::from_body(&body, &arena).unwrap().unwrap();
                assert_eq!(serde_json::to_value(&received.command).unwrap(), command);
                assert_eq!((received.form, received.watched), (Form::Text, true));
                let passphrase = given.secret(&arena, Wanted::NewPassphrase).unwrap().unwrap();
                assert!(passphrase.ct_eq(WORD.as_bytes()));
                assert!(given.secret(&arena, Wanted::Credential).unwrap().is_none());
                let missing = given.secret(&arena, Wanted::Passphrase);
                assert!(matches!(missing, Err(Failure::Wanted(Wanted::Passphrase))));
                received.command.about().0
            })
            .collect();
        assert_eq!(names.len(), 36);
    }

    /// Whatever is left out, added or of another type anywhere in a command, and whatever is cut off, is refused.
    #[test]
    fn what_is_nearly_a_request_is_refused() {
        let arena = arena();
        for command in commands() {
            let whole = json!({ "interface": INTERFACE, "form": "json", "watched": false, "command": command });
            Request::from_body(whole.to_string().as_bytes(), &arena).unwrap().unwrap();
            for wrong in with_one_more(&whole) {
                let read = Request::from_body(wrong.to_string().as_bytes(), &arena).unwrap();
                assert!(matches!(read, Err(Unreadable::Body { .. })), "{wrong}");
            }
            let text = whole.to_string();
            for end in 0..text.len() {
                let read = Request::from_body(&text.as_bytes()[..end], &arena).unwrap();
                assert!(matches!(read, Err(Unreadable::Body { .. })), "{text}");
            }
        }
    }

    /// The value with one more field, in each object that it has.
    fn with_one_more(value: &Value) -> Vec<Value> {
        let Value::Object(fields) = value else { return Vec::new() };
        let mut all = vec![fields.clone()];
        all[0].insert("more".to_owned(), json!(1));
        for (name, field) in fields {
            all.extend(with_one_more(field).into_iter().map(|changed| {
                let mut fields = fields.clone();
                fields.insert(name.clone(), changed);
                fields
            }));
        }
        all.into_iter().map(Value::Object).collect()
    }

    #[test]
    fn a_request_shows_no_secret() {
        let arena = arena();
        let mut given = Given::default();
        given.add(Wanted::Passphrase, Some(secret(&arena, WORD.as_bytes())));
        let body = to_body(&request(json!("show")), &given).unwrap();
        assert!(String::from_utf8(body.clone()).unwrap().contains(&::hex::encode(WORD)));
        let (received, _) = Request::from_body(&body, &arena).unwrap().unwrap();
        let shown = format!("{received:?}");
        assert!(!shown.contains(WORD) && !shown.contains(&::hex::encode(WORD)), "{shown}");
    }

    #[test]
    fn a_request_of_another_interface_is_told_apart_from_one_that_is_broken() {
        let other = json!({ "interface": INTERFACE + 1, "command": "a new one", "more": true });
        let read = Request::from_body(other.to_string().as_bytes(), &arena()).unwrap();
        assert_eq!(read.err(), Some(Unreadable::Interface { found: INTERFACE + 1 }));
    }
}
