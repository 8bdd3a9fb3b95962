//! The namespace: a file that can be written, or a database that answers and has tables of this version.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::Config;
use crate::config::{NamespaceFiles, NamespacePlace, PostgresUrl};
use crate::namespace::database::inspection::{Inspection, Tables, inspect};
use anyhow::Context as _;
use penstock_service::check::Finding;
use penstock_service::check::files::{private, writable};

const WHAT: &str = "namespace";
/// For a database to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Looks at it.
pub fn look(config: &Config) -> anyhow::Result<Vec<Finding>> {
    match &config.namespace {
        NamespacePlace::Sqlite(path) => Ok(vec![sqlite(path)]),
        NamespacePlace::Postgres(url) => {
            let files = config.namespace_files();
            let mut findings = vec![postgres(url, files, config.name.as_str())?];
            findings.extend(files.password.and_then(|path| private("namespace, password", path)));
            Ok(findings)
        }
    }
}

fn sqlite(path: &Path) -> Finding {
    let directory = match path.parent() {
        Some(directory) if directory != Path::new("") => directory,
        _ => Path::new("."),
    };
    // SQLite makes files of its own beside the database.
    for place in [directory, path] {
        match writable(place) {
            Ok(()) => {}
            Err(_) if place == path && !path.exists() => {
                return Finding::ok(
                    WHAT,
                    format!("{}: not there yet, the first start makes it", path.display()),
                );
            }
            Err(error) => {
                return Finding::failed(
                    WHAT,
                    format!("{} cannot be written: {error}", place.display()),
                    "let the daemon's user write there (StateDirectory= of its unit), or run this as that user",
                );
            }
        }
    }
    let size = fs::metadata(path).map_or(0, |metadata| metadata.len());
    Finding::ok(WHAT, format!("{}: {} KiB", path.display(), size.div_ceil(1024)))
}

fn postgres(url: &PostgresUrl, files: NamespaceFiles<'_>, door: &str) -> anyhow::Result<Finding> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the command's runtime")?;
    let looked = runtime.block_on(async { tokio::time::timeout(PATIENCE, inspect(url, files, door)).await });
    Ok(match looked {
        Err(_) => Finding::failed(
            WHAT,
            format!("{url}: no answer within {} s", PATIENCE.as_secs()),
            "start the server, or correct namespace",
        ),
        Ok(Err(error)) => {
            let remedy = "correct namespace, namespace_password_file and namespace_ca, or let the server take this door's user \
                          (docs/door-configuration.md, pg_hba.conf there)";
            Finding::failed(WHAT, error.to_string(), remedy)
        }
        Ok(Ok(inspection)) => judge(&url.to_string(), &inspection),
    })
}

fn judge(place: &str, Inspection { server, tables }: &Inspection) -> Finding {
    let found = format!("{place}: PostgreSQL {server}");
    match tables {
        Tables::UpToDate => Finding::ok(WHAT, format!("{found}, tables of this version")),
        Tables::Behind { done: 0, .. } => {
            Finding::ok(WHAT, format!("{found}, no tables yet: the first start makes them"))
        }
        Tables::Behind { done, needed } => Finding::warning(
            WHAT,
            format!("{found}, tables of an earlier version ({done} of {needed} steps)"),
            "the next start brings them up to date; older doors cannot use them then (docs/upgrade.md)",
        ),
        Tables::Unsuited(problem) => Finding::failed(
            WHAT,
            format!("{found}: {problem}"),
            "use the version of Penstock that made them or a newer one, or another database",
        ),
    }
}

#[cfg(test)]
mod tests {
    use penstock_service::check::Level;

    use super::*;

    #[test]
    fn a_file_needs_a_directory_that_can_be_written() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("names.db");
        let early = sqlite(&path);
        assert!(early.level == Level::Ok && early.found.contains("first start"), "{early:?}");
        fs::write(&path, "x").unwrap();
        assert!(sqlite(&path).found.ends_with("names.db: 1 KiB"));
        assert_eq!(sqlite(Path::new("/nonexistent/names.db")).level, Level::Failed);
    }

    #[test]
    fn a_database_that_does_not_answer_is_told_of_and_an_open_password_file_too() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let password = directory.path().join("password");
        fs::write(&password, "hidden\n").unwrap();
        fs::set_permissions(&password, PermissionsExt::from_mode(0o644)).unwrap();
        let text = format!(
            "namespace = \"postgres://door@localhost/names?host={}\"\nnamespace_password_file = \"{}\"\n\
             macaroon_keys = \"/k\"\n[[pools]]\nname = \"p\"\nsocket = \"/s\"\n",
            directory.path().display(),
            password.display()
        );
        let config = Config::parse(&text, Path::new("door.toml")).unwrap();
        let findings = look(&config).unwrap();
        let levels: Vec<_> = findings.iter().map(|finding| (finding.what, finding.level)).collect();
        assert_eq!(levels, [(WHAT, Level::Failed), ("namespace, password", Level::Warning)], "{findings:?}");
        assert!(!format!("{findings:?}").contains("hidden"));
    }

    #[test]
    fn tables_of_a_newer_version_fail_and_those_of_an_older_one_are_worth_a_word() {
        let judged = |tables| judge("db", &Inspection { server: "16.4".into(), tables });
        for (tables, level, told) in [
            (Tables::UpToDate, Level::Ok, "tables of this version"),
            (Tables::Behind { done: 0, needed: 2 }, Level::Ok, "no tables yet"),
            (Tables::Behind { done: 1, needed: 2 }, Level::Warning, "1 of 2 steps"),
            (Tables::Unsuited("a newer one".into()), Level::Failed, "db: PostgreSQL 16.4: a newer one"),
        ] {
            let finding = judged(tables);
            assert_eq!(finding.level, level, "{finding:?}");
            assert!(finding.found.contains(told), "{finding:?}");
        }
    }
}
