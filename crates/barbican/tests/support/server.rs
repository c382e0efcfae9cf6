//! A TLS server that answers as a test wants. It is Keystone and Barbican at once, and a proxy too.

use std::io::{Read, Write, copy, sink};
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use claviger_barbican::{CertificateDer, SecretUrl};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, date_time_ymd,
};
use rustls::crypto::aws_lc_rs;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::TLS12;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use rustls_pki_types::PrivateKeyDer;

use super::{ID, KEY};

/// A request that came.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// Counted from 0.
    pub(crate) number: usize,
    /// Method, path, version.
    pub(crate) first: String,
    /// The headers' lines.
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Seen {
    pub(crate) fn is_login(&self) -> bool {
        self.first.starts_with("POST /v3/auth/tokens ")
    }

    pub(crate) fn is_payload(&self) -> bool {
        self.first.ends_with("/payload HTTP/1.1")
    }

    /// The value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

/// What to do about a request.
pub(crate) enum Reply {
    /// These bytes, then the end.
    Bytes(Vec<u8>),
    /// These bytes, then one more every while, until the client goes.
    Drip(Vec<u8>),
    /// Nothing, until the client goes.
    Silence,
    /// The end at once.
    Cut,
    /// The tunnel that was asked for, to this server itself.
    Tunnel,
}

/// An answer with a status, headers as they are written, and a body.
pub(crate) fn reply(status: &str, headers: &str, body: impl AsRef<[u8]>) -> Reply {
    let body = body.as_ref();
    let head = format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    Reply::Bytes([head.as_bytes(), body].concat())
}

/// A token of so many seconds.
pub(crate) fn token(text: &str, seconds: u32) -> Reply {
    let body = format!(
        r#"{{"token": {{"methods": ["application_credential"], "expires_at": "2026-11-21T{:02}:{:02}:{:02}.000000Z",
            "issued_at": "2026-11-21T02:00:00.000000Z", "catalog": []}}}}"#,
        2 + seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    );
    reply("201 CREATED", &format!("Content-Type: application/json\r\nX-Subject-Token: {text}\r\n"), body)
}

/// The metadata of a good key.
pub(crate) fn metadata() -> serde_json::Value {
    serde_json::json!({
        "created": "2026-11-21T02:44:38.052310", "updated": "2026-11-21T02:44:38.054820", "status": "ACTIVE",
        "name": "lab", "secret_type": "symmetric", "expiration": null, "algorithm": "aes", "bit_length": 256,
        "mode": "cbc", "creator_id": "bdd1bb53", "content_types": {"default": "application/octet-stream"},
        "secret_ref": format!("https://another.example/v1/secrets/{ID}")
    })
}

/// What both services answer when all is well.
pub(crate) fn well(seen: &Seen) -> Reply {
    match seen.first.as_str() {
        "POST /v3/auth/tokens HTTP/1.1" => token(&format!("gAAAAAB-token-{}", seen.number), 3600),
        "GET /v3 HTTP/1.1" => reply("200 OK", "", r#"{"version": {"id": "v3.14"}}"#),
        "GET /v1/ HTTP/1.1" => reply("200 OK", "", "{}"),
        first if first.starts_with("CONNECT ") => Reply::Tunnel,
        _ if seen.is_payload() => payload(KEY),
        _ => reply("200 OK", "Content-Type: application/json\r\n", metadata().to_string()),
    }
}

pub(crate) fn payload(bytes: impl AsRef<[u8]>) -> Reply {
    reply("200 OK", "Content-Type: application/octet-stream\r\n", bytes)
}

/// What a server is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Tls,
    /// Of TLS 1.2 alone.
    Tls12,
    /// In the clear, as some proxies are.
    Plain,
    /// It has the certificate and not its key.
    Impostor,
    /// The same, of TLS 1.2 alone.
    Impostor12,
    /// Its certificate's time is over.
    Expired,
    /// Its certificate is for clients.
    ForClients,
    /// The authority signed another, and that one the certificate; whether the other's is sent.
    Under {
        sent: bool,
    },
}

/// A server on loopback, for as long as the test's program runs.
pub(crate) struct Server {
    pub(crate) port: u16,
    /// The authority that signed its certificate.
    pub(crate) root: CertificateDer<'static>,
    seen: Arc<Mutex<Vec<Seen>>>,
    connections: Arc<AtomicUsize>,
}

impl Server {
    /// Named `localhost`.
    pub(crate) fn start(answer: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        Self::named("localhost", Kind::Tls, answer)
    }

    /// A proxy that is spoken to in the clear.
    pub(crate) fn plain(answer: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        Self::named("localhost", Kind::Plain, answer)
    }

    pub(crate) fn named(name: &str, kind: Kind, answer: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        let (root, config) = certificates(name, kind);
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (seen, connections) = (Arc::<Mutex<Vec<Seen>>>::default(), Arc::<AtomicUsize>::default());
        let server = Self { port, root, seen: Arc::clone(&seen), connections: Arc::clone(&connections) };
        let work = Arc::new(Work { config, seen, answer: Box::new(answer) });
        thread::spawn(move || {
            for stream in listener.incoming() {
                connections.fetch_add(1, Ordering::SeqCst);
                let (work, stream) = (Arc::clone(&work), stream.unwrap());
                thread::spawn(move || match kind {
                    Kind::Plain => work.serve(&mut { stream }),
                    _ => work.serve_tls(Box::new(stream)),
                });
            }
        });
        server
    }

    pub(crate) fn keystone(&self) -> String {
        format!("https://localhost:{}/v3", self.port)
    }

    pub(crate) fn secret(&self) -> SecretUrl {
        format!("https://localhost:{}/v1/secrets/{ID}", self.port).parse().unwrap()
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub(crate) fn logins(&self) -> usize {
        self.seen().iter().filter(|seen| seen.is_login()).count()
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// A listener that takes what comes, says `first`, and then nothing.
pub(crate) fn mute(first: &'static [u8]) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            thread::spawn(move || {
                let mut hello = [0; 64];
                stream.read_exact(&mut hello).and_then(|()| stream.write_all(first)).unwrap_or_default();
                copy(&mut stream, &mut sink()).unwrap_or_default();
            });
        }
    });
    port
}

/// A port that nobody listens on: connections to it are refused.
pub(crate) fn closed_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

struct Work {
    config: Arc<ServerConfig>,
    seen: Arc<Mutex<Vec<Seen>>>,
    answer: Box<dyn Fn(&Seen) -> Reply + Send + Sync>,
}

trait ReadWrite: Read + Write {}

impl<T: Read + Write> ReadWrite for T {}

impl Work {
    fn serve_tls(&self, stream: Box<dyn ReadWrite>) {
        let session = ServerConnection::new(Arc::clone(&self.config)).unwrap();
        let mut stream = StreamOwned::new(session, stream);
        self.serve(&mut stream);
        stream.conn.send_close_notify();
        stream.flush().unwrap_or_default();
    }

    /// One request. A client that goes away in between is none of the server's business.
    fn serve<S: ReadWrite>(&self, stream: &mut S) {
        let Some(seen) = self.receive(stream) else { return };
        match (self.answer)(&seen) {
            Reply::Bytes(bytes) => stream.write_all(&bytes).unwrap_or_default(),
            Reply::Drip(head) => {
                let mut sent = stream.write_all(&head);
                while sent.is_ok() {
                    thread::sleep(Duration::from_millis(20));
                    sent = stream.write_all(b"x").and_then(|()| stream.flush());
                }
            }
            Reply::Silence => drop(copy(stream, &mut sink())),
            Reply::Cut => {}
            Reply::Tunnel => {
                stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").unwrap_or_default();
                let session = ServerConnection::new(Arc::clone(&self.config)).unwrap();
                let inner: &mut dyn ReadWrite = stream;
                self.serve_inner(&mut StreamOwned::new(session, inner));
            }
        }
    }

    fn serve_inner(&self, stream: &mut StreamOwned<ServerConnection, &mut dyn ReadWrite>) {
        let Some(seen) = self.receive(stream) else { return };
        if let Reply::Bytes(bytes) = (self.answer)(&seen) {
            stream.write_all(&bytes).unwrap_or_default();
        }
        stream.conn.send_close_notify();
        stream.flush().unwrap_or_default();
    }

    fn receive(&self, stream: &mut impl Read) -> Option<Seen> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).ok()?;
            head.extend(byte);
        }
        let head = String::from_utf8(head).unwrap();
        let (first, head) = head.split_once("\r\n").unwrap();
        let mut seen = Seen { number: 0, first: first.to_owned(), head: head.to_owned(), body: String::new() };
        let mut body = vec![0; seen.header("content-length").map_or(0, |len| len.parse().unwrap())];
        stream.read_exact(&mut body).ok()?;
        seen.body = String::from_utf8(body).unwrap();
        let mut all = self.seen.lock().unwrap();
        seen.number = all.len();
        all.push(seen.clone());
        Some(seen)
    }
}

/// An authority, and what a server of this name and kind says in the handshake.
fn certificates(name: &str, kind: Kind) -> (CertificateDer<'static>, Arc<ServerConfig>) {
    let key = KeyPair::generate().unwrap();
    let mut leaf = CertificateParams::new(vec![name.to_owned()]).unwrap();
    match kind {
        Kind::Expired => leaf.not_after = date_time_ymd(2001, 1, 1),
        Kind::ForClients => leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth],
        _ => {}
    }
    let (authority, authority_key) = authority();
    let root = authority.self_signed(&authority_key).unwrap().der().clone();
    let issuer = Issuer::new(authority, authority_key);
    let chain = match kind {
        Kind::Under { sent } => {
            let (between, between_key) = self::authority();
            let certificate = between.signed_by(&between_key, &issuer).unwrap().der().clone();
            let leaf = leaf.signed_by(&key, &Issuer::new(between, between_key)).unwrap().der().clone();
            [leaf].into_iter().chain(sent.then_some(certificate)).collect()
        }
        _ => vec![leaf.signed_by(&key, &issuer).unwrap().der().clone()],
    };
    let is_impostor = matches!(kind, Kind::Impostor | Kind::Impostor12);
    let key = if is_impostor { KeyPair::generate().unwrap() } else { key };
    let key = aws_lc_rs::sign::any_supported_type(&PrivateKeyDer::try_from(key.serialize_der()).unwrap()).unwrap();
    let versions: &[_] = match kind {
        Kind::Tls12 | Kind::Impostor12 => &[&TLS12],
        _ => rustls::DEFAULT_VERSIONS,
    };
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(CertifiedKey::new(chain, key))));
    (root, Arc::new(config))
}

/// An authority with a name of its own.
fn authority() -> (CertificateParams, KeyPair) {
    static MADE: AtomicUsize = AtomicUsize::new(0);
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let number = MADE.fetch_add(1, Ordering::SeqCst);
    authority.distinguished_name.push(DnType::CommonName, format!("authority {number} of a test"));
    (authority, KeyPair::generate().unwrap())
}
