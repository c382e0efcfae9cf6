//! The URL of a proxy.

use std::str::FromStr;

use claviger::ProxyKind;
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};
use url::{Host, Url};

/// A proxy as it is named: `http://HOST:PORT` or `https://HOST:PORT`, with `USER@` before the host where it wants one. Its password
/// comes from elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProxyArg {
    #[serde(with = "Kind")]
    pub(crate) kind: ProxyKind,
    /// A name or an address, the latter without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) user: Option<String>,
}

/// [`ProxyKind`] in a request.
#[derive(Serialize, Deserialize)]
#[serde(remote = "ProxyKind", rename_all = "lowercase")]
enum Kind {
    Http,
    Https,
}

/// Why a text names no proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ProxyUrlError {
    #[error("this is no URL; write it as http://user@host:port or https://user@host:port")]
    Syntax,
    #[error("the URL's scheme must be http or https")]
    Scheme,
    #[error("the URL holds a password, which others can read there; give it with --proxy-password-file, and change it")]
    Password,
    #[error("the user's name must be percent-encoded UTF-8")]
    User,
    #[error("the URL must end after the port")]
    Path,
}

impl FromStr for ProxyArg {
    type Err = ProxyUrlError;

    fn from_str(text: &str) -> Result<Self, ProxyUrlError> {
        let url = Url::parse(text).map_err(|_| ProxyUrlError::Syntax)?;
        let kind = match url.scheme() {
            "http" => ProxyKind::Http,
            "https" => ProxyKind::Https,
            _ => return Err(ProxyUrlError::Scheme),
        };
        if url.password().is_some() {
            return Err(ProxyUrlError::Password);
        }
        if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
            return Err(ProxyUrlError::Path);
        }
        let user = percent_decode_str(url.username()).decode_utf8().map_err(|_| ProxyUrlError::User)?;
        let host = match url.host().ok_or(ProxyUrlError::Syntax)? {
            Host::Domain(name) => name.to_owned(),
            Host::Ipv4(address) => address.to_string(),
            Host::Ipv6(address) => address.to_string(),
        };
        let port = url.port_or_known_default().ok_or(ProxyUrlError::Syntax)?;
        Ok(Self { kind, host, port, user: Some(user.into_owned()).filter(|user| !user.is_empty()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_named_by_its_url() {
        for (text, kind, host, port, user) in [
            ("http://proxy:3128", ProxyKind::Http, "proxy", 3128, None),
            ("http://proxy", ProxyKind::Http, "proxy", 80, None),
            ("https://alice@proxy.example.com:443/", ProxyKind::Https, "proxy.example.com", 443, Some("alice")),
            ("http://corp%5Calice%40home@10.0.0.1:8080", ProxyKind::Http, "10.0.0.1", 8080, Some("corp\\alice@home")),
            ("https://[2001:db8::1]:3128", ProxyKind::Https, "2001:db8::1", 3128, None),
        ] {
            let named = ProxyArg { kind, host: host.to_owned(), port, user: user.map(str::to_owned) };
            assert_eq!(text.parse(), Ok(named), "{text}");
        }
    }

    #[test]
    fn what_names_no_proxy_is_refused() {
        for (text, why) in [
            ("proxy:3128", ProxyUrlError::Scheme),
            ("socks5://proxy:1080", ProxyUrlError::Scheme),
            ("http://alice:word@proxy:3128", ProxyUrlError::Password),
            ("http://:word@proxy:3128", ProxyUrlError::Password),
            ("http://%ff@proxy:3128", ProxyUrlError::User),
            ("http://proxy:3128/path", ProxyUrlError::Path),
            ("http://proxy:3128?query", ProxyUrlError::Path),
            ("http://proxy:99999", ProxyUrlError::Syntax),
            ("http://", ProxyUrlError::Syntax),
            ("", ProxyUrlError::Syntax),
        ] {
            assert_eq!(text.parse::<ProxyArg>(), Err(why), "{text}");
        }
    }
}
