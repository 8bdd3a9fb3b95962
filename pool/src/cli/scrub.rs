//! `scrub status|start|stop`: the verification of all replicas.

use std::process::ExitCode;

use penstock_door_proto::v1;
use v1::scrub_status::State;

use super::options::Scrub;
use super::reach::Client;
use super::show::{self, bytes, print};
use super::{json, refused};

/// Carries it out and tells how the scrub stands then.
pub async fn run(client: &mut Client, wish: Scrub, json: bool) -> anyhow::Result<ExitCode> {
    let status = match wish {
        Scrub::Status => client.get_scrub(v1::GetScrubRequest {}).await,
        Scrub::Start { restart, rate } => {
            let rate_bytes_per_second = rate.unwrap_or(0);
            client.start_scrub(v1::StartScrubRequest { restart, rate_bytes_per_second }).await
        }
        Scrub::Stop => client.stop_scrub(v1::StopScrubRequest {}).await,
    };
    let status = status.map_err(refused)?.into_inner();
    print(&if json { format!("{}\n", json::scrub(&status)) } else { facts(&status) })?;
    Ok(ExitCode::SUCCESS)
}

/// In one line.
pub fn line(status: &v1::ScrubStatus) -> String {
    let state = json::scrub_state(status.state());
    match status.state() {
        State::Running => format!("{state}, {:.1} % done", status.done * 100.0),
        State::Stopped => format!("{state} at {:.1} %", status.done * 100.0),
        State::Idle | State::Unspecified => {
            format!(
                "{state}; passes done: {}, next {}",
                status.passes,
                show::time(status.next_pass_at.as_ref())
            )
        }
    }
}

fn facts(status: &v1::ScrubStatus) -> String {
    let known = |at: &Option<prost_types::Timestamp>| match at {
        Some(_) => show::time(at.as_ref()),
        None => String::new(),
    };
    let rate = match status.rate_bytes_per_second {
        0 => "switched off (scrub.rate is 0)".to_owned(),
        rate => format!("at most {}/s", bytes(rate)),
    };
    show::facts(&[
        ("state", json::scrub_state(status.state())),
        ("done", format!("{:.1} %", status.done * 100.0)),
        ("pass started", known(&status.pass_started_at)),
        ("pass finished", known(&status.pass_finished_at)),
        ("verified", format!("{} replicas, {}", status.replicas_verified, bytes(status.bytes_verified))),
        ("broken", format!("{} replicas", status.replicas_found_broken)),
        ("skipped", format!("{} replicas that transfers used", status.replicas_skipped)),
        ("rate", rate),
        ("next pass", known(&status.next_pass_at)),
        ("passes", status.passes.to_string()),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_running_pass_is_told_with_its_numbers_and_without_what_is_not_known() {
        let status = v1::ScrubStatus {
            state: State::Running.into(),
            done: 0.125,
            replicas_verified: 3,
            bytes_verified: 3 << 30,
            rate_bytes_per_second: 50 << 20,
            ..Default::default()
        };
        let text = facts(&status);
        for line in [
            "state     running",
            "done      12.5 %",
            "verified  3 replicas, 3.0 GiB",
            "rate      at most 50.0 MiB/s",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        assert!(!text.contains("finished"), "{text}");
        assert_eq!(super::line(&status), "running, 12.5 % done");
    }
}
