//! Installed certificates: a certificate's record and that of its name point at each other, its private key opens, and it is what
//! it says.

use claviger_wrap::{OpenSecretError, SvmId};
use uuid::Uuid;

use super::objects::{Found, Objects, Seen};
use super::report::Problem;
use crate::certificate_name::CertificateName;
use crate::key_error::KeyError;
use crate::records::{CertificateNameRecord, CertificateRecord, RecordName, SvmRecord};

impl Objects<'_> {
    pub(super) fn certificate(&self, certificate: Uuid, seen: &mut Vec<Seen>) -> Result<Found, KeyError> {
        let key = CertificateRecord::key_of(certificate);
        let record = match self.open::<CertificateRecord>(&key, seen)? {
            Ok(Some(record)) => record,
            Ok(None) => return Ok(None),
            Err(found) => return Ok(found),
        };
        let here = RecordName::of::<CertificateRecord>(&key);
        if let Some(svm) = record.scope()
            && self.core.live.svm(svm).is_none()
            && self.get(&RecordName::of::<SvmRecord>(&SvmRecord::key_of(svm)), seen)?.is_none()
        {
            let detail = format!("its SVM {svm} does not exist; delete the certificate");
            return Ok(Some((here, Problem::Inconsistent, detail)));
        }
        let naming = record.naming();
        let name = CertificateNameRecord::key_of(record.scope(), &record.name);
        match self.open::<CertificateNameRecord>(&name, seen)? {
            Ok(None) => {
                let detail = format!(
                    "certificate {certificate} has this name: another could take it too; put the record back from a copy"
                );
                return Ok(Some((RecordName::of::<CertificateNameRecord>(&name), Problem::Missing, detail)));
            }
            Ok(Some(there)) if there != naming => {
                let detail = format!("its name belongs to certificate {}; delete one of them", there.certificate);
                return Ok(Some((here, Problem::Inconsistent, detail)));
            }
            // Its own finding is made in its turn.
            Ok(Some(_)) | Err(_) => {}
        }
        Ok(self.contents(&record)?.map(|(problem, detail)| (here, problem, detail.to_owned())))
    }

    /// What is wrong inside a certificate's record.
    fn contents(&self, record: &CertificateRecord) -> Result<Option<(Problem, &'static str)>, KeyError> {
        if record.kind.is_authority() != record.private_key.is_empty() {
            return Ok(Some((
                Problem::Inconsistent,
                "its kind and its private key contradict each other; install it again",
            )));
        }
        match record.key_place().open(&record.private_key, &self.core.records.sealing().credentials()?) {
            Ok(_) => {}
            Err(OpenSecretError::Arena(full)) => return Err(full.into()),
            Err(_) => {
                return Ok(Some((Problem::Damaged, "its private key does not open; put the record back from a copy")));
            }
        }
        #[cfg(feature = "certificates")]
        if crate::x509::facts(&record.der.0).is_none() {
            return Ok(Some((Problem::Damaged, "it holds no certificate; put the record back from a copy")));
        }
        Ok(None)
    }

    pub(super) fn certificate_name(
        &self,
        scope: Option<SvmId>,
        name: &CertificateName,
        seen: &mut Vec<Seen>,
    ) -> Result<Found, KeyError> {
        let key = CertificateNameRecord::key_of(scope, name);
        let naming = match self.open::<CertificateNameRecord>(&key, seen)? {
            Ok(Some(naming)) => naming,
            Ok(None) => return Ok(None),
            Err(found) => return Ok(found),
        };
        let certificate = CertificateRecord::key_of(naming.certificate);
        Ok(match self.open::<CertificateRecord>(&certificate, seen)? {
            Ok(None) => {
                let detail = format!("\"{}\" names this certificate; put its record back from a copy", naming.name);
                Some((RecordName::of::<CertificateRecord>(&certificate), Problem::Missing, detail))
            }
            Ok(Some(record)) if record.naming() != naming => {
                let detail =
                    format!("certificate {} has another name: nobody else can take this one", record.certificate);
                Some((RecordName::of::<CertificateNameRecord>(&key), Problem::Inconsistent, detail))
            }
            Ok(Some(_)) | Err(_) => None,
        })
    }
}
