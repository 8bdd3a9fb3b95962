//! `replicas list|show|verify|delete`.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use penstock_door_proto::v1;

use super::options::{List, Replicas};
use super::reach::Client;
use super::show::{self, ProgressLine, bytes, plain, print};
use super::table::{Align, Table};
use super::{json, refused};

/// Carries it out.
pub async fn run(client: &mut Client, wish: Replicas, json: bool) -> anyhow::Result<ExitCode> {
    match wish {
        Replicas::List(wish) => list(client, wish, json).await,
        Replicas::Show { ids } => show_each(client, &ids, json).await,
        Replicas::Verify { ids, compute } => verify(client, &ids, &compute, json).await,
        Replicas::Delete { ids, yes, missing_ok } => delete(client, &ids, yes, missing_ok, json).await,
    }
}

async fn list(client: &mut Client, wish: List, json: bool) -> anyhow::Result<ExitCode> {
    let states = wish.state.iter().map(|state| v1::ReplicaState::from(*state).into()).collect();
    let limit = wish.limit.unwrap_or(u64::MAX);
    // The pool knows no choice of suspect ones: then the limit is ours to keep.
    let asked = if wish.suspect { 0 } else { wish.limit.unwrap_or(0) };
    let request = v1::ListReplicasRequest { after_id: wish.after.unwrap_or_default(), limit: asked, states };
    let mut table = Table::new([
        ("REPLICA", Align::Left),
        ("STATE", Align::Left),
        ("SIZE", Align::Right),
        ("ADLER32", Align::Left),
        ("VERIFIED", Align::Left),
        ("PATH", Align::Left),
    ]);
    let mut listed = 0;
    let mut stream = client.list_replicas(request).await.map_err(refused)?.into_inner();
    while listed < limit
        && let Some(info) = stream.message().await.map_err(refused)?
    {
        if wish.suspect && info.suspect_because.is_empty() {
            continue;
        }
        listed += 1;
        print(&if json { format!("{}\n", json::replica(&info)) } else { table.add(row(&info)) })?;
    }
    print(&table.finish())?;
    Ok(ExitCode::SUCCESS)
}

fn row(info: &v1::ReplicaInfo) -> [String; 6] {
    let mut state = json::replica_state(info.state());
    if !info.suspect_because.is_empty() {
        state.push_str(", suspect");
    }
    let checksums = json::checksums(&info.checksums);
    let adler32 = checksums.get("adler32").and_then(|hex| hex.as_str()).unwrap_or("-");
    [
        info.replica_id.clone(),
        state,
        bytes(info.size),
        adler32.to_owned(),
        show::time(info.verified_at.as_ref()),
        plain(&info.path),
    ]
}

async fn show_each(client: &mut Client, ids: &[String], json: bool) -> anyhow::Result<ExitCode> {
    for (number, id) in ids.iter().enumerate() {
        let request = v1::StatReplicaRequest { replica_id: id.clone() };
        let info = client.stat_replica(request).await.map_err(refused)?.into_inner();
        if json {
            print(&format!("{}\n", json::replica(&info)))?;
        } else {
            let gap = if number == 0 { "" } else { "\n" };
            print(&format!("{gap}{}", facts(&info)))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn facts(info: &v1::ReplicaInfo) -> String {
    let checksums = json::checksums(&info.checksums);
    let checksums =
        checksums.iter().map(|(name, hex)| format!("{name}:{}", hex.as_str().unwrap_or_default()));
    let checked = match info.block_checksums {
        true => "known: every read of it is verified",
        false => "not known yet: the scrub or \"replicas verify\" computes them",
    };
    show::facts(&[
        ("replica", info.replica_id.clone()),
        ("state", json::replica_state(info.state())),
        ("broken because", info.broken_because.clone()),
        ("suspect because", info.suspect_because.clone()),
        (
            "size",
            format!("{} bytes ({}), {} on the disk", info.size, bytes(info.size), bytes(info.allocated)),
        ),
        ("checksums", checksums.collect::<Vec<_>>().join(" ")),
        ("of its blocks", checked.to_owned()),
        ("created", show::time(info.created_at.as_ref())),
        ("verified", show::time(info.verified_at.as_ref())),
        ("by transfer", info.transfer_id.clone()),
        ("under path", plain(&info.path)),
        ("storage class", plain(&info.storage_class)),
        ("read by", format!("{} transfers", info.readers)),
    ])
}

async fn verify(
    client: &mut Client,
    ids: &[String],
    compute: &[v1::ChecksumAlgorithm],
    json: bool,
) -> anyhow::Result<ExitCode> {
    let mut all_good = true;
    for id in ids {
        let compute = compute.iter().map(|algorithm| (*algorithm).into()).collect();
        let request = v1::VerifyReplicaRequest { replica_id: id.clone(), compute };
        let mut stream = client.verify_replica(request).await.map_err(refused)?.into_inner();
        let mut line = ProgressLine::new();
        let mut result = None;
        while let Some(event) = stream.message().await.map_err(refused)? {
            line.show(format!("{id}: {} of {}", bytes(event.bytes_read), bytes(event.bytes_total)));
            result = event.result;
        }
        drop(line);
        let result = result.with_context(|| format!("{id}: the pool ended without a result"))?;
        all_good &= result.good;
        print(&if json { format!("{}\n", json::verification(id, &result)) } else { verdict(id, &result) })?;
    }
    Ok(if all_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn verdict(id: &str, result: &v1::VerifyResult) -> String {
    let checksums = json::checksums(&result.checksums);
    let checksums: Vec<String> =
        checksums.iter().map(|(name, hex)| format!("{name}:{}", hex.as_str().unwrap_or_default())).collect();
    let mut text =
        format!("{id}  {}  {}\n", if result.good { "good" } else { "BROKEN" }, checksums.join(" "));
    for problem in &result.problems {
        text.push_str(&format!("  {problem}\n"));
    }
    text
}

async fn delete(
    client: &mut Client,
    ids: &[String],
    yes: bool,
    missing_ok: bool,
    json: bool,
) -> anyhow::Result<ExitCode> {
    for id in ids {
        if !yes && !confirmed(client, id).await? {
            eprintln!("{id} is left as it is");
            continue;
        }
        let request = v1::DeleteReplicaRequest { replica_id: id.clone(), missing_ok };
        let existed = client.delete_replica(request).await.map_err(refused)?.into_inner().existed;
        print(&match (json, existed) {
            (true, _) => format!("{}\n", serde_json::json!({ "replica_id": id, "existed": existed })),
            (false, true) => format!("{id} is deleted\n"),
            (false, false) => format!("{id} was not there\n"),
        })?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Asks at the terminal; where there is none, only --yes will do.
async fn confirmed(client: &mut Client, id: &str) -> anyhow::Result<bool> {
    if !io::stdin().is_terminal() {
        bail!("a replica is deleted for good, and no name goes with it: say --yes where nobody can be asked");
    }
    let request = v1::StatReplicaRequest { replica_id: id.to_owned() };
    let what = match client.stat_replica(request).await {
        Ok(info) => {
            let info = info.into_inner();
            let state = json::replica_state(info.state());
            format!("{state}, {}, made under {}", bytes(info.size), plain(&info.path))
        }
        Err(status) if status.code() == tonic::Code::NotFound => "not there".to_owned(),
        Err(status) => return Err(refused(status)),
    };
    eprint!("delete {id} ({what}) for good? A door's name for it stays, and is dead then. [y/N] ");
    io::stderr().flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info() -> v1::ReplicaInfo {
        v1::ReplicaInfo {
            replica_id: "r1".into(),
            state: v1::ReplicaState::Broken.into(),
            size: 1536,
            allocated: 4096,
            checksums: vec![v1::Checksum { algorithm: 1, value: vec![3, 0xda, 1, 0x95] }],
            broken_because: "block 0 differs".into(),
            path: "/data/a".into(),
            ..Default::default()
        }
    }

    #[test]
    fn a_replica_is_one_row() {
        assert_eq!(row(&info()), ["r1", "broken", "1.5 KiB", "03da0195", "never", "/data/a"]);
        let suspect = v1::ReplicaInfo { suspect_because: "x".into(), ..info() };
        assert_eq!(row(&suspect)[1], "broken, suspect");
    }

    #[test]
    fn all_that_is_known_of_a_replica_is_told_and_nothing_else() {
        let text = facts(&info());
        for line in [
            "broken because  block 0 differs",
            "size            1536 bytes (1.5 KiB), 4.0 KiB on the disk",
            "checksums       adler32:03da0195",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        assert!(!text.contains("suspect") && !text.contains("storage class"), "{text}");
    }

    #[test]
    fn a_broken_replica_stands_out() {
        let result =
            v1::VerifyResult { good: false, checksums: vec![], problems: vec!["adler32 differs".into()] };
        assert_eq!(verdict("r1", &result), "r1  BROKEN  \n  adler32 differs\n");
    }
}
