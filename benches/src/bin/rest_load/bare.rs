//! The baseline: an axum handler that answers every request with the same bytes, behind the same TLS.

use std::net::Ipv4Addr;
use std::sync::Arc;

use anyhow::Result;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::Response;
use axum::routing::any;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls_pki_types::PrivateKeyDer;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;

/// A server that knows one answer, until it is dropped.
pub(crate) struct Bare {
    url: String,
    _runtime: Runtime,
}

impl Bare {
    pub(crate) fn serve(answer: Response<Bytes>) -> Result<Self> {
        let (head, body) = answer.into_parts();
        let handler = move |_: Bytes| async move {
            let mut response = Response::new(Body::from(body));
            *response.status_mut() = head.status;
            *response.headers_mut() = head.headers;
            response
        };
        let router = Router::new().fallback(any(handler));
        let acceptor = TlsAcceptor::from(Arc::new(tls()?));
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
        let url = format!("https://{}", listener.local_addr()?);
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, service) = (acceptor.clone(), TowerToHyperService::new(router.clone()));
                tokio::spawn(async move {
                    stream.set_nodelay(true).ok()?;
                    let stream = TokioIo::new(acceptor.accept(stream).await.ok()?);
                    hyper::server::conn::http1::Builder::new().serve_connection(stream, service).await.ok()
                });
            }
        });
        Ok(Self { url, _runtime: runtime })
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }
}

fn tls() -> Result<ServerConfig> {
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    let key = PrivateKeyDer::Pkcs8(own.signing_key.serialize_der().into());
    let builder = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let builder = builder.with_safe_default_protocol_versions()?.with_no_client_auth();
    Ok(builder.with_single_cert(vec![own.cert.der().clone()], key)?)
}
