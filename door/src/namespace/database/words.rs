//! Errors of PostgreSQL in words for people: what failed, and what to do. The driver's own end with a line of the server's source.

use sqlx::migrate::MigrateError;

use penstock_service::check::plain;

/// What to do about an error of the server, by the beginning of its code (PostgreSQL's documentation, appendix A).
const REMEDIES: [(&str, &str); 10] = [
    ("28", "correct the user in namespace, namespace_password_file, or the server's pg_hba.conf"),
    ("3D000", "make the database (createdb), or correct its name in namespace"),
    ("42501", "GRANT it to the door's user, who best owns the database"),
    ("42P01", "a table of the names has been removed: restore the database from a backup"),
    ("25006", "name the primary server in namespace: this one only reads"),
    ("53100", "make room on the server's disk"),
    ("53300", "raise max_connections of the server, or have fewer programs use it"),
    ("53", "the server is short of something: its log says more"),
    ("57P03", "the server is starting: try again in a moment"),
    ("57P", "the server is being stopped, or has ended this connection: start it again"),
];

/// An error of a statement or a connection.
pub(super) fn of(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(refusal) => {
            let code = refusal.code().unwrap_or_default();
            of_server(refusal.message(), &code)
        }
        sqlx::Error::Io(error) if error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()) => {
            error.to_string()
        }
        sqlx::Error::Io(error) => {
            format!("no connection to the server: {error}; start it, or correct host and port in namespace")
        }
        sqlx::Error::Tls(error) => format!("no TLS with the server: {error}"),
        sqlx::Error::Protocol(problem) => format!(
            "the connection to the server is broken, or it is no PostgreSQL: {}; look at the server's log",
            plain(problem)
        ),
        other => other.to_string(),
    }
}

/// An error of bringing tables up to date.
pub(super) fn of_migration(error: &MigrateError) -> String {
    match error {
        MigrateError::Execute(error) => of(error),
        MigrateError::ExecuteMigration(error, step) => format!("step {step}: {}", of(error)),
        other => other.to_string(),
    }
}

fn of_server(message: &str, code: &str) -> String {
    let message = plain(message);
    match REMEDIES.iter().find(|(start, _)| code.starts_with(start)) {
        Some((_, remedy)) => format!("{message}; {remedy}"),
        None => format!("{message} (SQLSTATE {code}); the server's log says more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_the_server_says_what_to_do_by_the_most_exact_code() {
        for (code, told) in [
            ("28P01", "correct the user"),
            ("3D000", "createdb"),
            ("53300", "max_connections"),
            ("53200", "short of something"),
            ("57P03", "in a moment"),
            ("57P01", "being stopped"),
            ("22012", "(SQLSTATE 22012)"),
        ] {
            let text = of_server("it does\nnot work", code);
            assert!(text.starts_with("it does\u{fffd}not work"), "{text}");
            assert!(text.contains(told), "{code}: {text}");
        }
    }

    #[test]
    fn a_server_that_is_away_is_told_so_and_one_without_a_good_certificate_is_not() {
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        let text = of(&sqlx::Error::Io(refused));
        assert!(text.starts_with("no connection to the server: ") && text.contains("start it"), "{text}");
        let certificate = rustls::Error::InvalidCertificate(rustls::CertificateError::Expired);
        let text = of(&sqlx::Error::Io(std::io::Error::other(certificate)));
        assert!(!text.contains("start it"), "{text}");
    }
}
