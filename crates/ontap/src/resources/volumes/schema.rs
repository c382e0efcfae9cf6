//! The fields of a volume.

use crate::schema::{Field, Kind, Link, Schema};

pub(super) static SCHEMA: Schema = Schema {
    name: "volume",
    fields: &[
        Field::key("uuid", Kind::Text, "The volume's UUID."),
        Field::key("name", Kind::Text, "Its name, unique in its SVM.").post(),
        Field::standard("svm.uuid", Kind::Text, "The SVM's UUID.").post(),
        Field::standard("svm.name", Kind::Text, "The SVM's name.").post(),
        Field::standard("size", Kind::Integer, "Its size in bytes; kept as it was given.").post(),
        Field::standard("type", Kind::OneOf(&["rw", "dp", "ls"]), "What it is for; kept as it was given.").post(),
        Field::standard("aggregates.name", Kind::Text, "Where it lies; kept as it was given.").post(),
        Field::standard("aggregates.uuid", Kind::Text, "The same by UUID.").post(),
        Field::standard("encryption.enabled", Kind::Boolean, "Whether it has a key.").post(),
        Field::standard(
            "encryption.state",
            Kind::OneOf(&["encrypted", "rekeying", "unencrypted"]),
            "Whether its data is encrypted, or re-encrypted under a new key.",
        ),
        Field::standard(
            "encryption.rekey",
            Kind::Boolean,
            "Whether its key is being rotated: true begins that, false finishes it.",
        )
        .patch(),
        Field::standard("encryption.key_id", Kind::Text, "The name of its newest key."),
        Field::standard("encryption.key_creation_time", Kind::Time, "When that was made."),
        Field::standard(
            "encryption.key_manager_attribute",
            Kind::OneOf(&["onboard", "external"]),
            "What keeps the KEK above it.",
        ),
        Field::standard("encryption.type", Kind::OneOf(&["none", "volume"]), "What its key encrypts."),
    ],
    lists: &["aggregates"],
    links: &[
        Link { object: "", href: "/storage/volumes/{uuid}" },
        Link { object: "svm", href: "/svm/svms/{svm.uuid}" },
    ],
};
