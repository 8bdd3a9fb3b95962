//! What is wrong with a configuration file: one line that names the file, the line, the key, and what would be right.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::check::plain;

/// A key whose value makes no sense, or not beside others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// With its tables.
    pub key: String,
    /// What is wrong, and what to do.
    pub problem: String,
}

impl Wrong {
    /// What is wrong with a key.
    pub fn new(key: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { key: key.into(), problem: problem.into() }
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.problem)
    }
}

/// A configuration that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// A file, or words for another place; empty for what was made in code.
    place: PathBuf,
    line: Option<usize>,
    key: String,
    problem: String,
}

impl ConfigError {
    /// The file cannot be read at all.
    #[must_use]
    pub fn unreadable(file: &Path, error: &std::io::Error) -> Self {
        let problem = format!("cannot be read: {error}");
        Self { place: file.to_owned(), line: None, key: String::new(), problem }
    }

    /// A key whose value makes no sense. The line is where the key stands; without one, where its table begins.
    #[must_use]
    pub fn at(file: &Path, text: &str, Wrong { key, problem }: Wrong) -> Self {
        Self { place: file.to_owned(), line: line_of_key(text, &key), key, problem }
    }

    /// Something in a file that has no key: a rule, say.
    #[must_use]
    pub fn at_offset(file: &Path, text: &str, offset: usize, problem: impl Into<String>) -> Self {
        let line = Some(line_at(text, offset));
        Self { place: file.to_owned(), line, key: String::new(), problem: problem.into() }
    }

    /// A value that does not stand in a file: in the environment, or on the command line.
    #[must_use]
    pub fn elsewhere(place: &str, Wrong { key, problem }: Wrong) -> Self {
        Self { place: PathBuf::from(place), line: None, key, problem }
    }

    /// What the parser found.
    #[must_use]
    pub fn parse(file: &Path, text: &str, error: &toml::de::Error) -> Self {
        let span = error.span().unwrap_or(0..0);
        // What is missing at the top is told of the whole text, or of nothing; a table is told of by its header.
        let top = span.is_empty() || span.end >= text.trim_end().len() || !text.trim_start().starts_with('[');
        let whole = top && text.get(..span.start).is_some_and(|before| before.trim().is_empty());
        let table = || key_at(text, &span, true);
        let (key, problem) = match Complaint::of(error.message()) {
            Complaint::Unknown { key, known } => {
                let table = table();
                // A table that is none of ours is told of at its own header.
                let whole_key = if table.rsplit('.').next() == Some(key) { table } else { join(&table, key) };
                (whole_key, unknown_problem(key, &known))
            }
            Complaint::Missing { key } if whole => (key.to_owned(), MISSING.to_owned()),
            // A table in braces has a key of its own on that line.
            Complaint::Missing { key } => (join(&key_at(text, &span, false), key), MISSING.to_owned()),
            Complaint::Other(problem) => (key_at(text, &span, false), problem),
        };
        Self { place: file.to_owned(), line: Some(line_at(text, span.start)), key, problem }
    }
}

impl From<Wrong> for ConfigError {
    /// Of a configuration that was made in code.
    fn from(Wrong { key, problem }: Wrong) -> Self {
        Self { place: PathBuf::new(), line: None, key, problem }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = self.place.display();
        let place = match self.line {
            Some(line) => format!("{place}:{line}"),
            None => place.to_string(),
        };
        let parts = [&place, &self.key, &self.problem];
        let parts: Vec<&str> =
            parts.into_iter().map(String::as_str).filter(|part| !part.is_empty()).collect();
        // The parser repeats parts of the file, whatever is in them.
        f.write_str(&plain(&parts.join(": ")))
    }
}

impl std::error::Error for ConfigError {}

/// What is said of a key that must be there and is not.
const MISSING: &str = "is missing";

/// Serde's words, taken apart.
pub(super) enum Complaint<'a> {
    /// A key that is none of ours, and those that are.
    Unknown { key: &'a str, known: Vec<&'a str> },
    /// A key that is needed.
    Missing { key: &'a str },
    /// All else, in one line.
    Other(String),
}

impl<'a> Complaint<'a> {
    pub(super) fn of(message: &'a str) -> Self {
        if let Some((key, rest)) =
            message.strip_prefix("unknown field `").and_then(|rest| rest.split_once('`'))
        {
            return Complaint::Unknown { key, known: rest.split('`').skip(1).step_by(2).collect() };
        }
        if let Some((key, _)) = message.strip_prefix("missing field `").and_then(|rest| rest.split_once('`'))
        {
            return Complaint::Missing { key };
        }
        Complaint::Other(message.lines().map(str::trim).collect::<Vec<_>>().join("; "))
    }

    /// What is wrong with a value that came from elsewhere, under its key; `table`: what something may be missing in, the
    /// value or, where that is none, what the key is in.
    pub(super) fn about(self, key: &str, table: &str) -> Wrong {
        match self {
            Complaint::Unknown { key: inner, known } => {
                Wrong::new(join(key, inner), unknown_problem(inner, &known))
            }
            Complaint::Missing { key: inner } => Wrong::new(join(table, inner), MISSING),
            Complaint::Other(problem) => Wrong::new(key, problem),
        }
    }
}

fn line_at(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

fn join(table: &str, key: &str) -> String {
    if table.is_empty() { key.to_owned() } else { format!("{table}.{key}") }
}

/// `[table]` or `[[table]]` on a line.
fn header(line: &str) -> Option<&str> {
    let name = line.trim_start().strip_prefix('[')?.trim_start_matches('[');
    name.find(']').map(|end| name[..end].trim())
}

/// The key on a line with `key = …`.
fn assigned(line: &str) -> Option<&str> {
    let (key, _) = line.split_once('=')?;
    let key = key.trim();
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-.\"' ".contains(c);
    (!key.is_empty() && key.chars().all(plain)).then_some(key)
}

/// The key that a span of the text belongs to, with its tables; only the tables with `table_only`.
fn key_at(text: &str, span: &Range<usize>, table_only: bool) -> String {
    let (mut table, mut key, mut offset) = ("", "", 0);
    for line in text.split_inclusive('\n') {
        if offset > span.start {
            break;
        }
        if let Some(name) = header(line) {
            (table, key) = (name, "");
        } else if let Some(name) = assigned(line) {
            key = name;
        }
        offset += line.len();
    }
    if table_only || key.is_empty() { table.to_owned() } else { join(table, key) }
}

/// The line on which a dotted key is assigned, or its table begins.
fn line_of_key(text: &str, wanted: &str) -> Option<usize> {
    let (mut table, mut table_line) = (String::new(), None);
    for (number, line) in text.lines().enumerate() {
        if let Some(name) = header(line) {
            table = name.to_owned();
            if wanted == name || wanted.strip_prefix(name).is_some_and(|rest| rest.starts_with('.')) {
                table_line = table_line.or(Some(number + 1));
            }
        } else if assigned(line).is_some_and(|key| join(&table, key) == wanted) {
            return Some(number + 1);
        }
    }
    table_line
}

/// What is said of a key that is none of ours: the nearest one, or all.
pub(super) fn unknown_problem(unknown: &str, known: &[&str]) -> String {
    let nearest = known.iter().map(|name| (strsim::levenshtein(unknown, name), name)).min();
    match nearest {
        // Half of it wrong is no slip of the pen.
        Some((slips, name)) if slips <= unknown.len().max(3) / 2 => {
            format!("there is no such key; did you mean \"{name}\"?")
        }
        _ => format!("there is no such key here; there are {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn a_key_is_found_in_its_own_table() {
        let text = "listen = 1\n\n[data]\n# listen = 2\nlisten = 3\n[[queues]]\nname = 4\n";
        assert_eq!(line_of_key(text, "listen"), Some(1));
        assert_eq!(line_of_key(text, "data.listen"), Some(5));
        assert_eq!(line_of_key(text, "data.advertise"), Some(3));
        assert_eq!(line_of_key(text, "queues.name"), Some(7));
        assert_eq!(line_of_key(text, "grpc"), None);
    }

    #[test]
    fn a_table_that_is_none_of_ours_is_named_once() {
        #[derive(Debug, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        #[allow(dead_code)] // Only read for what is not in it.
        struct Known {
            rules: Option<Vec<Inner>>,
        }
        #[derive(Debug, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Inner {}
        for (text, key) in
            [("[[rule]]\n", "rule"), ("[rules.inner]\n", "rules.inner"), ("[[rules]]\nx = 1\n", "rules.x")]
        {
            let error = toml::from_str::<Known>(text).unwrap_err();
            assert_eq!(ConfigError::parse(Path::new("a.toml"), text, &error).key, key, "{text}");
        }
    }

    #[test]
    fn the_nearest_key_is_named_unless_none_is_near() {
        assert!(unknown_problem("lisen", &["name", "listen"]).ends_with("did you mean \"listen\"?"));
        assert!(unknown_problem("colour", &["name", "listen"]).ends_with("here; there are name, listen"));
    }

    #[test]
    fn an_error_is_one_line_and_drives_no_terminal_whatever_the_file_holds() {
        let files = ["[[rule\0\r \u{1b}[2Js]]\n", "a = \"\\u001b[2J\"\n", "\u{7f}\u{85} = 1\n", "a = 1\r2\n"];
        for text in files {
            let error = toml::from_str::<HashMap<String, u8>>(text).unwrap_err();
            let told = ConfigError::parse(Path::new("a.toml"), text, &error).to_string();
            assert!(told.starts_with("a.toml:1: ") && !told.contains(char::is_control), "{told:?}");
        }
    }

    #[test]
    fn an_error_leaves_out_what_it_does_not_know() {
        let wrong = || Wrong::new("url", "is none");
        assert_eq!(ConfigError::from(wrong()).to_string(), "url: is none");
        assert_eq!(
            ConfigError::at(Path::new("a.toml"), "\nurl = 1", wrong()).to_string(),
            "a.toml:2: url: is none"
        );
        assert_eq!(ConfigError::elsewhere("--set", wrong()).to_string(), "--set: url: is none");
    }
}
