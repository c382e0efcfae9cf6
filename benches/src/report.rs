//! Cases that take turns, and the ratios that come of it.

use std::fmt;
use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, SamplingMode};

/// How long a case works before it is another one's turn. One operation that takes longer is a turn of its own.
const TURN: Duration = Duration::from_millis(2);

/// How long the turns of a comparison may last together, and how many rounds they make.
const BUDGET: Duration = Duration::from_secs(30);
const ROUNDS: (usize, usize) = (7, 501);

/// What the subject may take.
#[derive(Clone, Copy, Debug)]
pub enum Aim {
    /// So many times what the baseline takes.
    Times(f64),
    /// So much more than the baseline takes.
    Plus(Duration),
    /// Anything: the baseline is there to compare with.
    None,
}

/// One way of doing a thing.
pub struct Case<'a> {
    name: &'static str,
    time: Box<dyn FnMut(u64) -> anyhow::Result<Duration> + 'a>,
}

impl<'a> Case<'a> {
    /// A case that does its thing as often as it is told, and says how long that took. What it does beside it, such as
    /// drawing nonces beforehand, it leaves out.
    pub fn new(name: &'static str, time: impl FnMut(u64) -> anyhow::Result<Duration> + 'a) -> Self {
        Self { name, time: Box::new(time) }
    }

    /// A case that is one call, all of which counts.
    pub fn each<T>(name: &'static str, mut call: impl FnMut() -> anyhow::Result<T> + 'a) -> Self {
        Self::new(name, move |times| {
            let start = Instant::now();
            for _ in 0..times {
                black_box(call()?);
            }
            Ok(start.elapsed())
        })
    }
}

/// Runs comparisons and keeps their lines for the end.
pub struct Report {
    criterion: Criterion,
    measures: bool,
    lines: Vec<String>,
}

impl Report {
    /// A report as the command line asks for it. Without `--bench`, which `cargo bench` gives, every case is only tried once,
    /// and small.
    #[must_use]
    pub fn from_args() -> Self {
        let measures = std::env::args().any(|argument| argument == "--bench");
        Self { criterion: Criterion::default().configure_from_args(), measures, lines: Vec::new() }
    }

    /// As many as `count`, or a hundredth where nothing is measured.
    #[must_use]
    pub const fn scaled(&self, count: usize) -> usize {
        if self.measures { count } else { count / 100 }
    }

    /// Has `subject` and its baselines take turns and prints one ratio for each baseline; then Criterion measures each case
    /// on its own.
    ///
    /// A ratio is the median of the ratios of the rounds. Whether an aim is met is printed, and no failure: the machine may
    /// be busy.
    ///
    /// # Errors
    /// Those of the cases.
    pub fn compare(&mut self, name: &str, subject: Case<'_>, baselines: Vec<(Case<'_>, Aim)>) -> anyhow::Result<()> {
        let (baselines, aims): (Vec<_>, Vec<_>) = baselines.into_iter().unzip();
        let mut cases: Vec<_> = std::iter::once(subject).chain(baselines).collect();
        let rounds = if self.measures { take_turns(&mut cases)? } else { Vec::new() };

        let of_case = |at: usize| rounds.iter().filter_map(move |round| round.get(at).copied());
        for (at, (case, aim)) in (1..).zip(cases.iter().skip(1).zip(aims)).filter(|_| self.measures) {
            let (subject, baseline) = (median(of_case(0)), median(of_case(at)));
            let ratio = median(of_case(0).zip(of_case(at)).map(|(subject, baseline)| subject / baseline));
            let more = median(of_case(0).zip(of_case(at)).map(|(subject, baseline)| subject - baseline));
            let verdict = match aim {
                Aim::Times(times) => format!(", aim {times}x: {}", met(ratio <= times)),
                Aim::Plus(plus) => {
                    let plus = plus.as_secs_f64();
                    format!(", {} more, aim {} more: {}", Time(more), Time(plus), met(more <= plus))
                }
                Aim::None => String::new(),
            };
            let times = format!("({} / {})", Time(subject), Time(baseline));
            self.lines.push(format!("ratio {name}: {ratio:.2}x of {} {times}{verdict}", case.name));
            self.lines.last().into_iter().for_each(|line| print(line));
        }
        self.criterion(name, &mut cases, &rounds)
    }

    /// Prints all lines again, below what Criterion has printed.
    pub fn finish(self) {
        self.criterion.final_summary();
        print("");
        self.lines.iter().for_each(|line| print(line));
    }

    fn criterion(&mut self, name: &str, cases: &mut [Case<'_>], rounds: &[Vec<f64>]) -> anyhow::Result<()> {
        let mut failed = Ok(());
        let mut group = self.criterion.benchmark_group(name);
        group.warm_up_time(Duration::from_millis(500));
        for (at, case) in cases.iter_mut().enumerate() {
            let seconds = median(rounds.iter().filter_map(|round| round.get(at).copied()));
            let expected = Duration::try_from_secs_f64(seconds).unwrap_or_default();
            let is_slow = expected > Duration::from_millis(50);
            group.sample_size(if is_slow { 10 } else { 50 });
            group.sampling_mode(if is_slow { SamplingMode::Flat } else { SamplingMode::Auto });
            group.measurement_time((expected * 12).max(Duration::from_secs(2)));
            group.bench_function(case.name, |bencher| {
                bencher.iter_custom(|times| match (case.time)(times) {
                    Ok(took) => took,
                    Err(error) => {
                        failed = Err(error);
                        Duration::from_secs(1)
                    }
                });
            });
        }
        group.finish();
        failed
    }
}

/// The seconds that one operation took, by round and case.
fn take_turns(cases: &mut [Case<'_>]) -> anyhow::Result<Vec<Vec<f64>>> {
    let mut operations = Vec::with_capacity(cases.len());
    let mut round = Duration::ZERO;
    for case in &mut *cases {
        let mut times = 1;
        let mut took = (case.time)(times)?;
        while took < TURN {
            times *= 2;
            took = (case.time)(times)?;
        }
        operations.push(times);
        round += took;
    }
    let affordable = usize::try_from(BUDGET.as_millis() / round.as_millis().max(1)).unwrap_or(usize::MAX);
    let rounds = affordable.clamp(ROUNDS.0, ROUNDS.1);
    let mut taken = Vec::with_capacity(rounds);
    for number in 0..rounds {
        let mut seconds = vec![0.0; cases.len()];
        let turns = cases.iter_mut().zip(&operations).zip(&mut seconds);
        // There and back again, so that none always follows the same other.
        let turns: &mut dyn Iterator<Item = _> = match number % 2 {
            0 => &mut turns.into_iter(),
            _ => &mut turns.rev(),
        };
        for ((case, times), seconds) in turns {
            *seconds = (case.time)(*times)?.as_secs_f64() / *times as f64;
        }
        taken.push(seconds);
    }
    Ok(taken)
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

const fn met(is: bool) -> &'static str {
    if is { "met" } else { "missed" }
}

/// Seconds, printed in the unit that suits them.
struct Time(f64);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            seconds if seconds < 10e-6 => write!(f, "{:.0} ns", seconds * 1e9),
            seconds if seconds < 10e-3 => write!(f, "{:.0} \u{b5}s", seconds * 1e6),
            seconds if seconds < 10.0 => write!(f, "{:.0} ms", seconds * 1e3),
            seconds => write!(f, "{seconds:.1} s"),
        }
    }
}

#[expect(clippy::print_stdout, reason = "what a benchmark prints is its result")]
fn print(line: &str) {
    println!("{line}");
}
