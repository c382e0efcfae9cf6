//! The fields of a certificate.

use crate::schema::{Field, Kind, Link, Schema};

const KINDS: &[&str] = &["client", "server", "client_ca", "server_ca", "root_ca"];
const HASHES: &[&str] = &["sha1", "sha256", "md5", "sha224", "sha384", "sha512"];

pub(super) static SCHEMA: Schema = Schema {
    name: "security_certificate",
    fields: &[
        Field::key("uuid", Kind::Text, "The certificate's UUID."),
        Field::key("name", Kind::Text, "Its name, unique in its scope; made of what it says where none is given.")
            .post(),
        Field::standard("type", Kind::OneOf(KINDS), "What it is for.").post(),
        Field::standard("public_certificate", Kind::Text, "The certificate, PEM.").post(),
        Field::hidden("private_key", Kind::Secret, "Its private key, PEM.").post(),
        Field::hidden("intermediate_certificates", Kind::Texts, "Those between it and its root, PEM.").post(),
        Field::standard("common_name", Kind::Text, "The subject's common name.").post(),
        Field::standard("expiry_time", Kind::Time, "When it expires.").post(),
        Field::standard("key_size", Kind::Integer, "The size of its key in bits.").post(),
        Field::standard("hash_function", Kind::OneOf(HASHES), "The hash that it is signed with.").post(),
        Field::standard("serial_number", Kind::Text, "Its serial number, in hex."),
        Field::standard("ca", Kind::Text, "The issuer's common name."),
        Field::standard("authority_key_identifier", Kind::Text, "Names the key that signed it."),
        Field::standard("subject_key_identifier", Kind::Text, "Names its own key."),
        Field::standard("scope", Kind::OneOf(&["svm", "cluster"]), "Whose it is.").post(),
        Field::standard("svm.uuid", Kind::Text, "The SVM's UUID.").post(),
        Field::standard("svm.name", Kind::Text, "The SVM's name.").post(),
    ],
    lists: &[],
    links: &[
        Link { object: "", href: "/security/certificates/{uuid}" },
        Link { object: "svm", href: "/svm/svms/{svm.uuid}" },
    ],
};
