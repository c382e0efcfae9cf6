//! A scenario is run once without faults to see its events, and then once for each strike that can befall each of them.

use std::collections::BTreeSet;
use std::sync::Arc;

use claviger::store::faults::{Crash, Event, Failure, Strike, Tear};
use claviger::{
    Advice, Engine, Fault, JobOperation, JobStatus, KeyAlgorithm, OnboardMode, RekeyError, SvmError, Table,
};

use crate::common::{self, PASSPHRASE, Records, passphrase, records, verify_clean, volume};
use crate::node::{ANCHOR, Anchored, Failed, Node};
use crate::setups::Setup;
use crate::steps::{Stand, Step, Told};
use crate::view::View;

/// How much of a scenario is tried.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Depth {
    /// Every strike at every event; a crash at every event after a call that failed; and strikes at every event of the process
    /// that takes up what a crash has left.
    All,
    /// Every strike at every event, and no more.
    Single,
    /// A crash before, after and in the middle of every event.
    Crashes,
    /// The same at the last three bulk writes, and at what lies between them.
    LastPages,
}

/// What befalls the processes of a node, one after the other. After the last of these comes one that lives.
type Lives<'a> = &'a [&'a [(usize, Strike)]];

/// Runs a scenario in all ways of `depth`. It must have this many events at least, lest it proves nothing.
pub(crate) fn enumerate(name: &str, setup: &Setup, least: usize, depth: Depth, steps: &[Step]) {
    let begun = std::time::Instant::now();
    let mut runs = 0;
    let mut run = |lives: Lives<'_>| {
        runs += 1;
        Run::of(name, setup, steps, lives)
    };
    let events = run(&[&[]]).remove(0);
    for at in struck(depth, &events) {
        for strike in events[at].strikes() {
            let is_tried = match strike {
                Strike::Crash(Crash::Before | Crash::After | Crash::Torn(Tear::EverySecond)) => true,
                Strike::Crash(Crash::Torn(_)) | Strike::Failure(_) => matches!(depth, Depth::All | Depth::Single),
            };
            if !is_tried {
                continue;
            }
            let first = (at, strike);
            let lived = run(&[&[first]]).remove(0);
            assert_eq!(lived[at], events[at], "{name}: what is struck is what was counted");
            match strike {
                _ if depth != Depth::All => {}
                // The process goes on, and dies later.
                Strike::Failure(Failure::Unreachable | Failure::Unanswered) => {
                    for (later, event) in lived.iter().enumerate().skip(at + 1) {
                        for crash in event.strikes().into_iter().filter(leaves_something) {
                            run(&[&[first, (later, crash)]]);
                        }
                    }
                }
                // So does the next one, while it takes up what this one has left.
                Strike::Crash(Crash::After | Crash::Torn(Tear::EverySecond)) => {
                    let next = run(&[&[first], &[]]).remove(1);
                    for (later, event) in next.iter().enumerate() {
                        let failed = Strike::Failure(Failure::Unanswered);
                        let strikes = event.strikes().into_iter();
                        for strike in strikes.filter(|strike| *strike == failed || leaves_something(strike)) {
                            run(&[&[first], &[(later, strike)]]);
                        }
                    }
                }
                Strike::Failure(Failure::Refused) | Strike::Crash(Crash::Before | Crash::Torn(_)) => {}
            }
        }
    }
    println!("{name}: {} events, {runs} runs, {:.1?}", events.len(), begun.elapsed());
    assert!(events.len() >= least, "{name} has only {} events: {events:?}", events.len());
}

/// Of the crashes at the events of a process that has met something before, as many as leave different disks: a crash before
/// an event leaves what a crash after the one before it does.
fn leaves_something(strike: &Strike) -> bool {
    matches!(strike, Strike::Crash(Crash::After | Crash::Torn(Tear::EverySecond)))
}

/// The events to be struck.
fn struck(depth: Depth, events: &[Event]) -> Vec<usize> {
    let bulk: Vec<_> = (0..events.len()).filter(|at| matches!(events[*at], Event::ReplaceEach { .. })).collect();
    match (depth, &bulk[..]) {
        (Depth::LastPages, [.., first, _, last]) => (*first..=*last).collect(),
        (Depth::LastPages, _) => panic!("there are no three bulk writes in {events:?}"),
        (Depth::All | Depth::Single | Depth::Crashes, _) => (0..events.len()).collect(),
    }
}

/// One run of a scenario.
struct Run<'a> {
    /// The steps that are not known to be done.
    steps: &'a [Step],
    node: Node,
    /// The hierarchy before the first of these steps.
    known: View,
    /// What was answered to this step; `None` while there is no answer.
    told: Option<Told>,
    /// What befalls the process.
    life: &'a [(usize, Strike)],
    /// Whether a job may have ended so.
    may_cancel: bool,
    may_fail: bool,
    /// Whether it is tried that all goes on afterwards: not of the many runs with two strikes.
    looks_on: bool,
}

/// The process died.
struct Died;

impl<'a> Run<'a> {
    /// Returns the events of each process: of the first all, of each further one those until the step that the one before left
    /// in doubt is done.
    fn of(name: &'a str, setup: &'a Setup, steps: &'a [Step], lives: Lives<'a>) -> Vec<Vec<Event>> {
        let _place = Place { name, lives };
        let disk = Arc::new(common::copy_of(&*setup.disk));
        let strikes: Vec<Strike> = lives.iter().flat_map(|life| life.iter().map(|(_, strike)| *strike)).collect();
        let anchored = Arc::new(Anchored::new(setup.anchored.clone()));
        let mut node = Node::new(disk, anchored, setup.source.clone());
        node.fetching = setup.fetching;
        let mut run = Self {
            steps,
            node,
            known: setup.view.clone(),
            told: None,
            life: &[],
            may_cancel: retires(&setup.view)
                || setup.source.as_ref().is_some_and(|source| retires(&source.view))
                || steps.iter().any(|step| matches!(step, Step::CancelRekey(_))),
            looks_on: strikes.len() < 2,
            may_fail: strikes.iter().any(|strike| matches!(strike, Strike::Failure(_))),
        };
        let mut events = Vec::new();
        for (number, life) in lives.iter().enumerate() {
            run.restart(life);
            let mut recovered = None;
            while let [step, rest @ ..] = run.steps {
                if run.take(*step).is_err() {
                    break;
                }
                (run.steps, run.told) = (rest, None);
                recovered.get_or_insert(run.node.clock.events().len());
            }
            let mut lived = run.node.clock.events();
            if number > 0 {
                lived.truncate(recovered.unwrap_or(lived.len()));
            }
            events.push(lived);
        }
        // A failure that a keeper's answer tells of leaves nothing with it that nobody knows of.
        let is_accounted =
            |strike: &Strike| matches!(strike, Strike::Failure(Failure::Unreachable | Failure::Unanswered));
        run.end(strikes.iter().all(is_accounted));
        events
    }

    fn restart(&mut self, life: &'a [(usize, Strike)]) {
        self.node.restart(life);
        self.life = life;
    }

    /// Asks for a step until it is done. A failure that is no crash is over when it is asked for again.
    fn take(&mut self, step: Step) -> Result<(), Died> {
        const ATTEMPTS: usize = 6;
        for _ in 0..ATTEMPTS {
            if self.node.engine.is_none()
                && let Err(failed) = self.node.start()
            {
                self.survived(&failed)?;
                continue;
            }
            if self.node.clock.is_dead() {
                return Err(Died);
            }
            let Ok(now) = self.node.view() else {
                // A keeper did not give a KEK when the process started.
                assert!(self.may_fail, "a KEK is not in memory");
                self.node.engine = None;
                continue;
            };
            let stand = step.stand(&self.known, &now, &self.node);
            let stand = stand.unwrap_or_else(|| panic!("{step:?}: {}", difference(&self.known, &now)));
            if let Some(told) = &self.told {
                assert_eq!(stand, Stand::Done, "{step:?} was acknowledged");
                for (svm, object, versions) in told {
                    assert_eq!(now.svms[svm].keys[object], *versions, "{step:?}: another key than was told");
                }
            }
            let is_awaited = step.is_silent() && self.told.is_none();
            if stand == Stand::Done && !is_awaited && !self.node.has_unfinished_jobs() {
                self.known = now;
                return Ok(());
            }
            match step.run(&mut self.node) {
                Ok(told) => self.told = Some(told),
                Err(failed) => self.survived(&failed)?,
            }
        }
        panic!("{step:?} is not done in {ATTEMPTS} attempts");
    }

    /// A failure while the process lives says what has befallen it.
    fn survived(&self, Failed(error): &Failed) -> Result<(), Died> {
        if self.node.clock.is_dead() {
            return Err(Died);
        }
        let events = self.node.clock.events();
        let told = |(at, strike): &(usize, Strike)| match (events.get(*at)?, strike) {
            (_, Strike::Crash(_)) => None,
            (Event::Call(ANCHOR), Strike::Failure(_)) => Some((Fault::Node, Advice::Retry)),
            (Event::Call(_), Strike::Failure(Failure::Refused)) => Some((Fault::Keeper, Advice::GiveCredentials)),
            (Event::Call(_), Strike::Failure(_)) => Some((Fault::Keeper, Advice::Retry)),
            (Event::Commit { .. } | Event::ReplaceEach { .. }, Strike::Failure(_)) => {
                Some((Fault::Node, Advice::MakeRoom))
            }
        };
        let is_told = self.life.iter().filter_map(told).any(|blame| blame == error.blame());
        let waits = error.blame() == (Fault::Node, Advice::Retry) && self.node.has_unfinished_jobs();
        assert!(is_told || waits, "{:?}: {}", error.blame(), common::chain(&**error));
        Ok(())
    }

    /// The last process, and what must be true in the end.
    fn end(mut self, keepers_are_accounted: bool) {
        self.settle();
        let steps = self.steps;
        for step in steps {
            assert!(self.take(*step).is_ok());
            self.told = None;
        }
        if !steps.is_empty() {
            self.settle();
        }
        assert!(self.node.view().unwrap() == self.known);
        if keepers_are_accounted {
            let held: Vec<_> = self.node.keepers.held().iter().map(|(svm, version)| (*svm, version.get())).collect();
            assert_eq!(held, self.known.live_keks(), "what the keeper holds is what is live");
        }
    }

    /// Starts a process that lives: no job is stuck, nothing is orphaned, all goes on, and the next process has nothing to do.
    fn settle(&mut self) {
        let left = self.start_over();
        let Some(engine) = &self.node.engine else { return };
        for job in engine.jobs().unwrap() {
            match job.status {
                JobStatus::Succeeded => {}
                JobStatus::Cancelled => assert!(self.may_cancel, "{job:?}"),
                JobStatus::Failed { .. } => assert!(self.may_fail, "{job:?}"),
                status => panic!("a job is stuck: {status:?}"),
            }
        }
        let now = self.node.view().unwrap();
        assert!(!retires(&now) || self.may_cancel || self.may_fail, "a KEK retires, and no job sees to it");
        verify_clean(engine);
        if self.looks_on && now.svms.values().map(|svm| svm.keys.len()).sum::<usize>() < MANY {
            goes_on(&self.node, &now);
        }
        let again = self.start_over();
        assert!(left == again, "the second start changed something");
    }

    /// Starts a process that lives, and returns what is on its disk then. In Common Criteria mode, unlocking counts the attempt.
    fn start_over(&mut self) -> Records {
        self.restart(&[]);
        self.node.start().unwrap_or_else(|Failed(error)| panic!("{}", common::chain(&*error)));
        let is_locking = self.node.engine.as_ref().and_then(Engine::keystore).map(|keystore| keystore.mode);
        let mut left = records(&*self.node.disk);
        // That KEKs were asked for is no change.
        let jobs = self.node.engine.iter().flat_map(|engine| engine.jobs().unwrap());
        let asked: BTreeSet<_> = jobs
            .filter(|job| matches!(job.operation, JobOperation::Restore { .. }))
            .map(|job| job.id.into_bytes().to_vec())
            .collect();
        left.retain(|(table, key, _)| *table != Table::Jobs || !asked.contains(key));
        left.retain(|(table, ..)| is_locking != Some(OnboardMode::CommonCriteria) || *table != Table::Keystores);
        left
    }
}

fn retires(view: &View) -> bool {
    view.svms.values().any(|svm| svm.kek.is_some_and(|(_, retiring)| retiring.is_some()))
}

/// Where there are so many keys, it is enough that they are all there.
const MANY: usize = 1_000;

/// On a copy: every SVM takes a key, is not deleted with it, and is rekeyed; and nothing else changes.
fn goes_on(node: &Node, known: &View) {
    let copy = Arc::new(common::copy_of(&*node.disk));
    let engine = Engine::open_on(copy.clone(), node.unharmed()).unwrap();
    match known.keystore {
        Some((_, secret)) if engine.keystore().unwrap().locked => engine.unlock(&passphrase(secret)).unwrap(),
        Some(_) => {}
        None => drop(engine.create_onboard(OnboardMode::Unattended, &passphrase(PASSPHRASE)).unwrap()),
    }
    for (svm, seen) in &known.svms {
        engine.create_key(*svm, volume(u128::MAX), KeyAlgorithm::XtsAes256).unwrap();
        let refused = engine.delete_svm(*svm);
        assert!(
            matches!(
                refused,
                Err(SvmError::HasKeys { .. }
                    | SvmError::HasVolumes { .. }
                    | SvmError::HasCertificates { .. }
                    | SvmError::HasKeystores { .. }
                    | SvmError::Admin)
            ),
            "{refused:?}"
        );
        let next = match seen.kek {
            None => 2,
            Some((version, None)) => version + 1,
            Some((version, Some(_))) => version,
        };
        match engine.rekey_internal(*svm) {
            Err(RekeyError::Mixed { .. }) => assert!(seen.is_mixed()),
            rekeyed => {
                rekeyed.unwrap().wait().unwrap();
                assert_eq!(common::kek_versions(&engine, *svm), Some((next, None)));
            }
        }
        engine.delete_key(*svm, volume(u128::MAX)).unwrap();
    }
    let mut now = View::of(&engine, &copy).unwrap();
    (now.keystore, now.mode) = (known.keystore, known.mode);
    for (svm, seen) in &mut now.svms {
        (seen.kek, seen.kept) = (known.svms[svm].kek, known.svms[svm].kept.clone());
    }
    assert!(now == *known, "{}", difference(known, &now));
    verify_clean(&engine);
}

/// What differs, without the bytes of keys.
fn difference(before: &View, now: &View) -> String {
    let short = |view: &View| {
        let svms = view.svms.values().map(|svm| {
            let keys = svm
                .keys
                .values()
                .flatten()
                .map(|(version, _)| *version)
                .fold(String::new(), |all, one| format!("{all}{one}"));
            let (name, kek, kept, keystores, volumes) = (&svm.name, svm.kek, &svm.kept, &svm.keystores, &svm.volumes);
            format!("{name} kek {kek:?} kept {kept:?} keystores {keystores:?} volumes {volumes:?} keys {keys}")
        });
        format!(
            "{:?} {:?} {:?}",
            view.hierarchy,
            view.keystore.map(|(id, secret)| (id, secret.len())),
            svms.collect::<Vec<_>>()
        )
    };
    format!("was {}\nnow {}", short(before), short(now))
}

/// Says which run it was that failed.
struct Place<'a> {
    name: &'a str,
    lives: Lives<'a>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("{} failed where its processes met {:?}", self.name, self.lives);
        }
    }
}
