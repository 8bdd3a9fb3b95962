//! What is wrong with a configuration file: one line that names the file, the line, the key, and what would be right.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// A configuration that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    file: PathBuf,
    line: Option<usize>,
    key: String,
    problem: String,
}

impl ConfigError {
    /// The file cannot be read at all.
    pub(super) fn unreadable(file: &Path, error: &std::io::Error) -> Self {
        Self {
            file: file.to_owned(),
            line: None,
            key: String::new(),
            problem: format!("cannot be read: {error}"),
        }
    }

    /// A key whose value makes no sense. The line is where the key stands; without one, where its table begins.
    #[must_use]
    pub fn at(file: &Path, text: &str, key: &str, problem: impl Into<String>) -> Self {
        Self {
            file: file.to_owned(),
            line: line_of_key(text, key),
            key: key.to_owned(),
            problem: problem.into(),
        }
    }

    /// A value from outside the file that cannot be used: in the environment, or on the command line.
    pub(super) fn elsewhere(place: &str, key: &str, problem: impl Into<String>) -> Self {
        Self { file: PathBuf::from(place), line: None, key: key.to_owned(), problem: problem.into() }
    }

    /// What the parser found.
    pub(super) fn parse(file: &Path, text: &str, error: &toml::de::Error) -> Self {
        let span = error.span().unwrap_or(0..0);
        let (key, problem) = match unknown_field(error.message()) {
            Some((unknown, known)) => {
                let table = key_at(text, &span, true);
                (join(&table, unknown), unknown_problem(unknown, &known))
            }
            None => (key_at(text, &span, false), error.message().trim().replace('\n', "; ")),
        };
        Self { file: file.to_owned(), line: Some(line_at(text, span.start)), key, problem }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        write!(f, ": {}", self.problem)
    }
}

impl std::error::Error for ConfigError {}

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

/// Serde's words for a key that is none of ours, taken apart.
fn unknown_field(message: &str) -> Option<(&str, Vec<&str>)> {
    let rest = message.strip_prefix("unknown field `")?;
    let (unknown, rest) = rest.split_once('`')?;
    Some((unknown, rest.split('`').skip(1).step_by(2).collect()))
}

/// What is said of a key that is none of ours: the nearest one, or all.
pub(super) fn unknown_problem(unknown: &str, known: &[&str]) -> String {
    let nearest = known.iter().min_by_key(|candidate| distance(unknown, candidate));
    match nearest {
        // Half of it wrong is no slip of the pen.
        Some(name) if distance(unknown, name) <= unknown.len().max(3) / 2 => {
            format!("there is no such key; did you mean \"{name}\"?")
        }
        _ => format!("there is no such key here; there are {}", known.join(", ")),
    }
}

/// Edit distance (Levenshtein): insertions, deletions, replacements.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, a) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, b) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_single_slips() {
        let cases =
            [("", "", 0), ("a", "", 1), ("lisen", "listen", 1), ("abc", "cba", 2), ("root", "roots", 1)];
        for (a, b, expected) in cases {
            assert_eq!(distance(a, b), expected, "{a} {b}");
            assert_eq!(distance(b, a), expected, "{b} {a}");
        }
    }

    #[test]
    fn a_key_is_found_in_its_own_table() {
        let text = "listen = 1\n\n[data]\n# listen = 2\nlisten = 3\n[[queues]]\nname = 4\n";
        assert_eq!(line_of_key(text, "listen"), Some(1));
        assert_eq!(line_of_key(text, "data.listen"), Some(5));
        assert_eq!(line_of_key(text, "data.advertise"), Some(3));
        assert_eq!(line_of_key(text, "queues.name"), Some(7));
        assert_eq!(line_of_key(text, "grpc"), None);
    }
}
