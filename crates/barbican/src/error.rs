//! What can go wrong, and with whom.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::sync::Arc;

use claviger_secret::ArenaError;
use thiserror::Error;

use crate::metadata::{SecretStatus, SecretType};

/// Why a [`Client`](crate::Client) could not be made: nothing was sent yet.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SetupError {
    /// The credential's id or secret is empty.
    #[error("the application credential has no {0}")]
    Empty(&'static str),
    /// The credential's secret is not text, so that it cannot be sent.
    #[error("the application credential's secret is not UTF-8")]
    NotText,
    /// The time limit is 0.
    #[error("the time limit must not be 0")]
    NoTime,
    /// The proxy's host is neither a name nor an address. It is not told: a password may have been written into it.
    #[error("the proxy's host is no host name and no address; its port, user and password are given apart from it")]
    ProxyHost,
    /// A colon in the user's name would end it (RFC 7617, section 2).
    #[error("the name of the proxy's user must hold no colon")]
    ProxyUser,
    /// Chains are to be verified, and there is no root to verify them with.
    #[error("there are no root certificates: the system has none that can be read, and none was given")]
    NoRoots,
    /// One of the roots that were given is not the certificate of an authority.
    #[error("a certificate that was given as root cannot be used")]
    Root(#[source] Arc<dyn StdError + Send + Sync>),
    /// TLS cannot be set up.
    #[error("TLS cannot be set up")]
    Tls(#[source] Arc<dyn StdError + Send + Sync>),
    /// The thread that does all input and output could not be started.
    #[error("the thread for input and output could not be started")]
    Thread(#[source] io::Error),
    /// No room in key memory.
    #[error("there is no room in key memory for the credential")]
    Arena(#[from] ArenaError),
}

/// Why a call failed.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum BarbicanError {
    /// No usable answer came in time. Trying again later may help; what could be tried again in time was.
    #[error("{service} gave no answer; see to it and to the way there, then try again")]
    Unreachable {
        /// Who was asked.
        service: Service,
        /// What was met instead.
        source: Unanswered,
    },
    /// The credential is wrong, expired or revoked, or its user or project is disabled. From Keystone as 401 or 404; from
    /// Barbican as 401 with a token that was just made.
    #[error(
        "{service} refused the application credential (status {status}): it is wrong, expired or revoked, or its user or \
         project is disabled; give another"
    )]
    CredentialRefused {
        /// Who refused it.
        service: Service,
        /// 401 or 404.
        status: u16,
    },
    /// Barbican has no such secret: it is deleted, expired, or never was.
    #[error("Barbican has no such secret (status {status}): it is deleted, expired, or its URL is wrong; see to it")]
    SecretMissing {
        /// 404.
        status: u16,
    },
    /// The credential is good and does not allow this: a role is missing, or an access list shuts it out.
    #[error(
        "{service} does not allow this to the application credential (status {status}): give it the role or the access"
    )]
    Forbidden {
        /// Who refused it.
        service: Service,
        /// 403.
        status: u16,
    },
    /// The secret is there and is not an active AES-256 key.
    #[error("the secret is not to be used as a key; name another, or mend it in Barbican")]
    Unsuitable {
        /// What it is instead.
        #[source]
        why: Unsuitable,
    },
    /// An answer that the service never gives: a fault of the service, or not the service at all.
    #[error("{service} answered as it never does; see whether its URL is right, and what answers there")]
    Misbehaving {
        /// Who was asked.
        service: Service,
        /// The answer.
        source: Misbehaviour,
    },
    /// The proxy refused to make a connection. 407 is about its user and password.
    #[error("the proxy refused (status {status}); see to its user and password, and to what it allows")]
    ProxyRefused {
        /// 407, or another status of 400 to 499.
        status: u16,
    },
    /// TLS failed: the certificate, or the handshake. Never tried again.
    #[error("no TLS with {service}: {fault}")]
    Tls {
        /// Who was to be spoken to.
        service: Service,
        /// What is wrong.
        fault: TlsFault,
        /// In the words of the TLS library.
        source: Arc<dyn StdError + Send + Sync>,
    },
    /// This process was forked from the one that made the client. Make another here.
    #[error("this client belongs to the process that forked this one: make another here")]
    Forked,
    /// The thread for input and output did not keep the time limit, which is our fault, or the machine is overloaded.
    #[error("the client's own thread did not answer within the time limit; if the machine is idle, report this")]
    Stalled,
    /// The thread for input and output, or the work on it, ended without an answer, which is our fault. The next call gets
    /// another thread if need be.
    #[error("the client's own thread failed in this call: report this, and try again")]
    Failed,
    /// The thread for input and output had ended, and another could not be started.
    #[error("the thread for input and output could not be started; see to the process's limits, then try again")]
    Thread(#[source] Arc<io::Error>),
    /// No room in key memory.
    #[error("there is no room in key memory for what was fetched")]
    Arena(#[source] Arc<ArenaError>),
}

impl BarbicanError {
    /// Whether it is only that the call's own time was over.
    pub(crate) fn is_out_of_time(&self) -> bool {
        matches!(self, Self::Unreachable { source: Unanswered::NoTime(_), .. })
    }
}

impl From<ArenaError> for BarbicanError {
    fn from(error: ArenaError) -> Self {
        Self::Arena(Arc::new(error))
    }
}

/// Who is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Service {
    /// The proxy on the way to both others.
    Proxy,
    /// Gives tokens.
    Keystone,
    /// Keeps secrets.
    Barbican,
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Proxy => "the proxy",
            Self::Keystone => "Keystone",
            Self::Barbican => "Barbican",
        })
    }
}

/// What was met instead of an answer.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum Unanswered {
    /// The call's time was over.
    #[error("the time limit ran out while {0}")]
    NoTime(Stage),
    /// The host has no address.
    #[error("the address of the host was not found")]
    Name(#[source] Arc<io::Error>),
    /// No connection, as when it is refused.
    #[error("no connection could be made")]
    Connect(#[source] Arc<io::Error>),
    /// The connection broke.
    #[error("the connection broke while {stage}")]
    Broken {
        /// When.
        stage: Stage,
        /// How.
        source: Arc<dyn StdError + Send + Sync>,
    },
    /// It answered that it cannot serve now: 429, 500, 502, 503 or 504.
    #[error("it answered with status {0}")]
    Status(u16),
    /// The proxy could not reach it.
    #[error("the proxy answered with status {0} in its place")]
    BehindProxy(u16),
}

/// What a call is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Stage {
    /// Finding the host's address and connecting to it.
    Connecting,
    /// Asking the proxy for a tunnel.
    Tunnelling,
    /// The TLS handshake.
    Handshake,
    /// Sending, and waiting for the head of the answer.
    Waiting,
    /// Reading the body of the answer.
    Reading,
    /// Waiting for the token that another call is fetching.
    Token,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connecting => "connecting",
            Self::Tunnelling => "asking the proxy for a tunnel",
            Self::Handshake => "shaking hands",
            Self::Waiting => "waiting for the answer",
            Self::Reading => "reading the answer",
            Self::Token => "waiting for a token",
        })
    }
}

/// What is wrong with a secret.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Unsuitable {
    /// Not 32 bytes.
    #[error("its payload has {} bytes, not 32", Counted(*.found))]
    Length {
        /// How many it has; `None` for more than are read.
        found: Option<usize>,
    },
    /// Not active.
    #[error("its status is {0}")]
    Status(SecretStatus),
    /// Its time is over, by the clock of this machine.
    #[error("it expired at {0}")]
    Expired(jiff::Timestamp),
    /// Neither `symmetric` nor `opaque`.
    #[error("its type is {0}, not symmetric")]
    Kind(SecretType),
    /// Not for AES.
    #[error("its algorithm is {0:?}, not aes")]
    Algorithm(String),
    /// Not of 256 bits, by its own account.
    #[error("it says to have {0} bits, not 256")]
    Bits(u64),
    /// Nothing was stored.
    #[error("it has no payload")]
    NoPayload,
}

struct Counted(Option<usize>);

impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(found) => write!(f, "{found}"),
            None => f.write_str("thousands of"),
        }
    }
}

/// An answer that is none.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum Misbehaviour {
    /// A status that has no meaning here. Redirections are among them: they are never followed.
    #[error("status {0} means nothing here")]
    Status(u16),
    /// The body is longer than anything that could be meant.
    #[error("the body is longer than {limit} bytes")]
    TooLong {
        /// The limit, in bytes.
        limit: usize,
    },
    /// The login succeeded, without a token.
    #[error("there is no usable token in the header X-Subject-Token")]
    NoToken,
    /// The body is not the JSON that belongs there.
    #[error("the body is not what belongs there")]
    Json(#[source] Arc<serde_json::Error>),
    /// The payload came as something else than bytes.
    #[error("the payload is not application/octet-stream")]
    ContentType,
    /// Not HTTP.
    #[error("the answer is not HTTP/1.1")]
    Http(#[source] Arc<dyn StdError + Send + Sync>),
}

/// What is wrong with TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TlsFault {
    /// No known authority signed the certificate.
    Untrusted,
    /// The certificate is for other names.
    WrongName,
    /// The certificate's time is over, or has not begun.
    Time,
    /// The certificate is not to be used for this, or is broken, or not signed by whom it names, or the server has not its
    /// key.
    Certificate,
    /// The handshake itself: no common version or cipher, a certificate wanted from us, or no TLS at all.
    Handshake,
}

impl fmt::Display for TlsFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Untrusted => "no trusted authority signed its certificate; give the authority's certificate",
            Self::WrongName => "its certificate is for other names; see to the host name in the URL",
            Self::Time => "its certificate is expired or not yet valid; see to it, and to this machine's clock",
            Self::Certificate => "its certificate is broken, revoked, for other uses, or wrongly signed; see to it",
            Self::Handshake => "the handshake failed; see whether TLS 1.2 or 1.3 is spoken there",
        })
    }
}
