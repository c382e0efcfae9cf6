//! What the tests share: a client of a lab or of a server of the test's own.
#![allow(dead_code, reason = "each test program uses its part")]

pub(crate) mod server;

use std::time::Duration;

use claviger_barbican::{CertificateDer, Client, Credential, Proxy, ProxyKind, ProxyUser, Site};
use claviger_secret::{Arena, ArenaOptions, SecretBytes};

use server::Server;

/// The secret of the tests' credential, as no other text is.
pub(crate) const SECRET: &str = "fGMLx7qZ0vTn-3bWk8RjYh2sXe_4uPd9LcAo5iNjdA";

/// The key of the tests' Barbican.
pub(crate) const KEY: [u8; 32] = *b"Kq7v%Rz2#Wm9!Tx4&Hn6*Lb8^Jc3~Yg5";

pub(crate) const ID: &str = "5f9a4e6c-9d1b-4c4e-8f57-0123456789ab";

pub(crate) fn arena() -> Arena {
    Arena::new(&ArenaOptions { keys: 512, states: 512, ..ArenaOptions::default() }).unwrap()
}

pub(crate) fn secret(arena: &Arena, text: &str) -> SecretBytes {
    let mut bytes = arena.bytes(text.len()).unwrap();
    bytes.expose_mut().copy_from_slice(text.as_bytes());
    bytes
}

pub(crate) fn credential(arena: &Arena) -> Credential {
    Credential { id: "394de01f".to_owned(), secret: secret(arena, SECRET) }
}

pub(crate) fn site(keystone: &str, roots: &[CertificateDer<'static>]) -> Site {
    Site {
        keystone: keystone.parse().unwrap(),
        proxy: None,
        verify: true,
        verify_host: true,
        extra_roots: roots.to_vec(),
        timeout: Duration::from_secs(20),
    }
}

pub(crate) fn client(site: &Site) -> Client {
    let arena = arena();
    Client::new(&arena, site, &credential(&arena)).unwrap()
}

/// A client of the test's own server.
pub(crate) fn client_of(server: &Server) -> Client {
    client(&site(&server.keystone(), std::slice::from_ref(&server.root)))
}

/// As [`client_of`], with so much time.
pub(crate) fn hasty(server: &Server, milliseconds: u64) -> Client {
    let site = site(&server.keystone(), std::slice::from_ref(&server.root));
    client(&Site { timeout: Duration::from_millis(milliseconds), ..site })
}

/// The proxy of a URL like `http://name:password@host:port`.
pub(crate) fn proxy(arena: &Arena, url: &str) -> Proxy {
    let (kind, rest) = match url.split_once("://").unwrap() {
        ("http", rest) => (ProxyKind::Http, rest),
        (_, rest) => (ProxyKind::Https, rest),
    };
    let (user, place) = rest.rsplit_once('@').map_or((None, rest), |(user, place)| (Some(user), place));
    let (host, port) = place.rsplit_once(':').unwrap();
    let user = user.map(|user| {
        let (name, password) = user.split_once(':').unwrap();
        ProxyUser { name: name.to_owned(), password: secret(arena, password) }
    });
    Proxy { kind, host: host.to_owned(), port: port.parse().unwrap(), user }
}
