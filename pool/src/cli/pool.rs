//! `status`, `drain`, `resume`, `recover`: the pool as a whole.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use penstock_door_proto::v1;
use serde_json::json;
use v1::pool_status::Health;

use super::options::Drain;
use super::reach::Client;
use super::show::{self, ProgressLine, bytes, print};
use super::{json, refused};

/// How often it is looked whether a drain has come to its end.
const DRAIN_PERIOD: Duration = Duration::from_millis(500);
/// The pool tells its state at once; what comes after is not waited for.
const STATUS_PERIOD: Duration = Duration::from_secs(3600);

/// Tells how the pool is.
pub async fn status(client: &mut Client, json: bool) -> anyhow::Result<ExitCode> {
    let request =
        v1::WatchStatusRequest { period: prost_types::Duration::try_from(STATUS_PERIOD).ok(), door: None };
    let mut stream = client.watch_status(request).await.map_err(refused)?.into_inner();
    let status = stream.message().await.map_err(refused)?.context("the pool did not tell its state")?;
    let text = if json {
        format!("{}\n", serde_json::Value::from(json::status(&status)))
    } else {
        overview(&status)
    };
    print(&text)?;
    Ok(match status.health() {
        Health::Ok | Health::Draining => ExitCode::SUCCESS,
        Health::ReadOnly | Health::Failed | Health::Unspecified => ExitCode::FAILURE,
    })
}

fn overview(status: &v1::PoolStatus) -> String {
    let mut facts = vec![
        ("pool", format!("{}, version {}", status.pool_name, status.version)),
        ("running since", show::time(status.started_at.as_ref())),
        ("health", json::health(status.health())),
    ];
    facts.extend(status.problems.iter().map(|problem| ("problem", problem.clone())));
    facts.push(("data port", status.data_urls.join(" ")));
    if let Some(space) = &status.space {
        let v1::Space { total, used, reserved, available } = *space;
        facts.push((
            "space",
            format!(
                "{} available of {}; {} used, {} reserved by uploads",
                bytes(available),
                bytes(total),
                bytes(used),
                bytes(reserved)
            ),
        ));
    }
    facts.push((
        "replicas",
        format!(
            "{}; {} broken, {} suspect, {} orphaned",
            status.replicas, status.broken_replicas, status.suspect_replicas, status.orphaned_replicas
        ),
    ));
    if let Some(scrub) = &status.scrub {
        facts.push(("scrub", super::scrub::line(scrub)));
    }
    if let Some(load) = &status.load {
        let rate = |per_second: f64| bytes(per_second.max(0.0) as u64);
        facts.push((
            "load",
            format!(
                "in {}/s, out {}/s; buffers {:.0} %, busiest shard {:.0} %",
                rate(load.bytes_in_per_second),
                rate(load.bytes_out_per_second),
                load.buffers_used * 100.0,
                load.busiest_shard * 100.0
            ),
        ));
    }
    for queue in &status.queues {
        let v1::Queue { name, running, limit, waiting } = queue;
        facts.push(("queue", format!("{name}: {running} of {limit} running, {waiting} waiting")));
    }
    facts.push(("transfers", format!("{} wait for their door's word", status.unacknowledged)));
    show::facts(&facts)
}

/// Takes no new transfers.
pub async fn drain(client: &mut Client, wish: &Drain, json: bool) -> anyhow::Result<ExitCode> {
    let deadline = wish.deadline.map(prost_types::Duration::try_from).transpose();
    let deadline = deadline.context("--deadline: is too long")?;
    let mut request = v1::DrainRequest { reason: wish.reason.clone(), deadline };
    let mut remaining = client.drain(request.clone()).await.map_err(refused)?.into_inner().remaining;
    let mut line = ProgressLine::new();
    // Its time runs from the first call.
    request.deadline = None;
    while wish.wait && remaining > 0 {
        line.show(format!("{remaining} transfers still run or wait"));
        tokio::time::sleep(DRAIN_PERIOD).await;
        remaining = client.drain(request.clone()).await.map_err(refused)?.into_inner().remaining;
    }
    drop(line);
    print(&match json {
        true => format!("{}\n", json!({ "remaining": remaining })),
        false => format!("the pool takes no new transfers; {remaining} still run or wait\n"),
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Takes new transfers again.
pub async fn resume(client: &mut Client, json: bool) -> anyhow::Result<ExitCode> {
    client.resume(v1::ResumeRequest {}).await.map_err(refused)?;
    print(if json { "{}\n" } else { "the pool takes new transfers\n" })?;
    Ok(ExitCode::SUCCESS)
}

/// Leaves the read-only state.
pub async fn recover(client: &mut Client, reason: String, json: bool) -> anyhow::Result<ExitCode> {
    let recovered =
        client.recover(v1::RecoverRequest { reason }).await.map_err(refused)?.into_inner().recovered;
    print(&match (json, recovered) {
        (true, _) => format!("{}\n", json!({ "recovered": recovered })),
        (false, true) => "the disk writes: the pool takes uploads again\n".to_owned(),
        (false, false) => "the pool was not read-only\n".to_owned(),
    })?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_overview_begins_with_what_is_wrong() {
        let status = v1::PoolStatus {
            pool_name: "pool01".into(),
            version: "1".into(),
            health: Health::ReadOnly.into(),
            problems: vec!["writes fail".into(), "1 replica is broken".into()],
            replicas: 7,
            broken_replicas: 1,
            ..Default::default()
        };
        let text = overview(&status);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[2], "health         read-only");
        assert_eq!(lines[3], "problem        writes fail");
        assert_eq!(lines[5], "replicas       7; 1 broken, 0 suspect, 0 orphaned");
    }
}
