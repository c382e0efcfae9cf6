//! Connections: accepted while there is room, and closed when nothing comes.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::activity::{Activity, Carried, Noticing};
use super::sources::Sources;
use crate::config::Limits;
use crate::metrics::names;
use crate::site::{Peer, Site};
use crate::tls;

/// A header as a whole.
const HEADER_BYTES: usize = 32 * 1024;
const HEADERS: usize = 64;
/// Requests at a time in one connection of HTTP/2.
const STREAMS: u32 = 32;

/// After an error, such as too many open files.
const PAUSE: Duration = Duration::from_millis(100);

/// Accepts until it is told to stop.
pub(super) async fn accept(
    site: Arc<Site>,
    listener: TcpListener,
    connections: Arc<Semaphore>,
    mut stopping: watch::Receiver<bool>,
) {
    let sources = Sources::new(site.limits.connections);
    loop {
        // Those that find no room wait in the kernel's queue.
        let next = async {
            let room = Arc::clone(&connections).acquire_owned().await.map_err(io::Error::other)?;
            let (stream, from) = listener.accept().await?;
            Ok::<_, io::Error>((stream, from, room))
        };
        let accepted = tokio::select! {
            _ = stopping.wait_for(|stop| *stop) => return,
            accepted = next => accepted,
        };
        match accepted {
            Ok((stream, from, room)) => match sources.enter(from.ip()) {
                Some(entered) => {
                    let serve = serve(Arc::clone(&site), stream, from, stopping.clone());
                    tokio::spawn(async move {
                        serve.await;
                        drop((entered, room));
                    });
                }
                None => {
                    site.registry.count(names::REFUSED, &[("limit", "connections_of_one")]);
                    tracing::debug!(%from, "a connection was refused: there are many from there");
                }
            },
            Err(error) => {
                tracing::warn!(%error, "a connection was not accepted");
                tokio::time::sleep(PAUSE).await;
            }
        }
        site.registry.set(names::CONNECTIONS, &[], open_of(&site.limits, &connections));
    }
}

fn open_of(limits: &Limits, connections: &Semaphore) -> f64 {
    let open = limits.connections.saturating_sub(connections.available_permits());
    u32::try_from(open).unwrap_or(u32::MAX).into()
}

async fn serve(site: Arc<Site>, stream: TcpStream, from: SocketAddr, mut stopping: watch::Receiver<bool>) {
    // Answers are small; waiting for more to send only delays them.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, %from, "an option of a connection was not set");
    }
    let handshake = TlsAcceptor::from(site.tls.server()).accept(stream);
    let shaken = tokio::select! {
        shaken = timeout(site.limits.handshake_timeout, handshake) => shaken,
        // Nothing has been asked yet.
        _ = stopping.wait_for(|stop| *stop) => return,
    };
    match shaken {
        Ok(Ok(stream)) => serve_http(site, stream, from, stopping).await,
        Ok(Err(error)) => tracing::debug!(%error, %from, "a TLS handshake failed"),
        Err(_) => {
            site.registry.count(names::REFUSED, &[("limit", "handshake_timeout")]);
            tracing::debug!(%from, "a TLS handshake took too long");
        }
    }
}

async fn serve_http(site: Arc<Site>, stream: TlsStream<TcpStream>, from: SocketAddr, stopping: watch::Receiver<bool>) {
    let (_, session) = stream.get_ref();
    let is_http2 = session.alpn_protocol() == Some(b"h2");
    let certificate = session.peer_certificates().and_then(<[_]>::first);
    let peer = Peer { from, common_name: certificate.and_then(tls::common_name) };
    let limits = site.limits.clone();
    let activity = Arc::new(Activity::new());
    let service = service_fn({
        let activity = Arc::clone(&activity);
        move |request| {
            let running = activity.begin();
            let activity = Arc::clone(&activity);
            let answer = Arc::clone(&site).answer(peer.clone(), request);
            async move { answer.await.map(|answer| answer.map(|body| Carried::new(body, activity, running))) }
        }
    });
    match is_http2 {
        true => {
            let mut http = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            http.timer(TokioTimer::new())
                .max_concurrent_streams(STREAMS)
                .max_header_list_size(u32::try_from(HEADER_BYTES).unwrap_or(u32::MAX))
                .keep_alive_interval(limits.idle_timeout / 2)
                .keep_alive_timeout(limits.header_timeout);
            drive(http.serve_connection(TokioIo::new(stream), service), &activity, &limits, stopping).await;
        }
        false => {
            let mut http = hyper::server::conn::http1::Builder::new();
            // It counts the wait for the next request too, which is another limit.
            http.header_read_timeout(None).max_headers(HEADERS).max_buf_size(HEADER_BYTES).half_close(false);
            let stream = TokioIo::new(Noticing::new(stream, Arc::clone(&activity)));
            drive(http.serve_connection(stream, service), &activity, &limits, stopping).await;
        }
    }
}

/// Until the connection ends, or nothing has come for too long. When the service stops, what has been asked is answered first.
async fn drive(
    connection: impl GracefulConnection<Error = hyper::Error>,
    activity: &Activity,
    limits: &Limits,
    mut stopping: watch::Receiver<bool>,
) {
    let mut connection = pin!(connection);
    let mut idle = pin!(activity.too_idle(limits));
    let mut told = false;
    loop {
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "a connection broke off");
                }
                return;
            }
            () = idle.as_mut() => return,
            _ = stopping.wait_for(|stop| *stop), if !told => {
                connection.as_mut().graceful_shutdown();
                told = true;
            }
        }
    }
}
