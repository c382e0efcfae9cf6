//! Keystores at a Barbican, as a request describes them.

use std::time::Duration;

use claviger::{BarbicanSettings, BarbicanUpdate, CertificateDer, Credential, Proxy, ProxyUser, Site};

use super::{KeystoreView, resolve};
use crate::args::{KeystoreArg, ProxyArg};
use crate::event::Wanted;
use crate::failure::Failure;
use crate::request::{BarbicanChange, Certificate, NewBarbican, ProxyChange};
use crate::session::Session;

pub(super) fn create(session: &Session<'_>, new: NewBarbican) -> Result<(), Failure> {
    let NewBarbican { svm, name, key_id, keystone_url, credential_id, proxy, ca, timeout_seconds, verify, verify_host } =
        new;
    let engine = session.open_offline()?;
    let svm = engine.svm_named(&svm)?;
    let settings = BarbicanSettings {
        key: key_id,
        site: Site {
            keystone: keystone_url,
            proxy: proxy.map(|proxy| with_password(session, proxy)).transpose()?,
            verify,
            verify_host,
            extra_roots: certificates(ca),
            timeout: Duration::from_secs(timeout_seconds.into()),
        },
        credential: with_secret(session, credential_id)?,
    };
    let keystore = engine.create_barbican(svm.id(), &name, &settings)?;
    session.output.result(&KeystoreView::of(&engine, &keystore))
}

pub(super) fn update(session: &Session<'_>, keystore: &KeystoreArg, changes: BarbicanChange) -> Result<(), Failure> {
    let BarbicanChange { credential_id, proxy, ca, timeout_seconds, verify, verify_host } = changes;
    let engine = session.open_offline()?;
    let keystore = resolve(&engine, keystore)?;
    let update = BarbicanUpdate {
        credential: credential_id.map(|id| with_secret(session, id)).transpose()?,
        proxy: match proxy {
            Some(ProxyChange::Through(proxy)) => Some(Some(with_password(session, proxy)?)),
            Some(ProxyChange::Direct) => Some(None),
            None => None,
        },
        verify,
        verify_host,
        timeout: timeout_seconds.map(|seconds| Duration::from_secs(seconds.into())),
        extra_roots: ca.map(certificates),
    };
    if update.is_empty() {
        return Err(Failure::Usage { message: "nothing is named that is to change".to_owned() });
    }
    let keystore = engine.update_barbican(keystore, &update)?;
    session.output.result(&KeystoreView::of(&engine, &keystore))
}

fn with_secret(session: &Session<'_>, id: String) -> Result<Credential, Failure> {
    Ok(Credential { id, secret: session.secret(Wanted::Credential)? })
}

fn with_password(session: &Session<'_>, proxy: ProxyArg) -> Result<Proxy, Failure> {
    let ProxyArg { kind, host, port, user } = proxy;
    let with_password = |name| Ok::<_, Failure>(ProxyUser { name, password: session.secret(Wanted::ProxyPassword)? });
    Ok(Proxy { kind, host, port, user: user.map(with_password).transpose()? })
}

fn certificates(der: Vec<Certificate>) -> Vec<CertificateDer<'static>> {
    der.into_iter().map(|Certificate(der)| der.into()).collect()
}
