//! The service: it listens, and it stops in order.

mod activity;
mod background;
mod connection;
mod counter;
mod sources;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use claviger::Engine;
use sd_notify::NotifyState;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

pub use self::background::{Background, Work};
use self::counter::Counter;
use crate::accounts::Watched;
use crate::audit::{AuditError, AuditLog, Event};
use crate::config::Config;
use crate::login::{Logins, LoginsError};
use crate::metrics::{Gauges, Registry};
use crate::site::{Parts, Site};
use crate::tls::{Tls, TlsError};

/// Threads for what requests leave behind whose clients have left: the checks of their passwords, and lines of the audit log.
const OTHER_THREADS: usize = 32;

/// A service that runs. It stops when it is dropped, without waiting for what is in flight; [`Server::stop`] waits.
pub struct Server {
    /// First: when it is dropped, nobody uses the rest any more.
    runtime: Runtime,
    site: Arc<Site>,
    address: SocketAddr,
    accepting: JoinHandle<()>,
    connections: Arc<Semaphore>,
    most_connections: usize,
    background: Background,
    stop: watch::Sender<bool>,
    _counter: Counter,
}

impl Server {
    /// Serves `api` over `engine` as `config` says. Requests are answered when it returns.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn start(config: &Config, engine: Arc<Engine>, registry: Registry, api: Router) -> Result<Self, StartError> {
        Self::start_with(config, engine, registry, api, Background::default())
    }

    /// The same; requests to `api` have their long work in `background`.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub fn start_with(
        config: &Config,
        engine: Arc<Engine>,
        registry: Registry,
        api: Router,
        background: Background,
    ) -> Result<Self, StartError> {
        let tls = Tls::load(config)?;
        let logins = Logins::new(Watched::new(&config.data_dir), engine.arena().clone())?;
        let audit = AuditLog::open(&config.data_dir)?;
        let unbound = |source| StartError::Listen { address: config.listen, source };
        let listener = TcpListener::bind(config.listen).map_err(unbound)?;
        listener.set_nonblocking(true).map_err(unbound)?;
        let address = listener.local_addr().map_err(unbound)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .thread_name("claviger")
            // None of them waits for a thread.
            .max_blocking_threads(config.limits.requests + Background::MOST + OTHER_THREADS)
            .build();
        let runtime = runtime.map_err(StartError::Runtime)?;
        audit.write(Event::Started { version: env!("CARGO_PKG_VERSION").to_owned() })?;

        let (counter, counted) = Counter::begin(&engine);
        let site = Arc::new(Site::new(Parts {
            limits: config.limits.clone(),
            logins,
            audit,
            registry,
            gauges: Gauges { engine, counted },
            tls,
            danger_metrics_without_login: config.danger_metrics_without_login,
            api,
        }));
        let connections = Arc::new(Semaphore::new(config.limits.connections));
        let (stop, stopping) = watch::channel(false);
        let accepting = {
            let _runtime = runtime.enter();
            let listener = tokio::net::TcpListener::from_std(listener).map_err(unbound)?;
            let accept = connection::accept(Arc::clone(&site), listener, Arc::clone(&connections), stopping);
            runtime.spawn(accept)
        };
        tracing::info!(%address, "the service listens");
        let most_connections = config.limits.connections;
        Ok(Self {
            runtime,
            site,
            address,
            accepting,
            connections,
            most_connections,
            background,
            stop,
            _counter: counter,
        })
    }

    /// Where it listens; the port, where any would do, is known now.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Reads certificates and keys again, for new connections.
    ///
    /// # Errors
    /// [`TlsError`]; the service goes on with what it had.
    pub fn reload(&self) -> Result<(), TlsError> {
        self.site.tls.reload()
    }

    /// Tells systemd that the service is ready, and serves until SIGTERM or SIGINT; SIGHUP reloads. Then it stops.
    ///
    /// # Errors
    /// [`StartError::Signals`].
    pub fn run(self) -> Result<(), StartError> {
        self.run_then(|_| ())
    }

    /// The same; `ready` is called once signals are heard.
    ///
    /// # Errors
    /// As [`Server::run`].
    pub fn run_then(self, ready: impl FnOnce(&Self)) -> Result<(), StartError> {
        let mut signals = {
            let _runtime = self.runtime.enter();
            Signals::new().map_err(StartError::Signals)?
        };
        notify(&[NotifyState::Ready]);
        ready(&self);
        while let Heard::Reload = self.runtime.block_on(signals.next()) {
            self.reload_on_signal();
        }
        notify(&[NotifyState::Stopping]);
        self.stop();
        Ok(())
    }

    fn reload_on_signal(&self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => notify(&[NotifyState::Reloading, now]),
            Err(error) => tracing::warn!(%error, "systemd was not told of the reload"),
        }
        match self.reload() {
            Ok(()) => tracing::info!("certificates were read again"),
            Err(error) => {
                tracing::error!(
                    error = crate::chain(&error),
                    "certificates were not read again; the old ones serve on"
                );
            }
        }
        notify(&[NotifyState::Ready]);
    }

    /// Stops: no new connections, and requests in flight are answered, for as long as `limits.stop_timeout` allows. The engine's jobs
    /// stop at their next durable point, so that nobody waits for their end, and it begins no more of them.
    pub fn stop(self) {
        let Self { runtime, site, accepting, connections, most_connections, background, stop, .. } = self;
        let limit = site.limits.stop_timeout;
        site.stops();
        background.stop();
        site.gauges.engine.stop_jobs();
        stop.send_replace(true);
        let drained = runtime.block_on(async {
            let all = |most: usize| u32::try_from(most).unwrap_or(u32::MAX);
            let drain = async {
                // It ends at once, and gives its permit back.
                _ = accepting.await;
                _ = connections.acquire_many(all(most_connections)).await;
                background.ended().await;
                // Of clients that have left.
                _ = site.admission.acquire_many(all(site.limits.requests)).await;
            };
            tokio::time::timeout(limit, drain).await
        });
        if drained.is_err() {
            tracing::warn!(?limit, "requests were still running when the service stopped");
        }
        if let Err(error) = site.audit.write(Event::Stopped) {
            tracing::error!(error = crate::chain(&error), "the stop was not written down");
        }
        // What still runs gets no further time than its next pause.
        runtime.shutdown_timeout(Duration::from_secs(1));
        tracing::info!("the service has stopped");
    }
}

/// Where systemd did not start the service, nobody is told.
fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "systemd could not be told");
    }
}

struct Signals {
    hangup: Signal,
    interrupt: Signal,
    terminate: Signal,
}

enum Heard {
    Reload,
    Stop,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) -> Heard {
        tokio::select! {
            _ = self.hangup.recv() => Heard::Reload,
            _ = self.interrupt.recv() => Heard::Stop,
            _ = self.terminate.recv() => Heard::Stop,
        }
    }
}

/// The service does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Certificates or keys.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Logins.
    #[error(transparent)]
    Logins(#[from] LoginsError),
    /// The audit log.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The address is taken, or not one of this machine.
    #[error("the service cannot listen at {address}; is another one there?")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The system gave no threads.
    #[error("the service's threads could not be started")]
    Runtime(#[source] io::Error),
    /// Signals cannot be heard.
    #[error("the service would not hear when it is to stop")]
    Signals(#[source] io::Error),
}
