//! From a request to its answer: who may, what is meant, what comes of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::body::{Body as HttpBody, to_bytes};
use axum::extract::{RawPathParams, Request};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use crate::audited::Audited;
use crate::call::Call;
use crate::caller::Caller;
use crate::codes;
use crate::conventions::accept::Accept;
use crate::conventions::answer::{Answer, naming};
use crate::conventions::body::{Body, Verb};
use crate::conventions::collection::{self, Selection};
use crate::conventions::fields::Wanted;
use crate::conventions::links;
use crate::conventions::query::Query;
use crate::endpoint::{Change, Does, Endpoint};
use crate::jobs::Begun;
use crate::problem::Problem;
use crate::resource::Resource;
use crate::service::Service;

/// How long keepers are waited for that a GET of one record looks at.
const LONGEST_LOOK: Duration = Duration::from_secs(15);
/// The largest body that is read.
const LARGEST_BODY: usize = 1 << 20;

/// What is answered, before it is HTTP.
struct Reply {
    status: StatusCode,
    location: Option<String>,
    body: Value,
}

impl Reply {
    const fn ok(body: Value) -> Self {
        Self { status: StatusCode::OK, location: None, body }
    }
}

/// Answers a request to a path that has these endpoints.
pub(crate) async fn answer(
    service: Arc<Service>,
    endpoints: Arc<[&'static Endpoint]>,
    params: Result<RawPathParams, axum::extract::rejection::RawPathParamsRejection>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let is_head = parts.method == Method::HEAD;
    let method = if is_head { Method::GET } else { parts.method };
    if method == Method::OPTIONS {
        let nothing = Json(json!({}));
        return ([(header::ALLOW, allowed(&endpoints))], nothing).into_response();
    }
    let Some(endpoint) = endpoints.iter().copied().find(|endpoint| endpoint.method == method.as_str()) else {
        return ([(header::ALLOW, allowed(&endpoints))], codes::no_method()).into_response();
    };
    // A page of another site, in the browser of somebody who is logged in here.
    let site = parts.headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
    if method != Method::GET && matches!(site, Some(b"cross-site" | b"same-site")) {
        return codes::forbidden().into_response();
    }
    let may = parts.extensions.get::<Caller>().is_some_and(|caller| method == Method::GET || caller.role.may_change());
    if !may {
        return codes::forbidden().into_response();
    }
    let Ok(params) = params else { return codes::missing_entry().into_response() };
    let params: BTreeMap<_, _> = params.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let Ok(bytes) = to_bytes(body, LARGEST_BODY).await else { return codes::too_large().into_response() };
    // Wiped after use: there may be a secret in it.
    let bytes = Zeroizing::new(Vec::from(bytes));

    let accept = Accept::of(&parts.headers);
    let uri = parts.uri.path_and_query().map_or_else(String::new, ToString::to_string);
    let work = move || {
        let deadline = Instant::now() + LONGEST_LOOK;
        let call = Call { service: &service, accept, method: endpoint.method, params, uri, deadline };
        let query = Query::parse(parts.uri.query().unwrap_or_default());
        let (reply, asked) = run(&call, endpoint, query, &bytes);
        let audited = Audited { what: call.described(), arguments: asked.into_json() };
        (reply, audited)
    };
    let Ok((reply, audited)) = tokio::task::spawn_blocking(work).await else {
        return codes::internal().into_response();
    };
    let mut response = reply.map_or_else(Problem::into_response, |reply| into_response(reply, accept));
    response.extensions_mut().insert(audited);
    if is_head {
        *response.body_mut() = HttpBody::empty();
    }
    response
}

fn into_response(reply: Reply, accept: Accept) -> Response {
    let Reply { status, location, body } = reply;
    let content_type = HeaderValue::from_static(accept.content_type());
    let mut response = (status, [(header::CONTENT_TYPE, content_type)], body.to_string()).into_response();
    if let Some(location) = location.and_then(|location| HeaderValue::from_str(&location).ok()) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

fn allowed(endpoints: &[&Endpoint]) -> String {
    let has_get = endpoints.iter().any(|endpoint| endpoint.method == "GET");
    let head = has_get.then_some("HEAD");
    let methods: Vec<_> = endpoints.iter().map(|endpoint| endpoint.method).chain(head).chain(["OPTIONS"]).collect();
    methods.join(", ")
}

/// What a request asked for, as far as it may be audited.
#[derive(Default)]
struct Asked {
    /// The body without its secrets.
    body: Value,
    /// The parameters that are known.
    query: BTreeMap<String, String>,
    /// The records of a collection that were changed.
    changed: Vec<String>,
}

impl Asked {
    fn into_json(self) -> Value {
        let mut arguments = match self.body {
            Value::Object(body) => body,
            _ => Map::new(),
        };
        if !self.query.is_empty() {
            arguments.insert("?".to_owned(), json!(self.query));
        }
        if !self.changed.is_empty() {
            arguments.insert("changed".to_owned(), json!(self.changed));
        }
        Value::Object(arguments)
    }
}

/// The reply, and what was asked for.
fn run(
    call: &Call<'_>,
    endpoint: &Endpoint,
    query: Result<Query, Problem>,
    bytes: &[u8],
) -> (Result<Reply, Problem>, Asked) {
    let mut asked = Asked::default();
    let reply = match &endpoint.does {
        Does::List(resource) => query.and_then(|query| list(call, *resource, query)),
        Does::Show(resource) => show(call, *resource, query),
        Does::Change(change) => changed(call, change, query, bytes, &mut asked),
        Does::Each { resource, change, key } => changed_each(call, (*resource, key), change, query, bytes, &mut asked),
        Does::Nothing(why) => Err(why(call)),
    };
    (reply, asked)
}

fn list(call: &Call<'_>, resource: &dyn Resource, query: Query) -> Result<Reply, Problem> {
    collection::get(call, resource, query).map(Reply::ok)
}

fn show(call: &Call<'_>, resource: &dyn Resource, query: Result<Query, Problem>) -> Result<Reply, Problem> {
    let record = resource.one(call)?;
    let mut query = query?;
    let wanted = Wanted::of_instance(query.take("fields").as_deref(), resource.schema())?;
    query.end()?;
    shown(call, resource, record, &wanted).map(Reply::ok)
}

/// One record with the fields that are wanted.
fn shown(
    call: &Call<'_>,
    resource: &dyn Resource,
    mut record: crate::record::Record,
    wanted: &Wanted,
) -> Result<Value, Problem> {
    let schema = resource.schema();
    if resource.computes(wanted) {
        resource.compute(call, &mut record, wanted)?;
    }
    let mut selected = record.selected(schema, wanted);
    if call.accept == Accept::Hal {
        links::add(&mut selected, &record, schema);
    }
    Ok(selected.into_json())
}

fn changed(
    call: &Call<'_>,
    change: &Change,
    query: Result<Query, Problem>,
    bytes: &[u8],
    asked: &mut Asked,
) -> Result<Reply, Problem> {
    (change.exists)(call)?;
    let mut query = query?;
    let wait = query.take_wait(Duration::ZERO)?;
    let return_records = query.take_flag("return_records")?.unwrap_or(false);
    let mut own = query.split_off(change.parameters.iter().map(|parameter| parameter.name));
    query.end()?;
    asked.query = own.all();
    let body = read_body(change, bytes, asked)?;
    let answer = run_change(call, change, &mut own, &body)?;
    finish(call, change, answer, wait, return_records)
}

/// A change of nothing is done, and nobody is asked (decision 10).
fn run_change(call: &Call<'_>, change: &Change, own: &mut Query, body: &Body) -> Result<Answer, Problem> {
    match change.body {
        Some((_, Verb::Patch)) if body.is_empty() => Ok(Answer::changed()),
        _ => {
            let answer = (change.run)(call, own, body)?;
            if let Some(job) = &answer.job {
                call.service.jobs.describe(job, call.described());
            }
            Ok(answer)
        }
    }
}

fn read_body(change: &Change, bytes: &[u8], asked: &mut Asked) -> Result<Body, Problem> {
    match change.body {
        Some((schema, verb)) => {
            let body = Body::parse(bytes, schema, verb)?;
            asked.body = body.audited(schema);
            Ok(body)
        }
        None => Body::parse_empty(bytes),
    }
}

/// Waits for the job where that was asked for.
fn finish(
    call: &Call<'_>,
    change: &Change,
    answer: Answer,
    wait: Duration,
    return_records: bool,
) -> Result<Reply, Problem> {
    let Answer { did, location, job } = answer;
    let mut body = Map::new();
    if let Some(job) = &job {
        body = naming(job);
        // Whoever does not wait gets the job, be it done or not.
        let end = if wait.is_zero() { None } else { call.service.jobs.wait(job, wait) };
        match end {
            None => return Ok(Reply { status: StatusCode::ACCEPTED, location, body: body.into() }),
            Some(end) => end?,
        }
    }
    if let (true, Some(resource), Some(location)) = (return_records, change.creates, &location) {
        // It is made, whether it can be shown or not.
        if let Ok(created) = created(call, resource, location) {
            body.insert("num_records".to_owned(), json!(1));
            body.insert("records".to_owned(), json!([created]));
        }
    }
    Ok(Reply { status: did.status(), location, body: body.into() })
}

/// What was made, as a GET of it shows it.
fn created(call: &Call<'_>, resource: &dyn Resource, location: &str) -> Result<Value, Problem> {
    let id = location.rsplit('/').next().unwrap_or_default();
    let mut params = call.params.clone();
    params.insert("uuid".to_owned(), id.to_owned());
    let call = Call { params, uri: location.to_owned(), ..*call };
    let record = resource.one(&call)?;
    shown(&call, resource, record, &Wanted::of_instance(None, resource.schema())?)
}

/// A change of every record that the query selects: a row of changes of one, page by page, until time is up. Where one is refused, the
/// answer is its error, with what was done before.
fn changed_each(
    call: &Call<'_>,
    (resource, key): (&dyn Resource, &str),
    change: &Change,
    query: Result<Query, Problem>,
    bytes: &[u8],
    asked: &mut Asked,
) -> Result<Reply, Problem> {
    let mut query = query?;
    let again = query.clone();
    let own = query.split_off(change.parameters.iter().map(|parameter| parameter.name));
    let selection = Selection::parse(call.service, query, resource)?;
    if selection.filters.is_empty() {
        return Err(codes::malformed("A change of a collection needs a filter that says which records are meant."));
    }
    asked.query = again.all();
    let body = read_body(change, bytes, asked)?;

    let page = collection::page(call, resource, &selection)?;
    let next = page.next(call, again);
    let (mut records, mut jobs, mut refused) = (Vec::new(), Vec::<Begun>::new(), None);
    for record in page.records {
        let id = record.text(key).unwrap_or_default().to_owned();
        let mut params = call.params.clone();
        params.insert("uuid".to_owned(), id.clone());
        let one = Call { params, uri: format!("{}/{id}", call.path().trim_end_matches('/')), ..*call };
        match run_change(&one, change, &mut own.clone(), &body) {
            Ok(answer) => jobs.extend(answer.job),
            Err(problem) => {
                refused = Some(problem);
                break;
            }
        }
        asked.changed.push(id);
        records.push(shown(&one, resource, record, &selection.wanted)?);
    }
    let mut is_done = true;
    for job in &jobs {
        // As for one: whoever does not wait gets the jobs, be they done or not.
        let left = selection.time_left();
        match if left.is_zero() { None } else { call.service.jobs.wait(job, left) } {
            None => is_done = false,
            Some(end) => refused = refused.or(end.err()),
        }
    }

    let mut answer = refused.as_ref().map_or_else(Map::new, Problem::to_json);
    answer.insert("num_records".to_owned(), json!(records.len()));
    if selection.return_records() {
        answer.insert("records".to_owned(), records.into());
    }
    if !jobs.is_empty() {
        let named = jobs.iter().filter_map(|job| naming(job).remove("job"));
        answer.insert("jobs".to_owned(), named.collect());
    }
    if let Some(next) = next.filter(|_| refused.is_none()) {
        answer.insert("_links".to_owned(), json!({ "next": next }));
    }
    let status = match (refused, is_done) {
        (Some(problem), _) => problem.status(),
        (None, true) => StatusCode::OK,
        (None, false) => StatusCode::ACCEPTED,
    };
    Ok(Reply { status, location: None, body: answer.into() })
}
