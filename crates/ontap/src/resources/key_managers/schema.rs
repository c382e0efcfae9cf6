//! The fields of a key manager.

use crate::schema::{Field, Kind, Link, Schema};

pub(super) static SCHEMA: Schema = Schema {
    name: "security_key_manager",
    fields: &[
        Field::key("uuid", Kind::Text, "The key manager's UUID, which is also its keystore's."),
        Field::key("configuration.name", Kind::Text, "The keystore's name.").post(),
        Field::key("configuration.uuid", Kind::Text, "The keystore's UUID."),
        Field::standard("scope", Kind::OneOf(&["svm", "cluster"]), "Whose it is.").post().patch(),
        Field::standard("svm.uuid", Kind::Text, "The SVM's UUID.").post(),
        Field::standard("svm.name", Kind::Text, "The SVM's name.").post(),
        Field::standard("enabled", Kind::Boolean, "Whether it is the enabled one of its scope."),
        Field::standard("policy", Kind::Text, "A security policy; accepted, and without effect on the onboard one.")
            .post(),
        Field::standard("onboard.enabled", Kind::Boolean, "Whether it is the onboard key manager."),
        Field::standard("onboard.key_backup", Kind::Text, "A backup of the key hierarchy, which the passphrase opens."),
        Field::hidden("onboard.passphrase", Kind::Secret, "The passphrase: 32 to 256 ASCII characters.").post().patch(),
        Field::hidden("onboard.existing_passphrase", Kind::Secret, "The passphrase until now.").post().patch(),
        Field::hidden("onboard.synchronize", Kind::Boolean, "Whether it is to be taken from elsewhere.").post().patch(),
        Field::expensive("status.code", Kind::Integer, "65537200, or the code of what is left to do."),
        Field::expensive("status.message", Kind::Text, "What is left to do."),
        Field::standard("volume_encryption.supported", Kind::Boolean, "Whether every node can encrypt volumes."),
        Field::standard("volume_encryption.code", Kind::Integer, "0, or the code of why not."),
        Field::standard("volume_encryption.message", Kind::Text, "Why not."),
        Field::standard(
            "is_default_data_at_rest_encryption_disabled",
            Kind::Boolean,
            "Whether new volumes are made in the clear where nobody says otherwise.",
        )
        .patch(),
        Field::standard("external.client_certificate.uuid", Kind::Text, "The client's certificate.").post().patch(),
        Field::standard("external.client_certificate.name", Kind::Text, "The same by name.").post().patch(),
        Field::standard("external.server_ca_certificates.uuid", Kind::Text, "The servers' authorities.").post().patch(),
        Field::standard("external.server_ca_certificates.name", Kind::Text, "The same by name.").post().patch(),
        Field::standard("external.servers.server", Kind::Text, "A key server: host:port.").post(),
        Field::standard("external.servers.timeout", Kind::Integer, "Its time limit in seconds.").post(),
        Field::standard("external.servers.username", Kind::Text, "Its user.").post(),
        Field::standard("external.servers.secondary_key_servers", Kind::Text, "Its secondaries."),
        Field::expensive(
            "external.servers.connectivity.cluster_availability",
            Kind::Boolean,
            "Whether all nodes reach it.",
        ),
        Field::expensive("external.servers.connectivity.records.state", Kind::Text, "How a node reaches it."),
        Field::expensive("external.servers.connectivity.records.node.uuid", Kind::Text, "The node."),
        Field::expensive("external.servers.connectivity.records.node.name", Kind::Text, "The node."),
        Field::expensive("external.servers.connectivity.node_states.state", Kind::Text, "How a node reaches it."),
        Field::expensive("external.servers.connectivity.node_states.node.uuid", Kind::Text, "The node."),
        Field::expensive("external.servers.connectivity.node_states.node.name", Kind::Text, "The node."),
    ],
    lists: &[
        "external.server_ca_certificates",
        "external.servers",
        "external.servers.connectivity.records",
        "external.servers.connectivity.node_states",
    ],
    links: &[
        Link { object: "", href: "/security/key-managers/{uuid}" },
        Link { object: "configuration", href: "/security/key-stores/{configuration.uuid}" },
    ],
};
