//! What is particular to one collection.

pub(crate) mod certificates;
mod key_ids;
mod key_managers;
mod key_stores;
mod volumes;
