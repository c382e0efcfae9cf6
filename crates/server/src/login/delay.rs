//! Failed logins make the next ones wait: twice as long each time.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::cache::CacheKey;

/// Failures that cost nothing: who mistypes is not punished.
const FREE_FOR_A_LOGIN: u32 = 3;
/// Many may share one address.
const FREE_FOR_A_SOURCE: u32 = 20;

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);
/// After this long without a failure, all is forgotten.
const MEMORY: Duration = Duration::from_secs(15 * 60);

/// Of each kind.
const MOST: usize = 4_096;

/// Failures in a row.
#[derive(Debug)]
pub(super) struct Failures {
    count: u32,
    free: u32,
    last: Option<Instant>,
    succeeded: Option<Instant>,
}

impl Failures {
    const fn new(free: u32) -> Self {
        Self { count: 0, free, last: None, succeeded: None }
    }

    /// How long from `now` no login is looked at.
    pub(super) fn wait(&self, now: Instant) -> Duration {
        let Some(last) = self.last else { return Duration::ZERO };
        let Some(beyond) = self.count.checked_sub(self.free).and_then(|beyond| beyond.checked_sub(1)) else {
            return Duration::ZERO;
        };
        let delay = FIRST.saturating_mul(2_u32.saturating_pow(beyond)).min(LONGEST);
        delay.saturating_sub(now.saturating_duration_since(last))
    }

    pub(super) fn failed(&mut self, now: Instant) {
        if self.last.is_none_or(|last| now.saturating_duration_since(last) >= MEMORY) {
            self.count = 0;
        }
        self.count = self.count.saturating_add(1);
        self.last = Some(now);
    }

    pub(super) fn succeeded(&mut self, now: Instant) {
        *self = Self { succeeded: Some(now), ..Self::new(self.free) };
    }

    /// Whether there was a success of late: the failures of others do not count against it.
    pub(super) fn is_trusted(&self, now: Instant) -> bool {
        self.succeeded.is_some_and(|then| now.saturating_duration_since(then) < MEMORY)
    }

    fn is_forgotten(&self, now: Instant) -> bool {
        !self.is_trusted(now) && self.last.is_none_or(|last| now.saturating_duration_since(last) >= MEMORY)
    }
}

type Login = Arc<tokio::sync::Mutex<Failures>>;

/// All failures that are remembered.
#[derive(Default)]
pub(super) struct Delays {
    logins: HashMap<CacheKey, Login>,
    sources: HashMap<IpAddr, Failures>,
}

impl Delays {
    /// Of one name from one place. The same for all who ask at a time.
    pub(super) fn login(&mut self, login: CacheKey) -> Login {
        let now = Instant::now();
        if self.logins.len() >= MOST && !self.logins.contains_key(&login) {
            // Those in use are locked, and stay.
            self.logins.retain(|_, known| known.try_lock().map_or(true, |failures| !failures.is_forgotten(now)));
            while self.logins.len() >= MOST {
                let Some(any) = self.logins.keys().next().copied() else { break };
                self.logins.remove(&any);
            }
        }
        Arc::clone(self.logins.entry(login).or_insert_with(|| Arc::new(Failures::new(FREE_FOR_A_LOGIN).into())))
    }

    /// Of one place, over all names. Of an IPv6 address, the network counts: who has one address has 2^64.
    pub(super) fn source(&mut self, from: IpAddr) -> &mut Failures {
        let place = place_of(from);
        let now = Instant::now();
        if self.sources.len() >= MOST && !self.sources.contains_key(&place) {
            self.sources.retain(|_, failures| !failures.is_forgotten(now));
            while self.sources.len() >= MOST {
                let Some(any) = self.sources.keys().next().copied() else { break };
                self.sources.remove(&any);
            }
        }
        self.sources.entry(place).or_insert_with(|| Failures::new(FREE_FOR_A_SOURCE))
    }
}

fn place_of(from: IpAddr) -> IpAddr {
    match from.to_canonical() {
        IpAddr::V6(from) => IpAddr::V6((from.to_bits() & !u128::from(u64::MAX)).into()),
        from @ IpAddr::V4(_) => from,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_failures_are_free_and_each_further_one_doubles_the_wait() {
        let mut failures = Failures::new(FREE_FOR_A_LOGIN);
        let mut now = Instant::now();
        let mut waits = Vec::new();
        for _ in 0..11 {
            failures.failed(now);
            waits.push(failures.wait(now).as_secs());
            now += failures.wait(now);
        }
        assert_eq!(waits, [0, 0, 0, 1, 2, 4, 8, 16, 32, 60, 60]);
    }

    #[test]
    fn a_wait_ends_with_its_time_and_a_success_ends_them_all() {
        let (mut failures, now) = (Failures::new(0), Instant::now());
        failures.failed(now);
        failures.failed(now);
        assert_eq!(failures.wait(now + Duration::from_millis(500)), Duration::from_millis(1_500));
        assert_eq!(failures.wait(now + Duration::from_secs(2)), Duration::ZERO);
        failures.succeeded(now);
        assert!(failures.is_trusted(now) && !failures.is_trusted(now + MEMORY));
        assert_eq!(failures.wait(now), Duration::ZERO);
        failures.failed(now);
        assert_eq!(failures.wait(now), FIRST);
    }

    #[test]
    fn failures_are_forgotten_after_a_quarter_of_an_hour() {
        let (mut failures, now) = (Failures::new(0), Instant::now());
        (0..9).for_each(|_| failures.failed(now));
        failures.failed(now + MEMORY);
        assert_eq!(failures.wait(now + MEMORY), FIRST);
    }

    #[test]
    fn a_source_counts_over_all_names_and_its_whole_network() {
        let mut delays = Delays::default();
        for host in 0..=FREE_FOR_A_SOURCE {
            let from = format!("2001:db8::{host:x}").parse().unwrap();
            delays.source(from).failed(Instant::now());
        }
        let wait = |delays: &mut Delays, from: &str| delays.source(from.parse().unwrap()).wait(Instant::now());
        assert!(!wait(&mut delays, "2001:db8::ffff").is_zero());
        assert!(wait(&mut delays, "2001:db9::1").is_zero());
    }

    #[test]
    fn what_is_remembered_does_not_grow_without_end() {
        let mut delays = Delays::default();
        for number in 0..10_000_u32 {
            delays.source(IpAddr::V4(number.into())).failed(Instant::now());
            let mut login = [0; 32];
            login[..4].copy_from_slice(&number.to_be_bytes());
            delays.login(login).try_lock().unwrap().failed(Instant::now());
        }
        assert!(delays.sources.len() <= MOST && delays.logins.len() <= MOST);
    }
}
