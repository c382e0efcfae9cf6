//! The document that a person reads: the same table of endpoints, as one page of HTML that needs nothing from elsewhere.

use std::fmt::Write as _;

use crate::conventions::links::BASE;
use crate::endpoint::{self, Does, Endpoint};
use crate::schema::Schema;

const HEAD: &str = "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>claviger: REST API</title><style>\
body{font:16px/1.5 sans-serif;max-width:60em;margin:2em auto;padding:0 1em}code{background:#eee;padding:0 .2em}\
h2{margin-top:2em;border-top:1px solid #ccc;padding-top:.5em}td,th{text-align:left;vertical-align:top;padding:.1em 1em .1em 0}\
</style></head><body><h1>claviger: the ONTAP key-management REST API</h1>\
<p>For programs: <a href=\"/docs/api/openapi.json\">openapi.json</a>. Filters, <code>fields</code>, <code>order_by</code>, paging, jobs and \
errors are those of ONTAP.</p>";

/// The page.
pub(crate) fn page() -> String {
    let mut page = String::from(HEAD);
    for endpoint in endpoint::all() {
        write_endpoint(&mut page, endpoint).unwrap_or_default();
    }
    page.push_str("</body></html>\n");
    page
}

fn write_endpoint(page: &mut String, endpoint: &Endpoint) -> std::fmt::Result {
    let Endpoint { method, path, summary, does } = endpoint;
    write!(page, "<h2><code>{method} {BASE}{path}</code></h2><p>{summary}</p>")?;
    match does {
        Does::List(resource) | Does::Show(resource) => write_fields(page, resource.schema(), "GET"),
        Does::Change(change) | Does::Each { change, .. } => match change.body {
            Some((schema, _)) => write_fields(page, schema, method),
            None => Ok(()),
        },
        Does::Nothing(_) => Ok(()),
    }
}

fn write_fields(page: &mut String, schema: &Schema, method: &str) -> std::fmt::Result {
    page.push_str("<table>");
    let is_shown = |field: &&crate::schema::Field| match method {
        "POST" => field.post,
        "PATCH" => field.patch,
        _ => field.shown != crate::schema::Shown::Never,
    };
    for field in schema.fields.iter().filter(is_shown) {
        write!(page, "<tr><td><code>{}</code></td><td>{}</td></tr>", field.path, field.about)?;
    }
    page.push_str("</table>");
    Ok(())
}
