//! A relay in front of a service on loopback that counts what passes.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

/// It goes with the process.
pub(crate) struct Relay {
    port: u16,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    connections: AtomicU64,
    ended: AtomicU64,
    bytes: AtomicU64,
}

impl Relay {
    /// In front of the service of this URL.
    pub(crate) fn before(url: &str) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let (port, to) = (listener.local_addr().unwrap().port(), port_of(url));
        let counts = Arc::<Counts>::default();
        let counted = counts.clone();
        thread::spawn(move || {
            for caller in listener.incoming() {
                counted.connections.fetch_add(1, Ordering::SeqCst);
                let counted = counted.clone();
                // A service that is gone ends this connection alone.
                thread::spawn(move || {
                    caller.and_then(|caller| relay(&caller, to, &counted)).ok();
                    counted.ended.fetch_add(1, Ordering::SeqCst);
                });
            }
        });
        Self { port, counts }
    }

    /// The URL by which the relay is asked in place of the service.
    pub(crate) fn url(&self, url: &str) -> String {
        url.replace(&format!(":{}/", port_of(url)), &format!(":{}/", self.port))
    }

    /// Connections that came.
    pub(crate) fn connections(&self) -> u64 {
        self.counts.connections.load(Ordering::SeqCst)
    }

    /// Whether none of them is left: the end of one passes after its answer.
    pub(crate) fn is_quiet(&self) -> bool {
        self.connections() == self.counts.ended.load(Ordering::SeqCst)
    }

    /// Connections that came, and bytes that passed, both ways together.
    pub(crate) fn passed(&self) -> (u64, u64) {
        (self.connections(), self.counts.bytes.load(Ordering::SeqCst))
    }
}

fn port_of(url: &str) -> u16 {
    let place = url.split('/').nth(2).unwrap();
    place.rsplit_once(':').unwrap().1.parse().unwrap()
}

fn relay(caller: &TcpStream, to: u16, counts: &Counts) -> io::Result<()> {
    let service = TcpStream::connect(("127.0.0.1", to))?;
    thread::scope(|scope| {
        scope.spawn(|| pass(caller, &service, counts));
        pass(&service, caller, counts)
    })
}

/// Until the end of what is read; the other side hears of that end too.
fn pass(mut from: &TcpStream, mut to: &TcpStream, counts: &Counts) -> io::Result<()> {
    let mut buffer = [0; 16 * 1024];
    let ended = loop {
        match from.read(&mut buffer) {
            Ok(0) => break Ok(()),
            Ok(read) => {
                counts.bytes.fetch_add(read as u64, Ordering::SeqCst);
                if let Err(error) = to.write_all(&buffer[..read]) {
                    break Err(error);
                }
            }
            Err(error) => break Err(error),
        }
    };
    to.shutdown(Shutdown::Write).ok();
    ended
}
