//! Connections by where they come from: nobody takes all of them.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The network that is one owner's in IPv6 has 64 bits.
const OWNERS: u128 = u128::MAX << 64;

/// How many connections are open from where.
pub(super) struct Sources {
    /// From one of them.
    most: usize,
    open: Mutex<HashMap<IpAddr, usize>>,
}

impl Sources {
    /// Half of `connections` for each.
    pub(super) fn new(connections: usize) -> Arc<Self> {
        Arc::new(Self { most: connections.div_ceil(2), open: Mutex::default() })
    }

    /// Lets a connection in; `None` where its source has as many as it may. Those of this machine, where a proxy may stand for many
    /// clients, are not counted.
    pub(super) fn enter(self: &Arc<Self>, from: IpAddr) -> Option<Entered> {
        let from = owner_of(from);
        if from.is_loopback() {
            return Some(Entered(None));
        }
        let mut open = self.open();
        let count = open.entry(from).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(Entered(Some((Arc::clone(self), from))))
    }

    fn open(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn owner_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) if !address.is_loopback() => Ipv6Addr::from_bits(address.to_bits() & OWNERS).into(),
        address => address,
    }
}

/// A connection that is open.
pub(super) struct Entered(Option<(Arc<Sources>, IpAddr)>);

impl Drop for Entered {
    fn drop(&mut self) {
        let Some((sources, from)) = self.0.take() else { return };
        let mut open = sources.open();
        match open.get_mut(&from) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(open.remove(&from)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_source_has_half_of_the_connections_and_this_machine_all() {
        let sources = Sources::new(4);
        let enter = |from: &str| sources.enter(from.parse().unwrap());
        for (same, other) in [
            (["192.0.2.1", "::ffff:192.0.2.1", "192.0.2.1"], "192.0.2.2"),
            (["2001:db8::1", "2001:db8::2", "2001:db8::ffff:3"], "2001:db8:0:1::1"),
        ] {
            let first = enter(same[0]).unwrap();
            let second = enter(same[1]).unwrap();
            assert!(enter(same[2]).is_none());
            assert!(enter(other).is_some());
            drop(first);
            assert!(enter(same[2]).is_some());
            drop(second);
        }
        assert!(sources.open().is_empty(), "what is closed is forgotten");
        for here in ["127.0.0.1", "127.0.0.2", "::1", "::ffff:127.0.0.1"] {
            let entered: Vec<_> = (0..5).map(|_| enter(here).unwrap()).collect();
            drop(entered);
        }
        assert!(Sources::new(1).enter("192.0.2.1".parse().unwrap()).is_some());
    }
}
