//! `/cluster`: the name that stands for the admin SVM, and the version that clients look at.

use crate::call::Call;
use crate::codes;
use crate::conventions::filter::Filters;
use crate::endpoint::{Does, Endpoint};
use crate::problem::Problem;
use crate::record::Record;
use crate::resource::{Resource, Row};
use crate::schema::{Field, Kind, Link, Schema};

static SCHEMA: Schema = Schema {
    name: "cluster",
    fields: &[
        Field::standard("name", Kind::Text, "The cluster's name, which is the admin SVM's."),
        Field::standard("uuid", Kind::Text, "The hierarchy's UUID."),
        Field::standard("version.full", Kind::Text, "The effective cluster version, as a sentence."),
        Field::standard("version.generation", Kind::Integer, "Its first number."),
        Field::standard("version.major", Kind::Integer, "Its second number."),
        Field::standard("version.minor", Kind::Integer, "Its third number."),
    ],
    lists: &[],
    links: &[Link { object: "", href: "/cluster" }],
};

struct Cluster;

impl Resource for Cluster {
    fn schema(&self) -> &'static Schema {
        &SCHEMA
    }

    fn rows(&self, _: &Call<'_>, _: &Filters, _: Option<&str>, _: usize) -> Result<Vec<Row>, Problem> {
        Ok(Vec::new())
    }

    fn one(&self, call: &Call<'_>) -> Result<Record, Problem> {
        let engine = &call.service.engine;
        let admin = call.service.admin().ok_or_else(codes::internal)?;
        let (uuid, _) = engine.identity().ok_or_else(codes::internal)?;
        let name = admin.name().map(ToString::to_string);
        let record = Record::new().with_some("name", name).with("uuid", uuid.to_string());
        let claviger::Fact::Known(version) = engine.facts().cluster.version else { return Ok(record) };
        Ok(record
            .with("version.full", format!("NetApp Release {version}: claviger {}", env!("CARGO_PKG_VERSION")))
            .with("version.generation", version.generation())
            .with("version.major", version.major())
            .with("version.minor", version.minor()))
    }
}

pub(crate) const ENDPOINTS: &[Endpoint] = &[Endpoint {
    method: "GET",
    path: "/cluster",
    summary: "Shows the cluster: its name and version.",
    does: Does::Show(&Cluster),
}];
