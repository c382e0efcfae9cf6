//! Names to addresses. The system's lookup blocks its thread for as long as it likes and cannot be called off, so a name
//! whose zone is dead must hold no threads but its own few.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::{Arc, Weak};

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

/// How many lookups of one name run at a time.
const PER_NAME: usize = 2;

/// Looks a name up. Whoever drops this while it waits for its turn takes nothing.
pub(crate) async fn addresses(name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let asked = name.to_owned();
    in_turn(name, move || Ok((asked.as_str(), port).to_socket_addrs()?.collect())).await
}

/// Does it on a thread of its own, when it is this name's turn. The turn ends with the lookup, not with the wait for it.
async fn in_turn<T: Send + 'static>(
    name: &str,
    look_up: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let turn = turns(name).acquire_owned().await.map_err(io::Error::other)?;
    let found = spawn_blocking(move || {
        let found = look_up();
        drop(turn);
        found
    });
    found.await?
}

/// The turns of a name, for as long as anybody has one or waits for one.
fn turns(name: &str) -> Arc<Semaphore> {
    thread_local! {
        /// All that waits is on the one thread for input and output: there is no lock that a fork could leave locked.
        static TURNS: RefCell<HashMap<String, Weak<Semaphore>>> = RefCell::default();
    }
    TURNS.with_borrow_mut(|turns| {
        turns.retain(|_, turns| turns.strong_count() > 0);
        if let Some(found) = turns.get(name).and_then(Weak::upgrade) {
            return found;
        }
        let made = Arc::new(Semaphore::new(PER_NAME));
        turns.insert(name.to_owned(), Arc::downgrade(&made));
        made
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::RwLock;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;
    use tokio::runtime::Builder;
    use tokio::task::yield_now;
    use tokio::time::timeout;

    #[test]
    fn a_name_whose_lookup_hangs_stops_no_other() {
        let gate = Arc::new(RwLock::new(()));
        let shut = gate.write().unwrap();
        let begun = Arc::new(AtomicUsize::new(0));
        let hangs = || {
            let (gate, begun) = (Arc::clone(&gate), Arc::clone(&begun));
            move || {
                begun.fetch_add(1, Ordering::SeqCst);
                drop(gate.read());
                Ok(())
            }
        };
        let runtime = Builder::new_current_thread().enable_time().max_blocking_threads(PER_NAME + 1).build().unwrap();
        runtime.block_on(async {
            // All give up, those whose lookup has begun too.
            for _ in 0..2 {
                let callers: Vec<_> = (0..20).map(|_| tokio::spawn(in_turn("dead.example", hangs()))).collect();
                yield_now().await;
                callers.iter().for_each(tokio::task::JoinHandle::abort);
                yield_now().await;
            }
            let other = timeout(Duration::from_secs(10), in_turn("fine.example", || Ok(7))).await;
            assert_eq!(other.expect("another name's lookup waits").unwrap(), 7);
            assert!(begun.load(Ordering::SeqCst) <= PER_NAME);
            drop(shut);
            timeout(Duration::from_secs(10), in_turn("dead.example", hangs())).await.unwrap().unwrap();
        });
    }
}
