//! POST: a certificate is installed.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use claviger::{
    CertificateDer, CertificateKind, InvalidCertificateName, NewCertificate, PrivateKey, certificates_from_pem,
};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject as _;

use super::{COLLECTION, of_certificate};
use crate::call::{Call, instance};
use crate::codes;
use crate::conventions::answer::Answer;
use crate::conventions::body::Body;
use crate::conventions::query::Query;
use crate::conventions::references;
use crate::problem::Problem;

const PUBLIC: &str = "public_certificate";
const CHAIN: &str = "intermediate_certificates";
const KEY: &str = "private_key";
/// What a certificate says itself: given where one is to be made.
const SAID: [&str; 4] = ["common_name", "expiry_time", "key_size", "hash_function"];

pub(super) fn run(call: &Call<'_>, _: &mut Query, body: &Body) -> Result<Answer, Problem> {
    let engine = &call.service.engine;
    let svm = references::svm(call.service, body)?.filter(|svm| !svm.is_admin()).map(|svm| svm.id());
    match (body.text("scope"), svm) {
        (Some("svm"), None) => {
            return Err(codes::invalid("svm", "The scope \"svm\" needs \"svm.name\" or \"svm.uuid\"."));
        }
        (Some("cluster"), Some(_)) => {
            return Err(codes::invalid("scope", "A certificate of an SVM has the scope \"svm\"."));
        }
        _ => {}
    }
    let kind = match body.required("type")? {
        "client" => CertificateKind::Client,
        "server" => CertificateKind::Server,
        "client_ca" => CertificateKind::ClientCa,
        "server_ca" => CertificateKind::ServerCa,
        _ => CertificateKind::RootCa,
    };
    let Some(public) = body.text(PUBLIC) else {
        return Err(codes::unsupported("Certificates are installed here, and not made: give \"public_certificate\"."));
    };
    if let Some(said) = SAID.into_iter().find(|said| body.gives(said)) {
        return Err(codes::invalid(said, format!("\"{said}\" is what the certificate says; leave it out.")));
    }
    let name = body.text("name").map(str::parse).transpose();
    let name = name.map_err(|error: InvalidCertificateName| codes::invalid("name", error.to_string()))?;
    let chain = body.texts(CHAIN).into_iter().map(|text| one(text, CHAIN)).collect::<Result<_, _>>()?;
    let new = NewCertificate {
        scope: svm,
        name,
        kind,
        certificate: one(public, PUBLIC)?,
        chain,
        private_key: body.text(KEY).map(|text| private_key(call, text)).transpose()?,
    };
    let certificate = engine.install_certificate(&new).map_err(|error| of_certificate(&error))?;
    Ok(Answer::created(instance(COLLECTION, certificate.id)))
}

/// The one certificate of a PEM text.
fn one(text: &str, field: &str) -> Result<CertificateDer<'static>, Problem> {
    let refused = || codes::invalid(field, format!("\"{field}\" must be one certificate in PEM."));
    let found = certificates_from_pem(text.as_bytes()).map_err(|_| refused())?;
    match <[CertificateDer<'static>; 1]>::try_from(found) {
        Ok([certificate]) => Ok(certificate),
        Err(_) => Err(refused()),
    }
}

fn private_key(call: &Call<'_>, text: &str) -> Result<PrivateKey, Problem> {
    // What the library says of the text may quote it.
    let refused = || codes::invalid(KEY, "\"private_key\" must be one private key in PEM, without a passphrase.");
    let key = PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|_| refused())?;
    let arena = call.service.engine.arena();
    PrivateKey::copy_from(arena, key.secret_der()).map_err(|error| codes::invalid(KEY, error.to_string()))
}

/// A certificate in PEM.
pub(super) fn pem(certificate: &CertificateDer<'_>) -> String {
    let text = STANDARD.encode(certificate);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}
