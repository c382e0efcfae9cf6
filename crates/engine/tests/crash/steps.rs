//! The steps that scenarios are made of: what each asks for, and how a hierarchy may stand after it.

use std::sync::OnceLock;
use std::sync::mpsc::channel;

use claviger::store::MemoryStore;
use claviger::{
    CertificateDer, CertificateKind, Creation, Engine, JobError, KeyAlgorithm, NewCertificate, NewKey, NewVolume,
    ObjectRef, OnboardMode, PrivateKey, SvmId, SvmName,
};

use crate::common::{arena, bytes, name, passphrase, versions, volume};
use crate::keystores::Change;
use crate::node::{Failed, Node};
use crate::view::{Svm, Versions, View, patiently};

const XTS: KeyAlgorithm = KeyAlgorithm::XtsAes256;

/// One operation. SVMs are named; an object is the volume with that number.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    CreateHierarchy,
    CreateKeystore(OnboardMode, &'static [u8]),
    /// From this passphrase to that.
    ChangePassphrase(&'static [u8], &'static [u8]),
    /// Into this mode, with the passphrase.
    SetMode(OnboardMode, &'static [u8]),
    /// Out of Common Criteria mode, without it.
    LeaveCommonCriteria,
    CreateSvm(&'static str),
    RenameSvm(&'static str, &'static str),
    DeleteSvm(&'static str),
    CreateKey(&'static str, u128),
    /// All volumes from the one number up to the other, also those that have keys.
    CreateKeys(&'static str, u128, u128),
    DeleteKey(&'static str, u128),
    BeginRotation(&'static str, u128),
    FinishRotation(&'static str, u128),
    /// A volume of this name with this number, with a key or without.
    CreateVolume(&'static str, &'static str, u128, bool),
    DeleteVolume(&'static str, &'static str),
    /// A certificate of this name, and its private key.
    Install(&'static str, &'static str),
    DeleteCertificate(&'static str, &'static str),
    Rekey(&'static str),
    /// A change of the SVM's own keystores, or of what they keep.
    Own(&'static str, Change),
    /// The KEKs of this SVM, or of all, are fetched again.
    RestoreKeks(Option<&'static str>),
    /// A rekey that is cancelled while its first page of keys is replaced.
    CancelRekey(&'static str),
    /// The cluster's keystore, with the KEKs without keys that it keeps.
    DeleteOnboard,
    /// A backup, which with a copy of the store gives all back.
    Backup,
    /// Recovery from the backup of the node's source.
    Restore,
    /// The keys of the node's source.
    ImportKeys,
}

/// How the hierarchy stands to a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stand {
    /// As before it.
    Untouched,
    /// Between before and after, as a step may be that is asked for again to be done.
    Begun,
    /// As it is after it.
    Done,
}

/// What the caller was told: the versions that these objects have.
pub(crate) type Told = Vec<(SvmId, ObjectRef, Versions)>;

impl Step {
    /// Asks for it. Where the answer is an error, it can be asked for again.
    pub(crate) fn run(self, node: &mut Node) -> Result<Told, Failed> {
        match self {
            Self::CreateHierarchy => {
                node.engine = Some(Engine::create_on(node.store.clone(), &name("cluster1"), node.options())?);
            }
            Self::Restore => {
                let source = node.source.clone().expect("a source");
                let secret = passphrase(source.passphrase);
                let engine = Engine::restore_on(node.store.clone(), &source.backup, &secret, node.options())?;
                node.engine = Some(engine);
                node.fetch()?;
            }
            Self::ImportKeys => {
                let source = node.source.clone().expect("a source");
                assert_eq!(node.engine().import_keys(&*source.disk, |_| ())?.findings, []);
            }
            Self::CreateKeystore(mode, secret) => {
                node.engine().create_onboard(mode, &passphrase(secret))?;
            }
            Self::ChangePassphrase(old, new) => {
                patiently(|| node.engine().change_passphrase(&passphrase(old), &passphrase(new)))?;
                node.passphrase = new;
            }
            Self::SetMode(mode, secret) => {
                let is_locking = mode == OnboardMode::CommonCriteria;
                patiently(|| node.engine().set_common_criteria(&passphrase(secret), is_locking))?;
            }
            Self::LeaveCommonCriteria => node.engine().leave_common_criteria()?,
            Self::CreateSvm(svm) => {
                node.engine().create_svm(&name(svm))?;
            }
            Self::RenameSvm(svm, other) => node.engine().rename_svm(id(node, svm), &name(other))?,
            Self::DeleteSvm(svm) => node.engine().delete_svm(id(node, svm))?,
            Self::CreateKey(svm, number) => {
                let (svm, object) = (id(node, svm), volume(number));
                let key = node.engine().create_key(svm, object, XTS)?;
                return Ok(vec![(svm, object, vec![(key.version().get(), bytes(&key))])]);
            }
            Self::CreateKeys(svm, first, end) => {
                let keys: Vec<_> =
                    (first..end).map(|number| NewKey { object: volume(number), algorithm: XTS }).collect();
                let made = node.engine().create_keys(id(node, svm), &keys)?;
                assert!(made.len() == keys.len() && made.contains(&Creation::Created));
            }
            Self::DeleteKey(svm, number) => node.engine().delete_key(id(node, svm), volume(number))?,
            Self::BeginRotation(svm, number) => {
                let (svm, object) = (id(node, svm), volume(number));
                return Ok(vec![(svm, object, versions(&node.engine().begin_rotation(svm, object)?))]);
            }
            Self::FinishRotation(svm, number) => {
                let (svm, object) = (id(node, svm), volume(number));
                let key = node.engine().finish_rotation(svm, object)?;
                return Ok(vec![(svm, object, vec![(key.version().get(), bytes(&key))])]);
            }
            Self::CreateVolume(svm, text, number, encrypted) => {
                let id = Some(volume(number).uuid());
                let new = NewVolume { id, encrypted, ..NewVolume::encrypted(text.parse().unwrap()) };
                node.engine().create_volume(self::id(node, svm), &new)?;
            }
            Self::DeleteVolume(svm, text) => {
                let volume = node.engine().volume_named(id(node, svm), &text.parse().unwrap())?.id;
                node.engine().delete_volume(volume)?;
            }
            Self::Install(svm, text) => {
                let (certificate, key) = certificate();
                let new = NewCertificate {
                    scope: Some(id(node, svm)),
                    name: Some(text.parse().unwrap()),
                    kind: CertificateKind::Client,
                    certificate: certificate.clone(),
                    chain: Vec::new(),
                    private_key: Some(PrivateKey::copy_from(&arena(), key).unwrap()),
                };
                node.engine().install_certificate(&new)?;
            }
            Self::DeleteCertificate(svm, text) => {
                let named = node.engine().certificate_named(Some(id(node, svm)), &text.parse().unwrap())?;
                node.engine().delete_certificate(named.id)?;
            }
            Self::Rekey(svm) => drop(node.engine().rekey_internal(id(node, svm))?.wait()?),
            Self::Own(svm, change) => change.run(node.engine(), id(node, svm))?,
            Self::RestoreKeks(svm) => {
                let svm = svm.map(|svm| id(node, svm));
                node.engine().restore_keks(svm)?.wait()?;
            }
            Self::CancelRekey(svm) => {
                let (give, take) = channel::<claviger::Job>();
                // An error means that no job was to be had.
                node.store.before_next_replace(move || take.recv().iter().for_each(claviger::Job::cancel));
                let goes_on = node.has_unfinished_jobs();
                let job = node.engine().rekey_internal(id(node, svm))?;
                give.send(job.clone()).ok();
                match job.wait() {
                    Err(JobError::Cancelled { .. }) => {}
                    Err(error) => return Err(error.into()),
                    Ok(ended) => assert!(goes_on, "not cancelled: {ended:?}"),
                }
            }
            Self::DeleteOnboard => node.engine().delete_onboard()?,
            Self::Backup => {
                let (engine, known) = (node.engine(), node.view().unwrap());
                let (_, secret) = known.keystore.expect("a keystore");
                let other = std::sync::Arc::new(MemoryStore::default());
                let options = node.unharmed();
                let restored = Engine::restore_on(other.clone(), &engine.backup()?, &passphrase(secret), options)
                    .map_err(Failed::from)?;
                assert_eq!(restored.import_keys(&*node.disk, |_| ())?.findings, []);
                assert!(View::of(&restored, &other).unwrap() == known);
            }
        }
        Ok(Told::new())
    }

    /// Whether nothing is to be seen of it afterwards.
    pub(crate) const fn is_silent(self) -> bool {
        matches!(self, Self::Backup | Self::RestoreKeks(_))
    }

    /// How a hierarchy that was as `before` stands now. `None`: as it may not.
    pub(crate) fn stand(self, before: &View, now: &View, node: &Node) -> Option<Stand> {
        if now == before {
            return Some(if self.is_silent() { Stand::Done } else { Stand::Untouched });
        }
        let is = |expected: View| (*now == expected).then_some(Stand::Done);
        match self {
            Self::CreateHierarchy => {
                let [admin] = now.svms.values().collect::<Vec<_>>()[..] else { return None };
                let is_new = *admin == Svm { name: "cluster1".to_owned(), is_admin: true, ..Svm::default() };
                (*before == View::default() && now.keystore.is_none() && is_new).then_some(Stand::Done)
            }
            Self::CreateKeystore(mode, secret) => {
                let (_, now_under) = now.keystore?;
                (before.keystore.is_none() && now_under == secret).then_some(())?;
                is(View { keystore: now.keystore, mode: Some(mode), ..before.clone() })
            }
            Self::ChangePassphrase(_, new) => {
                let (keystore, _) = before.keystore?;
                is(View { keystore: Some((keystore, new)), ..before.clone() })
            }
            Self::SetMode(mode, _) => is(View { mode: Some(mode), ..before.clone() }),
            Self::LeaveCommonCriteria => is(View { mode: Some(OnboardMode::Unattended), ..before.clone() }),
            Self::CreateSvm(svm) => {
                let (_, made) = now.svm(svm)?;
                let is_new = *made == Svm { name: svm.to_owned(), ..Svm::default() };
                (is_new && now.clone().without(svm) == *before).then_some(Stand::Done)
            }
            Self::RenameSvm(svm, other) => is(before.clone().with(svm, |svm| other.clone_into(&mut svm.name))),
            Self::DeleteSvm(svm) => is(before.clone().without(svm)),
            Self::CreateKey(svm, number) => created(before, now, svm, number..number + 1),
            Self::CreateKeys(svm, first, end) => created(before, now, svm, first..end),
            Self::DeleteKey(svm, number) => is(before.clone().with(svm, |svm| drop(svm.keys.remove(&volume(number))))),
            Self::BeginRotation(svm, number) => {
                let object = volume(number);
                let (_, rotated) = now.svm(svm)?;
                let versions = rotated.keys.get(&object)?.clone();
                let [(old, _), (new, bytes)] = &versions[..] else { return None };
                let is_next = *new == old + 1 && bytes.len() == 64;
                is_next.then_some(())?;
                let unrotated = before.svm(svm)?.1.keys.get(&object)?;
                (versions[..1] == unrotated[..]).then_some(())?;
                let version = *new;
                is(before.clone().with(svm, |svm| {
                    let named = svm.volumes.values_mut().filter(|(volume, _)| *volume == object);
                    named.for_each(|(_, key)| *key = Some(version));
                    svm.keys.insert(object, versions);
                }))
            }
            Self::FinishRotation(svm, number) => is(before.clone().with(svm, |svm| {
                drop(svm.keys.get_mut(&volume(number)).expect("a key").remove(0));
            })),
            Self::CreateVolume(svm, text, number, encrypted) => {
                let (object, key) = (volume(number), encrypted.then_some(1));
                let made = now.clone().with(svm, |svm| svm.volumes.retain(|name, _| name != text));
                let is_named = now.svm(svm)?.1.volumes.get(text) == Some(&(object, key));
                match (encrypted, is_named) {
                    // The SVM's first KEK comes in a commit of its own.
                    (true, _) => {
                        let stand = created(before, &made, svm, number..number + 1)?;
                        ((stand == Stand::Done) == is_named).then_some(stand)
                    }
                    (false, true) => (made == *before).then_some(Stand::Done),
                    (false, false) => None,
                }
            }
            Self::DeleteVolume(svm, text) => is(before.clone().with(svm, |svm| {
                let (object, _) = svm.volumes.remove(text).expect("a volume");
                svm.keys.remove(&object);
            })),
            Self::Install(svm, text) => {
                is(before.clone().with(svm, |svm| svm.certificates.extend([(text.to_owned(), true)])))
            }
            Self::DeleteCertificate(svm, text) => {
                is(before.clone().with(svm, |svm| svm.certificates.retain(|name, _| name != text)))
            }
            Self::Rekey(svm) => rekeyed(before, now, svm),
            Self::CancelRekey(svm) => match rekeyed(before, now, svm)? {
                // Where a crash came before the cancellation, the rekey goes on to its end.
                Stand::Begun | Stand::Done => Some(Stand::Done),
                Stand::Untouched => Some(Stand::Untouched),
            },
            Self::Own(svm, change) => change.stand(svm, before, now),
            Self::DeleteOnboard => onboard_deleted(before, now),
            Self::Backup | Self::RestoreKeks(_) => None,
            Self::Restore => is(node.source.as_ref()?.without_keys()),
            Self::ImportKeys => {
                let whole = &node.source.as_ref()?.view;
                let (mut less, mut taken) = (now.clone(), true);
                for (id, svm) in &mut less.svms {
                    let there = &whole.svms.get(id)?.keys;
                    taken &= svm.keys == *there;
                    svm.keys.retain(|object, key| there.get(object) != Some(key));
                    let named = &whole.svms.get(id)?.volumes;
                    taken &= svm.volumes == *named;
                    svm.volumes.retain(|name, volume| named.get(name) != Some(volume));
                }
                (less == *before).then_some(if taken { Stand::Done } else { Stand::Begun })
            }
        }
    }
}

/// Made once: a certificate, and its private key.
fn certificate() -> &'static (CertificateDer<'static>, Vec<u8>) {
    static MADE: OnceLock<(CertificateDer<'static>, Vec<u8>)> = OnceLock::new();
    MADE.get_or_init(|| {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec!["host.example".to_owned()]).unwrap();
        (params.self_signed(&key).unwrap().der().clone(), key.serialize_der())
    })
}

fn id(node: &Node, svm: &str) -> SvmId {
    let _: SvmName = name(svm);
    node.engine().svm_named(svm).unwrap().id()
}

/// Any subset of these volumes that had none may have keys now, and the SVM its first KEK.
fn created(before: &View, now: &View, svm: &str, numbers: std::ops::Range<u128>) -> Option<Stand> {
    let (_, old) = before.svm(svm)?;
    let (_, new) = now.svm(svm)?;
    let objects = || numbers.clone().map(volume);
    let made = objects().filter(|object| !old.keys.contains_key(object) && new.keys.contains_key(object));
    let made: Vec<_> = made.collect();
    let is_new = |object: &ObjectRef| matches!(&new.keys[object][..], [(1, bytes)] if bytes.len() == 64);
    let kek = old.kek.or(Some((1, None)));
    let keeper = old.enabled().or(before.keystore.map(|(cluster, _)| cluster))?;
    let kept = if old.kek.is_some() { old.kept.clone() } else { [(1, vec![keeper])].into() };
    (made.iter().all(is_new) && new.kek == kek && new.kept == kept).then_some(())?;
    let less = now.clone().with(svm, |svm| {
        (svm.kek, svm.kept) = (old.kek, old.kept.clone());
        svm.keys.retain(|object, _| !made.contains(object));
    });
    (less == *before).then_some(())?;
    Some(if objects().all(|object| new.keys.contains_key(&object)) { Stand::Done } else { Stand::Begun })
}

/// Any subset of the SVMs without keys may have lost the KEKs that the cluster's keystore kept; once all have, it may be gone too.
fn onboard_deleted(before: &View, now: &View) -> Option<Stand> {
    let (cluster, _) = before.keystore?;
    let is_kept_there = |svm: &Svm| svm.kept.values().flatten().any(|keystore| *keystore == cluster);
    let mut expected = before.clone();
    for (id, svm) in &mut expected.svms {
        if is_kept_there(svm) && svm.keys.is_empty() && now.svms.get(id)?.kek.is_none() {
            (svm.kek, svm.kept) = (None, std::collections::BTreeMap::new());
        }
    }
    (expected.keystore, expected.mode) = (now.keystore, now.keystore.and(before.mode));
    let is_left = expected.svms.values().any(is_kept_there);
    match (expected == *now, now.keystore) {
        (true, None) if !is_left => Some(Stand::Done),
        (true, keystore) if keystore == before.keystore => Some(Stand::Begun),
        _ => None,
    }
}

/// All keys as they were, under the next KEK; or both KEKs live. A rekey that was begun before goes on to the same KEK.
fn rekeyed(before: &View, now: &View, svm: &str) -> Option<Stand> {
    let (current, retiring) = before.svm(svm)?.1.kek?;
    let next = if retiring.is_some() { current } else { current + 1 };
    let now_live = now.svm(svm)?.1.kek?;
    (before.clone().with(svm, |svm| svm.live(now_live)) == *now).then_some(())?;
    match now_live {
        (version, None) if version == next => Some(Stand::Done),
        (version, Some(old)) if version == next && old + 1 == next => Some(Stand::Begun),
        _ => None,
    }
}
