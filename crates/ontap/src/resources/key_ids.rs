//! `/security/key-managers/{uuid}/keys/{node.uuid}/key-ids`: the keys under the KEKs that a key manager keeps.

use claviger::{
    Engine, KeeperInfo, KekInfo, KeyAlgorithm, KeyError, KeyInfo, KeyName, KeyType, KeystoreInfo, NamedKey, ObjectRef,
    SvmInfo,
};
use uuid::Uuid;

use crate::call::Call;
use crate::codes;
use crate::conventions::filter::Filters;
use crate::conventions::position;
use crate::endpoint::{Does, Endpoint};
use crate::problem::Problem;
use crate::record::Record;
use crate::resource::{Resource, Row};
use crate::schema::{Field, Kind, Link, Schema};

const TYPES: &[&str] = &["nse_ak", "aek", "vek", "nek", "svm_kek", "mroot_ak"];

static SCHEMA: Schema = Schema {
    name: "key_manager_keys",
    fields: &[
        Field::key("key_id", Kind::Text, "The key's name; nothing of its bytes is in it."),
        Field::key("node.uuid", Kind::Text, "The node."),
        Field::standard("key_type", Kind::OneOf(TYPES), "What kind of key it is."),
        Field::standard("key_store", Kind::OneOf(&["onboard", "external"]), "Where the top-level key is."),
        Field::standard("key_store_type", Kind::OneOf(&["okm", "barbican"]), "What keeps it."),
        Field::standard("key_server", Kind::Text, "The KMIP server that has it; none of these keystores has one."),
        Field::standard("key_manager", Kind::Text, "The keystore's name."),
        Field::standard("key_tag", Kind::Text, "A tag; keys have none."),
        Field::standard("key_user", Kind::Text, "The SVM's name."),
        Field::standard("encryption_algorithm", Kind::Text, "The cipher that it is for."),
        Field::standard("restored", Kind::Boolean, "Whether the KEK that it needs is in the node's memory."),
        Field::standard("crn", Kind::Text, "Its name at a cloud; none of these keystores is at one."),
        Field::standard("policy", Kind::Text, "A security policy; keys have none."),
        Field::standard("svm.uuid", Kind::Text, "The SVM's UUID."),
        Field::standard("scope", Kind::OneOf(&["svm", "cluster"]), "Whose the key manager is."),
    ],
    lists: &[],
    links: &[
        Link { object: "node", href: "/cluster/nodes/{node.uuid}" },
        Link { object: "svm", href: "/svm/svms/{svm.uuid}" },
    ],
};

struct KeyIds;

impl Resource for KeyIds {
    fn schema(&self) -> &'static Schema {
        &SCHEMA
    }

    /// By SVM; of each its KEK first, then its keys by type and object.
    fn rows(&self, call: &Call<'_>, filters: &Filters, after: Option<&str>, limit: usize) -> Result<Vec<Row>, Problem> {
        let keystore = keystore(call)?;
        let engine = &call.service.engine;
        let after = after.map(Place::parse).transpose()?;
        let mut svms = engine.svms();
        svms.sort_by_key(SvmInfo::id);
        let is_wanted = |svm: &SvmInfo| {
            let id = svm.id().to_string();
            let is_behind = after.as_ref().is_none_or(|after| svm.id().uuid() >= after.svm);
            is_behind && filters.only("svm.uuid").is_none_or(|only| only == id)
        };
        let mut rows = Vec::new();
        for svm in svms.into_iter().filter(is_wanted) {
            let left = limit.saturating_sub(rows.len());
            if left == 0 {
                break;
            }
            if !engine.kept_keks(svm.id()).unwrap_or_default().iter().any(|kek| kek.keystore == keystore.id) {
                continue;
            }
            let after = after.as_ref().filter(|after| after.svm == svm.id().uuid());
            let keys = Keys { call, keystore: &keystore, svm };
            rows.extend(keys.rows(after.map(|after| after.object), left)?);
        }
        Ok(rows)
    }

    fn exists(&self, call: &Call<'_>) -> Result<(), Problem> {
        keystore(call).map(drop)
    }

    fn one(&self, call: &Call<'_>) -> Result<Record, Problem> {
        let keystore = keystore(call)?;
        let engine = &call.service.engine;
        let name: KeyName = call.param("key_id").parse().map_err(|_| codes::missing_entry())?;
        let svm = engine.svm(name.svm()).map_err(|_| codes::missing_entry())?;
        let is_kept = engine.kept_keks(svm.id()).unwrap_or_default().iter().any(|kek| kek.keystore == keystore.id);
        let found = engine.key_named(&name).map_err(|error| codes::of_key(&error))?.filter(|_| is_kept);
        let keys = Keys { call, keystore: &keystore, svm };
        match found.ok_or_else(codes::missing_entry)? {
            NamedKey::Key(key) => Ok(keys.key(&key)),
            NamedKey::Kek(kek) => Ok(keys.kek(&kek)),
            _ => Err(codes::missing_entry()),
        }
    }
}

fn keystore(call: &Call<'_>) -> Result<KeystoreInfo, Problem> {
    if call.uuid("node.uuid")? != call.service.node.uuid {
        return Err(codes::missing_entry());
    }
    call.service.engine.keystore_with_id(call.uuid("uuid")?).map_err(|_| codes::missing_entry())
}

/// A row's place: an SVM, and the key behind which to go on; none is its KEK.
struct Place {
    svm: Uuid,
    object: Option<ObjectRef>,
}

impl Place {
    fn parse(place: &str) -> Result<Self, Problem> {
        let parse = || {
            let (svm, object) = place.split_once('/')?;
            let object = match object {
                "" => None,
                object => {
                    let (kind, uuid) = object.split_once('/')?;
                    let uuid = Uuid::parse_str(uuid).ok()?;
                    Some(match kind {
                        "vek" => ObjectRef::Volume(uuid),
                        "aek" => ObjectRef::Aggregate(uuid),
                        "nse_ak" => ObjectRef::Drive(uuid),
                        _ => return None,
                    })
                }
            };
            Some(Self { svm: Uuid::parse_str(svm).ok()?, object })
        };
        parse().ok_or_else(position::refused)
    }
}

/// The keys of one SVM.
struct Keys<'a> {
    call: &'a Call<'a>,
    keystore: &'a KeystoreInfo,
    svm: SvmInfo,
}

impl Keys<'_> {
    fn engine(&self) -> &Engine {
        &self.call.service.engine
    }

    /// `after` is none for a new SVM, and holds the key behind which to go on.
    fn rows(&self, after: Option<Option<ObjectRef>>, limit: usize) -> Result<Vec<Row>, Problem> {
        let svm = self.svm.id();
        let mut rows = Vec::new();
        if after.is_none()
            && let Ok(Some(kek)) = self.engine().kek(svm)
        {
            rows.push(Row::new(format!("{svm}/"), self.kek(&kek)));
        }
        let mut after = after.flatten();
        loop {
            let left = limit.saturating_sub(rows.len());
            let page = self.engine().list_keys(svm, after, left).map_err(|error| codes::of_key(&error))?;
            let is_last = page.len() < left || left == 0;
            let last = page.last().and_then(object_of);
            // One that is damaged has no name; `verify` tells of it.
            rows.extend(page.iter().flatten().map(|key| self.row(key)));
            match last {
                _ if is_last => return Ok(rows),
                Some(last) => after = Some(last),
                // It has no place behind which to go on.
                None => return Err(codes::failed("A key record lies under a key that is none; verify the hierarchy.")),
            }
        }
    }

    fn row(&self, key: &KeyInfo) -> Row {
        let place = format!("{}/{}/{}", self.svm.id(), type_name(key.object.key_type()), key.object.uuid());
        Row::new(place, self.key(key))
    }

    fn key(&self, key: &KeyInfo) -> Record {
        let algorithm = match key.algorithm {
            KeyAlgorithm::XtsAes256 => "XTS-AES-256",
            KeyAlgorithm::Aes256 => "AES-256",
        };
        self.common(KeyName::of_key(self.svm.id(), key))
            .with("key_type", type_name(key.object.key_type()))
            .with("encryption_algorithm", algorithm)
    }

    fn kek(&self, kek: &KekInfo) -> Record {
        self.common(KeyName::of_kek(self.svm.id(), kek))
            .with("key_type", "svm_kek")
            .with("encryption_algorithm", "AES-256")
    }

    fn common(&self, name: KeyName) -> Record {
        let (store, kind) = match self.keystore.keeper {
            KeeperInfo::Onboard(_) => ("onboard", "okm"),
            _ => ("external", "barbican"),
        };
        let manager = self.keystore.name.as_ref().map_or_else(|| "default".to_owned(), ToString::to_string);
        let in_memory = self.engine().kek(self.svm.id()).ok().flatten().is_some_and(|kek| kek.in_memory);
        Record::new()
            .with("key_id", name.to_string())
            .with("node.uuid", self.call.service.node.uuid.to_string())
            .with("key_store", store)
            .with("key_store_type", kind)
            .with("key_manager", manager)
            .with_some("key_user", self.svm.name().map(ToString::to_string))
            .with("restored", in_memory)
            .with_some("svm.uuid", Some(self.svm.id().to_string()).filter(|_| !self.svm.is_admin()))
            .with("scope", if self.keystore.svm.is_some() { "svm" } else { "cluster" })
    }
}

/// Which object's key it is, be it damaged or not.
const fn object_of(key: &Result<KeyInfo, KeyError>) -> Option<ObjectRef> {
    match key {
        Ok(key) => Some(key.object),
        Err(KeyError::Layout { object, .. }) => Some(*object),
        Err(_) => None,
    }
}

const fn type_name(kind: KeyType) -> &'static str {
    match kind {
        KeyType::Vek => "vek",
        KeyType::Aek => "aek",
        KeyType::NseAk => "nse_ak",
    }
}

pub(crate) const ENDPOINTS: &[Endpoint] = &[
    Endpoint {
        method: "GET",
        path: "/security/key-managers/{uuid}/keys/{node.uuid}/key-ids",
        summary: "Lists the keys that need a key manager on a node.",
        does: Does::List(&KeyIds),
    },
    Endpoint {
        method: "GET",
        path: "/security/key-managers/{uuid}/keys/{node.uuid}/key-ids/{key_id}",
        summary: "Shows what is known of a key.",
        does: Does::Show(&KeyIds),
    },
];
