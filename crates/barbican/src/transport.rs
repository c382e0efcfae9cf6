//! Connections: TCP, the proxy's tunnel, TLS. One for each request; none is kept.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use claviger_secret::{Arena, SecretBytes};
use http_body_util::Full;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{HOST, HeaderValue, PROXY_AUTHORIZATION};
use hyper::{Method, Request, StatusCode, upgrade};
use hyper_util::rt::TokioIo;
use rustls::ProtocolVersion;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use url::Host;
use zeroize::Zeroizing;

use crate::connect::Connector;
use crate::deadline::Deadline;
use crate::error::{BarbicanError, Misbehaviour, Service, SetupError, Stage, Unanswered};
use crate::exchange::http_error;
use crate::io::burned;
use crate::site::{Proxy, ProxyKind, ProxyUser, Site};
use crate::tls::{configuration, handshake_error};
use crate::url::Origin;

/// The longest head of an answer, in bytes, though as much again may come with the piece that is over it. Tokens are in it.
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// How to get to the services.
pub(crate) struct Way {
    connector: Connector,
    tls: TlsConnector,
    proxy: Option<ProxyWay>,
}

struct ProxyWay {
    kind: ProxyKind,
    origin: Origin,
    /// The whole value of the header.
    authorization: Option<SecretBytes>,
}

impl Way {
    pub(crate) fn new(arena: &Arena, site: &Site) -> Result<Self, SetupError> {
        let proxy = site.proxy.as_ref().map(|proxy| ProxyWay::new(arena, proxy)).transpose()?;
        Ok(Self { connector: Connector::default(), tls: TlsConnector::from(configuration(site)?), proxy })
    }

    pub(crate) fn has_proxy(&self) -> bool {
        self.proxy.is_some()
    }

    /// Opens a connection to a service.
    pub(crate) async fn open(
        &self,
        service: Service,
        origin: &Origin,
        deadline: Deadline,
    ) -> Result<Connection, BarbicanError> {
        let stream: Stream = match &self.proxy {
            None => Box::new(self.connector.connect(service, origin, deadline).await?),
            Some(proxy) => self.tunnel(proxy, service, origin, deadline).await?,
        };
        let stream = self.encrypted(service, origin, stream, deadline).await?;
        let tls = match stream.get_ref().1.protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => "TLS 1.2",
            _ => "TLS 1.3",
        };
        Connection::over(service, tls, stream, deadline).await
    }

    /// Asks the proxy for a tunnel to the service (RFC 9110, section 9.3.6).
    async fn tunnel(
        &self,
        proxy: &ProxyWay,
        service: Service,
        origin: &Origin,
        deadline: Deadline,
    ) -> Result<Stream, BarbicanError> {
        let mut stream: Stream = Box::new(self.connector.connect(Service::Proxy, &proxy.origin, deadline).await?);
        if proxy.kind == ProxyKind::Https {
            stream = Box::new(self.encrypted(Service::Proxy, &proxy.origin, stream, deadline).await?);
        }
        let mut connection = Connection::over(Service::Proxy, "", stream, deadline).await?;
        let mut request = Request::new(Full::default());
        *request.method_mut() = Method::CONNECT;
        *request.uri_mut() = origin.tunnel();
        request.headers_mut().insert(HOST, origin.authority());
        if let Some(authorization) = &proxy.authorization {
            request.headers_mut().insert(PROXY_AUTHORIZATION, secret_header(Service::Proxy, [authorization])?);
        }
        let broken = |error| http_error(Service::Proxy, Stage::Tunnelling, error);
        let at = (Service::Proxy, Stage::Tunnelling);
        let answer = deadline.bound(at, connection.sender.send_request(request)).await?.map_err(broken)?;
        match answer.status() {
            StatusCode::OK => {}
            status if status.is_client_error() => {
                return Err(BarbicanError::ProxyRefused { status: status.as_u16() });
            }
            // It is there, and could not reach the service.
            status => {
                return Err(BarbicanError::Unreachable { service, source: Unanswered::BehindProxy(status.as_u16()) });
            }
        }
        let tunnel = deadline.bound(at, upgrade::on(answer)).await?.map_err(broken)?;
        Ok(Box::new(TokioIo::new(tunnel)))
    }

    async fn encrypted(
        &self,
        service: Service,
        origin: &Origin,
        stream: Stream,
        deadline: Deadline,
    ) -> Result<TlsStream<Stream>, BarbicanError> {
        let handshake = self.tls.connect(origin.name(), stream);
        deadline.bound((service, Stage::Handshake), handshake).await?.map_err(|error| handshake_error(service, error))
    }
}

impl ProxyWay {
    fn new(arena: &Arena, proxy: &Proxy) -> Result<Self, SetupError> {
        let host = match proxy.host.parse() {
            Ok(address) => Ok(Host::Ipv6(address)),
            Err(_) => Host::parse(&proxy.host),
        };
        let origin = host.ok().and_then(|host| Origin::new(host, proxy.port).ok());
        let origin = origin.ok_or(SetupError::ProxyHost)?;
        let authorization = proxy.user.as_ref().map(|user| basic(arena, user)).transpose()?;
        Ok(Self { kind: proxy.kind, origin, authorization })
    }
}

/// The value of the header `Proxy-Authorization` (RFC 7617, section 2).
fn basic(arena: &Arena, user: &ProxyUser) -> Result<SecretBytes, SetupError> {
    if user.name.contains(':') {
        return Err(SetupError::ProxyUser);
    }
    let mut plain = Zeroizing::new(Vec::with_capacity(user.name.len() + 1 + user.password.len()));
    plain.extend_from_slice(user.name.as_bytes());
    plain.push(b':');
    plain.extend_from_slice(user.password.expose());
    let encoded = Zeroizing::new(STANDARD.encode(plain.as_slice()));
    let value = [b"Basic ", encoded.as_bytes()];
    let mut kept = arena.bytes(value.iter().map(|part| part.len()).sum())?;
    kept.expose_mut().iter_mut().zip(value.into_iter().flatten()).for_each(|(to, from)| *to = *from);
    Ok(kept)
}

/// A header's value of the parts of a secret. It is wiped when the last copy of it is dropped, and never shown.
pub(crate) fn secret_header<'a>(
    service: Service,
    parts: impl IntoIterator<Item = &'a SecretBytes> + Clone,
) -> Result<HeaderValue, BarbicanError> {
    let len = parts.clone().into_iter().map(SecretBytes::len).sum();
    let mut whole = Zeroizing::new(Vec::with_capacity(len));
    parts.into_iter().for_each(|part| whole.extend_from_slice(part.expose()));
    let invalid = |error| Misbehaviour::Http(Arc::new(error));
    let mut value = HeaderValue::from_maybe_shared(Bytes::from_owner(whole))
        .map_err(|error| BarbicanError::Misbehaving { service, source: invalid(error) })?;
    value.set_sensitive(true);
    Ok(value)
}

/// A connection that HTTP is spoken on. Dropping it closes it soon.
pub(crate) struct Connection {
    pub(crate) sender: SendRequest<Full<Bytes>>,
    /// The version of TLS, to be shown.
    pub(crate) tls: &'static str,
    driver: JoinHandle<()>,
}

impl Connection {
    async fn over(
        service: Service,
        tls: &'static str,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        deadline: Deadline,
    ) -> Result<Self, BarbicanError> {
        let handshake = http1::Builder::new().max_buf_size(MAX_HEAD_BYTES).handshake(TokioIo::new(stream));
        let (sender, connection) = deadline
            .bound((service, Stage::Waiting), handshake)
            .await?
            .map_err(|error| http_error(service, Stage::Waiting, error))?;
        let connection = connection.with_upgrades();
        // What goes wrong is told by the request.
        let driver = tokio::spawn(async move { drop(burned(connection).await) });
        Ok(Self { sender, tls, driver })
    }

    /// Closes it, and waits until it is gone with its buffers.
    pub(crate) async fn close(mut self) {
        self.driver.abort();
        // It was just told to end.
        drop((&mut self.driver).await);
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

trait ReadWrite: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> ReadWrite for T {}

/// TCP, or what carries it.
type Stream = Box<dyn ReadWrite>;
