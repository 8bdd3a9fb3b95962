//! Ids of replicas. They begin with the time, so that each is the next in the order of all that were given before: the
//! indexes over them, the namespace's and those of pools, then grow at their end. Ids without an order would go to a page
//! of their own each, which in a large namespace has to be read from the disk first and to be written back afterwards.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::checksum::to_hex;

/// Hexadecimal digits of the milliseconds since 1970, as in UUIDs of version 7 (RFC 9562 §5.7): enough until the year 10889.
const TIME_DIGITS: usize = 12;

/// A new one: the time, and 80 random bits, so that no two are alike whichever doors give them at one moment.
pub(super) fn replica_id() -> Result<String, getrandom::Error> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut random = [0; 10];
    getrandom::fill(&mut random)?;
    // A clock that is set to a time beyond that does no harm.
    let milliseconds = now.as_millis() & ((1 << (4 * TIME_DIGITS)) - 1);
    Ok(format!("{milliseconds:0TIME_DIGITS$x}{}", to_hex(&random)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_after_those_of_earlier_times_and_none_like_another() {
        let first: Vec<_> = (0..100).map(|_| replica_id().unwrap()).collect();
        std::thread::sleep(std::time::Duration::from_millis(2));
        let second = replica_id().unwrap();

        let different: std::collections::BTreeSet<_> = first.iter().collect();
        assert_eq!(different.len(), 100);
        for id in &first {
            assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
            assert!(*id < second, "{id} {second}");
        }
    }
}
