//! The one time limit of a call.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::error::{BarbicanError, Service, Stage, Unanswered};

/// When a call must have ended. Everything in it is bound by the same one.
#[derive(Clone, Copy)]
pub(crate) struct Deadline(Instant);

impl Deadline {
    pub(crate) fn after(time: Duration) -> Self {
        let now = Instant::now();
        // A limit that cannot be counted is as good as one of a year.
        Self(now.checked_add(time).unwrap_or(now + Duration::from_secs(365 * 24 * 3600)))
    }

    pub(crate) fn left(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// Does it, or gives up when the time is over.
    pub(crate) async fn bound<T>(
        self,
        (service, stage): (Service, Stage),
        work: impl Future<Output = T>,
    ) -> Result<T, BarbicanError> {
        timeout_at(self.0, work)
            .await
            .map_err(|_| BarbicanError::Unreachable { service, source: Unanswered::NoTime(stage) })
    }

    /// Whether there is time to wait so long and then do something more. Waits if so.
    pub(crate) async fn allows_wait(self, wait: Duration) -> bool {
        let allowed = wait < self.left();
        if allowed {
            tokio::time::sleep(wait).await;
        }
        allowed
    }
}
