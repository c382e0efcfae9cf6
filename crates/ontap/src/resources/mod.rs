//! The collections and actions of the API, one module each.

mod actions;
mod barbican;
mod certificates;
mod cluster;
mod key_ids;
mod key_manager_configs;
mod key_managers;
mod key_stores;
mod later;
mod nodes;
mod passphrase;
mod running_jobs;
mod svms;
mod volumes;

use crate::endpoint::Endpoint;

/// The tables of all endpoints.
pub(crate) const TABLES: &[&[Endpoint]] = &[
    barbican::ENDPOINTS,
    key_managers::ENDPOINTS,
    actions::ENDPOINTS,
    key_ids::ENDPOINTS,
    key_stores::ENDPOINTS,
    key_manager_configs::ENDPOINTS,
    certificates::ENDPOINTS,
    cluster::ENDPOINTS,
    nodes::ENDPOINTS,
    running_jobs::ENDPOINTS,
    svms::ENDPOINTS,
    volumes::ENDPOINTS,
    later::ENDPOINTS,
];
