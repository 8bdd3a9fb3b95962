//! Where the daemons' executables are: built once per run, with the profile of the running tests.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Set to a directory, the executables are taken from there (a package's, a release build's) and nothing is built.
pub const DIRECTORY_VARIABLE: &str = "PENSTOCK_TEST_BINARIES";

/// The executable of that name: `penstock`, `penstock-pool` or `penstock-door`.
#[must_use]
pub fn binary(name: &str) -> PathBuf {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    let path = DIRECTORY.get_or_init(directory).join(name);
    assert!(path.is_file(), "there is no executable {}", path.display());
    path
}

/// The `target` directory of the running test.
#[must_use]
pub fn target_directory() -> PathBuf {
    profile_directory().parent().expect("a profile's directory lies in the target directory").to_owned()
}

fn directory() -> PathBuf {
    if let Some(directory) = env::var_os(DIRECTORY_VARIABLE) {
        return directory.into();
    }
    let directory = profile_directory();
    build(&directory);
    directory
}

/// Tests run as `target/<profile>/deps/<name>-<hash>`, programs as `target/<profile>/<name>`.
fn profile_directory() -> PathBuf {
    let program = env::current_exe().expect("a running program has a path");
    let directory = program.parent().expect("a program lies in a directory");
    let profile = if directory.ends_with("deps") { directory.parent() } else { Some(directory) };
    profile.expect("tests lie in target/<profile>/deps").to_owned()
}

fn build(directory: &Path) {
    let profile = match directory.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(profile) => profile,
    };
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        // The whole workspace, as the tests were built: another choice of packages means other features of the
        // libraries below them, and all of those would be built again.
        .args(["build", "--workspace", "--bins", "--profile", profile, "--target-dir"])
        .arg(directory.parent().expect("a profile's directory lies in the target directory"))
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests lie in the workspace"))
        .output()
        .expect("cargo runs");
    assert!(
        output.status.success(),
        "the daemons do not build:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
