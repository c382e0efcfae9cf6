//! What a service answers: events, or why there are none.

use std::io::{self, BufRead, BufReader, Read as _};

use serde::Deserialize;
use ureq::Body;

use super::error::ServiceError;
use crate::args::ServiceUrl;
use crate::event::{Event, Wanted};
use crate::exit::Exit;
use crate::failure::Failure;

/// The most bytes of an event. A backup is one.
const LONGEST: u64 = 1 << 30;

/// The most bytes that are read of an error.
const LONGEST_PROBLEM: u64 = 64 << 10;

/// How a command ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Ended(Exit),
    /// It did nothing, for it wants this secret.
    Wants(Wanted),
}

/// Reads events to the last one, and hands each on.
pub(super) fn read(
    url: &ServiceUrl,
    body: Body,
    take: impl FnMut(Event) -> Result<(), Failure>,
) -> Result<Answer, Failure> {
    events(url, BufReader::new(body.into_reader()), take)
}

fn events(
    url: &ServiceUrl,
    mut lines: impl BufRead,
    mut take: impl FnMut(Event) -> Result<(), Failure>,
) -> Result<Answer, Failure> {
    let strange = || ServiceError::Strange { url: url.clone() };
    let lost = |source| ServiceError::Lost { url: url.clone(), source };
    let mut line = Vec::new();
    loop {
        line.clear();
        lines.by_ref().take(LONGEST).read_until(b'\n', &mut line).map_err(lost)?;
        if !line.ends_with(b"\n") {
            return Err(lost(io::ErrorKind::UnexpectedEof.into()).into());
        }
        match serde_json::from_slice(&line).map_err(|_| strange())? {
            Event::End(code) => return Ok(Answer::Ended(Exit::of_code(code).ok_or_else(strange)?)),
            Event::Wants(wanted) => return Ok(Answer::Wants(wanted)),
            event => take(event)?,
        }
    }
}

/// What a service says of a request that it did not take.
pub(super) fn problem(body: &mut Body) -> String {
    #[derive(Deserialize)]
    struct Problem {
        error: Fields,
    }
    #[derive(Deserialize)]
    struct Fields {
        message: String,
    }
    let mut text = Vec::new();
    // Why it cannot be read matters less than the status, which is told.
    body.as_reader().take(LONGEST_PROBLEM).read_to_end(&mut text).unwrap_or_default();
    match serde_json::from_slice(&text) {
        Ok(Problem { error: Fields { message } }) => message,
        Err(_) => "it does not say why".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(text: &str) -> (Vec<Event>, Result<Answer, Failure>) {
        let url = "https://node1".parse().unwrap();
        let mut taken = Vec::new();
        let answer = events(&url, text.as_bytes(), |event| {
            taken.push(event);
            Ok(())
        });
        (taken, answer)
    }

    #[test]
    fn events_are_handed_on_up_to_the_last() {
        let (taken, answer) = read_all("{\"note\":\"one\"}\n\"alive\"\n{\"end\":6}\n{\"note\":\"two\"}\n");
        assert!(matches!(&taken[..], [Event::Note(one), Event::Alive] if one == "one"));
        assert_eq!(answer.unwrap(), Answer::Ended(Exit::Damage));
        let (_, answer) = read_all("{\"wants\":\"new-passphrase\"}\n");
        assert_eq!(answer.unwrap(), Answer::Wants(Wanted::NewPassphrase));
    }

    #[test]
    fn an_answer_without_an_end_is_lost() {
        for text in ["", "{\"note\":\"one\"}\n", "{\"end\":0}"] {
            let (_, answer) = read_all(text);
            assert!(matches!(answer, Err(Failure::Service(ServiceError::Lost { .. }))), "{text}");
        }
    }

    #[test]
    fn what_is_no_event_is_not_guessed_at() {
        for text in ["\n", "{}\n", "{\"sing\":\"a song\"}\n", "{\"end\":77}\n", "{\"end\":0,\"note\":\"\"}\n"] {
            let (_, answer) = read_all(text);
            assert!(matches!(answer, Err(Failure::Service(ServiceError::Strange { .. }))), "{text}");
        }
    }
}
