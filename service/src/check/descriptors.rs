//! Open files: whether the limit of this process is enough for what the configuration allows.

use rustix::process::{Resource, getrlimit};

use super::Finding;

/// Holds the hard limit, which daemons raise theirs to, against what can be needed. `keys`: what decides over that, as in
/// "limits.connections and limits.transfers".
#[must_use]
pub fn look(needed: u64, keys: &str) -> Finding {
    match getrlimit(Resource::Nofile).maximum {
        Some(limit) if limit < needed => Finding::warning(
            "open files",
            format!("{limit} are allowed; {keys} can need {needed}"),
            "raise LimitNOFILE= of the unit (ulimit -Hn in a shell), or lower them",
        ),
        Some(limit) => Finding::ok("open files", format!("{limit} are allowed, {needed} can be needed")),
        None => Finding::ok("open files", "any number is allowed"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    #[test]
    fn a_limit_that_is_too_low_is_told_with_the_keys_that_need_more() {
        assert_eq!(look(1, "limits.connections").level, Level::Ok);
        if getrlimit(Resource::Nofile).maximum.is_some() {
            let finding = look(u64::MAX, "limits.connections");
            assert_eq!(finding.level, Level::Warning);
            assert!(finding.found.contains("limits.connections can need"), "{finding:?}");
        }
    }
}
