//! One request and its answer, with limits, tried again where that can help.

use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::{ACCEPT, CONTENT_TYPE, HOST, HeaderMap, HeaderValue, RETRY_AFTER, USER_AGENT};
use hyper::{Method, Request, Response, StatusCode, Uri};
use zeroize::Zeroizing;

use crate::deadline::Deadline;
use crate::error::{BarbicanError, Misbehaviour, Service, Stage, Unanswered};
use crate::session::Token;
use crate::tls;
use crate::transport::Way;
use crate::url::Origin;

/// How often a request is tried again.
const MORE_TRIES: usize = 5;

/// The wait before the second try; each further one is twice as long, and up to as much again is added by chance.
const FIRST_WAIT: Duration = Duration::from_millis(100);

/// The longest wait that a `Retry-After` is granted.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// A request that may be made any number of times.
pub(crate) struct Ask<'a> {
    pub(crate) service: Service,
    pub(crate) origin: &'a Origin,
    pub(crate) target: &'a Uri,
    pub(crate) accept: &'static str,
    pub(crate) token: Option<&'a Token>,
    /// JSON; makes it a POST.
    pub(crate) body: Option<Zeroizing<Vec<u8>>>,
    /// The longest body of an answer, in bytes.
    pub(crate) limit: usize,
}

/// An answer with one of the statuses that decide something.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// Of a success; empty with any other status.
    pub(crate) body: Zeroizing<Vec<u8>>,
    /// The version of TLS.
    pub(crate) tls: &'static str,
}

/// Whether to try again.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tries {
    /// Show what is there.
    One,
    /// Where it can help.
    Several,
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) error: BarbicanError,
    /// Whether a call with more time might have got one.
    pub(crate) is_cut_off: bool,
}

impl From<BarbicanError> for Failure {
    fn from(error: BarbicanError) -> Self {
        Self { is_cut_off: error.is_out_of_time(), error }
    }
}

impl From<Failure> for BarbicanError {
    fn from(failure: Failure) -> Self {
        failure.error
    }
}

impl Ask<'_> {
    /// Asks until there is an answer that decides something, or no use in asking again.
    pub(crate) async fn answer(&self, way: &Way, tries: Tries, deadline: Deadline) -> Result<Answer, Failure> {
        let more = if tries == Tries::Several { MORE_TRIES } else { 0 };
        let mut waits = ExponentialBuilder::new().with_min_delay(FIRST_WAIT).with_max_times(more).with_jitter().build();
        loop {
            let met = self.once(way, deadline).await;
            let (error, asked) = match met {
                Ok(answer) => match unavailable(&answer) {
                    None => return Ok(answer),
                    Some(wait) => (self.unreachable(Unanswered::Status(answer.status.as_u16())), wait),
                },
                Err(error) if helps_again(&error) => (error, Wait::AsUsual),
                Err(error) => return Err(error.into()),
            };
            let wait = match (waits.next(), asked) {
                (None, _) | (_, Wait::TooLong) => return Err(error.into()),
                (Some(wait), Wait::AsUsual) => wait,
                // All are asked to wait as long: the chance in ours keeps them apart.
                (Some(wait), Wait::Longer(asked)) => asked + wait,
            };
            tracing::debug!(service = %self.service, %error, ?wait, "no answer; trying again");
            if !deadline.allows_wait(wait).await {
                return Err(Failure { error, is_cut_off: true });
            }
        }
    }

    /// Asks once, on a connection of its own.
    async fn once(&self, way: &Way, deadline: Deadline) -> Result<Answer, BarbicanError> {
        let request = self.request()?;
        let mut connection = way.open(self.service, self.origin, deadline).await?;
        let at = (self.service, Stage::Waiting);
        let answer = deadline.bound(at, connection.sender.send_request(request)).await?;
        let answer = answer.map_err(|error| http_error(self.service, Stage::Waiting, error))?;
        tracing::debug!(service = %self.service, target = %self.target, status = %answer.status(), "answered");
        let (status, headers) = (answer.status(), answer.headers().clone());
        // The rest of a refusal decides nothing, so it must not be able to.
        let body = match status.is_success() {
            true => self.read(answer, deadline).await?,
            false => Zeroizing::default(),
        };
        let tls = connection.tls;
        connection.close().await;
        Ok(Answer { status, headers, body, tls })
    }

    fn request(&self) -> Result<Request<Full<Bytes>>, BarbicanError> {
        let body = self.body.clone().map_or_else(Bytes::new, Bytes::from_owner);
        let mut request = Request::new(Full::new(body));
        *request.uri_mut() = self.target.clone();
        let headers = request.headers_mut();
        headers.insert(HOST, self.origin.authority());
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("claviger-barbican/", env!("CARGO_PKG_VERSION"))));
        headers.insert(ACCEPT, HeaderValue::from_static(self.accept));
        if let Some(token) = self.token {
            headers.insert("x-auth-token", token.header()?);
        }
        if self.body.is_some() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            *request.method_mut() = Method::POST;
        }
        Ok(request)
    }

    async fn read(&self, answer: Response<Incoming>, deadline: Deadline) -> Result<Zeroizing<Vec<u8>>, BarbicanError> {
        let mut incoming = answer.into_body();
        // All of it at once, so that no smaller one is left behind.
        let mut body = Zeroizing::new(Vec::with_capacity(self.limit));
        let at = (self.service, Stage::Reading);
        while let Some(frame) = deadline.bound(at, incoming.frame()).await? {
            let frame = frame.map_err(|error| http_error(self.service, Stage::Reading, error))?;
            let Ok(data) = frame.into_data() else { continue };
            if body.len() + data.len() > self.limit {
                return Err(self.misbehaving(Misbehaviour::TooLong { limit: self.limit }));
            }
            body.extend_from_slice(&data);
        }
        Ok(body)
    }

    pub(crate) fn unreachable(&self, source: Unanswered) -> BarbicanError {
        BarbicanError::Unreachable { service: self.service, source }
    }

    pub(crate) fn misbehaving(&self, source: Misbehaviour) -> BarbicanError {
        BarbicanError::Misbehaving { service: self.service, source }
    }
}

/// How long to wait before the next try.
enum Wait {
    AsUsual,
    /// By so much.
    Longer(Duration),
    TooLong,
}

/// Whether an answer says that the service cannot serve now. Barbican's is 503 while Keystone is gone, and 500 while
/// Keystone hangs; and both services' is 500 while their database or HSM fails over.
fn unavailable(answer: &Answer) -> Option<Wait> {
    match answer.status {
        StatusCode::INTERNAL_SERVER_ERROR | StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT => {
            Some(Wait::AsUsual)
        }
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {
            Some(match answer.headers.get(RETRY_AFTER).map(seconds) {
                None => Wait::AsUsual,
                Some(Some(wait)) if wait <= LONGEST_WAIT => Wait::Longer(wait),
                Some(_) => Wait::TooLong,
            })
        }
        _ => None,
    }
}

/// The form of `Retry-After` that counts seconds (RFC 9110, section 10.2.3). A date is too long to wait for.
fn seconds(value: &HeaderValue) -> Option<Duration> {
    Some(Duration::from_secs(value.to_str().ok()?.parse().ok()?))
}

/// Whether it may go better the next time.
fn helps_again(error: &BarbicanError) -> bool {
    matches!(error, BarbicanError::Unreachable { .. }) && !error.is_out_of_time()
}

/// What a failure of HTTP means.
pub(crate) fn http_error(service: Service, stage: Stage, error: hyper::Error) -> BarbicanError {
    if let Some(tls) = tls::tls_error(&error) {
        return BarbicanError::Tls { service, fault: tls::fault(tls), source: Arc::new(tls.clone()) };
    }
    let is_parse = error.is_parse() || error.is_parse_status();
    let source: Arc<dyn StdError + Send + Sync> = Arc::new(error);
    match is_parse {
        true => BarbicanError::Misbehaving { service, source: Misbehaviour::Http(source) },
        false => BarbicanError::Unreachable { service, source: Unanswered::Broken { stage, source } },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    use claviger_secret::{Arena, ArenaOptions};
    use tokio::runtime::Builder;
    use url::Host;

    use crate::site::Site;

    #[test]
    fn a_failure_tells_whether_more_time_would_have_helped() {
        let arena = Arena::new(&ArenaOptions { keys: 8, states: 8, ..ArenaOptions::default() }).unwrap();
        let site = Site {
            keystone: "https://127.0.0.1/v3".parse().unwrap(),
            proxy: None,
            verify: false,
            verify_host: true,
            extra_roots: Vec::new(),
            timeout: Duration::from_secs(60),
        };
        let way = Way::new(&arena, &site).unwrap();
        // Nobody listens there any more.
        let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        let origin = Origin::new(Host::Ipv4([127, 0, 0, 1].into()), port).unwrap();
        let (service, target) = (Service::Keystone, Uri::from_static("/v3"));
        let ask =
            Ask { service, origin: &origin, target: &target, accept: "*/*", token: None, body: None, limit: 1024 };
        // A clock that jumps to whatever is waited for.
        let runtime = Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        for (time, is_cut_off) in [(Duration::from_millis(250), true), (Duration::from_secs(60), false)] {
            let outcome = runtime.block_on(async { ask.answer(&way, Tries::Several, Deadline::after(time)).await });
            let Err(failure) = outcome else { panic!("{time:?}") };
            assert!(matches!(failure.error, BarbicanError::Unreachable { source: Unanswered::Connect(_), .. }));
            assert_eq!(failure.is_cut_off, is_cut_off, "{time:?}");
        }
    }
}
