//! Installed certificates: of the cluster, and of SVMs.

use std::sync::Arc;

use claviger_store::{Batch, Expect, MAX_RECORD_BYTES, StoreError, Table};
use claviger_wrap::{SvmId, SystemRandom, random_uuid};
use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use uuid::Uuid;

use crate::certificate_error::CertificateError;
use crate::certificate_name::{CertificateKind, CertificateName};
use crate::engine::{Core, Engine};
use crate::keys::Committed;
use crate::private_key::PrivateKey;
use crate::records::svm_keystores::CaCertificate;
use crate::records::{Body, CertificateNameRecord, CertificateRecord, RecordError, RecordName, V1};
use crate::x509::{self, CertificateFacts, Foreign};

/// A certificate to install.
#[derive(Debug)]
pub struct NewCertificate {
    /// The SVM that it is for, or `None` for the cluster.
    pub scope: Option<SvmId>,
    /// Its name, which no other certificate of the scope may have; `None` has one made of common name and serial number.
    pub name: Option<CertificateName>,
    /// What it is for.
    pub kind: CertificateKind,
    /// The certificate.
    pub certificate: CertificateDer<'static>,
    /// The certificates between it and its root.
    pub chain: Vec<CertificateDer<'static>>,
    /// Its private key: needed for the kinds `Client` and `Server`, refused for the others.
    pub private_key: Option<PrivateKey>,
}

/// An installed certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CertificateInfo {
    /// Its UUID.
    pub id: Uuid,
    /// The SVM that it is installed in, or `None` for the cluster.
    pub scope: Option<SvmId>,
    /// Its name in that scope.
    pub name: CertificateName,
    /// What it is for.
    pub kind: CertificateKind,
    /// When it was installed.
    pub created: Timestamp,
    /// The certificate.
    pub certificate: CertificateDer<'static>,
    /// The certificates between it and its root.
    pub chain: Vec<CertificateDer<'static>>,
    /// Whether its private key is here.
    pub has_private_key: bool,
    /// What it says.
    pub facts: CertificateFacts,
}

/// A certificate of a list.
#[derive(Debug)]
pub struct ListedCertificate {
    /// Its UUID.
    pub id: Uuid,
    /// The certificate, or why its record does not tell.
    pub certificate: Result<CertificateInfo, CertificateError>,
}

impl Engine {
    /// Installs a certificate. One of the kind `ServerCa` is trusted from now on, beside the system's authorities, by every outgoing
    /// connection of its scope: what is made of this by live keepers is made anew.
    ///
    /// # Errors
    /// [`CertificateError`]; nothing was installed then, unless the store failed. Where it failed after the commit, no installed authority is
    /// trusted until a certificate of this kind is installed or any is deleted, or the hierarchy is opened again.
    pub fn install_certificate(&self, new: &NewCertificate) -> Result<CertificateInfo, CertificateError> {
        let core = &self.core;
        let facts = checked(new)?;
        let name = new.name.clone().map_or_else(|| generated(&facts), Ok)?;
        let mut record = CertificateRecord {
            version: V1,
            certificate: random_uuid(&mut SystemRandom)?,
            svm: new.scope.map(|svm| svm.uuid()),
            name,
            kind: new.kind,
            created: core.clock.now(),
            der: CaCertificate(new.certificate.to_vec()),
            chain: new.chain.iter().map(|der| CaCertificate(der.to_vec())).collect(),
            private_key: Vec::new(),
        };
        if let Some(key) = &new.private_key {
            record.private_key = record.key_place().seal(key, &core.records.sealing().credentials()?)?;
        }
        let (raw, naming) = (core.records.seal(&record)?, record.naming());
        if raw.len() > MAX_RECORD_BYTES {
            return Err(CertificateError::TooLarge { found: raw.len() });
        }
        let batch = Batch::new()
            .require(Table::Certificates, record.key(), Expect::Absent)
            .require(Table::Certificates, naming.key(), Expect::Absent)
            .put(Table::Certificates, record.key(), raw)
            .put(Table::Certificates, naming.key(), core.records.seal(&naming)?);
        core.put_certificate(new.scope, batch, &record.name)?;
        tracing::info!(certificate = %record.certificate, name = %record.name, kind = %record.kind, "certificate installed");
        if record.kind == CertificateKind::ServerCa {
            core.trust_anew().map_err(RecordError::Store)?;
        }
        Ok(info(record, facts))
    }

    /// All certificates, in the order of their UUIDs. One that is damaged is an error in its place.
    ///
    /// # Errors
    /// [`CertificateError::Records`] where the store fails.
    pub fn certificates(&self) -> Result<Vec<ListedCertificate>, CertificateError> {
        let all = self.core.records.scan::<CertificateRecord>(CertificateRecord::PREFIX).map_err(RecordError::Store)?;
        let listed = |scanned: crate::records::Scanned<CertificateRecord>| {
            let id = CertificateRecord::certificate_of(&scanned.key)?;
            let certificate = scanned.read.map_err(CertificateError::from).and_then(|read| parsed(read.body));
            Some(ListedCertificate { id, certificate })
        };
        Ok(all.into_iter().filter_map(listed).collect())
    }

    /// The certificate with this UUID.
    ///
    /// # Errors
    /// [`CertificateError::Unknown`], [`CertificateError::Damaged`], [`CertificateError::Records`].
    pub fn certificate(&self, certificate: Uuid) -> Result<CertificateInfo, CertificateError> {
        let read = self.core.records.read::<CertificateRecord>(&CertificateRecord::key_of(certificate))?;
        parsed(read.ok_or(CertificateError::Unknown { certificate })?.body)
    }

    /// The certificate of this name in an SVM, or with `None` in the cluster.
    ///
    /// # Errors
    /// [`CertificateError::UnknownName`]; others as [`Engine::certificate`].
    pub fn certificate_named(
        &self,
        scope: Option<SvmId>,
        name: &CertificateName,
    ) -> Result<CertificateInfo, CertificateError> {
        let key = CertificateNameRecord::key_of(scope, name);
        let naming = self.core.records.read::<CertificateNameRecord>(&key)?;
        let naming = naming.ok_or_else(|| CertificateError::UnknownName { name: name.clone() })?;
        match self.certificate(naming.body.certificate) {
            // Deleted meanwhile, or lost.
            Err(CertificateError::Unknown { certificate })
                if self.core.get_certificate(&key)?.as_ref() == Some(&naming.raw) =>
            {
                let name = RecordName::of::<CertificateRecord>(&CertificateRecord::key_of(certificate));
                Err(RecordError::Lost { name }.into())
            }
            Err(CertificateError::Unknown { .. }) => Err(CertificateError::UnknownName { name: name.clone() }),
            found => found,
        }
    }

    /// Deletes a certificate, and its private key with it, also where they are damaged. An authority is trusted no longer, also where this
    /// fails after the commit: then none is trusted that is installed, until it is asked for again.
    ///
    /// # Errors
    /// [`CertificateError::Unknown`]; [`CertificateError::Records`], also where its record and that of its name are both damaged:
    /// nobody knows its scope then.
    pub fn delete_certificate(&self, certificate: Uuid) -> Result<(), CertificateError> {
        let core = &self.core;
        let key = CertificateRecord::key_of(certificate);
        loop {
            let Some(raw) = core.get_certificate(&key)? else {
                // It may be gone since a deletion that could not say who is trusted then.
                core.trust_anew().map_err(RecordError::Store)?;
                return Err(CertificateError::Unknown { certificate });
            };
            let naming = match core.records.open::<CertificateRecord>(&key, raw.clone()) {
                Ok(read) => read.body.naming(),
                Err(error) => core.naming_of(certificate)?.ok_or(error)?,
            };
            match core.commit(core.deletion_of(certificate, raw, &naming)?) {
                Ok(()) => break,
                // Another deletion was faster, or the record was put back.
                Err(RecordError::Store(StoreError::Conflict { .. })) => {}
                Err(error) => return Err(error.into()),
            }
        }
        tracing::info!(%certificate, "certificate deleted");
        core.trust_anew().map_err(RecordError::Store)?;
        Ok(())
    }
}

impl Core {
    /// Commits a certificate. An SVM that is being deleted takes none.
    fn put_certificate(
        &self,
        scope: Option<SvmId>,
        batch: Batch,
        name: &CertificateName,
    ) -> Result<(), CertificateError> {
        let committed = match scope {
            Some(svm) => self.commit_into(&*self.svm(svm)?, &batch, false, |batch| self.commit(batch))?,
            None => match self.commit(batch) {
                Ok(()) => Committed::Done,
                Err(RecordError::Store(StoreError::Conflict { table, key })) => Committed::RecordChanged { table, key },
                Err(error) => return Err(error.into()),
            },
        };
        match committed {
            Committed::Done => Ok(()),
            // Its UUID is new. It may have the name since an installation that could not say who is trusted then.
            Committed::RecordChanged { .. } => {
                self.trust_anew().map_err(RecordError::Store)?;
                Err(CertificateError::NameTaken { name: name.clone() })
            }
        }
    }

    /// A batch that deletes the certificate and its name, whatever these records hold.
    fn deletion_of(
        &self,
        certificate: Uuid,
        raw: Vec<u8>,
        naming: &CertificateNameRecord,
    ) -> Result<Batch, RecordError> {
        let delete = |batch: Batch, key: Vec<u8>, raw| {
            batch.require(Table::Certificates, key.clone(), Expect::Exactly(raw)).delete(Table::Certificates, key)
        };
        let batch = delete(Batch::new(), CertificateRecord::key_of(certificate), raw);
        let key = naming.key();
        let Some(raw) = self.get_certificate(&key)? else { return Ok(batch) };
        Ok(match self.records.open::<CertificateNameRecord>(&key, raw.clone()) {
            // It names another certificate, which keeps it.
            Ok(naming) if naming.body.certificate != certificate => batch,
            Ok(_) | Err(_) => delete(batch, key, raw),
        })
    }

    /// The name of a certificate whose own record is damaged.
    fn naming_of(&self, certificate: Uuid) -> Result<Option<CertificateNameRecord>, RecordError> {
        let all = self.records.scan::<CertificateNameRecord>(CertificateNameRecord::PREFIX)?;
        let mut namings = all.into_iter().filter_map(|scanned| Some(scanned.read.ok()?.body));
        Ok(namings.find(|naming| naming.certificate == certificate))
    }

    fn get_certificate(&self, key: &[u8]) -> Result<Option<Vec<u8>>, RecordError> {
        Ok(self.records.store().get(Table::Certificates, key)?)
    }
}

/// What the certificate says, if it can be installed as what it is to be.
fn checked(new: &NewCertificate) -> Result<CertificateFacts, CertificateError> {
    let kind = new.kind;
    let facts = x509::facts(&new.certificate).ok_or(CertificateError::NotACertificate)?;
    for (at, der) in new.chain.iter().enumerate() {
        x509::facts(der).ok_or(CertificateError::NotAChain { number: at + 1 })?;
    }
    if kind.is_authority() && !facts.is_authority {
        return Err(CertificateError::NotAnAuthority { kind });
    }
    if kind == CertificateKind::ServerCa {
        // One that the TLS library refuses would keep every keeper of its scope from being made.
        x509::as_root(&new.certificate).map_err(|error| CertificateError::NotARoot(Arc::new(error)))?;
    }
    match (&new.private_key, kind.is_authority()) {
        (Some(_), true) => Err(CertificateError::TakesNoPrivateKey { kind }),
        (None, false) => Err(CertificateError::NeedsPrivateKey { kind }),
        (None, true) => Ok(facts),
        (Some(key), false) => match x509::belongs(key, &new.certificate) {
            Ok(()) => Ok(facts),
            Err(Foreign::NoKey) => Err(CertificateError::NotAPrivateKey),
            Err(Foreign::Other(error)) => Err(CertificateError::OtherPrivateKey(error)),
        },
    }
}

/// A name of the common name and the serial number, as far as they make one.
fn generated(facts: &CertificateFacts) -> Result<CertificateName, CertificateError> {
    let common_name = facts.common_name.as_deref().unwrap_or_default();
    let mut name: String = common_name.chars().filter(|letter| !letter.is_control()).collect();
    let room = CertificateName::MAX_LEN.saturating_sub(facts.serial.len() + 1);
    while name.len() > room {
        name.pop();
    }
    let name = format!("{}_{}", name.trim(), facts.serial);
    name.trim_start_matches('_').parse().map_err(|_| CertificateError::NotACertificate)
}

fn parsed(record: CertificateRecord) -> Result<CertificateInfo, CertificateError> {
    let facts = x509::facts(&record.der.0).ok_or(CertificateError::Damaged { certificate: record.certificate })?;
    Ok(info(record, facts))
}

fn info(record: CertificateRecord, facts: CertificateFacts) -> CertificateInfo {
    let scope = record.scope();
    let CertificateRecord { version: _, certificate: id, svm: _, name, kind, created, der, chain, private_key } =
        record;
    let der_of = |der: CaCertificate| CertificateDer::from(der.0);
    CertificateInfo {
        id,
        scope,
        name,
        kind,
        created,
        certificate: der_of(der),
        chain: chain.into_iter().map(der_of).collect(),
        has_private_key: !private_key.is_empty(),
        facts,
    }
}
