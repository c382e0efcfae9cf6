//! Settings of key management in the whole cluster.

use serde::{Deserialize, Serialize};

use crate::engine::Engine;
use crate::error::{Advice, Blame, Fault};
use crate::records::{Body as _, RecordError, SettingsRecord, V1};
use claviger_store::{Batch, Expect, StoreError, Table};

/// Settings of key management in the whole cluster. The engine keeps them; whoever watches keystores or asks services goes by them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyManagerSettings {
    /// How long the health monitor waits between two looks at a keystore.
    pub health_monitor_polling_interval: PollingInterval,
    /// How often a service in a cloud is asked again before it counts as unreachable.
    pub cloud_kms_retry_count: RetryCount,
    /// What the health monitor does, by kind of keystore.
    pub health_monitor_policy: HealthMonitorPolicies,
    /// Whether new volumes are not encrypted where nobody asks for it. Ordinarily not.
    pub data_at_rest_encryption_disabled: bool,
}

/// Minutes between two looks of the health monitor: 15 to 30, ordinarily 15.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct PollingInterval(u8);

impl PollingInterval {
    /// The shortest.
    pub const MIN: Self = Self(15);
    /// The longest.
    pub const MAX: Self = Self(30);

    /// The interval in minutes.
    #[must_use]
    pub const fn minutes(self) -> u8 {
        self.0
    }
}

impl Default for PollingInterval {
    fn default() -> Self {
        Self::MIN
    }
}

impl TryFrom<u64> for PollingInterval {
    type Error = InvalidSetting;

    fn try_from(minutes: u64) -> Result<Self, InvalidSetting> {
        let invalid = InvalidSetting::PollingInterval { found: minutes };
        let interval = u8::try_from(minutes).map(Self).map_err(|_| invalid.clone())?;
        match (Self::MIN..=Self::MAX).contains(&interval) {
            true => Ok(interval),
            false => Err(invalid),
        }
    }
}

impl From<PollingInterval> for u64 {
    fn from(interval: PollingInterval) -> Self {
        interval.0.into()
    }
}

/// How often a service in a cloud is asked again: 0 to 10 times, ordinarily not at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct RetryCount(u8);

impl RetryCount {
    /// The most.
    pub const MAX: Self = Self(10);

    /// How often.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }
}

impl TryFrom<u64> for RetryCount {
    type Error = InvalidSetting;

    fn try_from(count: u64) -> Result<Self, InvalidSetting> {
        let retries = u8::try_from(count).map(Self).ok().filter(|retries| *retries <= Self::MAX);
        retries.ok_or(InvalidSetting::RetryCount { found: count })
    }
}

impl From<RetryCount> for u64 {
    fn from(count: RetryCount) -> Self {
        count.0.into()
    }
}

/// What the health monitor does, by kind of keystore.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HealthMonitorPolicies {
    /// The onboard keystore.
    pub okm: HealthMonitorPolicy,
    /// KMIP servers.
    pub kmip: HealthMonitorPolicy,
    /// Azure Key Vault.
    pub akv: HealthMonitorPolicy,
    /// The key management service of Amazon Web Services.
    pub aws: HealthMonitorPolicy,
    /// The key management service of Google Cloud.
    pub gcp: HealthMonitorPolicy,
    /// IBM Key Protect.
    pub ikp: HealthMonitorPolicy,
    /// OpenStack Barbican.
    pub barbican: HealthMonitorPolicy,
}

/// What the health monitor does with keystores of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HealthMonitorPolicy {
    /// Whether it looks at them. Ordinarily yes.
    pub enabled: bool,
    /// Whether it takes volumes offline whose keys are not to be had. Ordinarily not.
    pub manage_volume_offline: bool,
}

impl Default for HealthMonitorPolicy {
    fn default() -> Self {
        Self { enabled: true, manage_volume_offline: false }
    }
}

/// Not a value of a setting.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidSetting {
    /// The polling interval is outside 15 to 30 minutes.
    #[error("the polling interval is {found} minutes; it must be 15 to 30")]
    PollingInterval {
        /// Minutes that were given.
        found: u64,
    },
    /// The retry count is above 10.
    #[error("the retry count is {found}; it must be 0 to 10")]
    RetryCount {
        /// The count that was given.
        found: u64,
    },
}

impl Blame for InvalidSetting {
    fn blame(&self) -> (Fault, Advice) {
        (Fault::Caller, Advice::Correct)
    }
}

impl Engine {
    /// The settings of key management; the ordinary ones where none were ever changed.
    ///
    /// # Errors
    /// [`RecordError`] where the store fails, or their record does not open.
    pub fn settings(&self) -> Result<KeyManagerSettings, RecordError> {
        let record = self.core.records.read::<SettingsRecord>(SettingsRecord::KEY)?;
        Ok(record.map_or_else(KeyManagerSettings::default, |record| record.body.settings))
    }

    /// Changes settings: `change` is called with those that there are, and again where somebody else was faster. Returns them as they are
    /// from then on. Where nothing is changed, nothing is written. Where the record does not open, the ordinary ones are changed, and
    /// replace it.
    ///
    /// # Errors
    /// [`RecordError`] where the store fails; nothing has changed then, unless it failed in the commit.
    pub fn change_settings(&self, change: impl Fn(&mut KeyManagerSettings)) -> Result<KeyManagerSettings, RecordError> {
        let core = &self.core;
        loop {
            let raw = core.records.store().get(Table::Node, SettingsRecord::KEY)?;
            let old = raw.clone().map(|raw| core.records.open::<SettingsRecord>(SettingsRecord::KEY, raw)).transpose();
            let is_damaged = old.is_err();
            let before = match old {
                Ok(Some(record)) => record.body.settings,
                Ok(None) => KeyManagerSettings::default(),
                Err(error) => {
                    tracing::warn!(%error, "the settings of key management are lost, and made anew");
                    KeyManagerSettings::default()
                }
            };
            let mut settings = before.clone();
            change(&mut settings);
            if settings == before && !is_damaged {
                return Ok(settings);
            }
            let record = SettingsRecord { version: V1, settings: settings.clone() };
            let expect = raw.map_or(Expect::Absent, Expect::Exactly);
            let raw = core.records.seal(&record)?;
            let batch = Batch::new().require(Table::Node, record.key(), expect).put(Table::Node, record.key(), raw);
            match core.commit(batch) {
                Ok(()) => {
                    tracing::info!("the settings of key management were changed");
                    return Ok(settings);
                }
                Err(RecordError::Store(StoreError::Conflict { key, .. })) if key == SettingsRecord::KEY => {}
                Err(error) => return Err(error),
            }
        }
    }
}
