//! Wrapping and unwrapping one key: `Kek::seal` and `Kek::open` beside the bare AES-256-GCM call with the same
//! associated data, and beside two implementations of RFC 3394, which bind none.

use std::hint::black_box;
use std::time::{Duration, Instant};

use aes_gcm::aead::inout::InOutBuf;
use aes_gcm::{AeadInOut as _, Aes256Gcm, KeyInit as _, Tag};
use aes_kw::KwAes256;
use anyhow::{Context as _, Result, anyhow};
use aws_lc_rs::key_wrap::{AES_256, AesKek, KeyWrap as _};
use claviger::{Arena, ArenaOptions, KekVersion, KeyAlgorithm, KeyType, KeyVersion, SvmId};
use claviger_benches::{Aim, Case, Report};
use claviger_secret::{Burning, burned};
use claviger_wrap::{HEADER_LEN, Kek, KeyBlob, KeyPlace, ObjectId, PlainKey, SealCount, SystemRandom, fill};

const NONCE_LEN: usize = 12;
/// The longest key, and what RFC 3394 adds to it.
const WRAPPED_MAX: usize = 64 + 8;
/// Nonces are drawn so many at a time, as the engine draws them for a page of records.
const PAGE: u64 = 1_024;
const AIM: Aim = Aim::Times(1.3);

fn main() -> Result<()> {
    let mut report = Report::from_args();
    for algorithm in [KeyAlgorithm::Aes256, KeyAlgorithm::XtsAes256] {
        let keys = Keys::new(algorithm)?;
        let blob = keys.blob()?;
        let (wrapped, size) = (keys.wrapped()?, algorithm.key_len());
        let others = vec![(keys.gcm_seal(), AIM), (keys.kw_wrap(), Aim::None), (keys.aws_wrap(), Aim::None)];
        report.compare(&format!("wrap/{size}"), keys.seal(), others)?;
        let others = vec![(keys.gcm_seal_alone(), AIM)];
        report.compare(&format!("wrap-alone/{size}"), keys.seal_alone(), others)?;
        let header = KeyBlob::parse(&blob)?.header().encode();
        let others = vec![
            (keys.gcm_open(header, &blob), AIM),
            (keys.kw_unwrap(&wrapped), Aim::None),
            (keys.aws_unwrap(&wrapped), Aim::None),
        ];
        report.compare(&format!("unwrap/{size}"), keys.open(&blob), others)?;
        let others = vec![(keys.gcm_open(header, &blob), AIM)];
        report.compare(&format!("unwrap-alone/{size}"), keys.open_alone(&blob), others)?;
    }
    report.finish();
    Ok(())
}

/// One key and one KEK, as each implementation has them.
struct Keys {
    arena: Arena,
    kek: Kek,
    place: KeyPlace,
    key: PlainKey,
    gcm: Aes256Gcm,
    kw: KwAes256,
}

impl Keys {
    fn new(algorithm: KeyAlgorithm) -> Result<Self> {
        let arena = Arena::new(&ArenaOptions::default())?;
        let kek = Kek::generate(&arena, KekVersion::FIRST, &mut SystemRandom)?;
        // What a real KEK may ever seal.
        kek.seals().raise(SealCount::LIMIT);
        let key = PlainKey::generate(&arena, algorithm, &mut SystemRandom)?;
        let gcm = Aes256Gcm::new_from_slice(kek.key().expose())?;
        let kw = KwAes256::new_from_slice(kek.key().expose())?;
        let place = KeyPlace {
            svm: SvmId::from(uuid::Uuid::new_v4()),
            key_type: KeyType::Vek,
            object: ObjectId::from(uuid::Uuid::new_v4()),
            version: KeyVersion::FIRST,
        };
        Ok(Self { arena, kek, place, key, gcm, kw })
    }

    fn blob(&self) -> Result<Vec<u8>> {
        let mut blob = Vec::new();
        self.kek.seal(&self.key, &self.place, self.kek.nonces(1, &mut SystemRandom)?.take()?, &mut blob)?;
        Ok(blob)
    }

    fn wrapped(&self) -> Result<Vec<u8>> {
        let mut wrapped = [0; WRAPPED_MAX];
        Ok(self.kw.wrap_key(self.key.expose(), &mut wrapped).map_err(|error| anyhow!("{error}"))?.to_vec())
    }

    /// One of many, as in a rekey: what the cipher leaves in memory is cleared once for all of them.
    fn seal(&self) -> Case<'_> {
        let mut out = Vec::new();
        Case::new("claviger", move |times| {
            paged(times, |page| {
                let mut nonces = self.kek.nonces(usize::try_from(page)?, &mut SystemRandom)?;
                let mut seal = |burning: &Burning| -> Result<()> {
                    out.clear();
                    self.kek.seal_among(burning, &self.key, black_box(&self.place), nonces.take()?, &mut out)?;
                    black_box(&out);
                    Ok(())
                };
                let start = Instant::now();
                burned(|burning| (0..page).try_for_each(|_| seal(burning)))?;
                Ok(start.elapsed())
            })
        })
    }

    fn gcm_seal(&self) -> Case<'_> {
        let mut out = [0; WRAPPED_MAX];
        let header = [7; HEADER_LEN];
        Case::new("aes-gcm", move |times| {
            paged(times, |page| {
                let mut nonces = vec![[0; NONCE_LEN]; usize::try_from(page)?];
                fill(&mut SystemRandom, nonces.as_flattened_mut())?;
                let start = Instant::now();
                for nonce in &nonces {
                    black_box(self.gcm_seal_one(nonce, black_box(&header), &mut out)?);
                    black_box(&out);
                }
                Ok(start.elapsed())
            })
        })
    }

    /// By itself: it draws its own nonce, and what the cipher leaves in memory is cleared after it.
    fn seal_alone(&self) -> Case<'_> {
        let mut out = Vec::new();
        Case::each("claviger", move || {
            out.clear();
            let nonce = self.kek.nonces(1, &mut SystemRandom)?.take()?;
            self.kek.seal(&self.key, black_box(&self.place), nonce, &mut out)?;
            black_box(&out);
            Ok(())
        })
    }

    fn gcm_seal_alone(&self) -> Case<'_> {
        let mut out = [0; WRAPPED_MAX];
        let header = [7; HEADER_LEN];
        Case::each("aes-gcm and getrandom", move || {
            let mut nonce = [0; NONCE_LEN];
            fill(&mut SystemRandom, &mut nonce)?;
            let tag = self.gcm_seal_one(&nonce, black_box(&header), &mut out)?;
            black_box(&out);
            Ok(tag)
        })
    }

    #[inline]
    fn gcm_seal_one(&self, nonce: &[u8; NONCE_LEN], header: &[u8], out: &mut [u8]) -> Result<Tag> {
        let plain = self.key.expose();
        let out = out.get_mut(..plain.len()).context("a key of 64 bytes at most")?;
        Ok(self.gcm.encrypt_inout_detached(nonce.into(), header, InOutBuf::new(plain, out)?)?)
    }

    /// One of many, as in a rekey.
    fn open<'a>(&'a self, blob: &'a [u8]) -> Case<'a> {
        let open = |burning: &Burning| -> Result<()> {
            let blob = KeyBlob::parse(black_box(blob))?;
            black_box(self.kek.open_among(burning, &self.arena, &blob, &self.place)?);
            Ok(())
        };
        Case::new("claviger", move |times| {
            paged(times, |page| {
                let start = Instant::now();
                burned(|burning| (0..page).try_for_each(|_| open(burning)))?;
                Ok(start.elapsed())
            })
        })
    }

    /// By itself: what the cipher leaves in memory is cleared after it.
    fn open_alone<'a>(&'a self, blob: &'a [u8]) -> Case<'a> {
        Case::each("claviger", move || {
            let blob = KeyBlob::parse(black_box(blob))?;
            Ok(self.kek.open(&self.arena, &blob, &self.place)?)
        })
    }

    fn gcm_open<'a>(&'a self, header: [u8; HEADER_LEN], blob: &'a [u8]) -> Case<'a> {
        let mut out = [0; WRAPPED_MAX];
        Case::each("aes-gcm", move || {
            let sealed = black_box(blob).get(HEADER_LEN..).context("a header")?;
            let (nonce, sealed) = sealed.split_first_chunk::<NONCE_LEN>().context("a nonce")?;
            let (ciphertext, tag) = sealed.split_last_chunk::<16>().context("a tag")?;
            let out = out.get_mut(..ciphertext.len()).context("a key of 64 bytes at most")?;
            let buffer = InOutBuf::new(ciphertext, out)?;
            self.gcm.decrypt_inout_detached(nonce.into(), &header, buffer, tag.into())?;
            black_box(&out);
            Ok(())
        })
    }

    fn kw_wrap(&self) -> Case<'_> {
        let mut out = [0; WRAPPED_MAX];
        Case::each("aes-kw", move || {
            self.kw.wrap_key(black_box(self.key.expose()), &mut out).map_err(|error| anyhow!("{error}"))?;
            black_box(&out);
            Ok(())
        })
    }

    fn kw_unwrap<'a>(&'a self, wrapped: &'a [u8]) -> Case<'a> {
        let mut out = [0; WRAPPED_MAX];
        Case::each("aes-kw", move || {
            self.kw.unwrap_key(black_box(wrapped), &mut out).map_err(|error| anyhow!("{error}"))?;
            black_box(&out);
            Ok(())
        })
    }

    fn aws_wrap(&self) -> Case<'_> {
        let mut out = [0; WRAPPED_MAX];
        Case::each("aws-lc-rs AesKek", move || {
            self.aws()?.wrap(black_box(self.key.expose()), &mut out)?;
            black_box(&out);
            Ok(())
        })
    }

    fn aws_unwrap<'a>(&'a self, wrapped: &'a [u8]) -> Case<'a> {
        let mut out = [0; WRAPPED_MAX];
        Case::each("aws-lc-rs AesKek", move || {
            self.aws()?.unwrap(black_box(wrapped), &mut out)?;
            black_box(&out);
            Ok(())
        })
    }

    /// Its calls consume it, so that each needs a new one.
    fn aws(&self) -> Result<AesKek> {
        Ok(AesKek::new(&AES_256, self.kek.key().expose())?)
    }
}

/// Adds up what `page` takes for as many as `times` in pages.
fn paged(times: u64, mut page: impl FnMut(u64) -> Result<Duration>) -> Result<Duration> {
    let mut took = Duration::ZERO;
    let mut left = times;
    while left > 0 {
        let some = left.min(PAGE);
        took += page(some)?;
        left -= some;
    }
    Ok(took)
}
