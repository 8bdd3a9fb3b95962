//! A directory of authorities as grids have it: `<hash>.0` or `*.pem`, and lists of revoked certificates in
//! `<hash>.r0`.

use std::collections::BTreeSet;
use std::path::Path;

use rustls::pki_types::CertificateRevocationListDer;
use rustls::pki_types::pem::PemObject;

use crate::certificate::{self, CertificateError};

/// A directory with more files than that is the wrong one.
const MOST_FILES: usize = 20_000;
/// Largest file that is read, in bytes: revocation lists of large authorities have some MiB.
const MAX_FILE_BYTES: u64 = 64 << 20;

/// What lies in a directory, as DER.
#[derive(Debug, Default)]
pub struct Found {
    /// Certificates of authorities.
    pub authorities: BTreeSet<Vec<u8>>,
    /// Revocation lists.
    pub revocation_lists: BTreeSet<Vec<u8>>,
    /// Files that were passed over, with the reason: what is wrong with one authority must not cut off the others.
    pub passed_over: Vec<String>,
}

/// What a file in such a directory is for, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Certificates of authorities.
    Authority,
    /// Which certificates an authority has taken back.
    RevocationList,
    /// Which names an authority may certify, as Globus writes it.
    SigningPolicy,
    /// The same, as EUGridPMA writes it.
    Namespaces,
}

/// As OpenSSL names them: `<hash>.<n>` and `<hash>.r<n>`; `.pem` beside them, and the policies.
pub fn kind(path: &Path) -> Option<Kind> {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match path.extension()?.to_str()? {
        "pem" | "crt" => Some(Kind::Authority),
        "signing_policy" => Some(Kind::SigningPolicy),
        "namespaces" => Some(Kind::Namespaces),
        number if is_number(number) => Some(Kind::Authority),
        list if list.strip_prefix('r').is_some_and(is_number) => Some(Kind::RevocationList),
        _ => None,
    }
}

/// Calls `each` with the files of a directory that mean something there.
pub fn each_file(directory: &Path, mut each: impl FnMut(Kind, &Path)) -> Result<(), CertificateError> {
    let unreadable = |error| CertificateError::read(directory, error);
    for (number, entry) in std::fs::read_dir(directory).map_err(unreadable)?.enumerate() {
        if number >= MOST_FILES {
            return Err(CertificateError::read(
                directory,
                format!("there are more than {MOST_FILES} files in it"),
            ));
        }
        let path = entry.map_err(unreadable)?.path();
        if let Some(kind) = kind(&path) {
            each(kind, &path);
        }
    }
    Ok(())
}

/// The certificates and lists of a directory.
pub fn read(directory: &Path) -> Result<Found, CertificateError> {
    let mut found = Found::default();
    each_file(directory, |kind, path| {
        let read = match kind {
            Kind::Authority => certificate::read_chain(path)
                .map(|chain| found.authorities.extend(chain.into_iter().map(|der| der.to_vec()))),
            Kind::RevocationList => {
                read_revocation_lists(path).map(|lists| found.revocation_lists.extend(lists))
            }
            Kind::SigningPolicy | Kind::Namespaces => Ok(()),
        };
        if let Err(error) = read {
            found.passed_over.push(error.to_string());
        }
    })?;
    Ok(found)
}

/// The lists of a file: PEM or, as some authorities have it, DER.
pub fn read_revocation_lists(path: &Path) -> Result<Vec<Vec<u8>>, CertificateError> {
    const SEQUENCE: u8 = 0x30;
    let unreadable = |error| CertificateError::read(path, error);
    if std::fs::metadata(path).map_err(unreadable)?.len() > MAX_FILE_BYTES {
        return Err(CertificateError::read(path, format!("it is larger than {MAX_FILE_BYTES} bytes")));
    }
    let bytes = std::fs::read(path).map_err(unreadable)?;
    if bytes.first() == Some(&SEQUENCE) {
        return Ok(vec![bytes]);
    }
    let lists = CertificateRevocationListDer::pem_slice_iter(&bytes)
        .map(|list| list.map(|list| list.to_vec()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| CertificateError::read(path, certificate::text(&error)))?;
    if lists.is_empty() {
        return Err(CertificateError::Nothing { path: path.to_owned(), what: "revocation list" });
    }
    Ok(lists)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_known_by_their_ends() {
        let cases = [
            ("0123abcd.0", Some(Kind::Authority)),
            ("0123abcd.12", Some(Kind::Authority)),
            ("Some-CA.pem", Some(Kind::Authority)),
            ("0123abcd.r0", Some(Kind::RevocationList)),
            ("0123abcd.signing_policy", Some(Kind::SigningPolicy)),
            ("0123abcd.namespaces", Some(Kind::Namespaces)),
            ("0123abcd.r", None),
            ("0123abcd.rx", None),
            ("0123abcd.crl_url", None),
            ("README", None),
        ];
        for (name, expected) in cases {
            assert_eq!(kind(Path::new(name)), expected, "{name}");
        }
    }

    #[test]
    fn what_is_broken_is_passed_over_and_named() {
        let directory = tempfile::tempdir().unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let good = rcgen::CertificateParams::new(Vec::new()).unwrap().self_signed(&key).unwrap();
        std::fs::write(directory.path().join("0123abcd.0"), good.pem()).unwrap();
        std::fs::write(directory.path().join("89abcdef.0"), "nonsense").unwrap();
        std::fs::write(directory.path().join("89abcdef.r0"), "nonsense").unwrap();

        let found = read(directory.path()).unwrap();

        assert_eq!(found.authorities.iter().collect::<Vec<_>>(), [&good.der().to_vec()]);
        assert!(found.revocation_lists.is_empty());
        assert_eq!(found.passed_over.len(), 2, "{:?}", found.passed_over);
        assert!(found.passed_over.iter().all(|text| text.contains("89abcdef")), "{:?}", found.passed_over);
    }
}
