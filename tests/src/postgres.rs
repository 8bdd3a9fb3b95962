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

    fn on_the_server(&self, statement: &str) {
        let output = Command::new("psql")
            .args(["--no-psqlrc", "--quiet", "--command", statement, &self.server])
            .output()
            .expect("psql comes with the server");
        assert!(output.status.success(), "{statement}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.on_the_server(&format!("DROP DATABASE {} WITH (FORCE)", self.name));
        }
    }
}
