//! A temporary directory of one story.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::binaries;

/// A directory that goes with the story, on the file system of the build (a disk: /tmp may be memory, which has no
/// O_DIRECT, so that the stories would tell only half of it).
#[derive(Debug)]
pub struct Room(TempDir);

impl Room {
    /// A new, empty one.
    #[must_use]
    pub fn new() -> Room {
        let parent = binaries::target_directory().join("tmp");
        std::fs::create_dir_all(&parent).expect("the target directory can be written");
        // Short: the path of a Unix socket has at most 107 bytes.
        Room(
            tempfile::Builder::new()
                .prefix("p")
                .rand_bytes(8)
                .tempdir_in(parent)
                .expect("a temporary directory"),
        )
    }

    /// One where every user of the machine can go and which is theirs to write to.
    #[must_use]
    pub fn for_everyone() -> Room {
        use std::os::unix::fs::PermissionsExt;
        let room = tempfile::Builder::new().prefix("penstock").tempdir().expect("a temporary directory");
        std::fs::set_permissions(room.path(), PermissionsExt::from_mode(0o777))
            .expect("the owner may do that");
        Room(room)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// A name in it.
    #[must_use]
    pub fn join(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

impl Default for Room {
    fn default() -> Self {
        Self::new()
    }
}
