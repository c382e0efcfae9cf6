//! Profiles: services that go by a name, in a file of the user's.
//!
//! ```toml
//! [default]
//! url = "https://node1.example.com:8443"
//! user = "admin"
//! ca = "ca.pem"                 # optional; relative to this file
//! password_file = "password"    # optional; relative to this file, and readable by its owner alone
//! ```

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::args::{Account, ServiceUrl};
use crate::failure::Failure;

/// Names the profile that is used where none is named.
const PROFILE_VARIABLE: &str = "CLAVIGER_PROFILE";
/// Names the file of profiles.
const FILE_VARIABLE: &str = "CLAVIGER_PROFILE_FILE";
/// The profile that is used where none is named anywhere.
const DEFAULT: &str = "default";

/// A service, and how to come there.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Profile {
    pub(super) url: ServiceUrl,
    pub(super) user: Account,
    pub(super) ca: Option<PathBuf>,
    pub(super) password_file: Option<PathBuf>,
}

/// Why a profile cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProfileError {
    #[error("there is no profile \"{name}\" in {}", file.display())]
    Unknown { name: String, file: PathBuf },
    #[error("profile \"{name}\" is named, and there is no file of profiles: neither XDG_CONFIG_HOME nor HOME is set")]
    NoFile { name: String },
    /// What stands there is not repeated.
    #[error("{} is no file of profiles: {message}", file.display())]
    Syntax { file: PathBuf, message: String },
    #[error("{} can be read by others than its owner", file.display())]
    Open { file: PathBuf },
}

/// What the environment says of profiles.
#[derive(Debug, Default)]
pub(crate) struct Environment {
    /// The profile to use where none is named.
    profile: Option<String>,
    file: Option<PathBuf>,
}

impl Environment {
    /// That of the process.
    pub(crate) fn of_process() -> Self {
        let named = |variable| env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from);
        let config = || named("XDG_CONFIG_HOME").or_else(|| Some(named("HOME")?.join(".config")));
        Self {
            profile: env::var(PROFILE_VARIABLE).ok().filter(|name| !name.is_empty()),
            file: named(FILE_VARIABLE).or_else(|| Some(config()?.join("claviger/profiles.toml"))),
        }
    }

    /// Nothing but the file.
    #[cfg(test)]
    pub(crate) fn with_file(file: PathBuf) -> Self {
        Self { profile: None, file: Some(file) }
    }

    /// The profile that is meant, and its name; `None` where none is, not even by the environment or by default.
    pub(super) fn profile(&self, named: Option<String>) -> Result<Option<(String, Profile)>, Failure> {
        let (name, is_named) = match named.or_else(|| self.profile.clone()) {
            Some(name) => (name, true),
            None => (DEFAULT.to_owned(), false),
        };
        let Some(file) = &self.file else {
            return if is_named { Err(ProfileError::NoFile { name }.into()) } else { Ok(None) };
        };
        let text = match fs::read_to_string(file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && !is_named => return Ok(None),
            read => read.map_err(|source| unread(file, source))?,
        };
        match parse(file, &text)?.remove(&name) {
            Some(profile) => Ok(Some((name, profile.beside(file)?))),
            None if is_named => Err(ProfileError::Unknown { name, file: file.clone() }.into()),
            None => Ok(None),
        }
    }
}

fn unread(file: &Path, source: io::Error) -> Failure {
    Failure::File { action: "read profiles from", path: file.to_owned(), source }
}

fn parse(file: &Path, text: &str) -> Result<BTreeMap<String, Profile>, ProfileError> {
    toml::from_str(text).map_err(|error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        ProfileError::Syntax { file: file.to_owned(), message: format!("{}, at line {line}", error.message()) }
    })
}

impl Profile {
    /// The same with paths that are relative to the directory of `file`, and with a password that others cannot read.
    fn beside(self, file: &Path) -> Result<Self, Failure> {
        let dir = file.parent().unwrap_or(Path::new(""));
        let password_file = self.password_file.map(|password| dir.join(password));
        if let Some(password) = &password_file {
            refuse_open(password)?;
        }
        Ok(Self { ca: self.ca.map(|ca| dir.join(ca)), password_file, ..self })
    }
}

fn refuse_open(password: &Path) -> Result<(), Failure> {
    let failed = |source| Failure::File { action: "read the password from", path: password.to_owned(), source };
    let metadata = fs::metadata(password).map_err(failed)?;
    match metadata.permissions().mode() & 0o077 {
        0 => Ok(()),
        _ => Err(ProfileError::Open { file: password.to_owned() }.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Place(tempfile::TempDir);

    impl Place {
        fn new(profiles: &str) -> Self {
            let place = Self(tempfile::tempdir().unwrap());
            fs::write(place.file(), profiles).unwrap();
            place
        }

        fn file(&self) -> PathBuf {
            self.0.path().join("profiles.toml")
        }

        fn environment(&self, profile: Option<&str>) -> Environment {
            Environment { profile: profile.map(str::to_owned), file: Some(self.file()) }
        }
    }

    const PROFILES: &str = "[default]\nurl = 'https://a'\nuser = 'admin'\n\n[other]\nurl = 'https://b:8443/'\nuser = 'eve'\nca = 'ca.pem'\n";

    #[test]
    fn a_profile_is_named_by_argument_by_environment_or_is_the_default() {
        let place = Place::new(PROFILES);
        for (argument, environment, url) in [
            (None, None, "https://a"),
            (None, Some("other"), "https://b:8443"),
            (Some("default"), Some("other"), "https://a"),
        ] {
            let profile = place.environment(environment).profile(argument.map(str::to_owned)).unwrap();
            assert_eq!(profile.unwrap().1.url.to_string(), url);
        }
        let (name, other) = place.environment(None).profile(Some("other".to_owned())).unwrap().unwrap();
        assert_eq!((name.as_str(), other.user.as_str()), ("other", "eve"));
        assert_eq!(other.ca.unwrap(), place.0.path().join("ca.pem"));
    }

    #[test]
    fn only_a_profile_that_is_named_must_be_there() {
        let place = Place::new("");
        assert!(place.environment(None).profile(None).unwrap().is_none());
        let unknown = place.environment(Some("nope")).profile(None);
        assert!(matches!(unknown, Err(Failure::Profile(ProfileError::Unknown { name, .. })) if name == "nope"));
        fs::remove_file(place.file()).unwrap();
        assert!(place.environment(None).profile(None).unwrap().is_none());
        assert!(matches!(place.environment(Some("nope")).profile(None), Err(Failure::File { .. })));
        assert!(Environment::default().profile(None).unwrap().is_none());
    }

    #[test]
    fn a_password_that_others_can_read_is_not_used() {
        let place = Place::new("[default]\nurl = 'https://a'\nuser = 'admin'\npassword_file = 'word'\n");
        let word = place.0.path().join("word");
        fs::write(&word, "a word").unwrap();
        for (mode, is_used) in [(0o600, true), (0o400, true), (0o640, false), (0o604, false)] {
            fs::set_permissions(&word, fs::Permissions::from_mode(mode)).unwrap();
            let profile = place.environment(None).profile(None);
            match is_used {
                true => assert_eq!(profile.unwrap().unwrap().1.password_file.as_deref(), Some(word.as_path())),
                false => assert!(matches!(profile, Err(Failure::Profile(ProfileError::Open { .. }))), "{mode:o}"),
            }
        }
    }

    #[test]
    fn what_is_wrong_with_a_file_is_told_without_what_stands_there() {
        for (wrong, line, hint) in [
            ("[default]\nurl = 'https://a'\nuser = 'admin'\npassword = 'hunter2'\n", 4, "unknown field `password`"),
            ("[default]\nurl = 'http://:hunter2@a'\nuser = 'admin'\n", 2, "must be https"),
            ("[default]\nuser = 'hunter2'\n", 1, "missing field `url`"),
            ("default = 'hunter2", 1, ""),
        ] {
            let place = Place::new(wrong);
            let message = place.environment(None).profile(None).unwrap_err().message();
            assert!(message.contains(&format!("at line {line}")) && message.contains(hint), "{message}");
            assert!(!message.contains("hunter2"), "{message}");
        }
    }
}
