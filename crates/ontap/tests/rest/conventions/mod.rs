//! What all of the API has in common, each convention once.

mod bodies;
mod each;
mod fields;
mod filters;
mod jobs;
mod links;
mod methods;
mod order;
mod order_of_checks;
mod paging;
mod roles;
mod waiting;
