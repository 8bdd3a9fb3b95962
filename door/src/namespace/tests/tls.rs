//! Stories of a server that takes nobody without TLS, as `.ci/with-postgres` starts it on 127.0.0.1.

use std::path::PathBuf;

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _};
use url::Url;

use super::*;
use crate::config::{NamespaceFiles, NamespacePlace, SiteName};

/// The way to a database over the network, for a user with a password.
struct Way {
    url: Url,
    password: tempfile::NamedTempFile,
    ca: PathBuf,
}

impl Way {
    /// Tries to go it, with what stands behind the question mark of the URL.
    async fn open(
        &self,
        query: Option<&str>,
        ca: Option<&std::path::Path>,
    ) -> Result<Namespace, NamespaceError> {
        let mut url = self.url.clone();
        url.set_query(query);
        let place: NamespacePlace = url.as_str().parse().unwrap();
        let files = NamespaceFiles { password: Some(self.password.path()), ca };
        Namespace::open(&place, files, &SiteName::DOOR).await
    }

    async fn refusal(&self, query: Option<&str>, ca: Option<&std::path::Path>) -> String {
        self.open(query, ca).await.unwrap_err().to_string()
    }
}

/// Tells a story of a user who may come from the network.
async fn over_the_network<F>(story: impl FnOnce(Way) -> F + Send + 'static)
where
    F: Future<Output = ()> + Send + 'static,
{
    on_postgres(|site| async move {
        let NamespacePlace::Postgres(url) = &site.place else { unreachable!() };
        let ca =
            std::env::var("PENSTOCK_TEST_POSTGRES_CA").expect("with-postgres says where the authority is");
        let mut admin = PgConnection::connect(url.as_str()).await.unwrap();
        let mut url = Url::parse(url.as_str()).unwrap();
        // One for each database, and so for each story.
        let user = format!("traveller_{}", url.path().trim_matches('/'));
        url.set_username(&user).unwrap();
        let make = format!("CREATE ROLE {user} LOGIN SUPERUSER PASSWORD 'correct'");
        sqlx::raw_sql(AssertSqlSafe(make)).execute(&mut admin).await.unwrap();
        let password = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(password.path(), "correct\n").unwrap();

        let ended = tokio::spawn(story(Way { url, password, ca: ca.into() })).await;

        sqlx::raw_sql(AssertSqlSafe(format!("DROP ROLE {user}"))).execute(&mut admin).await.unwrap();
        if let Err(error) = ended {
            std::panic::resume_unwind(error.into_panic());
        }
    })
    .await;
}

#[tokio::test]
async fn with_the_servers_authority_every_connection_is_by_tls() {
    over_the_network(|way| async move {
        let namespace = way.open(None, Some(&way.ca)).await.unwrap();
        namespace.be_the_only_door_of_its_name().await.unwrap();
        namespace.begin_upload(&upload("1", "/file")).await.unwrap();
        let done = namespace.commit_upload("t-1", "r-1", &finished(7), RULES).await.unwrap();
        assert_eq!(done, Commit::Named(path("/file")));
        assert!(matches!(namespace.lookup(&path("/file")).await.unwrap(), Lookup::Found(_)));

        // The one that asks is among them.
        let mut url = way.url.clone();
        url.set_query(Some(&format!("sslmode=verify-full&sslrootcert={}", way.ca.display())));
        url.set_password(Some("correct")).unwrap();
        let mut admin = PgConnection::connect(url.as_str()).await.unwrap();
        let (encrypted, all): (i64, i64) = sqlx::query_as(
            "SELECT count(*) FILTER (WHERE ssl), count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
             WHERE datname = current_database() AND usename = current_user",
        )
        .fetch_one(&mut admin)
        .await
        .unwrap();
        admin.close().await.unwrap();
        namespace.close().await;
        assert_eq!(encrypted, all);
        assert!(all >= 4, "reader, writer, presence and this one: {all}");
    })
    .await;
}

#[tokio::test]
async fn a_server_with_a_certificate_of_an_unknown_authority_is_refused() {
    over_the_network(|way| async move {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut stranger = rcgen::CertificateParams::new(Vec::new()).unwrap();
        stranger.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), stranger.self_signed(&key).unwrap().pem()).unwrap();

        // By the key, by the URL alone, and with no authority but the public ones.
        let by_url = format!("sslmode=verify-full&sslrootcert={}", file.path().display());
        for (query, ca) in
            [(None, Some(file.path())), (Some(by_url.as_str()), None), (Some("sslmode=verify-full"), None)]
        {
            let error = way.refusal(query, ca).await;
            assert!(error.contains("no safe connection to its server"), "{error}");
            assert!(error.contains("UnknownIssuer") && error.contains("namespace_ca"), "{error}");
            assert!(!error.contains("correct\n") && !error.contains('?'), "{error}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_server_whose_certificate_is_for_another_name_is_refused() {
    over_the_network(|mut way| async move {
        way.url.set_host(Some("127.0.0.1")).unwrap();
        let error = way.refusal(None, Some(&way.ca)).await;
        assert!(error.contains("no safe connection to its server"), "{error}");
        // Who only wants to be encrypted does not ask for the name.
        let by_url = format!("sslmode=verify-ca&sslrootcert={}", way.ca.display());
        way.open(Some(&by_url), None).await.unwrap().close().await;
    })
    .await;
}

#[tokio::test]
async fn a_server_that_demands_tls_takes_nobody_without_it() {
    over_the_network(|way| async move {
        let error = way.refusal(Some("sslmode=disable"), None).await;
        assert!(error.contains("no encryption"), "{error}");
    })
    .await;
}

#[tokio::test]
async fn a_file_without_an_authority_is_named() {
    over_the_network(|way| async move {
        let missing = way.refusal(None, Some(std::path::Path::new("/nonexistent/ca.pem"))).await;
        assert!(missing.starts_with("namespace_ca: cannot read /nonexistent/ca.pem"), "{missing}");
        let password = way.refusal(None, Some(way.password.path())).await;
        assert!(password.contains("holds no certificate") && !password.contains("correct"), "{password}");
    })
    .await;
}
