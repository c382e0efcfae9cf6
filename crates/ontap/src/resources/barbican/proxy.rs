//! The proxy, which the contract spreads over five fields.

use claviger::{Engine, Proxy, ProxyInfo, ProxyKind, ProxyUser};

use super::create::in_key_memory;
use crate::codes;
use crate::conventions::body::Body;
use crate::problem::Problem;

/// The five fields. An empty host means no proxy.
#[derive(Default)]
pub(super) struct ProxyFields<'a> {
    is_http: bool,
    host: &'a str,
    port: i64,
    username: &'a str,
    password: &'a str,
}

impl<'a> ProxyFields<'a> {
    /// Those of a proxy that is in use; its password does not come back.
    pub(super) fn of(proxy: &'a ProxyInfo) -> Self {
        let username = proxy.user.as_deref().unwrap_or_default();
        Self { is_http: !proxy.tls, host: &proxy.host, port: proxy.port.into(), username, password: "" }
    }

    /// Whether a body changes any.
    pub(super) fn are_in(body: &Body) -> bool {
        ["proxy_type", "proxy_host", "proxy_port", "proxy_username", "proxy_password"]
            .iter()
            .any(|field| body.gives(field))
    }

    /// The same with what a body gives.
    pub(super) fn changed_by(self, body: &'a Body) -> Self {
        let text = |field, old| if body.gives(field) { body.text(field).unwrap_or_default() } else { old };
        Self {
            is_http: body.text("proxy_type").map_or(self.is_http, |kind| kind == "http"),
            host: text("proxy_host", self.host),
            port: if body.gives("proxy_port") { body.number("proxy_port").unwrap_or_default() } else { self.port },
            username: text("proxy_username", self.username),
            password: text("proxy_password", self.password),
        }
    }

    /// The proxy, if they describe one.
    pub(super) fn proxy(&self, engine: &Engine) -> Result<Option<Proxy>, Problem> {
        if self.host.is_empty() {
            return Ok(None);
        }
        let port = u16::try_from(self.port)
            .ok()
            .filter(|port| *port != 0)
            .ok_or_else(|| codes::invalid("proxy_port", "\"proxy_port\" must be 1 to 65535 where there is a proxy."))?;
        let user = match (self.username, self.password) {
            ("", "") => None,
            (name, "") => {
                return Err(codes::invalid(
                    "proxy_password",
                    format!("The proxy's user \"{name}\" needs \"proxy_password\"."),
                ));
            }
            ("", _) => return Err(codes::invalid("proxy_username", "\"proxy_password\" needs \"proxy_username\".")),
            (name, password) => {
                let too_long = || codes::invalid("proxy_password", "\"proxy_password\" has more than 1024 bytes.");
                let password = in_key_memory(engine, password)?.ok_or_else(too_long)?;
                Some(ProxyUser { name: name.to_owned(), password })
            }
        };
        let kind = if self.is_http { ProxyKind::Http } else { ProxyKind::Https };
        Ok(Some(Proxy { kind, host: self.host.to_owned(), port, user }))
    }
}
