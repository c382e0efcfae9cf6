//! The authorities that are trusted by outgoing connections, beside the system's: installed certificates of the kind
//! `server_ca`, of the cluster and of each SVM. In memory, so that a keeper is made without reading the store.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use claviger_store::StoreError;
use claviger_wrap::SvmId;

use crate::certificate_name::CertificateKind;
use crate::engine::Core;
#[cfg(feature = "certificates")]
use crate::live_keystores::Keystores;
use crate::records::CertificateRecord;

/// The authorities by scope: `None` is the cluster. DER.
#[derive(Default)]
pub(crate) struct Authorities {
    by_scope: ArcSwap<BTreeMap<Option<SvmId>, Vec<Vec<u8>>>>,
    /// Held while they are read: whoever reads last has seen what was committed last.
    reading: Mutex<()>,
}

impl Authorities {
    /// Whether this SVM trusts some that others do not.
    pub(crate) fn has_own(&self, svm: SvmId) -> bool {
        self.by_scope.load().contains_key(&Some(svm))
    }

    /// Those that connections of this SVM trust.
    #[cfg(feature = "barbican")]
    pub(crate) fn of(&self, svm: SvmId) -> Vec<Vec<u8>> {
        let by_scope = self.by_scope.load();
        [None, Some(svm)].iter().filter_map(|scope| by_scope.get(scope)).flatten().cloned().collect()
    }
}

impl Core {
    /// Reads them. One whose record does not open is not trusted; verification names it.
    pub(crate) fn load_authorities(&self) -> Result<(), StoreError> {
        let _reading = self.authorities.reading.lock().unwrap_or_else(PoisonError::into_inner);
        let mut by_scope = BTreeMap::<_, Vec<_>>::new();
        for scanned in self.records.scan::<CertificateRecord>(CertificateRecord::PREFIX)? {
            match scanned.read {
                Ok(read) if read.body.kind == CertificateKind::ServerCa => {
                    by_scope.entry(read.body.scope()).or_default().push(read.body.der.0);
                }
                Ok(_) => {}
                Err(error) => tracing::error!(%error, "the record of a certificate does not open: it is not trusted"),
            }
        }
        self.authorities.by_scope.store(Arc::new(by_scope));
        Ok(())
    }

    /// Has what is installed now be trusted, and nothing else: by keepers that are made anew when they are needed next. What they
    /// are asked at this moment goes on.
    #[cfg(feature = "certificates")]
    pub(crate) fn trust_anew(&self) -> Result<(), StoreError> {
        self.load_authorities()?;
        for svm in self.live.svms().values() {
            if let Keystores::There(there) = svm.keystores.load().as_ref() {
                there.forget_keepers();
            }
        }
        Ok(())
    }
}
