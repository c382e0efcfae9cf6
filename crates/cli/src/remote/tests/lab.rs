//! Two hierarchies that are alike, one in a directory, the other behind a service; and commands over both.

use std::cell::RefCell;
use std::fs;
use std::io::{self, BufReader, Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::RETRY_AFTER;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::serve::Listener;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use clap::Parser as _;
use claviger::store::{Batch, Expect, open_store};
use claviger::{Engine, Options, StoreKind, StoreOptions, Table, certificates_from_pem};
use claviger_ontap::{Audited, Caller, Problem, Role};
use claviger_server::Background;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::PrivatePkcs8KeyDer;
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use ureq::Agent;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use crate::args::Args;
use crate::client::Environment;
use crate::event::Form;
use crate::exit::Exit;
use crate::front;
use crate::remote::{PATH, router};
use crate::screen::Screen;

pub(super) const PASSPHRASE: &str = "correct horse battery staple, twice over";
pub(super) const OTHER_PASSPHRASE: &str = "another horse battery staple, twice over";
pub(super) const LONG_PASSPHRASE: &str = "sixty-four characters and more, as the mode of Common Criteria has it";
pub(super) const PASSWORD: &str = "a word for the service";

/// What a command printed, and how it ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) exit: Exit,
    pub(super) out: String,
    pub(super) err: String,
}

pub(super) struct Lab {
    root: TempDir,
    service: Service,
}

impl Lab {
    /// Hierarchies with a keystore and the SVM vs0, which has no keys yet.
    pub(super) fn with_svm() -> Self {
        Self::after(&["init", "keystore create onboard --passphrase-file @p", "svm create vs0"])
    }

    /// The same, with a key, in Common Criteria mode, opened anew.
    pub(super) fn locked() -> Self {
        Self::after(&[
            "init",
            "keystore create onboard --common-criteria --passphrase-file @long",
            "svm create vs0",
            "key create --svm vs0 --volume 5d1c8a52-5d3c-4f0c-8f66-0cf5bb3c2f9a --passphrase-file @long",
        ])
    }

    /// The same, with two keys, of which one is damaged.
    pub(super) fn damaged() -> Self {
        let commands = [
            "init",
            "keystore create onboard --passphrase-file @p",
            "svm create vs0",
            "key create --svm vs0 --volume 5d1c8a52-5d3c-4f0c-8f66-0cf5bb3c2f9a",
            "key create --svm vs0 --drive 5d1c8a52-5d3c-4f0c-8f66-0cf5bb3c2f9a",
        ];
        Self::serving(&commands, |dir| {
            let store = open_store(&dir.join("store"), &StoreOptions::default()).unwrap();
            let entry = store.scan(Table::Keys, &[], None, 1).unwrap().remove(0);
            let value = [b"x", &entry.value[1..]].concat();
            let batch = Batch::new().require(Table::Keys, entry.key.clone(), Expect::Exactly(entry.value));
            store.commit(batch.put(Table::Keys, entry.key, value)).unwrap();
        })
    }

    /// Both have seen these commands, over their directories.
    fn after(commands: &[&str]) -> Self {
        Self::serving(commands, |_| ())
    }

    /// The same, and something was done to them then.
    fn serving(commands: &[&str], then: impl Fn(&Path)) -> Self {
        let root = tempfile::tempdir().unwrap();
        let (certificate, key) = certificate();
        for (name, text) in [
            ("p", PASSPHRASE),
            ("other", OTHER_PASSPHRASE),
            ("long", LONG_PASSPHRASE),
            ("password", PASSWORD),
            ("ca", &certificate),
            ("profiles", ""),
        ] {
            fs::write(root.path().join(name), text).unwrap();
            fs::set_permissions(root.path().join(name), fs::Permissions::from_mode(0o600)).unwrap();
        }
        for dir in ["local", "served"] {
            for command in commands {
                let said = run(&root, &format!("{command} --dir @{dir}"));
                assert_eq!(said.exit, Exit::Done, "{command}: {}", said.err);
            }
            then(&root.path().join(dir));
        }
        let service = Service::start(root.path().join("served"), &certificate, key);
        Self { root, service }
    }

    pub(super) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    pub(super) fn url(&self) -> String {
        self.service.url.clone()
    }

    /// The service's.
    pub(super) fn engine(&self) -> &Engine {
        &self.service.engine
    }

    /// Where the service's commands find room.
    pub(super) fn commands(&self) -> &Background {
        &self.service.commands
    }

    /// A command as it is. `@name` is a file beside the hierarchies.
    pub(super) fn claviger(&self, command: &str) -> Said {
        run(&self.root, command)
    }

    /// A command over the hierarchy in the directory.
    pub(super) fn local(&self, command: &str) -> Said {
        self.claviger(&format!("{command} --dir @local"))
    }

    /// A command over the one behind the service.
    pub(super) fn remote(&self, command: &str) -> Said {
        self.remote_as("admin", command)
    }

    pub(super) fn remote_as(&self, user: &str, command: &str) -> Said {
        self.claviger(&format!("{command} --url {} --user {user} --password-file @password --url-ca @ca", self.url()))
    }

    /// Sends a body that no client would. Returns the status and the answer.
    pub(super) fn post(&self, user: &str, content_type: &str, body: &str) -> (u16, Value) {
        let mut response = self.send(user, content_type, body);
        let answer = response.body_mut().read_to_string().unwrap();
        (response.status().as_u16(), serde_json::from_str(&answer).unwrap_or_default())
    }

    /// Begins a command, and gives its events.
    pub(super) fn begin(&self, user: &str, body: &str) -> BufReader<impl Read + use<>> {
        BufReader::new(self.send(user, "application/json", body).into_body().into_reader())
    }

    fn send(&self, user: &str, content_type: &str, body: &str) -> ureq::http::Response<ureq::Body> {
        let ca = certificates_from_pem(&fs::read(self.path("ca")).unwrap()).unwrap();
        let roots = ca.iter().map(|der| Certificate::from_der(der).to_owned()).collect();
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::Specific(Arc::new(roots)))
            .unversioned_rustls_crypto_provider(Arc::new(aws_lc_rs::default_provider()))
            .build();
        let agent = Agent::config_builder().tls_config(tls).http_status_as_error(false).proxy(None).build().new_agent();
        let authorization = format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{PASSWORD}")));
        let request = agent.post(format!("{}{PATH}", self.url()));
        request.header("Authorization", authorization).header("Content-Type", content_type).send(body).unwrap()
    }

    /// The bodies of all requests.
    pub(super) fn bodies(&self) -> Vec<String> {
        self.service.seen.bodies.lock().unwrap().clone()
    }

    /// What was audited, with the status of the answer.
    pub(super) fn audited(&self) -> Vec<(Audited, u16)> {
        self.service.seen.audited.lock().unwrap().clone()
    }

    /// What was seen up to now.
    pub(super) fn forget(&self) {
        self.service.seen.bodies.lock().unwrap().clear();
        self.service.seen.audited.lock().unwrap().clear();
    }
}

/// Runs a command in this process.
fn run(root: &TempDir, command: &str) -> Said {
    let beside = format!("{}/", root.path().display());
    let args = command.split_whitespace().map(|arg| arg.replacen('@', &beside, usize::from(arg.starts_with('@'))));
    let args = Args::try_parse_from(std::iter::once("claviger".to_owned()).chain(args)).unwrap();
    let (out, err) = (Heard::default(), Heard::default());
    let form = if args.common.json { Form::Json } else { Form::Text };
    let screen = Screen::over(form, Box::new(out.clone()), Box::new(err.clone()));
    let environment = Environment::with_file(root.path().join("profiles"));
    let done = front::run(args, &environment, &screen);
    let exit = done.unwrap_or_else(|failure| screen.failure(&failure));
    Said { exit, out: out.text(), err: err.text() }
}

#[derive(Clone, Default)]
struct Heard(Rc<RefCell<Vec<u8>>>);

impl Heard {
    fn text(&self) -> String {
        String::from_utf8(self.0.borrow().clone()).unwrap()
    }
}

impl Write for Heard {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A certificate for `localhost` that is its own authority, as PEM, and its key.
pub(super) fn certificate() -> (String, PrivatePkcs8KeyDer<'static>) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_der().into())
}

struct Service {
    url: String,
    engine: Arc<Engine>,
    commands: Background,
    seen: Arc<Seen>,
    _runtime: Runtime,
}

#[derive(Default)]
struct Seen {
    bodies: Mutex<Vec<String>>,
    /// With the status of the answer.
    audited: Mutex<Vec<(Audited, u16)>>,
}

impl Service {
    fn start(dir: PathBuf, certificate: &str, key: PrivatePkcs8KeyDer<'static>) -> Self {
        let engine = Arc::new(Engine::open(&dir, Options::default()).unwrap());
        let store = StoreKind::of(&dir.join("store")).unwrap();
        let seen = Arc::new(Seen::default());
        let commands = Background::default();
        let router = router(Arc::clone(&engine), store, commands.clone());
        let router = router.layer(from_fn_with_state(Arc::clone(&seen), authenticate));
        let tls = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(certificates_from_pem(certificate.as_bytes()).unwrap(), key.into())
            .unwrap();
        let runtime = Runtime::new().unwrap();
        let tcp = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("https://localhost:{}", tcp.local_addr().unwrap().port());
        let listener = Tls { tcp, acceptor: TlsAcceptor::from(Arc::new(tls)) };
        runtime.spawn(async { axum::serve(listener, router).await });
        Self { url, engine, commands, seen, _runtime: runtime }
    }
}

struct Tls {
    tcp: TcpListener,
    acceptor: TlsAcceptor,
}

impl Listener for Tls {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (stream, peer) = self.tcp.accept().await.unwrap();
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, peer);
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.tcp.local_addr()
    }
}

/// As the daemon does, but for `forgotten`.
async fn authenticate(State(seen): State<Arc<Seen>>, mut request: Request, next: Next) -> Response {
    let header = request.headers().get("Authorization").unwrap().to_str().unwrap();
    let plain = BASE64_STANDARD.decode(header.strip_prefix("Basic ").unwrap()).unwrap();
    let plain = String::from_utf8(plain).unwrap();
    let (name, password) = plain.split_once(':').unwrap();
    let role = match (name, password) {
        ("admin", PASSWORD) => Some(Role::Admin),
        ("reader", PASSWORD) => Some(Role::ReadOnly),
        ("forgotten", PASSWORD) => None,
        ("hasty", _) => {
            let problem = Problem::new(StatusCode::UNAUTHORIZED, 6_691_623, "nothing was checked");
            return ([(RETRY_AFTER, "7")], problem).into_response();
        }
        _ => return Problem::new(StatusCode::UNAUTHORIZED, 6_691_623, "who are you?").into_response(),
    };
    if let Some(role) = role {
        let name = name.to_owned();
        request.extensions_mut().insert(Caller { name, role });
    }
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, 16 << 20).await.unwrap();
    seen.bodies.lock().unwrap().push(String::from_utf8(body.to_vec()).unwrap());
    let response = next.run(Request::from_parts(parts, Body::from(body))).await;
    let audited = response.extensions().get::<Audited>().cloned();
    seen.audited.lock().unwrap().extend(audited.map(|audited| (audited, response.status().as_u16())));
    response
}

/// Waits for something that happens elsewhere.
#[track_caller]
pub(super) fn until(mut happened: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !happened() {
        assert!(begun.elapsed() < Duration::from_secs(120), "it does not happen");
        std::thread::yield_now();
    }
}
