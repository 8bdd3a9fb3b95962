//! The pools: whether they answer as they are configured, and how they are.

use std::time::Duration;

use crate::pools::Pool;
use crate::{Config, PoolConfig};
use anyhow::Context as _;
use penstock_door_proto::v1 as proto;
use penstock_service::check::Finding;
use proto::pool_status::Health;

/// For a pool to say how it is.
const PATIENCE: Duration = Duration::from_secs(5);
/// As pools are asked for it; the first answer is enough.
const PERIOD_SECONDS: i64 = 60;
const WHAT: &str = "pool";

/// Asks them, all at once.
pub fn look(config: &Config) -> anyhow::Result<Vec<Finding>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the command's runtime")?;
    Ok(runtime.block_on(futures_util::future::join_all(config.pools.iter().map(ask))))
}

async fn ask(config: &PoolConfig) -> Finding {
    let name = config.name.as_str();
    let pool = match Pool::new(config) {
        Ok(pool) => pool,
        Err(error) => return Finding::failed(WHAT, error.to_string(), "correct its table of [[pools]]"),
    };
    let away = |why: String| {
        let found = format!("{name}: {why}");
        let remedy = "start it (the door waits for it, and serves what the others have), or correct its table of [[pools]]";
        Finding::warning(WHAT, found, remedy)
    };
    match tokio::time::timeout(PATIENCE, status(&pool)).await {
        Err(_) => away(format!("no answer within {} s", PATIENCE.as_secs())),
        Ok(Err(error)) => away(error),
        Ok(Ok(status)) => judge(name, &status),
    }
}

async fn status(pool: &Pool) -> Result<proto::PoolStatus, String> {
    let period = Some(prost_types::Duration { seconds: PERIOD_SECONDS, nanos: 0 });
    // Without a door's name the pool does not take this for a door.
    let request = proto::WatchStatusRequest { period, door: None };
    let words = |status: tonic::Status| status.message().to_owned();
    let mut stream = pool.client().watch_status(request).await.map_err(words)?.into_inner();
    stream.message().await.map_err(words)?.ok_or_else(|| "it says nothing".to_owned())
}

fn judge(name: &str, status: &proto::PoolStatus) -> Finding {
    if status.pool_name != name {
        let found = format!("{name}: the pool there is called {}", status.pool_name);
        return Finding::failed(WHAT, found, "correct name, or where the pool is reached");
    }
    let problems = status.problems.join("; ");
    match status.health() {
        Health::Ok => {
            let free = status.space.as_ref().map_or(0, |space| space.available >> 20);
            let at = status.data_urls.join(", ");
            Finding::ok(WHAT, format!("{name}: well, {free} MiB available, clients are sent to {at}"))
        }
        health => Finding::warning(
            WHAT,
            format!("{name}: {} {problems}", health.as_str_name().trim_start_matches("HEALTH_")).trim_end(),
            "look at penstock-pool status there",
        ),
    }
}

#[cfg(test)]
mod tests {
    use penstock_service::check::Level;

    use super::*;

    #[test]
    fn a_pool_that_is_not_there_is_waited_for_and_said_so() {
        let text = "namespace = \"/n\"\nmacaroon_keys = \"/k\"\n[[pools]]\nname = \"p\"\nsocket = \"/nonexistent/s\"\n";
        let config = Config::parse(text, std::path::Path::new("door.toml")).unwrap();
        let findings = look(&config).unwrap();
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].level, Level::Warning, "{findings:?}");
        assert!(findings[0].found.starts_with("p: "), "{findings:?}");
    }

    #[test]
    fn a_pool_is_well_or_not_or_another() {
        let status = |name: &str, health: Health| proto::PoolStatus {
            pool_name: name.to_owned(),
            health: health.into(),
            problems: vec!["the disk".to_owned()],
            ..Default::default()
        };
        assert_eq!(judge("p", &status("p", Health::Ok)).level, Level::Ok);
        assert_eq!(judge("p", &status("q", Health::Ok)).level, Level::Failed);
        let finding = judge("p", &status("p", Health::ReadOnly));
        assert_eq!((finding.level, finding.found.as_str()), (Level::Warning, "p: READ_ONLY the disk"));
    }
}
