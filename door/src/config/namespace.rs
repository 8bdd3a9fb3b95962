//! Where the namespace is, and how its server is entered: the keys `namespace`, `namespace_password_file`, `namespace_ca`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use penstock_service::settings::Wrong;
use serde::de::{self, Deserialize, Deserializer};
use url::Url;

/// An SQLite file, or a database of PostgreSQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NamespacePlace {
    /// A file on this machine, for one door.
    Sqlite(PathBuf),
    /// A server, for any number of doors.
    Postgres(PostgresUrl),
}

/// Which database of which server, without the password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostgresUrl(Url);

/// Files that it takes to enter a database's server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NamespaceFiles<'a> {
    /// The password. Default: as for PostgreSQL's own clients (`PGPASSFILE`, `~/.pgpass`).
    pub password: Option<&'a Path>,
    /// The authority of the server's certificate: with it, the server has to show one, for its own name.
    pub ca: Option<&'a Path>,
}

/// What may stand behind the question mark.
const QUERY_KEYS: [&str; 5] = ["host", "sslmode", "sslrootcert", "sslcert", "sslkey"];

impl PostgresUrl {
    /// All of it.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Whose password is needed.
    pub fn user(&self) -> &str {
        self.0.username()
    }

    /// What stands behind the question mark for a key.
    fn option(&self, wanted: &str) -> Option<String> {
        let mut options = self.0.query_pairs().filter(|(key, _)| key == wanted);
        options.next().map(|(_, value)| value.into_owned())
    }

    /// Why an authority for the server's certificate does not go with the rest of the URL.
    fn obstacle_to_ca(&self) -> Option<String> {
        if let Some(mode) = self.option("sslmode").filter(|mode| mode != "verify-full") {
            return Some(format!(
                "with it the server always proves who it is, and the URL in namespace has sslmode={}: leave that out",
                mode.escape_debug()
            ));
        }
        if self.option("sslrootcert").is_some() {
            return Some(
                "the URL in namespace names an authority, too (sslrootcert): leave that out".to_owned(),
            );
        }
        if self.option("host").is_some_and(|host| host.starts_with('/')) {
            return Some(
                "the URL in namespace leads to a Unix socket, which has no certificates: remove the key"
                    .to_owned(),
            );
        }
        None
    }
}

impl fmt::Display for PostgresUrl {
    /// Without what stands behind the question mark, which is about the way there.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = self.0.as_str();
        formatter.write_str(whole.split_once('?').map_or(whole, |(place, _)| place))
    }
}

impl FromStr for PostgresUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // The text is not shown: what is wrong with it may be that it holds a password.
        let wrong = |problem: &str| {
            Err(format!("{problem}: write the database as \"postgres://USER@HOST/DATABASE\""))
        };
        let Ok(url) = Url::parse(text) else { return wrong("this is no URL") };
        if url.password().is_some() {
            return Err(
                "the URL holds a password: write it into a file that only the door can read, and name that \
                        with namespace_password_file (or in the environment with PGPASSFILE)"
                    .to_owned(),
            );
        }
        if url.fragment().is_some() || url.path().trim_matches('/').contains('/') {
            return wrong("this is no database's URL");
        }
        if url.path().trim_matches('/').is_empty() {
            return wrong("the URL names no database");
        }
        if url.username().is_empty() {
            return wrong("the URL names no user");
        }
        for (key, _) in url.query_pairs() {
            if !QUERY_KEYS.contains(&&*key) {
                return Err(format!(
                    "the URL has \"{}\" behind its question mark, where only {} may stand",
                    key.escape_debug(),
                    QUERY_KEYS.join(", ")
                ));
            }
        }
        Ok(Self(url))
    }
}

impl NamespacePlace {
    /// Why these files are of no use there; `None` when they are.
    pub(super) fn contradiction(&self, files: NamespaceFiles<'_>) -> Option<Wrong> {
        const ONLY_SERVERS: &str = "remove the key, or let namespace begin with \"postgres://\"";
        match self {
            NamespacePlace::Sqlite(_) => {
                let password = files.password.map(|_| ("namespace_password_file", "has no password"));
                let ca = files.ca.map(|_| ("namespace_ca", "has no server"));
                let (key, lack) = password.or(ca)?;
                Some(Wrong::new(key, format!("an SQLite file {lack}: {ONLY_SERVERS}")))
            }
            NamespacePlace::Postgres(url) => {
                files.ca?;
                url.obstacle_to_ca().map(|problem| Wrong::new("namespace_ca", problem))
            }
        }
    }
}

impl fmt::Display for NamespacePlace {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NamespacePlace::Sqlite(path) => path.display().fmt(formatter),
            NamespacePlace::Postgres(url) => url.fmt(formatter),
        }
    }
}

impl From<PathBuf> for NamespacePlace {
    fn from(path: PathBuf) -> Self {
        NamespacePlace::Sqlite(path)
    }
}

impl FromStr for NamespacePlace {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once("://") {
            Some(("postgres" | "postgresql", _)) => text.parse().map(NamespacePlace::Postgres),
            Some(_) => Err("this is neither the path of a file nor begins with \"postgres://\"".to_owned()),
            None if text.is_empty() => Err("the path is empty".to_owned()),
            None => Ok(NamespacePlace::Sqlite(text.into())),
        }
    }
}

impl<'de> Deserialize<'de> for NamespacePlace {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_a_file_and_a_url_is_a_server() {
        let place = |text: &str| text.parse::<NamespacePlace>().unwrap();
        assert_eq!(place("/var/lib/names.db"), NamespacePlace::Sqlite("/var/lib/names.db".into()));
        for text in [
            "postgres://door@db.example.org/names",
            "postgresql://door@db.example.org:5433/names?sslmode=verify-full&sslrootcert=/etc/ca.pem",
            "postgres://door@localhost/names?host=/run/postgresql",
        ] {
            let NamespacePlace::Postgres(url) = place(text) else { panic!("{text}") };
            assert_eq!((url.as_str(), url.user()), (text, "door"));
        }
    }

    #[test]
    fn a_url_that_is_wrong_is_refused_and_a_password_never_shown() {
        for (text, expected) in [
            ("postgres://door:hidden@db/names", "the URL holds a password"),
            ("postgres://door@db/names?password=hidden", "\"password\" behind its question mark"),
            ("postgres://door@db/", "names no database"),
            ("postgres://db/names", "names no user"),
            ("postgres://door@db/names/hidden", "no database's URL"),
            ("postgres://door@db:hidden/names", "no URL"),
            ("mysql://door@db/hidden", "neither the path of a file"),
            ("", "empty"),
        ] {
            let error = text.parse::<NamespacePlace>().unwrap_err();
            assert!(error.contains(expected) && !error.contains("hidden"), "{text}: {error}");
        }
    }

    #[test]
    fn an_authority_goes_with_a_server_that_is_reached_over_the_network_and_with_no_weaker_check() {
        let files = NamespaceFiles { ca: Some(Path::new("/etc/ca.pem")), ..NamespaceFiles::default() };
        for (text, expected) in [
            ("postgres://door@db/names", None),
            ("postgres://door@db/names?sslmode=verify-full&sslcert=/c&sslkey=/k", None),
            ("postgres://door@db/names?sslmode=require", Some("has sslmode=require")),
            ("postgres://door@db/names?sslrootcert=/etc/other.pem", Some("names an authority, too")),
            ("postgres://door@localhost/names?host=/run/postgresql", Some("leads to a Unix socket")),
            ("/var/lib/names.db", Some("an SQLite file has no server")),
        ] {
            let wrong = text.parse::<NamespacePlace>().unwrap().contradiction(files);
            let told = wrong.map(|wrong| format!("{wrong:?}"));
            assert_eq!(told.is_some(), expected.is_some(), "{text}: {told:?}");
            assert!(told.unwrap_or_default().contains(expected.unwrap_or_default()), "{text}");
        }
    }

    #[test]
    fn only_the_place_is_shown() {
        let place: NamespacePlace = "postgres://door@db/names?sslkey=/etc/key".parse().unwrap();
        assert_eq!(place.to_string(), "postgres://door@db/names");
    }
}
