//! Signals. They are the process's, so this test has one to itself.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use claviger::{Arena, ArenaOptions, KeyMemory, Options};
use claviger_server::{DevSite, Registry, Server};
use rustix::process::{Signal, getpid, kill_process};

const LONG: Duration = Duration::from_secs(60);

#[test]
fn sighup_reads_certificates_again_and_sigterm_stops() {
    let dir = tempfile::tempdir().unwrap();
    let arena = Arena::new(&ArenaOptions { keys: 256, states: 64, ..ArenaOptions::default() }).unwrap();
    let options = Options { memory: KeyMemory::Shared(arena.clone()), ..Options::default() };
    let site = DevSite::prepare(Some(dir.path()), None, &arena).unwrap();
    let engine = site.open(options).unwrap();
    let server = Server::start(&site.config, Arc::new(engine), Registry::default(), axum::Router::new()).unwrap();
    let address = server.address();
    let tls = site.authority.parent().unwrap().to_owned();
    let first = serial_of(address, &site.authority).unwrap();

    let (ready, is_ready) = mpsc::channel();
    let running = std::thread::spawn(move || server.run_then(|_| ready.send(()).unwrap()));
    is_ready.recv_timeout(LONG).unwrap();
    // Its own certificate is made anew where it is missing.
    std::fs::remove_file(tls.join("server.pem")).unwrap();
    kill_process(getpid(), Signal::HUP).unwrap();
    let deadline = std::time::Instant::now() + LONG;
    while serial_of(address, &site.authority).is_none_or(|serial| serial == first) {
        assert!(std::time::Instant::now() < deadline, "the old certificate is still served");
    }
    kill_process(getpid(), Signal::TERM).unwrap();
    running.join().unwrap().unwrap();
    assert!(std::net::TcpStream::connect(address).is_err());
}

/// The certificate that the service shows whoever trusts `authority`; `None` where that did not issue it.
fn serial_of(address: std::net::SocketAddr, authority: &Path) -> Option<Vec<u8>> {
    use rustls_pki_types::CertificateDer;
    use rustls_pki_types::pem::PemObject as _;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority).ok()?).ok()?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let name = address.ip().into();
    let mut session = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    while session.is_handshaking() {
        session.complete_io(&mut stream).ok()?;
    }
    Some(session.peer_certificates()?.first()?.to_vec())
}
