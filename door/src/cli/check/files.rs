//! The namespace, the keys, and certificates with their dates.

use std::fs;
use std::path::Path;

use penstock_door::auth::keys::KeyRing;
use penstock_door::{Config, PoolAccess};
use penstock_service::check::Finding;
use penstock_service::check::files::{private, writable};

/// Looks at them.
pub fn look(config: &Config) -> Vec<Finding> {
    let mut findings = vec![namespace(&config.namespace), keys(&config.macaroon_keys)];
    for pool in &config.pools {
        if let PoolAccess::Tls { files, .. } = &pool.access {
            findings.push(readable("pools, TLS", &files.cert));
            findings.push(readable("pools, CA", &files.ca));
            findings.extend(private("pools, key", &files.key));
        }
    }
    // Pools mostly share them.
    let mut told: Vec<Finding> = Vec::new();
    findings.retain(|finding| {
        let is_new = !told.contains(finding);
        told.push(finding.clone());
        is_new
    });
    findings
}

fn namespace(path: &Path) -> Finding {
    const WHAT: &str = "namespace";
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

fn keys(path: &Path) -> Finding {
    const WHAT: &str = "macaroon keys";
    match KeyRing::load(path) {
        Ok(_) => Finding::ok(WHAT, format!("{}: good", path.display())),
        Err(error) => Finding::failed(WHAT, error.to_string(), "as it says; tokens are signed with them"),
    }
}

fn readable(what: &'static str, path: &Path) -> Finding {
    match fs::read(path) {
        Ok(_) => Finding::ok(what, path.display().to_string()),
        Err(error) => {
            let found = format!("{}: {error}", path.display());
            Finding::failed(what, found, "correct the file or its path, or let the daemon's user read it")
        }
    }
}

#[cfg(test)]
mod tests {
    use penstock_service::check::Level;

    use super::*;

    #[test]
    fn a_namespace_needs_a_directory_that_can_be_written() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("names.db");
        let early = namespace(&path);
        assert!(early.level == Level::Ok && early.found.contains("first start"), "{early:?}");
        fs::write(&path, "x").unwrap();
        assert!(namespace(&path).found.ends_with("names.db: 1 KiB"));
        assert_eq!(namespace(Path::new("/nonexistent/names.db")).level, Level::Failed);
    }

    #[test]
    fn keys_that_are_missing_say_how_to_make_them() {
        let finding = keys(Path::new("/nonexistent/keys"));
        assert!(finding.level == Level::Failed && finding.found.contains("--init-token"), "{finding:?}");
    }

    #[test]
    fn a_certificate_that_all_pools_share_is_told_once() {
        let text = "namespace = \"/nonexistent/n\"\nmacaroon_keys = \"/nonexistent/k\"\n".to_owned()
            + &["a", "b"].map(|name| {
                format!("[[pools]]\nname = \"{name}\"\naddress = \"{name}:1\"\n[pools.tls]\nca = \"/ca\"\ncert = \"/c\"\nkey = \"/k\"\n")
            }).concat();
        let config = Config::parse(&text, Path::new("door.toml")).unwrap();
        let findings = look(&config);
        assert_eq!(findings.iter().filter(|finding| finding.what == "pools, TLS").count(), 1, "{findings:?}");
    }
}
