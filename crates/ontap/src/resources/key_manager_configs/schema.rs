//! The fields of the options.

use claviger::{HealthMonitorPolicies, HealthMonitorPolicy};

use crate::schema::{Field, Kind, Link, Schema};

/// One kind's policy among all.
type PolicyOf = fn(&mut HealthMonitorPolicies) -> &mut HealthMonitorPolicy;

/// The kinds of key managers, as the contract names them.
pub(super) const POLICIES: [(&str, PolicyOf); 7] = [
    ("okm", |all| &mut all.okm),
    ("kmip", |all| &mut all.kmip),
    ("akv", |all| &mut all.akv),
    ("aws", |all| &mut all.aws),
    ("gcp", |all| &mut all.gcp),
    ("ikp", |all| &mut all.ikp),
    ("barbican", |all| &mut all.barbican),
];

/// The two fields of a kind's policy.
macro_rules! policy {
    ($kind:literal) => {
        [
            Field::standard(
                concat!("health_monitor_policy.", $kind, ".enabled"),
                Kind::Boolean,
                "Whether key managers of this kind are watched.",
            )
            .patch(),
            Field::standard(
                concat!("health_monitor_policy.", $kind, ".manage_volume_offline"),
                Kind::Boolean,
                "Whether volumes are taken offline when their key manager is lost.",
            )
            .patch(),
        ]
    };
}

pub(super) static SCHEMA: Schema = Schema {
    name: "key_manager_config",
    fields: &[
        Field::standard(
            "cc_mode_enabled",
            Kind::Boolean,
            "Whether the onboard key manager is in Common Criteria mode.",
        )
        .patch(),
        Field::hidden("passphrase", Kind::Secret, "The cluster's passphrase, for a change of that mode.").patch(),
        Field::standard("health_monitor_polling_interval", Kind::Integer, "Minutes between two looks: 15 to 30.")
            .patch(),
        Field::standard("cloud_kms_retry_count", Kind::Integer, "How often a key manager is asked again: 0 to 10.")
            .patch(),
        policy!("okm")[0],
        policy!("okm")[1],
        policy!("kmip")[0],
        policy!("kmip")[1],
        policy!("akv")[0],
        policy!("akv")[1],
        policy!("aws")[0],
        policy!("aws")[1],
        policy!("gcp")[0],
        policy!("gcp")[1],
        policy!("ikp")[0],
        policy!("ikp")[1],
        policy!("barbican")[0],
        policy!("barbican")[1],
    ],
    lists: &[],
    links: &[Link { object: "", href: "/security/key-manager-configs" }],
};
