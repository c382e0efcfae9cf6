//! `claviger key list`: page by page, so that a million keys take no more memory than a few.

use std::fmt::Display;
use std::io;
use std::mem;

use claviger::{Engine, KeyError, KeyInfo, KeyType, ObjectRef, SvmId};
use serde::Serialize;
use uuid::Uuid;

use super::KeyView;
use crate::exit::Exit;
use crate::failure::{Failure, one_line};
use crate::session::Session;

/// Prints up to `limit` keys of the SVM, of one type where one is named.
pub(super) fn run(
    session: &Session<'_>,
    engine: &Engine,
    svm: SvmId,
    only: Option<KeyType>,
    limit: Option<u64>,
) -> Result<Exit, Failure> {
    let mut pages =
        Pages { engine, svm, only, after: only.and_then(before), left: limit.unwrap_or(u64::MAX), ended: false };
    // Read before the first byte is printed: what cannot be done at all is seen here.
    let mut page = pages.next_page()?;
    let mut list = List { text: String::new(), json: session.output.is_json(), any: false };
    let mut exit = Exit::Done;
    list.begin();
    while !page.is_empty() {
        if page.iter().any(Result::is_err) {
            exit = Exit::Damage;
        }
        page.iter().try_for_each(|key| list.item(key))?;
        session.output.part(mem::take(&mut list.text))?;
        page = pages.next_page()?;
    }
    session.output.part(list.end())?;
    Ok(exit)
}

/// A key, or why the record in its place is none.
type Item = Result<KeyInfo, KeyError>;

struct Pages<'a> {
    engine: &'a Engine,
    svm: SvmId,
    only: Option<KeyType>,
    after: Option<ObjectRef>,
    left: u64,
    ended: bool,
}

impl Pages<'_> {
    /// The next keys; none where there are no more.
    fn next_page(&mut self) -> Result<Vec<Item>, Failure> {
        const PAGE: usize = 1_024;
        let limit = usize::try_from(self.left).unwrap_or(usize::MAX).min(PAGE);
        if self.ended || limit == 0 {
            return Ok(Vec::new());
        }
        let mut page = self.engine.list_keys(self.svm, self.after, limit)?;
        self.ended = page.len() < limit;
        // A record that does not even name its object is no place to go on from. At the end of a page it comes again with
        // the next one.
        match page.iter().rposition(|item| object_of(item).is_some()) {
            Some(last) if !self.ended => page.truncate(last + 1),
            Some(_) => {}
            None => self.ended = true,
        }
        self.after = page.last().and_then(object_of);
        if let Some(only) = self.only {
            let behind = |item: &Item| object_of(item).is_some_and(|object| object.key_type() > only);
            self.ended |= page.iter().any(behind);
            page.retain(|item| !behind(item));
        }
        self.left = self.left.saturating_sub(page.len() as u64);
        Ok(page)
    }
}

fn object_of(item: &Item) -> Option<ObjectRef> {
    match item {
        Ok(key) => Some(key.object),
        Err(KeyError::Layout { object, .. }) => Some(*object),
        Err(_) => None,
    }
}

/// The last object before the first of this type. Types are in the order of their numbers.
fn before(key_type: KeyType) -> Option<ObjectRef> {
    match key_type {
        KeyType::Vek => None,
        KeyType::Aek => Some(ObjectRef::Volume(Uuid::max())),
        KeyType::NseAk => Some(ObjectRef::Aggregate(Uuid::max())),
    }
}

/// A list that is printed page by page: lines, or one JSON object.
struct List {
    /// What is not printed yet.
    text: String,
    json: bool,
    any: bool,
}

#[derive(Serialize)]
struct NoKey {
    error: String,
}

impl List {
    fn begin(&mut self) {
        if self.json {
            self.text.push_str("{\"keys\":[");
        }
    }

    fn item(&mut self, item: &Item) -> Result<(), Failure> {
        match (item, self.json) {
            (Ok(key), true) => self.element(&KeyView::of(key))?,
            (Err(error), true) => self.element(&NoKey { error: one_line(error) })?,
            (Ok(key), false) => self.line(&KeyView::of(key)),
            (Err(error), false) => self.line(&format_args!("damaged: {}", one_line(error))),
        }
        Ok(())
    }

    fn line(&mut self, line: &dyn Display) {
        self.text += &format!("{line}\n");
    }

    fn element(&mut self, element: &impl Serialize) -> Result<(), Failure> {
        self.text.push_str(if self.any { ",\n" } else { "\n" });
        self.any = true;
        let element = serde_json::to_string(element);
        self.text += &element.map_err(|error| Failure::Stdout(io::Error::from(error)))?;
        Ok(())
    }

    fn end(mut self) -> String {
        if self.json {
            self.text.push_str("\n]}\n");
        }
        self.text
    }
}
