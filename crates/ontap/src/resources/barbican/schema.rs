//! The fields of a Barbican configuration.

use crate::schema::{Field, Kind, Link, Schema};

pub(super) static SCHEMA: Schema = Schema {
    name: "barbican",
    fields: &[
        Field::key("uuid", Kind::Text, "The configuration's UUID."),
        Field::key("configuration.name", Kind::Text, "Its name, unique in its SVM.").post(),
        Field::key("configuration.uuid", Kind::Text, "The keystore's UUID, which is the configuration's."),
        Field::standard("svm.uuid", Kind::Text, "The SVM's UUID.").post(),
        Field::standard("svm.name", Kind::Text, "The SVM's name.").post(),
        Field::standard("scope", Kind::OneOf(&["svm", "cluster"]), "Whose it is; always an SVM's."),
        Field::standard("enabled", Kind::Boolean, "Whether it is the enabled one of its SVM."),
        Field::standard("key_id", Kind::Text, "The https URL of the secret that is the top-level key.").post(),
        Field::standard("keystone_url", Kind::Text, "The https URL of Keystone's tokens.").post(),
        Field::standard("application_cred_id", Kind::Text, "The id of the application credential.").post().patch(),
        Field::hidden("application_cred_secret", Kind::Secret, "The secret of the application credential.")
            .post()
            .patch(),
        Field::standard("proxy_type", Kind::OneOf(&["http", "https"]), "How the proxy is spoken to.").post().patch(),
        Field::standard("proxy_host", Kind::Text, "The proxy's host; empty where there is none.").post().patch(),
        Field::standard("proxy_port", Kind::Integer, "The proxy's port.").post().patch(),
        Field::standard("proxy_username", Kind::Text, "The user that the proxy lets through.").post().patch(),
        Field::hidden("proxy_password", Kind::Secret, "The proxy's password.").post().patch(),
        Field::standard("verify", Kind::Boolean, "Whether certificates are checked.").post().patch(),
        Field::standard("verify_host", Kind::Boolean, "Whether certificates must name the host.").post().patch(),
        Field::standard("timeout", Kind::Integer, "The limit of one call to Barbican, in seconds.").post().patch(),
        Field::expensive("barbican_reachability.reachable", Kind::Boolean, "Whether every node reaches Barbican."),
        Field::expensive("barbican_reachability.message", Kind::Text, "Why not."),
        Field::expensive("barbican_reachability.code", Kind::Text, "\"0\", or the code of what is wrong."),
        Field::expensive("state.cluster_state", Kind::Boolean, "Whether the SVM's KEK is in every node's memory."),
        Field::expensive("state.message", Kind::Text, "Why not."),
        Field::expensive("state.code", Kind::Text, "\"0\", or the code of what is wrong."),
    ],
    lists: &[],
    links: &[
        Link { object: "", href: "/security/barbican-kms/{uuid}" },
        Link { object: "configuration", href: "/security/key-stores/{configuration.uuid}" },
        Link { object: "svm", href: "/svm/svms/{svm.uuid}" },
    ],
};
