//! What the records of one SVM say of one another, and whether its KEKs can be had again.
//!
//! Two records that belong together are read one after the other, while others change them. So whatever contradicts is read
//! again: if nothing of it has changed, it stood like that at one moment, because no record ever gets the same bytes twice
//! (each is sealed with a new nonce).

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use claviger_store::{StoreError, Table};
use claviger_wrap::{KekId, SvmId};
use uuid::Uuid;

use super::records::{Census, PAGE};
use super::report::{Findings, Problem, Unavailable, Unchecked};
use crate::engine::Core;
use crate::error::chain;
use crate::keeper::{KeeperError, KekPlace, KeptKek, Trouble};
use crate::key_error::KeyError;
use crate::records::{
    Body, JobRecord, KekEntry, KekList, KeystoreRecord, NameRecord, Operation, Phase, Read, RecordName, RekeyStep,
    SealRecord, Subject, SvmKeystores, SvmRecord, Task,
};

/// Checks all SVMs. Returns those whose KEKs cannot be had.
pub(super) fn check_all(
    core: &Core,
    census: &Census,
    findings: &mut Findings,
) -> Result<BTreeMap<SvmId, Unchecked>, KeyError> {
    let mut unchecked = BTreeMap::new();
    let silent = RefCell::default();
    for &svm in &census.svms {
        let check = stable(core, |view| {
            let mut check = Check { core, census, view, silent: &silent, svm, found: Vec::new(), unchecked: None };
            check.all()?;
            Ok((check.found, check.unchecked))
        })?;
        for (record, problem, detail) in check.0 {
            findings.add(record, problem, detail);
        }
        unchecked.extend(check.1.map(|closed| (svm, closed)));
    }
    Ok(unchecked)
}

type Found = Vec<(RecordName, Problem, String)>;

/// Runs `check` until it finds nothing, or until nothing that it has read changes meanwhile.
fn stable(
    core: &Core,
    check: impl Fn(&View<'_>) -> Result<(Found, Option<Unchecked>), KeyError>,
) -> Result<(Found, Option<Unchecked>), KeyError> {
    loop {
        let view = View { core, seen: RefCell::default() };
        let (found, unchecked) = check(&view)?;
        if (found.is_empty() && unchecked.is_none()) || view.still_stands()? {
            return Ok((found, unchecked));
        }
    }
}

/// Reads records, and remembers what it has read.
struct View<'a> {
    core: &'a Core,
    seen: RefCell<Vec<(RecordName, Option<Vec<u8>>)>>,
}

/// A record as it was seen.
enum Seen<T> {
    Absent,
    /// It does not open, which is a finding of its own: nothing is known of what it says.
    Unreadable,
    There(Box<Read<T>>),
}

impl<T> Seen<T> {
    const fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }

    fn there(&self) -> Option<&T> {
        match self {
            Self::There(read) => Some(&read.body),
            Self::Absent | Self::Unreadable => None,
        }
    }
}

impl View<'_> {
    fn read<T: Body>(&self, key: &[u8]) -> Result<Seen<T>, StoreError> {
        let raw = self.core.records.store().get(T::TABLE, key)?;
        self.seen.borrow_mut().push((RecordName::of::<T>(key), raw.clone()));
        Ok(match raw.map(|raw| self.core.records.open(key, raw)) {
            None => Seen::Absent,
            Some(Ok(read)) => Seen::There(Box::new(read)),
            Some(Err(_)) => Seen::Unreadable,
        })
    }

    /// The keys of the counts of the SVM's seals.
    fn seals(&self, svm: SvmId) -> Result<Vec<Vec<u8>>, StoreError> {
        let all = self.core.records.store().scan(Table::Keks, svm.as_bytes(), None, PAGE)?;
        Ok(all.into_iter().map(|entry| entry.key).filter(|key| !KekList::is_key(key)).collect())
    }

    fn still_stands(&self) -> Result<bool, StoreError> {
        for (record, raw) in self.seen.borrow().iter() {
            if self.core.records.store().get(record.table, &record.key)? != *raw {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// The check of one SVM.
struct Check<'a> {
    core: &'a Core,
    census: &'a Census,
    view: &'a View<'a>,
    /// The services that did not answer.
    silent: &'a RefCell<BTreeSet<String>>,
    svm: SvmId,
    found: Found,
    unchecked: Option<Unchecked>,
}

impl Check<'_> {
    fn all(&mut self) -> Result<(), KeyError> {
        let record: Seen<SvmRecord> = self.view.read(&SvmRecord::key_of(self.svm))?;
        let list: Seen<KekList> = self.view.read(&KekList::key_of(self.svm))?;
        let has_name = self.names(&record)?;
        let has_seals = self.seals(&list)?;
        let has_keks = has_seals || !list.is_absent();
        self.jobs(&list, has_keks || !record.is_absent())?;
        if record.is_absent() && (has_name || has_keks) {
            self.found::<SvmRecord>(
                &SvmRecord::key_of(self.svm),
                Problem::Missing,
                "the SVM has a name or KEKs, and no record of its own; its keys open all the same: put the record back from a copy",
            );
        }
        self.keystores()?;
        match &list {
            Seen::There(list) => self.keks(&list.body)?,
            Seen::Absent if has_seals => self.no_list("counts of its seals", Unavailable::Missing),
            Seen::Unreadable => {
                self.unavailable(RecordName::of::<KekList>(&KekList::key_of(self.svm)), Unavailable::Damaged);
            }
            Seen::Absent => {}
        }
        Ok(())
    }

    fn found<T: Body>(&mut self, key: &[u8], problem: Problem, detail: impl Into<String>) {
        self.found.push((RecordName::of::<T>(key), problem, detail.into()));
    }

    fn no_list(&mut self, witness: &str, why: Unavailable) {
        let record = RecordName::of::<KekList>(&KekList::key_of(self.svm));
        self.found.push((record.clone(), Problem::Missing, missing_list(witness)));
        self.unavailable(record, why);
    }

    fn unavailable(&mut self, depends_on: RecordName, why: Unavailable) {
        let svm = self.svm;
        let is_open = self.core.live.svm(svm).is_some_and(|live| live.keks.load().is_open());
        // Where they are in memory all the same, the keys can be opened.
        if !is_open || why.is_of_the_keeper() {
            self.unchecked.get_or_insert(Unchecked { svm, keys: 0, depends_on, why });
        }
    }

    /// The SVM's name, in both directions. Returns whether a record of a name points to the SVM.
    fn names(&mut self, record: &Seen<SvmRecord>) -> Result<bool, StoreError> {
        let mut is_pointed_to = false;
        for key in self.census.names.get(&self.svm).into_iter().flatten() {
            let name: Seen<NameRecord> = self.view.read(key)?;
            let Some(name) = name.there().filter(|name| SvmId::from(name.svm) == self.svm) else { continue };
            is_pointed_to = true;
            if let Some(other) = record.there().filter(|record| record.name != name.name) {
                let detail = format!("the SVM is named \"{}\": nobody else can take this name", other.name);
                self.found::<NameRecord>(key, Problem::Inconsistent, detail);
            }
        }
        if let Some(record) = record.there() {
            let key = NameRecord::key_of(&record.name);
            match self.view.read::<NameRecord>(&key)? {
                Seen::Absent => {
                    let detail =
                        format!("SVM {} has this name: another could take it too; rename it and back", self.svm);
                    self.found::<NameRecord>(&key, Problem::Missing, detail);
                }
                Seen::There(name) if SvmId::from(name.body.svm) != self.svm => {
                    let detail = format!("its name belongs to SVM {}; rename one of them", name.body.svm);
                    self.found::<SvmRecord>(&record.key(), Problem::Inconsistent, detail);
                }
                Seen::There(_) | Seen::Unreadable => {}
            }
        }
        Ok(is_pointed_to)
    }

    /// The counts of seals beside the list. Returns whether there are any.
    fn seals(&mut self, list: &Seen<KekList>) -> Result<bool, StoreError> {
        let seals = self.view.seals(self.svm)?;
        if let Some(list) = list.there() {
            for entry in list.entries() {
                let key = SealRecord::key_of(self.svm, entry.kek_version);
                if self.view.read::<SealRecord>(&key)?.is_absent() {
                    let detail = "the KEK is live; half of its safe seals are taken for used, and the next key made under it begins a new count";
                    self.found::<SealRecord>(&key, Problem::Missing, detail);
                }
            }
            let svm = self.svm;
            let is_live = |key: &[u8]| list.entries().any(|entry| *key == SealRecord::key_of(svm, entry.kek_version));
            for key in seals.iter().filter(|key| !is_live(key)) {
                // Told only where it opens: else it has a finding already.
                if let Seen::There(_) = self.view.read::<SealRecord>(key)? {
                    let detail = "its KEK is not among the live ones: one of the two records is from another time";
                    self.found::<SealRecord>(key, Problem::Inconsistent, detail);
                }
            }
        }
        Ok(!seals.is_empty())
    }

    /// The jobs that have not ended, and the list that must name them.
    fn jobs(&mut self, list: &Seen<KekList>, exists: bool) -> Result<(), StoreError> {
        let held = list.there().and_then(|list| list.operation);
        if let Some(Operation::Rekey { job }) = held {
            match self.view.read::<JobRecord>(job.as_bytes())? {
                Seen::Absent => {
                    let detail =
                        format!("SVM {} is held by this rekey; rekey it again: that goes on where it was", self.svm);
                    self.found::<JobRecord>(job.as_bytes(), Problem::Missing, detail);
                }
                Seen::There(job) if matches!(job.body.phase, Phase::Ended { .. }) => {
                    let detail = format!("it is held by job {}, which has ended; rekey the SVM again", job.body.job);
                    self.found::<KekList>(&KekList::key_of(self.svm), Problem::Inconsistent, detail);
                }
                Seen::There(_) | Seen::Unreadable => {}
            }
        }
        if let Some(Operation::Disable { job }) = held {
            let keystores = self.view.read::<SvmKeystores>(&SvmKeystores::key_of(self.svm))?;
            let is_theirs = match keystores {
                Seen::There(list) => list.body.job == Some(job),
                Seen::Unreadable => true,
                Seen::Absent => false,
            };
            if !is_theirs {
                let detail = format!(
                    "no key can be made: keystores are being disabled by job {job}, which does not have them; disable one again"
                );
                self.found::<KekList>(&KekList::key_of(self.svm), Problem::Inconsistent, detail);
            }
        }
        if held == Some(Operation::DeleteKeystore) && !self.core.keystore.is_being_deleted() {
            let detail = "no key can be made: it is held by a deletion of the cluster's keystore, whose own record knows of none; delete that again, or put the record back from a copy";
            self.found::<KekList>(&KekList::key_of(self.svm), Problem::Inconsistent, detail);
        }
        for &job in self.census.jobs.get(&self.svm).into_iter().flatten() {
            let Seen::There(job) = self.view.read::<JobRecord>(job.as_bytes())? else { continue };
            if !job.body.is_running() {
                continue;
            }
            let Task::RekeyInternal { step, .. } = &job.body.task else {
                // What else there is has the SVM's keystores to itself.
                let detail = match self.view.read::<SvmKeystores>(&SvmKeystores::key_of(self.svm))? {
                    _ if !exists => format!("SVM {} does not exist; cancel the job", self.svm),
                    Seen::There(list) if list.body.job == Some(job.body.job) => continue,
                    Seen::Unreadable => continue,
                    Seen::There(_) | Seen::Absent => {
                        "the keystores of its SVM are not held by it; cancel the job, and ask for it again".to_owned()
                    }
                };
                self.found::<JobRecord>(&job.body.key(), Problem::CannotResume, detail);
                continue;
            };
            let detail = match list {
                Seen::Unreadable => continue,
                Seen::Absent if exists => {
                    self.no_list("a rekey that runs", Unavailable::Missing);
                    continue;
                }
                Seen::Absent => format!("SVM {} does not exist; cancel the job", self.svm),
                Seen::There(list) => match cannot_go_on(&list.body, job.body.job, step) {
                    Some(detail) => detail.to_owned(),
                    None => continue,
                },
            };
            self.found::<JobRecord>(&job.body.key(), Problem::CannotResume, detail);
        }
        Ok(())
    }

    /// Has every keeper give back every live KEK, and compares its id.
    fn keks(&mut self, list: &KekList) -> Result<(), KeyError> {
        // An SVM that is being deleted has no keys, and its keeper may have forgotten its KEKs already; and so where the keystore is.
        if let Some(Operation::Delete | Operation::DeleteKeystore) = list.operation {
            return Ok(());
        }
        for entry in list.entries() {
            for kept in &entry.kept {
                let keystore = self.keystore(kept.keystore)?;
                let live = self.core.live.svm(self.svm);
                let site = live.as_ref().and_then(|live| self.core.site(live, kept.keystore));
                let Some(Ok(keeper)) = live.map(|live| self.core.keeper(&live, kept.keystore)) else {
                    let why = self.why(&keystore, kept.keystore);
                    self.unavailable(keystore, why);
                    continue;
                };
                // One that does not answer is asked once.
                if site.as_ref().is_some_and(|site| self.silent.borrow().contains(site)) {
                    self.unavailable(keystore, Unavailable::KeeperUnreachable);
                    continue;
                }
                let place = KekPlace { svm: self.svm, version: entry.kek_version };
                match keeper.fetch(&KeptKek { bytes: kept.bytes.clone() }, place) {
                    Err(KeeperError::Arena(full)) => return Err(full.into()),
                    Err(error) => match error.trouble() {
                        None => self.not_kept(entry, Problem::Damaged, "does not unwrap"),
                        Some(Trouble::OtherKey) => {
                            self.not_kept(entry, Problem::OtherKey, "is under another top-level key than the keeper's");
                        }
                        Some(trouble) if trouble.is_refusal() => {
                            self.unavailable(keystore, Unavailable::KeeperRefused);
                        }
                        Some(_) => {
                            self.silent.borrow_mut().extend(site);
                            self.unavailable(keystore, Unavailable::KeeperUnreachable);
                        }
                    },
                    Ok(key) if KekId::of(&key, entry.kek_version) != entry.kek_id => {
                        self.not_kept(entry, Problem::OtherKek, "is another KEK than the one it names");
                    }
                    Ok(_) => {}
                }
            }
        }
        Ok(())
    }

    /// The record that a keystore is in, which must be there.
    fn keystore(&mut self, keystore: Uuid) -> Result<RecordName, StoreError> {
        let own = SvmKeystores::key_of(self.svm);
        match self.view.read::<SvmKeystores>(&own)? {
            Seen::There(list) if list.body.get(keystore).is_some() => Ok(RecordName::of::<SvmKeystores>(&own)),
            // Whether it was among these is not known.
            Seen::Unreadable if self.core.keystore.id() != Some(keystore) => Ok(RecordName::of::<SvmKeystores>(&own)),
            // The cluster has another one, and never has a second.
            seen @ (Seen::There(_) | Seen::Absent) if self.core.keystore.id().is_some_and(|its| its != keystore) => {
                let (problem, stands) = match seen {
                    Seen::Absent => (Problem::Missing, "whose record is not there: put it back from a copy"),
                    _ => {
                        (Problem::Inconsistent, "which is not among these: one of the two records is from another time")
                    }
                };
                let detail = format!("KEKs of the SVM are kept by keystore {keystore}, {stands}, or restore a backup");
                self.found::<SvmKeystores>(&own, problem, detail);
                Ok(RecordName::of::<SvmKeystores>(&own))
            }
            Seen::There(_) | Seen::Unreadable | Seen::Absent => {
                let record = RecordName { table: Table::Keystores, key: keystore.as_bytes().to_vec() };
                if self.view.read::<KeystoreRecord>(&record.key)?.is_absent() {
                    let detail = "KEKs are kept by this keystore; put its record back from a copy, or restore a backup";
                    self.found.push((record.clone(), Problem::Missing, detail.to_owned()));
                }
                Ok(record)
            }
        }
    }

    /// The SVM's keystores, and what they name.
    fn keystores(&mut self) -> Result<(), StoreError> {
        let key = SvmKeystores::key_of(self.svm);
        let Seen::There(list) = self.view.read::<SvmKeystores>(&key)? else { return Ok(()) };
        if let Some(enabled) = list.body.enabled
            && list.body.get(enabled).is_none()
        {
            let detail = format!("keystore {enabled} is enabled and is not among them; switch to another");
            self.found::<SvmKeystores>(&key, Problem::Inconsistent, detail);
        }
        let live = self.core.live.svm(self.svm).map(|live| live.keystores.load_full());
        for configuration in &list.body.keystores {
            let own = live.as_ref().and_then(|live| live.get(configuration.keystore));
            if let Some(Err(error)) = own.map(|own| self.core.own_keeper(self.svm, &own)) {
                let detail = format!("keystore \"{}\": {}", configuration.name, chain(&error));
                self.found::<SvmKeystores>(&key, Problem::Damaged, detail);
            }
        }
        if let Some(job) = list.body.job {
            let stands = match self.view.read::<JobRecord>(job.as_bytes())? {
                Seen::Absent => Some("is lost"),
                Seen::There(job) if !job.body.is_running() => Some("has ended"),
                Seen::There(_) | Seen::Unreadable => None,
            };
            if let Some(stands) = stands {
                let detail = format!("they are held by job {job}, which {stands}; the next operation on them goes on");
                self.found::<SvmKeystores>(&key, Problem::Inconsistent, detail);
            }
        }
        Ok(())
    }

    fn not_kept(&mut self, entry: &KekEntry, problem: Problem, what: &str) {
        let key = KekList::key_of(self.svm);
        let detail = format!("what is kept of KEK version {} {what}; restore a backup", entry.kek_version);
        self.found::<KekList>(&key, problem, detail);
        self.unavailable(RecordName::of::<KekList>(&key), Unavailable::Damaged);
    }

    /// Why a keystore has no keeper.
    fn why(&self, record: &RecordName, keystore: Uuid) -> Unavailable {
        if let Subject::SvmKeystores(_) = record.subject() {
            let is_missing = self.found.iter().any(|(name, what, _)| (name, *what) == (record, Problem::Missing));
            return if is_missing { Unavailable::Missing } else { Unavailable::Damaged };
        }
        match self.census.keystores.get(&keystore) {
            None => Unavailable::Missing,
            Some(false) => Unavailable::Damaged,
            Some(true) => Unavailable::Locked,
        }
    }
}

/// Why a job that has not ended cannot go on at this step, by what the list of its SVM says.
fn cannot_go_on(list: &KekList, job: Uuid, step: &RekeyStep) -> Option<&'static str> {
    if list.operation != Some(Operation::Rekey { job }) {
        return Some("the KEKs of its SVM are not held by it; cancel the job, and rekey the SVM again");
    }
    match (step, &list.retiring) {
        (RekeyStep::Make, Some(_)) => {
            Some("it is to make a new KEK, and an old one is still to be retired; cancel it, and rekey the SVM again")
        }
        (RekeyStep::Rewrap { .. }, None) => Some("it is to retire a KEK that is no longer live; cancel it"),
        (RekeyStep::Discard { .. }, Some(_)) => Some(
            "it is to forget a KEK that is still live; resume it: it forgets nothing and ends; then rekey the SVM again",
        ),
        (RekeyStep::Make | RekeyStep::Discard { .. }, None) | (RekeyStep::Rewrap { .. }, Some(_)) => None,
    }
}

/// What to say of a list of KEKs that must be there.
pub(super) fn missing_list(witness: &str) -> String {
    format!("the SVM has {witness}, and no list of its KEKs: put it back from a copy, or restore a backup")
}
