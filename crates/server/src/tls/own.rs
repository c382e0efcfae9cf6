//! A certificate of the service's own making, for the first start.
//!
//! It is issued by an authority that exists for this one signature: the authority's certificate is what clients trust, and its key is
//! gone when it has signed. So nobody can make another certificate that those clients take.

use std::fs::File;
use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use jiff::{Timestamp, ToSpan as _, Zoned, tz::TimeZone};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType,
};

use super::TlsError;
use crate::config::CertificateFiles;

/// Who wants it shorter gives certificates of theirs.
const YEARS: i64 = 10;

pub(super) struct Paths {
    pub(super) authority: PathBuf,
    pub(super) certificate: PathBuf,
    key: PathBuf,
}

impl Paths {
    pub(super) fn below(data_dir: &Path) -> Self {
        let dir = data_dir.join("tls");
        Self { authority: dir.join("ca.pem"), certificate: dir.join("server.pem"), key: dir.join("server.key") }
    }
}

/// The files; made where they are not there.
pub(super) fn certificate(data_dir: &Path, listen: SocketAddr) -> Result<CertificateFiles, TlsError> {
    let paths = Paths::below(data_dir);
    // Written last: where it is, the others are.
    if !paths.certificate.exists() {
        make(&paths, listen)?;
        tracing::info!(authority = %paths.authority.display(), "a certificate was made; clients trust its authority");
    }
    let Paths { certificate, key, .. } = paths;
    Ok(CertificateFiles { certificate, key })
}

fn make(paths: &Paths, listen: SocketAddr) -> Result<(), TlsError> {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let authority = params(&format!("claviger on {host}"), |params| {
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    });
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().map_err(TlsError::Make)?);
    let authority = authority.map_err(TlsError::Make)?;
    let mut server = params(&host, |params| {
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
    });
    server.subject_alt_names = names(&host, listen.ip());
    let key = KeyPair::generate().map_err(TlsError::Make)?;
    let certificate = server.signed_by(&key, &authority).map_err(TlsError::Make)?;

    write(&paths.authority, 0o644, authority.pem().as_bytes())?;
    write(&paths.key, 0o600, key.serialize_pem().as_bytes())?;
    write(&paths.certificate, 0o644, certificate.pem().as_bytes())
}

fn params(common_name: &str, set: impl FnOnce(&mut CertificateParams)) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, common_name);
    let today = Timestamp::now().to_zoned(TimeZone::UTC);
    // A client whose clock is a little behind takes it too.
    let (year, month, day) = date(&today.saturating_sub(1.day()));
    params.not_before = rcgen::date_time_ymd(year, month, day);
    let (year, month, day) = date(&today.saturating_add(YEARS.years()));
    params.not_after = rcgen::date_time_ymd(year, month, day);
    set(&mut params);
    params
}

fn date(day: &Zoned) -> (i32, u8, u8) {
    let part = |number: i8| u8::try_from(number).unwrap_or(1);
    (day.year().into(), part(day.month()), part(day.day()))
}

/// The names that clients may call the service by.
fn names(host: &str, listen: IpAddr) -> Vec<SanType> {
    let hosts = [host, "localhost"].into_iter().filter_map(|name| Some(SanType::DnsName(name.try_into().ok()?)));
    let mut addresses = vec![IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()];
    if !listen.is_unspecified() && !addresses.contains(&listen) {
        addresses.push(listen);
    }
    hosts.chain(addresses.into_iter().map(SanType::IpAddress)).collect()
}

/// Whole or not at all.
fn write(path: &Path, mode: u32, contents: &[u8]) -> Result<(), TlsError> {
    let dir = path.parent().unwrap_or_else(|| Path::new("."));
    let write = || -> io::Result<()> {
        std::fs::DirBuilder::new().recursive(true).mode(0o755).create(dir)?;
        let mut file = tempfile::Builder::new().prefix("new").tempfile_in(dir)?;
        file.as_file().set_permissions(std::fs::Permissions::from_mode(mode))?;
        file.write_all(contents)?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        File::open(dir)?.sync_all()
    };
    write().map_err(|source| TlsError::Write { path: path.to_owned(), source })
}
