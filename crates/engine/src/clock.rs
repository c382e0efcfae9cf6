//! What time it is.

use jiff::Timestamp;

/// The system's clock, or one that a test sets.
pub(crate) enum Clock {
    System,
    #[cfg(test)]
    Manual(std::sync::atomic::AtomicI64),
}

impl Clock {
    pub(crate) fn now(&self) -> Timestamp {
        match self {
            Self::System => Timestamp::now(),
            #[cfg(test)]
            Self::Manual(seconds) => Timestamp::from_second(seconds.load(std::sync::atomic::Ordering::SeqCst)).unwrap(),
        }
    }
}
