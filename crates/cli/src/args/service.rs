//! Which service is talked to, and as whom.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::Deserialize;
use url::Url;

use super::quiet::quiet;

/// The service that has the hierarchy open, in place of its directory.
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Over the network")]
pub(crate) struct ServiceArgs {
    /// Give the command to the service at this URL, https://HOST:PORT, in place of --dir; --url and --dir exclude each other
    ///
    /// What is printed, and the exit code, are the same. A command goes on there when this one is interrupted.
    #[arg(long, global = true, value_name = "URL", value_parser = quiet::<ServiceUrl>())]
    pub(crate) url: Option<ServiceUrl>,

    /// Give it to the service of this profile; see docs/operations.md
    ///
    /// Without --dir, --url and --profile it is the one that CLAVIGER_PROFILE names, or else the one named `default`.
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) profile: Option<String>,

    /// The account at the service of --url
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) user: Option<Account>,

    /// Read the account's password from this file instead of asking for it; one end of line at its end is taken off
    #[arg(long, global = true, value_name = "FILE", conflicts_with = "password_fd")]
    pub(crate) password_file: Option<PathBuf>,

    /// Read the account's password from this open file descriptor
    #[arg(long, global = true, value_name = "N")]
    pub(crate) password_fd: Option<u32>,

    /// Trust the service of --url by the authorities in this file, as PEM, in place of the system's
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) url_ca: Option<PathBuf>,
}

/// The URL of a service: `https://HOST:PORT`, and nothing behind it, not even a slash.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct ServiceUrl(String);

/// Why a text is not the URL of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ServiceUrlError {
    #[error("this is no URL; write it as https://host:port")]
    Syntax,
    #[error("the URL's scheme must be https")]
    Scheme,
    #[error("the URL must hold no user and no password; name the account with --user")]
    UserInfo,
    #[error("the URL must end after the port")]
    Path,
}

impl ServiceUrl {
    /// The URL of what lies at `path` there.
    pub(crate) fn at(&self, path: &str) -> String {
        format!("{self}{path}")
    }
}

impl FromStr for ServiceUrl {
    type Err = ServiceUrlError;

    fn from_str(text: &str) -> Result<Self, ServiceUrlError> {
        let url = Url::parse(text).map_err(|_| ServiceUrlError::Syntax)?;
        match url.scheme() {
            "https" => {}
            _ => return Err(ServiceUrlError::Scheme),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(ServiceUrlError::UserInfo);
        }
        if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
            return Err(ServiceUrlError::Path);
        }
        Ok(Self(url.as_str().trim_end_matches('/').to_owned()))
    }
}

impl TryFrom<String> for ServiceUrl {
    type Error = ServiceUrlError;

    fn try_from(text: String) -> Result<Self, ServiceUrlError> {
        text.parse()
    }
}

impl fmt::Display for ServiceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name of an account, as HTTP basic authentication can carry it (RFC 7617, section 2).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Account(String);

/// Not the name of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an account's name has no colon and no control characters, and is not empty")]
pub(crate) struct NoAccount;

impl Account {
    /// The name.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Account {
    type Error = NoAccount;

    fn try_from(name: String) -> Result<Self, NoAccount> {
        match name.is_empty() || name.contains(|c: char| c == ':' || c.is_control()) {
            true => Err(NoAccount),
            false => Ok(Self(name)),
        }
    }
}

impl FromStr for Account {
    type Err = NoAccount;

    fn from_str(name: &str) -> Result<Self, NoAccount> {
        name.to_owned().try_into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_named_by_its_url() {
        for (text, shown) in [
            ("https://node1:8443", "https://node1:8443"),
            ("https://node1.example.com/", "https://node1.example.com"),
            ("https://[2001:db8::1]:8443", "https://[2001:db8::1]:8443"),
        ] {
            assert_eq!(text.parse::<ServiceUrl>().unwrap().to_string(), shown);
        }
    }

    #[test]
    fn what_names_no_service_is_refused() {
        for (text, why) in [
            ("node1:8443", ServiceUrlError::Scheme),
            ("http://node1:8443", ServiceUrlError::Scheme),
            ("https://admin@node1", ServiceUrlError::UserInfo),
            ("https://:word@node1", ServiceUrlError::UserInfo),
            ("https://node1/api", ServiceUrlError::Path),
            ("https://node1?x", ServiceUrlError::Path),
            ("https://node1:99999", ServiceUrlError::Syntax),
            ("", ServiceUrlError::Syntax),
        ] {
            assert_eq!(text.parse::<ServiceUrl>(), Err(why), "{text}");
        }
    }

    #[test]
    fn an_account_has_no_colon() {
        assert!("admin".parse::<Account>().is_ok());
        for refused in ["", "a:b", "a\n"] {
            assert_eq!(refused.parse::<Account>(), Err(NoAccount));
        }
    }
}
