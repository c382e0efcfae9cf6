//! The clock that all events of a process are on.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Crash, Event, Failure, Strike, Tear};

/// Counts the events of a process, and strikes at chosen ones. Clones are the same clock.
#[derive(Clone, Debug, Default)]
pub struct FaultClock {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    events: Vec<Event>,
    strikes: Vec<(usize, Strike)>,
    dead: bool,
}

impl FaultClock {
    /// Strikes nowhere.
    #[must_use]
    pub fn counting() -> Self {
        Self::default()
    }

    /// Strikes at each event that has one of these indices, counted from 0.
    #[must_use]
    pub fn striking(strikes: impl IntoIterator<Item = (usize, Strike)>) -> Self {
        let state = State { strikes: strikes.into_iter().collect(), ..State::default() };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// All events so far, also those that failed by themselves. The index of each is what [`FaultClock::striking`] asks for.
    #[must_use]
    pub fn events(&self) -> Vec<Event> {
        self.state().events.clone()
    }

    /// Whether the process has died.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.state().dead
    }

    /// A call to another party than the store: done by `call`, unless this event is struck.
    ///
    /// Events are done one at a time, so that no other is under way when the process dies; `call` must not wait for another
    /// event on this clock.
    ///
    /// # Errors
    /// [`Struck`].
    pub fn call<T>(&self, name: &'static str, call: impl FnOnce() -> T) -> Result<T, Struck> {
        self.event(Event::Call(name), |_| call())
    }

    /// A read: it changes nothing, so it is no event, and a dead process makes none.
    ///
    /// # Errors
    /// [`Struck::Dead`].
    pub fn read<T>(&self, read: impl FnOnce() -> T) -> Result<T, Struck> {
        match self.is_dead() {
            true => Err(Struck::Dead),
            false => Ok(read()),
        }
    }

    /// An event, done by `run`: as a whole, or as far as a tear lets it.
    pub(super) fn event<T>(&self, event: Event, run: impl FnOnce(Option<Tear>) -> T) -> Result<T, Struck> {
        let mut state = self.state();
        if state.dead {
            return Err(Struck::Dead);
        }
        let index = state.events.len();
        state.events.push(event);
        let strike = state.strikes.iter().find(|(at, _)| *at == index).map(|(_, strike)| *strike);
        let is_call = matches!(event, Event::Call(_));
        let struck = match strike {
            None => return Ok(run(None)),
            Some(Strike::Failure(Failure::Refused)) if event == (Event::Commit { only_deletes: true }) => {
                return Ok(run(None));
            }
            Some(Strike::Crash(_)) => Struck::Dead,
            Some(Strike::Failure(Failure::Refused)) => Struck::Refused,
            Some(Strike::Failure(Failure::Unreachable | Failure::Unanswered)) if is_call => Struck::Unreachable,
            Some(Strike::Failure(Failure::Unreachable | Failure::Unanswered)) => Struck::Dead,
        };
        let is_divisible = matches!(event, Event::ReplaceEach { .. });
        // What it answers is lost, an error too.
        match strike {
            Some(Strike::Crash(Crash::After) | Strike::Failure(Failure::Unanswered)) => drop(run(None)),
            Some(Strike::Crash(Crash::Torn(tear))) if is_divisible => drop(run(Some(tear))),
            Some(Strike::Crash(Crash::Before | Crash::Torn(_)) | Strike::Failure(_)) | None => {}
        }
        state.dead = struck == Struck::Dead;
        Err(struck)
    }

    // An event that panics, as a test's assertion may, leaves the counts as they must be.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the caller of an event learns of a strike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Struck {
    /// Nothing: its process is dead.
    Dead,
    /// The event was refused.
    Refused,
    /// No answer came.
    Unreachable,
}

impl fmt::Display for Struck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dead => "the process is dead, as its test wants it",
            Self::Refused => "refused, as the test wants it",
            Self::Unreachable => "no answer, as the test wants it",
        })
    }
}

impl std::error::Error for Struck {}
