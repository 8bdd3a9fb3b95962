//! Open files: as many as the process may have, and a word when that is too few.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::{info, warn};

/// What the process needs beside connections and transfers: rings, listeners, the index, doors, admin, logs.
const SPARE: u64 = 256;

/// Raises the soft limit to the hard one. Warns when that is less than `needed` and some to spare.
pub(super) fn raise(needed: u64) {
    let limit = getrlimit(Resource::Nofile);
    let Some(soft) = limit.current else { return };
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let now = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(error) => {
            info!(%error, "the limit of open files cannot be raised");
            Some(soft)
        }
    };
    let needed = needed.saturating_add(SPARE);
    if let Some(limit) = now.filter(|limit| *limit < needed) {
        warn!(
            limit,
            needed,
            "fewer open files are allowed than limits.connections and limits.transfers can need: raise LimitNOFILE= of \
             the service (ulimit -Hn), or lower them"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_becomes_the_hard_one() {
        let before = getrlimit(Resource::Nofile);
        raise(1);
        let after = getrlimit(Resource::Nofile);
        assert_eq!((after.current, after.maximum), (before.maximum, before.maximum));
    }
}
