//! A service over a hierarchy of its own, and a client that shows every byte.

use std::convert::Infallible;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Extension, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use claviger::{Arena, ArenaOptions, Engine, SecretBytes};
use claviger_ontap::{Audited, Caller, Role};
use claviger_server::{Accounts, Background, Config, Overrides, Registry, Server, audit_file};
use http_body_util::channel::Channel;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::Semaphore;

pub(crate) const ADMIN: &str = "admin:correct horse battery";
pub(crate) const READER: &str = "reader:staple staple staple";

/// Longer than anything here takes: what waits this long has failed.
pub(crate) const LONG: Duration = Duration::from_secs(60);

static ARENA: LazyLock<Arena> =
    LazyLock::new(|| Arena::new(&ArenaOptions { keys: 256, states: 64, ..ArenaOptions::default() }).unwrap());

pub(crate) fn arena() -> &'static Arena {
    &ARENA
}

pub(crate) fn secret(text: &[u8]) -> SecretBytes {
    let mut secret = ARENA.bytes(text.len()).unwrap();
    secret.expose_mut().copy_from_slice(text);
    secret
}

/// A handler waits here until it is let on, and tells when it has come.
pub(crate) struct Gate {
    pub(crate) arrived: Semaphore,
    pub(crate) open: Semaphore,
}

pub(crate) struct Service {
    pub(crate) server: Option<Server>,
    pub(crate) address: SocketAddr,
    pub(crate) gate: Arc<Gate>,
    pub(crate) background: Background,
    pub(crate) authority: PathBuf,
    pub(crate) dir: TempDir,
}

impl Service {
    pub(crate) fn start() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut Config)) -> Self {
        Self::in_dir(tempfile::tempdir().unwrap(), change)
    }

    pub(crate) fn in_dir(dir: TempDir, change: impl FnOnce(&mut Config)) -> Self {
        let data_dir = dir.path().join("hierarchy");
        let options = || claviger::Options {
            memory: claviger::KeyMemory::Own(ArenaOptions { keys: 256, states: 64, ..ArenaOptions::default() }),
            ..claviger::Options::default()
        };
        let engine = match data_dir.join("store").exists() {
            true => Engine::open(&data_dir, options()).unwrap(),
            false => {
                let engine = Engine::create(&data_dir, &"cluster1".parse().unwrap(), options()).unwrap();
                let mut accounts = Accounts::load(&data_dir).unwrap();
                for (login, role) in [(ADMIN, Role::Admin), (READER, Role::ReadOnly)] {
                    let (name, password) = login.split_once(':').unwrap();
                    accounts.create(name.parse().unwrap(), role, &secret(password.as_bytes())).unwrap();
                }
                engine
            }
        };
        let listen = "127.0.0.1:0".parse().unwrap();
        let overrides = Overrides { listen: Some(listen), data_dir: Some(data_dir.clone()) };
        let mut config = Config::load(None, [], overrides).unwrap();
        change(&mut config);
        let gate = Arc::new(Gate { arrived: Semaphore::new(0), open: Semaphore::new(0) });
        let (engine, background) = (Arc::new(engine), Background::default());
        let server = Server::start_with(&config, engine, Registry::default(), api(&gate), background.clone()).unwrap();
        let address = server.address();
        let authority = data_dir.join("tls/ca.pem");
        Self { server: Some(server), address, gate, background, authority, dir }
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.dir.path().join("hierarchy")
    }

    pub(crate) fn audit(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(audit_file(&self.data_dir())).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    pub(crate) fn connect(&self) -> Connection {
        self.connect_trusting(&self.authority, None).unwrap()
    }

    /// Over TLS with HTTP/1.1; the client identifies itself where a certificate and its key are given.
    pub(crate) fn connect_trusting(&self, authority: &Path, own: Option<(&str, &str)>) -> io::Result<Connection> {
        let stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(LONG))?;
        handshake(stream, client(authority, own))
    }

    pub(crate) fn get(&self, path: &str, login: Option<&str>) -> Answer {
        self.ask(Method::GET, path, login, b"")
    }

    pub(crate) fn post(&self, path: &str, login: Option<&str>, body: &[u8]) -> Answer {
        self.ask(Method::POST, path, login, body)
    }

    pub(crate) fn ask(&self, method: Method, path: &str, login: Option<&str>, body: &[u8]) -> Answer {
        self.connect().ask(&method, path, login.map(str::as_bytes), body)
    }

    /// Waits until a handler stands at the gate.
    pub(crate) fn wait_for_arrival(&self) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let arrival = async { tokio::time::timeout(LONG, self.gate.arrived.acquire()).await };
        runtime.block_on(arrival).unwrap().unwrap().forget();
    }

    pub(crate) fn open_gate(&self) {
        self.gate.open.add_permits(1);
    }
}

pub(crate) fn handshake(stream: TcpStream, config: ClientConfig) -> io::Result<Connection> {
    handshake_with(stream, config, [127, 0, 0, 1].into())
}

/// The certificate must name the address.
pub(crate) fn handshake_with(stream: TcpStream, config: ClientConfig, address: IpAddr) -> io::Result<Connection> {
    let name = ServerName::from(address);
    let session = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
    let mut tls = StreamOwned::new(session, stream);
    while tls.conn.is_handshaking() {
        tls.conn.complete_io(&mut tls.sock)?;
    }
    Ok(Connection { tls })
}

pub(crate) fn client(authority: &Path, own: Option<(&str, &str)>) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(authority).unwrap() {
        roots.add(certificate.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let builder = builder.with_root_certificates(roots);
    match own {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
            builder.with_client_auth_cert(vec![certificate], key).unwrap()
        }
    }
}

pub(crate) struct Connection {
    pub(crate) tls: StreamOwned<ClientConnection, TcpStream>,
}

impl Connection {
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.tls.write_all(bytes).unwrap();
        self.tls.flush().unwrap();
    }

    /// All that comes until the service closes the connection, or says nothing more.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        match self.tls.read_to_end(&mut rest) {
            // A service that cuts a connection off does not say goodbye.
            Ok(_) => {}
            Err(error) if matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset) => {}
            Err(error) => panic!("{error}"),
        }
        rest
    }

    pub(crate) fn ask(mut self, method: &Method, path: &str, login: Option<&[u8]>, body: &[u8]) -> Answer {
        self.send_request(method, path, login, body);
        self.answer()
    }

    pub(crate) fn send_request(&mut self, method: &Method, path: &str, login: Option<&[u8]>, body: &[u8]) {
        let login = login.map(|login| format!("Authorization: Basic {}\r\n", STANDARD.encode(login)));
        let login = login.unwrap_or_default();
        let len = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\nContent-Length: {len}\r\n{login}\r\n"
        );
        self.send(&[head.as_bytes(), body].concat());
    }

    pub(crate) fn answer(mut self) -> Answer {
        let rest = self.rest();
        let text = String::from_utf8(rest).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
    }
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    /// Of a body in the shape of ONTAP's errors.
    pub(crate) fn code(&self) -> String {
        let body: Value = serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"));
        body["error"]["code"].as_str().unwrap().to_owned()
    }
}

fn api(gate: &Arc<Gate>) -> Router {
    Router::new()
        .route("/api/who", get(who))
        .route("/api/change/{name}", post(change))
        .route("/api/long", post(long))
        .route("/api/len", any(|body: Bytes| async move { body.len().to_string() }))
        .route("/api/panic", any(panics))
        .route("/api/wait", any(wait))
        .route("/api/stream", any(stream))
        .with_state(Arc::clone(gate))
}

async fn who(Extension(caller): Extension<Caller>, headers: axum::http::HeaderMap) -> String {
    format!("{} {:?} {}", caller.name, caller.role, headers.contains_key("authorization"))
}

async fn change() -> Response {
    let audited = Audited { what: "a change".to_owned(), arguments: json!({ "size": 4 }) };
    (StatusCode::CREATED, Extension(audited), "{}").into_response()
}

async fn long() -> Response {
    let audited = Audited { what: "POST /api/long".to_owned(), arguments: json!({ "name": "x".repeat(1 << 20) }) };
    (StatusCode::CREATED, Extension(audited), "{}").into_response()
}

async fn panics() -> &'static str {
    panic!("on purpose");
}

async fn wait(State(gate): State<Arc<Gate>>) -> &'static str {
    gate.arrived.add_permits(1);
    gate.open.acquire().await.unwrap().forget();
    "waited"
}

/// The head of the answer comes at once, and the rest when the gate is opened.
async fn stream(State(gate): State<Arc<Gate>>) -> Body {
    let (mut end, body) = Channel::<Bytes, Infallible>::new(1);
    tokio::spawn(async move {
        gate.arrived.add_permits(1);
        gate.open.acquire().await.unwrap().forget();
        end.send_data(Bytes::from_static(b"streamed")).await.unwrap();
    });
    Body::new(body)
}
