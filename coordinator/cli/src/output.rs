//! What a command prints: tables for people, or the API's own objects as JSON. Results go to standard output, everything else to standard error.

use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};

use loopback_api::{Page, Time};
use serde::Serialize;

use crate::failure::Failure;
use crate::table::{self, Cell, Tone};

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Table,
    /// The API's own objects, for programs.
    Json,
}

/// Where results go.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    format: Format,
    now: Time,
    terminal: bool,
    paint: bool,
}

/// A property of a thing: a column of a list, or a line of a record.
pub(crate) struct Field<T> {
    title: &'static str,
    text: fn(&T, Time) -> String,
    state: bool,
}

impl<T> Field<T> {
    /// A property and how it is told at a given time.
    pub(crate) const fn new(title: &'static str, text: fn(&T, Time) -> String) -> Self {
        Self { title, text, state: false }
    }

    /// A property that is good or bad, told by one of the words of [`tone`].
    pub(crate) const fn state(title: &'static str, text: fn(&T, Time) -> String) -> Self {
        Self { title, text, state: true }
    }

    fn cell(&self, item: &T, now: Time) -> Cell {
        let text = (self.text)(item, now);
        let tone = if self.state { tone(&text) } else { Tone::Plain };
        Cell::new(&text, tone)
    }
}

impl Output {
    pub(crate) fn new(format: Format, now: Time) -> Self {
        let terminal = io::stdout().is_terminal();
        let paint = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { format, now, terminal, paint }
    }

    /// When the command began.
    pub(crate) const fn now(&self) -> Time {
        self.now
    }

    /// Whether people read it.
    pub(crate) fn is_table(&self) -> bool {
        self.format == Format::Table
    }

    /// A list. `empty` says what it means that there is nothing, and what to do.
    pub(crate) fn list<T: Serialize>(&self, page: &Page<T>, fields: &[Field<T>], empty: &str) -> Result<(), Failure> {
        if page.items.is_empty() {
            note(empty);
        } else if page.next.is_some() {
            note(&format!("only the first {} are shown; ask for more with --limit", page.items.len()));
        }
        if self.format == Format::Json { self.json(page) } else { self.rows(&page.items, fields) }
    }

    /// One thing.
    pub(crate) fn object<T: Serialize>(&self, item: &T, fields: &[Field<T>]) -> Result<(), Failure> {
        if self.format == Format::Json { self.json(item) } else { self.record(item, fields) }
    }

    /// The API's answer for programs, a sentence for people.
    pub(crate) fn done(&self, answer: &impl Serialize, sentence: &str) -> Result<(), Failure> {
        if self.format == Format::Json { self.json(answer) } else { self.line(sentence) }
    }

    /// A table of things; nothing for none.
    pub(crate) fn rows<T>(&self, items: &[T], fields: &[Field<T>]) -> Result<(), Failure> {
        if items.is_empty() {
            return Ok(());
        }
        let head: Vec<&str> = fields.iter().map(|field| field.title).collect();
        let rows: Vec<Vec<Cell>> = items.iter().map(|item| fields.iter().map(|field| field.cell(item, self.now)).collect()).collect();
        raw(&table::columns(&head, &rows, self.paint))
    }

    /// A line for each property.
    pub(crate) fn record<T>(&self, item: &T, fields: &[Field<T>]) -> Result<(), Failure> {
        let cells: Vec<(&str, Cell)> = fields.iter().map(|field| (field.title, field.cell(item, self.now))).collect();
        raw(&table::record(&cells, self.paint))
    }

    /// A line for people.
    pub(crate) fn line(&self, text: &str) -> Result<(), Failure> {
        raw(&format!("{text}\n"))
    }

    /// An object for programs: on a terminal with line breaks.
    pub(crate) fn json(&self, value: &impl Serialize) -> Result<(), Failure> {
        let text = if self.terminal { serde_json::to_string_pretty(value) } else { serde_json::to_string(value) };
        let text = text.map_err(|error| Failure::failed(format!("cannot write this as JSON: {error}")))?;
        raw(&format!("{}\n", harmless(&text)))
    }
}

/// JSON without the control characters that JSON allows as they are and a terminal obeys: DEL, and those of ISO 6429's second set (U+009B begins commands).
fn harmless(json: &str) -> Cow<'_, str> {
    let obeyed = |c: char| c.is_control() && c != '\n';
    if !json.contains(obeyed) {
        return Cow::Borrowed(json);
    }
    let escaped = |text: String, c: char| if obeyed(c) { text + &format!("\\u{:04x}", u32::from(c)) } else { text + c.encode_utf8(&mut [0; 4]) };
    Cow::Owned(json.chars().fold(String::with_capacity(json.len()), escaped))
}

/// Text as it is, on standard output.
pub(crate) fn raw(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(Failure::Output)
}

/// A line on standard error. Nobody reading it is no failure.
pub(crate) fn note(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// A value of an enumeration by the word it has in JSON.
pub(crate) fn word(value: impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        Ok(other) => other.to_string(),
        Err(_) => String::new(),
    }
}

fn tone(word: &str) -> Tone {
    match word {
        "online" | "active" | "allow" | "allowed" | "applied" | "verified" | "whole" => Tone::Good,
        "degraded" | "pending" | "opening" | "reject" | "in_setup" | "waitlist" | "expired" | "spent" => Tone::Doubtful,
        "offline" | "failed" | "rolled_back" | "deny" | "denied" | "blocked" | "inactive" | "revoked" | "broken" => Tone::Bad,
        _ => Tone::Plain,
    }
}

#[cfg(test)]
mod tests {
    use loopback_api::host::HostState;

    use super::{harmless, tone, word};
    use crate::table::Tone;

    #[test]
    fn json_says_the_same_and_commands_no_terminal() {
        let value = serde_json::json!({ "target": "a\u{9b}31mb\u{7f}\x1b[2Jü\n" });
        let text = serde_json::to_string_pretty(&value).unwrap();
        let shown = harmless(&text);
        assert!(text.contains('\u{9b}') && !shown.contains(|c: char| c.is_control() && c != '\n') && shown.contains('ü'), "{shown}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value);
    }

    #[test]
    fn a_state_is_told_by_its_word_in_json_and_coloured_by_it() {
        assert_eq!(word(HostState::Degraded), "degraded");
        assert_eq!([HostState::Online, HostState::Degraded, HostState::Offline].map(|state| tone(&word(state))), [Tone::Good, Tone::Doubtful, Tone::Bad]);
    }
}
