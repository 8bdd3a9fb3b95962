//! Where the stories of the namespace happen: a file of their own, or a database of their own on a server.
//!
//! `PENSTOCK_TEST_POSTGRES` names a server on which databases can be made: `.ci/with-postgres COMMAND` starts one for a
//! command. Without it the stories on PostgreSQL say that they are skipped.

use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _};
use url::Url;

use crate::config::{NamespaceFiles, NamespacePlace, SiteName};
use crate::namespace::Namespace;

/// A namespace that is empty at the beginning, open for a door called "door".
pub(in crate::namespace) struct Site {
    pub namespace: Namespace,
    pub place: NamespacePlace,
}

impl Site {
    async fn at(place: NamespacePlace) -> Site {
        let namespace = Namespace::open(&place, NamespaceFiles::default(), &SiteName::DOOR).await.unwrap();
        Site { namespace, place }
    }

    /// The same names for another door, or for the same once more.
    pub async fn door(&self, name: &str) -> Namespace {
        Namespace::open(&self.place, NamespaceFiles::default(), &name.parse().unwrap()).await.unwrap()
    }
}

/// Tells a story with a file.
pub(in crate::namespace) async fn on_sqlite<F: Future<Output = ()>>(story: impl FnOnce(Site) -> F) {
    let directory = tempfile::tempdir().unwrap();
    story(Site::at(NamespacePlace::Sqlite(directory.path().join("namespace.db"))).await).await;
}

/// Tells a story with a database of PostgreSQL, and removes it whatever the end.
pub(in crate::namespace) async fn on_postgres<F>(story: impl FnOnce(Site) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let Ok(server) = std::env::var("PENSTOCK_TEST_POSTGRES") else {
        eprintln!("skipped: PENSTOCK_TEST_POSTGRES names no server; see .ci/with-postgres");
        return;
    };
    let name = format!("namespace_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let mut admin = PgConnection::connect(&server).await.unwrap();
    let make = format!("CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'");
    sqlx::raw_sql(AssertSqlSafe(make)).execute(&mut admin).await.unwrap();
    let mut url = Url::parse(&server).unwrap();
    url.set_path(&name);
    let site = Site::at(url.as_str().parse().unwrap()).await;
    let ended = tokio::spawn(story(site)).await;
    let remove = format!("DROP DATABASE {name} WITH (FORCE)");
    sqlx::raw_sql(AssertSqlSafe(remove)).execute(&mut admin).await.unwrap();
    if let Err(error) = ended {
        std::panic::resume_unwind(error.into_panic());
    }
}

/// Each story twice: on a file and on a server.
macro_rules! stories {
    ($($story:ident),+ $(,)?) => {
        mod sqlite {
            $(
                #[tokio::test]
                async fn $story() {
                    super::on_sqlite(super::$story).await;
                }
            )+
        }
        mod postgres {
            $(
                #[tokio::test]
                async fn $story() {
                    super::on_postgres(super::$story).await;
                }
            )+
        }
    };
}
pub(in crate::namespace) use stories;
