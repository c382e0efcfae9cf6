//! Certificates, the two switches, and proxies, over servers of the tests' own.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use claviger_barbican::{BarbicanError, CertificateDer, HopName, Service, Site, TlsFault, Unanswered};
use claviger_tests::heard::Heard;
use support::server::{Kind, Server, closed_port, mute, reply, well};
use support::{KEY, SECRET, arena, client, credential, proxy, site};

fn fault(error: BarbicanError) -> (Service, TlsFault) {
    match error {
        BarbicanError::Tls { service, fault, .. } => (service, fault),
        error => panic!("{error:?}"),
    }
}

#[test]
fn chain_and_name_are_two_switches() {
    let other = Server::start(well);
    for (name, is_named) in [("localhost", true), ("elsewhere.example", false)] {
        for is_trusted in [true, false] {
            for (verify, verify_host) in [(true, true), (true, false), (false, true), (false, false)] {
                let server = Server::named(name, Kind::Tls, well);
                let root = if is_trusted { server.root.clone() } else { other.root.clone() };
                let site = Site { verify, verify_host, ..site(&server.keystone(), &[root]) };
                let outcome = client(&site).key(&server.secret()).map(|key| key.ct_eq(&KEY));
                let case = format!("{name} {is_trusted} {verify} {verify_host}");
                match (verify && !is_trusted, verify_host && !is_named) {
                    (true, _) => assert_eq!(fault(outcome.unwrap_err()).1, TlsFault::Untrusted, "{case}"),
                    (false, true) => assert_eq!(fault(outcome.unwrap_err()).1, TlsFault::WrongName, "{case}"),
                    (false, false) => {
                        assert!(outcome.unwrap(), "{case}");
                        continue;
                    }
                }
                // It is not tried again, and nothing is said.
                assert_eq!((server.connections(), server.seen().len()), (1, 0), "{case}");
            }
        }
    }
}

#[test]
fn whoever_has_not_the_certificates_key_is_refused_whatever_the_switches_say() {
    for kind in [Kind::Impostor, Kind::Impostor12] {
        let server = Server::named("localhost", kind, well);
        for verify in [true, false] {
            let root = server.root.clone();
            let site = Site { verify, verify_host: verify, ..site(&server.keystone(), &[root]) };
            let error = client(&site).key(&server.secret()).unwrap_err();
            assert_eq!(fault(error), (Service::Keystone, TlsFault::Certificate));
        }
        assert_eq!(server.seen().len(), 0);
    }
}

#[test]
fn a_chain_is_verified_to_its_end() {
    for (kind, wanted) in [
        (Kind::Tls, None),
        (Kind::Tls12, None),
        (Kind::Under { sent: true }, None),
        (Kind::Under { sent: false }, Some(TlsFault::Untrusted)),
        (Kind::Expired, Some(TlsFault::Time)),
        (Kind::ForClients, Some(TlsFault::Certificate)),
    ] {
        for (verify, verify_host) in [(true, true), (true, false), (false, true), (false, false)] {
            let server = Server::named("localhost", kind, well);
            let site = Site { verify, verify_host, ..site(&server.keystone(), std::slice::from_ref(&server.root)) };
            let outcome = client(&site).key(&server.secret()).map(|key| key.ct_eq(&KEY));
            match wanted.filter(|_| verify) {
                Some(wanted) => {
                    assert_eq!(fault(outcome.unwrap_err()), (Service::Keystone, wanted), "{kind:?}");
                    assert_eq!((server.connections(), server.seen().len()), (1, 0), "{kind:?}");
                }
                None => assert!(outcome.unwrap(), "{kind:?}"),
            }
        }
    }
}

#[test]
fn what_is_not_tls_is_told() {
    let server = Server::start(well);
    let port = mute(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    let site = site(&format!("https://localhost:{port}/v3"), &[]);
    let error = client(&site).key(&server.secret()).unwrap_err();
    assert_eq!(fault(error), (Service::Keystone, TlsFault::Handshake));
}

/// A client through a proxy of this URL, to a server that only a proxy reaches.
fn through(url: &str, roots: &[CertificateDer<'static>]) -> claviger_barbican::Client {
    let arena = arena();
    let site = Site { proxy: Some(proxy(&arena, url)), ..site("https://localhost:1/v3", roots) };
    claviger_barbican::Client::new(&arena, &site, &credential(&arena)).unwrap()
}

#[test]
fn a_proxy_is_spoken_to_in_the_clear_or_over_tls() {
    let (plain, tls) = (Server::plain(well), Server::start(well));
    for (scheme, server) in [("http", &plain), ("https", &tls)] {
        let client =
            through(&format!("{scheme}://name:word@localhost:{}", server.port), std::slice::from_ref(&server.root));
        assert!(client.key(&server.secret()).unwrap().ct_eq(&KEY), "{scheme}");
        let tunnels: Vec<_> = server.seen().into_iter().filter(|seen| seen.first.starts_with("CONNECT ")).collect();
        assert_eq!(tunnels.len(), 3);
        let [login, metadata, _] = tunnels.try_into().unwrap();
        assert_eq!(login.first, "CONNECT localhost:1 HTTP/1.1");
        assert_eq!(login.header("proxy-authorization"), Some("Basic bmFtZTp3b3Jk"));
        assert_eq!(metadata.first, format!("CONNECT localhost:{} HTTP/1.1", server.port));
        // What is for the proxy goes to the proxy alone.
        assert!(
            server
                .seen()
                .iter()
                .all(|seen| { seen.first.starts_with("CONNECT ") == seen.header("proxy-authorization").is_some() })
        );
    }
}

#[test]
fn a_proxys_certificate_is_verified() {
    let (server, other) = (Server::start(well), Server::start(well));
    let client = through(&format!("https://localhost:{}", server.port), std::slice::from_ref(&other.root));
    assert_eq!(fault(client.key(&server.secret()).unwrap_err()), (Service::Proxy, TlsFault::Untrusted));
    assert_eq!(server.connections(), 1);
}

#[test]
fn a_proxy_that_refuses_is_told_and_not_asked_again() {
    for (line, status) in [("407 Proxy Authentication Required", 407), ("403 Forbidden", 403)] {
        let server = Server::plain(move |_| reply(line, "Proxy-Authenticate: Basic\r\n", ""));
        let client = through(&format!("http://localhost:{}", server.port), &[]);
        let error = client.key(&server.secret()).unwrap_err();
        assert!(matches!(error, BarbicanError::ProxyRefused { status: told } if told == status), "{error:?}");
        assert_eq!(server.connections(), 1);
    }
}

#[test]
fn what_a_proxy_cannot_reach_is_the_services_fault() {
    let server = Server::plain(|_| reply("502 Bad Gateway", "", ""));
    let client = through(&format!("http://localhost:{}", server.port), &[]);
    let mut hops = Vec::new();
    let error = client.check(&server.secret(), |hop| hops.push((hop.name, hop.outcome.is_ok()))).unwrap_err();
    let BarbicanError::Unreachable { service: Service::Keystone, source: Unanswered::BehindProxy(502) } = error else {
        panic!("{error:?}")
    };
    assert_eq!(hops, [(HopName::Proxy, true), (HopName::Keystone, false)]);
}

#[test]
fn a_proxy_that_is_gone_is_unreachable_itself() {
    let server = Server::start(well);
    let client = through(&format!("http://localhost:{}", closed_port()), &[]);
    let mut hops = Vec::new();
    let error = client.check(&server.secret(), |hop| hops.push((hop.name, hop.outcome.is_ok()))).unwrap_err();
    assert!(matches!(error, BarbicanError::Unreachable { service: Service::Proxy, .. }), "{error:?}");
    assert_eq!(hops, [(HopName::Proxy, false)]);
}

#[test]
fn nothing_that_is_said_holds_a_secret() {
    let heard = Log::default();
    let subscriber =
        tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(heard.clone()).finish();
    // The work is on another thread.
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let server = Server::plain(well);
    let arena = arena();
    let url = format!("http://name:proxy-word-53@localhost:{}", server.port);
    let site =
        Site { proxy: Some(proxy(&arena, &url)), ..site("https://localhost:1/v3", std::slice::from_ref(&server.root)) };
    let credential = credential(&arena);
    let client = claviger_barbican::Client::new(&arena, &site, &credential).unwrap();
    let mut said = Heard::default();
    let key = client.check(&server.secret(), |hop| said.debug(hop)).unwrap();
    let metadata = client.metadata(&server.secret()).unwrap();
    said.debug(&site);
    said.debug(&credential);
    said.debug(&client);
    said.debug(&metadata);
    said.debug(&key);
    for answer in ["401 Unauthorized", "403 Forbidden", "404 Not Found", "500 Internal Server Error", "302 Found"] {
        let server = Server::start(move |seen| reply(answer, "", &seen.body));
        let error = support::hasty(&server, 1000).key(&server.secret()).unwrap_err();
        said.error(&error);
    }
    let log = heard.0.lock().unwrap().clone();
    assert!(String::from_utf8_lossy(&log).contains("answered"), "nothing was logged");
    said.bytes(&log);
    let secrets: [(&str, &[u8]); 4] = [
        ("credential", SECRET.as_bytes()),
        ("key", &KEY),
        ("token", b"gAAAAAB-token-"),
        ("password of the proxy", b"proxy-word-53"),
    ];
    assert_eq!(said.find(secrets), std::collections::BTreeSet::new());
}

#[derive(Clone, Default)]
struct Log(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> tracing_subscriber::fmt::MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}
