//! The authorities that are trusted by outgoing connections, beside the system's: installed certificates of the kind
//! `server_ca`, of the cluster and of each SVM. In memory, so that a keeper is made without reading the store.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use claviger_store::StoreError;
use claviger_wrap::SvmId;

use crate::certificate_name::CertificateKind;
use crate::engine::Core;
#[cfg(feature = "certificates")]
use crate::live_keystores::Keystores;
use crate::records::CertificateRecord;

/// By scope: `None` is the cluster. DER.
type ByScope = BTreeMap<Option<SvmId>, Vec<Vec<u8>>>;

/// The authorities.
#[derive(Default)]
pub(crate) struct Authorities {
    by_scope: ArcSwap<ByScope>,
    /// Held while they are read, and until no keeper trusts others: whoever reads last has seen what was committed last.
    reading: Mutex<()>,
}

impl Authorities {
    fn reading(&self) -> MutexGuard<'_, ()> {
        self.reading.lock().unwrap_or_else(PoisonError::into_inner)
    }

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
        let _reading = self.authorities.reading();
        self.authorities.by_scope.store(Arc::new(self.read_authorities()?));
        Ok(())
    }

    /// Has what is installed now be trusted, and nothing else: by keepers that are made anew when they are needed next, where that is not
    /// what was trusted before. What they are asked at this moment goes on. Where it cannot be read, none is trusted.
    #[cfg(feature = "certificates")]
    pub(crate) fn trust_anew(&self) -> Result<(), StoreError> {
        let _reading = self.authorities.reading();
        let read = self.read_authorities();
        let now = read.as_ref().map_or_else(|_| ByScope::new(), Clone::clone);
        if *self.authorities.by_scope.load_full() != now {
            self.authorities.by_scope.store(Arc::new(now));
            for svm in self.live.svms().values() {
                if let Keystores::There(there) = svm.keystores.load().as_ref() {
                    there.forget_keepers();
                }
            }
        }
        read.map(drop)
    }

    fn read_authorities(&self) -> Result<ByScope, StoreError> {
        let mut by_scope = ByScope::new();
        for scanned in self.records.scan::<CertificateRecord>(CertificateRecord::PREFIX)? {
            match scanned.read {
                Ok(read) if read.body.kind == CertificateKind::ServerCa => {
                    by_scope.entry(read.body.scope()).or_default().push(read.body.der.0);
                }
                Ok(_) => {}
                Err(error) => tracing::error!(%error, "the record of a certificate does not open: it is not trusted"),
            }
        }
        Ok(by_scope)
    }
}
