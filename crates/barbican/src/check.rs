//! Every hop of the way to a key, gone one after another.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use claviger_secret::SecretBytes;
use jiff::Timestamp;

use crate::client::Inside;
use crate::deadline::Deadline;
use crate::error::{BarbicanError, Service};
use crate::exchange::{Answer, Tries};
use crate::keystone::{login, version};
use crate::metadata::Barbican;
use crate::url::SecretUrl;

/// A hop that was gone.
#[derive(Clone, Debug)]
pub struct Hop {
    /// Which.
    pub name: HopName,
    /// How long it took.
    pub took: Duration,
    /// What was met, such as `TLS 1.3, 200`, or why it failed.
    pub outcome: Result<String, BarbicanError>,
}

/// The hops, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HopName {
    /// The proxy makes a tunnel. Only where there is a proxy.
    Proxy,
    /// Keystone says its version.
    Keystone,
    /// Keystone gives a token for the credential.
    Credential,
    /// Barbican answers, and accepts the token.
    Barbican,
    /// The secret's metadata is there and suits.
    Secret,
    /// The payload is a key.
    Payload,
}

impl fmt::Display for HopName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Proxy => "proxy",
            Self::Keystone => "Keystone",
            Self::Credential => "credential",
            Self::Barbican => "Barbican",
            Self::Secret => "secret",
            Self::Payload => "payload",
        })
    }
}

/// Goes the hops, and tells of each.
pub(crate) async fn check(
    site: &Arc<Inside>,
    secret: &SecretUrl,
    deadline: Deadline,
    mut tell: impl FnMut(Hop),
) -> Result<SecretBytes, BarbicanError> {
    let Inside { arena, way, keystone, credential, .. } = &**site;
    if way.has_proxy() {
        going(HopName::Proxy, &mut tell, async {
            match way.open(Service::Keystone, keystone.origin(), deadline).await {
                Err(error) if is_the_proxys(&error) => Err(error),
                // What lies behind it is for the next hop to tell.
                _ => Ok(((), "reached".to_owned())),
            }
        })
        .await?;
    }
    going(HopName::Keystone, &mut tell, async { Ok(((), met(&version(way, keystone, deadline).await?))) }).await?;
    let token = going(HopName::Credential, &mut tell, async {
        let (token, answer) = login(arena, way, keystone, credential, Tries::One, deadline).await?;
        Ok((token, met(&answer)))
    })
    .await?;
    let barbican = Barbican { site: Arc::clone(site), token: Arc::new(token), tries: Tries::One, deadline };
    going(HopName::Barbican, &mut tell, async { Ok(((), met(&barbican.service(secret).await?))) }).await?;
    going(HopName::Secret, &mut tell, async {
        let (metadata, answer) = barbican.metadata(secret).await?;
        metadata.suits(Timestamp::now()).map_err(|why| BarbicanError::Unsuitable { why })?;
        Ok(((), format!("{}, {}", met(&answer), metadata.secret_type)))
    })
    .await?;
    going(HopName::Payload, &mut tell, async {
        let (key, answer) = barbican.payload(secret).await?;
        let shown = format!("{}, {} bytes", met(&answer), key.len());
        Ok((key, shown))
    })
    .await
}

async fn going<T>(
    name: HopName,
    tell: &mut impl FnMut(Hop),
    hop: impl Future<Output = Result<(T, String), BarbicanError>>,
) -> Result<T, BarbicanError> {
    let began = Instant::now();
    let gone = hop.await;
    let outcome = gone.as_ref().map(|(_, met)| met.clone()).map_err(Clone::clone);
    tell(Hop { name, took: began.elapsed(), outcome });
    gone.map(|(found, _)| found)
}

fn met(answer: &Answer) -> String {
    format!("{}, {}", answer.tls, answer.status.as_u16())
}

fn is_the_proxys(error: &BarbicanError) -> bool {
    match error {
        BarbicanError::ProxyRefused { .. } => true,
        BarbicanError::Unreachable { service, .. }
        | BarbicanError::Misbehaving { service, .. }
        | BarbicanError::Tls { service, .. } => *service == Service::Proxy,
        _ => false,
    }
}
