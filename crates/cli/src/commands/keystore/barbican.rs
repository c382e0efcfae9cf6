//! Keystores at a Barbican, as the arguments describe them.

use std::path::Path;
use std::time::Duration;

use claviger::{
    BarbicanSettings, BarbicanUpdate, CertificateDer, Credential, Proxy, ProxyUser, Site, certificates_from_pem,
};

use super::{KeystoreView, resolve};
use crate::args::{BarbicanArgs, BarbicanChanges, CredentialSource, KeystoreArg, ProxyArg, ProxyPassword};
use crate::failure::Failure;
use crate::secret::{Secret, Source};
use crate::session::Session;

pub(super) fn create(session: &Session, args: BarbicanArgs) -> Result<(), Failure> {
    let BarbicanArgs { svm, name, key_id, keystone_url, credential_id, credential, proxy, .. } = args;
    let credential = credential_source(credential)?;
    let password = password_source(args.proxy_password)?;
    let engine = session.open_offline()?;
    let svm = engine.svm_named(&svm.svm)?;
    let settings = BarbicanSettings {
        key: key_id,
        site: Site {
            keystone: keystone_url,
            proxy: proxy.map(|proxy| with_password(session, proxy, &password)).transpose()?,
            verify: !args.danger_no_verify,
            verify_host: !args.danger_no_verify_host,
            extra_roots: args.ca.as_deref().map(certificates).transpose()?.unwrap_or_default(),
            timeout: Duration::from_secs(args.timeout.into()),
        },
        credential: with_secret(session, credential_id, &credential)?,
    };
    let keystore = engine.create_barbican(svm.id(), &name, &settings)?;
    session.output.result(&KeystoreView::of(&engine, &keystore))
}

pub(super) fn update(session: &Session, keystore: &KeystoreArg, changes: BarbicanChanges) -> Result<(), Failure> {
    let BarbicanChanges { credential_id, credential, proxy, no_proxy, ca, no_ca, timeout, .. } = changes;
    let credential = credential_source(credential)?;
    let password = password_source(changes.proxy_password)?;
    let engine = session.open_offline()?;
    let keystore = resolve(&engine, keystore)?;
    let update = BarbicanUpdate {
        credential: credential_id.map(|id| with_secret(session, id, &credential)).transpose()?,
        proxy: match proxy {
            Some(proxy) => Some(Some(with_password(session, proxy, &password)?)),
            None => no_proxy.then_some(None),
        },
        verify: either(changes.verify, changes.danger_no_verify),
        verify_host: either(changes.verify_host, changes.danger_no_verify_host),
        timeout: timeout.map(|seconds| Duration::from_secs(seconds.into())),
        extra_roots: match ca {
            Some(file) => Some(certificates(&file)?),
            None => no_ca.then(Vec::new),
        },
    };
    if update.is_empty() {
        return Err(Failure::Usage { message: "nothing is named that is to change".to_owned() });
    }
    let keystore = engine.update_barbican(keystore, &update)?;
    session.output.result(&KeystoreView::of(&engine, &keystore))
}

/// Of two flags that exclude each other, which one was given.
const fn either(on: bool, off: bool) -> Option<bool> {
    match (on, off) {
        (true, _) => Some(true),
        (false, true) => Some(false),
        (false, false) => None,
    }
}

fn credential_source(source: CredentialSource) -> Result<Source, Failure> {
    Source::new(Secret::Credential, source.credential_file, source.credential_fd)
}

fn password_source(source: ProxyPassword) -> Result<Source, Failure> {
    Source::new(Secret::ProxyPassword, source.proxy_password_file, source.proxy_password_fd)
}

fn with_secret(session: &Session, id: String, source: &Source) -> Result<Credential, Failure> {
    let secret = source.get(&session.arena, Secret::Credential)?;
    Ok(Credential { id, secret: secret.ok_or(Failure::NotGiven(Secret::Credential))? })
}

fn with_password(session: &Session, proxy: ProxyArg, source: &Source) -> Result<Proxy, Failure> {
    let ProxyArg { kind, host, port, user } = proxy;
    let user = match (user, source) {
        (Some(name), source) => {
            let password = source.get(&session.arena, Secret::ProxyPassword)?;
            Some(ProxyUser { name, password: password.ok_or(Failure::NotGiven(Secret::ProxyPassword))? })
        }
        (None, Source::Prompt) => None,
        (None, Source::File(_) | Source::Descriptor { .. }) => {
            let message = "a password for the proxy was given, and --proxy names no user: write http://user@host:port";
            return Err(Failure::Usage { message: message.to_owned() });
        }
    };
    Ok(Proxy { kind, host, port, user })
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let read = |source| Failure::File { action: "read certificates from", path: file.to_owned(), source };
    let text = std::fs::read(file).map_err(read)?;
    certificates_from_pem(&text).map_err(|source| Failure::Certificates { path: file.to_owned(), source })
}
