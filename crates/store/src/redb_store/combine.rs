//! One transaction for many commits.

use std::sync::mpsc::{SyncSender, TryRecvError, sync_channel};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::local::{Damage, Fault, NotDurable};

/// Lets threads that wait for their turn to write share a transaction: whose turn it is, does the work of all that wait.
///
/// redb has one writer at a time, and each transaction ends in a sync. While one of them syncs, others come to wait.
#[derive(Debug)]
pub(super) struct Combiner<J, A> {
    waiting: Mutex<Vec<Waiting<J, A>>>,
    turn: Mutex<()>,
}

/// What a thread waits for to be done.
#[derive(Debug)]
struct Waiting<J, A> {
    job: J,
    answer: SyncSender<Result<A, NotDurable<Fault>>>,
}

impl<J, A> Default for Combiner<J, A> {
    fn default() -> Self {
        Self { waiting: Mutex::default(), turn: Mutex::default() }
    }
}

impl<J, A> Combiner<J, A> {
    /// Has `job` done, by whoever has the turn, and returns what became of it. `work` does all jobs that it is given,
    /// durably, and has one answer for each.
    pub(super) fn run(
        &self,
        job: J,
        work: impl FnOnce(&[J]) -> Result<Vec<A>, NotDurable<Fault>>,
    ) -> Result<A, NotDurable<Fault>> {
        let (sender, answer) = sync_channel(1);
        locked(&self.waiting).push(Waiting { job, answer: sender });
        let turn = locked(&self.turn);
        let answered = match answer.try_recv() {
            Err(TryRecvError::Empty) => {
                drop(self.lead(turn, |jobs| Ok((work(jobs)?, ()))));
                answer.recv().ok()
            }
            answered => answered.ok(),
        };
        answered.unwrap_or_else(|| Err(NotDurable::Now(Damage::Panicked(None).into())))
    }

    /// Waits for the turn, and has `work` do all jobs that wait together with work of its own.
    pub(super) fn run_along<T>(
        &self,
        work: impl FnOnce(&[J]) -> Result<(Vec<A>, T), NotDurable<Fault>>,
    ) -> Result<T, NotDurable<Fault>> {
        self.lead(locked(&self.turn), work)
    }

    fn lead<T>(
        &self,
        _turn: MutexGuard<'_, ()>,
        work: impl FnOnce(&[J]) -> Result<(Vec<A>, T), NotDurable<Fault>>,
    ) -> Result<T, NotDurable<Fault>> {
        let waiting = std::mem::take(&mut *locked(&self.waiting));
        let (jobs, askers): (Vec<J>, Vec<_>) = waiting.into_iter().map(|Waiting { job, answer }| (job, answer)).unzip();
        let (answers, own) = match work(&jobs) {
            Ok((answers, own)) => (answers.into_iter().map(Ok).collect(), Ok(own)),
            Err(error) => (jobs.iter().map(|_| Err(error.clone())).collect::<Vec<_>>(), Err(error)),
        };
        for (asker, answer) in askers.into_iter().zip(answers) {
            // Each waits for its answer, and has room for one.
            drop(asker.try_send(answer));
        }
        own
    }
}

// Both locks are sound after a panic: the one holds no data, and nothing panics while it holds the other.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use super::*;

    #[test]
    fn those_who_wait_are_served_together_and_each_has_its_own_answer() {
        const THREADS: usize = 8;
        let combiner = Combiner::default();
        let works = AtomicUsize::new(0);
        let work = |jobs: &[usize]| {
            works.fetch_add(1, Ordering::SeqCst);
            Ok(jobs.iter().map(|job| job * 10).collect())
        };
        thread::scope(|scope| {
            let turn = locked(&combiner.turn);
            let threads: Vec<_> = (0..THREADS).map(|job| scope.spawn(move || (job, job))).collect();
            drop(threads);
            let runs: Vec<_> = (0..THREADS)
                .map(|job| {
                    let (combiner, work) = (&combiner, &work);
                    scope.spawn(move || combiner.run(job, work).unwrap())
                })
                .collect();
            while locked(&combiner.waiting).len() < THREADS {
                thread::yield_now();
            }
            drop(turn);
            let answers: Vec<_> = runs.into_iter().map(|run| run.join().unwrap()).collect();
            assert_eq!(answers, (0..THREADS).map(|job| job * 10).collect::<Vec<_>>());
        });
        assert_eq!(works.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_failure_is_everybody_s() {
        let combiner: Combiner<u8, u8> = Combiner::default();
        let fault = || Fault::Io(Arc::new(std::io::Error::other("broken")));
        thread::scope(|scope| {
            let turn = locked(&combiner.turn);
            let runs: Vec<_> = (0..4)
                .map(|job| {
                    scope.spawn({
                        let combiner = &combiner;
                        move || combiner.run(job, |_| Ok(vec![0; 9]))
                    })
                })
                .collect();
            while locked(&combiner.waiting).len() < 4 {
                thread::yield_now();
            }
            let own = combiner.lead(turn, |jobs| {
                assert_eq!(jobs.len(), 4);
                Err::<(Vec<u8>, ()), _>(NotDurable::Now(fault()))
            });
            assert!(matches!(own, Err(NotDurable::Now(Fault::Io(_)))));
            for run in runs {
                assert!(matches!(run.join().unwrap(), Err(NotDurable::Now(Fault::Io(_)))));
            }
        });
    }

    #[test]
    fn who_waits_for_one_that_panics_is_told() {
        let combiner: Combiner<u8, u8> = Combiner::default();
        thread::scope(|scope| {
            let turn = locked(&combiner.turn);
            let waits = scope.spawn(|| combiner.run(0, |_| Ok(vec![0])));
            while locked(&combiner.waiting).is_empty() {
                thread::yield_now();
            }
            let panics =
                std::panic::AssertUnwindSafe(|| combiner.lead(turn, |_| -> Result<(Vec<u8>, ()), _> { panic!() }));
            assert!(std::panic::catch_unwind(panics).is_err());
            assert!(matches!(waits.join().unwrap(), Err(NotDurable::Now(Fault::Damaged(_)))));
        });
    }
}
