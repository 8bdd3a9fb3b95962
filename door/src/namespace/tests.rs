//! Stories of the namespace, on a real database file and on a real server.

use jiff::{SignedDuration, Timestamp};

mod doors;
mod place;
mod tls;
mod webdav;

use place::{Site, on_postgres, on_sqlite, stories};

use super::upload::{Commit, CommitRules, Expectation, FinishedUpload, PendingUpload};
use super::*;
use crate::checksum::{Algorithm, Checksum};

const RULES: CommitRules = CommitRules { create_parents: true, late: false };

stories! {
    a_lookup_tells_what_is_missing,
    a_path_is_found_whatever_its_depth,
    a_name_appears_only_when_its_upload_is_committed,
    committing_twice_changes_nothing_and_an_unknown_upload_gets_no_name,
    replacing_a_file_leaves_its_old_replica_to_be_removed,
    an_upload_that_its_pool_has_lost_gets_no_name_and_its_replica_is_to_be_removed,
    an_upload_that_has_its_name_is_not_abandoned,
    what_was_promised_at_the_start_is_checked_at_the_end,
    a_refusal_is_remembered_until_the_pool_has_heard_it,
    an_upload_that_ends_late_does_not_replace_a_younger_file,
    deleting_a_directory_takes_all_below_it_and_owes_every_replica,
    a_file_that_was_replaced_since_it_was_looked_at_is_not_deleted,
    a_directory_is_made_once_and_in_an_existing_one,
    a_listing_comes_page_by_page_in_the_order_of_names,
    everything_is_there_after_a_restart,
}

fn path(text: &str) -> NsPath {
    NsPath::parse(text).unwrap()
}

fn upload(id: &str, to: &str) -> PendingUpload {
    PendingUpload {
        transfer: format!("t-{id}"),
        replica: format!("r-{id}"),
        pool: "pool01".into(),
        path: path(to),
        expects: Expectation::Anything,
        may_overwrite: true,
        shown: Shown::default(),
        copy_of: None,
        started_at: Timestamp::from_microsecond(Timestamp::now().as_microsecond()).unwrap(),
        refused: None,
    }
}

fn finished(size: u64) -> FinishedUpload {
    let adler = Checksum::new(Algorithm::Adler32, vec![1, 2, 3, 4]).unwrap();
    FinishedUpload { size, checksums: vec![adler] }
}

impl Site {
    async fn commit(&self, upload: &PendingUpload, rules: CommitRules) -> Commit {
        self.namespace.begin_upload(upload).await.unwrap();
        self.finish(upload, rules).await
    }

    async fn finish(&self, upload: &PendingUpload, rules: CommitRules) -> Commit {
        self.namespace.commit_upload(&upload.transfer, &upload.replica, &finished(7), rules).await.unwrap()
    }

    async fn entry(&self, text: &str) -> Entry {
        match self.namespace.lookup(&path(text)).await.unwrap() {
            Lookup::Found(entry) => entry,
            other => panic!("{text}: {other:?}"),
        }
    }

    async fn refused(&self, upload: &PendingUpload, rules: CommitRules) -> u16 {
        match self.commit(upload, rules).await {
            Commit::Refused(refused) => refused.status,
            other => panic!("{other:?}"),
        }
    }
}

async fn a_lookup_tells_what_is_missing(site: Site) {
    site.namespace.make_directory(&path("/a \"b\"\\"), &Shown::default()).await.unwrap();
    site.commit(&upload("1", "/a \"b\"\\/ü\u{1}"), RULES).await;
    let cases = [
        ("/x", Lookup::Missing),
        ("/x/y", Lookup::NoParent),
        ("/a \"b\"\\/y", Lookup::Missing),
        ("/a \"b\"\\/ü\u{1}/below", Lookup::NotADirectory),
    ];
    for (text, expected) in cases {
        assert_eq!(site.namespace.lookup(&path(text)).await.unwrap(), expected, "{text}");
    }
    assert!(site.entry("/").await.is_directory());
    assert_eq!(site.entry("/a \"b\"\\/ü\u{1}").await.file().unwrap().size, 7);
}

async fn a_path_is_found_whatever_its_depth(site: Site) {
    let mut directory = String::new();
    for depth in 1..=10 {
        site.commit(&upload(&depth.to_string(), &format!("{directory}/file")), RULES).await;
        let found = site.entry(&format!("{directory}/file")).await;
        assert_eq!(found.file().unwrap().replica, format!("r-{depth}"));
        let below = site.namespace.lookup(&path(&format!("{directory}/file/below"))).await.unwrap();
        assert_eq!(below, Lookup::NotADirectory, "{depth}");
        directory.push_str("/same");
    }
}

async fn a_name_appears_only_when_its_upload_is_committed(site: Site) {
    let pending = upload("1", "/data/file");
    site.namespace.begin_upload(&pending).await.unwrap();
    assert_eq!(site.namespace.lookup(&pending.path).await.unwrap(), Lookup::NoParent);
    assert_eq!(site.finish(&pending, RULES).await, Commit::Named(path("/data/file")));
    let file = site.entry("/data/file").await;
    assert_eq!(file.file().unwrap().replica, "r-1");
    assert_eq!(file.file().unwrap().checksums, finished(7).checksums);
    assert_eq!(site.namespace.pending_uploads("pool01").await.unwrap(), []);
}

async fn committing_twice_changes_nothing_and_an_unknown_upload_gets_no_name(site: Site) {
    let pending = upload("1", "/file");
    assert_eq!(site.commit(&pending, RULES).await, Commit::Named(path("/file")));
    assert_eq!(site.finish(&pending, RULES).await, Commit::NamedBefore);
    assert_eq!(site.finish(&upload("2", "/other"), RULES).await, Commit::Unknown);
    assert_eq!(site.namespace.lookup(&path("/other")).await.unwrap(), Lookup::Missing);
}

async fn replacing_a_file_leaves_its_old_replica_to_be_removed(site: Site) {
    site.commit(&upload("1", "/file"), RULES).await;
    let before = site.entry("/file").await;
    site.commit(&upload("2", "/file"), RULES).await;
    let after = site.entry("/file").await;
    assert_eq!((after.id, after.file().unwrap().etag()), (before.id, "r-2"));
    assert_eq!(site.namespace.owed_removals("pool01", 10).await.unwrap(), ["r-1"]);
    // The replaced upload is still one that the namespace knows.
    assert_eq!(site.finish(&upload("1", "/file"), RULES).await, Commit::NamedBefore);
    site.namespace.removals_done(&["r-1".into()]).await.unwrap();
    assert!(site.namespace.owed_removals("pool01", 10).await.unwrap().is_empty());
}

async fn an_upload_that_its_pool_has_lost_gets_no_name_and_its_replica_is_to_be_removed(site: Site) {
    let lost = upload("1", "/file");
    site.namespace.begin_upload(&lost).await.unwrap();

    site.namespace.abandon_upload(&lost.transfer).await.unwrap();
    site.namespace.abandon_upload(&lost.transfer).await.unwrap();

    assert_eq!(site.namespace.owed_removals("pool01", 10).await.unwrap(), ["r-1"]);
    assert!(site.namespace.pending_uploads("pool01").await.unwrap().is_empty());
    assert_eq!(site.namespace.lookup(&path("/file")).await.unwrap(), Lookup::Missing);
}

async fn an_upload_that_has_its_name_is_not_abandoned(site: Site) {
    let named = upload("1", "/file");
    site.commit(&named, RULES).await;

    site.namespace.abandon_upload(&named.transfer).await.unwrap();

    assert!(site.namespace.owed_removals("pool01", 10).await.unwrap().is_empty());
    assert_eq!(site.entry("/file").await.file().unwrap().etag(), "r-1");
}

async fn what_was_promised_at_the_start_is_checked_at_the_end(site: Site) {
    site.namespace.make_directory(&path("/directory"), &Shown::default()).await.unwrap();
    site.commit(&upload("0", "/file"), RULES).await;
    let expecting = |id: &str, expects| PendingUpload { expects, ..upload(id, "/file") };
    assert_eq!(site.refused(&expecting("1", Expectation::Absent), RULES).await, 412);
    assert_eq!(site.refused(&expecting("2", Expectation::Etag("r-9".into())), RULES).await, 412);
    assert_eq!(
        site.refused(&PendingUpload { expects: Expectation::Present, ..upload("3", "/new") }, RULES).await,
        412
    );
    assert_eq!(
        site.refused(&PendingUpload { may_overwrite: false, ..upload("4", "/file") }, RULES).await,
        403
    );
    assert_eq!(site.refused(&upload("5", "/directory"), RULES).await, 409);
    assert_eq!(site.refused(&upload("6", "/file/below"), RULES).await, 409);
    let strict = CommitRules { create_parents: false, late: false };
    assert_eq!(site.refused(&upload("7", "/no/parent"), strict).await, 409);
    let as_promised = expecting("8", Expectation::Etag("r-0".into()));
    assert_eq!(site.commit(&as_promised, RULES).await, Commit::Named(path("/file")));
    assert_eq!(site.entry("/file").await.file().unwrap().replica, "r-8");
}

async fn a_refusal_is_remembered_until_the_pool_has_heard_it(site: Site) {
    let pending = upload("1", "/no/parent");
    let strict = CommitRules { create_parents: false, late: false };
    site.refused(&pending, strict).await;
    site.namespace.make_directory(&path("/no"), &Shown::default()).await.unwrap();
    assert!(matches!(site.finish(&pending, RULES).await, Commit::Refused(_)));
    site.namespace.forget_upload("t-1").await.unwrap();
    assert_eq!(site.finish(&pending, RULES).await, Commit::Unknown);
}

async fn an_upload_that_ends_late_does_not_replace_a_younger_file(site: Site) {
    let started_at = Timestamp::now() - SignedDuration::from_mins(5);
    let old = PendingUpload { started_at, ..upload("old", "/file") };
    site.namespace.begin_upload(&old).await.unwrap();
    site.commit(&upload("young", "/file"), RULES).await;
    let late = CommitRules { late: true, ..RULES };
    assert!(matches!(site.finish(&old, late).await, Commit::Refused(refused) if refused.status == 409));
    assert_eq!(site.entry("/file").await.file().unwrap().replica, "r-young");
}

async fn deleting_a_directory_takes_all_below_it_and_owes_every_replica(site: Site) {
    for (id, to) in [("1", "/a/x"), ("2", "/a/b/c/y"), ("3", "/ab"), ("4", "/a/b/z")] {
        site.commit(&upload(id, to), RULES).await;
    }
    let seen = site.entry("/a").await;
    site.namespace.delete(&path("/a"), &seen, &Shown::default()).await.unwrap();
    assert_eq!(site.namespace.lookup(&path("/a")).await.unwrap(), Lookup::Missing);
    assert!(site.entry("/ab").await.file().is_some());
    let mut owed = site.namespace.owed_removals("pool01", 10).await.unwrap();
    owed.sort();
    assert_eq!(owed, ["r-1", "r-2", "r-4"]);
    assert!(matches!(
        site.namespace.delete(&path("/a"), &seen, &Shown::default()).await,
        Err(ChangeError::NotFound)
    ));
    let root = site.entry("/").await;
    assert!(matches!(
        site.namespace.delete(&path("/"), &root, &Shown::default()).await,
        Err(ChangeError::Root)
    ));
}

async fn a_file_that_was_replaced_since_it_was_looked_at_is_not_deleted(site: Site) {
    site.commit(&upload("1", "/file"), RULES).await;
    let seen = site.entry("/file").await;
    site.commit(&upload("2", "/file"), RULES).await;
    assert!(matches!(
        site.namespace.delete(&path("/file"), &seen, &Shown::default()).await,
        Err(ChangeError::Changed)
    ));
    assert_eq!(site.entry("/file").await.file().unwrap().replica, "r-2");
}

async fn a_directory_is_made_once_and_in_an_existing_one(site: Site) {
    site.namespace.make_directory(&path("/a"), &Shown::default()).await.unwrap();
    site.commit(&upload("1", "/file"), RULES).await;
    let make = |text: &'static str| {
        let namespace = site.namespace.clone();
        async move { namespace.make_directory(&path(text), &Shown::default()).await.unwrap_err() }
    };
    assert!(matches!(make("/a").await, ChangeError::Exists));
    assert!(matches!(make("/").await, ChangeError::Exists));
    assert!(matches!(make("/file").await, ChangeError::Exists));
    assert!(matches!(make("/x/y").await, ChangeError::NoParent));
    assert!(matches!(make("/file/y").await, ChangeError::NotADirectory));
}

async fn a_listing_comes_page_by_page_in_the_order_of_names(site: Site) {
    for name in ["b", "a", "é", "c"] {
        site.namespace.make_directory(&path(&format!("/{name}")), &Shown::default()).await.unwrap();
    }
    let mut names = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let page = site.namespace.list_page(1, after.as_deref(), 3).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.name.clone());
        names.extend(page.into_iter().map(|entry| entry.name));
    }
    assert_eq!(names, ["a", "b", "c", "é"]);
}

async fn everything_is_there_after_a_restart(site: Site) {
    site.commit(&upload("1", "/data/file"), RULES).await;
    site.namespace.begin_upload(&upload("2", "/data/other")).await.unwrap();
    site.namespace.close().await;
    let again = site.door("door").await;
    assert!(matches!(again.lookup(&path("/data/file")).await.unwrap(), Lookup::Found(_)));
    let pending = again.pending_uploads("pool01").await.unwrap();
    assert_eq!(pending[0].path, path("/data/other"));
    again.close().await;
}
