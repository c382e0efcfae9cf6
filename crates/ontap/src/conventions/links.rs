//! HAL links (conventions, section 2).

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use crate::record::Record;
use crate::schema::{Link, Schema};

/// Where the API begins.
pub(crate) const BASE: &str = "/api";

/// What stands for itself in one part of a path.
const PART: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A value as one part of a path.
pub(crate) fn part(value: &str) -> String {
    utf8_percent_encode(value, PART).to_string()
}

/// `{"href": …}` under a relation.
pub(crate) fn relation(href: String) -> Value {
    json!({ "href": href })
}

/// Gives `selected` the links of what is in it; their values are taken from the `whole` record.
pub(crate) fn add(selected: &mut Record, whole: &Record, schema: &Schema) {
    for link in schema.links {
        let Some(href) = filled(link, whole) else { continue };
        if let Some(object) = selected.object_mut(link.object) {
            object.insert("_links".to_owned(), json!({ "self": relation(href) }));
        }
    }
}

/// The link's address with the record's values in it. `None` where one is missing.
fn filled(link: &Link, record: &Record) -> Option<String> {
    let mut href = String::from(BASE);
    let mut rest = link.href;
    while let Some((before, after)) = rest.split_once('{') {
        let (path, after) = after.split_once('}')?;
        href.push_str(before);
        href.push_str(&part(record.text(path)?));
        rest = after;
    }
    href.push_str(rest);
    Some(href)
}
