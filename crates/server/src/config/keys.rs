//! The keys: what each takes, and what it is where nothing was said.

use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use claviger::Protection;
use jiff::SignedDuration;
use tracing_subscriber::EnvFilter;

use super::raw::{Origin, Raw, Value};
use super::{CertificateFiles, Config, ConfigError, ConfigErrors, FactsPath, Limits, Log, LogFormat, TlsFiles};
use crate::tls::{self, TlsError, UnfitFiles};

/// Every key there is.
pub(super) const KEYS: &[&str] = &[
    "listen",
    "data_dir",
    "facts",
    "tls.certificate",
    "tls.key",
    "tls.client_ca",
    "limits.body_bytes",
    "limits.handshake_timeout",
    "limits.header_timeout",
    "limits.body_timeout",
    "limits.idle_timeout",
    "limits.connections",
    "limits.requests",
    "limits.stop_timeout",
    "log.format",
    "log.filter",
    "memory.accept",
    "sealing.systemd_credential",
    "metrics.danger_without_login",
];

const DEFAULT_PORT: u16 = 8443;
const DEFAULT_DATA_DIR: &str = "/var/lib/claviger";

/// Variables that begin so are keys of these tables or misspelt. Others use the plain prefix for things of their own.
const TABLES: [&str; 6] = ["limits.", "log.", "memory.", "metrics.", "sealing.", "tls."];

/// `limits.header_timeout` is `CLAVIGER_LIMITS_HEADER_TIMEOUT`.
fn environment_name(key: &str) -> String {
    format!("CLAVIGER_{}", key.replace('.', "_").to_ascii_uppercase())
}

/// The key that a variable stands for, or seems to.
pub(super) fn key_of_variable(variable: &str) -> Option<String> {
    match KEYS.iter().find(|key| environment_name(key) == variable) {
        Some(key) => Some((*key).to_owned()),
        None => TABLES.iter().find_map(|table| {
            let rest = variable.strip_prefix(&environment_name(table))?;
            Some(format!("{table}{}", rest.to_ascii_lowercase()))
        }),
    }
}

pub(super) fn check(raw: Raw) -> Result<Config, ConfigErrors> {
    let mut keys = Keys { raw };
    let data_dir = keys.take("data_dir", path).unwrap_or_else(|| PathBuf::from(DEFAULT_DATA_DIR));
    let config = Config {
        listen: keys.take("listen", address).unwrap_or_else(|| (Ipv4Addr::LOCALHOST, DEFAULT_PORT).into()),
        facts: keys.take("facts", path).map_or_else(|| FactsPath::in_data_dir(&data_dir), FactsPath::Given),
        data_dir,
        tls: TlsFiles { given: keys.certificate(), client_ca: keys.client_ca() },
        limits: Limits {
            body_bytes: keys.take("limits.body_bytes", number(1_024..=67_108_864)).unwrap_or(1_048_576),
            handshake_timeout: keys.seconds("limits.handshake_timeout", 10),
            header_timeout: keys.seconds("limits.header_timeout", 10),
            body_timeout: keys.seconds("limits.body_timeout", 30),
            idle_timeout: keys.seconds("limits.idle_timeout", 120),
            connections: keys.take("limits.connections", number(1..=65_536)).unwrap_or(512),
            requests: keys.take("limits.requests", number(1..=4_096)).unwrap_or(64),
            stop_timeout: keys.seconds("limits.stop_timeout", 30),
        },
        log: Log {
            format: keys.take("log.format", log_format).unwrap_or(LogFormat::Text),
            filter: keys.take("log.filter", log_filter).unwrap_or_else(|| "info".to_owned()),
        },
        accept: keys.take("memory.accept", protection).unwrap_or(Protection::Mlock),
        sealing_credential: keys.take("sealing.systemd_credential", text),
        danger_metrics_without_login: keys.take("metrics.danger_without_login", truth).unwrap_or(false),
    };
    keys.end(config)
}

/// The keys that nobody has asked for yet.
struct Keys {
    raw: Raw,
}

/// A value, or what would be right.
type Parsed<T> = Result<T, String>;

impl Keys {
    fn take<T>(&mut self, key: &'static str, parse: impl FnOnce(&Value) -> Parsed<T>) -> Option<T> {
        self.take_with_origin(key, parse).and_then(|(value, _)| value)
    }

    /// Where the key was given: its value, if that is right, and its origin.
    fn take_with_origin<T>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&Value) -> Parsed<T>,
    ) -> Option<(Option<T>, Origin)> {
        debug_assert!(KEYS.contains(&key), "{key} is not among the keys");
        let (value, origin) = self.raw.values.remove(key)?;
        let parsed = parse(&value).map_err(|wanted| {
            let found = value.to_string();
            self.raw.errors.push(ConfigError::Value { key, origin: origin.clone(), found, wanted });
        });
        Some((parsed.ok(), origin))
    }

    fn seconds(&mut self, key: &'static str, default: u64) -> Duration {
        self.take(key, duration).unwrap_or_else(|| Duration::from_secs(default))
    }

    fn certificate(&mut self) -> Option<CertificateFiles> {
        const CERTIFICATE: &str = "tls.certificate";
        const KEY: &str = "tls.key";
        let certificate = self.take_with_origin(CERTIFICATE, path);
        let key = self.take_with_origin(KEY, path);
        let (given, origin, missing) = match (certificate, key) {
            (None, None) => return None,
            (Some((certificate, certificate_origin)), Some((key, key_origin))) => {
                let files = CertificateFiles { certificate: certificate?, key: key? };
                let UnfitFiles { certificate, key } = tls::check_own(&files);
                self.unfit(CERTIFICATE, certificate_origin, certificate);
                self.unfit(KEY, key_origin, key);
                return Some(files);
            }
            (Some((_, origin)), None) => (CERTIFICATE, origin, KEY),
            (None, Some((_, origin))) => (KEY, origin, CERTIFICATE),
        };
        self.raw.errors.push(ConfigError::Half { key: given, origin, missing });
        None
    }

    fn client_ca(&mut self) -> Option<PathBuf> {
        const KEY: &str = "tls.client_ca";
        let (path, origin) = self.take_with_origin(KEY, path)?;
        let path = path?;
        self.unfit(KEY, origin, tls::check_authorities(&path).err());
        Some(path)
    }

    fn unfit(&mut self, key: &'static str, origin: Origin, error: Option<TlsError>) {
        let error = error.map(|error| ConfigError::File { key, origin, why: crate::chain(&error) });
        self.raw.errors.extend(error);
    }

    /// What is left over is no key.
    fn end(self, config: Config) -> Result<Config, ConfigErrors> {
        let Raw { values, mut errors } = self.raw;
        let unknown =
            values.into_iter().map(|(key, (_, origin))| ConfigError::Unknown { nearest: nearest(&key), key, origin });
        errors.extend(unknown);
        match errors.is_empty() {
            true => Ok(config),
            false => Err(ConfigErrors(errors)),
        }
    }
}

/// The key that a wrong one was meant to be, if one looks much like it.
fn nearest(key: &str) -> Option<&'static str> {
    let without_its_table = KEYS.iter().find(|known| known.ends_with(&format!(".{key}")));
    let misspelt = || KEYS.iter().find(|known| strsim::damerau_levenshtein(key, known) <= 2);
    without_its_table.or_else(misspelt).copied()
}

fn text(value: &Value) -> Parsed<String> {
    match value {
        Value::Text(text) if !text.is_empty() => Ok(text.clone()),
        Value::Text(_) | Value::Number(_) | Value::Truth(_) | Value::Other(_) => {
            Err("a text that is not empty".to_owned())
        }
    }
}

fn path(value: &Value) -> Parsed<PathBuf> {
    text(value).map(PathBuf::from).map_err(|_| "a path".to_owned())
}

fn address(value: &Value) -> Parsed<SocketAddr> {
    parsed(value).ok_or_else(|| "an IP address with a port, as in \"0.0.0.0:8443\" or \"[::]:8443\"".to_owned())
}

fn truth(value: &Value) -> Parsed<bool> {
    parsed(value).ok_or_else(|| "true or false".to_owned())
}

fn number(range: RangeInclusive<usize>) -> impl FnOnce(&Value) -> Parsed<usize> {
    move |value| {
        let right = parsed(value).filter(|number| range.contains(number));
        right.ok_or_else(|| format!("a whole number from {} to {}", range.start(), range.end()))
    }
}

fn duration(value: &Value) -> Parsed<Duration> {
    const LONGEST: Duration = Duration::from_secs(60 * 60);
    let duration = parsed::<SignedDuration>(value).and_then(|duration| Duration::try_from(duration).ok());
    let right = duration.filter(|duration| !duration.is_zero() && *duration <= LONGEST);
    right.ok_or_else(|| "a time with its unit, at most \"1h\", as in \"30s\"".to_owned())
}

fn log_filter(value: &Value) -> Parsed<String> {
    let filter = text(value)?;
    match EnvFilter::builder().parse(&filter) {
        Ok(_) => Ok(filter),
        Err(_) => Err("a filter of the log, as in \"claviger=debug,warn\"".to_owned()),
    }
}

fn log_format(value: &Value) -> Parsed<LogFormat> {
    match text(value).as_deref() {
        Ok("text") => Ok(LogFormat::Text),
        Ok("json") => Ok(LogFormat::Json),
        _ => Err("\"text\" or \"json\"".to_owned()),
    }
}

fn protection(value: &Value) -> Parsed<Protection> {
    const ALL: [Protection; 3] = [Protection::MemfdSecret, Protection::Mlock, Protection::Unlocked];
    let text = text(value).unwrap_or_default();
    let named = ALL.into_iter().find(|kind| kind.as_str() == text);
    named.ok_or_else(|| format!("one of {}", ALL.map(|kind| format!("{:?}", kind.as_str())).join(", ")))
}

fn parsed<T: std::str::FromStr>(value: &Value) -> Option<T> {
    match value {
        Value::Text(text) | Value::Number(text) => text.parse().ok(),
        Value::Truth(truth) => truth.to_string().parse().ok(),
        Value::Other(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_a_variable_and_every_variable_its_key() {
        for key in KEYS {
            assert_eq!(key_of_variable(&environment_name(key)).as_deref(), Some(*key));
        }
        assert_eq!(environment_name("limits.header_timeout"), "CLAVIGER_LIMITS_HEADER_TIMEOUT");
        assert_eq!(key_of_variable("CLAVIGER_LIMITS_CONECTIONS").as_deref(), Some("limits.conections"));
        assert_eq!(key_of_variable("CLAVIGER_LOG"), None);
    }

    #[test]
    fn the_page_for_operators_explains_every_key() {
        let page = include_str!("../../../../docs/service.md");
        for key in KEYS {
            assert!(page.contains(&format!("`{key}`")), "{key} is not in docs/service.md");
        }
    }
}
