//! From a request to its answer: who may, what is meant, what comes of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body as HttpBody, to_bytes};
use axum::extract::{RawPathParams, Request};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

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
        return ([(header::ALLOW, allowed(&endpoints))], StatusCode::OK).into_response();
    }
    let Some(endpoint) = endpoints.iter().copied().find(|endpoint| endpoint.method == method.as_str()) else {
        return ([(header::ALLOW, allowed(&endpoints))], codes::no_method()).into_response();
    };
    let may = parts.extensions.get::<Caller>().is_some_and(|caller| method == Method::GET || caller.role.may_change());
    if !may {
        return codes::forbidden().into_response();
    }
    let Ok(params) = params else { return codes::missing_entry().into_response() };
    let params: BTreeMap<_, _> = params.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let Ok(bytes) = to_bytes(body, LARGEST_BODY).await else { return codes::too_large().into_response() };

    let accept = Accept::of(&parts.headers);
    let uri = parts.uri.path_and_query().map_or_else(String::new, ToString::to_string);
    let work = move || {
        let call = Call { service: &service, accept, method: endpoint.method, params, uri };
        let query = Query::parse(parts.uri.query().unwrap_or_default());
        let (reply, audited) = run(&call, endpoint, query, &bytes);
        let audited = Audited { what: call.described(), arguments: audited };
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

/// The reply, and what of the request may be audited.
fn run(
    call: &Call<'_>,
    endpoint: &Endpoint,
    query: Result<Query, Problem>,
    bytes: &[u8],
) -> (Result<Reply, Problem>, Value) {
    let mut audited = Value::Null;
    let reply = match &endpoint.does {
        Does::List(resource) => query.and_then(|query| list(call, *resource, query)),
        Does::Show(resource) => show(call, *resource, query),
        Does::Change(change) => changed(call, change, query, bytes, &mut audited),
        Does::Each { resource, change, key } => changed_each(call, *resource, change, key, query, bytes, &mut audited),
        Does::Nothing => Err(codes::unsupported("This release has no keeper of that kind.")),
    };
    (reply, audited)
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
    if wanted.has_expensive(schema) {
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
    audited: &mut Value,
) -> Result<Reply, Problem> {
    (change.exists)(call)?;
    let mut query = query?;
    let wait = query.take_wait(Duration::ZERO)?;
    let return_records = query.take_flag("return_records")?.unwrap_or(false);
    let mut own = query.split_off(change.parameters.iter().map(|parameter| parameter.name));
    query.end()?;
    let body = read_body(change, bytes, audited)?;
    let answer = run_change(call, change, &mut own, &body)?;
    finish(call, change, answer, wait, return_records)
}

/// A change of nothing is done, and nobody is asked (decision 10).
fn run_change(call: &Call<'_>, change: &Change, own: &mut Query, body: &Body) -> Result<Answer, Problem> {
    match change.body {
        Some((_, Verb::Patch)) if body.is_empty() => Ok(Answer::changed()),
        _ => (change.run)(call, own, body),
    }
}

fn read_body(change: &Change, bytes: &[u8], audited: &mut Value) -> Result<Body, Problem> {
    match change.body {
        Some((schema, verb)) => {
            let body = Body::parse(bytes, schema, verb)?;
            *audited = body.audited(schema);
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
        let created = created(call, resource, location)?;
        body.insert("num_records".to_owned(), json!(1));
        body.insert("records".to_owned(), json!([created]));
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

/// A change of every record that the query selects: a row of changes of one.
fn changed_each(
    call: &Call<'_>,
    resource: &dyn Resource,
    change: &Change,
    key: &str,
    query: Result<Query, Problem>,
    bytes: &[u8],
    audited: &mut Value,
) -> Result<Reply, Problem> {
    let selection = Selection::parse(query?, resource)?;
    if selection.filters.fields().next().is_none() {
        return Err(codes::malformed("A change of a collection needs a filter that says which records are meant."));
    }
    let body = read_body(change, bytes, audited)?;
    let mut answer = Map::new();
    let (mut records, mut jobs) = (Vec::new(), Vec::<Begun>::new());
    for record in collection::all(call, resource, &selection)? {
        let id = record.text(key).unwrap_or_default().to_owned();
        let mut params = call.params.clone();
        params.insert("uuid".to_owned(), id.clone());
        let one = Call { params, uri: format!("{}/{id}", call.path().trim_end_matches('/')), ..*call };
        jobs.extend(run_change(&one, change, &mut Query::default(), &body)?.job);
        records.push(shown(&one, resource, record, &selection.wanted)?);
    }
    answer.insert("num_records".to_owned(), json!(records.len()));
    answer.insert("records".to_owned(), records.into());
    if !jobs.is_empty() {
        let named = jobs.iter().filter_map(|job| naming(job).remove("job"));
        answer.insert("jobs".to_owned(), named.collect());
    }
    let mut status = StatusCode::OK;
    for job in &jobs {
        // As for one: whoever does not wait gets the jobs, be they done or not.
        let left = selection.time_left();
        match if left.is_zero() { None } else { call.service.jobs.wait(job, left) } {
            None => status = StatusCode::ACCEPTED,
            Some(end) => end?,
        }
    }
    Ok(Reply { status, location: None, body: answer.into() })
}
