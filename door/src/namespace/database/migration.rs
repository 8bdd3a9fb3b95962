//! The tables, version by version: what brings a database up to date.
//!
//! One file for each step in `migrations/`, which never changes once it was released: the database knows its digest.
//! Not `sqlx::migrate!`, for which all of sqlx, both databases and TLS are built a second time, for the compiler.

use sqlx::SqlSafeStr as _;
use sqlx::migrate::{Migration, MigrationType, Migrator};

/// A step: its number, what it is about, and its statements.
type Step = (i64, &'static str, &'static str);

/// Of an SQLite file.
const SQLITE: [Step; 3] = [
    (1, "namespace", include_str!("../../../migrations/sqlite/0001_namespace.sql")),
    (2, "properties and locks", include_str!("../../../migrations/sqlite/0002_properties_and_locks.sql")),
    (3, "doors", include_str!("../../../migrations/sqlite/0003_doors.sql")),
];

/// Of a PostgreSQL database.
const POSTGRES: [Step; 1] =
    [(1, "namespace", include_str!("../../../migrations/postgres/0001_namespace.sql"))];

/// All steps of an SQLite file.
pub(super) fn of_sqlite() -> Migrator {
    migrator(&SQLITE)
}

/// All steps of a PostgreSQL database.
pub(super) fn of_postgres() -> Migrator {
    migrator(&POSTGRES)
}

fn migrator(steps: &[Step]) -> Migrator {
    let migration = |&(version, description, sql): &Step| {
        Migration::new(version, description.into(), MigrationType::Simple, sql.into_sql_str(), false)
    };
    Migrator::with_migrations(steps.iter().map(migration).collect())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn every_file_is_a_step_under_its_number_and_name() {
        for (directory, steps) in [("sqlite", &SQLITE[..]), ("postgres", &POSTGRES[..])] {
            let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(directory);
            let mut files: Vec<(String, String)> = std::fs::read_dir(directory)
                .unwrap()
                .map(|entry| entry.unwrap().path())
                .map(|path| {
                    let name = path.file_name().unwrap().to_str().unwrap().to_owned();
                    (name, std::fs::read_to_string(&path).unwrap())
                })
                .collect();
            files.sort();
            let name = |(version, description, sql): &Step| {
                (format!("{version:04}_{}.sql", description.replace(' ', "_")), (*sql).to_owned())
            };
            assert_eq!(files, steps.iter().map(name).collect::<Vec<_>>());
        }
    }

    /// A database that was made by an earlier version knows these.
    #[test]
    fn released_steps_stay_as_they_are() {
        let digests = |migrator: Migrator| {
            let hex = |bytes: &[u8]| bytes[..8].iter().map(|byte| format!("{byte:02x}")).collect::<String>();
            migrator.iter().map(|step| (step.version, hex(&step.checksum))).collect::<Vec<_>>()
        };
        let known = |steps: &[(i64, &str)]| {
            steps.iter().map(|&(version, digest)| (version, digest.to_owned())).collect::<Vec<_>>()
        };
        assert_eq!(
            digests(of_sqlite()),
            known(&[(1, "a324c818fb0c6c00"), (2, "4656835b9e8ea16b"), (3, "28dc30302414e159")])
        );
        assert_eq!(digests(of_postgres()), known(&[(1, "920bf047df629529")]));
    }
}
