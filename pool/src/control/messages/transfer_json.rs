//! A transfer as JSON: one shape for the records of ended transfers, the admin port's `/transfers`, the status page and
//! `penstock-pool transfers --json`. docs/records.md describes it field by field.
//!
//! Made from the contract's message, so that a pool and an admin's command at the other end of a socket tell the same.
//! Nothing secret can be in it: [`v1::TransferInfo`] holds requests without credentials, header values and URL queries.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use penstock_door_proto::v1;
use serde_json::{Map, Value, json};
use v1::failed::Side;
use v1::limits::Limit;
use v1::transfer_event::Event;
use v1::transfer_request::Kind;

use crate::checksum::Checksum;
use crate::transfer::request::{DEFAULT_QUEUE, KindName};

/// SciTags: the number of a mark holds the activity in its last six bits, the experiment before them.
const ACTIVITY_BITS: u32 = 6;

/// All that is known of a transfer.
#[must_use]
pub fn transfer(info: &v1::TransferInfo) -> Map<String, Value> {
    let (no_request, no_progress) = (v1::TransferRequest::default(), v1::Progress::default());
    let request = info.request.as_ref().unwrap_or(&no_request);
    let progress = info.progress.as_ref().unwrap_or(&no_progress);
    let event = info.outcome.as_ref().and_then(|outcome| outcome.event.as_ref());
    let mut object = Map::new();
    put_request(&mut object, request);
    put_progress(&mut object, progress);
    put_end(&mut object, event);
    put_limits(&mut object, limits_of(event).or(progress.limits.as_ref()));
    let connections = connections_of(event).unwrap_or(&progress.connections);
    object.insert("connections".into(), connections.iter().map(connection).collect());
    object
}

/// Who wants what.
fn put_request(object: &mut Map<String, Value>, request: &v1::TransferRequest) {
    let (no_client, no_door) = (v1::Client::default(), v1::DoorIdentity::default());
    let client = request.client.as_ref().unwrap_or(&no_client);
    let door = request.door.as_ref().unwrap_or(&no_door);
    let remote = match &request.kind {
        Some(Kind::Pull(pull)) => pull.remote.as_ref().map(|remote| remote.url.as_str()),
        Some(Kind::Push(push)) => push.remote.as_ref().map(|remote| remote.url.as_str()),
        Some(Kind::PoolToPool(copy)) => Some(copy.source_url.as_str()),
        Some(Kind::Get(_) | Kind::Put(_) | Kind::LocalCopy(_)) | None => None,
    };
    let queue = if request.queue.is_empty() { DEFAULT_QUEUE } else { &request.queue };
    let mark = request.marking.as_ref().map(|marking| marking.scitag).filter(|scitag| *scitag != 0);
    let fields = [
        ("transfer", request.transfer_id.as_str().into()),
        ("session", text(&request.session_id)),
        ("kind", request.kind.as_ref().map(|kind| kind_name(kind).as_str()).into()),
        ("replica", text(&request.replica_id)),
        ("path", text(&request.transfer_path)),
        ("billing_path", text(&request.billing_path)),
        ("storage_class", text(&request.storage_class)),
        ("queue", queue.into()),
        ("priority", request.priority.into()),
        ("door", text(&door.name)),
        ("subject", text(&client.subject)),
        ("issuer", text(&client.issuer)),
        ("groups", client.groups.clone().into()),
        ("client", text(&client.address)),
        ("client_protocol", text(&client.protocol)),
        ("user_agent", text(&client.user_agent)),
        ("client_info", text(&client.client_info)),
        ("remote_url", remote.map_or(Value::Null, |url| text(without_query(url)))),
        ("scitag", mark.into()),
        ("experiment", mark.map(|mark| mark >> ACTIVITY_BITS).into()),
        ("activity", mark.map(|mark| mark & ((1 << ACTIVITY_BITS) - 1)).into()),
    ];
    object.extend(fields.map(|(name, value)| (name.to_owned(), value)));
}

/// How far it is.
fn put_progress(object: &mut Map<String, Value>, progress: &v1::Progress) {
    let transfer_time = seconds(progress.transfer_time.as_ref());
    let rate = transfer_time.filter(|time| *time > 0.0).map(|time| progress.bytes_moved as f64 / time);
    let bandwidth = |bandwidth: f64| (bandwidth > 0.0).then_some(bandwidth);
    let fields = [
        ("state", state_word(progress.state()).into()),
        ("submitted_at", time(progress.submitted_at.as_ref())),
        ("started_at", time(progress.started_at.as_ref())),
        ("last_moved_at", time(progress.last_moved_at.as_ref())),
        ("queue_seconds", seconds(progress.queue_time.as_ref()).into()),
        ("first_byte_seconds", seconds(progress.first_byte_time.as_ref()).into()),
        ("transfer_seconds", transfer_time.into()),
        ("bytes_moved", progress.bytes_moved.into()),
        ("bytes_requested", progress.bytes_requested.into()),
        ("rate_bytes_per_second", rate.into()),
        ("disk_read_bytes_per_second", bandwidth(progress.mean_read_bandwidth).into()),
        ("disk_write_bytes_per_second", bandwidth(progress.mean_write_bandwidth).into()),
        ("retries", progress.retries.into()),
        ("experiment_name", name(progress, |marked| &marked.experiment)),
        ("activity_name", name(progress, |marked| &marked.activity)),
    ];
    object.extend(fields.map(|(name, value)| (name.to_owned(), value)));
}

/// What a part of its mark is called.
fn name(progress: &v1::Progress, of: impl Fn(&v1::MarkedAs) -> &String) -> Value {
    progress.marked_as.as_ref().map_or(Value::Null, |marked| text(of(marked)))
}

/// How it ended; all null while it has not.
fn put_end(object: &mut Map<String, Value>, event: Option<&Event>) {
    let (mut ended_at, mut why, mut error) = (Value::Null, Value::Null, Value::Null);
    let (mut size, mut checksums, mut orphaned) = (Value::Null, Value::Null, false);
    match event {
        Some(Event::Finished(finished)) => {
            ended_at = time(finished.finished_at.as_ref());
            size = finished.size.into();
            checksums = checksums_by_name(&finished.checksums).into();
            orphaned = finished.orphaned;
        }
        Some(Event::Failed(failed)) => {
            ended_at = time(failed.failed_at.as_ref());
            why = failed.text.as_str().into();
            error = json!({
                "code": word(failed.code().as_str_name(), "FAILURE_CODE_"),
                "side": side_word(failed.side()),
                "text": failed.text,
                "http_status": failed.http_status,
                "retryable": failed.retryable,
            });
        }
        Some(Event::Cancelled(cancelled)) => {
            ended_at = time(cancelled.cancelled_at.as_ref());
            why = cancelled.reason.as_str().into();
        }
        Some(Event::Queued(_) | Event::Ready(_) | Event::Started(_) | Event::Progress(_)) | None => {}
    }
    let fields = [
        ("ended_at", ended_at),
        ("size", size),
        ("checksums", checksums),
        ("orphaned", orphaned.into()),
        ("why", why),
        ("error", error),
    ];
    object.extend(fields.map(|(name, value)| (name.to_owned(), value)));
}

/// What holds it back now or, of an ended one, what did so most.
fn put_limits(object: &mut Map<String, Value>, limits: Option<&v1::Limits>) {
    let none = v1::Limits::default();
    let limits = limits.unwrap_or(&none);
    let shares = [
        ("source", limits.source),
        ("network", limits.network),
        ("disk", limits.disk),
        ("checksum", limits.checksum),
        ("queue", limits.queue),
    ];
    let most = shares.iter().filter(|(_, share)| *share > 0.0).max_by(|a, b| a.1.total_cmp(&b.1));
    let word = limit_word(limits.now()).or(most.map(|(name, _)| *name));
    let shares: Map<String, Value> =
        shares.into_iter().map(|(name, share)| (name.to_owned(), rounded(share).into())).collect();
    object.insert("limited_by".into(), word.into());
    object.insert("limits".into(), shares.into());
}

fn limits_of(event: Option<&Event>) -> Option<&v1::Limits> {
    match event? {
        Event::Finished(finished) => finished.limits.as_ref(),
        Event::Failed(failed) => failed.limits.as_ref(),
        Event::Cancelled(_) | Event::Queued(_) | Event::Ready(_) | Event::Started(_) | Event::Progress(_) => {
            None
        }
    }
}

/// Those of the end, where it tells of any.
fn connections_of(event: Option<&Event>) -> Option<&Vec<v1::Connection>> {
    let connections = match event? {
        Event::Finished(finished) => &finished.connections,
        Event::Failed(failed) => &failed.connections,
        Event::Cancelled(_) | Event::Queued(_) | Event::Ready(_) | Event::Started(_) | Event::Progress(_) => {
            return None;
        }
    };
    Some(connections).filter(|connections| !connections.is_empty())
}

fn connection(connection: &v1::Connection) -> Value {
    let tcp = connection.tcp.as_ref();
    json!({
        "local": endpoint(connection.local.as_ref()),
        "remote": endpoint(connection.remote.as_ref()),
        "bytes_received": connection.bytes_received,
        "bytes_sent": connection.bytes_sent,
        "tls": connection.tls,
        "flow_label": Some(connection.flow_label).filter(|label| *label != 0),
        "rtt_seconds": tcp.and_then(|tcp| seconds(tcp.rtt.as_ref())),
        "retransmits": tcp.map(|tcp| tcp.retransmits),
        "delivery_rate_bytes_per_second": tcp.map(|tcp| tcp.delivery_rate_bytes_per_second),
        "congestion_window_segments": tcp.map(|tcp| tcp.congestion_window_segments),
    })
}

/// What the kind of a request is called.
#[must_use]
pub(in crate::control) fn kind_name(kind: &Kind) -> KindName {
    match kind {
        Kind::Get(_) => KindName::Get,
        Kind::Put(_) => KindName::Put,
        Kind::Pull(_) => KindName::Pull,
        Kind::Push(_) => KindName::Push,
        Kind::PoolToPool(_) => KindName::PoolToPool,
        Kind::LocalCopy(_) => KindName::LocalCopy,
    }
}

/// A transfer's state in one word.
#[must_use]
pub fn state_word(state: v1::TransferState) -> String {
    word(state.as_str_name(), "TRANSFER_STATE_")
}

/// What holds a transfer back, in one word.
#[must_use]
pub fn limit_word(limit: Limit) -> Option<&'static str> {
    match limit {
        Limit::Unspecified => None,
        Limit::Source => Some("source"),
        Limit::Network => Some("network"),
        Limit::Disk => Some("disk"),
        Limit::Checksum => Some("checksum"),
        Limit::Queue => Some("queue"),
    }
}

fn side_word(side: Side) -> Option<String> {
    match side {
        Side::Unspecified => None,
        Side::Client | Side::Source | Side::Destination | Side::Network | Side::Pool | Side::Door => {
            Some(word(side.as_str_name(), "SIDE_"))
        }
    }
}

/// An enum's value by its name in the contract, without the name of the enum.
#[must_use]
pub fn word(name: &str, prefix: &str) -> String {
    name.strip_prefix(prefix).unwrap_or(name).to_ascii_lowercase().replace('_', "-")
}

/// Checksums: hex by name.
#[must_use]
pub fn checksums_by_name(checksums: &[v1::Checksum]) -> Map<String, Value> {
    let typed = checksums.iter().filter_map(|checksum| Checksum::try_from(checksum.clone()).ok());
    typed.map(|checksum| (checksum.algorithm().name().into(), checksum.hex().to_string().into())).collect()
}

/// As a socket address is written.
#[must_use]
pub fn endpoint(endpoint: Option<&v1::Endpoint>) -> Option<String> {
    let endpoint = endpoint?;
    let address: IpAddr = endpoint.address.parse().ok()?;
    let port = u16::try_from(endpoint.port).ok()?;
    Some(SocketAddr::new(address, port).to_string())
}

/// RFC 3339, or null.
#[must_use]
pub fn time(at: Option<&prost_types::Timestamp>) -> Value {
    let at = at.and_then(|at| jiff::Timestamp::new(at.seconds, at.nanos).ok());
    at.map_or(Value::Null, |at| at.to_string().into())
}

fn seconds(length: Option<&prost_types::Duration>) -> Option<f64> {
    let length = Duration::try_from(*length?).ok()?;
    Some(length.as_secs_f64())
}

/// To a thousandth: a share of a time is not known better.
fn rounded(share: f64) -> f64 {
    (share * 1000.0).round() / 1000.0
}

/// A URL's query may be a capability; requests come without it, and this makes sure.
fn without_query(url: &str) -> &str {
    url.split(['?', '#']).next().unwrap_or_default()
}

fn text(text: &str) -> Value {
    if text.is_empty() { Value::Null } else { text.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pull() -> v1::TransferInfo {
        let remote =
            v1::Remote { url: "https://far.example.org/f?authz=SECRET".into(), ..Default::default() };
        v1::TransferInfo {
            request: Some(v1::TransferRequest {
                transfer_id: "t1".into(),
                replica_id: "r1".into(),
                transfer_path: "/data/a".into(),
                marking: Some(v1::Marking { scitag: (2 << 6) | 17 }),
                kind: Some(Kind::Pull(v1::Pull { remote: Some(remote), ..Default::default() })),
                ..Default::default()
            }),
            progress: Some(v1::Progress {
                state: v1::TransferState::Failed.into(),
                bytes_moved: 3000,
                transfer_time: Some(prost_types::Duration { seconds: 1, nanos: 500_000_000 }),
                ..Default::default()
            }),
            outcome: Some(v1::TransferEvent {
                event: Some(Event::Failed(v1::Failed {
                    code: v1::FailureCode::RemoteRefused.into(),
                    side: Side::Source.into(),
                    text: "403 Forbidden".into(),
                    http_status: 502,
                    limits: Some(v1::Limits { source: 0.75, disk: 0.25, ..Default::default() }),
                    ..Default::default()
                })),
                ..Default::default()
            }),
        }
    }

    #[test]
    fn a_failed_copy_tells_what_failed_on_which_side_and_who_held_it_back() {
        let json = Value::from(transfer(&pull()));
        assert_eq!((json["kind"].as_str(), json["state"].as_str()), (Some("pull"), Some("failed")));
        assert_eq!(json["error"]["code"], "remote-refused");
        assert_eq!(json["error"]["side"], "source");
        assert_eq!(json["why"], "403 Forbidden");
        assert_eq!(json["limited_by"], "source");
        assert_eq!(json["limits"]["disk"], 0.25);
        assert_eq!(json["rate_bytes_per_second"], 2000.0);
    }

    #[test]
    fn a_mark_is_told_as_experiment_and_activity() {
        let json = Value::from(transfer(&pull()));
        assert_eq!((json["scitag"].as_u64(), json["experiment"].as_u64()), (Some(145), Some(2)));
        assert_eq!(json["activity"], 17);
    }

    #[test]
    fn a_query_never_gets_here() {
        let json = Value::from(transfer(&pull()));
        assert_eq!(json["remote_url"], "https://far.example.org/f");
        assert!(!json.to_string().contains("SECRET"));
    }

    #[test]
    fn of_a_transfer_of_which_nothing_is_known_every_field_is_there_all_the_same() {
        let (empty, full) = (transfer(&v1::TransferInfo::default()), transfer(&pull()));
        assert_eq!(empty.keys().collect::<Vec<_>>(), full.keys().collect::<Vec<_>>());
    }
}
