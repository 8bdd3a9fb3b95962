//! Namespaces as the EUGridPMA writes them (`<hash>.namespaces`): for each authority regular expressions of the names
//! that it may certify.
//!
//! ```text
//! TO Issuer "/C=XX/CN=Some CA" \
//!   PERMIT Subject "/C=XX/O=Site/.*"
//! ```

use regex::{Regex, RegexBuilder};

use super::namespace::PolicyError;

/// Most memory of one expression, in bytes.
const MAX_EXPRESSION_BYTES: usize = 1 << 20;

/// One statement.
#[derive(Debug, Clone)]
pub struct Statement {
    /// The authority's name; `None`: the one whose file it is.
    pub issuer: Option<String>,
    /// PERMIT, not DENY.
    pub permit: bool,
    /// All of a name.
    pub subject: Regex,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Word {
    Plain(String),
    Quoted(String),
}

/// Reads a file.
pub fn parse(text: &str) -> Result<Vec<Statement>, PolicyError> {
    let words = words(text)?;
    let mut statements = Vec::new();
    let mut rest = words.as_slice();
    while let Some((line, first)) = rest.first() {
        let wrong = |problem| PolicyError { line: *line, problem };
        let [_, second, issuer, verb, object, subject] =
            rest.get(..6).ok_or_else(|| wrong("the statement is not complete"))?
        else {
            return Err(wrong("the statement is not complete"));
        };
        if !(first.is("TO") && second.1.is("Issuer") && object.1.is("Subject")) {
            return Err(wrong("a statement is TO Issuer \"…\" PERMIT Subject \"…\""));
        }
        let issuer = match &issuer.1 {
            Word::Quoted(name) => Some(name.clone()),
            word if word.is("SELF") => None,
            Word::Plain(_) => return Err(wrong("the issuer is a name in quotation marks, or SELF")),
        };
        let permit = match &verb.1 {
            word if word.is("PERMIT") => true,
            word if word.is("DENY") => false,
            _ => return Err(wrong("it says neither PERMIT nor DENY")),
        };
        let Word::Quoted(expression) = &subject.1 else {
            return Err(wrong("the subject is an expression in quotation marks"));
        };
        let subject = RegexBuilder::new(&format!("^(?:{})$", super::name::canonical(expression)))
            .size_limit(MAX_EXPRESSION_BYTES)
            .build()
            .map_err(|_| wrong("the subject is no regular expression that this door understands"))?;
        statements.push(Statement { issuer, permit, subject });
        rest = &rest[6..];
    }
    Ok(statements)
}

impl Word {
    /// Keywords are written in either case.
    fn is(&self, keyword: &str) -> bool {
        matches!(self, Word::Plain(word) if word.eq_ignore_ascii_case(keyword))
    }
}

/// The words of a file with their lines, counted from 1.
fn words(text: &str) -> Result<Vec<(usize, Word)>, PolicyError> {
    let mut words = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line_number = index + 1;
        let mut rest = line.trim();
        while !rest.is_empty() && !rest.starts_with('#') {
            // At the end of a line: the statement goes on, as it does anyhow.
            if rest == "\\" {
                break;
            }
            if let Some(quoted) = rest.strip_prefix('"') {
                let (inside, behind) = quoted
                    .split_once('"')
                    .ok_or(PolicyError { line: line_number, problem: "a quotation mark is missing" })?;
                words.push((line_number, Word::Quoted(inside.to_owned())));
                rest = behind.trim_start();
            } else {
                let end = rest.find(|sign: char| sign.is_whitespace() || sign == '"').unwrap_or(rest.len());
                let (word, behind) = rest.split_at(end);
                words.push((line_number, Word::Plain(word.to_owned())));
                rest = behind.trim_start();
            }
        }
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_read_over_several_lines() {
        let text = "#NAMESPACES-VERSION: 1.0\n\
            TO Issuer \"/C=XX/CN=Some CA\" \\\n  PERMIT Subject \"/C=XX/.*\"\n\
            to issuer self deny subject \"/C=XX/CN=bad\" # why\n";
        let statements = parse(text).unwrap();
        assert_eq!(statements[0].issuer.as_deref(), Some("/C=XX/CN=Some CA"));
        assert!(statements[0].permit && statements[0].subject.is_match("/C=XX/CN=paul"));
        assert!(!statements[0].subject.is_match("x/C=XX/CN=paul"), "all of the name has to fit");
        assert!(statements[1].issuer.is_none() && !statements[1].permit);
        assert_eq!(statements.len(), 2);
    }

    #[test]
    fn what_cannot_be_understood_is_named_with_its_line() {
        for (text, line) in [
            ("TO Issuer \"/CN=CA\"", 1),
            ("\nTO Issuer \"/CN=CA PERMIT Subject \"x\"", 2),
            ("TO Issuer /CN=CA PERMIT Subject \"x\"", 1),
            ("TO Issuer \"/CN=CA\" ALLOW Subject \"x\"", 1),
            ("TO Issuer \"/CN=CA\" PERMIT Subject x", 1),
            ("TO Issuer \"/CN=CA\" PERMIT Subject \"(\"", 1),
            ("TO Issuer \"/CN=CA\" PERMIT Subject \"(?=x)\"", 1),
            ("FROM Issuer \"/CN=CA\" PERMIT Subject \"x\"", 1),
        ] {
            assert_eq!(parse(text).unwrap_err().line, line, "{text}");
        }
    }
}
