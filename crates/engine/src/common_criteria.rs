//! The onboard keystore goes into Common Criteria mode, or leaves it.

use std::sync::Arc;

use claviger_wrap::Passphrase;

use crate::engine::Engine;
use crate::keystores::{KeystoreError, OnboardMode};
use crate::onboard::{self, OnboardKeeper};
use crate::records::KeystoreRecord;

impl Engine {
    /// Puts the onboard keystore into Common Criteria mode, or out of it, with its passphrase. In the mode that it is in already, the
    /// passphrase is checked and nothing changes. Where the mode changes, a keystore that was locked is open afterwards.
    ///
    /// Once it is in Common Criteria mode, its record no longer holds what opens it without the passphrase. The bytes of the record before
    /// stay in the store's files until those are rewritten, and backups of the store keep them: whoever has these and the sealing key needs
    /// no passphrase for what was made until then. An internal rekey of an SVM does not help, as its new KEK is under the same CKEK.
    ///
    /// # Errors
    /// [`KeystoreError::None`], [`KeystoreError::Refused`] where the facts of the node do not allow the mode;
    /// [`KeystoreError::WrongPassphrase`], [`KeystoreError::TooSoon`]; [`KeystoreError::Passphrase`] where it is too short for Common
    /// Criteria mode; others as they say. Nothing has changed then.
    pub fn set_common_criteria(&self, passphrase: &Passphrase, common_criteria: bool) -> Result<(), KeystoreError> {
        let core = &self.core;
        let mode = match common_criteria {
            true => OnboardMode::CommonCriteria,
            false => OnboardMode::Unattended,
        };
        let changing = core.keystore.changing();
        let present = core.keystore.present()?;
        core.may_be_in(mode)?;
        let (ckek, record) = core.try_passphrase(&present.record, passphrase)?;
        core.keystore.publish(record.clone(), present.keeper.clone());
        if record.body.onboard.common_criteria == common_criteria {
            return Ok(());
        }
        passphrase.check(mode.rules())?;
        let id = record.body.keystore;
        let onboard = onboard::put_away(&core.arena, core.records.sealing(), id, common_criteria, &ckek, passphrase)?;
        let (batch, changed) = core.keystore_as(&record, KeystoreRecord { onboard, ..record.body.clone() })?;
        // What there may be no room for is made before the commit.
        let keeper = match present.keeper {
            Some(keeper) => keeper,
            None => Arc::new(OnboardKeeper::new(&core.arena, ckek)?),
        };
        core.commit(batch)?;
        core.keystore.publish(changed, Some(keeper));
        drop(changing);
        tracing::info!(%id, ?mode, "the mode of the onboard keystore was changed");
        core.reopen_keks()?;
        if self.resumes {
            self.resume_what_can_be();
        }
        Ok(())
    }

    /// Puts the onboard keystore out of Common Criteria mode without its passphrase, which it must have been given since the start: from
    /// then on it opens by itself. The passphrase stays the same.
    ///
    /// # Errors
    /// [`KeystoreError::None`], [`KeystoreError::Refused`]; [`KeystoreError::Locked`] while it waits for its passphrase; others as they say.
    /// Nothing has changed then.
    pub fn leave_common_criteria(&self) -> Result<(), KeystoreError> {
        let core = &self.core;
        let _changing = core.keystore.changing();
        let present = core.keystore.present()?;
        core.may_be_in(OnboardMode::Unattended)?;
        let record = &present.record;
        if !record.body.onboard.common_criteria {
            return Ok(());
        }
        let keeper = present.keeper.ok_or(KeystoreError::Locked)?;
        let id = record.body.keystore;
        let onboard = onboard::opened_unattended(core.records.sealing(), id, keeper.ckek(), &record.body.onboard)?;
        let (batch, changed) = core.keystore_as(record, KeystoreRecord { onboard, ..record.body.clone() })?;
        core.commit(batch)?;
        core.keystore.publish(changed, Some(keeper));
        tracing::info!(%id, "the onboard keystore left Common Criteria mode");
        Ok(())
    }
}
