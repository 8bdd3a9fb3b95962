//! Stories of several doors that have the same names, all at once.

use std::collections::BTreeSet;
use std::future::Future;

use futures_util::future::join_all;
use sqlx::Connection as _;
use sqlx::postgres::PgConnection;

use super::*;
use crate::config::{NamespaceFiles, NamespacePlace};
use crate::namespace::rename::Rename;

mod sqlite {
    use super::*;

    #[tokio::test]
    async fn whatever_happens_at_once_every_replica_is_named_or_owed() {
        on_sqlite(|site| async move {
            let doors = vec![site.namespace.clone(), site.namespace.clone()];
            everything_at_once(&site, doors).await;
        })
        .await;
    }
}

/// Tells a story of two doors at one server.
async fn two_doors<F>(story: impl FnOnce(Site, [Namespace; 2]) -> F + Send + 'static)
where
    F: Future<Output = ()> + Send + 'static,
{
    on_postgres(|site| async move {
        let doors = [site.door("door01").await, site.door("door02").await];
        story(site, doors).await;
    })
    .await;
}

async fn commit(door: &Namespace, upload: &PendingUpload) -> Commit {
    door.begin_upload(upload).await.unwrap();
    door.commit_upload(&upload.transfer, &upload.replica, &finished(7), RULES).await.unwrap()
}

async fn found(door: &Namespace, at: &str) -> Option<Entry> {
    match door.lookup(&path(at)).await.unwrap() {
        Lookup::Found(entry) => Some(entry),
        _ => None,
    }
}

async fn rename(door: &Namespace, from: &str, to: &str) -> Result<(), ChangeError> {
    rename_where(door, from, to, true).await
}

async fn rename_where(
    door: &Namespace,
    from: &str,
    to: &str,
    create_parents: bool,
) -> Result<(), ChangeError> {
    let Some(seen) = found(door, from).await else { return Err(ChangeError::NotFound) };
    let (from, to, shown) = (path(from), path(to), Shown::default());
    let rename = Rename { from: &from, seen: &seen, to: &to, overwrite: true, create_parents, shown: &shown };
    door.rename(&rename).await.map(drop)
}

async fn delete(door: &Namespace, at: &str) -> Result<(), ChangeError> {
    let Some(seen) = found(door, at).await else { return Err(ChangeError::NotFound) };
    door.delete(&path(at), &seen, &Shown::default()).await
}

/// All replicas that names lead to, by a walk from the root.
async fn named(door: &Namespace) -> Vec<String> {
    let (mut replicas, mut directories) = (Vec::new(), vec![1]);
    while let Some(directory) = directories.pop() {
        for entry in door.list_page(directory, None, 10_000).await.unwrap() {
            match entry.file() {
                Some(file) => replicas.push(file.replica.clone()),
                None => directories.push(entry.id),
            }
        }
    }
    replicas
}

/// Not a failure of the database: a refusal that some order of the changes explains.
fn refused(error: &ChangeError) -> bool {
    matches!(
        error,
        ChangeError::NotFound | ChangeError::Changed | ChangeError::Exists | ChangeError::NoParent
    ) || matches!(error, ChangeError::NotADirectory)
}

#[tokio::test]
async fn a_door_settles_its_own_uploads_and_no_others() {
    two_doors(|_, [one, two]| async move {
        one.begin_upload(&upload("1", "/file")).await.unwrap();

        assert_eq!(two.pending_uploads("pool01").await.unwrap(), []);
        assert_eq!(one.pending_uploads("pool01").await.unwrap().len(), 1);

        let done = one.commit_upload("t-1", "r-1", &finished(7), RULES).await.unwrap();
        assert_eq!(done, Commit::Named(path("/file")));
        assert_eq!(found(&two, "/file").await.unwrap().file().unwrap().replica, "r-1");
    })
    .await;
}

#[tokio::test]
async fn a_lock_that_was_taken_at_one_door_holds_at_the_other() {
    two_doors(|_, [one, two]| async move {
        commit(&one, &upload("1", "/file")).await;
        let lock = |token: &str| crate::namespace::lock::NewLock {
            token: token.into(),
            path: path("/file"),
            deep: false,
            exclusive: true,
            owner: String::new(),
            subject: "paul".into(),
            timeout: std::time::Duration::from_secs(60),
        };
        let asked = [one.lock(lock("urn:a")), two.lock(lock("urn:b"))];
        let given = join_all(asked).await.into_iter().filter(Result::is_ok).count();
        assert_eq!(given, 1, "both got an exclusive lock, or none did");
        assert!(matches!(commit(&two, &upload("2", "/file")).await, Commit::Refused(refused) if refused.status == 423));
        assert!(matches!(delete(&one, "/file").await, Err(ChangeError::Locked(_))));
    })
    .await;
}

#[tokio::test]
async fn of_many_uploads_that_want_a_new_name_one_gets_it() {
    two_doors(|_, doors| async move {
        let uploads = (0..24).map(|number| {
            let door = doors[number % 2].clone();
            async move {
                let wish = PendingUpload {
                    expects: Expectation::Absent,
                    ..upload(&number.to_string(), &format!("/a/b/{}", number % 3))
                };
                commit(&door, &wish).await
            }
        });
        let ended = join_all(uploads).await;
        assert_eq!(ended.iter().filter(|commit| matches!(commit, Commit::Named(_))).count(), 3);
        assert!(ended.iter().all(|commit| match commit {
            Commit::Named(_) => true,
            Commit::Refused(refused) => refused.status == 412,
            Commit::NamedBefore | Commit::Unknown => false,
        }));
        assert_eq!(named(&doors[0]).await.len(), 3);
    })
    .await;
}

#[tokio::test]
async fn of_two_directories_that_are_moved_into_each_other_one_moves() {
    two_doors(|_, [one, two]| async move {
        for round in 0..10 {
            let (a, b) = (format!("/{round}/a"), format!("/{round}/b"));
            commit(&one, &upload(&format!("{round}a"), &format!("{a}/deep/x"))).await;
            commit(&one, &upload(&format!("{round}b"), &format!("{b}/deep/y"))).await;
            let (into_b, into_a) = (format!("{b}/deep/a"), format!("{a}/deep/b"));
            let (left, right) =
                tokio::join!(rename_where(&one, &a, &into_b, false), rename_where(&two, &b, &into_a, false));
            assert!(left.is_ok() != right.is_ok(), "{left:?} {right:?}");
            assert_eq!(named(&one).await.len(), 2 * (round + 1), "a tree was cut off");
        }
    })
    .await;
}

#[tokio::test]
async fn a_file_that_leaves_a_directory_just_in_time_outlives_it() {
    two_doors(|_, [one, two]| async move {
        for round in 0..20 {
            let id = round.to_string();
            commit(&one, &upload(&id, &format!("/{round}/file"))).await;
            let (directory, file, saved) =
                (format!("/{round}"), format!("/{round}/file"), format!("/saved-{round}"));
            let (gone, moved) = tokio::join!(delete(&one, &directory), rename(&two, &file, &saved));
            assert!(gone.is_ok(), "{gone:?}");
            let owed = one.owed_removals("pool01", 1000).await.unwrap().contains(&format!("r-{round}"));
            assert_eq!(found(&two, &saved).await.is_some(), moved.is_ok());
            assert_eq!(owed, moved.is_err(), "{moved:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn whatever_happens_at_once_every_replica_is_named_or_owed() {
    two_doors(|site, doors| async move { everything_at_once(&site, doors.to_vec()).await }).await;
}

/// Uploads, moves and deletions, many at the same names.
async fn everything_at_once(site: &Site, doors: Vec<Namespace>) {
    const TASKS: u64 = 12;
    const STEPS: u64 = 25;
    let tasks = (0..TASKS).map(|task| {
        let door = doors[task as usize % doors.len()].clone();
        tokio::spawn(async move {
            let mut committed = Vec::new();
            // Not random, so that a failure can be looked at again; the interleaving is.
            let mut number = task;
            for step in 0..STEPS {
                number =
                    number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let pick = |shift: u32| (number >> shift) % 3;
                let (here, there) =
                    (format!("/{}/{}", pick(20), pick(25)), format!("/{}/{}", pick(30), pick(35)));
                let result = match (number >> 40) % 5 {
                    0 | 1 => {
                        let wish = upload(&format!("{task}-{step}"), &format!("{here}/{}", pick(45)));
                        match commit(&door, &wish).await {
                            Commit::Named(_) => committed.push(wish.replica),
                            Commit::Refused(refused) => assert_eq!(refused.status, 409),
                            Commit::NamedBefore | Commit::Unknown => panic!("{wish:?}"),
                        }
                        Ok(())
                    }
                    2 => {
                        rename(&door, &format!("{here}/{}", pick(45)), &format!("{there}/{}", pick(50))).await
                    }
                    3 => rename(&door, &here, &there).await,
                    _ => delete(&door, &here).await,
                };
                if let Err(error) = result {
                    assert!(refused(&error) || matches!(error, ChangeError::IntoItself), "{error:?}");
                }
            }
            committed
        })
    });
    let mut committed: Vec<String> = Vec::new();
    for task in join_all(tasks).await {
        committed.extend(task.unwrap());
    }
    let named = named(&site.namespace).await;
    let owed = site.namespace.owed_removals("pool01", 100_000).await.unwrap();
    let told: BTreeSet<_> = named.iter().chain(&owed).collect();
    assert_eq!(told.len(), named.len() + owed.len(), "a replica is named and owed");
    assert_eq!(told, committed.iter().collect(), "a replica was lost");
    assert!(committed.len() > 20, "too little happened: {}", committed.len());
}

#[tokio::test]
async fn connections_that_the_server_has_ended_are_made_anew() {
    on_postgres(|site| async move {
        commit(&site.namespace, &upload("1", "/a")).await;
        let NamespacePlace::Postgres(url) = &site.place else { unreachable!() };
        let mut admin = PgConnection::connect(url.as_str()).await.unwrap();

        sqlx::query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE application_name = 'penstock-door door' AND datname = current_database()",
        )
        .execute(&mut admin)
        .await
        .unwrap();

        assert!(found(&site.namespace, "/a").await.is_some());
        assert_eq!(commit(&site.namespace, &upload("2", "/b")).await, Commit::Named(path("/b")));
    })
    .await;
}

#[tokio::test]
async fn names_are_found_by_their_index_also_where_plans_were_made_for_few() {
    const NAMES: i64 = 100;
    on_postgres(|site| async move {
        let NamespacePlace::Postgres(url) = &site.place else { unreachable!() };
        let mut admin = PgConnection::connect(url.as_str()).await.unwrap();
        // So that the server knows that there is nothing worth an index yet.
        sqlx::raw_sql("ANALYZE").execute(&mut admin).await.unwrap();

        for number in 0..NAMES {
            let file = format!("/directory/file{number}");
            commit(&site.namespace, &upload(&number.to_string(), &file)).await;
            assert!(found(&site.namespace, &file).await.is_some());
        }
        site.namespace.close().await;

        // It counts a moment later.
        let scanned = loop {
            let (scanned, by_index): (i64, i64) = sqlx::query_as(
                "SELECT seq_scan, idx_scan FROM pg_stat_user_tables WHERE relname = 'entries'",
            )
            .fetch_one(&mut admin)
            .await
            .unwrap();
            if scanned + by_index > 2 * NAMES {
                break scanned;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        };
        assert!(scanned < NAMES / 2, "{scanned} times all names were read");
    })
    .await;
}

#[tokio::test]
async fn a_second_door_of_the_same_name_is_not_let_in_until_the_first_has_gone() {
    on_postgres(|site| async move {
        site.namespace.be_the_only_door_of_its_name().await.unwrap();

        let second = site.door("door").await;
        let error = second.be_the_only_door_of_its_name().await.unwrap_err().to_string();
        assert!(error.contains("another door with the name \"door\" works there"), "{error}");
        site.door("door02").await.be_the_only_door_of_its_name().await.unwrap();

        site.namespace.close().await;
        second.be_the_only_door_of_its_name().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn the_password_comes_from_its_file() {
    on_postgres(|site| async move {
        let NamespacePlace::Postgres(url) = &site.place else { unreachable!() };
        let mut admin = PgConnection::connect(url.as_str()).await.unwrap();
        let user = format!("guest_{}", std::process::id());
        let make = format!("CREATE ROLE {user} LOGIN SUPERUSER PASSWORD 'correct'");
        sqlx::raw_sql(sqlx::AssertSqlSafe(make)).execute(&mut admin).await.unwrap();
        let mut guest = url::Url::parse(url.as_str()).unwrap();
        guest.set_username(&user).unwrap();
        let place: NamespacePlace = guest.as_str().parse().unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        let open = |password: &str| {
            std::fs::write(file.path(), password).unwrap();
            let files = NamespaceFiles { password: Some(file.path()), ..NamespaceFiles::default() };
            Namespace::open(&place, files, &crate::config::SiteName::DOOR)
        };

        let wrong = open("hidden\n").await.unwrap_err().to_string();
        let right = open("correct\n").await;

        let remove = format!("DROP ROLE {user}");
        right.as_ref().unwrap().close().await;
        sqlx::raw_sql(sqlx::AssertSqlSafe(remove)).execute(&mut admin).await.unwrap();
        assert!(wrong.contains("cannot open the namespace postgres://guest_"), "{wrong}");
        assert!(wrong.contains("password") && !wrong.contains("hidden"), "{wrong}");
    })
    .await;
}
