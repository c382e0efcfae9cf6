//! Keystores at a Barbican, as the arguments describe them.

use std::path::Path;

use claviger::certificates_from_pem;

use crate::args::{BarbicanArgs, BarbicanChanges, CredentialSource, ProxyArg, ProxyPassword};
use crate::failure::Failure;
use crate::request::{BarbicanChange, Certificate, NewBarbican, ProxyChange};
use crate::secret::{Secret, Source, Sources};

pub(super) fn new(args: BarbicanArgs, sources: &mut Sources) -> Result<NewBarbican, Failure> {
    let BarbicanArgs { svm, name, key_id, keystone_url, credential_id, credential, proxy, proxy_password, .. } = args;
    take_sources(sources, credential, proxy_password, proxy.as_ref())?;
    Ok(NewBarbican {
        svm: svm.svm,
        name,
        key_id,
        keystone_url,
        credential_id,
        proxy,
        ca: args.ca.as_deref().map(certificates).transpose()?.unwrap_or_default(),
        timeout_seconds: args.timeout,
        verify: !args.danger_no_verify,
        verify_host: !args.danger_no_verify_host,
    })
}

pub(super) fn change(changes: BarbicanChanges, sources: &mut Sources) -> Result<BarbicanChange, Failure> {
    let BarbicanChanges { credential_id, credential, proxy, proxy_password, no_proxy, ca, no_ca, .. } = changes;
    take_sources(sources, credential, proxy_password, proxy.as_ref())?;
    Ok(BarbicanChange {
        credential_id,
        proxy: proxy.map(ProxyChange::Through).or(no_proxy.then_some(ProxyChange::Direct)),
        ca: match ca {
            Some(file) => Some(certificates(&file)?),
            None => no_ca.then(Vec::new),
        },
        timeout_seconds: changes.timeout,
        verify: either(changes.verify, changes.danger_no_verify),
        verify_host: either(changes.verify_host, changes.danger_no_verify_host),
    })
}

fn take_sources(
    sources: &mut Sources,
    credential: CredentialSource,
    password: ProxyPassword,
    proxy: Option<&ProxyArg>,
) -> Result<(), Failure> {
    sources.credential = Source::new(Secret::Credential, credential.credential_file, credential.credential_fd)?;
    let ProxyPassword { proxy_password_file, proxy_password_fd } = password;
    sources.proxy_password = Source::new(Secret::ProxyPassword, proxy_password_file, proxy_password_fd)?;
    match (proxy, &sources.proxy_password) {
        (Some(ProxyArg { user: None, .. }), Source::File(_) | Source::Descriptor { .. }) => {
            let message = "a password for the proxy was given, and --proxy names no user: write http://user@host:port";
            Err(Failure::Usage { message: message.to_owned() })
        }
        _ => Ok(()),
    }
}

/// Of two flags that exclude each other, which one was given.
const fn either(on: bool, off: bool) -> Option<bool> {
    match (on, off) {
        (true, _) => Some(true),
        (false, true) => Some(false),
        (false, false) => None,
    }
}

fn certificates(file: &Path) -> Result<Vec<Certificate>, Failure> {
    let read = |source| Failure::File { action: "read certificates from", path: file.to_owned(), source };
    let text = std::fs::read(file).map_err(read)?;
    let found = certificates_from_pem(&text);
    let found = found.map_err(|source| Failure::Certificates { path: file.to_owned(), source })?;
    Ok(found.iter().map(|certificate| Certificate(certificate.to_vec())).collect())
}
