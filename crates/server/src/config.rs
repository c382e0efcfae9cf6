//! The configuration: one TOML file, each key also by environment, checked as a whole.

mod keys;
mod raw;

use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use claviger::Protection;

use self::raw::Raw;

pub use self::raw::{Origin, Overrides};

/// How the service runs: checked, and with defaults where nothing was said. `docs/service.md` lists the keys.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// `listen`: where the service is reached.
    pub listen: SocketAddr,
    /// `data_dir`: the hierarchy's directory, which also holds accounts, certificates and the audit log.
    pub data_dir: PathBuf,
    /// `facts`: the file with what the storage node knows.
    pub facts: FactsPath,
    /// `tls`.
    pub tls: TlsFiles,
    /// `limits`.
    pub limits: Limits,
    /// `log`.
    pub log: Log,
    /// `memory.accept`: the weakest protection of key memory to settle for.
    pub accept: Protection,
    /// `sealing.systemd_credential`: the name of the systemd credential with the sealing key; else a file beside the store.
    pub sealing_credential: Option<String>,
    /// `metrics.danger_without_login`: whether anybody may read `/metrics`.
    pub danger_metrics_without_login: bool,
}

/// Where the file is with what the storage node knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FactsPath {
    /// Where the configuration says. It has to be there: without it, no fact is known.
    Given(PathBuf),
    /// `facts.toml` in the data directory. An ordinary node has none.
    Ordinary(PathBuf),
}

impl FactsPath {
    /// The ordinary place, in a data directory.
    #[must_use]
    pub fn in_data_dir(data_dir: &Path) -> Self {
        Self::Ordinary(data_dir.join("facts.toml"))
    }

    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Given(path) | Self::Ordinary(path) => path,
        }
    }
}

/// Which files the service identifies itself with, and whom it trusts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// `tls.certificate` and `tls.key`; `None` where the service makes its own.
    pub given: Option<CertificateFiles>,
    /// `tls.client_ca`: whoever has a certificate of these authorities may log in with it.
    pub client_ca: Option<PathBuf>,
}

/// A certificate and its private key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The certificate, followed by those that issued it, in PEM.
    pub certificate: PathBuf,
    /// The private key, in PEM.
    pub key: PathBuf,
}

/// What a client may take of the service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `limits.body_bytes`: the longest request body.
    pub body_bytes: usize,
    /// `limits.handshake_timeout`: how long a TLS handshake may take.
    pub handshake_timeout: Duration,
    /// `limits.header_timeout`: how long the header of a request may take.
    pub header_timeout: Duration,
    /// `limits.body_timeout`: how long the body of a request may take.
    pub body_timeout: Duration,
    /// `limits.idle_timeout`: how long a connection may stay without a request.
    pub idle_timeout: Duration,
    /// `limits.connections`: connections at a time; more wait to be accepted.
    pub connections: usize,
    /// `limits.requests`: requests at a time; more are answered with 503. Each may take a thread.
    pub requests: usize,
    /// `limits.stop_timeout`: how long a stop waits for requests in flight.
    pub stop_timeout: Duration,
}

/// How the service logs, on standard error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// `log.format`.
    pub format: LogFormat,
    /// `log.filter`, as in `claviger=debug,warn`.
    pub filter: String,
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Config {
    /// Reads the file, if one is named, and then `environment` and `overrides`, each of which wins over what comes before it.
    ///
    /// # Errors
    /// [`ConfigErrors`]: all of them, not only the first.
    pub fn load(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
        overrides: Overrides,
    ) -> Result<Self, ConfigErrors> {
        let mut raw = Raw::default();
        if let Some(file) = file {
            raw.read_file(file);
        }
        raw.read_environment(environment);
        raw.read_overrides(overrides);
        keys::check(raw)
    }
}

/// Everything that is wrong with a configuration.
#[derive(Debug, PartialEq, Eq)]
pub struct ConfigErrors(Vec<ConfigError>);

impl ConfigErrors {
    /// The errors, in the order of the keys.
    #[must_use]
    pub fn errors(&self) -> &[ConfigError] {
        &self.0
    }
}

impl std::error::Error for ConfigErrors {}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [only] => write!(f, "the configuration is wrong: {only}"),
            errors => {
                write!(f, "the configuration has {} errors:", errors.len())?;
                errors.iter().try_for_each(|error| write!(f, "\n  {error}"))
            }
        }
    }
}

/// One thing that is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{} cannot be read: {why}", path.display())]
    Unread {
        /// The file.
        path: PathBuf,
        /// What the system said.
        why: String,
    },
    /// The file is no TOML.
    #[error("{origin}: {message}")]
    Syntax {
        /// Where.
        origin: Origin,
        /// What the parser said.
        message: String,
    },
    /// There is no such key.
    #[error("{key} ({origin}): there is no such key{}", hint(*.nearest))]
    Unknown {
        /// The key.
        key: String,
        /// Where it was given.
        origin: Origin,
        /// The key that looks most like it.
        nearest: Option<&'static str>,
    },
    /// The value is not what the key takes.
    #[error("{key} ({origin}): {found} is not {wanted}")]
    Value {
        /// The key.
        key: &'static str,
        /// Where it was given.
        origin: Origin,
        /// What was given.
        found: String,
        /// What is right.
        wanted: String,
    },
    /// The file that is named does not serve.
    #[error("{key} ({origin}): {why}")]
    File {
        /// The key.
        key: &'static str,
        /// Where it was given.
        origin: Origin,
        /// What is wrong with the file.
        why: String,
    },
    /// A key makes sense only together with another.
    #[error("{key} ({origin}) is given without {missing}; give both, or neither to have a certificate made")]
    Half {
        /// The key that was given.
        key: &'static str,
        /// Where it was given.
        origin: Origin,
        /// The one that was not.
        missing: &'static str,
    },
}

fn hint(nearest: Option<&'static str>) -> String {
    nearest.map(|nearest| format!("; is {nearest} meant?")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str, environment: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let environment = environment.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        Config::load(Some(file.path()), environment, Overrides::default())
    }

    /// What is said of each error, without the directory of the file.
    fn told(errors: &ConfigErrors) -> Vec<String> {
        let without_path = |text: &str| match (text.find('/'), text.find(", line")) {
            (Some(from), Some(to)) => format!("{}{}", &text[..from], &text[to + 2..]),
            _ => text.to_owned(),
        };
        errors.errors().iter().map(|error| without_path(&error.to_string())).collect()
    }

    #[test]
    fn without_a_word_the_service_listens_on_loopback() {
        let config = Config::load(None, [], Overrides::default()).unwrap();
        assert_eq!(config.listen.to_string(), "127.0.0.1:8443");
        assert_eq!(config.facts, FactsPath::Ordinary("/var/lib/claviger/facts.toml".into()));
        assert!(!config.danger_metrics_without_login);
    }

    #[test]
    fn an_argument_wins_over_the_environment_and_that_over_the_file() {
        let text = "listen = '127.0.0.1:1'\ndata_dir = '/file'\n[limits]\nrequests = 7\nheader_timeout = '250ms'";
        let variables = [("CLAVIGER_LISTEN", "127.0.0.1:2"), ("CLAVIGER_DATA_DIR", "/variable"), ("HOME", "/root")];
        let config = load(text, &variables).unwrap();
        assert_eq!((config.listen.port(), config.data_dir.as_path()), (2, Path::new("/variable")));
        assert_eq!((config.limits.requests, config.limits.header_timeout), (7, Duration::from_millis(250)));
        let overrides = Overrides { data_dir: Some("/argument".into()), listen: None };
        let config = Config::load(None, [("CLAVIGER_DATA_DIR".into(), "/variable".into())], overrides).unwrap();
        assert_eq!(config.data_dir, Path::new("/argument"));
        assert_eq!(load("facts = '/f'", &[]).unwrap().facts, FactsPath::Given("/f".into()));
    }

    #[test]
    fn all_errors_are_told_at_once_with_what_would_be_right() {
        let text = "listen = 'everywhere'\n[limits]\nrequests = 0\nconections = 4\nidle_timeout = 5\n[tls]\nkey = 'k'";
        let errors = load(text, &[("CLAVIGER_LOG_FORMAT", "xml"), ("CLAVIGER_LIMITS_BODY", "1")]).unwrap_err();
        assert_eq!(
            told(&errors),
            [
                "listen (line 1): \"everywhere\" is not an IP address with a port, as in \"0.0.0.0:8443\" or \"[::]:8443\"",
                "tls.key (line 7) is given without tls.certificate; give both, or neither to have a certificate made",
                "limits.idle_timeout (line 5): 5 is not a time with its unit, at most \"1h\", as in \"30s\"",
                "limits.requests (line 3): 0 is not a whole number from 1 to 4096",
                "log.format (CLAVIGER_LOG_FORMAT): \"xml\" is not \"text\" or \"json\"",
                "limits.body (CLAVIGER_LIMITS_BODY): there is no such key",
                "limits.conections (line 4): there is no such key; is limits.connections meant?",
            ]
        );
        assert!(errors.to_string().starts_with("the configuration has 7 errors:\n  listen ("));
    }

    #[test]
    fn files_and_filters_that_do_not_serve_are_told_with_all_the_rest() {
        let text = "listen = 1\n[tls]\ncertificate = '/nonexistent/c'\nkey = '/nonexistent/k'\nclient_ca = '/nonexistent/a'\n[log]\nfilter = 'claviger=loud'";
        let errors = load(text, &[]).unwrap_err();
        let keys: Vec<_> = errors.errors().iter().map(|error| error.to_string()).collect();
        for (told, key) in keys.iter().zip(["listen", "tls.certificate", "tls.key", "tls.client_ca", "log.filter"]) {
            assert!(told.starts_with(key), "{keys:?}");
        }
        assert_eq!(keys.len(), 5);
    }

    #[test]
    fn a_certificate_and_a_key_that_do_not_belong_together_are_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).display().to_string();
        let [own, other] = ["a", "b"].map(|name| {
            let key = rcgen::KeyPair::generate().unwrap();
            let certificate = rcgen::CertificateParams::default().self_signed(&key).unwrap();
            std::fs::write(path(name), certificate.pem()).unwrap();
            std::fs::write(path(&format!("{name}.key")), key.serialize_pem()).unwrap();
            format!("key = '{}'", path(&format!("{name}.key")))
        });
        let with = |key: &str| load(&format!("[tls]\ncertificate = '{}'\n{key}", path("a")), &[]);
        assert!(with(&own).is_ok());
        assert!(matches!(with(&other).unwrap_err().errors(), [ConfigError::File { key: "tls.certificate", .. }]));
    }

    #[test]
    fn a_file_that_is_no_toml_is_told_with_its_line() {
        let errors = load("listen = '127.0.0.1:1'\nlisten", &[]).unwrap_err();
        assert!(
            matches!(errors.errors(), [ConfigError::Syntax { origin: Origin::File { line: 2, .. }, .. }]),
            "{errors}"
        );
    }

    #[test]
    fn the_example_says_the_defaults() {
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/service/claviger.toml");
        let given = Config::load(Some(&example), [], Overrides::default()).unwrap();
        assert_eq!(given, Config::load(None, [], Overrides::default()).unwrap());
        let text = std::fs::read_to_string(&example).unwrap();
        for key in keys::KEYS {
            let name = key.rsplit('.').next().unwrap();
            assert!(text.contains(&format!("{name} = ")), "{key} is not in the example");
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_told() {
        let errors = Config::load(Some(Path::new("/nonexistent/c.toml")), [], Overrides::default()).unwrap_err();
        assert!(matches!(errors.errors(), [ConfigError::Unread { .. }]));
    }
}
