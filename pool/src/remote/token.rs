//! The door's own token for one copy: sent to the server of the copy's URL, until the door brings a later one.
//!
//! A copy may wait in a queue, or go on, for longer than a token lives. So it is not one of the copy's fields, which stay as
//! they are, but a place where the newest token is; each request takes what is there at that moment.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use super::headers::{HeaderError, Headers};

/// A place for a token. Clones are the same place. Nothing of the token is ever printed.
#[derive(Clone)]
pub struct DoorToken(Arc<Mutex<Held>>);

#[derive(Clone, PartialEq, Eq)]
struct Held {
    /// `Authorization`, checked.
    field: Headers,
    ends_at: Option<SystemTime>,
}

impl Held {
    fn new(token: &str, ends_at: Option<SystemTime>) -> Result<Self, HeaderError> {
        Ok(Self { field: Headers::default().with_bearer(token)?, ends_at })
    }
}

impl DoorToken {
    /// A token and, if it is known, its end.
    pub fn new(token: &str, ends_at: Option<SystemTime>) -> Result<Self, HeaderError> {
        Ok(Self(Arc::new(Mutex::new(Held::new(token, ends_at)?))))
    }

    /// This one from now on.
    pub fn renew(&self, token: &str, ends_at: Option<SystemTime>) -> Result<(), HeaderError> {
        let held = Held::new(token, ends_at)?;
        *self.held() = held;
        Ok(())
    }

    /// The field to send.
    #[must_use]
    pub fn field(&self) -> Headers {
        self.held().field.clone()
    }

    /// When the token of this moment ends.
    #[must_use]
    pub fn ends_at(&self) -> Option<SystemTime> {
        self.held().ends_at
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        // Replaced whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for DoorToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("DoorToken")
    }
}

impl PartialEq for DoorToken {
    fn eq(&self, other: &Self) -> bool {
        if Arc::ptr_eq(&self.0, &other.0) {
            return true;
        }
        // One after the other: two that are compared both ways at once must not wait for each other.
        let own = self.held().clone();
        own == *other.held()
    }
}

impl Eq for DoorToken {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_token_takes_the_place_of_the_first_wherever_that_is_held() {
        let token = DoorToken::new("FIRST", Some(SystemTime::UNIX_EPOCH)).unwrap();
        let at_the_copy = token.clone();
        assert_eq!(at_the_copy.field().get("authorization"), Some("Bearer FIRST"));
        token.renew("SECOND", None).unwrap();
        assert_eq!(at_the_copy.field().get("authorization"), Some("Bearer SECOND"));
        assert_eq!(at_the_copy.ends_at(), None);
        assert!(!format!("{at_the_copy:?}").contains("SECOND"));
    }

    #[test]
    fn what_would_be_more_than_one_field_is_refused_and_changes_nothing() {
        let token = DoorToken::new("FIRST", None).unwrap();
        assert!(token.renew("SECOND\r\nHost: elsewhere", None).is_err());
        assert_eq!(token.field().get("authorization"), Some("Bearer FIRST"));
        assert!(DoorToken::new("a\nb", None).is_err());
    }
}
