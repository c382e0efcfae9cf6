//! Random bytes. A source that fails is an error, never a panic and never a weaker source.

use std::error::Error;

use rand_core::TryCryptoRng;
use uuid::Uuid;

/// The operating system's generator.
pub use getrandom::SysRng as SystemRandom;

/// The random source failed; nothing was made.
#[derive(Debug, thiserror::Error)]
#[error("the random source failed, so no key or nonce was made; try again, and check the system's random device")]
pub struct RandomError {
    source: Box<dyn Error + Send + Sync>,
}

impl RandomError {
    pub(crate) fn new(source: impl Error + Send + Sync + 'static) -> Self {
        Self { source: Box::new(source) }
    }
}

/// A new random UUID (RFC 9562, version 4).
///
/// # Errors
/// [`RandomError`] where the source fails.
pub fn random_uuid<R: TryCryptoRng>(random: &mut R) -> Result<Uuid, RandomError>
where
    R::Error: Send + Sync + 'static,
{
    let mut bytes = [0; 16];
    fill(random, &mut bytes)?;
    Ok(uuid::Builder::from_random_bytes(bytes).into_uuid())
}

/// Fills `bytes` from `random`.
///
/// # Errors
/// [`RandomError`] where the source fails; what `bytes` holds then must not be used.
pub fn fill<R: TryCryptoRng>(random: &mut R, bytes: &mut [u8]) -> Result<(), RandomError>
where
    R::Error: Send + Sync + 'static,
{
    random.try_fill_bytes(bytes).map_err(RandomError::new)
}
