//! A registry behind the `metrics` facade, rendered when it is asked for. The exporter that the facade's authors offer brings a second
//! generation of six packages; this is what the service needs of it.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt::{self, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use metrics::{Counter, Gauge, Histogram, HistogramFn, Key, KeyName, Label, Metadata, Recorder, SharedString, Unit};

/// Upper bounds in seconds: from a key that opens to a keeper that does not answer.
const BOUNDS: [f64; 13] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0];

/// Series of one metric, at most: labels that a caller chooses must not fill memory.
const MOST_SERIES: usize = 10_000;

/// All metrics of the process. A clone is the same registry.
#[derive(Clone, Default)]
pub struct Registry {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    families: BTreeMap<String, Family>,
    help: BTreeMap<String, String>,
}

enum Family {
    Counters(Series<AtomicU64>),
    Gauges(Series<AtomicU64>),
    Histograms(Series<Buckets>),
}

/// By their labels, as they are rendered.
type Series<T> = BTreeMap<String, Arc<T>>;

#[derive(Default)]
struct Buckets {
    /// One for each bound, and one for what is beyond.
    counts: [AtomicU64; BOUNDS.len() + 1],
    /// In nanoseconds.
    sum: AtomicU64,
}

impl HistogramFn for Buckets {
    fn record(&self, seconds: f64) {
        let bucket = BOUNDS.iter().position(|bound| seconds <= *bound).unwrap_or(BOUNDS.len());
        if let Some(count) = self.counts.get(bucket) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let nanoseconds = std::time::Duration::try_from_secs_f64(seconds).unwrap_or_default().as_nanos();
        self.sum.fetch_add(u64::try_from(nanoseconds).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

impl Registry {
    /// Takes what the whole process emits through the facade. The first registry of a process to do so stays; the others go on with
    /// what the service itself counts.
    pub fn install(&self) -> bool {
        metrics::set_global_recorder(self.clone()).is_ok()
    }

    /// Says in what is rendered what each of these names means.
    pub(crate) fn explain(&self, names: &[(&str, &str)]) {
        let help = names.iter().map(|(name, help)| ((*name).to_owned(), (*help).to_owned()));
        self.inner().help.extend(help);
    }

    pub(crate) fn count(&self, name: &'static str, labels: &[(&'static str, &str)]) {
        self.counter(&key(name, labels)).increment(1);
    }

    pub(crate) fn set(&self, name: &'static str, labels: &[(&'static str, &str)], value: f64) {
        self.gauge(&key(name, labels)).set(value);
    }

    pub(crate) fn observe(&self, name: &'static str, labels: &[(&'static str, &str)], seconds: f64) {
        self.histogram(&key(name, labels)).record(seconds);
    }

    /// Takes all series of a gauge away: the next ones take their place.
    pub(crate) fn clear(&self, name: &str) {
        self.inner().families.remove(name);
    }

    /// The text that Prometheus reads (exposition format 0.0.4).
    #[must_use]
    pub fn render(&self) -> String {
        let inner = self.inner();
        let mut text = String::new();
        for (name, family) in &inner.families {
            if let Some(help) = inner.help.get(name) {
                put(&mut text, format_args!("# HELP {name} {help}\n"));
            }
            family.render(name, &mut text);
        }
        text
    }

    fn counter(&self, key: &Key) -> Counter {
        match self.inner().family(key.name(), || Family::Counters(Series::new())) {
            Some(Family::Counters(series)) => found(series, key).map_or_else(Counter::noop, Counter::from_arc),
            Some(Family::Gauges(_) | Family::Histograms(_)) | None => Counter::noop(),
        }
    }

    fn gauge(&self, key: &Key) -> Gauge {
        match self.inner().family(key.name(), || Family::Gauges(Series::new())) {
            Some(Family::Gauges(series)) => found(series, key).map_or_else(Gauge::noop, Gauge::from_arc),
            Some(Family::Counters(_) | Family::Histograms(_)) | None => Gauge::noop(),
        }
    }

    fn histogram(&self, key: &Key) -> Histogram {
        match self.inner().family(key.name(), || Family::Histograms(Series::new())) {
            Some(Family::Histograms(series)) => found(series, key).map_or_else(Histogram::noop, Histogram::from_arc),
            Some(Family::Counters(_) | Family::Gauges(_)) | None => Histogram::noop(),
        }
    }

    fn describe(&self, name: &KeyName, help: &SharedString) {
        self.inner().help.insert(name.as_str().to_owned(), help.replace('\\', r"\\").replace('\n', r"\n"));
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// `None` where the name is none that Prometheus takes.
    fn family(&mut self, name: &str, new: impl FnOnce() -> Family) -> Option<&mut Family> {
        let is_right =
            |(at, byte): (usize, u8)| byte.is_ascii_alphabetic() || byte == b'_' || (at > 0 && byte.is_ascii_digit());
        name.bytes().enumerate().all(is_right).then(|| self.families.entry(name.to_owned()).or_insert_with(new))
    }
}

fn found<T: Default>(series: &mut Series<T>, key: &Key) -> Option<Arc<T>> {
    let is_full = series.len() >= MOST_SERIES;
    match series.entry(labels(key)) {
        Entry::Occupied(there) => Some(Arc::clone(there.get())),
        Entry::Vacant(_) if is_full => None,
        Entry::Vacant(free) => Some(Arc::clone(free.insert(Arc::default()))),
    }
}

fn key(name: &'static str, labels: &[(&'static str, &str)]) -> Key {
    let label = |(name, value): &(&'static str, &str)| Label::new(*name, (*value).to_owned());
    Key::from_parts(name, labels.iter().map(label).collect::<Vec<_>>())
}

/// `a="1",b="2"`, in the order of the names.
fn labels(key: &Key) -> String {
    let mut labels: Vec<_> = key.labels().map(|label| (label.key(), label.value())).collect();
    labels.sort_unstable();
    let escaped = |value: &str| value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n");
    labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect::<Vec<_>>().join(",")
}

impl Family {
    fn render(&self, name: &str, text: &mut String) {
        match self {
            Self::Counters(series) => {
                put(text, format_args!("# TYPE {name} counter\n"));
                for (labels, value) in series {
                    put(text, format_args!("{name}{} {}\n", Braces(labels), value.load(Ordering::Relaxed)));
                }
            }
            Self::Gauges(series) => {
                put(text, format_args!("# TYPE {name} gauge\n"));
                for (labels, value) in series {
                    let value = f64::from_bits(value.load(Ordering::Relaxed));
                    put(text, format_args!("{name}{} {value}\n", Braces(labels)));
                }
            }
            Self::Histograms(series) => {
                put(text, format_args!("# TYPE {name} histogram\n"));
                series.iter().for_each(|(labels, buckets)| buckets.render(name, labels, text));
            }
        }
    }
}

impl Buckets {
    fn render(&self, name: &str, labels: &str, text: &mut String) {
        let comma = if labels.is_empty() { "" } else { "," };
        let bounds = BOUNDS.iter().map(ToString::to_string).chain(["+Inf".to_owned()]);
        let mut total = 0_u64;
        for (bound, count) in bounds.zip(&self.counts) {
            total = total.saturating_add(count.load(Ordering::Relaxed));
            put(text, format_args!("{name}_bucket{{{labels}{comma}le=\"{bound}\"}} {total}\n"));
        }
        let sum = std::time::Duration::from_nanos(self.sum.load(Ordering::Relaxed)).as_secs_f64();
        put(text, format_args!("{name}_sum{} {sum}\n{name}_count{} {total}\n", Braces(labels), Braces(labels)));
    }
}

struct Braces<'a>(&'a str);

impl fmt::Display for Braces<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            "" => Ok(()),
            labels => write!(f, "{{{labels}}}"),
        }
    }
}

/// A `String` takes all that is written to it.
fn put(text: &mut String, arguments: fmt::Arguments<'_>) {
    text.write_fmt(arguments).unwrap_or_default();
}

impl Recorder for Registry {
    fn describe_counter(&self, name: KeyName, _: Option<Unit>, help: SharedString) {
        self.describe(&name, &help);
    }

    fn describe_gauge(&self, name: KeyName, _: Option<Unit>, help: SharedString) {
        self.describe(&name, &help);
    }

    fn describe_histogram(&self, name: KeyName, _: Option<Unit>, help: SharedString) {
        self.describe(&name, &help);
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        self.counter(key)
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        self.gauge(key)
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        self.histogram(key)
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.inner().families.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_rendered_as_prometheus_reads_it() {
        let registry = Registry::default();
        registry.count("a_total", &[("z", "1"), ("b", "say \"no\"\n")]);
        registry.count("a_total", &[("b", "say \"no\"\n"), ("z", "1")]);
        registry.set("g", &[], 2.5);
        registry.observe("h_seconds", &[("k", "v")], 0.004);
        registry.observe("h_seconds", &[("k", "v")], 60.0);
        let text = registry.render();
        let has = |line: &str| assert!(text.lines().any(|there| there == line), "{line} is not in\n{text}");
        has("# TYPE a_total counter");
        has(r#"a_total{b="say \"no\"\n",z="1"} 2"#);
        has("g 2.5");
        has(r#"h_seconds_bucket{k="v",le="0.0025"} 0"#);
        has(r#"h_seconds_bucket{k="v",le="0.005"} 1"#);
        has(r#"h_seconds_bucket{k="v",le="30"} 1"#);
        has(r#"h_seconds_bucket{k="v",le="+Inf"} 2"#);
        has(r#"h_seconds_sum{k="v"} 60.004"#);
        has(r#"h_seconds_count{k="v"} 2"#);
    }

    #[test]
    fn what_others_emit_through_the_facade_arrives() {
        let registry = Registry::default();
        metrics::with_local_recorder(&registry, || {
            metrics::describe_counter!("claviger_keeper_failures_total", "Calls that failed");
            metrics::counter!("claviger_keeper_failures_total", "keeper" => "barbican").increment(3);
            metrics::histogram!("claviger_keeper_seconds").record(0.02);
        });
        let text = registry.render();
        assert!(text.contains("# HELP claviger_keeper_failures_total Calls that failed\n"));
        assert!(text.contains("claviger_keeper_failures_total{keeper=\"barbican\"} 3\n"));
        assert!(text.contains("claviger_keeper_seconds_count 1\n"));
    }

    #[test]
    fn one_name_is_of_one_kind_and_labels_do_not_fill_memory() {
        let registry = Registry::default();
        registry.count("name", &[]);
        registry.set("name", &[], 7.0);
        assert_eq!(registry.render(), "# TYPE name counter\nname 1\n");
        for number in 0..=MOST_SERIES {
            registry.count("many", &[("n", &number.to_string())]);
        }
        assert_eq!(registry.render().lines().filter(|line| line.starts_with("many")).count(), MOST_SERIES);
    }
}
