//! The two URLs of a configuration.

use std::fmt;
use std::str::FromStr;

use hyper::Uri;
use hyper::header::HeaderValue;
use rustls_pki_types::ServerName;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use url::{Host, Url};
use uuid::Uuid;

/// The longest URL, in bytes.
const MAX_BYTES: usize = 2048;

/// Where tokens are to be had.
///
/// `https`, and as its path `…/v3/auth/tokens`, `…/v3` or nothing: they mean the same.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeystoneUrl {
    text: String,
    origin: Origin,
    version: Uri,
    tokens: Uri,
}

impl KeystoneUrl {
    pub(crate) fn origin(&self) -> &Origin {
        &self.origin
    }

    /// What says which version Keystone speaks.
    pub(crate) fn version(&self) -> &Uri {
        &self.version
    }

    /// What gives tokens.
    pub(crate) fn tokens(&self) -> &Uri {
        &self.tokens
    }
}

impl FromStr for KeystoneUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let Parsed { text, origin, path } = Parsed::of(text)?;
        let versioned = match path.strip_suffix("/auth/tokens").unwrap_or(&path) {
            "" if path.is_empty() => "/v3",
            versioned if versioned.ends_with("/v3") => versioned,
            _ => return Err(UrlError::NotKeystone),
        };
        Ok(Self { version: target(versioned)?, tokens: target(&format!("{versioned}/auth/tokens"))?, text, origin })
    }
}

/// The secret that is the key: `https://…/v1/secrets/UUID`.
///
/// Trailing slashes are stripped. The UUID keeps its case: Barbican knows no secret by a UUID in capitals.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SecretUrl {
    text: String,
    origin: Origin,
    service: Uri,
    metadata: Uri,
    payload: Uri,
}

impl SecretUrl {
    pub(crate) fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Barbican itself.
    pub(crate) fn service(&self) -> &Uri {
        &self.service
    }

    pub(crate) fn metadata(&self) -> &Uri {
        &self.metadata
    }

    pub(crate) fn payload(&self) -> &Uri {
        &self.payload
    }
}

impl FromStr for SecretUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let Parsed { text, origin, path } = Parsed::of(text)?;
        let (before, id) = path.rsplit_once('/').ok_or(UrlError::NotASecret)?;
        let base = before.strip_suffix("/secrets").ok_or(UrlError::NotASecret)?;
        let hyphenated = id.len() == uuid::fmt::Hyphenated::LENGTH && Uuid::try_parse(id).is_ok();
        if !hyphenated {
            return Err(UrlError::NotASecret);
        }
        Ok(Self {
            service: target(&format!("{base}/"))?,
            metadata: target(&path)?,
            payload: target(&format!("{path}/payload"))?,
            text,
            origin,
        })
    }
}

/// Why a text is not the URL that was wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum UrlError {
    /// Longer than 2048 bytes.
    #[error("the URL is longer than {MAX_BYTES} bytes")]
    TooLong,
    /// Blanks, control characters, backslashes, or characters beyond ASCII.
    #[error("the URL holds a character that must be percent-encoded")]
    Character,
    /// No URL at all.
    #[error("this is no URL; write it as https://host:port/path")]
    Syntax,
    /// Another scheme.
    #[error("the URL's scheme must be https")]
    Scheme,
    /// No host, or none that a certificate could name.
    #[error("the URL names no host that a certificate could name")]
    Host,
    /// A user name or a password.
    #[error("the URL must hold no user name and no password")]
    UserInfo,
    /// A query.
    #[error("the URL must have no query")]
    Query,
    /// A fragment.
    #[error("the URL must have no fragment")]
    Fragment,
    /// Not a secret's.
    #[error("the URL must end in /secrets/ and the UUID of the secret, with hyphens")]
    NotASecret,
    /// Not Keystone's.
    #[error("the URL must end in /v3 or /v3/auth/tokens")]
    NotKeystone,
}

macro_rules! as_text {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.text)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_tuple(stringify!($name)).field(&self.text).finish()
            }
        }

        impl TryFrom<String> for $name {
            type Error = UrlError;

            fn try_from(text: String) -> Result<Self, UrlError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(url: $name) -> Self {
                url.text
            }
        }
    };
}

as_text!(KeystoneUrl);
as_text!(SecretUrl);

/// A request's target (RFC 9112, section 3.2.1).
fn target(path: &str) -> Result<Uri, UrlError> {
    path.parse().map_err(|_| UrlError::Character)
}

/// What both URLs have.
struct Parsed {
    text: String,
    origin: Origin,
    /// Without trailing slashes.
    path: String,
}

impl Parsed {
    fn of(text: &str) -> Result<Self, UrlError> {
        if text.len() > MAX_BYTES {
            return Err(UrlError::TooLong);
        }
        // The parser drops or rewrites some of these; what is stored must be what is asked.
        if !text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\') {
            return Err(UrlError::Character);
        }
        let url = Url::parse(text).map_err(|error| match error {
            url::ParseError::EmptyHost
            | url::ParseError::IdnaError
            | url::ParseError::InvalidDomainCharacter
            | url::ParseError::InvalidIpv4Address
            | url::ParseError::InvalidIpv6Address => UrlError::Host,
            _ => UrlError::Syntax,
        })?;
        if url.scheme() != "https" {
            return Err(UrlError::Scheme);
        }
        // The parser takes one slash, or three, for two.
        let (scheme, rest) = text.split_at_checked("https://".len()).ok_or(UrlError::Syntax)?;
        if !scheme.eq_ignore_ascii_case("https://") || rest.starts_with('/') {
            return Err(UrlError::Syntax);
        }
        // Also an empty name, which the parser drops.
        if rest.split('/').next().is_some_and(|authority| authority.contains('@')) {
            return Err(UrlError::UserInfo);
        }
        if url.query().is_some() {
            return Err(UrlError::Query);
        }
        if url.fragment().is_some() {
            return Err(UrlError::Fragment);
        }
        let host = url.host().ok_or(UrlError::Host)?.to_owned();
        let origin = Origin::new(host, url.port_or_known_default().ok_or(UrlError::Syntax)?)?;
        let path = url.path().trim_end_matches('/').to_owned();
        Ok(Self { text: format!("https://{}", rest.trim_end_matches('/')), origin, path })
    }
}

/// A host and a port that TLS is spoken to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Origin {
    host: Host,
    port: u16,
    /// What the certificate must name.
    name: ServerName<'static>,
    /// `host:port`, an IPv6 address in brackets.
    authority: HeaderValue,
    /// The same, for a proxy.
    tunnel: Uri,
}

impl Origin {
    pub(crate) fn new(host: Host, port: u16) -> Result<Self, UrlError> {
        let name = match &host {
            Host::Domain(domain) => ServerName::try_from(domain.clone()).map_err(|_| UrlError::Host)?,
            Host::Ipv4(address) => ServerName::from(std::net::IpAddr::from(*address)),
            Host::Ipv6(address) => ServerName::from(std::net::IpAddr::from(*address)),
        };
        let authority = format!("{host}:{port}");
        let tunnel = authority.parse().map_err(|_| UrlError::Host)?;
        let authority = HeaderValue::try_from(authority).map_err(|_| UrlError::Host)?;
        Ok(Self { host, port, name, authority, tunnel })
    }

    pub(crate) fn host(&self) -> &Host {
        &self.host
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn name(&self) -> ServerName<'static> {
        self.name.clone()
    }

    pub(crate) fn authority(&self) -> HeaderValue {
        self.authority.clone()
    }

    pub(crate) fn tunnel(&self) -> Uri {
        self.tunnel.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "5f9a4e6c-0000-4000-8000-0123456789ab";

    #[test]
    fn three_forms_of_keystones_url_mean_the_same() {
        for given in
            ["https://ks", "https://ks/", "https://ks/v3", "https://ks/v3/auth/tokens", "https://ks/v3/auth/tokens//"]
        {
            let url: KeystoneUrl = given.parse().unwrap();
            assert_eq!(url.tokens(), "/v3/auth/tokens", "{given}");
            assert_eq!(url.version(), "/v3");
            assert_eq!(url.to_string(), given.trim_end_matches('/'));
        }
        let behind: KeystoneUrl = "https://ks:8443/identity/v3".parse().unwrap();
        assert_eq!(behind.tokens(), "/identity/v3/auth/tokens");
        assert_eq!(behind.origin().authority(), "ks:8443");
        for other in ["https://ks/v2.0", "https://ks/auth/tokens", "https://ks/v3/users", "https://ks/xv3/y"] {
            assert_eq!(other.parse::<KeystoneUrl>(), Err(UrlError::NotKeystone), "{other}");
        }
    }

    #[test]
    fn a_secret_ends_in_its_uuid() {
        let url: SecretUrl = format!("https://bb:9311/key-manager/v1/secrets/{ID}///").parse().unwrap();
        assert_eq!(url.to_string(), format!("https://bb:9311/key-manager/v1/secrets/{ID}"));
        assert_eq!(*url.service(), "/key-manager/v1/");
        assert_eq!(url.metadata().path(), format!("/key-manager/v1/secrets/{ID}"));
        assert_eq!(url.payload().path(), format!("/key-manager/v1/secrets/{ID}/payload"));
        let capitals = ID.to_uppercase();
        let kept: SecretUrl = format!("https://bb/v1/secrets/{capitals}").parse().unwrap();
        assert_eq!(kept.metadata().path(), format!("/v1/secrets/{capitals}"));
        for path in [
            "",
            "v1/secrets",
            "v1/secrets/",
            "v1/secrets/nope",
            "v1/orders/ID",
            "v1/secrets/ID/payload",
            "v1/secrets/{ID}",
        ] {
            let given = format!("https://bb/{}", path.replace("ID", ID));
            assert_eq!(given.parse::<SecretUrl>(), Err(UrlError::NotASecret), "{given}");
        }
        let bare = ID.replace('-', "");
        assert_eq!(format!("https://bb/v1/secrets/{bare}").parse::<SecretUrl>(), Err(UrlError::NotASecret));
    }

    #[test]
    fn each_refusal_says_what_is_wrong() {
        for (given, why) in [
            ("http://ks/v3", UrlError::Scheme),
            ("ks:5000", UrlError::Scheme),
            ("/v3", UrlError::Syntax),
            ("", UrlError::Syntax),
            ("https:/ks/v3", UrlError::Syntax),
            ("https:ks/v3", UrlError::Syntax),
            ("https:/ks/https://v3", UrlError::Syntax),
            ("https:///ks/v3", UrlError::Syntax),
            ("https://", UrlError::Host),
            ("https://a..b/v3", UrlError::Host),
            ("https://me@ks/v3", UrlError::UserInfo),
            ("https://@ks/v3", UrlError::UserInfo),
            ("https://:word@ks/v3", UrlError::UserInfo),
            ("https://ks/v3?", UrlError::Query),
            ("https://ks/v3#top", UrlError::Fragment),
            ("https://ks/v 3", UrlError::Character),
            ("https://ks/v3\n", UrlError::Character),
            ("https:\\\\ks\\v3", UrlError::Character),
            ("https://ks:99999/v3", UrlError::Syntax),
        ] {
            assert_eq!(given.parse::<KeystoneUrl>(), Err(why), "{given:?}");
        }
        let long = format!("https://ks/{}/v3", "a".repeat(MAX_BYTES - "https://ks//v3".len()));
        assert!(long.parse::<KeystoneUrl>().is_ok());
        assert_eq!(long.replace("/v3", "a/v3").parse::<KeystoneUrl>(), Err(UrlError::TooLong));
    }

    #[test]
    fn a_url_is_stored_as_text() {
        let text = format!("\"https://bb/v1/secrets/{ID}\"");
        let url: SecretUrl = serde_json::from_str(&text).unwrap();
        assert_eq!(serde_json::to_string(&url).unwrap(), text);
        assert!(serde_json::from_str::<SecretUrl>("\"https://bb/v1\"").is_err());
    }

    #[test]
    fn an_address_of_version_6_keeps_its_brackets() {
        let url: KeystoneUrl = "https://[::1]:5000/v3".parse().unwrap();
        assert_eq!(url.origin().authority(), "[::1]:5000");
    }
}
