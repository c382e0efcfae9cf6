//! The arguments of `claviger keystore`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use clap::Subcommand;
use claviger::{KeystoneUrl, KeystoreName, SecretUrl};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::key::SvmArg;
use super::proxy::ProxyArg;
use super::quiet::quiet;

#[derive(Debug, Subcommand)]
pub(crate) enum KeystoreCommand {
    /// Make a keystore: the cluster's, or one of an SVM
    #[command(subcommand)]
    Create(KeystoreCreateCommand),
    /// List all keystores, the cluster's first
    #[command(after_help = "Example:\n  claviger keystore list --svm vs0 --dir /var/lib/claviger")]
    List {
        /// Only those of this SVM: its name or UUID
        #[arg(long, value_name = "S")]
        svm: Option<String>,
    },
    /// Show a keystore and how it stands; the cluster's where none is named
    ///
    /// Asks the keepers of KEKs, as a start does, and waits for them 15 s at most.
    #[command(after_help = "Example:\n  claviger keystore show vs0/barbican --dir /var/lib/claviger")]
    Show {
        /// The keystore: a UUID, SVM/NAME, or `cluster`
        #[arg(default_value = "cluster")]
        keystore: KeystoreArg,
    },
    /// Try everything that a keystore needs of its keeper, hop by hop; the cluster's where none is named
    ///
    /// Each hop is printed when it ends, with its time; the first that fails is the last. Nothing is changed there or here.
    /// Exits with 8 where the keeper does not answer or refuses.
    #[command(after_help = "Example:\n  claviger keystore check vs0/barbican --dir /var/lib/claviger")]
    Check {
        /// The keystore: a UUID, SVM/NAME, or `cluster`
        #[arg(default_value = "cluster")]
        keystore: KeystoreArg,
    },
    /// Enable the first keystore of an SVM, after trying its keeper: KEKs that are made from then on are kept there
    ///
    /// A KEK that the cluster's keystore keeps stays there until `claviger migrate` moves it, which --migrate does at once.
    #[command(after_help = "Example:\n  claviger keystore enable vs0/barbican --migrate --dir /var/lib/claviger")]
    Enable {
        /// The keystore: a UUID or SVM/NAME
        keystore: KeystoreArg,
        /// Move the SVM's KEK there too; where the keystore is enabled already, only that
        #[arg(long)]
        migrate: bool,
    },
    /// Have what an SVM's enabled keystore keeps be kept by another, which is the enabled one then; no key is re-wrapped
    ///
    /// The old one forgets the KEK only after the new one has given it back. With `--to cluster`, none of the SVM's own is
    /// enabled any more.
    #[command(after_help = "Example:\n  claviger keystore switch --svm vs0 --to vs0/second --dir /var/lib/claviger")]
    Switch {
        #[command(flatten)]
        svm: SvmArg,
        /// The keystore that will keep the KEK: a UUID, SVM/NAME, or `cluster`
        #[arg(long, value_name = "KEYSTORE")]
        to: KeystoreArg,
    },
    /// Change how a keystore asks its Barbican, or as whom
    ///
    /// The top-level key, and every KEK that the keystore keeps, are fetched in the new way first; where that fails, nothing
    /// changes. What is not named stays. Another top-level key is a matter of `claviger rekey --external`.
    #[command(
        after_help = "Example:\n  claviger keystore update vs0/barbican --credential-id 0c7e4ce353ff4a0e9c3c0f3a3a3b2a55 --credential-file secret --dir /var/lib/claviger"
    )]
    Update {
        /// The keystore: a UUID or SVM/NAME
        keystore: KeystoreArg,
        #[command(flatten)]
        changes: BarbicanChanges,
    },
    /// Disable a keystore that keeps no KEK with keys
    #[command(after_help = "Example:\n  claviger keystore disable vs0/barbican --dir /var/lib/claviger")]
    Disable {
        /// The keystore: a UUID or SVM/NAME
        keystore: KeystoreArg,
    },
    /// Delete a keystore that is not enabled
    #[command(after_help = "Example:\n  claviger keystore delete vs0/barbican --dir /var/lib/claviger")]
    Delete {
        /// The keystore: a UUID or SVM/NAME
        keystore: KeystoreArg,
    },
    /// Put the cluster's keystore under another passphrase
    ///
    /// Backups made before open with the passphrase of their time.
    #[command(
        after_help = "Example:\n  claviger keystore passphrase --passphrase-file old --new-passphrase-file new --dir /var/lib/claviger"
    )]
    Passphrase {
        /// Read the new passphrase from this file; one end of line at its end is taken off
        #[arg(long, value_name = "FILE", conflicts_with = "new_passphrase_fd")]
        new_passphrase_file: Option<PathBuf>,
        /// Read the new passphrase from this open file descriptor
        #[arg(long, value_name = "N")]
        new_passphrase_fd: Option<u32>,
    },
    /// Check that the passphrase opens the cluster's keystore
    ///
    /// In Common Criteria mode each command over a directory needs the passphrase for itself: this one leaves nothing open behind it.
    /// A service has the keystore open from then on, for everyone, until it stops.
    #[command(after_help = "Example:\n  claviger keystore unlock --passphrase-file p --dir /var/lib/claviger")]
    Unlock,
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeystoreCreateCommand {
    /// The cluster's: under a passphrase of 32 to 256 characters of ASCII
    #[command(after_help = "Example:\n  claviger keystore create onboard --passphrase-file p --dir /var/lib/claviger")]
    Onboard {
        /// Common Criteria mode: open with the passphrase only, which has 64 to 256 characters
        #[arg(long)]
        common_criteria: bool,
    },
    /// An SVM's: under a key of 256 bits that is a secret of an OpenStack Barbican
    ///
    /// Nothing is sent. Check it, then enable it.
    #[command(
        after_help = "Example:\n  claviger keystore create barbican --svm vs0 barbican --key-id https://barbican.example.com:9311/v1/secrets/5d1c8a52-5d3c-4f0c-8f66-0cf5bb3c2f9a --keystone-url https://keystone.example.com:5000/v3 --credential-id 0c7e4ce353ff4a0e9c3c0f3a3a3b2a55 --credential-file secret --dir /var/lib/claviger"
    )]
    Barbican(Box<BarbicanArgs>),
}

/// A new keystore at a Barbican.
#[derive(Debug, clap::Args)]
pub(crate) struct BarbicanArgs {
    #[command(flatten)]
    pub(crate) svm: SvmArg,
    /// Its name among the SVM's keystores
    pub(crate) name: KeystoreName,
    /// The secret that is the top-level key
    #[arg(long, value_name = "URL", value_parser = quiet::<SecretUrl>())]
    pub(crate) key_id: SecretUrl,
    /// Keystone, where tokens are to be had: …/v3 or …/v3/auth/tokens
    #[arg(long, value_name = "URL", value_parser = quiet::<KeystoneUrl>())]
    pub(crate) keystone_url: KeystoneUrl,
    /// The application credential that may read the key
    #[arg(long, value_name = "ID")]
    pub(crate) credential_id: String,
    #[command(flatten)]
    pub(crate) credential: CredentialSource,
    /// The proxy on the way there: http://user@host:port or https://user@host:port
    ///
    /// The variables of the environment are not looked at. Over http, the user's password can be read on the way.
    #[arg(long, value_name = "URL", value_parser = quiet::<ProxyArg>())]
    pub(crate) proxy: Option<ProxyArg>,
    #[command(flatten)]
    pub(crate) proxy_password: ProxyPassword,
    /// Trust the authorities whose certificates are in this file, as PEM, beside the system's
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// The limit of one call in seconds, everything included
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = seconds())]
    pub(crate) timeout: u32,
    /// Trust every certificate: whoever is in between reads the top-level key
    #[arg(long, help_heading = "Sharp options")]
    pub(crate) danger_no_verify: bool,
    /// Trust certificates for other hosts: whoever has one and is in between reads the top-level key
    #[arg(long, help_heading = "Sharp options")]
    pub(crate) danger_no_verify_host: bool,
}

/// What changes of a keystore at a Barbican.
#[derive(Debug, clap::Args)]
pub(crate) struct BarbicanChanges {
    /// Another application credential; its secret comes with it
    #[arg(long, value_name = "ID")]
    pub(crate) credential_id: Option<String>,
    #[command(flatten)]
    pub(crate) credential: CredentialSource,
    /// Another proxy: http://user@host:port or https://user@host:port
    #[arg(long, value_name = "URL", value_parser = quiet::<ProxyArg>(), conflicts_with = "no_proxy")]
    pub(crate) proxy: Option<ProxyArg>,
    #[command(flatten)]
    pub(crate) proxy_password: ProxyPassword,
    /// No proxy any more
    #[arg(long)]
    pub(crate) no_proxy: bool,
    /// Trust the authorities whose certificates are in this file instead of those that were given before
    #[arg(long, value_name = "FILE", conflicts_with = "no_ca")]
    pub(crate) ca: Option<PathBuf>,
    /// Trust the system's authorities alone
    #[arg(long)]
    pub(crate) no_ca: bool,
    /// The limit of one call in seconds, everything included
    #[arg(long, value_name = "SECONDS", value_parser = seconds())]
    pub(crate) timeout: Option<u32>,
    /// Trust certificates of trusted authorities only
    #[arg(long, conflicts_with = "danger_no_verify")]
    pub(crate) verify: bool,
    /// Trust certificates that name the host only
    #[arg(long, conflicts_with = "danger_no_verify_host")]
    pub(crate) verify_host: bool,
    /// Trust every certificate: whoever is in between reads the top-level key
    #[arg(long, help_heading = "Sharp options")]
    pub(crate) danger_no_verify: bool,
    /// Trust certificates for other hosts: whoever has one and is in between reads the top-level key
    #[arg(long, help_heading = "Sharp options")]
    pub(crate) danger_no_verify_host: bool,
}

/// Where an application credential's secret comes from. On a terminal it is asked for.
#[derive(Debug, clap::Args)]
pub(crate) struct CredentialSource {
    /// Read the credential's secret from this file instead of asking for it; one end of line at its end is taken off
    #[arg(long, value_name = "FILE", requires = "credential_id", conflicts_with = "credential_fd")]
    pub(crate) credential_file: Option<PathBuf>,
    /// Read the credential's secret from this open file descriptor
    #[arg(long, value_name = "N", requires = "credential_id")]
    pub(crate) credential_fd: Option<u32>,
}

/// Where the password of a proxy's user comes from. On a terminal it is asked for.
#[derive(Debug, clap::Args)]
pub(crate) struct ProxyPassword {
    /// Read the password of the proxy's user from this file instead of asking for it
    #[arg(long, value_name = "FILE", requires = "proxy", conflicts_with = "proxy_password_fd")]
    pub(crate) proxy_password_file: Option<PathBuf>,
    /// Read the password of the proxy's user from this open file descriptor
    #[arg(long, value_name = "N", requires = "proxy")]
    pub(crate) proxy_password_fd: Option<u32>,
}

fn seconds() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=3600)
}

/// Which keystore is meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) enum KeystoreArg {
    /// The cluster's.
    Cluster,
    /// The one with this UUID.
    Id(Uuid),
    /// The one with this name among those of an SVM, which goes by its name or UUID.
    Named { svm: String, name: KeystoreName },
}

/// Not what a keystore is named by.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("name a keystore by its UUID, as SVM/NAME, or as `cluster`")]
pub(crate) struct NoKeystoreArg;

impl FromStr for KeystoreArg {
    type Err = NoKeystoreArg;

    fn from_str(text: &str) -> Result<Self, NoKeystoreArg> {
        if text == "cluster" {
            return Ok(Self::Cluster);
        }
        // No name of an SVM has a slash in it; a keystore's may.
        if let Some((svm, name)) = text.split_once('/') {
            let name = name.parse().map_err(|_| NoKeystoreArg)?;
            return Ok(Self::Named { svm: svm.to_owned(), name });
        }
        text.parse().map(Self::Id).map_err(|_| NoKeystoreArg)
    }
}

impl TryFrom<String> for KeystoreArg {
    type Error = NoKeystoreArg;

    fn try_from(text: String) -> Result<Self, NoKeystoreArg> {
        text.parse()
    }
}

/// As it is parsed.
impl fmt::Display for KeystoreArg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cluster => f.write_str("cluster"),
            Self::Id(id) => id.fmt(f),
            Self::Named { svm, name } => write!(f, "{svm}/{name}"),
        }
    }
}

impl From<KeystoreArg> for String {
    fn from(keystore: KeystoreArg) -> Self {
        keystore.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keystore_goes_by_its_uuid_by_its_name_or_as_the_clusters() {
        const ID: &str = "5d1c8a52-5d3c-4f0c-8f66-0cf5bb3c2f9a";
        let named = |svm: &str, name: &str| KeystoreArg::Named { svm: svm.to_owned(), name: name.parse().unwrap() };
        for (text, meant) in [
            ("cluster", KeystoreArg::Cluster),
            (ID, KeystoreArg::Id(ID.parse().unwrap())),
            ("vs0/barbican", named("vs0", "barbican")),
            ("vs0/a/b c", named("vs0", "a/b c")),
            ("cluster/barbican", named("cluster", "barbican")),
            (&format!("{ID}/barbican"), named(ID, "barbican")),
        ] {
            assert_eq!(text.parse::<KeystoreArg>().unwrap(), meant, "{text}");
            assert_eq!(meant.to_string(), text);
        }
        for text in ["", "barbican", "vs0/", "vs0/ x", "5d1c8a52"] {
            assert!(text.parse::<KeystoreArg>().is_err(), "{text}");
        }
    }
}
