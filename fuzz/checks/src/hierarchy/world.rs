//! A hierarchy and its model, and what may be when an answer did not come.

use std::error::Error;
use std::mem;

use claviger::store::faults::{Failure, Strike};
use claviger::{
    Creation, Engine, Job, JobError, JobStatus, KeyAlgorithm, KeyError, NewKey, ObjectRef, RekeyError, SvmError, SvmId,
    SvmName, fuzzing,
};
use uuid::Uuid;

use super::model::{Svm, Versions, is_new, is_rotated, version, versions};
use super::process::Process;
use super::script::{SVMS, Step, Then};

const NAMES: [&str; SVMS] = ["cluster1", "a", "b", "c"];

/// An answer that the model did not foresee.
type Unforeseen = Box<dyn Error>;

pub(super) struct World {
    process: Process,
    /// `None` between two processes alone.
    engine: Option<Engine>,
    /// By name, as in `NAMES`.
    svms: [Svm; SVMS],
    /// What the next process meets.
    armed: Option<(usize, Strike)>,
    /// Everything that any process has met.
    met: Vec<Strike>,
    has_died: bool,
    has_cancelled: bool,
}

impl World {
    pub(super) fn new() -> Self {
        let (process, engine) = Process::first();
        let mut svms: [Svm; SVMS] = Default::default();
        svms[0].id = Some(engine.svms()[0].id());
        Self {
            process,
            engine: Some(engine),
            svms,
            armed: None,
            met: Vec::new(),
            has_died: false,
            has_cancelled: false,
        }
    }

    pub(super) fn take(&mut self, step: &Step) {
        let before = self.process.events();
        if let Err(error) = self.run(step) {
            if self.is_refused(step, &*error) {
                return;
            }
            let is_met = self.process.is_dead() || self.process.was_struck_since(before);
            assert!(is_met || self.is_of_job(&*error), "{step:?}: {error:?}");
            self.settle(step);
        }
    }

    /// The last process meets nothing: all is there, all works, and nothing is left undone.
    pub(super) fn end(mut self) {
        self.start(None, true);
        self.finish_jobs().expect("nothing fails now");
        for job in self.engine().jobs().unwrap() {
            match job.status {
                JobStatus::Succeeded => {}
                JobStatus::Cancelled if self.has_cancelled => {}
                JobStatus::Failed { .. } if !self.met.is_empty() => {}
                status => panic!("a job is left as {status:?}"),
            }
        }
        self.check();
        self.check_keepers();
        for slot in 0..SVMS {
            if let Some(id) = self.svms[slot].id {
                let extra = ObjectRef::Drive(Uuid::from_u128(u128::MAX));
                self.engine().create_key(id, extra, KeyAlgorithm::Aes256).unwrap();
                self.engine().rekey_internal(id).unwrap().wait().unwrap();
                self.engine().delete_key(id, extra).unwrap();
                self.svms[slot].kek = self.engine().kek(id).unwrap().map(|kek| kek.version.get());
            }
        }
        self.check();
    }

    /// What the keeper holds is what is live, unless a process died before it recorded a KEK that was kept.
    fn check_keepers(&self) {
        let is_told = |met: &Strike| matches!(met, Strike::Failure(Failure::Unreachable | Failure::Unanswered));
        if self.has_died || !self.met.iter().all(is_told) {
            return;
        }
        let live = self.svms.iter().filter_map(|svm| Some((svm.id?, self.engine().kek(svm.id?).unwrap()?)));
        let live = live.flat_map(|(id, kek)| kek.retiring.into_iter().chain([kek.version]).map(move |v| (id, v)));
        let mut live: Vec<_> = live.collect();
        live.sort_unstable();
        assert_eq!(self.process.keepers.held(), live);
    }

    fn engine(&self) -> &Engine {
        self.engine.as_ref().expect("a process runs")
    }

    fn id(&self, slot: usize) -> SvmId {
        self.svms[slot].id.unwrap_or(SvmId::from_bytes([0xff; 16]))
    }

    /// Ends the process, in whatever state it is, and starts the next.
    fn start(&mut self, strike: Option<(usize, Strike)>, resume_jobs: bool) {
        self.has_died |= self.process.is_dead();
        self.engine = None;
        match self.process.next(strike, resume_jobs) {
            Ok(engine) => self.engine = Some(engine),
            Err(error) => {
                assert!(self.process.was_struck(), "{error:?}");
                self.met.extend(strike.map(|(_, strike)| strike));
                return self.start(None, resume_jobs);
            }
        }
        self.met.extend(strike.map(|(_, strike)| strike));
        let engine = self.engine.as_ref().expect("started above");
        for svm in &mut self.svms {
            let gone = svm.id.is_some_and(|id| matches!(engine.svm(id), Err(SvmError::Unknown { .. })));
            if gone && svm.deleting {
                assert!(svm.keys.is_empty());
                *svm = Svm::default();
            }
        }
    }

    /// Starts processes until one runs that has all KEKs in memory.
    fn revive(&mut self) {
        while self.process.is_dead() || (0..SVMS).any(|slot| self.is_closed(slot)) {
            let armed = self.armed.take();
            self.start(armed, true);
        }
    }

    /// Whether the SVM's KEKs are not in memory, as the keeper failed when the process started.
    fn is_closed(&self, slot: usize) -> bool {
        let kek = self.svms[slot].id.and_then(|id| self.engine().kek(id).ok().flatten());
        kek.is_some_and(|kek| !kek.in_memory)
    }

    /// A refusal after which all is as it was.
    fn is_refused(&self, step: &Step, error: &(dyn Error + 'static)) -> bool {
        let Some(slot) = slot_of(step) else { return false };
        let key_error = match error.downcast_ref::<RekeyError>() {
            Some(RekeyError::Key(error)) => Some(error),
            _ => error.downcast_ref(),
        };
        match (key_error, error.downcast_ref()) {
            (Some(KeyError::KekUnreachable { .. } | KeyError::KekRefused { .. }), _) => self.is_closed(slot),
            (Some(KeyError::SvmBeingDeleted { .. }), _) => self.svms[slot].deleting,
            (_, Some(SvmError::Busy { .. })) => self.svms[slot].rekeying,
            _ => false,
        }
    }

    /// A job tells later what it met.
    fn is_of_job(&self, error: &(dyn Error + 'static)) -> bool {
        let is_end = |error| matches!(error, &JobError::Failed { .. } | &JobError::Interrupted { .. });
        error.downcast_ref().is_some_and(is_end) && self.process.was_struck()
    }

    fn run(&mut self, step: &Step) -> Result<(), Unforeseen> {
        match *step {
            Step::CreateSvm(slot) => self.create_svm(slot),
            Step::RenameSvm(slot, to) => self.rename_svm(slot, to),
            Step::DeleteSvm(slot) => self.delete_svm(slot),
            Step::CreateKey(slot, new) => self.create_key(slot, new),
            Step::CreateKeys(slot, ref new) => self.create_keys(slot, new),
            Step::OpenKey(slot, object) => self.open_key(slot, object).map(drop),
            Step::DeleteKey(slot, object) => self.delete_key(slot, object),
            Step::BeginRotation(slot, object) => self.begin_rotation(slot, object),
            Step::FinishRotation(slot, object) => self.finish_rotation(slot, object),
            Step::Rekey(slot, then) => self.rekey(slot, then),
            Step::FinishJobs => self.finish_jobs(),
            Step::Backup => {
                let text = self.engine().backup()?;
                assert_eq!(fuzzing::backup(&text).unwrap(), text);
                Ok(())
            }
            Step::Verify => self.verify(),
            Step::Arm(at, strike) => {
                self.armed = Some((at, strike));
                Ok(())
            }
            Step::Restart { resume_jobs } => {
                let armed = self.armed.take();
                self.start(armed, resume_jobs);
                if !self.process.was_struck() {
                    self.check_opened();
                }
                Ok(())
            }
        }
    }

    fn create_svm(&mut self, slot: usize) -> Result<(), Unforeseen> {
        match (self.engine().create_svm(&name(slot)), self.svms[slot].id) {
            (Ok(made), None) => self.svms[slot].id = Some(made.id()),
            (Err(SvmError::NameTaken { name }), Some(_)) => assert_eq!(name.as_str(), NAMES[slot]),
            (Err(error), _) => return Err(error.into()),
            (Ok(made), Some(known)) => panic!("{made:?} beside {known}"),
        }
        Ok(())
    }

    fn rename_svm(&mut self, slot: usize, to: usize) -> Result<(), Unforeseen> {
        let result = self.engine().rename_svm(self.id(slot), &name(to));
        match (result, self.svms[slot].id, self.svms[to].id) {
            (Err(SvmError::Unknown { .. }), None, _) => {}
            (Ok(()), Some(_), _) if slot == to => {}
            (Ok(()), Some(_), None) => self.svms.swap(slot, to),
            (Err(SvmError::NameTaken { name }), Some(_), Some(_)) => assert_eq!(name.as_str(), NAMES[to]),
            (Err(error), ..) => return Err(error.into()),
            (Ok(()), from, to) => panic!("{from:?} renamed to {to:?}"),
        }
        Ok(())
    }

    fn delete_svm(&mut self, slot: usize) -> Result<(), Unforeseen> {
        let result = self.engine().delete_svm(self.id(slot));
        let admin = self.engine().svms()[0].id();
        let svm = &mut self.svms[slot];
        match result {
            Err(SvmError::Unknown { .. }) if svm.id.is_none() => {}
            Err(SvmError::Admin) => assert_eq!(svm.id, Some(admin)),
            Err(SvmError::HasKeys { .. }) => assert!(!svm.keys.is_empty()),
            Err(error) => return Err(error.into()),
            Ok(()) => {
                assert!(svm.id.is_some_and(|id| id != admin) && svm.keys.is_empty());
                *svm = Svm::default();
            }
        }
        Ok(())
    }

    fn create_key(&mut self, slot: usize, NewKey { object, algorithm }: NewKey) -> Result<(), Unforeseen> {
        let result = self.engine().create_key(self.id(slot), object, algorithm);
        let svm = &mut self.svms[slot];
        match (result, svm.id, svm.keys.contains_key(&object)) {
            (Err(KeyError::UnknownSvm { .. }), None, _) | (Err(KeyError::Exists { .. }), Some(_), true) => {
                return Ok(());
            }
            (Ok(key), Some(_), false) => {
                let made = vec![version(&key)];
                assert!(is_new(&made, algorithm));
                svm.keys.insert(object, made);
                svm.kek.get_or_insert(1);
            }
            (Err(error), ..) => return Err(error.into()),
            (Ok(key), ..) => panic!("{key:?} made"),
        }
        self.open_key(slot, object).map(drop)
    }

    fn create_keys(&mut self, slot: usize, new: &[NewKey]) -> Result<(), Unforeseen> {
        let creations = match (self.engine().create_keys(self.id(slot), new), self.svms[slot].id) {
            (Err(KeyError::UnknownSvm { .. }), None) => return Ok(()),
            (Ok(creations), Some(_)) => creations,
            (result, _) => return Err(result.map(drop).expect_err("made in an SVM that does not exist").into()),
        };
        assert_eq!(creations.len(), new.len());
        for (&NewKey { object, algorithm }, creation) in new.iter().zip(creations) {
            self.svms[slot].kek.get_or_insert(1);
            if self.svms[slot].keys.contains_key(&object) {
                assert_eq!(creation, Creation::Exists);
                continue;
            }
            assert_eq!(creation, Creation::Created);
            // The call does not return the keys. From now on each is what it is now.
            let made = versions(&self.engine().open_key(self.id(slot), object)?);
            assert!(is_new(&made, algorithm));
            self.svms[slot].keys.insert(object, made);
        }
        Ok(())
    }

    fn open_key(&self, slot: usize, object: ObjectRef) -> Result<Versions, Unforeseen> {
        let svm = &self.svms[slot];
        match (self.engine().open_key(self.id(slot), object), svm.id, svm.keys.get(&object)) {
            (Err(KeyError::UnknownSvm { .. }), None, _) | (Err(KeyError::Missing { .. }), Some(_), None) => {
                Ok(Versions::new())
            }
            (Ok(opened), Some(_), Some(known)) => {
                assert!(versions(&opened) == *known, "{object} opens as another key");
                Ok(known.clone())
            }
            (Err(error), ..) => Err(error.into()),
            (Ok(_), ..) => panic!("{object} has a key that nobody made"),
        }
    }

    fn delete_key(&mut self, slot: usize, object: ObjectRef) -> Result<(), Unforeseen> {
        let result = self.engine().delete_key(self.id(slot), object);
        let svm = &mut self.svms[slot];
        match (result, svm.id, svm.keys.contains_key(&object)) {
            (Err(KeyError::UnknownSvm { .. }), None, _) | (Err(KeyError::Missing { .. }), Some(_), false) => {}
            (Ok(()), Some(_), true) => drop(svm.keys.remove(&object)),
            (Err(error), ..) => return Err(error.into()),
            (Ok(()), ..) => panic!("{object} had a key that nobody made"),
        }
        Ok(())
    }

    fn begin_rotation(&mut self, slot: usize, object: ObjectRef) -> Result<(), Unforeseen> {
        let result = self.engine().begin_rotation(self.id(slot), object);
        let svm = &mut self.svms[slot];
        match (result, svm.id, svm.keys.get_mut(&object)) {
            (Err(KeyError::UnknownSvm { .. }), None, _) | (Err(KeyError::Missing { .. }), Some(_), None) => {}
            (Err(KeyError::Rotating { .. }), Some(_), Some(known)) => assert_eq!(known.len(), 2),
            (Ok(opened), Some(_), Some(known)) => {
                let opened = versions(&opened);
                assert!(is_rotated(known, &opened));
                *known = opened;
            }
            (Err(error), ..) => return Err(error.into()),
            (Ok(_), ..) => panic!("{object} had a key that nobody made"),
        }
        self.open_key(slot, object).map(drop)
    }

    fn finish_rotation(&mut self, slot: usize, object: ObjectRef) -> Result<(), Unforeseen> {
        let result = self.engine().finish_rotation(self.id(slot), object);
        let svm = &mut self.svms[slot];
        match (result, svm.id, svm.keys.get_mut(&object)) {
            (Err(KeyError::UnknownSvm { .. }), None, _) | (Err(KeyError::Missing { .. }), Some(_), None) => {}
            (Err(KeyError::NotRotating { .. }), Some(_), Some(known)) => assert_eq!(known.len(), 1),
            (Ok(kept), Some(_), Some(known)) => {
                known.remove(0);
                assert!(*known == [version(&kept)]);
            }
            (Err(error), ..) => return Err(error.into()),
            (Ok(_), ..) => panic!("{object} had a key that nobody made"),
        }
        self.open_key(slot, object).map(drop)
    }

    fn rekey(&mut self, slot: usize, then: Then) -> Result<(), Unforeseen> {
        let id = self.id(slot);
        let before = self.engine().kek(id).ok().flatten();
        let job = match (self.engine().rekey_internal(id), self.svms[slot].id, self.svms[slot].kek) {
            (Err(RekeyError::Key(KeyError::UnknownSvm { .. })), None, _) => return Ok(()),
            (Err(RekeyError::NoKeys { .. }), Some(_), None) => return Ok(()),
            (Ok(job), Some(_), Some(_)) => job,
            (Err(error), ..) => return Err(error.into()),
            (Ok(job), ..) => panic!("{job:?} of nothing"),
        };
        let was_rekeying = mem::replace(&mut self.svms[slot].rekeying, true);
        match then {
            Then::Leave => return Ok(()),
            Then::Wait => self.wait(slot, &job)?,
            Then::Cancel => {
                self.has_cancelled = true;
                job.cancel();
                match self.wait(slot, &job) {
                    Err(error) if matches!(error.downcast_ref(), Some(JobError::Cancelled { .. })) => return Ok(()),
                    ended => ended?,
                }
            }
        }
        let now = self.engine().kek(id)?.expect("a KEK");
        assert_eq!(now.retiring, None);
        // One that stopped half-way goes on to the version that it made.
        if let Some(before) = before.filter(|_| !was_rekeying) {
            let next = before.version.get() + u32::from(before.retiring.is_none());
            assert_eq!(now.version.get(), next);
        }
        Ok(())
    }

    fn wait(&mut self, slot: usize, job: &Job) -> Result<(), Unforeseen> {
        let ended = job.wait();
        if !matches!(ended, Err(JobError::Interrupted { .. })) {
            self.observe_kek(slot);
            self.svms[slot].rekeying = false;
        }
        Ok(ended.map(drop)?)
    }

    fn finish_jobs(&mut self) -> Result<(), Unforeseen> {
        for job in self.engine().jobs()? {
            match self.engine().resume_job(job.id) {
                Ok(job) => drop(job.wait()?),
                Err(JobError::Ended { .. }) => {}
                Err(JobError::Locked { .. }) if (0..SVMS).any(|slot| self.is_closed(slot)) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        for slot in 0..SVMS {
            self.observe_kek(slot);
            self.svms[slot].rekeying = false;
        }
        Ok(())
    }

    /// The current KEK's version changes only by rekeys, and only grows.
    fn observe_kek(&mut self, slot: usize) {
        let Some(id) = self.svms[slot].id else { return };
        let now = self.engine().kek(id).unwrap().map(|kek| kek.version.get());
        let svm = &mut self.svms[slot];
        match svm.rekeying {
            true => assert!(now >= svm.kek && now.is_some() == svm.kek.is_some(), "{now:?} after {:?}", svm.kek),
            false => assert_eq!(now, svm.kek),
        }
        svm.kek = now;
    }

    fn verify(&self) -> Result<(), Unforeseen> {
        let report = self.engine().verify(|_| ())?;
        if !(0..SVMS).any(|slot| self.is_closed(slot)) {
            assert_eq!(report.findings, []);
            assert_eq!(report.keys, self.svms.iter().map(|svm| svm.keys.len() as u64).sum::<u64>());
        }
        Ok(())
    }

    /// All that was acknowledged is there, and nothing else.
    fn check(&mut self) {
        self.check_opened();
        for slot in 0..SVMS {
            self.observe_kek(slot);
        }
        self.verify().expect("nothing fails now");
    }

    fn check_opened(&self) {
        let existing = || NAMES.iter().zip(&self.svms).filter(|(_, svm)| svm.id.is_some());
        for (name, svm) in existing() {
            let id = svm.id.expect("existing");
            // One whose creation, renaming or deletion is in doubt is looked at when that is settled.
            let Ok(info) = self.engine().svm_named(name) else { continue };
            if info.id() != id {
                continue;
            }
            for (object, known) in &svm.keys {
                match self.engine().open_key(id, *object) {
                    Ok(opened) => assert!(versions(&opened) == *known, "{object} opens as another key"),
                    // A job's thread has met the strike meanwhile: the next process is asked.
                    Err(_) if self.process.is_dead() => return,
                    Err(error) => panic!("{object} does not open: {error:?}"),
                }
            }
        }
    }

    /// Finds out what became of a step whose answer did not come: all of it or nothing, and each key of many on its own.
    fn settle(&mut self, step: &Step) {
        self.revive();
        match *step {
            Step::CreateSvm(slot) => {
                if self.svms[slot].id.is_none() {
                    self.svms[slot].id = self.engine().svm_named(NAMES[slot]).ok().map(|info| info.id());
                }
            }
            Step::RenameSvm(slot, to) => {
                let Some(id) = self.svms[slot].id else { return };
                let info = self.engine().svm(id).unwrap();
                if info.name() == Some(&name(to)) && slot != to {
                    assert_eq!(self.svms[to].id, None);
                    self.svms.swap(slot, to);
                }
            }
            Step::DeleteSvm(slot) => {
                let Some(id) = self.svms[slot].id else { return };
                match self.engine().svm(id) {
                    Ok(info) => self.svms[slot].deleting = !info.is_admin(),
                    Err(_) => {
                        assert!(self.svms[slot].keys.is_empty());
                        self.svms[slot] = Svm::default();
                    }
                }
            }
            Step::CreateKey(slot, new) => self.settle_creation(slot, &[new]),
            Step::CreateKeys(slot, ref new) => self.settle_creation(slot, new),
            Step::DeleteKey(slot, object) => self.settle_key(slot, object, |_, now| now.is_empty()),
            Step::BeginRotation(slot, object) => self.settle_key(slot, object, is_rotated),
            Step::FinishRotation(slot, object) => {
                self.settle_key(slot, object, |before, now| before.len() == 2 && now[..] == before[1..]);
            }
            Step::Rekey(slot, _) => self.svms[slot].rekeying |= self.svms[slot].kek.is_some(),
            Step::OpenKey(..)
            | Step::FinishJobs
            | Step::Backup
            | Step::Verify
            | Step::Arm(..)
            | Step::Restart { .. } => {}
        }
        self.check_opened();
    }

    fn settle_creation(&mut self, slot: usize, new: &[NewKey]) {
        let Some(id) = self.svms[slot].id else { return };
        if self.svms[slot].kek.is_none() {
            self.svms[slot].kek = self.engine().kek(id).unwrap().map(|kek| kek.version.get());
            assert!(self.svms[slot].kek.is_none_or(|version| version == 1));
        }
        for &NewKey { object, algorithm } in new {
            self.settle_key(slot, object, |before, now| before.is_empty() && is_new(now, algorithm));
        }
    }

    /// The key is as it was, or as it was to be.
    fn settle_key(&mut self, slot: usize, object: ObjectRef, is_done: impl Fn(&Versions, &Versions) -> bool) {
        let Some(id) = self.svms[slot].id else { return };
        let now = match self.engine().open_key(id, object) {
            Ok(opened) => versions(&opened),
            Err(KeyError::Missing { .. }) => Versions::new(),
            Err(error) => panic!("{object} does not open: {error:?}"),
        };
        let keys = &mut self.svms[slot].keys;
        let before = keys.get(&object).cloned().unwrap_or_default();
        assert!(now == before || is_done(&before, &now), "{object} is neither as it was nor as it was to be");
        match now.is_empty() {
            true => drop(keys.remove(&object)),
            false => drop(keys.insert(object, now)),
        }
    }
}

fn name(slot: usize) -> SvmName {
    NAMES[slot].parse().unwrap()
}

const fn slot_of(step: &Step) -> Option<usize> {
    match *step {
        Step::CreateSvm(slot)
        | Step::RenameSvm(slot, _)
        | Step::DeleteSvm(slot)
        | Step::CreateKey(slot, _)
        | Step::CreateKeys(slot, _)
        | Step::OpenKey(slot, _)
        | Step::DeleteKey(slot, _)
        | Step::BeginRotation(slot, _)
        | Step::FinishRotation(slot, _)
        | Step::Rekey(slot, _) => Some(slot),
        Step::FinishJobs | Step::Backup | Step::Verify | Step::Arm(..) | Step::Restart { .. } => None,
    }
}
