//! From the pool's own types to the messages of the contract.

use std::num::NonZeroU64;
use std::time::Duration;

use penstock_door_proto::v1;
use v1::transfer_event::Event;

use crate::checksum::Checksum;
use crate::scrub::{ScrubState, ScrubStatus};
use crate::transfer::clock::Moment;
use crate::transfer::link::LinkSnapshot;
use crate::transfer::record::{Cancelled, Failed, Finished, LimitShares};
use crate::transfer::request::KindName;
use crate::transfer::state::StateName;
use crate::transfer::{Limit, State, Transfer, Verdict};

/// A wall-clock time.
pub(in crate::control) fn timestamp(moment: Moment) -> Option<prost_types::Timestamp> {
    Some(moment.wall().into())
}

/// A time that the store has noted.
pub(in crate::control) fn stored_at(at: jiff::Timestamp) -> prost_types::Timestamp {
    std::time::SystemTime::from(at).into()
}

/// A length of time; lengths beyond 10 000 years are not known.
pub(in crate::control) fn length(duration: Duration) -> Option<prost_types::Duration> {
    prost_types::Duration::try_from(duration).ok()
}

/// A transfer's event at `at`.
pub(in crate::control) fn event(transfer: &Transfer, at: Moment, event: Event) -> v1::TransferEvent {
    v1::TransferEvent {
        transfer_id: transfer.request().id.as_str().to_owned(),
        at: timestamp(at),
        event: Some(event),
    }
}

/// The last event of an ended transfer; `None` while it has not ended.
pub(in crate::control) fn outcome(transfer: &Transfer) -> Option<v1::TransferEvent> {
    match transfer.state() {
        State::Queued | State::Ready { .. } | State::Running { .. } | State::Finishing { .. } => None,
        State::Done(record) => {
            let orphaned = transfer.verdict() == Some(Verdict::Timeout);
            let finished = finished(&record, orphaned, transfer);
            Some(event(transfer, record.finished_at, Event::Finished(finished)))
        }
        State::Failed(record) => {
            Some(event(transfer, record.failed_at, Event::Failed(failed(&record, transfer))))
        }
        State::Cancelled(record) => {
            Some(event(transfer, record.cancelled_at, Event::Cancelled(cancelled(&record, transfer))))
        }
    }
}

/// Whose traffic it is.
fn marked_as(transfer: &Transfer) -> Option<v1::MarkedAs> {
    transfer.mark().map(|mark| v1::MarkedAs {
        scitag: mark.tag().number().into(),
        experiment: mark.names().experiment.clone(),
        activity: mark.names().activity.clone(),
    })
}

fn finished(record: &Finished, orphaned: bool, transfer: &Transfer) -> v1::Finished {
    v1::Finished {
        size: record.size,
        checksums: checksums(&record.checksums),
        bytes_moved: record.summary.bytes_moved,
        started_at: timestamp(record.started_at),
        finished_at: timestamp(record.finished_at),
        transfer_time: length(record.summary.transfer_time),
        mean_read_bandwidth: record.summary.mean_read_bandwidth,
        mean_write_bandwidth: record.summary.mean_write_bandwidth,
        connections: connections(&record.summary.connections),
        limits: Some(limits(&record.summary.limits)),
        orphaned,
        marked_as: marked_as(transfer),
    }
}

fn failed(record: &Failed, transfer: &Transfer) -> v1::Failed {
    v1::Failed {
        code: record.failure.code.into(),
        text: record.failure.text().to_owned(),
        side: record.failure.side.into(),
        bytes_moved: record.summary.bytes_moved,
        started_at: record.started_at.and_then(timestamp),
        failed_at: timestamp(record.failed_at),
        http_status: record.failure.http_status.into(),
        retryable: record.failure.retryable,
        connections: connections(&record.summary.connections),
        limits: Some(limits(&record.summary.limits)),
        marked_as: marked_as(transfer),
    }
}

fn cancelled(record: &Cancelled, transfer: &Transfer) -> v1::Cancelled {
    v1::Cancelled {
        reason: record.reason.clone(),
        bytes_moved: record.summary.bytes_moved,
        cancelled_at: timestamp(record.cancelled_at),
        marked_as: marked_as(transfer),
    }
}

/// How far a transfer is.
pub(in crate::control) fn progress(transfer: &Transfer) -> v1::Progress {
    let state = transfer.state();
    let counters = transfer.progress();
    v1::Progress {
        state: state_number(state.name()).into(),
        description: description(&state, transfer).to_owned(),
        submitted_at: timestamp(transfer.submitted_at()),
        started_at: state.started_at().and_then(timestamp),
        last_moved_at: counters.last_moved_at().and_then(timestamp),
        bytes_moved: counters.bytes_moved(),
        bytes_requested: counters.bytes_requested(),
        connections: connections(&counters.connections()),
        limits: Some(limits(&transfer.limits())),
        retries: counters.retries(),
        marked_as: marked_as(transfer),
        queue_time: length(transfer.queue_time()),
        first_byte_time: counters.first_byte_time().and_then(length),
        transfer_time: counters.first_byte_time().and_then(|_| length(counters.transfer_time())),
        mean_read_bandwidth: counters.mean_read_bandwidth(),
        mean_write_bandwidth: counters.mean_write_bandwidth(),
    }
}

/// In words, for people.
fn description(state: &State, transfer: &Transfer) -> &'static str {
    let kind = transfer.request().kind.name();
    match state {
        State::Queued => "waiting for its turn in the pool's queue",
        State::Ready { .. } => match kind {
            KindName::Pull => "asking the source",
            KindName::Push => "asking the destination",
            KindName::LocalCopy => "about to copy the original",
            _ => "waiting for the client to come to the data port",
        },
        State::Running { .. } if transfer.open_claims() == 0 && kind == KindName::Get => {
            "waiting for the client's next request"
        }
        State::Running { .. } => match transfer.limits().now {
            None | Some(Limit::Source) => match kind {
                KindName::Pull => "moving bytes; waiting for the source",
                KindName::Push => "moving bytes; waiting for the destination",
                KindName::LocalCopy => "copying the original inside the pool",
                _ => "moving bytes; waiting for the client",
            },
            Some(Limit::Network) => "moving bytes; waiting for the network",
            Some(Limit::Disk) => "moving bytes; waiting for the disk",
            Some(Limit::Checksum) => "moving bytes; waiting for checksums",
            Some(Limit::Queue) => "moving bytes; waiting for buffers of the pool",
        },
        State::Finishing { .. } if kind == KindName::Push => {
            "all bytes are sent; verifying them with the destination"
        }
        State::Finishing { .. } => "all bytes have arrived; making them durable",
        State::Done(_) => "done",
        State::Failed(_) => "failed",
        State::Cancelled(_) => "cancelled",
    }
}

fn state_number(state: StateName) -> v1::TransferState {
    match state {
        StateName::Queued => v1::TransferState::Queued,
        StateName::Ready => v1::TransferState::Ready,
        StateName::Running => v1::TransferState::Running,
        StateName::Finishing => v1::TransferState::Finishing,
        StateName::Done => v1::TransferState::Done,
        StateName::Failed => v1::TransferState::Failed,
        StateName::Cancelled => v1::TransferState::Cancelled,
    }
}

/// The connections of a transfer.
pub(in crate::control) fn connections(connections: &[LinkSnapshot]) -> Vec<v1::Connection> {
    let endpoint = |address: std::net::SocketAddr| v1::Endpoint {
        address: address.ip().to_canonical().to_string(),
        port: address.port().into(),
    };
    let tcp = |tcp: crate::transfer::TcpInfo| v1::TcpInfo {
        rtt: length(tcp.rtt),
        retransmits: tcp.retransmits,
        delivery_rate_bytes_per_second: tcp.delivery_rate_bytes_per_second,
        bytes_acknowledged: tcp.bytes_acknowledged,
        congestion_window_segments: tcp.congestion_window_segments,
    };
    connections
        .iter()
        .map(|connection| v1::Connection {
            local: Some(endpoint(connection.info.local)),
            remote: Some(endpoint(connection.info.remote)),
            bytes_received: connection.bytes_received,
            bytes_sent: connection.bytes_sent,
            tcp: connection.tcp.map(tcp),
            tls: connection.info.tls,
            flow_label: connection.info.flow_label,
        })
        .collect()
}

fn limits(limits: &LimitShares) -> v1::Limits {
    let number = |limit| match limit {
        Limit::Source => v1::limits::Limit::Source,
        Limit::Network => v1::limits::Limit::Network,
        Limit::Disk => v1::limits::Limit::Disk,
        Limit::Checksum => v1::limits::Limit::Checksum,
        Limit::Queue => v1::limits::Limit::Queue,
    };
    v1::Limits {
        now: limits.now.map_or(v1::limits::Limit::Unspecified, number).into(),
        source: limits.share(Limit::Source),
        network: limits.share(Limit::Network),
        disk: limits.share(Limit::Disk),
        checksum: limits.share(Limit::Checksum),
        queue: limits.share(Limit::Queue),
    }
}

fn checksums(checksums: &[Checksum]) -> Vec<v1::Checksum> {
    checksums.iter().map(|checksum| (*checksum).into()).collect()
}

/// How the scrub stands.
pub(in crate::control) fn scrub(status: &ScrubStatus) -> v1::ScrubStatus {
    let state = match status.state {
        ScrubState::Idle => v1::scrub_status::State::Idle,
        ScrubState::Running => v1::scrub_status::State::Running,
        ScrubState::Stopped => v1::scrub_status::State::Stopped,
    };
    v1::ScrubStatus {
        state: state.into(),
        pass_started_at: status.pass_started_at.map(Into::into),
        pass_finished_at: status.pass_finished_at.map(Into::into),
        replicas_verified: status.replicas_verified,
        bytes_verified: status.bytes_verified,
        replicas_skipped: status.replicas_skipped,
        replicas_found_broken: status.replicas_found_broken,
        done: status.done,
        rate_bytes_per_second: status.rate_bytes_per_second.map_or(0, NonZeroU64::get),
        next_pass_at: status.next_pass_at.map(Into::into),
        passes: status.passes,
    }
}

/// The request without what nobody else may see: credentials, header values, source URLs' capabilities.
pub(in crate::control) fn redacted(request: &v1::TransferRequest) -> v1::TransferRequest {
    use v1::transfer_request::Kind;
    let hide_remote = |remote: &mut Option<v1::Remote>| {
        if let Some(remote) = remote {
            remote.credential = None;
            remote.url = without_query(&remote.url);
            for header in &mut remote.headers {
                header.value.clear();
            }
        }
    };
    let mut request = request.clone();
    match &mut request.kind {
        Some(Kind::Pull(pull)) => hide_remote(&mut pull.remote),
        Some(Kind::Push(push)) => hide_remote(&mut push.remote),
        Some(Kind::PoolToPool(copy)) => copy.source_url = without_query(&copy.source_url),
        Some(Kind::Get(_) | Kind::Put(_) | Kind::LocalCopy(_)) | None => {}
    }
    request
}

fn without_query(url: &str) -> String {
    url.split(['?', '#']).next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use v1::transfer_request::Kind;

    #[test]
    fn a_listed_request_shows_no_secret() {
        let remote = v1::Remote {
            url: "https://far.example.org/file?authz=SECRET".into(),
            headers: vec![v1::Header { name: "Authorization".into(), value: "Bearer SECRET".into() }],
            credential: Some(v1::Credential {
                kind: Some(v1::credential::Kind::BearerToken("SECRET".into())),
            }),
            ..Default::default()
        };
        let kinds = [
            Kind::Pull(v1::Pull { remote: Some(remote.clone()), ..Default::default() }),
            Kind::Push(v1::Push { remote: Some(remote) }),
            Kind::PoolToPool(v1::PoolToPool {
                source_url: "http://pool:2881/f?penstock-transfer=SECRET".into(),
                ..Default::default()
            }),
        ];
        for kind in kinds {
            let request = v1::TransferRequest { kind: Some(kind), ..Default::default() };
            // Prost's Debug hides fields marked debug_redact, so look at the bytes.
            let bytes = prost::Message::encode_to_vec(&redacted(&request));
            assert!(!String::from_utf8_lossy(&bytes).contains("SECRET"), "{request:?}");
        }
    }
}
