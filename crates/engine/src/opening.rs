//! KEKs brought into memory: of one list, or of many SVMs at once.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use claviger_secret::Arena;
use claviger_wrap::{Kek, Key256, SvmId};
use uuid::Uuid;

use crate::engine::Core;
use crate::keeper::{Keeper, KeeperError, KekPlace, KeptKek, Trouble};
use crate::keks::{Reservations, SEALS_OF_A_LOST_COUNT};
use crate::live::{Closed, Keks, LiveKek, LiveSvm, OpenKeks};
use crate::live_keystores::Keystores;
use crate::records::svm_keystores::BarbicanRecord;
use crate::records::{KeeperRecord, KekEntry, KekList, Read, SealRecord};

/// So many SVMs are asked for at a time.
const WORKERS: usize = 8;

/// What it takes to open the KEKs of one list: nothing of the store, so that a keeper that does not answer keeps nobody from
/// closing it.
pub(crate) struct Opening {
    arena: Arena,
    svm: SvmId,
    list: Read<KekList>,
    seals: BTreeMap<Vec<u8>, Read<SealRecord>>,
    keepers: BTreeMap<Uuid, Result<Arc<dyn Keeper>, Closed>>,
    /// The service behind the first keeper that is outside the node.
    site: Option<String>,
}

impl Core {
    pub(crate) fn opening(&self, svm: &LiveSvm, list: Read<KekList>, reservations: &Reservations) -> Opening {
        let entries: Vec<_> = list.body.entries().collect();
        let seal = |entry: &&KekEntry| {
            let key = SealRecord::key_of(svm.id, entry.kek_version);
            Some((key.clone(), reservations.get(&key)?.clone()))
        };
        let keystores: BTreeSet<_> = entries.iter().flat_map(|entry| &entry.kept).map(|kept| kept.keystore).collect();
        Opening {
            arena: self.arena.clone(),
            svm: svm.id,
            seals: entries.iter().filter_map(seal).collect(),
            site: keystores.iter().find_map(|keystore| self.site(svm, *keystore)),
            keepers: keystores.into_iter().map(|keystore| (keystore, self.keeper(svm, keystore))).collect(),
            list,
        }
    }

    /// KEKs as they are when a node starts: those that need nobody outside the node are opened.
    pub(crate) fn open_at_start(&self, svm: &LiveSvm, list: Read<KekList>, reservations: &Reservations) -> Keks {
        let is_outside = |kept: Uuid| svm.keystores.load().get(kept).is_some();
        let needs_others = list.body.entries().flat_map(|entry| &entry.kept).any(|kept| is_outside(kept.keystore));
        match needs_others {
            true => Keks::Closed { list, why: Closed::NotFetched },
            false => self.opening(svm, list, reservations).open(),
        }
    }
}

impl Core {
    /// What [`site`] tells of a keystore of the SVM. Where the SVM trusts authorities of its own, what another SVM meets says nothing
    /// of it.
    pub(crate) fn site(&self, svm: &LiveSvm, keystore: Uuid) -> Option<String> {
        let site = site(&svm.keystores.load(), keystore)?;
        Some(if self.authorities.has_own(svm.id) { format!("{site} {}", svm.id) } else { site })
    }
}

/// The services that a keystore of an SVM's own is at, and the way there: what two keystores share when one does not answer because
/// the other does not.
fn site(keystores: &Keystores, keystore: Uuid) -> Option<String> {
    let live = keystores.get(keystore)?;
    let KeeperRecord::Barbican(record) = &live.configuration.keeper;
    let BarbicanRecord { key_id, keystone_url, proxy, verify, verify_host, timeout_seconds, ca_certificates, .. } =
        record;
    let service: String = key_id.split_inclusive('/').take(3).collect();
    let proxy =
        proxy.as_ref().map(|proxy| (&proxy.host, proxy.port, proxy.tls, proxy.user.as_ref().map(|user| &user.name)));
    Some(format!("{keystone_url} {service} {proxy:?} {verify} {verify_host} {timeout_seconds} {ca_certificates:?}"))
}

impl Opening {
    /// Has the keepers give the KEKs back. No lock is held.
    pub(crate) fn open(self) -> Keks {
        let open = |entry: &KekEntry| -> Result<Arc<LiveKek>, Closed> {
            let reservation = self.seals.get(&SealRecord::key_of(self.svm, entry.kek_version)).cloned();
            let key = self.fetch(entry)?;
            let reserved = reservation.as_ref().map_or(SEALS_OF_A_LOST_COUNT, |read| read.body.reserved);
            let kek = Kek::new(&self.arena, entry.kek_version, key, reserved).map_err(|_| Closed::ArenaFull)?;
            match kek.id() == entry.kek_id {
                true => Ok(Arc::new(LiveKek::new(kek, reservation))),
                false => Err(Closed::Damaged),
            }
        };
        let opened = open(&self.list.body.current).and_then(|current| {
            let retiring = self.list.body.retiring.as_ref().map(open).transpose()?;
            Ok((current, retiring))
        });
        match opened {
            Ok((current, retiring)) => Keks::Open(OpenKeks { list: self.list, current, retiring }),
            Err(why) => {
                tracing::warn!(svm = %self.svm, ?why, "the SVM's KEKs are not in memory");
                Keks::Closed { list: self.list, why }
            }
        }
    }

    /// Asks the keepers of one KEK in turn; the first that gives it back is enough.
    fn fetch(&self, entry: &KekEntry) -> Result<Key256, Closed> {
        let place = KekPlace { svm: self.svm, version: entry.kek_version };
        let mut why = Closed::NoKeystore;
        for kept in &entry.kept {
            let keeper = match self.keepers.get(&kept.keystore) {
                Some(Ok(keeper)) => keeper,
                Some(Err(closed)) => {
                    why = *closed;
                    continue;
                }
                None => continue,
            };
            match keeper.fetch(&KeptKek { bytes: kept.bytes.clone() }, place) {
                Ok(key) => return Ok(key),
                Err(error) => {
                    let message = crate::error::chain(&error);
                    tracing::warn!(svm = %self.svm, version = %entry.kek_version, message, "the keeper did not give the KEK back");
                    why = why_closed(&error);
                }
            }
        }
        Err(why)
    }
}

fn why_closed(error: &KeeperError) -> Closed {
    match (error, error.trouble()) {
        (_, Some(trouble)) => Closed::Keeper(trouble),
        (KeeperError::Arena(_), None) => Closed::ArenaFull,
        (_, None) => Closed::Damaged,
    }
}

/// The KEKs of an SVM that are to be opened in place of what is there now.
pub(crate) struct ToOpen {
    pub(crate) svm: Arc<LiveSvm>,
    pub(crate) closed: Arc<Keks>,
    pub(crate) opening: Opening,
}

/// Opens the KEKs of many SVMs, some at a time, and publishes each as it comes where there was none in memory; then `each` is told
/// of which SVM, what there was before, and how it came out. A service that does not answer one of them is not asked for the
/// others: whoever wants these asks again. It ends early where `go_on` says no; a keeper that is being asked then is waited for.
pub(crate) fn open_all(
    all: Vec<ToOpen>,
    go_on: impl Fn() -> bool + Sync,
    each: impl Fn(&Arc<LiveSvm>, &Keks, Result<(), Closed>) + Sync,
) {
    let workers = WORKERS.min(all.len());
    let waiting = Mutex::new(VecDeque::from(all));
    let silent = Mutex::new(BTreeMap::<String, Closed>::new());
    let work = || {
        // Not in the loop's head, where the lock would be held while the keeper is asked.
        let next = || if go_on() { lock(&waiting).pop_front() } else { None };
        while let Some(ToOpen { svm, closed, opening }) = next() {
            let site = opening.site.clone();
            let skipped = site.as_ref().and_then(|site| lock(&silent).get(site).copied());
            let opened = match skipped {
                Some(why) => Keks::Closed { list: opening.list, why },
                None => opening.open(),
            };
            let outcome = match &opened {
                Keks::Closed { why, .. } => Err(*why),
                Keks::Open(_) | Keks::None | Keks::Damaged => Ok(()),
            };
            if let (Some(site), Err(why @ Closed::Keeper(Trouble::Unreachable))) = (site, outcome) {
                lock(&silent).insert(site, why);
            }
            // What is in memory stays: it was only asked whether its keeper still gives it.
            if !closed.is_open() {
                svm.publish_opened(&closed, opened);
            }
            each(&svm, &closed, outcome);
        }
    };
    match workers {
        0 => {}
        1 => work(),
        _ => std::thread::scope(|scope| {
            // This thread is one of them.
            for _ in 1..workers {
                let builder = std::thread::Builder::new().name("claviger-fetch".to_owned());
                if builder.spawn_scoped(scope, work).is_err() {
                    break;
                }
            }
            work();
        }),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
