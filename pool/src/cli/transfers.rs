//! `transfers`, `transfer show|cancel`: what the pool is doing, once or again and again.

use std::collections::HashMap;
use std::io::{self, IsTerminal as _};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::bail;
use penstock_door_proto::v1;
use serde_json::{Map, Value};

use super::options::{Filter, SortKey, Transfer, Transfers};
use super::reach::Client;
use super::show::{self, bytes, plain, print};
use super::table::{Align, Table};
use super::{json, refused};

/// Rows of a table that is drawn anew on a terminal, unless told otherwise: more would run out of sight.
const WATCHED_ROWS: usize = 40;
/// Around them: totals, headings, how many are not shown, and where the cursor stands.
const LINES_BESIDE_ROWS: usize = 5;
/// Clears a terminal and goes to its first line.
const CLEAR: &str = "\x1b[H\x1b[2J";

/// A transfer as JSON tells it.
type Row = Map<String, Value>;

/// Lists transfers.
pub async fn list(client: &mut Client, wish: &Transfers, json: bool) -> anyhow::Result<ExitCode> {
    let Some(period) = wish.watch else {
        let rows = chosen(all(client).await?, wish);
        print(&if json { lines(&rows) } else { table(&rows, wish.limit) })?;
        return Ok(ExitCode::SUCCESS);
    };
    let on_terminal = io::stdout().is_terminal() && !json;
    let mut seen = Seen::default();
    let mut ticks = tokio::time::interval(period);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let mut rows = all(client).await?;
        seen.put_rates(&mut rows, Instant::now());
        let rows = chosen(rows, wish);
        if json {
            print(&lines(&rows))?;
            continue;
        }
        let now = format!("{:.0}", jiff::Timestamp::now());
        let shown = |limit| format!("{now}  {}\n{}\n", totals(&rows), table(&rows, limit));
        print(&if on_terminal {
            // At each turn, as people change the size of their windows.
            let (width, height) = terminal_size();
            format!("{CLEAR}{}", cut(&shown(wish.limit.or(Some(rows_for(height)))), width))
        } else {
            shown(wish.limit)
        })?;
    }
}

/// Columns and lines of the terminal; `usize::MAX` for what it does not tell.
fn terminal_size() -> (usize, usize) {
    let told = |size: u16| if size == 0 { usize::MAX } else { usize::from(size) };
    let size = rustix::termios::tcgetwinsize(io::stdout());
    size.map_or((usize::MAX, usize::MAX), |size| (told(size.ws_col), told(size.ws_row)))
}

/// How many transfers a screen has room for beside the lines around them.
fn rows_for(height: usize) -> usize {
    height.saturating_sub(LINES_BESIDE_ROWS).clamp(1, WATCHED_ROWS)
}

/// Cuts each line to the width of a terminal: a row that goes on in the next line hides what stands below what.
fn cut(text: &str, width: usize) -> String {
    let line = |line: &str| line.chars().take(width).chain(['\n']).collect::<String>();
    text.lines().map(line).collect()
}

/// Tells of one transfer, or ends it.
pub async fn one(client: &mut Client, wish: Transfer, json: bool) -> anyhow::Result<ExitCode> {
    match wish {
        Transfer::Show { id } => {
            let found = all(client).await?.into_iter().find(|row| text(row, "transfer") == id);
            let Some(row) = found else {
                bail!("transfer {id} is not known to this pool: it has ended, and its door knows how")
            };
            print(&if json { lines(&[row]) } else { facts(&row) })?;
            Ok(ExitCode::SUCCESS)
        }
        Transfer::Cancel { id, reason } => {
            let request = v1::CancelRequest { transfer_id: id.clone(), reason };
            let cancelled = client.cancel(request).await.map_err(refused)?.into_inner().cancelled;
            print(&match (json, cancelled) {
                (true, _) => {
                    format!("{}\n", serde_json::json!({ "transfer": id, "cancelled": cancelled }))
                }
                (false, true) => format!("{id} is cancelled\n"),
                (false, false) => format!("{id}: nothing to cancel: it has ended, or is not known here\n"),
            })?;
            Ok(if cancelled { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
    }
}

async fn all(client: &mut Client) -> anyhow::Result<Vec<Row>> {
    let mut stream = client.list(v1::ListRequest::default()).await.map_err(refused)?.into_inner();
    let mut rows = Vec::new();
    while let Some(info) = stream.message().await.map_err(refused)? {
        rows.push(json::transfer(&info));
    }
    Ok(rows)
}

/// Those that are wished for, in the order that is wished for.
fn chosen(rows: Vec<Row>, wish: &Transfers) -> Vec<Row> {
    let has_ended = |row: &Row| matches!(text(row, "state"), "done" | "failed" | "cancelled");
    let wanted =
        |row: &Row| (wish.all || !has_ended(row)) && wish.filter.iter().all(|filter| holds(filter, row));
    let mut rows: Vec<Row> = rows.into_iter().filter(wanted).collect();
    // The pool gives the oldest first, and sorting leaves equals as they are.
    match wish.sort {
        SortKey::Age => {}
        SortKey::Rate => rows.sort_by(|a, b| descending(a, b, "rate_bytes_per_second")),
        SortKey::Bytes => rows.sort_by(|a, b| descending(a, b, "bytes_moved")),
        SortKey::State => rows.sort_by(|a, b| text(a, "state").cmp(text(b, "state"))),
        SortKey::Kind => rows.sort_by(|a, b| text(a, "kind").cmp(text(b, "kind"))),
        SortKey::Who => rows.sort_by(|a, b| who(a).cmp(who(b))),
        SortKey::Path => rows.sort_by(|a, b| text(a, "path").cmp(text(b, "path"))),
    }
    if wish.reverse {
        rows.reverse();
    }
    rows
}

fn descending(a: &Row, b: &Row, name: &str) -> std::cmp::Ordering {
    number(b, name).unwrap_or(-1.0).total_cmp(&number(a, name).unwrap_or(-1.0))
}

/// Words and numbers are compared as they are; names, paths and addresses have only to contain what is looked for.
fn holds(Filter { field, text: wanted }: &Filter, row: &Row) -> bool {
    match row.get(*field) {
        Some(Value::String(have)) => match *field {
            "kind" | "state" | "limited_by" | "queue" => have == wanted,
            _ => have.to_lowercase().contains(&wanted.to_lowercase()),
        },
        Some(Value::Number(have)) => have.to_string() == *wanted,
        Some(_) | None => false,
    }
}

fn text<'a>(row: &'a Row, name: &str) -> &'a str {
    row.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn number(row: &Row, name: &str) -> Option<f64> {
    row.get(name).and_then(Value::as_f64)
}

fn who(row: &Row) -> &str {
    match text(row, "subject") {
        "" => text(row, "client"),
        subject => subject,
    }
}

/// Where the bytes come from or go to: the first connection's other end, or else who asked the door.
fn other_end(row: &Row) -> &str {
    let connection = row.get("connections").and_then(|connections| connections.get(0));
    let remote = connection.and_then(|connection| connection.get("remote")).and_then(Value::as_str);
    remote.unwrap_or_else(|| text(row, "client"))
}

fn size(row: &Row, name: &str) -> String {
    row.get(name).and_then(Value::as_u64).map_or_else(|| "?".to_owned(), bytes)
}

fn rate(row: &Row) -> String {
    match number(row, "rate_bytes_per_second") {
        Some(rate) => format!("{}/s", bytes(rate.max(0.0) as u64)),
        None => "-".to_owned(),
    }
}

fn or_dash(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { plain(text) }
}

fn lines(rows: &[Row]) -> String {
    rows.iter().map(|row| format!("{}\n", Value::from(row.clone()))).collect()
}

fn totals(rows: &[Row]) -> String {
    let count = |state: &str| rows.iter().filter(|row| text(row, "state") == state).count();
    let sum = |kinds: [&str; 2]| {
        let rates = rows.iter().filter(|row| kinds.contains(&text(row, "kind")));
        let rate = rates.filter_map(|row| number(row, "rate_bytes_per_second")).sum::<f64>();
        format!("{}/s", bytes(rate.max(0.0) as u64))
    };
    format!(
        "{} running, {} waiting; in {}, out {}",
        count("running") + count("finishing"),
        count("queued") + count("ready"),
        sum(["put", "pull"]),
        sum(["get", "push"])
    )
}

fn table(rows: &[Row], limit: Option<usize>) -> String {
    let mut table = Table::new([
        ("TRANSFER", Align::Left),
        ("KIND", Align::Left),
        ("STATE", Align::Left),
        ("MOVED", Align::Right),
        ("OF", Align::Right),
        ("RATE", Align::Right),
        ("LIMITED BY", Align::Left),
        ("WHO", Align::Left),
        ("OTHER END", Align::Left),
        ("EXPERIMENT", Align::Right),
        ("PATH", Align::Left),
    ]);
    let shown = limit.unwrap_or(rows.len()).min(rows.len());
    let mut page = String::new();
    for row in &rows[..shown] {
        let experiment = row.get("experiment").and_then(Value::as_u64);
        page.push_str(&table.add([
            text(row, "transfer").to_owned(),
            text(row, "kind").to_owned(),
            text(row, "state").to_owned(),
            size(row, "bytes_moved"),
            size(row, "bytes_requested"),
            rate(row),
            or_dash(text(row, "limited_by")),
            or_dash(who(row)),
            or_dash(other_end(row)),
            experiment.map_or_else(|| "-".to_owned(), |experiment| experiment.to_string()),
            plain(text(row, "path")),
        ]));
    }
    page.push_str(&table.finish());
    if shown < rows.len() {
        page.push_str(&format!("and {} more\n", rows.len() - shown));
    }
    page
}

/// All that is known of one.
fn facts(row: &Row) -> String {
    let word = |name: &str| plain(text(row, name));
    let counted =
        |name: &str| row.get(name).and_then(Value::as_u64).map_or_else(String::new, |n| n.to_string());
    let seconds =
        |name: &str| number(row, name).map_or_else(String::new, |seconds| format!("{seconds:.3} s"));
    let shares: Vec<String> = row
        .get("limits")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .filter_map(|(name, share)| share.as_f64().map(|share| (name, share)))
        .filter(|(_, share)| *share > 0.0)
        .map(|(name, share)| format!("{name} {:.1} %", share * 100.0))
        .collect();
    let mut facts = vec![
        ("transfer", word("transfer")),
        ("session", word("session")),
        ("kind", word("kind")),
        ("state", word("state")),
        ("why", word("why")),
        ("replica", word("replica")),
        ("path", word("path")),
        ("storage class", word("storage_class")),
        ("subject", word("subject")),
        ("issuer", word("issuer")),
        ("client", word("client")),
        ("user agent", word("user_agent")),
        ("door", word("door")),
        ("remote", word("remote_url")),
        ("queue", word("queue")),
        ("experiment", counted("experiment")),
        ("activity", counted("activity")),
        ("submitted", word("submitted_at")),
        ("started", word("started_at")),
        ("last moved", word("last_moved_at")),
        ("ended", word("ended_at")),
        ("in the queue", seconds("queue_seconds")),
        ("first byte after", seconds("first_byte_seconds")),
        ("moved", format!("{} of {}", size(row, "bytes_moved"), size(row, "bytes_requested"))),
        ("rate", rate(row)),
        ("limited by", word("limited_by")),
        ("shares", shares.join(", ")),
        ("retries", counted("retries")),
    ];
    for connection in row.get("connections").and_then(Value::as_array).into_iter().flatten() {
        let end = |name: &str| connection.get(name).and_then(Value::as_str).unwrap_or("?");
        let tls = connection.get("tls").and_then(Value::as_bool).unwrap_or(false);
        let rtt = connection.get("rtt_seconds").and_then(Value::as_f64);
        let rtt = rtt.map_or_else(String::new, |seconds| format!(", round trip {:.1} ms", seconds * 1e3));
        let again = connection.get("retransmits").and_then(Value::as_u64);
        let again = again.map_or_else(String::new, |count| format!(", {count} segments sent again"));
        let tls = if tls { ", TLS" } else { "" };
        facts.push(("connection", format!("{} – {}{tls}{rtt}{again}", end("local"), end("remote"))));
    }
    show::facts(&facts)
}

/// How far transfers were at the last look, for their rates since.
#[derive(Debug, Default)]
struct Seen {
    at: Option<Instant>,
    bytes: HashMap<String, u64>,
}

impl Seen {
    /// Puts the rates since the last look in the place of those since the start.
    fn put_rates(&mut self, rows: &mut [Row], now: Instant) {
        let elapsed = self.at.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        let mut bytes = HashMap::with_capacity(rows.len());
        for row in rows {
            let id = text(row, "transfer").to_owned();
            let moved = row.get("bytes_moved").and_then(Value::as_u64).unwrap_or(0);
            if let Some(before) = self.bytes.get(&id)
                && !elapsed.is_zero()
            {
                let rate = moved.saturating_sub(*before) as f64 / elapsed.as_secs_f64();
                row.insert("rate_bytes_per_second".into(), rate.into());
            }
            bytes.insert(id, moved);
        }
        *self = Self { at: Some(now), bytes };
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn row(id: &str, state: &str, kind: &str, moved: u64, rate: f64) -> Row {
        let value = json!({
            "transfer": id, "state": state, "kind": kind, "bytes_moved": moved, "bytes_requested": null,
            "rate_bytes_per_second": rate, "subject": "ada", "client": "192.0.2.7", "path": format!("/data/{id}"),
            "limited_by": "disk", "experiment": 2,
        });
        value.as_object().unwrap().clone()
    }

    fn rows() -> Vec<Row> {
        vec![
            row("a", "running", "put", 10, 5.0),
            row("b", "queued", "get", 0, 0.0),
            row("c", "failed", "get", 99, 9.0),
            row("d", "running", "get", 30, 7.0),
        ]
    }

    fn wish(words: &str) -> Transfers {
        use crate::cli::options::{Command, Options, Running};
        use clap::Parser as _;
        let words = std::iter::once("penstock-pool").chain(["transfers"]).chain(words.split_whitespace());
        match Options::try_parse_from(words).unwrap().command {
            Some(Command::Running(Running::Transfers(wish))) => wish,
            other => panic!("{other:?}"),
        }
    }

    fn ids(words: &str) -> String {
        chosen(rows(), &wish(words)).iter().map(|row| text(row, "transfer")).collect()
    }

    #[test]
    fn ended_transfers_are_shown_on_request_and_the_oldest_first() {
        assert_eq!(ids(""), "abd");
        assert_eq!(ids("--all"), "abcd");
        assert_eq!(ids("--all --reverse"), "dcba");
    }

    #[test]
    fn they_are_sorted_and_filtered_by_what_people_ask_for() {
        let cases = [
            ("--sort rate", "dab"),
            ("--all --sort bytes", "cdab"),
            ("--filter kind=get", "bd"),
            ("--filter kind=get --filter state=running", "d"),
            ("--filter path=/data/a", "a"),
            ("--filter subject=ADA", "abd"),
            ("--filter experiment=2", "abd"),
            ("--filter experiment=20", ""),
            ("--filter limited-by=disk", "abd"),
        ];
        for (words, expected) in cases {
            assert_eq!(ids(words), expected, "{words}");
        }
    }

    #[test]
    fn a_table_says_how_many_it_leaves_out() {
        let text = table(&rows(), Some(1));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert!(lines[0].starts_with("TRANSFER  KIND") && lines[1].starts_with("a         put"), "{text}");
        assert_eq!(lines[2], "and 3 more");
    }

    #[test]
    fn a_watched_table_keeps_to_its_terminal() {
        assert_eq!(cut("one two\nthé end\n", 3), "one\nthé\n");
        assert_eq!(cut("one\n", usize::MAX), "one\n");
        for (height, rows) in [(0, 1), (5, 1), (14, 9), (200, WATCHED_ROWS), (usize::MAX, WATCHED_ROWS)] {
            assert_eq!(rows_for(height), rows, "{height}");
        }
    }

    #[test]
    fn who_watches_sees_the_rates_since_the_last_look() {
        let (mut seen, start) = (Seen::default(), Instant::now());
        let mut first = rows();
        seen.put_rates(&mut first, start);
        assert_eq!(number(&first[0], "rate_bytes_per_second"), Some(5.0), "nothing to compare with");
        let mut second = vec![row("a", "running", "put", 40, 5.0)];
        seen.put_rates(&mut second, start + Duration::from_secs(2));
        assert_eq!(number(&second[0], "rate_bytes_per_second"), Some(15.0));
    }

    #[test]
    fn what_strangers_have_named_cannot_drive_the_terminal() {
        let mut evil = row("a", "running", "put", 1, 1.0);
        evil.insert("path".into(), "/x\u{1b}[2J\nforged".into());
        let shown = table(&[evil.clone()], None) + &facts(&evil);
        assert!(!shown.contains('\u{1b}') && !shown.contains("\nforged"), "{shown:?}");
    }
}
