//! Stories of what WebDAV asks of the namespace: renaming, dead properties, locks.

use std::time::Duration;

use super::*;
use crate::namespace::lock::{LockError, MAX_TOLD, NewLock};
use crate::namespace::rename::{Rename, Target};

stories! {
    a_tree_moves_with_one_name_and_keeps_what_is_below_and_its_properties,
    what_is_at_the_new_name_goes_with_all_below_and_its_replicas_are_owed,
    a_rename_that_cannot_be_is_refused_and_changes_nothing,
    properties_are_set_and_removed_together_and_go_with_their_file,
    more_properties_than_are_kept_are_refused_whole,
    a_copy_takes_over_the_properties_of_its_original_and_no_others,
    a_lock_stands_against_every_change_by_those_who_do_not_show_it,
    a_lock_on_a_directory_guards_its_names_and_a_deep_one_all_below,
    a_locked_directory_gets_no_name_for_what_is_put_deep_below_it_either,
    locks_exclude_each_other_unless_all_are_shared,
    however_many_locks_are_open_a_closed_one_counts,
    a_lock_ends_by_itself_unless_it_is_refreshed,
    locks_of_a_page_are_those_of_its_own_entries,
    checksums_that_are_computed_later_are_added_to_those_that_are_known,
}

fn shown(token: &str) -> Shown {
    Shown { tokens: vec![token.to_owned()], subject: "paul".into() }
}

fn new_lock(token: &str, at: &str) -> NewLock {
    NewLock {
        token: token.into(),
        path: path(at),
        deep: false,
        exclusive: true,
        owner: String::new(),
        subject: "paul".into(),
        timeout: Duration::from_secs(60),
    }
}

fn property(name: &str, value: &str) -> DeadProperty {
    DeadProperty { namespace: "urn:z".into(), name: name.into(), xml: format!("<{name}>{value}</{name}>") }
}

impl Site {
    async fn file(&self, id: &str, at: &str) -> Entry {
        assert_eq!(self.commit(&upload(id, at), RULES).await, Commit::Named(path(at)));
        self.entry(at).await
    }

    async fn rename(&self, from: &str, to: &str, shown: &Shown) -> Result<Target, ChangeError> {
        let seen = self.entry(from).await;
        let (from, to) = (path(from), path(to));
        let rename =
            Rename { from: &from, seen: &seen, to: &to, overwrite: true, create_parents: false, shown };
        self.namespace.rename(&rename).await
    }

    async fn set(&self, at: &str, changes: &[PropertyChange]) -> Result<(), ChangeError> {
        let seen = self.entry(at).await;
        self.namespace.change_properties(&path(at), &seen, changes, &Shown::default()).await
    }

    async fn properties(&self, at: &str) -> Vec<DeadProperty> {
        self.namespace.properties(self.entry(at).await.id).await.unwrap()
    }

    async fn is_there(&self, at: &str) -> bool {
        matches!(self.namespace.lookup(&path(at)).await.unwrap(), Lookup::Found(_))
    }
}

async fn a_tree_moves_with_one_name_and_keeps_what_is_below_and_its_properties(site: Site) {
    let deep = site.file("1", "/a/b/c/file").await;
    site.set("/a/b/c/file", &[PropertyChange::Set(property("p", "v"))]).await.unwrap();
    site.namespace.make_directory(&path("/x"), &Shown::default()).await.unwrap();

    assert_eq!(site.rename("/a", "/x/y", &Shown::default()).await.unwrap(), Target::New);

    assert!(!site.is_there("/a").await);
    assert_eq!(site.entry("/x/y/b/c/file").await.id, deep.id);
    assert_eq!(site.properties("/x/y/b/c/file").await, [property("p", "v")]);
    assert!(site.namespace.owed_removals("pool01", 10).await.unwrap().is_empty());
}

async fn what_is_at_the_new_name_goes_with_all_below_and_its_replicas_are_owed(site: Site) {
    site.file("1", "/new").await;
    site.file("2", "/old/one").await;
    site.file("3", "/old/sub/two").await;

    assert_eq!(site.rename("/new", "/old", &Shown::default()).await.unwrap(), Target::Replaced);

    assert_eq!(site.entry("/old").await.file().unwrap().replica, "r-1");
    let mut owed = site.namespace.owed_removals("pool01", 10).await.unwrap();
    owed.sort();
    assert_eq!(owed, ["r-2", "r-3"]);
}

async fn a_rename_that_cannot_be_is_refused_and_changes_nothing(site: Site) {
    site.file("1", "/a/file").await;
    site.file("2", "/other").await;
    let none = Shown::default();
    for (from, to) in [("/a", "/a"), ("/a", "/a/b"), ("/a/file", "/a")] {
        assert!(matches!(site.rename(from, to, &none).await, Err(ChangeError::IntoItself)), "{from} {to}");
    }
    assert!(matches!(site.rename("/a", "/no/b", &none).await, Err(ChangeError::NoParent)));
    assert!(matches!(site.rename("/a", "/other/b", &none).await, Err(ChangeError::NotADirectory)));
    assert!(matches!(site.rename("/a", "/", &none).await, Err(ChangeError::Root)));
    let (seen, from, to) = (site.entry("/a").await, path("/a"), path("/other"));
    let careful =
        Rename { from: &from, seen: &seen, to: &to, overwrite: false, create_parents: false, shown: &none };
    assert!(matches!(site.namespace.rename(&careful).await, Err(ChangeError::Exists)));
    assert!(site.is_there("/a/file").await && site.is_there("/other").await);
}

async fn properties_are_set_and_removed_together_and_go_with_their_file(site: Site) {
    site.file("1", "/file").await;
    let set = |name, value| PropertyChange::Set(property(name, value));
    let remove = |name: &str| PropertyChange::Remove { namespace: "urn:z".into(), name: name.into() };

    site.set("/file", &[set("a", "1"), set("b", "2")]).await.unwrap();
    site.set("/file", &[set("a", "3"), remove("b"), remove("never"), set("c", "4")]).await.unwrap();
    assert_eq!(site.properties("/file").await, [property("a", "3"), property("c", "4")]);

    let root = site.entry("/").await.id;
    let page = site.namespace.properties_of_page(root, "a", "z").await.unwrap();
    assert_eq!(page.into_values().next().unwrap().len(), 2);
    let id = site.entry("/file").await;
    site.namespace.delete(&path("/file"), &id, &Shown::default()).await.unwrap();
    assert!(site.namespace.properties(id.id).await.unwrap().is_empty());
}

async fn more_properties_than_are_kept_are_refused_whole(site: Site) {
    site.file("1", "/file").await;
    let many: Vec<_> =
        (0..300).map(|number| PropertyChange::Set(property(&format!("p{number}"), ""))).collect();
    assert!(matches!(site.set("/file", &many).await, Err(ChangeError::TooManyProperties)));
    let long = PropertyChange::Set(property("long", &"x".repeat(300_000)));
    assert!(matches!(site.set("/file", &[long]).await, Err(ChangeError::TooManyProperties)));
    assert!(site.properties("/file").await.is_empty());
}

async fn a_copy_takes_over_the_properties_of_its_original_and_no_others(site: Site) {
    let original = site.file("1", "/file").await;
    site.set("/file", &[PropertyChange::Set(property("a", "1"))]).await.unwrap();
    site.file("2", "/old").await;
    site.set("/old", &[PropertyChange::Set(property("b", "2"))]).await.unwrap();
    for (id, to) in [("3", "/new"), ("4", "/old")] {
        let copy = PendingUpload { copy_of: Some(original.id), ..upload(id, to) };
        assert_eq!(site.commit(&copy, RULES).await, Commit::Named(path(to)));
        assert_eq!(site.properties(to).await, [property("a", "1")], "{to}");
    }
}

async fn a_lock_stands_against_every_change_by_those_who_do_not_show_it(site: Site) {
    let seen = site.file("1", "/dir/file").await;
    site.namespace.lock(new_lock("urn:1", "/dir/file")).await.unwrap();
    let none = Shown { tokens: Vec::new(), subject: "paul".into() };
    let stolen = Shown { subject: "mary".into(), ..shown("urn:1") };
    for shown in [&none, &stolen, &shown("urn:2")] {
        let locked = |result: Result<(), ChangeError>| matches!(result, Err(ChangeError::Locked(_)));
        assert!(locked(site.namespace.delete(&path("/dir/file"), &seen, shown).await));
        assert!(locked(site.namespace.change_properties(&path("/dir/file"), &seen, &[], shown).await));
        assert!(locked(site.rename("/dir", "/moved", shown).await.map(drop)), "it is within what moves");
        let write = PendingUpload { shown: shown.clone(), ..upload("2", "/dir/file") };
        assert_eq!(site.refused(&write, RULES).await, 423);
        site.namespace.forget_upload("t-2").await.unwrap();
    }
    let write = PendingUpload { shown: shown("urn:1"), ..upload("3", "/dir/file") };
    assert_eq!(site.commit(&write, RULES).await, Commit::Named(path("/dir/file")));
    let seen = site.entry("/dir/file").await;
    site.namespace.delete(&path("/dir/file"), &seen, &shown("urn:1")).await.unwrap();
    assert!(site.namespace.find_lock("urn:1").await.unwrap().is_none(), "it ends with what it was on");
}

async fn a_lock_on_a_directory_guards_its_names_and_a_deep_one_all_below(site: Site) {
    site.file("1", "/dir/sub/file").await;
    let taken = |at: &'static str, new: &'static str| {
        let namespace = site.namespace.clone();
        async move {
            let touches = [path(at), path(new)];
            let (touches, none) = ([Touch::Entry(&touches[0]), Touch::Name(&touches[1])], Shown::default());
            namespace.obstacles(&touches, &none).await.unwrap().len()
        }
    };
    site.namespace.lock(new_lock("urn:flat", "/dir")).await.unwrap();
    assert_eq!(taken("/dir/sub/file", "/dir/sub/new").await, 0, "it is two levels above");
    assert_eq!(taken("/other", "/dir/new").await, 1);
    site.namespace.unlock("urn:flat").await.unwrap();
    site.namespace.lock(NewLock { deep: true, ..new_lock("urn:deep", "/dir") }).await.unwrap();
    assert_eq!(taken("/dir/sub/file", "/x").await, 1);
    assert_eq!(taken("/x", "/dir/sub/new").await, 1);
    assert_eq!(taken("/dirty", "/dirt").await, 0, "a name that only begins alike is another");
}

async fn a_locked_directory_gets_no_name_for_what_is_put_deep_below_it_either(site: Site) {
    let seen = site.file("1", "/x").await;
    let directory = site.file("2", "/from/file").await;
    let from = site.entry("/from").await;
    site.namespace.make_directory(&path("/locked"), &Shown::default()).await.unwrap();
    site.namespace.lock(new_lock("urn:1", "/locked")).await.unwrap();
    let new = path("/locked/new/name");

    let mary = Shown { tokens: Vec::new(), subject: "mary".into() };
    for (old, seen) in [("/x", &seen), ("/from", &from), ("/from/file", &directory)] {
        let old = path(old);
        let rename =
            Rename { from: &old, seen, to: &new, overwrite: true, create_parents: true, shown: &mary };
        assert!(matches!(site.namespace.rename(&rename).await, Err(ChangeError::Locked(_))));
    }
    let copied = site.namespace.copy_directory(from.id, &new, true, &mary).await;
    assert!(matches!(copied, Err(ChangeError::Locked(_))));
    assert_eq!(site.namespace.lookup(&path("/locked/new")).await.unwrap(), Lookup::Missing);

    site.namespace.copy_directory(from.id, &new, true, &shown("urn:1")).await.unwrap();
    assert!(site.entry("/locked/new/name").await.is_directory());
}

async fn however_many_locks_are_open_a_closed_one_counts(site: Site) {
    site.file("1", "/dir/z").await;
    let mut tokens = Vec::new();
    for number in 0..=MAX_TOLD {
        let (token, at) = (format!("urn:{number}"), format!("/dir/a{number}"));
        site.file(&format!("a{number}"), &at).await;
        let lock = NewLock { exclusive: false, ..new_lock(&token, &at) };
        site.namespace.lock(lock).await.unwrap();
        tokens.push(token);
    }
    let marys = NewLock { subject: "mary".into(), ..new_lock("urn:mary", "/dir/z") };
    site.namespace.lock(marys).await.unwrap();

    let paul = Shown { tokens, subject: "paul".into() };
    let seen = site.entry("/dir").await;
    let deleted = site.namespace.delete(&path("/dir"), &seen, &paul).await;
    assert!(matches!(deleted, Err(ChangeError::Locked(locks)) if locks[0].token == "urn:mary"));
    let over_it = NewLock { exclusive: false, deep: true, ..new_lock("urn:all", "/dir") };
    assert!(matches!(site.namespace.lock(over_it).await, Err(LockError::Locked(_))));
}

async fn locks_exclude_each_other_unless_all_are_shared(site: Site) {
    site.file("1", "/dir/file").await;
    let shared = |token: &str, at: &str| NewLock { exclusive: false, ..new_lock(token, at) };
    site.namespace.lock(shared("urn:1", "/dir/file")).await.unwrap();
    site.namespace.lock(shared("urn:2", "/dir/file")).await.unwrap();
    let refused = |new: NewLock| {
        let namespace = site.namespace.clone();
        async move { matches!(namespace.lock(new).await, Err(LockError::Locked(_))) }
    };
    assert!(refused(new_lock("urn:3", "/dir/file")).await);
    assert!(refused(NewLock { deep: true, ..new_lock("urn:4", "/dir") }).await, "what is below counts");
    assert!(!refused(new_lock("urn:5", "/dir")).await, "without depth it does not");
    assert!(matches!(site.namespace.lock(new_lock("urn:6", "/none")).await, Err(LockError::NotFound)));
    let one = [path("/dir/file")];
    let obstacles = site.namespace.obstacles(&[Touch::Entry(&one[0])], &shown("urn:1")).await.unwrap();
    assert!(obstacles.is_empty(), "one of several shared locks is enough");
}

async fn a_lock_ends_by_itself_unless_it_is_refreshed(site: Site) {
    site.file("1", "/file").await;
    let short = Duration::from_secs(1);
    site.namespace.lock(NewLock { timeout: short, ..new_lock("urn:1", "/file") }).await.unwrap();
    site.namespace.refresh_lock("urn:1", Duration::from_secs(60)).await.unwrap().unwrap();
    tokio::time::sleep(short + Duration::from_millis(100)).await;
    assert!(site.namespace.find_lock("urn:1").await.unwrap().is_some());
    site.namespace.refresh_lock("urn:1", short).await.unwrap().unwrap();
    tokio::time::sleep(short + Duration::from_millis(100)).await;
    assert!(site.namespace.find_lock("urn:1").await.unwrap().is_none());
    assert!(site.namespace.refresh_lock("urn:1", short).await.unwrap().is_none());
    site.namespace.lock(new_lock("urn:2", "/file")).await.unwrap();
}

async fn locks_of_a_page_are_those_of_its_own_entries(site: Site) {
    for (id, at) in [("1", "/é/a"), ("2", "/é/b/deep"), ("3", "/é/c")] {
        site.file(id, at).await;
    }
    for (token, at) in [("urn:a", "/é/a"), ("urn:deep", "/é/b/deep"), ("urn:c", "/é/c")] {
        site.namespace.lock(new_lock(token, at)).await.unwrap();
    }
    let tokens = |first: &'static str, last: &'static str| {
        let namespace = site.namespace.clone();
        async move {
            let locks = namespace.locks_of_page(&path("/é"), first, last).await.unwrap();
            locks.into_iter().map(|lock| lock.token).collect::<Vec<_>>()
        }
    };
    assert_eq!(tokens("a", "z").await, ["urn:a", "urn:c"]);
    assert_eq!(tokens("b", "b").await, Vec::<String>::new());
    assert!(site.namespace.locks_of_page(&NsPath::root(), "a", "é").await.unwrap().is_empty());
}

async fn checksums_that_are_computed_later_are_added_to_those_that_are_known(site: Site) {
    site.file("1", "/file").await;
    let md5 = Checksum::new(Algorithm::Md5, vec![9; 16]).unwrap();
    let other_adler = Checksum::new(Algorithm::Adler32, vec![9; 4]).unwrap();
    site.namespace.add_checksums("r-1", &[other_adler, md5.clone()]).await.unwrap();
    site.namespace.add_checksums("r-unknown", std::slice::from_ref(&md5)).await.unwrap();
    let entry = site.entry("/file").await;
    assert_eq!(entry.file().unwrap().checksums, [finished(7).checksums[0].clone(), md5]);
}
