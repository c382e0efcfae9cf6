//! `/security/certificates`: installed certificates, of the cluster and of SVMs.

mod install;
mod schema;

use claviger::{CertificateError, CertificateInfo, Engine, ListedCertificate, SignatureHash};

use self::schema::SCHEMA;
use super::running_jobs::time;
use crate::call::Call;
use crate::codes;
use crate::conventions::answer::Answer;
use crate::conventions::body::{Body, Verb};
use crate::conventions::filter::Filters;
use crate::conventions::query::Query;
use crate::endpoint::{Change, Does, Endpoint, always};
use crate::problem::Problem;
use crate::record::Record;
use crate::resource::{Resource, Row, few};
use crate::schema::Schema;

const COLLECTION: &str = "/security/certificates";

struct Certificates;

impl Resource for Certificates {
    fn schema(&self) -> &'static Schema {
        &SCHEMA
    }

    fn rows(&self, call: &Call<'_>, _: &Filters, after: Option<&str>, limit: usize) -> Result<Vec<Row>, Problem> {
        let engine = &call.service.engine;
        let all = engine.certificates().map_err(|error| of_certificate(&error))?;
        let shown = |listed: &ListedCertificate| Some(record(engine, listed.certificate.as_ref().ok()?));
        Ok(few(all, |listed| listed.id.to_string(), after, limit, shown))
    }

    fn one(&self, call: &Call<'_>) -> Result<Record, Problem> {
        let engine = &call.service.engine;
        let certificate = engine.certificate(call.uuid("uuid")?).map_err(|error| of_certificate(&error))?;
        Ok(record(engine, &certificate))
    }
}

fn record(engine: &Engine, certificate: &CertificateInfo) -> Record {
    let CertificateInfo { id, scope, name, kind, certificate, facts, .. } = certificate;
    let svm = scope.and_then(|svm| engine.svm(svm).ok());
    Record::new()
        .with("uuid", id.to_string())
        .with("name", name.to_string())
        .with("type", kind.as_str())
        .with("public_certificate", install::pem(certificate))
        .with_some("common_name", facts.common_name.clone())
        .with("expiry_time", time(facts.not_after))
        .with_some("key_size", Some(facts.key_bits).filter(|bits| *bits != 0))
        .with_some("hash_function", facts.hash.map(SignatureHash::as_str))
        .with("serial_number", facts.serial.clone())
        .with_some("ca", facts.issuer_common_name.clone())
        .with_some("authority_key_identifier", facts.authority_key_id.clone())
        .with_some("subject_key_identifier", facts.subject_key_id.clone())
        .with("scope", if scope.is_some() { "svm" } else { "cluster" })
        .with_some("svm.uuid", scope.map(|svm| svm.to_string()))
        .with_some("svm.name", svm.and_then(|svm| svm.name().map(ToString::to_string)))
}

fn of_certificate(error: &CertificateError) -> Problem {
    match error {
        CertificateError::UnknownSvm { .. }
        | CertificateError::Unknown { .. }
        | CertificateError::UnknownName { .. } => codes::missing_entry(),
        CertificateError::NameTaken { .. } => codes::exists(error.to_string()).about("name"),
        CertificateError::NotACertificate
        | CertificateError::NotAnAuthority { .. }
        | CertificateError::NotARoot(_)
        | CertificateError::TooLarge { .. } => codes::invalid("public_certificate", codes::chain(error)),
        CertificateError::NotAChain { .. } => codes::invalid("intermediate_certificates", error.to_string()),
        CertificateError::NeedsPrivateKey { .. }
        | CertificateError::TakesNoPrivateKey { .. }
        | CertificateError::NotAPrivateKey
        | CertificateError::OtherPrivateKey(_) => codes::invalid("private_key", error.to_string()),
        CertificateError::Svm(error) => codes::of_key(error),
        error => codes::failed(codes::chain(error)),
    }
}

fn delete(call: &Call<'_>, _: &mut Query, _: &Body) -> Result<Answer, Problem> {
    let id = call.uuid("uuid")?;
    call.service.engine.delete_certificate(id).map_err(|error| of_certificate(&error))?;
    Ok(Answer::changed())
}

/// One that is damaged can be deleted all the same.
fn exists(call: &Call<'_>) -> Result<(), Problem> {
    match call.service.engine.certificate(call.uuid("uuid")?) {
        Err(error @ CertificateError::Unknown { .. }) => Err(of_certificate(&error)),
        _ => Ok(()),
    }
}

static INSTALL: Change = Change {
    exists: always,
    parameters: &[],
    body: Some((&SCHEMA, Verb::Post)),
    run: install::run,
    creates: Some(&Certificates),
};

static DELETE: Change = Change { exists, parameters: &[], body: None, run: delete, creates: None };

pub(crate) const ENDPOINTS: &[Endpoint] = &[
    Endpoint {
        method: "GET",
        path: COLLECTION,
        summary: "Lists the installed certificates.",
        does: Does::List(&Certificates),
    },
    Endpoint {
        method: "POST",
        path: COLLECTION,
        summary: "Installs a certificate; one of an authority is trusted by the connections of its scope.",
        does: Does::Change(&INSTALL),
    },
    Endpoint {
        method: "DELETE",
        path: COLLECTION,
        summary: "Deletes every certificate that the filters select.",
        does: Does::Each { resource: &Certificates, change: &DELETE, key: "uuid" },
    },
    Endpoint {
        method: "GET",
        path: "/security/certificates/{uuid}",
        summary: "Shows a certificate.",
        does: Does::Show(&Certificates),
    },
    Endpoint {
        method: "DELETE",
        path: "/security/certificates/{uuid}",
        summary: "Deletes a certificate, and its private key with it.",
        does: Does::Change(&DELETE),
    },
];
