//! Who clients are: what each scheme needs to know.

use std::path::PathBuf;

use serde::Deserialize;

/// The table `[authentication]`. A scheme is off whose key is missing.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Authentication {
    /// Client certificates: the authorities that the site trusts, as a directory that grids have
    /// (`/etc/grid-security/certificates`) or as a PEM file. Read again when something in it changes. Needs `[tls]`.
    pub authorities: Option<PathBuf>,
    /// Basic: users and their passwords, as `htpasswd -B` makes them. Read again when it changes. Needs `[tls]`.
    pub passwords: Option<PathBuf>,
}
