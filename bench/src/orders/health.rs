//! Whether a pool can be measured: one that takes no files cannot.

use penstock_door_proto::v1 as proto;
use proto::pool_status::Health;

/// An error that says why, and what to do, unless the pool takes files.
pub fn must_take_files(status: &proto::PoolStatus) -> anyhow::Result<()> {
    let (pool, problems) = (&status.pool_name, status.problems.join("; "));
    match status.health() {
        Health::Ok => Ok(()),
        Health::Draining => anyhow::bail!(
            "pool {pool} is draining and takes no new transfers; let it take them again with penstock-pool resume"
        ),
        Health::ReadOnly | Health::Failed | Health::Unspecified if !problems.is_empty() => {
            anyhow::bail!("pool {pool} is not well: {problems}")
        }
        Health::ReadOnly | Health::Failed | Health::Unspecified => {
            anyhow::bail!("pool {pool} is not well and does not say why; its log does (penstock-pool status)")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_that_takes_no_files_is_not_measured_and_it_is_said_what_to_do() {
        let said = |health: Health, problem: Option<&str>| {
            let status = proto::PoolStatus {
                pool_name: "p".to_owned(),
                health: health.into(),
                problems: problem.into_iter().map(str::to_owned).collect(),
                ..Default::default()
            };
            must_take_files(&status).map_err(|error| error.to_string())
        };
        assert_eq!(said(Health::Ok, Some("1 replica is suspect")), Ok(()), "reading and writing go on");
        for (health, problem, expected) in [
            (Health::Draining, None, "penstock-pool resume"),
            (Health::ReadOnly, Some("writes fail (EIO)"), "pool p is not well: writes fail (EIO)"),
            (Health::Failed, None, "its log does"),
        ] {
            let error = said(health, problem).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
