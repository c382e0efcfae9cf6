//! The service's half of `--url`: runs a client's command over the hierarchy that the daemon has open.
//!
//! `POST /api/claviger/commands` takes a [`Request`] and answers with [`Event`]s, one JSON object a line, as they come. How a command
//! ended is its last event. The status is for those who see nothing else, such as the audit log: it tells how a command ended that was
//! over at once, and is 202 for one that goes on. A command outlives a client that goes away; but one that makes key after key ends then,
//! and when the service stops, between two steps.

mod line;

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::rejection::BytesRejection;
use axum::extract::{Extension, State};
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use claviger::{Arena, Engine, SecretBytes, StoreKind};
use claviger_ontap::{Audited, Caller, Problem};
use claviger_server::{Background, Work};
use serde_json::Value;

use self::line::line;
use crate::commands;
use crate::event::{Event, Wanted};
use crate::failure::Failure;
use crate::output::{Output, Sink as _};
use crate::request::{Effect, Given, Request, Unreadable};
use crate::secret::Secrets;
use crate::session::{Hierarchy, Live, Session};

/// Where commands are taken.
pub(crate) const PATH: &str = "/api/claviger/commands";

/// What the answer to a command is written in.
pub(crate) const EVENTS: &str = "application/x-ndjson";

/// The account is not known (conventions, decision 12).
const NOT_AUTHENTICATED: u32 = 6_691_623;
/// The body is invalid (conventions, section 8).
const INVALID: u32 = 2;
/// The role does not suffice (conventions, section 8).
const FORBIDDEN: u32 = 6;
/// Not one of the contract's: nobody but this program asks.
const INTERNAL: u32 = 0;

/// In how many seconds a command that found no room is to be given again.
const LATER: u32 = 5;

/// What commands share.
#[derive(Clone)]
struct Service {
    live: Live,
    commands: Background,
}

/// Runs commands over `engine`, whose store is on a database of this kind, as `commands` has room. Expects a [`Caller`] in each request's
/// extensions, and leaves an [`Audited`] in the response's.
pub(crate) fn router(engine: Arc<Engine>, store: StoreKind, commands: Background) -> Router {
    Router::new().route(PATH, post(take)).with_state(Service { live: Live { engine, store }, commands })
}

async fn take(
    State(Service { live, commands }): State<Service>,
    caller: Option<Extension<Caller>>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let Some(Extension(caller)) = caller else {
        let message = "the request does not say who calls";
        return Problem::new(StatusCode::UNAUTHORIZED, NOT_AUTHENTICATED, message).into_response();
    };
    let (request, given) = match read(&live, &headers, body) {
        Ok(read) => read,
        Err(problem) => return problem.into_response(),
    };
    let (name, effect) = request.command.about();
    let arguments = serde_json::to_value(&request.command).unwrap_or(Value::Null);
    let audited = Extension(Audited { what: name.to_owned(), arguments });
    let may_change = caller.role.may_change();
    if effect == Effect::Changes && !may_change {
        let message = format!("the account may only read, and `claviger {name}` does more");
        return (audited, Problem::new(StatusCode::FORBIDDEN, FORBIDDEN, message)).into_response();
    }
    let Some(work) = commands.begin(caller.role) else {
        let message = "the service runs as many commands as it takes, or stops; try again";
        let busy = Problem::new(StatusCode::SERVICE_UNAVAILABLE, INTERNAL, message);
        return (audited, [(RETRY_AFTER, HeaderValue::from(LATER))], busy).into_response();
    };
    let answer = match may_change {
        true => begin(live, caller, work, request, given).await,
        false => begin(live, caller, work, request, Reader).await,
    };
    (audited, answer).into_response()
}

fn read(live: &Live, headers: &HeaderMap, body: Result<Bytes, BytesRejection>) -> Result<(Request, Given), Problem> {
    let invalid = |message: String| Problem::new(StatusCode::BAD_REQUEST, INVALID, message);
    // A page in an operator's browser can send anything else across origins.
    if headers.get(CONTENT_TYPE).is_none_or(|kind| kind != "application/json") {
        return Err(invalid("the body must be application/json".to_owned()).about("Content-Type"));
    }
    let body = body.map_err(|rejection| Problem::new(rejection.status(), INVALID, "the body could not be taken"))?;
    match Request::from_body(&body, live.engine.arena()) {
        Ok(Ok(read)) => Ok(read),
        Ok(Err(unreadable @ Unreadable::Interface { .. })) => Err(invalid(unreadable.to_string()).about("interface")),
        Ok(Err(unreadable @ Unreadable::Secret(_))) => Err(invalid(unreadable.to_string()).about("secrets")),
        Ok(Err(unreadable @ Unreadable::Body { .. })) => Err(invalid(unreadable.to_string())),
        Err(failure) => Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, INTERNAL, failure.message())),
    }
}

/// Begins a command, and answers with what it says. It goes on where nobody listens any more.
async fn begin(
    live: Live,
    caller: Caller,
    work: Work,
    request: Request,
    secrets: impl Secrets + Send + 'static,
) -> Response {
    let (line, mut lines) = line(work);
    let run = move || {
        let Request { form, watched, command } = request;
        let (name, _) = command.about();
        let output = Output::new(form, watched, &line);
        let ended = commands::run(&Session::new(output, Hierarchy::Live(&live), &secrets), command);
        let exit = match ended {
            Ok(exit) => exit,
            Err(Failure::Wanted(wanted)) => return output.aside(Event::Wants(wanted)),
            Err(failure) => output.failure(&failure),
        };
        tracing::info!(command = name, account = %caller.name, exit = exit.code(), "command ended");
        line.take(Event::End(exit.code())).unwrap_or_default();
    };
    // Nobody waits for it: it says itself how it ends.
    drop(tokio::task::spawn_blocking(run));
    let status = lines.status().await;
    let mut response = Response::new(Body::new(lines));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(EVENTS));
    response
}

/// The secrets of an account that may only read: an open keystore stays open for all, so it opens none.
struct Reader;

impl Secrets for Reader {
    fn secret(&self, _: &Arena, _: Wanted) -> Result<Option<SecretBytes>, Failure> {
        Err(Failure::OnlyReads)
    }
}

#[cfg(test)]
mod tests;
