//! `/cluster/nodes`: the node that this process is.

use crate::call::Call;
use crate::codes;
use crate::conventions::filter::Filters;
use crate::endpoint::{Does, Endpoint};
use crate::problem::Problem;
use crate::record::Record;
use crate::resource::{Resource, Row, few};
use crate::schema::{Field, Kind, Link, Schema};

static SCHEMA: Schema = Schema {
    name: "node",
    fields: &[
        Field::key("uuid", Kind::Text, "The node's UUID."),
        Field::key("name", Kind::Text, "Its host name."),
        Field::standard("state", Kind::OneOf(&["up"]), "Whether it serves."),
    ],
    lists: &[],
    links: &[Link { object: "", href: "/cluster/nodes/{uuid}" }],
};

struct Nodes;

impl Resource for Nodes {
    fn schema(&self) -> &'static Schema {
        &SCHEMA
    }

    fn rows(&self, call: &Call<'_>, _: &Filters, after: Option<&str>, limit: usize) -> Result<Vec<Row>, Problem> {
        let node = &call.service.node;
        Ok(few([()], |()| node.uuid.to_string(), after, limit, |()| Some(record(call))))
    }

    fn one(&self, call: &Call<'_>) -> Result<Record, Problem> {
        match call.uuid("uuid")? == call.service.node.uuid {
            true => Ok(record(call)),
            false => Err(codes::missing_entry()),
        }
    }
}

fn record(call: &Call<'_>) -> Record {
    let node = &call.service.node;
    Record::new().with("uuid", node.uuid.to_string()).with("name", node.name.clone()).with("state", "up")
}

pub(crate) const ENDPOINTS: &[Endpoint] = &[
    Endpoint { method: "GET", path: "/cluster/nodes", summary: "Lists the nodes.", does: Does::List(&Nodes) },
    Endpoint { method: "GET", path: "/cluster/nodes/{uuid}", summary: "Shows a node.", does: Does::Show(&Nodes) },
];
