//! TCP: to the first of a host's addresses that answers.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::TcpStream;
use url::Host;

use crate::deadline::Deadline;
use crate::error::{BarbicanError, Service, Stage, Unanswered};
use crate::names;
use crate::url::Origin;

/// The longest that an address may keep silent while there is another to try.
const LONGEST_SILENCE: Duration = Duration::from_secs(2);

/// Connects, and remembers which address of a host answered last. That one is tried first: a dead one is waited for once,
/// not for each connection.
#[derive(Default)]
pub(crate) struct Connector {
    /// Held for moments only. No child of a fork connects with what it inherits.
    answered: Mutex<HashMap<Origin, SocketAddr>>,
}

impl Connector {
    pub(crate) async fn connect(
        &self,
        service: Service,
        origin: &Origin,
        deadline: Deadline,
    ) -> Result<TcpStream, BarbicanError> {
        let addresses = match origin.host() {
            Host::Ipv4(address) => vec![(*address, origin.port()).into()],
            Host::Ipv6(address) => vec![(*address, origin.port()).into()],
            Host::Domain(name) => {
                let found = names::addresses(name, origin.port());
                deadline.bound((service, Stage::Connecting), found).await?.map_err(|error| {
                    BarbicanError::Unreachable { service, source: Unanswered::Name(Arc::new(error)) }
                })?
            }
        };
        let stream = self.first(service, origin, addresses, deadline, TcpStream::connect).await?;
        // What is sent is small and waited for.
        stream.set_nodelay(true).unwrap_or_else(|error| tracing::debug!(%error, "TCP_NODELAY was refused"));
        Ok(stream)
    }

    /// The first connection that is made. Each address has its share of the time that is left.
    async fn first<S, F: Future<Output = io::Result<S>>>(
        &self,
        service: Service,
        origin: &Origin,
        mut addresses: Vec<SocketAddr>,
        deadline: Deadline,
        connect: impl Fn(SocketAddr) -> F,
    ) -> Result<S, BarbicanError> {
        let before = self.answered.lock().unwrap_or_else(PoisonError::into_inner).get(origin).copied();
        addresses.sort_by_key(|address| Some(*address) != before);
        let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for (left, address) in (1..=u32::try_from(addresses.len()).unwrap_or(u32::MAX)).rev().zip(addresses) {
            let share = match left {
                1 => deadline,
                _ => Deadline::after((deadline.left() / left).min(LONGEST_SILENCE)),
            };
            match share.bound((service, Stage::Connecting), connect(address)).await {
                Ok(Ok(stream)) => {
                    if before != Some(address) {
                        let mut answered = self.answered.lock().unwrap_or_else(PoisonError::into_inner);
                        answered.insert(origin.clone(), address);
                    }
                    return Ok(stream);
                }
                Ok(Err(error)) => failure = error,
                Err(no_time) if left == 1 => return Err(no_time),
                Err(_) => {}
            }
        }
        Err(BarbicanError::Unreachable { service, source: Unanswered::Connect(Arc::new(failure)) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::pending;
    use tokio::runtime::Builder;
    use tokio::time::Instant;

    const LIMIT: Duration = Duration::from_secs(60);

    /// How long it takes to connect to a host with these addresses, of which those on `dead` are silent; and to which.
    async fn connects(connector: &Connector, ports: [u16; 3], dead: &[u16]) -> (Duration, Result<u16, BarbicanError>) {
        let origin = Origin::new(Host::Domain("ks.example".to_owned()), 443).unwrap();
        let addresses = ports.map(|port| SocketAddr::from(([127, 0, 0, 1], port))).to_vec();
        let began = Instant::now();
        let connect = |address: SocketAddr| {
            let is_dead = dead.contains(&address.port());
            async move { if is_dead { pending().await } else { Ok(address.port()) } }
        };
        let deadline = Deadline::after(LIMIT);
        let outcome = connector.first(Service::Keystone, &origin, addresses, deadline, connect).await;
        (began.elapsed(), outcome)
    }

    #[test]
    fn a_silent_address_is_waited_for_a_little_and_once() {
        // A clock that jumps to whatever is waited for.
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let connector = Connector::default();
            let (took, port) = connects(&connector, [1, 2, 3], &[1]).await;
            assert_eq!((took.as_secs(), port.unwrap()), (2, 2));
            let (took, port) = connects(&connector, [1, 2, 3], &[1]).await;
            assert_eq!((took.as_secs(), port.unwrap()), (0, 2));
            let (took, port) = connects(&connector, [1, 2, 3], &[2]).await;
            assert_eq!((took.as_secs(), port.unwrap()), (2, 1));
            let (took, port) = connects(&connector, [1, 2, 3], &[1, 2, 3]).await;
            assert!(port.unwrap_err().is_out_of_time());
            assert_eq!(took.as_secs(), LIMIT.as_secs());
        });
    }
}
