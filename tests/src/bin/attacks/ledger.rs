//! What somebody outside knows of a hierarchy from what a workload has said: what was acknowledged, and what is in doubt
//! because its call was begun and never answered. And whether the hierarchy is as it has to be for that.

mod check;
mod verdict;

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

pub(crate) use self::check::{Look, Violations};
pub(crate) use self::verdict::{kept, none};
use crate::workload::{Begun, Done, Event, KeyChange, Said, Slot, Versions};

/// What is known.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    hierarchy: bool,
    keystore: bool,
    svms: BTreeMap<Uuid, Svm>,
    /// Names of SVMs whose creation is in doubt.
    new_svms: BTreeSet<String>,
    /// Every object of which something is known, also that it has no key.
    keys: BTreeMap<Slot, Versions>,
    keys_in_doubt: BTreeMap<Slot, KeyChange>,
    passphrase: u32,
    new_passphrase: Option<u32>,
    /// What the workload itself found wrong.
    failures: Vec<String>,
    pub(crate) counts: Counts,
}

#[derive(Clone, Debug)]
struct Svm {
    name: String,
    /// The name that it may have by now.
    new_name: Option<String>,
    may_be_deleted: bool,
    /// The KEK version that was acknowledged.
    kek_version: u32,
    /// There may be so many more by now.
    rekeys_in_doubt: u32,
}

/// What was acknowledged, and looked at, so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Counts {
    pub(crate) creates: u64,
    pub(crate) deletes: u64,
    pub(crate) rotations: u64,
    pub(crate) rekeys: u64,
    pub(crate) svm_changes: u64,
    pub(crate) passphrase_changes: u64,
    pub(crate) keys_checked: u64,
}

impl Counts {
    /// All that was acknowledged.
    pub(crate) const fn acknowledged(&self) -> u64 {
        let Self { creates, deletes, rotations, rekeys, svm_changes, passphrase_changes, keys_checked: _ } = self;
        *creates + *deletes + *rotations + *rekeys + *svm_changes + *passphrase_changes
    }
}

impl std::ops::Add for Counts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            creates: self.creates + other.creates,
            deletes: self.deletes + other.deletes,
            rotations: self.rotations + other.rotations,
            rekeys: self.rekeys + other.rekeys,
            svm_changes: self.svm_changes + other.svm_changes,
            passphrase_changes: self.passphrase_changes + other.passphrase_changes,
            keys_checked: self.keys_checked + other.keys_checked,
        }
    }
}

impl Ledger {
    /// The number of the passphrase that was acknowledged last.
    pub(crate) const fn passphrase(&self) -> u32 {
        self.passphrase
    }

    /// Takes note of what a workload has said.
    pub(crate) fn note_all(&mut self, said: &Said) {
        said.0.iter().for_each(|event| self.note(event));
    }

    fn note(&mut self, event: &Event) {
        match event {
            Event::Begin(begun) => self.begin(begun),
            Event::Found { svm, name, keys } => {
                let known = self.svms.entry(*svm).or_insert_with(|| Svm::new(name));
                (known.name, known.new_name, known.may_be_deleted) = (name.clone(), None, false);
                self.new_svms.remove(name);
                for (number, versions) in keys {
                    self.know((*svm, *number), versions);
                }
            }
            Event::Done(done) => self.done(done),
            Event::Failed { why } => self.failures.push(format!("the workload failed: {why}")),
            Event::Die => {}
        }
    }

    fn begin(&mut self, begun: &Begun) {
        match begun {
            Begun::Hierarchy | Begun::Keystore => {}
            Begun::Keys { svm, numbers, change } => {
                self.keys_in_doubt.extend(numbers.iter().map(|number| ((*svm, *number), *change)));
            }
            Begun::Rekey { svm } => self.svm(*svm, |svm| svm.rekeys_in_doubt += 1),
            Begun::Passphrase { number } => self.new_passphrase = Some(*number),
            Begun::SvmCreated { name } => drop(self.new_svms.insert(name.clone())),
            Begun::SvmRenamed { svm, name } => self.svm(*svm, |svm| svm.new_name = Some(name.clone())),
            Begun::SvmDeleted { svm } => self.svm(*svm, |svm| svm.may_be_deleted = true),
        }
    }

    fn done(&mut self, done: &Done) {
        let counts = &mut self.counts;
        match done {
            Done::Hierarchy => self.hierarchy = true,
            Done::Keystore => self.keystore = true,
            Done::Keys { svm, keys, change } => {
                let count = match change {
                    KeyChange::Create => &mut counts.creates,
                    KeyChange::Delete => &mut counts.deletes,
                    KeyChange::BeginRotation | KeyChange::FinishRotation => &mut counts.rotations,
                };
                *count += keys.len() as u64;
                for (number, versions) in keys {
                    self.know((*svm, *number), versions);
                }
            }
            Done::Rekey { svm, kek_version } => {
                counts.rekeys += 1;
                self.svm(*svm, |svm| (svm.kek_version, svm.rekeys_in_doubt) = (*kek_version, 0));
            }
            Done::Passphrase { number } => {
                counts.passphrase_changes += 1;
                (self.passphrase, self.new_passphrase) = (*number, None);
            }
            Done::SvmCreated { svm, name } => {
                counts.svm_changes += 1;
                self.new_svms.remove(name);
                self.svms.insert(*svm, Svm::new(name));
            }
            Done::SvmRenamed { svm, name } => {
                counts.svm_changes += 1;
                self.svm(*svm, |svm| (svm.name, svm.new_name) = (name.clone(), None));
            }
            Done::SvmDeleted { svm } => {
                counts.svm_changes += 1;
                self.forget(*svm);
            }
        }
    }

    fn know(&mut self, slot: Slot, versions: &Versions) {
        self.keys_in_doubt.remove(&slot);
        self.keys.insert(slot, versions.clone());
    }

    fn svm(&mut self, svm: Uuid, change: impl FnOnce(&mut Svm)) {
        if let Some(svm) = self.svms.get_mut(&svm) {
            change(svm);
        }
    }

    fn forget(&mut self, svm: Uuid) {
        self.svms.remove(&svm);
        self.keys.retain(|(of, _), _| *of != svm);
        self.keys_in_doubt.retain(|(of, _), _| *of != svm);
    }
}

impl Svm {
    fn new(name: &str) -> Self {
        Self { name: name.to_owned(), new_name: None, may_be_deleted: false, kek_version: 0, rekeys_in_doubt: 0 }
    }
}
