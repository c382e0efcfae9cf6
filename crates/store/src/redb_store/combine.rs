//! One transaction for many commits.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::local::{Damage, Fault, NotDurable};

/// Lets threads that wait for their turn to write share a transaction: whose turn it is, does the work of all that wait.
///
/// redb has one writer at a time, and each transaction ends in a sync. While one thread syncs, others come to wait. The
/// turn goes to who has waited longest, so that nobody who comes again and again keeps others from it.
#[derive(Debug)]
pub(super) struct Combiner<J, A> {
    queue: Mutex<Queue<J, A>>,
}

#[derive(Debug)]
struct Queue<J, A> {
    waiting: VecDeque<Waiting<J, A>>,
    /// Whether somebody has the turn.
    taken: bool,
}

#[derive(Debug)]
struct Waiting<J, A> {
    /// What is to be done, unless it is the turn alone that is waited for.
    job: Option<J>,
    told: SyncSender<Told<A>>,
}

/// What who waits is told.
#[derive(Debug)]
enum Told<A> {
    /// It is your turn.
    Turn,
    /// Your job is done.
    Done(Result<A, NotDurable<Fault>>),
}

impl<J, A> Default for Combiner<J, A> {
    fn default() -> Self {
        Self { queue: Mutex::new(Queue { waiting: VecDeque::new(), taken: false }) }
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
        let told = self.wait(Some(job));
        let first = told.recv();
        let done = match first {
            Ok(Told::Turn) => {
                drop(Turn(self).work(|jobs| Ok((work(jobs)?, ()))));
                told.recv()
            }
            done => done,
        };
        match done {
            Ok(Told::Done(done)) => done,
            // Whoever did the work has panicked.
            Ok(Told::Turn) | Err(_) => Err(NotDurable::Now(Damage::Panicked(None).into())),
        }
    }

    /// Waits for the turn, and has `work` do all jobs that wait together with work of its own.
    pub(super) fn run_along<T>(
        &self,
        work: impl FnOnce(&[J]) -> Result<(Vec<A>, T), NotDurable<Fault>>,
    ) -> Result<T, NotDurable<Fault>> {
        // Nothing but that it is its turn can be told to who has no job.
        drop(self.wait(None).recv());
        Turn(self).work(work)
    }

    fn wait(&self, job: Option<J>) -> Receiver<Told<A>> {
        // The turn, and what came of the job.
        let (told, hears) = sync_channel(2);
        let mut queue = self.queue();
        queue.waiting.push_back(Waiting { job, told });
        if !queue.taken {
            queue.pass();
        }
        hears
    }

    // Nothing panics while it holds the lock.
    fn queue(&self) -> MutexGuard<'_, Queue<J, A>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<J, A> Queue<J, A> {
    /// Gives the turn to who has waited longest. Who has a job stays in the queue, and takes it out with the others'.
    fn pass(&mut self) {
        let next = self.waiting.pop_front();
        self.taken = next.is_some();
        if let Some(next) = next {
            tell(&next.told, Told::Turn);
            if next.job.is_some() {
                self.waiting.push_front(next);
            }
        }
    }
}

/// Each waits until it is told, and there is room for what it is told.
fn tell<A>(told: &SyncSender<Told<A>>, what: Told<A>) {
    drop(told.try_send(what));
}

/// The turn. It is passed on when it ends, however it ends.
struct Turn<'a, J, A>(&'a Combiner<J, A>);

impl<J, A> Turn<'_, J, A> {
    fn work<T>(
        self,
        work: impl FnOnce(&[J]) -> Result<(Vec<A>, T), NotDurable<Fault>>,
    ) -> Result<T, NotDurable<Fault>> {
        let (jobs, told) = self.take_jobs();
        match work(&jobs) {
            Ok((answers, own)) => {
                told.iter().zip(answers).for_each(|(told, answer)| tell(told, Told::Done(Ok(answer))));
                Ok(own)
            }
            Err(error) => {
                told.iter().for_each(|told| tell(told, Told::Done(Err(error.clone()))));
                Err(error)
            }
        }
    }

    fn take_jobs(&self) -> (Vec<J>, Vec<SyncSender<Told<A>>>) {
        let mut queue = self.0.queue();
        let (mut jobs, mut askers) = (Vec::new(), Vec::new());
        for Waiting { job, told } in std::mem::take(&mut queue.waiting) {
            match job {
                Some(job) => {
                    jobs.push(job);
                    askers.push(told);
                }
                None => queue.waiting.push_back(Waiting { job, told }),
            }
        }
        (jobs, askers)
    }
}

impl<J, A> Drop for Turn<'_, J, A> {
    fn drop(&mut self) {
        self.0.queue().pass();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use super::*;

    /// Waits until so many wait for the turn that the caller has.
    fn await_waiting<J, A>(combiner: &Combiner<J, A>, count: usize) {
        while combiner.queue().waiting.len() < count {
            thread::yield_now();
        }
    }

    /// Has the turn until it returns.
    fn holding_the_turn<J, A>(combiner: &Combiner<J, A>, meanwhile: impl FnOnce()) {
        let held = combiner.run_along(|jobs: &[J]| {
            assert!(jobs.is_empty());
            meanwhile();
            Ok((Vec::new(), ()))
        });
        assert!(held.is_ok());
    }

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
            let mut runs = Vec::new();
            holding_the_turn(&combiner, || {
                let run = |job| {
                    scope.spawn({
                        let combiner = &combiner;
                        move || combiner.run(job, work).unwrap()
                    })
                };
                runs.extend((0..THREADS).map(run));
                await_waiting(&combiner, THREADS);
            });
            let answers: Vec<_> = runs.into_iter().map(|run| run.join().unwrap()).collect();
            assert_eq!(answers, (0..THREADS).map(|job| job * 10).collect::<Vec<_>>());
        });
        assert_eq!(works.load(Ordering::SeqCst), 1);
        assert!(!combiner.queue().taken);
        assert_eq!(combiner.run(7, work).unwrap(), 70);
    }

    #[test]
    fn who_brings_work_of_its_own_takes_along_who_waits_and_has_its_turn_in_order() {
        let combiner: Combiner<u8, u8> = Combiner::default();
        let order = Mutex::new(Vec::new());
        let note = |who: &str, jobs: &[u8]| {
            order.lock().unwrap().push(format!("{who} {jobs:?}"));
            jobs.to_vec()
        };
        let (combiner, note) = (&combiner, &note);
        thread::scope(|scope| {
            holding_the_turn(combiner, || {
                for (count, own) in [(1, "first"), (2, "second")] {
                    scope.spawn(move || combiner.run_along(|jobs| Ok((note(own, jobs), ()))).unwrap());
                    await_waiting(combiner, count);
                }
                scope.spawn(move || assert_eq!(combiner.run(9, |jobs| Ok(note("commit", jobs))).unwrap(), 9));
                await_waiting(combiner, 3);
            });
        });
        assert_eq!(*order.lock().unwrap(), ["first [9]", "second []"]);
    }

    #[test]
    fn a_failure_is_everybody_s() {
        let combiner: Combiner<u8, u8> = Combiner::default();
        let fault = || NotDurable::Now(Fault::Io(Arc::new(std::io::Error::other("broken"))));
        thread::scope(|scope| {
            let mut runs = Vec::new();
            holding_the_turn(&combiner, || {
                let run = |job| {
                    scope.spawn({
                        let combiner = &combiner;
                        move || combiner.run(job, |_| Err(fault()))
                    })
                };
                runs.extend((0..4).map(run));
                await_waiting(&combiner, 4);
            });
            for run in runs {
                assert!(matches!(run.join().unwrap(), Err(NotDurable::Now(Fault::Io(_)))));
            }
        });
    }

    #[test]
    fn who_waits_for_one_that_panics_is_told_and_the_turn_is_passed_on() {
        let combiner: Combiner<u8, u8> = Combiner::default();
        thread::scope(|scope| {
            let mut runs = Vec::new();
            holding_the_turn(&combiner, || {
                let panicking = || combiner.run(0, |jobs| panic!("{jobs:?}"));
                runs.push(scope.spawn(panicking));
                await_waiting(&combiner, 1);
                runs.push(scope.spawn(|| combiner.run(1, |_| panic!("the first does it"))));
                await_waiting(&combiner, 2);
            });
            let [panics, waits] = runs.try_into().map_err(drop).unwrap();
            assert!(panics.join().is_err());
            assert!(matches!(waits.join().unwrap(), Err(NotDurable::Now(Fault::Damaged(_)))));
        });
        assert_eq!(combiner.run(5, |jobs| Ok(jobs.to_vec())).unwrap(), 5);
    }
}
