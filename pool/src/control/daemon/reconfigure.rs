//! What a new configuration changes while the pool runs, and what it can change at the next start only.
#![forbid(unsafe_code)]

use crate::config::{Config, QueueLimits};

/// The configuration that a running pool has after it was given another.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::control) struct Change {
    /// What it runs with from now on.
    pub running: Config,
    /// Keys whose new values wait for the next start.
    pub at_next_start: Vec<&'static str>,
}

impl Change {
    /// From what runs to what the file says now.
    pub fn between(old: &Config, new: &Config) -> Self {
        let mut running = old.clone();
        running.capacity = new.capacity;
        running.reserve_bytes = new.reserve_bytes;
        running.log.clone_from(&new.log);
        running.limits = new.limits;
        running.scrub = new.scrub;
        running.timeouts.client = new.timeouts.client;
        running.timeouts.linger = new.timeouts.linger;
        running.timeouts.claim = new.timeouts.claim;
        running.timeouts.drain = new.timeouts.drain;
        let same_queues = names(&old.queues) == names(&new.queues);
        if same_queues {
            running.queues.clone_from(&new.queues);
        }
        let at_next_start = differing(&running, new);
        Self { running, at_next_start }
    }
}

fn names(queues: &[QueueLimits]) -> Vec<&str> {
    let mut names: Vec<_> = queues.iter().map(|queue| queue.name.as_str()).collect();
    names.sort_unstable();
    names
}

/// Keys, or their tables, that are not the same.
fn differing(one: &Config, other: &Config) -> Vec<&'static str> {
    let differences = [
        ("name", one.name != other.name),
        ("root", one.root != other.root),
        ("max_file_size", one.max_file_size != other.max_file_size),
        ("shards", one.shards != other.shards),
        ("buffer_memory", one.buffer_memory_bytes != other.buffer_memory_bytes),
        ("disk_depth", one.disk_depth != other.disk_depth),
        ("records", one.records != other.records),
        ("io_mode", one.io_mode != other.io_mode),
        ("verify_reads", one.verify_reads != other.verify_reads),
        ("checksums", one.checksums != other.checksums),
        ("data.listen", one.data_listen != other.data_listen),
        ("data.advertise", one.data_advertise != other.data_advertise),
        ("data (TLS)", one.data_tls != other.data_tls),
        ("admin.listen", one.admin_listen != other.admin_listen),
        ("grpc", one.grpc != other.grpc),
        ("queues (their names)", one.queues != other.queues),
        ("timeouts.head", one.timeouts.head != other.timeouts.head),
        ("timeouts.idle", one.timeouts.idle != other.timeouts.idle),
        ("timeouts.keep_alive", one.timeouts.keep_alive != other.timeouts.keep_alive),
        ("doors", one.doors != other.doors),
        ("tpc", one.tpc != other.tpc),
        ("tracing", one.tracing != other.tracing),
    ];
    let keys: Vec<_> = differences.into_iter().filter(|(_, differs)| *differs).map(|(key, _)| key).collect();
    // A key that is missing above still is not passed over in silence.
    if keys.is_empty() && one != other { vec!["another key"] } else { keys }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn config() -> Config {
        Config::new("p", "/srv/p")
    }

    #[test]
    fn limits_count_at_once() {
        let mut new = config();
        new.capacity = Some(1 << 40);
        new.reserve_bytes = 0;
        new.limits.connections = 7;
        new.limits.transfers = 8;
        new.queues[0].max_running = 9;
        new.scrub.period = Duration::from_secs(1);
        new.timeouts.client = Duration::from_secs(2);
        new.timeouts.drain = Duration::from_secs(3);
        let change = Change::between(&config(), &new);
        assert_eq!(change, Change { running: new, at_next_start: Vec::new() });
    }

    #[test]
    fn what_the_running_pool_is_built_on_waits_for_the_next_start_and_is_named() {
        type Step = fn(&mut Config);
        let changes: [(&str, Step); 5] = [
            ("name", |config| config.name = "q".to_owned()),
            ("shards", |config| config.shards = 3),
            ("timeouts.idle", |config| config.timeouts.idle = Duration::from_secs(1)),
            ("data.listen", |config| config.data_listen.set_port(1)),
            ("tpc", |config| config.tpc.retries += 1),
        ];
        for (key, change) in changes {
            let mut new = config();
            change(&mut new);
            let change = Change::between(&config(), &new);
            assert_eq!(change, Change { running: config(), at_next_start: vec![key] });
        }
    }

    #[test]
    fn a_queue_more_or_less_waits_and_takes_no_limit_of_the_others_with_it() {
        let mut new = config();
        new.queues[0].max_running = 1;
        new.queues.push(QueueLimits { name: "tpc".to_owned(), max_running: 1, max_waiting: 1 });
        let change = Change::between(&config(), &new);
        assert_eq!(change.running, config());
        assert_eq!(change.at_next_start, ["queues (their names)"]);
    }
}
