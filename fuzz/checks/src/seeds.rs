//! The inputs that the targets begin with, made from the test vectors and by hand: one per thing that it shows, named by it.

use std::fs;
use std::path::Path;

use crate::backups::text_of;
use crate::secrets::SEALING_ID;

/// An input of a target.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seed {
    /// The target's name.
    pub target: &'static str,
    /// What it shows.
    pub name: String,
    /// The input.
    pub bytes: Vec<u8>,
}

/// All of them. `vectors` is the directory of the crate `claviger-wrap`'s.
#[must_use]
pub fn seeds(vectors: &Path) -> Vec<Seed> {
    let mut seeds = Vec::new();
    let mut add = |target, name: &str, bytes: &[u8]| {
        seeds.push(Seed { target, name: name.to_owned(), bytes: bytes.to_vec() });
    };
    of_vectors(vectors, &mut add);
    of_blobs(&mut add);
    of_records(&mut add);
    of_backups(&mut add);
    of_texts(&mut add);
    of_files(&mut add);
    of_barbican(&mut add);
    of_engine(&mut add);
    seeds.sort();
    seeds
}

type Add<'a> = &'a mut dyn FnMut(&'static str, &str, &[u8]);

/// The bytes of a field of a vector's file.
fn field(text: &str, name: &str) -> Option<Vec<u8>> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" ="))?;
    Some(hex::decode(line.trim()).expect("hexadecimal"))
}

fn of_vectors(vectors: &Path, add: Add<'_>) {
    for directory in ["accepted", "refused"] {
        for entry in fs::read_dir(vectors.join(directory)).expect("the vectors") {
            let path = entry.expect("a vector").path();
            let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
            let text = fs::read_to_string(&path).expect("a vector");
            if let Some(blob) = field(&text, "blob") {
                // Layouts alone: other KEKs seal these.
                add("key_blob", &format!("{directory}-{name}"), &[&[0; 4], blob.as_slice()].concat());
            }
            if let (Some(record), Some(table), Some(key)) =
                (field(&text, "record"), field(&text, "table"), field(&text, "store-key"))
            {
                // A longer one does not go into an input.
                let key = &key[..key.len().min(255)];
                let mut record = record;
                // The fuzz targets' own sealing key, so that all but the tag is right.
                if let Some(id) = record.get_mut(8..24).filter(|_| directory == "accepted") {
                    id.copy_from_slice(&SEALING_ID.to_be_bytes());
                }
                add("sealed_record", &format!("{directory}-{name}"), &placed(&[0; 4], table[0], key, &record));
            }
            if name.starts_with("key-blob") && directory == "accepted" {
                let blob = field(&text, "blob").expect("a blob");
                let key = [&blob[8..24], &blob[6..7], &blob[24..40]].concat();
                add("key_record", &name, &keyed(&key, &blob));
            }
        }
    }
}

fn keyed(key: &[u8], rest: &[u8]) -> Vec<u8> {
    [&[u8::try_from(key.len()).expect("a short key")], key, rest].concat()
}

fn placed(how: &[u8; 4], table: u8, key: &[u8], rest: &[u8]) -> Vec<u8> {
    [how.as_slice(), &[table], &keyed(key, rest)].concat()
}

/// A blob of AES-256 whose layout is right.
fn blob(key_version: u32, kek_version: u32) -> Vec<u8> {
    let mut blob = vec![0xc1; 124];
    blob[..8].copy_from_slice(b"CLVG\x01\x01\x01\x02");
    blob[8..24].fill(0x51);
    blob[24..40].fill(0x0b);
    blob[40..44].copy_from_slice(&key_version.to_be_bytes());
    blob[44..48].copy_from_slice(&kek_version.to_be_bytes());
    blob
}

fn of_blobs(add: Add<'_>) {
    let made = [&[0_u8][..], &[0x51; 16], &[0], &[0x0b; 16], &[0, 0, 0, 7], &[0x11; 12], &[0x4e; 64]].concat();
    let modes = [
        ("sealed", [1, 0, 0, 0]),
        ("cut-in-the-tag", [2, 0, 150, 0]),
        ("longer-by-one", [3, 0, 0, 0]),
        ("read-in-another-svm", [4, 0, 0, 1]),
        ("read-for-another-object", [5, 0, 0, 1]),
        ("read-as-another-version", [6, 0, 0, 8]),
        ("bit-flipped-in-the-kek-id", [7, 0, 50, 1]),
        ("bit-flipped-in-the-nonce", [7, 0, 70, 1]),
        ("bit-flipped-in-the-ciphertext", [7, 0, 100, 1]),
    ];
    for (name, mode) in modes {
        add("key_blob", name, &[mode.as_slice(), &made].concat());
        let record = placed(&mode, 3, b"0123456789abcdef", br#"{"version":1}"#);
        add("sealed_record", name, &record);
    }

    let key = [&[0x51; 16][..], &[1], &[0x0b; 16]].concat();
    let records = [
        ("rotating", [blob(1, 1), blob(2, 2)].concat()),
        ("rotating-to-the-highest-version", [blob(u32::MAX - 1, 1), blob(u32::MAX, 1)].concat()),
        ("versions-do-not-follow", [blob(1, 1), blob(3, 1)].concat()),
        ("the-same-version-twice", [blob(1, 1), blob(1, 1)].concat()),
        ("versions-wrap-around", [blob(u32::MAX, 1), blob(0, 1)].concat()),
        ("three-blobs", [blob(1, 1), blob(2, 1), blob(3, 1)].concat()),
        ("half-a-second-blob", [blob(1, 1), blob(2, 1)[..62].to_vec()].concat()),
    ];
    for (name, record) in records {
        add("key_record", name, &keyed(&key, &record));
    }
    add("key_record", "of-another-object", &keyed(&[&key[..32], &[0]].concat(), &blob(1, 1)));
    add("key_record", "of-another-type", &keyed(&[&key[..16], &[2], &key[17..]].concat(), &blob(1, 1)));
    add("key_record", "key-too-short", &keyed(&key[..32], &blob(1, 1)));
}

const SVM: &str = "51515151-5151-4151-9151-515151515151";
const OTHER: &str = "0b0b0b0b-0b0b-4b0b-8b0b-0b0b0b0b0b0b";
const TIME: &str = "2026-02-03T04:05:06.789012345Z";

fn uuid(text: &str) -> Vec<u8> {
    hex::decode(text.replace('-', "")).expect("a UUID")
}

fn node() -> String {
    format!(r#"{{"version":1,"hierarchy":"{SVM}","created":"{TIME}"}}"#)
}

fn svm() -> String {
    format!(r#"{{"version":1,"svm":"{SVM}","name":"vs0","admin":false,"created":"{TIME}"}}"#)
}

fn certificate() -> String {
    let sealed = "ab".repeat(60);
    format!(
        r#"{{"version":1,"certificate":"{OTHER}","svm":null,"name":"one","kind":"client","created":"{TIME}","der":"MIIB","chain":["MIIC"],"private_key":["{sealed}","{sealed}"]}}"#
    )
}

fn keystore() -> String {
    let (salt, check, id, wrapped) = ("5a".repeat(32), "c4".repeat(32), "1d".repeat(16), "ab".repeat(40));
    format!(
        r#"{{"version":1,"keystore":"{OTHER}","created":"{TIME}","onboard":{{"common_criteria":false,"salt":"{salt}","iterations":600000,"check":"{check}","ckek_id":"{id}","ckek_by_passphrase":"{wrapped}","ckek_unattended":"{wrapped}"}}}}"#
    )
}

fn kek(version: u32) -> String {
    let (id, wrapped) = ("1e".repeat(16), "ab".repeat(40));
    format!(
        r#"{{"kek_version":{version},"kek_id":"{id}","created":"{TIME}","kept":[{{"keystore":"{OTHER}","bytes":"{wrapped}"}}]}}"#
    )
}

fn keks(retiring: &str, operation: &str) -> String {
    let current = kek(3);
    format!(r#"{{"version":1,"svm":"{SVM}","current":{current},"retiring":{retiring},"operation":{operation}}}"#)
}

fn seals() -> String {
    format!(r#"{{"version":1,"svm":"{SVM}","kek_version":3,"reserved":4096}}"#)
}

fn svm_keystores() -> String {
    let (secret, password) = ("5e".repeat(60), "9a".repeat(40));
    let proxy =
        format!(r#"{{"tls":true,"host":"proxy.example","port":3128,"user":{{"name":"kms","password":"{password}"}}}}"#);
    format!(
        r#"{{"version":1,"svm":"{SVM}","keystores":[{{"keystore":"{OTHER}","name":"default","created":"{TIME}","keeper":{{"barbican":{{"key_id":"https://kms.example:9311/v1/secrets/{OTHER}","keystone_url":"https://kms.example:5000/v3/auth/tokens","application_cred_id":"394d","application_cred_secret":"{secret}","proxy":{proxy},"verify":true,"verify_host":true,"timeout_seconds":10,"ca_certificates":["MAA="]}}}}}}],"enabled":"{OTHER}","job":null}}"#
    )
}

fn job(task: &str, phase: &str) -> String {
    format!(r#"{{"version":1,"job":"{OTHER}","task":{task},"started":"{TIME}","done":7,"total":null,"phase":{phase}}}"#)
}

fn of_records(add: Add<'_>) {
    let epoch = format!(r#"{{"version":1,"hierarchy":"{SVM}","epoch":9}}"#);
    add("record_node", "identity", &keyed(b"hierarchy", node().as_bytes()));
    add("record_node", "epoch", &keyed(b"epoch", epoch.as_bytes()));
    add("record_node", "anchor", &keyed(b"anchor", epoch.as_bytes()));
    let policy = r#"{"enabled":true,"manage_volume_offline":false}"#;
    let kinds = ["okm", "kmip", "akv", "aws", "gcp", "ikp", "barbican"];
    let policies = kinds.map(|kind| format!(r#""{kind}":{policy}"#)).join(",");
    let settings = format!(
        r#"{{"version":1,"settings":{{"health_monitor_polling_interval":15,"cloud_kms_retry_count":10,"health_monitor_policy":{{{policies}}},"data_at_rest_encryption_disabled":false}}}}"#
    );
    add("record_node", "settings", &keyed(b"settings", settings.as_bytes()));
    let often = settings.replace("\":15", "\":14");
    add("record_node", "settings-out-of-range", &keyed(b"settings", often.as_bytes()));
    let offset = node().replace("06.789012345Z", "06+02:00");
    add("record_node", "time-with-an-offset", &keyed(b"hierarchy", offset.as_bytes()));
    let braced = node().replace(SVM, &format!("{{{SVM}}}"));
    add("record_node", "uuid-in-braces", &keyed(b"hierarchy", braced.as_bytes()));
    add("record_node", "version-2", &keyed(b"hierarchy", node().replace("n\":1", "n\":2").as_bytes()));
    add("record_node", "unknown-member", &keyed(b"hierarchy", node().replace('{', r#"{"later":1,"#).as_bytes()));

    let svm_key = [&[0], uuid(SVM).as_slice()].concat();
    add("record_svms", "svm", &keyed(&svm_key, svm().as_bytes()));
    add(
        "record_svms",
        "svm-under-the-key-of-another",
        &keyed(&[&[0], uuid(OTHER).as_slice()].concat(), svm().as_bytes()),
    );
    add("record_svms", "svm-whose-name-is-a-uuid", &keyed(&svm_key, svm().replace("vs0", OTHER).as_bytes()));
    let name = format!(r#"{{"version":1,"name":"vs0","svm":"{SVM}"}}"#);
    add("record_svms", "name", &keyed(b"\x01vs0", name.as_bytes()));
    add("record_svms", "name-under-the-key-of-another", &keyed(b"\x01vs1", name.as_bytes()));

    let keystore_key = uuid(OTHER);
    add("record_keystores", "onboard", &keyed(&keystore_key, keystore().as_bytes()));
    let common_criteria = keystore().replace("false", "true").replace(
        &format!(r#","ckek_unattended":"{}""#, "ab".repeat(40)),
        &format!(r#","attempts":{{"failed":2,"last":"{TIME}"}}"#),
    );
    add("record_keystores", "common-criteria", &keyed(&keystore_key, common_criteria.as_bytes()));
    let deleting = keystore().replace(r#""onboard""#, r#""deleting":true,"onboard""#);
    add("record_keystores", "being-deleted", &keyed(&keystore_key, deleting.as_bytes()));
    let few = keystore().replace("600000", "599999");
    add("record_keystores", "too-few-iterations", &keyed(&keystore_key, few.as_bytes()));
    let upper = keystore().replace("1d1d", "1D1D");
    add("record_keystores", "hex-in-capitals", &keyed(&keystore_key, upper.as_bytes()));
    let own_key = [&[1], uuid(SVM).as_slice()].concat();
    add("record_keystores", "of-an-svm", &keyed(&own_key, svm_keystores().as_bytes()));
    let none = format!(r#"{{"version":1,"svm":"{SVM}","keystores":[],"enabled":null,"job":null}}"#);
    add("record_keystores", "of-an-svm-without-any", &keyed(&own_key, none.as_bytes()));
    add("record_keystores", "of-another-svm", &keyed(&[&[1], uuid(OTHER).as_slice()].concat(), none.as_bytes()));

    let keks_key = uuid(SVM);
    let rekey = format!(r#"{{"rekey":{{"job":"{OTHER}"}}}}"#);
    add("record_keks", "one", &keyed(&keks_key, keks("null", "null").as_bytes()));
    add("record_keks", "one-retiring", &keyed(&keks_key, keks(&kek(2), &rekey).as_bytes()));
    let with_keystore = keks("null", r#""delete_keystore""#);
    add("record_keks", "keystore-being-deleted", &keyed(&keks_key, with_keystore.as_bytes()));
    add("record_keks", "being-deleted", &keyed(&keks_key, keks("null", r#""delete""#).as_bytes()));
    let zero = keks("null", "null").replace("version\":3", "version\":0");
    add("record_keks", "version-0", &keyed(&keks_key, zero.as_bytes()));
    let seals_key = [keks_key.as_slice(), &[0, 0, 0, 3]].concat();
    add("record_keks", "seals", &keyed(&seals_key, seals().as_bytes()));
    let most = seals().replace("4096", "18446744073709551615");
    add("record_keks", "most-seals", &keyed(&seals_key, most.as_bytes()));

    let job_key = uuid(OTHER);
    let kept = format!(r#"[{{"keystore":"{OTHER}","bytes":"{}"}}]"#, "ab".repeat(40));
    let rekey = |step: &str| format!(r#"{{"rekey_internal":{{"svm":"{SVM}","step":{step}}}}}"#);
    let discard = format!(r#"{{"discard":{{"kept":{kept}}}}}"#);
    let moving = |purpose: &str, step: &str| {
        format!(r#"{{"move":{{"svm":"{SVM}","from":null,"to":"{OTHER}","purpose":{purpose},"step":{step}}}}}"#)
    };
    let external = r#"{"rekey_external":{"key_id":"https://kms.example/v1/secrets/1"}}"#;
    let tasks = [
        ("making", rekey(r#""make""#)),
        ("re-wrapping", rekey(r#"{"rewrap":{"cursor":"5151"}}"#)),
        ("discarding", rekey(&discard)),
        ("enabling", format!(r#"{{"enable":{{"svm":"{SVM}","keystore":"{OTHER}"}}}}"#)),
        ("switching", moving(r#""switch""#, r#""rekeep""#)),
        ("migrating", moving(r#""migrate""#, &discard)),
        ("rekeying-externally", moving(external, r#""rekeep""#)),
        ("disabling", format!(r#"{{"disable":{{"svm":"{SVM}","keystore":"{OTHER}","step":"drop"}}}}"#)),
        ("restoring", r#"{"restore":{"svm":null}}"#.to_owned()),
    ];
    for (name, task) in tasks {
        add("record_jobs", name, &keyed(&job_key, job(&task, r#""running""#).as_bytes()));
    }
    let ends = [
        ("succeeded", r#""succeeded""#),
        ("failed", r#"{"failed":{"message":"no","cause":"key_damaged","fault":"data","advice":"repair"}}"#),
    ];
    for (name, stop) in ends {
        let phase = format!(r#"{{"ended":{{"at":"{TIME}","stop":{stop}}}}}"#);
        add("record_jobs", name, &keyed(&job_key, job(&rekey(&discard), &phase).as_bytes()));
    }

    let id_key = |id: &str| [vec![0], uuid(id)].concat();
    let certificate = certificate();
    add("record_certificates", "of-the-cluster", &keyed(&id_key(OTHER), certificate.as_bytes()));
    let of_svm = certificate.replace(r#""svm":null"#, &format!(r#""svm":"{SVM}""#));
    add("record_certificates", "of-an-svm", &keyed(&id_key(OTHER), of_svm.as_bytes()));
    let name = |svm: &str| format!(r#"{{"version":1,"svm":{svm},"name":"one","certificate":"{OTHER}"}}"#);
    add("record_certificates", "name-in-the-cluster", &keyed(b"\x01\x00one", name("null").as_bytes()));
    let svm_name_key = [&[1, 1], uuid(SVM).as_slice(), b"one"].concat();
    add("record_certificates", "name-in-an-svm", &keyed(&svm_name_key, name(&format!(r#""{SVM}""#)).as_bytes()));
    add("record_certificates", "name-in-another-scope", &keyed(&svm_name_key, name("null").as_bytes()));

    let volume = |key: &str| {
        format!(
            r#"{{"version":1,"volume":"{OTHER}","svm":"{SVM}","name":"vol","size":null,"kind":"rw","aggregates":[{{"name":"aggr"}},{{"uuid":"{SVM}"}},{{"both":{{"name":"aggr","uuid":"{SVM}"}}}}],"created":"{TIME}","key":{key}}}"#
        )
    };
    let newest = |version: u32| volume(&format!(r#"{{"key_version":{version},"made":"{TIME}"}}"#));
    add("record_volumes", "encrypted", &keyed(&id_key(OTHER), newest(2).as_bytes()));
    add("record_volumes", "key-version-0", &keyed(&id_key(OTHER), newest(0).as_bytes()));
    add("record_volumes", "not-encrypted", &keyed(&id_key(OTHER), volume("null").as_bytes()));
    let naming = format!(r#"{{"version":1,"svm":"{SVM}","name":"vol","volume":"{OTHER}"}}"#);
    let naming_key = [&[1], uuid(SVM).as_slice(), b"vol"].concat();
    add("record_volumes", "name", &keyed(&naming_key, naming.as_bytes()));
    add("record_volumes", "name-is-none", &keyed(&naming_key, naming.replace("vol\"", "1\"").as_bytes()));

    let (node, svm, keystore, keks, seals) = (node(), svm(), keystore(), keks(&kek(2), "null"), seals());
    let hierarchy = format!(
        r#"{{"version":1,"made":"{TIME}","node":{node},"svms":[{svm}],"keystore":{keystore},"keks":[{keks}],"seals":[{seals}]}}"#
    );
    add("backup_hierarchy", "one-svm", hierarchy.as_bytes());
    let own = hierarchy.replace(r#","keks":"#, &format!(r#","svm_keystores":[{}],"keks":"#, svm_keystores()));
    add("backup_hierarchy", "keystores-of-an-svm", own.as_bytes());
    let with_certificate = hierarchy.replace(r#","seals":"#, &format!(r#","certificates":[{certificate}],"seals":"#));
    add("backup_hierarchy", "certificates", with_certificate.as_bytes());
    add("backup_hierarchy", "nothing", hierarchy.replace(&svm, "").replace(&keks, "").replace(&seals, "").as_bytes());
    add("backup_hierarchy", "cut", &hierarchy.as_bytes()[..hierarchy.len() - 1]);
}

fn of_backups(add: Add<'_>) {
    let bytes = |iterations: u32, length: u32, body: usize| {
        let header = [&b"CLVB\x01\x01"[..], &iterations.to_be_bytes(), &[0x5a; 32], &[0xc4; 32], &[0xab; 40]].concat();
        [&header, length.to_be_bytes().as_slice(), &vec![0xb0; body + 28]].concat()
    };
    let sound = bytes(600_000, 30, 30);
    add("backup_bytes", "sound", &sound);
    add("backup_bytes", "without-a-body", &bytes(10_000_000, 0, 0));
    add("backup_bytes", "too-few-iterations", &bytes(599_999, 30, 30));
    add("backup_bytes", "too-many-iterations", &bytes(10_000_001, 30, 30));
    add("backup_bytes", "body-shorter-than-it-says", &bytes(600_000, 31, 30));
    add("backup_bytes", "body-of-4-gib", &bytes(600_000, u32::MAX, 30));
    add("backup_bytes", "body-just-too-long", &bytes(600_000, (64 << 20) + 1, 30));
    add("backup_bytes", "header-alone", &sound[..118]);
    for (name, at, value) in [("magic", 3, b'G'), ("format-2", 4, 2), ("suite-2", 5, 2)] {
        let mut other = sound.clone();
        other[at] = value;
        add("backup_bytes", name, &other);
        add("backup_text", name, text_of(&other).as_bytes());
    }

    let text = text_of(&sound);
    add("backup_text", "sound", text.as_bytes());
    add("backup_text", "lines-of-windows", text.replace('\n', "\r\n").as_bytes());
    add("backup_text", "in-a-letter", format!("Dear operator,\n> {text}\nKeep it well.").as_bytes());
    add("backup_text", "in-one-line", text.replace('\n', "").as_bytes());
    add("backup_text", "without-its-end", text.split("-----END").next().unwrap_or_default().as_bytes());
    add(
        "backup_text",
        "one-line-lost",
        text.lines()
            .enumerate()
            .filter(|(at, _)| *at != 2)
            .map(|(_, line)| line)
            .collect::<Vec<_>>()
            .join("\n")
            .as_bytes(),
    );
    add("backup_text", "not-base64", text.replacen('A', "*", 1).as_bytes());
    add("backup_text", "one-letter-changed", text.replacen('q', "r", 1).as_bytes());
}

fn of_texts(add: Add<'_>) {
    for (name, len) in
        [("shortest", 32), ("one-too-short", 31), ("shortest-common-criteria", 64), ("longest", 256), ("too-long", 257)]
    {
        add("passphrase", name, &vec![b'p'; len]);
    }
    add("passphrase", "every-printable-character", &(b' '..=b'~').collect::<Vec<_>>());
    add("passphrase", "with-a-newline", b"a passphrase that somebody piped in\n");
    add("passphrase", "not-ascii", "eine Passphrase mit einem \u{e4} darin, lang genug".as_bytes());

    let names = [
        ("plain", "vs0"),
        ("every-kind-of-character", "_Az.0-9"),
        ("longest", "a23456789012345678901234567890123456789012345_-"),
        ("too-long", "a23456789012345678901234567890123456789012345_-."),
        ("begins-with-a-digit", "0vs"),
        ("with-a-space", "v s"),
        ("uuid", "abcdefab-cdef-4abc-8def-abcdefabcdef"),
        ("uuid-without-hyphens", "abcdefabcdef4abc8defabcdefabcdef"),
        ("uuid-but-for-one-letter", "gbcdefab-cdef-4abc-8def-abcdefabcdef"),
        ("not-ascii", "vs\u{e4}"),
    ];
    for (name, text) in names {
        add("svm_name", name, text.as_bytes());
    }
}

fn of_barbican(add: Add<'_>) {
    let metadata = |changed: &str| {
        format!(
            r#"{{"created":"2026-11-21T02:44:38.052310","updated":"2026-11-21T02:44:38.054820","status":"ACTIVE","name":"lab","secret_type":"symmetric","expiration":null,"algorithm":"aes","bit_length":256,"mode":"cbc","creator_id":"bdd1","content_types":{{"default":"application/octet-stream"}},"secret_ref":"https://kms.example/v1/secrets/{OTHER}"{changed}}}"#
        )
    };
    let sound = metadata("");
    let answers = [
        ("key", sound.clone()),
        ("with-an-unknown-member", metadata(r#","consumers":[]"#)),
        ("expired", sound.replace(r#""expiration":null"#, r#""expiration":"2026-11-21T02:45:38""#)),
        ("pending", sound.replace("ACTIVE", "PENDING")),
        ("status-with-control-characters", sound.replace("ACTIVE", r"A\u001b[31m")),
        ("opaque", sound.replace(r#""aes""#, "null").replace("256", "null").replace("symmetric", "opaque")),
        ("of-128-bits", sound.replace("256", "128")),
        ("without-a-payload", sound.replace("content_types", "content")),
    ];
    for (name, answer) in answers {
        add("barbican_metadata", name, answer.as_bytes());
    }
    let urls = [
        ("secret", format!("https://barbican.example:9311/v1/secrets/{OTHER}")),
        ("secret-with-slashes", format!("https://barbican.example/v1/secrets/{OTHER}//")),
        ("secret-in-capitals", format!("https://barbican.example/v1/secrets/{}", OTHER.to_uppercase())),
        ("keystone", "https://[::1]:5000/v3/auth/tokens".to_owned()),
        ("keystone-without-a-path", "https://keystone.example".to_owned()),
        ("with-a-password", format!("https://a:b@barbican.example/v1/secrets/{OTHER}")),
        ("with-one-slash", format!("https:/barbican.example/v1/secrets/{OTHER}")),
        ("in-capitals", "HTTPS://KEYSTONE.example:443/v3".to_owned()),
        ("without-tls", format!("http://barbican.example/v1/secrets/{OTHER}")),
    ];
    for (name, url) in urls {
        add("barbican_urls", name, url.as_bytes());
    }
    for (name, text) in [("plain", "default"), ("not-ascii", "Stra\u{df}e 1"), ("with-a-tab", "a\tb"), ("blank", " ")] {
        add("keystore_name", name, text.as_bytes());
    }
}

fn of_files(add: Add<'_>) {
    let key = [&b"CLVK\x01"[..], &[0x5e; 32]].concat();
    let with_mode = |others: u8, bytes: &[u8]| [&[others], bytes].concat();
    add("sealing_key_file", "sound", &with_mode(0, &key));
    add("sealing_key_file", "readable-by-others", &with_mode(0o44, &key));
    add("sealing_key_file", "writable-by-its-group", &with_mode(0o20, &key));
    add("sealing_key_file", "one-byte-short", &with_mode(0, &key[..36]));
    add("sealing_key_file", "one-byte-long", &with_mode(0, &[&key[..], b"\n"].concat()));
    add("sealing_key_file", "format-2", &with_mode(0, &[b"CLVK\x02", &key[5..]].concat()));
    add("sealing_key_file", "magic", &with_mode(0, &[b"CLVG\x01", &key[5..]].concat()));
    add("sealing_key_file", "empty", &with_mode(0, b""));

    let sled = concat!(
        "{\n  \"compression\": false,\n  \"format\": 1,\n  \"kind\": \"sled\",\n",
        "  \"segment_bytes\": 4194304,\n  \"sled\": \"0.34.7\"\n}\n"
    );
    let redb = "{\n  \"file_format\": 3,\n  \"format\": 1,\n  \"kind\": \"redb\"\n}\n";
    add("store_header", "sled", sled.as_bytes());
    add("store_header", "redb", redb.as_bytes());
    add("store_header", "without-white-space", redb.replace([' ', '\n'], "").as_bytes());
    add("store_header", "format-2", redb.replace("format\": 1", "format\": 2").as_bytes());
    add("store_header", "kind-of-later", redb.replace("redb", "later").as_bytes());
    add(
        "store_header",
        "one-kind-with-the-members-of-the-other",
        sled.replace("\"sled\",\n", "\"redb\",\n").as_bytes(),
    );
    add("store_header", "unknown-member-of-many-arrays", format!("{{\"\":[{}[]]}}", "[],".repeat(1_300)).as_bytes());

    for (name, mark) in [
        ("zero", "0000000000000000\n"),
        ("highest", "7fffffffffffffff\n"),
        ("negative", "8000000000000000\n"),
        ("in-capitals", "00000000000000AB\n"),
        ("with-a-sign", "+000000000000001\n"),
        ("one-digit-short", "000000000000000\n"),
        ("without-a-newline", "0000000000000000"),
    ] {
        add("store_mark", name, mark.as_bytes());
    }
}

/// Lives of hierarchies, see `hierarchy/script.rs`.
fn of_engine(add: Add<'_>) {
    const SVM_A: u8 = 1;
    let create_svm = [0, SVM_A, 0, 0];
    let delete_svm = [2, SVM_A, 0, 0];
    let create = |object| [3, SVM_A, object, 0];
    let create_many = [4, SVM_A, 0xff, 1];
    let delete = |object| [6, SVM_A, object, 0];
    let begin = |object| [7, SVM_A, object, 0];
    let finish = |object| [8, SVM_A, object, 0];
    let [rekey, rekey_and_cancel, rekey_beside] = [9, 10, 11].map(|operation| [operation, SVM_A, 0, 0]);
    let finish_jobs = [12, 0, 0, 0];
    let [backup, verify] = [[13, 0, 0, 0], [13, 1, 0, 0]];
    let arm = |at, strike| [14, 0, at, strike];
    let [restart, restart_without_jobs] = [[15, 0, 0, 0], [15, 1, 0, 0]];

    let life = [
        create_svm,
        create(0),
        create_many,
        begin(0),
        rekey,
        finish(0),
        begin(1),
        rekey_and_cancel,
        rekey,
        delete(0),
        backup,
        verify,
    ];
    add("engine", "a-life-without-faults", life.as_flattened());
    let short = [create_svm, create(0), delete(0), delete_svm, create_svm, create(0)];
    add("engine", "an-svm-twice", short.as_flattened());
    let renamed = [create_svm, create(0), [1, SVM_A, 2, 0], [5, 2, 0, 0], [1, 0, 1, 0], create(0), verify];
    add("engine", "svms-renamed", renamed.as_flattened());
    let beside =
        [create_svm, create_many, rekey_beside, create(8), begin(0), finish(0), delete(1), finish_jobs, verify];
    add("engine", "changes-beside-a-rekey", beside.as_flattened());
    let later = [create_svm, create_many, rekey_beside, restart_without_jobs, create(8), verify, finish_jobs];
    add("engine", "a-rekey-goes-on-later", later.as_flattened());

    // Every event of a creation, of a rekey and of a deletion, with every strike.
    for at in 0..14 {
        for (strike, name) in ["before", "after", "refused", "unreachable", "unanswered", "torn"].iter().enumerate() {
            let strike = [0, 1, 2, 3, 4, 7][strike];
            let script = [
                create_svm,
                create_many,
                arm(at, strike),
                restart,
                create(8),
                begin(8),
                rekey,
                finish(8),
                delete(8),
                arm(1, 0),
                restart,
                rekey,
                verify,
            ];
            if at % 3 == strike % 3 {
                add("engine", &format!("struck-at-{at:02}-{name}"), script.as_flattened());
            }
            let script =
                [create_svm, create(0), delete(0), arm(at % 6, strike), restart, delete_svm, create_svm, create(0)];
            if at < 6 && at % 2 == strike % 2 {
                add("engine", &format!("deletion-struck-at-{at}-{name}"), script.as_flattened());
            }
        }
    }
}
