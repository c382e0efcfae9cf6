//! References to an SVM: by name, by UUID, or both where they agree (conventions, sections 6 and 10).

use claviger::SvmInfo;
use uuid::Uuid;

use super::body::Body;
use super::filter::Filters;
use crate::codes;
use crate::problem::Problem;
use crate::service::Service;

/// The SVM that a body names, if it names one.
pub(crate) fn svm(service: &Service, body: &Body) -> Result<Option<SvmInfo>, Problem> {
    let (name, uuid) = (body.text("svm.name"), body.text("svm.uuid"));
    let by_name = name.map(|name| svm_named(service, name)).transpose()?;
    let by_uuid = uuid.map(|uuid| svm_with_uuid(service, uuid)).transpose()?;
    match (by_name, by_uuid) {
        (Some(a), Some(b)) if a.id() != b.id() => {
            Err(codes::invalid("svm", "\"svm.name\" and \"svm.uuid\" are of different SVMs."))
        }
        (by_name, by_uuid) => Ok(by_name.or(by_uuid)),
    }
}

/// The SVM that a body must name.
pub(crate) fn required_svm(service: &Service, body: &Body) -> Result<SvmInfo, Problem> {
    svm(service, body)?.ok_or_else(|| codes::invalid("svm", "The field \"svm.name\" or \"svm.uuid\" is missing."))
}

/// Filters by an SVM: its name must be one's, and the admin SVM stands for the cluster, whose records name no SVM.
pub(crate) fn resolved(service: &Service, filters: Filters) -> Result<Filters, Problem> {
    let by_name = filters.only("svm.name").map(|name| svm_named(service, name)).transpose()?;
    let by_uuid = filters.only("svm.uuid").and_then(|uuid| svm_with_uuid(service, uuid).ok());
    let filters = if by_name.is_some_and(|svm| svm.is_admin()) { filters.unset("svm.name") } else { filters };
    Ok(if by_uuid.is_some_and(|svm| svm.is_admin()) { filters.unset("svm.uuid") } else { filters })
}

/// The admin SVM goes by the cluster's name.
fn svm_named(service: &Service, name: &str) -> Result<SvmInfo, Problem> {
    // The engine takes a UUID for a name, too.
    let svm = service.engine.svm_named(name).ok();
    svm.filter(|svm| svm.name().is_some_and(|known| known.as_str() == name)).ok_or_else(|| unknown(name))
}

fn svm_with_uuid(service: &Service, uuid: &str) -> Result<SvmInfo, Problem> {
    let id = Uuid::parse_str(uuid).map_err(|_| codes::invalid("svm.uuid", "\"svm.uuid\" is no UUID."))?;
    service.engine.svm(id.into()).map_err(|_| unknown(uuid))
}

fn unknown(name: &str) -> Problem {
    codes::missing(format!("SVM \"{name}\" does not exist.")).about("svm")
}
