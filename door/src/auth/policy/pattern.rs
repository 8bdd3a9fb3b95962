//! Whom a rule names: a text, all texts below one, or anybody.

use serde::{Deserialize, Deserializer, de};

/// `"text"` itself; `"/text/*"` what begins with `/text/`; `"*"` anybody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pattern {
    /// The same in every byte.
    Exactly(String),
    /// What begins so. It ends with a slash, so that whole components count.
    Below(String),
    /// Whatever is there.
    Anything,
}

impl Pattern {
    /// Reads it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let sound = !text.is_empty() && !text.chars().any(char::is_control);
        match text.strip_suffix('*') {
            _ if !sound => Err("a text is empty, or holds a control character".to_owned()),
            Some("") => Ok(Self::Anything),
            Some(above) if above.ends_with('/') => Ok(Self::Below(above.to_owned())),
            // A star elsewhere is itself: certificates may name "CN=*.example.org".
            _ => Ok(Self::Exactly(text.to_owned())),
        }
    }

    /// Whether a text is named.
    pub fn names(&self, text: &str) -> bool {
        match self {
            Pattern::Exactly(this) => this == text,
            Pattern::Below(above) => text.len() > above.len() && text.starts_with(above),
            Pattern::Anything => true,
        }
    }
}

/// One pattern or several, any of which may name somebody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patterns(Vec<Pattern>);

impl Patterns {
    /// Whether one of them names a text.
    pub fn name(&self, text: &str) -> bool {
        self.0.iter().any(|pattern| pattern.names(text))
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    pub fn read<'de, T, D: Deserializer<'de>>(
        deserializer: D,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Vec<T>, D::Error> {
        let texts = match Self::deserialize(deserializer) {
            Ok(Self::One(text)) => vec![text],
            Ok(Self::Many(texts)) => texts,
            Err(_) => return Err(de::Error::custom("expected a text, or a list of texts")),
        };
        if texts.is_empty() {
            return Err(de::Error::custom("an empty list names nothing: leave the key out"));
        }
        texts.iter().map(|text| read(text)).collect::<Result<_, _>>().map_err(de::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Patterns {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        OneOrMany::read(deserializer, Pattern::parse).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::Pattern;

    #[test]
    fn a_pattern_names_itself_what_is_below_or_anybody() {
        let table = [
            ("alice", "alice", true),
            ("alice", "alice2", false),
            ("alice", "Alice", false),
            ("*", "anything", true),
            ("/atlas/*", "/atlas/prod", true),
            ("/atlas/*", "/atlas/prod/x", true),
            ("/atlas/*", "/atlas", false),
            ("/atlas/*", "/atlas/", false),
            ("/atlas/*", "/atlas2/x", false),
            ("/atlas*", "/atlas2", false),
            ("/O=Grid/CN=*.example.org", "/O=Grid/CN=host.example.org", false),
            ("/O=Grid/CN=*.example.org", "/O=Grid/CN=*.example.org", true),
        ];
        for (pattern, text, names) in table {
            assert_eq!(Pattern::parse(pattern).unwrap().names(text), names, "{pattern} {text}");
        }
        assert!(Pattern::parse("").is_err() && Pattern::parse("a\n").is_err());
    }
}
