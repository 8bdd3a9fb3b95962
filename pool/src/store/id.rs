//! The name of a replica, as doors give it.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// The longest id, in bytes.
pub const REPLICA_ID_MAX_BYTES: usize = 64;

/// A replica's id: 1 to 64 of `A-Z a-z 0-9 _ -`, so that it is a safe file name and needs no quoting anywhere.
///
/// The door chooses it; it is unique for all time, so no id ever stands for other bytes than at first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplicaId(Box<str>);

/// Why a text is no replica id.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidReplicaId {
    /// It has no character at all.
    #[error("the replica id is empty: 1 to {REPLICA_ID_MAX_BYTES} of A-Z a-z 0-9 _ - are needed")]
    Empty,
    /// It has too many characters.
    #[error("the replica id has {0} bytes: at most {REPLICA_ID_MAX_BYTES} are allowed")]
    TooLong(usize),
    /// It has a character that is not allowed.
    #[error("the replica id has {character:?} at byte {position}: only A-Z a-z 0-9 _ - are allowed")]
    Character {
        /// The first one that is not allowed.
        character: char,
        /// Its byte position, from 0.
        position: usize,
    },
}

impl ReplicaId {
    /// Takes a text as id if it is one.
    pub fn new(text: &str) -> Result<Self, InvalidReplicaId> {
        if text.is_empty() {
            return Err(InvalidReplicaId::Empty);
        }
        if text.len() > REPLICA_ID_MAX_BYTES {
            return Err(InvalidReplicaId::TooLong(text.len()));
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        match text.char_indices().find(|&(_, c)| !allowed(c)) {
            Some((position, character)) => Err(InvalidReplicaId::Character { character, position }),
            None => Ok(Self(text.into())),
        }
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ReplicaId {
    type Err = InvalidReplicaId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text)
    }
}

impl fmt::Display for ReplicaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_of_allowed_characters_is_taken_as_it_is() {
        let longest = "x".repeat(64);
        for text in ["0", "000044A1B2", "a_b-C", "-", longest.as_str()] {
            assert_eq!(ReplicaId::new(text).unwrap().as_str(), text);
        }
    }

    #[test]
    fn what_is_wrong_with_an_id_is_named() {
        let too_long = "x".repeat(65);
        let cases = [
            ("", "the replica id is empty: 1 to 64 of A-Z a-z 0-9 _ - are needed"),
            (too_long.as_str(), "the replica id has 65 bytes: at most 64 are allowed"),
            ("..", "the replica id has '.' at byte 0: only A-Z a-z 0-9 _ - are allowed"),
            ("a/b", "the replica id has '/' at byte 1: only A-Z a-z 0-9 _ - are allowed"),
            ("ab\0", "the replica id has '\\0' at byte 2: only A-Z a-z 0-9 _ - are allowed"),
            ("é", "the replica id has 'é' at byte 0: only A-Z a-z 0-9 _ - are allowed"),
        ];
        for (text, expected) in cases {
            assert_eq!(ReplicaId::new(text).unwrap_err().to_string(), expected);
        }
    }
}
