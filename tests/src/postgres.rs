//! A database of PostgreSQL for a story, on the server that `.ci/with-postgres` has started.

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// A database; removed when dropped.
pub struct Database {
    server: String,
    name: String,
}

impl Database {
    /// An empty one. `None`, and a line that says so, where there is no server.
    #[must_use]
    pub fn make() -> Option<Database> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let Ok(server) = std::env::var("PENSTOCK_TEST_POSTGRES") else {
            eprintln!("skipped: PENSTOCK_TEST_POSTGRES names no server; see .ci/with-postgres");
            return None;
        };
        let name = format!("story_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let database = Database { server, name };
        database
            .on_the_server(&format!("CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8'", database.name));
        Some(database)
    }

    /// As a door's configuration names it.
    #[must_use]
    pub fn url(&self) -> String {
        self.server.replace("/postgres?", &format!("/{}?", self.name))
    }

    /// The same, for a user of its own who has this password. At most one for each database.
    #[must_use]
    pub fn url_with_password(&self, password: &str) -> String {
        let user = self.user();
        self.on_the_server(&format!("CREATE ROLE {user} LOGIN PASSWORD '{password}'"));
        self.url().replace("//penstock@", &format!("//{user}@"))
    }

    /// What a statement answers, a line for each row.
    #[must_use]
    pub fn ask(&self, statement: &str) -> String {
        psql(&self.url(), statement)
    }

    /// Changes something behind the doors' backs.
    pub fn execute(&self, statement: &str) {
        let _ = psql(&self.url(), statement);
    }

    fn user(&self) -> String {
        format!("{}_user", self.name)
    }

    fn on_the_server(&self, statement: &str) {
        let _ = psql(&self.server, statement);
    }
}

fn psql(url: &str, statement: &str) -> String {
    let output = Command::new("psql")
        .args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--command", statement, url])
        .output()
        .expect("psql comes with the server");
    assert!(output.status.success(), "{statement}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

impl Drop for Database {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.on_the_server(&format!("DROP DATABASE {} WITH (FORCE)", self.name));
            self.on_the_server(&format!("DROP ROLE IF EXISTS {}", self.user()));
        }
    }
}
