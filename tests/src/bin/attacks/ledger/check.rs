//! Whether a hierarchy that was opened again is as it has to be.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use claviger::{Engine, JobStatus, KeyError, KeystoreError, SvmId, SvmInfo};
use uuid::Uuid;

use super::{Ledger, Svm};
use crate::workload::{KeyChange, Slot, Versions, digests, object, passphrase};

/// What is wrong with a hierarchy. None of it may ever be.
pub(crate) type Violations = Vec<String>;

/// How a hierarchy was opened, and what of it is looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    /// Jobs go on, and are waited for.
    pub(crate) resumed: bool,
    /// The passphrase is tried, which takes long.
    pub(crate) passphrase: bool,
}

impl Ledger {
    /// Looks for all that is known; what was in doubt is known from then on. The violations are those of the workload too.
    pub(crate) fn check(&mut self, engine: &Engine, look: Look) -> Result<Violations> {
        let mut wrong = std::mem::take(&mut self.failures);
        self.hierarchy = true;
        self.check_keystore(engine, look, &mut wrong)?;
        self.check_svms(engine, &mut wrong);
        // Jobs go on meanwhile.
        self.check_keys(engine, &mut wrong)?;
        if look.resumed && self.finish_jobs(engine, &mut wrong)? {
            self.check_keys(engine, &mut wrong)?;
        }
        self.check_keks(engine, look, &mut wrong)?;
        let report = engine.verify(|_| ())?;
        wrong.extend(report.findings.iter().map(|finding| format!("verify found {finding:?}")));
        if report.keys != report.opened {
            wrong.push(format!("of {} keys, verify opened {}", report.keys, report.opened));
        }
        Ok(wrong)
    }

    /// Whether a hierarchy that was never acknowledged may be missing.
    pub(crate) const fn may_be_missing(&self) -> bool {
        !self.hierarchy
    }

    fn check_keystore(&mut self, engine: &Engine, look: Look, wrong: &mut Violations) -> Result<()> {
        match (engine.keystore(), self.keystore) {
            (Some(_), _) => self.keystore = true,
            (None, true) => wrong.push("the keystore is gone".to_owned()),
            (None, false) => return Ok(()),
        }
        if !look.passphrase {
            return Ok(());
        }
        let opens = |number| match engine.unlock(&passphrase(engine, number)?) {
            Ok(()) => Ok(true),
            Err(KeystoreError::WrongPassphrase) => Ok(false),
            Err(error) => Err(anyhow::Error::from(error)),
        };
        let (old, new) = (self.passphrase, self.new_passphrase.take());
        match (opens(old)?, new.map(opens).transpose()?) {
            (true, None | Some(false)) => {}
            (false, Some(true)) => self.passphrase = new.unwrap_or(old),
            (old_opens, new_opens) => wrong.push(format!(
                "passphrase {old} was acknowledged and opens: {old_opens}; the next was {new:?} and opens: {new_opens:?}"
            )),
        }
        Ok(())
    }

    fn check_svms(&mut self, engine: &Engine, wrong: &mut Violations) {
        let found = engine.svms().into_iter().filter(|svm| !svm.is_admin());
        let mut found: BTreeMap<Uuid, SvmInfo> = found.map(|svm| (svm.id().uuid(), svm)).collect();
        let known: Vec<_> = self.svms.keys().copied().collect();
        for uuid in known {
            let Some(svm) = self.svms.get_mut(&uuid) else { continue };
            match found.remove(&uuid) {
                None if svm.may_be_deleted => self.forget(uuid),
                None => wrong.push(format!("SVM {uuid} ({}) is gone", svm.name)),
                Some(info) => svm.is_named(&info, wrong),
            }
        }
        for (uuid, info) in found {
            let name = info.name().map(ToString::to_string).unwrap_or_default();
            if !self.new_svms.remove(&name) {
                wrong.push(format!("SVM {uuid} ({name}) is there, and nobody made it"));
            }
            self.svms.insert(uuid, Svm::new(&name));
        }
        self.new_svms.clear();
    }

    fn check_keys(&mut self, engine: &Engine, wrong: &mut Violations) -> Result<()> {
        let in_doubt = std::mem::take(&mut self.keys_in_doubt);
        let slots: BTreeSet<Slot> = self.keys.keys().chain(in_doubt.keys()).copied().collect();
        for (svm, number) in slots {
            let slot = (svm, number);
            let (svm, object) = (SvmId::from(svm), object(number));
            let now = match engine.open_key(svm, object) {
                Ok(opened) => digests(object, &opened),
                Err(KeyError::Missing { .. }) => Versions::new(),
                Err(error) => {
                    wrong.push(format!("{object} of SVM {svm} does not open: {:#}", anyhow::Error::from(error)));
                    continue;
                }
            };
            let before = self.keys.get(&slot).cloned().unwrap_or_default();
            let doubt = in_doubt.get(&slot).copied();
            if now != before && !doubt.is_some_and(|doubt| has_happened(doubt, &before, &now)) {
                wrong.push(format!("{object} of SVM {svm} was {before:?} and is {now:?}; in doubt: {doubt:?}"));
            }
            self.counts.keys_checked += 1;
            self.keys.insert(slot, now);
        }
        self.check_numbers(engine, wrong)
    }

    /// There are no other keys than those that are known.
    fn check_numbers(&self, engine: &Engine, wrong: &mut Violations) -> Result<()> {
        for &svm in self.svms.keys() {
            let of_svm = |((of, _), versions): &(&Slot, &Versions)| *of == svm && !versions.is_empty();
            let known = self.keys.iter().filter(of_svm).count() as u64;
            let found: u64 = match engine.count_keys(svm.into()) {
                Ok(counts) => counts.values().sum(),
                // It has been reported already.
                Err(KeyError::UnknownSvm { .. }) => continue,
                Err(error) => return Err(error.into()),
            };
            if known != found {
                wrong.push(format!("SVM {svm} has {found} keys, of which {known} are known"));
            }
        }
        Ok(())
    }

    /// Every job that was begun comes to its end. Returns whether there was one.
    fn finish_jobs(&mut self, engine: &Engine, wrong: &mut Violations) -> Result<bool> {
        let mut any = false;
        for job in engine.jobs()? {
            if let Ok(resumed) = engine.resume_job(job.id) {
                any = true;
                // How it ended is looked at below.
                drop(resumed.wait());
            }
            // A job whose end is committed runs for a moment longer.
            let status = loop {
                match engine.job(job.id)?.status {
                    JobStatus::Running => std::thread::yield_now(),
                    ended => break ended,
                }
            };
            if status != JobStatus::Succeeded {
                wrong.push(format!("job {} is {status:?}", job.id));
            }
        }
        Ok(any)
    }

    /// No KEK version has gone back, and none was made that nobody asked for.
    fn check_keks(&mut self, engine: &Engine, look: Look, wrong: &mut Violations) -> Result<()> {
        for (&uuid, svm) in &mut self.svms {
            let Ok(kek) = engine.kek(uuid.into()) else {
                wrong.push(format!("the KEK of SVM {uuid} is not to be had"));
                continue;
            };
            let (version, retiring) = kek.map_or((0, None), |kek| (kek.version.get(), kek.retiring));
            // An SVM's first key makes its KEK, without a rekey.
            let newest = svm.kek_version.max(1) + svm.rekeys_in_doubt;
            if !(svm.kek_version..=newest).contains(&version) {
                wrong.push(format!("SVM {uuid} has KEK version {version}, and not {} to {newest}", svm.kek_version));
            }
            if look.resumed && retiring.is_some() {
                wrong.push(format!("SVM {uuid} has KEK version {version} and still {retiring:?}, and no job runs"));
            }
            // A job that waits may still make its KEK.
            let happened = version.saturating_sub(svm.kek_version.max(1));
            svm.rekeys_in_doubt = if look.resumed { 0 } else { svm.rekeys_in_doubt.saturating_sub(happened) };
            svm.kek_version = svm.kek_version.max(version);
        }
        Ok(())
    }
}

impl Svm {
    fn is_named(&mut self, info: &SvmInfo, wrong: &mut Violations) {
        let name = info.name().map(ToString::to_string);
        let new_name = self.new_name.take();
        self.may_be_deleted = false;
        if name.is_some() && name == new_name {
            self.name = name.unwrap_or_default();
        } else if name.as_ref() != Some(&self.name) {
            wrong.push(format!("SVM {} is named {name:?}, and not {}; in doubt: {new_name:?}", info.id(), self.name));
        }
    }
}

/// Whether what is there now is what the change was to make of what was there before.
fn has_happened(change: KeyChange, before: &Versions, now: &Versions) -> bool {
    match change {
        KeyChange::Create => before.is_empty() && matches!(now.as_slice(), [(1, _)]),
        KeyChange::Delete => now.is_empty(),
        KeyChange::BeginRotation => matches!(
            (before.as_slice(), now.as_slice()),
            ([old], [same, (version, _)]) if old == same && *version == old.0 + 1
        ),
        KeyChange::FinishRotation => {
            matches!((before.as_slice(), now.as_slice()), ([_, new], [same]) if new == same)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn versions(versions: &[(u32, &str)]) -> Versions {
        versions.iter().map(|(version, digest)| (*version, (*digest).to_owned())).collect()
    }

    #[test]
    fn a_change_in_doubt_has_happened_or_not_and_nothing_else() {
        let (none, one, both, new) =
            (versions(&[]), versions(&[(3, "a")]), versions(&[(3, "a"), (4, "b")]), versions(&[(4, "b")]));
        assert!(has_happened(KeyChange::Create, &none, &versions(&[(1, "a")])));
        assert!(!has_happened(KeyChange::Create, &none, &new));
        assert!(!has_happened(KeyChange::Create, &one, &versions(&[(1, "a")])));
        assert!(has_happened(KeyChange::Delete, &both, &none));
        assert!(!has_happened(KeyChange::Delete, &both, &one));
        assert!(has_happened(KeyChange::BeginRotation, &one, &both));
        assert!(!has_happened(KeyChange::BeginRotation, &one, &versions(&[(3, "x"), (4, "b")])));
        assert!(!has_happened(KeyChange::BeginRotation, &one, &new));
        assert!(has_happened(KeyChange::FinishRotation, &both, &new));
        assert!(!has_happened(KeyChange::FinishRotation, &both, &one));
    }
}
