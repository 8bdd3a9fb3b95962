//! A tree of many names: how long it takes to make it, to open it, to look a name up, to list directories, to move a tree
//! and to delete one; its size on the disk, and this process's memory.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use penstock_door::config::NamespacePlace;
use penstock_door::namespace::rename::Rename;
use penstock_door::namespace::{Entry, Lookup, Namespace, NsPath, Shown};
use sqlx::Connection as _;

#[derive(Debug, clap::Args)]
pub struct Options {
    /// An SQLite file, a PostgreSQL URL, or "postgres"
    place: String,
    /// Names of files
    #[arg(long, default_value = "10000000")]
    names: u64,
    /// Files in a directory
    #[arg(long, default_value = "1000")]
    files: u64,
    /// Directories in one above them
    #[arg(long, default_value = "100")]
    directories: u64,
    /// Length of a run, in seconds
    #[arg(long, default_value = "5")]
    seconds: u64,
    /// Ids of the replicas
    #[arg(long, value_enum, default_value = "ordered")]
    ids: Ids,
    /// Delete a tree in the end: the place lacks it then
    #[arg(long)]
    delete: bool,
}

/// In which order the ids of replicas are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Ids {
    /// In that of time, as doors give them.
    Ordered,
    /// In none.
    Random,
}

pub async fn run(options: &Options) -> anyhow::Result<()> {
    let place = super::place(&options.place)?;
    let namespace = super::open(&place).await?;
    let shape = Shape { files: options.files, directories: options.directories };
    let names = options.names.next_multiple_of(shape.tree());
    if namespace.list_page(1, None, 1).await?.is_empty() {
        let began_at = Instant::now();
        namespace.close().await;
        fill(&place, names / shape.tree(), shape, options.ids).await.context("cannot make the names")?;
        let took = began_at.elapsed().as_secs_f64();
        println!("made {names} names in {took:.0} s, {:.0} /s", names as f64 / took);
    } else {
        namespace.close().await;
    }
    let began_at = Instant::now();
    let namespace = super::open(&place).await?;
    let found = namespace.lookup(&NsPath::parse("/000/00/file000")?).await?;
    println!("open, first name found: {:.1} ms", began_at.elapsed().as_secs_f64() * 1e3);
    anyhow::ensure!(matches!(found, Lookup::Found(_)), "the names are not those that `large` makes");
    let size = size(&place).await?;
    println!(
        "size on disk: {:.0} MiB, {:.0} bytes a name",
        size as f64 / 1048576.0,
        size as f64 / names as f64
    );
    lookups(&namespace, names, shape, options.seconds).await?;
    listing(&namespace, shape).await?;
    moving(&namespace, shape).await?;
    if options.delete {
        deleting(&namespace, names / shape.tree() - 1, shape).await?;
    }
    println!("resident memory, now and at most: {} MiB, {} MiB", memory("VmRSS")?, memory("VmHWM")?);
    namespace.close().await;
    Ok(())
}

/// `/AAA/BB/file000`: how many of each.
#[derive(Debug, Clone, Copy)]
struct Shape {
    files: u64,
    directories: u64,
}

impl Shape {
    /// Names below one of the top.
    fn tree(self) -> u64 {
        self.files * self.directories
    }
}

/// By statements of its own, as by uploads it would take hours.
async fn fill(place: &NamespacePlace, tops: u64, shape: Shape, ids: Ids) -> anyhow::Result<()> {
    match place {
        NamespacePlace::Sqlite(path) => {
            let path = path.clone();
            tokio::task::spawn_blocking(move || fill_sqlite(&path, tops, shape, ids)).await?
        }
        NamespacePlace::Postgres(url) => fill_postgres(url.as_str(), tops, shape, ids).await,
    }
}

fn fill_sqlite(path: &Path, tops: u64, shape: Shape, ids: Ids) -> anyhow::Result<()> {
    let mut connection = rusqlite::Connection::open(path)?;
    // As much as the door's own has.
    connection.pragma_update(None, "cache_size", -32 * 1024)?;
    connection.pragma_update(None, "synchronous", "off")?;
    let mut made = 0;
    for top in 0..tops {
        let transaction = connection.transaction()?;
        {
            let mut directory = transaction.prepare_cached(
                "INSERT INTO entries (parent, name, created_at, modified_at) VALUES (?1, ?2, 1, 1) RETURNING id",
            )?;
            let mut file = transaction.prepare_cached(
                "INSERT INTO entries (parent, name, replica, pool, size, checksums, created_at, modified_at)
                 VALUES (?1, ?2, printf('%012x', ?3) || lower(hex(randomblob(10))), 'pool01', 4096,
                     'adler32=03da0195', 1, 1)",
            )?;
            let above: i64 = directory.query_row((1, format!("{top:03}")), |row| row.get(0))?;
            for number in 0..shape.directories {
                let parent: i64 = directory.query_row((above, format!("{number:02}")), |row| row.get(0))?;
                for number in 0..shape.files {
                    made += 1;
                    let time = if ids == Ids::Ordered { made } else { random_time(made) };
                    file.execute((parent, format!("file{number:03}"), time))?;
                }
            }
        }
        transaction.commit()?;
    }
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    Ok(())
}

/// Something of 48 bits that has no order.
fn random_time(number: i64) -> i64 {
    number.wrapping_mul(0x1e37_79b9_7f4a_7c15) >> 15 & ((1 << 48) - 1)
}

async fn fill_postgres(url: &str, tops: u64, shape: Shape, ids: Ids) -> anyhow::Result<()> {
    let mut connection = sqlx::PgConnection::connect(url).await?;
    for top in 0..i64::try_from(tops)? {
        sqlx::query(
            "WITH top AS (
                 INSERT INTO entries (parent, name, created_at, modified_at)
                 VALUES (1, lpad($1::text, greatest(3, length($1::text)), '0'), 1, 1) RETURNING id
             ), below AS (
                 INSERT INTO entries (parent, name, created_at, modified_at)
                 SELECT top.id, lpad(number::text, greatest(2, length(number::text)), '0'), 1, 1 FROM top, generate_series(0, $2 - 1) AS number
                 RETURNING id
             )
             INSERT INTO entries (parent, name, replica, pool, size, checksums, created_at, modified_at)
             SELECT below.id, 'file' || lpad(number::text, greatest(3, length(number::text)), '0'),
                 CASE WHEN $4 THEN lpad(to_hex(below.id * $3 + number), 12, '0') ELSE '' END
                     || substr(md5(random()::text || below.id || number), CASE WHEN $4 THEN 13 ELSE 1 END),
                 'pool01', 4096, 'adler32=03da0195', 1, 1
             FROM below, generate_series(0, $3 - 1) AS number",
        )
        .bind(top)
        .bind(i64::try_from(shape.directories)?)
        .bind(i64::try_from(shape.files)?)
        .bind(ids == Ids::Ordered)
        .execute(&mut connection)
        .await?;
    }
    sqlx::raw_sql("VACUUM ANALYZE").execute(&mut connection).await?;
    Ok(())
}

async fn size(place: &NamespacePlace) -> anyhow::Result<u64> {
    match place {
        NamespacePlace::Sqlite(path) => Ok(std::fs::metadata(path)?.len()),
        NamespacePlace::Postgres(url) => {
            let mut connection = sqlx::PgConnection::connect(url.as_str()).await?;
            let size: i64 = sqlx::query_scalar("SELECT pg_total_relation_size('entries')")
                .fetch_one(&mut connection)
                .await?;
            Ok(u64::try_from(size)?)
        }
    }
}

/// Names all over the tree, eight at a time.
async fn lookups(namespace: &Namespace, names: u64, shape: Shape, seconds: u64) -> anyhow::Result<()> {
    let (began_at, cpu) = (Instant::now(), super::cpu_time()?);
    let length = Duration::from_secs(seconds);
    let tasks: Vec<_> = (0..8u64)
        .map(|task| {
            let namespace = namespace.clone();
            tokio::spawn(async move {
                let (mut number, mut done) = (task, 0u64);
                while began_at.elapsed() < length {
                    number = number
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1_442_695_040_888_963_407);
                    let name = (number >> 16) % names;
                    let (directory, file) = (name / shape.files, name % shape.files);
                    let (top, below) = (directory / shape.directories, directory % shape.directories);
                    let path = NsPath::parse(&format!("/{top:03}/{below:02}/file{file:03}"))?;
                    let found = namespace.lookup(&path).await?;
                    anyhow::ensure!(matches!(found, Lookup::Found(_)), "{path} is not there");
                    done += 1;
                }
                anyhow::Ok(done)
            })
        })
        .collect();
    let mut done = 0;
    for task in tasks {
        done += task.await??;
    }
    let cpu = super::cpu_time()?.saturating_sub(cpu).as_secs_f64() * 1e6 / done as f64;
    println!("lookups: {:.0} /s, own CPU {cpu:.0} us", done as f64 / began_at.elapsed().as_secs_f64());
    Ok(())
}

async fn find(namespace: &Namespace, path: &NsPath) -> anyhow::Result<Entry> {
    match namespace.lookup(path).await? {
        Lookup::Found(entry) => Ok(entry),
        _ => anyhow::bail!("{path} is not there"),
    }
}

/// Directories one after the other, in pages as the door asks for them.
async fn listing(namespace: &Namespace, shape: Shape) -> anyhow::Result<()> {
    const PAGE: u32 = 500;
    let (mut listed, began_at) = (0, Instant::now());
    for directory in 0..shape.directories {
        let entry = find(namespace, &NsPath::parse(&format!("/000/{directory:02}"))?).await?;
        let mut after: Option<String> = None;
        loop {
            let page = namespace.list_page(entry.id, after.as_deref(), PAGE).await?;
            listed += page.len();
            let Some(last) = page.last() else { break };
            after = Some(last.name.clone());
        }
    }
    println!("listing: {:.0} entries/s", listed as f64 / began_at.elapsed().as_secs_f64());
    Ok(())
}

/// A tree of names there and back, again and again.
async fn moving(namespace: &Namespace, shape: Shape) -> anyhow::Result<()> {
    const ROUNDS: u32 = 50;
    let (here, there, shown) = (NsPath::parse("/000")?, NsPath::parse("/moved")?, Shown::default());
    let began_at = Instant::now();
    for _ in 0..ROUNDS {
        for (from, to) in [(&here, &there), (&there, &here)] {
            let seen = find(namespace, from).await?;
            let rename =
                Rename { from, seen: &seen, to, overwrite: false, create_parents: false, shown: &shown };
            namespace.rename(&rename).await?;
        }
    }
    println!(
        "moving a tree of {} names: {:.2} ms",
        shape.tree(),
        began_at.elapsed().as_secs_f64() * 1e3 / f64::from(ROUNDS * 2)
    );
    Ok(())
}

/// A tree, in one transaction: what its files hold is owed to be deleted then.
async fn deleting(namespace: &Namespace, top: u64, shape: Shape) -> anyhow::Result<()> {
    let tree = NsPath::parse(&format!("/{top:03}"))?;
    let seen = find(namespace, &tree).await?;
    let began_at = Instant::now();
    namespace.delete(&tree, &seen, &Shown::default()).await?;
    println!("deleting a tree of {} names: {:.2} s", shape.tree(), began_at.elapsed().as_secs_f64());
    Ok(())
}

/// Of this process, in MiB (proc_pid_status(5)).
fn memory(field: &str) -> anyhow::Result<u64> {
    let text = std::fs::read_to_string("/proc/self/status")?;
    let line = text.lines().find(|line| line.starts_with(field)).context("/proc/self/status is strange")?;
    Ok(line.split_whitespace().nth(1).context("/proc/self/status is strange")?.parse::<u64>()? / 1024)
}
