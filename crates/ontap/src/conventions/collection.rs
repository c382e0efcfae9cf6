//! A GET of a collection: filtered, in order, page by page (conventions, section 3).

use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use super::accept::Accept;
use super::fields::Wanted;
use super::filter::Filters;
use super::links::{self, relation};
use super::order::Order;
use super::position::{self, Position};
use super::query::Query;
use super::references;
use crate::call::Call;
use crate::codes;
use crate::problem::Problem;
use crate::record::Record;
use crate::resource::Resource;
use crate::service::Service;

/// What a page has at most where nobody says otherwise.
const DEFAULT_PAGE: u64 = 10_000;
/// How long a page may take where nobody says otherwise.
const DEFAULT_TIME: Duration = Duration::from_secs(15);
/// Rows that are read at a time.
const CHUNK: usize = 512;
/// The same where each takes asking around, so that time is kept.
const EXPENSIVE_CHUNK: usize = 16;

/// What a request for a collection says.
pub(crate) struct Selection {
    pub(crate) wanted: Wanted,
    pub(crate) filters: Filters,
    order: Order,
    from: Option<Position>,
    max_records: usize,
    return_records: bool,
    deadline: Instant,
}

impl Selection {
    pub(crate) fn parse(service: &Service, mut query: Query, resource: &dyn Resource) -> Result<Self, Problem> {
        let schema = resource.schema();
        let wanted = Wanted::of_collection(query.take("fields").as_deref(), schema)?;
        let order = Order::parse(query.take("order_by").as_deref(), schema)?;
        let max_records = match query.take_number("max_records")? {
            Some(0) => return Err(codes::invalid("max_records", "\"max_records\" must be 1 or more.")),
            given => usize::try_from(given.unwrap_or(DEFAULT_PAGE)).unwrap_or(usize::MAX),
        };
        let time = query.take_wait(DEFAULT_TIME)?;
        let return_records = query.take_flag("return_records")?.unwrap_or(true);
        // Lists in records are short: they are always whole.
        query.take_flag("return_unmatched_nested_array_objects")?;
        let from = query.take(position::PARAMETER).map(|text| Position::decode(&text)).transpose()?;
        let filters = Filters::parse(query.take_rest(), schema)?;
        let filters = references::resolved(service, filters)?;
        let wanted = filters.fields().fold(wanted, |wanted, field| wanted.and(field.path));
        let deadline = Instant::now() + time;
        Ok(Self { wanted, filters, order, from, max_records, return_records, deadline })
    }

    /// How long the answer may still take.
    pub(crate) fn time_left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Whether records are to be shown, or only to be counted.
    pub(crate) const fn return_records(&self) -> bool {
        self.return_records
    }

    /// What is read, row by row, until time is up.
    fn reading(&self) -> Reading<'_> {
        Reading {
            filters: &self.filters,
            wanted: self.wanted.clone(),
            // Where not every row matches, a small page may need many of them.
            chunk: if self.filters.is_empty() { self.max_records.saturating_add(1) } else { CHUNK },
            deadline: Some(self.deadline),
        }
    }

    /// The same where all rows must be seen, with what they are put in order by.
    fn whole_reading(&self) -> Reading<'_> {
        let wanted = self.order.fields().fold(self.wanted.clone(), |wanted, field| wanted.and(field.path));
        Reading { filters: &self.filters, wanted, chunk: CHUNK, deadline: None }
    }
}

/// How rows are read.
struct Reading<'a> {
    filters: &'a Filters,
    wanted: Wanted,
    chunk: usize,
    deadline: Option<Instant>,
}

/// A page of records, and where the next begins.
#[derive(Default)]
pub(crate) struct Page {
    pub(crate) records: Vec<Record>,
    /// How many records match, where they are only counted.
    count: usize,
    next: Option<Position>,
}

/// The answer to a GET of a collection.
pub(crate) fn get(call: &Call<'_>, resource: &dyn Resource, query: Query) -> Result<Value, Problem> {
    resource.exists(call)?;
    let raw_query = query.clone();
    let selection = Selection::parse(call.service, query, resource)?;
    let call = call.until(selection.deadline);
    let page = page(&call, resource, &selection)?;
    Ok(answer(&call, resource, &selection, page, raw_query))
}

/// The records that are asked for.
pub(crate) fn page(call: &Call<'_>, resource: &dyn Resource, selection: &Selection) -> Result<Page, Problem> {
    match (selection.return_records, selection.order.is_empty()) {
        (false, _) => counted(call, resource, selection),
        (true, true) => unordered(call, resource, selection),
        (true, false) => ordered(call, resource, selection),
    }
}

fn counted(call: &Call<'_>, resource: &dyn Resource, selection: &Selection) -> Result<Page, Problem> {
    let mut page = Page::default();
    let from = selection.from.as_ref().map(|position| position.place.clone());
    let out_of_time = walk(call, resource, &selection.reading(), from, |_, _| {
        page.count += 1;
        true
    })?;
    page.next = out_of_time.map(|place| Position { place, keys: Vec::new() });
    Ok(page)
}

/// Reads row by row from where the last page ended.
fn unordered(call: &Call<'_>, resource: &dyn Resource, selection: &Selection) -> Result<Page, Problem> {
    let mut page = Page::default();
    let mut last = None;
    let from = selection.from.as_ref().map(|position| position.place.clone());
    let out_of_time = walk(call, resource, &selection.reading(), from, |place, record| {
        if page.records.len() == selection.max_records {
            page.next = last.take().map(|place| Position { place, keys: Vec::new() });
            return false;
        }
        page.records.push(record);
        last = Some(place.to_owned());
        true
    })?;
    if let Some(place) = out_of_time {
        page.next = Some(Position { place, keys: Vec::new() });
    }
    Ok(page)
}

/// Reads all rows, and keeps those of the page, which are the first behind the last one's end. A place in the order is what a record is put
/// in order by, and its row.
fn ordered(call: &Call<'_>, resource: &dyn Resource, selection: &Selection) -> Result<Page, Problem> {
    let order = &selection.order;
    let compare = |(a, a_place): (&[Value], &str), (b, b_place): (&[Value], &str)| {
        order.compare(a, b).then_with(|| a_place.cmp(b_place))
    };
    let is_behind = |keys: &[Value], place: &str| match &selection.from {
        None => true,
        Some(from) => compare((keys, place), (&from.keys, &from.place)).is_gt(),
    };
    let sort = |found: &mut Vec<(Vec<Value>, String, Record)>| {
        found.sort_by(|(a, a_place, _), (b, b_place, _)| compare((a, a_place), (b, b_place)));
        // One more tells that there is a next page.
        found.truncate(selection.max_records.saturating_add(1));
    };
    let most = selection.max_records.saturating_add(1).saturating_mul(2).max(CHUNK);
    let mut found = Vec::new();
    walk(call, resource, &selection.whole_reading(), None, |place, record| {
        let keys = order.keys(&record);
        if is_behind(&keys, place) {
            found.push((keys, place.to_owned(), record));
        }
        if found.len() > most {
            sort(&mut found);
        }
        true
    })?;
    sort(&mut found);
    let more = found.len() > selection.max_records;
    found.truncate(selection.max_records);
    let next =
        found.last().filter(|_| more).map(|(keys, place, _)| Position { place: place.clone(), keys: keys.clone() });
    Ok(Page { records: found.into_iter().map(|(_, _, record)| record).collect(), count: 0, next })
}

/// Gives each record that matches to `visit`, until it says no or time is up. Where it is, the place of the last row that was looked at is
/// returned; each call looks at one chunk of rows at least, so that pages always get on.
fn walk(
    call: &Call<'_>,
    resource: &dyn Resource,
    reading: &Reading<'_>,
    from: Option<String>,
    mut visit: impl FnMut(&str, Record) -> bool,
) -> Result<Option<String>, Problem> {
    let Reading { filters, wanted, chunk, deadline } = reading;
    let is_computed = resource.computes(wanted);
    let chunk = if is_computed { EXPENSIVE_CHUNK } else { CHUNK.min(*chunk) };
    let mut after = from;
    loop {
        let rows = resource.rows(call, filters, after.as_deref(), chunk)?;
        let is_last = rows.len() < chunk;
        after = rows.last().map(|row| row.place.clone());
        let mut rows: Vec<_> = rows.into_iter().filter_map(|row| Some((row.place, row.record?))).collect();
        rows.retain(|(_, record)| filters.match_cheap(record));
        if is_computed {
            compute(call, resource, wanted, &mut rows)?;
        }
        for (place, record) in rows {
            if filters.matches(&record) && !visit(&place, record) {
                return Ok(None);
            }
        }
        if is_last {
            return Ok(None);
        }
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Ok(after);
        }
    }
}

/// Gives the rows their expensive fields, asked for side by side.
fn compute(
    call: &Call<'_>,
    resource: &dyn Resource,
    wanted: &Wanted,
    rows: &mut [(String, Record)],
) -> Result<(), Problem> {
    std::thread::scope(|scope| {
        let begin = |row| {
            let work = move || resource.compute(call, row, wanted);
            std::thread::Builder::new().spawn_scoped(scope, work).map_err(|_| codes::internal())
        };
        let begun: Vec<_> = rows.iter_mut().map(|(_, record)| begin(record)).collect();
        begun.into_iter().try_for_each(|thread| thread?.join().unwrap_or_else(|_| Err(codes::internal())))
    })
}

fn answer(call: &Call<'_>, resource: &dyn Resource, selection: &Selection, page: Page, query: Query) -> Value {
    let schema = resource.schema();
    let mut answer = Map::new();
    let number = if selection.return_records { page.records.len() } else { page.count };
    let next = page.next(call, query);
    if selection.return_records {
        let record = |whole: Record| {
            let mut selected = whole.selected(schema, &selection.wanted);
            if call.accept == Accept::Hal {
                links::add(&mut selected, &whole, schema);
            }
            selected.into_json()
        };
        answer.insert("records".to_owned(), page.records.into_iter().map(record).collect());
    }
    answer.insert("num_records".to_owned(), Value::from(number));

    let mut of_page = Map::new();
    if call.accept == Accept::Hal {
        of_page.insert("self".to_owned(), relation(call.address()));
    }
    of_page.extend(next.map(|next| ("next".to_owned(), next)));
    if !of_page.is_empty() {
        answer.insert("_links".to_owned(), Value::Object(of_page));
    }
    Value::Object(answer)
}

impl Page {
    /// The link to the next page, if there is one.
    pub(crate) fn next(&self, call: &Call<'_>, query: Query) -> Option<Value> {
        let next = self.next.as_ref()?;
        Some(relation(query.with(position::PARAMETER, &next.encode()).address(call.path())))
    }
}
