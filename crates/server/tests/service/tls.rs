//! Certificates of both sides.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::http::Method;
use claviger_server::CertificateFiles;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, SanType,
};
use tokio_rustls::TlsConnector;

use crate::support::{ADMIN, Service, client};

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn write(&self, dir: &Path, name: &str) -> PathBuf {
        let path = dir.join(name);
        std::fs::write(&path, self.0.pem()).unwrap();
        path
    }

    /// A certificate for one side or the other, and its key.
    fn issue(&self, common_name: &str) -> (String, String) {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.subject_alt_names = vec![SanType::IpAddress([127, 0, 0, 1].into())];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        (certificate.pem(), key.serialize_pem())
    }
}

#[test]
fn a_certificate_is_made_once_and_its_key_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let mut service = Service::start();
    let (authority, key) = (service.authority.clone(), service.data_dir().join("tls/server.key"));
    assert_eq!(key.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let made = std::fs::read(&authority).unwrap();
    service.server.take().unwrap().stop();
    let service = Service::in_dir(service.dir, |_| {});
    assert_eq!(std::fs::read(&authority).unwrap(), made);
    assert_eq!(service.get("/healthz", None).status, 200);
}

#[test]
fn given_certificates_are_used_and_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let (old, new) = (Authority::new(), Authority::new());
    let (certificate, key) = (dir.path().join("c.pem"), dir.path().join("k.pem"));
    let write = |authority: &Authority| {
        let (certificate_pem, key_pem) = authority.issue("service");
        std::fs::write(&certificate, certificate_pem).unwrap();
        std::fs::write(&key, key_pem).unwrap();
    };
    write(&old);
    let files = CertificateFiles { certificate: certificate.clone(), key: key.clone() };
    let service = Service::with(|config| config.tls.given = Some(files));
    let (old, new_path) = (old.write(dir.path(), "old"), new.write(dir.path(), "new"));
    assert!(service.connect_trusting(&old, None).is_ok());
    // What does not serve changes nothing.
    std::fs::write(&key, "no key").unwrap();
    let server = service.server.as_ref().unwrap();
    assert!(server.reload().is_err());
    let mut open = service.connect_trusting(&old, None).unwrap();
    write(&new);
    server.reload().unwrap();
    assert!(service.connect_trusting(&old, None).is_err());
    assert!(service.connect_trusting(&new_path, None).is_ok());
    open.send_request(&Method::GET, "/healthz", None, b"");
    assert_eq!(open.answer().status, 200);
}

#[test]
fn a_client_certificate_logs_in_the_account_of_its_common_name() {
    let dir = tempfile::tempdir().unwrap();
    let (authority, other) = (Authority::new(), Authority::new());
    let client_ca = authority.write(dir.path(), "clients.pem");
    let service = Service::with(|config| config.tls.client_ca = Some(client_ca));
    let ask = |(certificate, key): &(String, String), login: Option<&str>| {
        let own = Some((certificate.as_str(), key.as_str()));
        let connection = service.connect_trusting(&service.authority, own).unwrap();
        connection.ask(&Method::GET, "/api/who", login.map(str::as_bytes), b"")
    };
    assert_eq!(ask(&authority.issue("reader"), None).body, "reader ReadOnly false");
    assert_eq!(ask(&authority.issue("reader"), Some(ADMIN)).body, "admin Admin false");
    assert_eq!(ask(&authority.issue("nobody"), None).status, 401);
    // Without one, a password is as good as before.
    assert_eq!(service.get("/api/who", Some(ADMIN)).status, 200);
    assert_eq!(service.get("/api/who", None).status, 401);
    let (certificate, key) = other.issue("reader");
    let mut refused = service.connect_trusting(&service.authority, Some((&certificate, &key)));
    // In TLS 1.3 the client has finished when the service looks at its certificate.
    if let Ok(connection) = &mut refused {
        use std::io::{Read as _, Write as _};
        let sent = connection.tls.write_all(b"GET /api/who HTTP/1.1\r\nHost: t\r\n\r\n");
        assert!(sent.is_err() || connection.tls.read(&mut [0; 16]).is_err());
    }
}

#[test]
fn http2_is_served_and_many_requests_share_a_connection() {
    let service = Service::start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut config = client(&service.authority, None);
        config.alpn_protocols = vec![b"h2".to_vec()];
        let stream = tokio::net::TcpStream::connect(service.address).await.unwrap();
        let name = std::net::IpAddr::from([127, 0, 0, 1]).into();
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
        let (mut http, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        for _ in 0..20 {
            let request = hyper::Request::get("https://127.0.0.1/healthz").body(Full::<bytes::Bytes>::default());
            let answer = http.send_request(request.unwrap()).await.unwrap();
            assert_eq!(answer.status(), 200);
            assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "ok\n");
        }
    });
}
