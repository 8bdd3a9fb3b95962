//! Small file systems of a story's own: an image on a loop device, or memory. They can be filled, become read-only as
//! a failing disk makes them, lose a part of their disk, and rot below the page cache.
//!
//! Unmounted and detached when dropped, also by a story that fails.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::FallocateFlags;

use crate::files::MIB;
use crate::room::Room;

/// What kind of file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The usual one. 64 MiB.
    Ext4,
    /// That of many disk servers. 320 MiB, as `mkfs.xfs` makes none below 300 MiB.
    Xfs,
    /// Memory: without direct I/O before Linux 6.6, and without user attributes there. 64 MiB.
    Tmpfs,
}

/// A mounted file system.
#[derive(Debug)]
pub struct Volume {
    kind: Kind,
    device: Option<String>,
    // The last to go.
    room: Room,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Ext4 => "ext4",
            Kind::Xfs => "xfs",
            Kind::Tmpfs => "tmpfs",
        }
    }

    fn size_bytes(self) -> u64 {
        match self {
            Kind::Ext4 | Kind::Tmpfs => 64 * MIB,
            Kind::Xfs => 320 * MIB,
        }
    }

    fn options(self) -> &'static str {
        match self {
            // What distributions set for data disks, so that a broken one is not written to any more.
            Kind::Ext4 => "errors=remount-ro",
            Kind::Xfs => "defaults",
            Kind::Tmpfs => "size=64M",
        }
    }
}

impl Volume {
    /// A new, empty one; else `None`, after it has said why the story is skipped.
    #[must_use]
    pub fn new_or_skip(kind: Kind) -> Option<Volume> {
        match Self::new(kind) {
            Ok(volume) => Some(volume),
            Err(why) => {
                println!("skipped: no {} of one's own here: {why}", kind.name());
                None
            }
        }
    }

    fn new(kind: Kind) -> Result<Volume, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("only root can mount".to_owned());
        }
        let mut volume = Volume { kind, device: None, room: Room::new() };
        std::fs::create_dir(volume.path()).map_err(|error| error.to_string())?;
        if kind != Kind::Tmpfs {
            let image = File::create(volume.image()).map_err(|error| error.to_string())?;
            image.set_len(kind.size_bytes()).map_err(|error| error.to_string())?;
            match kind {
                Kind::Ext4 => {
                    run(Command::new("mkfs.ext4").args(["-q", "-F", "-m0", "-b4096"]).arg(volume.image()))?
                }
                Kind::Xfs => run(Command::new("mkfs.xfs").args(["-q", "-f"]).arg(volume.image()))?,
                Kind::Tmpfs => unreachable!("memory has no image"),
            };
            let device = run(Command::new("losetup").args(["--find", "--show"]).arg(volume.image()))?;
            volume.device = Some(device.trim().to_owned());
        }
        volume.mount()?;
        Ok(volume)
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.room.join("v")
    }

    /// Takes space, so that this many bytes are left (a little less: the taking takes some, too).
    pub fn leave_free(&self, bytes: u64) {
        let taken = self.free_bytes().saturating_sub(bytes);
        rustix::fs::fallocate(self.ballast(), FallocateFlags::empty(), 0, taken)
            .expect("there is that much space");
    }

    /// Takes all space, to the last block.
    pub fn fill(&self) {
        let (ballast, mut end, mut piece) = (self.ballast(), 0, 16 * MIB);
        while piece >= 4096 {
            match rustix::fs::fallocate(&ballast, FallocateFlags::empty(), end, piece) {
                Ok(()) => end += piece,
                Err(_) => piece /= 2,
            }
        }
    }

    /// Gives back what [`Volume::leave_free`] or [`Volume::fill`] took.
    pub fn free_again(&self) {
        std::fs::remove_file(self.path().join("ballast")).expect("the ballast is there");
    }

    /// Bytes that are free.
    #[must_use]
    pub fn free_bytes(&self) -> u64 {
        let facts = rustix::fs::statvfs(self.path()).expect("a mounted file system has numbers");
        facts.f_bavail * facts.f_frsize
    }

    /// The kernel finds the file system inconsistent: it is read-only from here on, under whoever uses it. ext4 only.
    pub fn fail(&self) {
        let device = self.device.as_deref().and_then(|device| device.strip_prefix("/dev/"));
        let trigger = format!("/sys/fs/ext4/{}/trigger_fs_error", device.expect("ext4 is on a device"));
        std::fs::write(&trigger, "a story").unwrap_or_else(|error| panic!("{trigger}: {error}"));
    }

    /// Unmounts, repairs and mounts it again: what an admin does after [`Volume::fail`]. Nobody may use it meanwhile.
    pub fn repair(&self) {
        run(Command::new("umount").arg(self.path())).expect("nobody uses it");
        let device = self.device.as_deref().expect("memory needs no repair");
        // 1 says that something was corrected.
        let status = Command::new("e2fsck").args(["-p", device]).output().expect("e2fsck is there").status;
        assert!(status.code().is_some_and(|code| code <= 1), "e2fsck ended with {status}");
        self.mount().expect("it was mounted before");
    }

    /// Inverts the lowest bit of a byte of a file on the disk, as decay does: below the page cache, with all times of
    /// the file as they were.
    pub fn flip_bit_on_disk(&self, file: &Path, offset: u64) {
        let place = physical(file, offset);
        let image = OpenOptions::new().read(true).write(true).open(self.image()).expect("the image is ours");
        let mut byte = [0];
        image.read_exact_at(&mut byte, place).expect("the image can be read");
        byte[0] ^= 1;
        image.write_all_at(&byte, place).expect("the image can be written");
    }

    /// The disk loses everything from a byte of a file on: reading there is an I/O error.
    pub fn lose_from(&self, file: &Path, offset: u64) {
        let image = OpenOptions::new().write(true).open(self.image()).expect("the image is ours");
        image.set_len(physical(file, offset)).expect("the image can be cut off");
    }

    /// The disk is pulled out under a file system that is mounted and used: whatever is asked of it is an I/O error from
    /// here on (FS_IOC_GOINGDOWN).
    pub fn vanish(&self) {
        run(Command::new("xfs_io").args(["-x", "-c", "shutdown -f"]).arg(self.path()))
            .expect("xfs_io is there");
    }

    /// The lost part is there again, and is zeros.
    pub fn replace_disk(&self) {
        let image = OpenOptions::new().write(true).open(self.image()).expect("the image is ours");
        image.set_len(self.kind.size_bytes()).expect("the image can grow");
    }

    fn ballast(&self) -> File {
        File::create(self.path().join("ballast")).expect("the file can be made")
    }

    fn image(&self) -> PathBuf {
        self.room.join("image")
    }

    fn mount(&self) -> Result<(), String> {
        let source = self.device.as_deref().unwrap_or("tmpfs");
        let mut mount = Command::new("mount");
        mount.args(["-t", self.kind.name(), "-o", self.kind.options(), source]).arg(self.path());
        run(&mut mount).map(|_| ())
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        // Lazily, as the daemon of a story that fails may still be there. What was never mounted is no matter.
        let _ = Command::new("umount").args(["--lazy", "--quiet"]).arg(self.path()).output();
        if let Some(device) = &self.device {
            let _ = Command::new("losetup").args(["--detach", device]).output();
        }
    }
}

/// A directory as a mount of its own, which can become read-only and writable again while it is used (a whole file
/// system cannot: it is busy while a file is open for writing).
#[derive(Debug)]
pub struct Overmount(PathBuf);

impl Overmount {
    /// Mounts a directory over itself; `None` after it has said why the story is skipped.
    #[must_use]
    pub fn new_or_skip(directory: &Path) -> Option<Overmount> {
        match run(Command::new("mount").arg("--bind").args([directory, directory])) {
            Ok(_) => Some(Overmount(directory.to_owned())),
            Err(why) => {
                println!("skipped: nothing can be mounted here: {why}");
                None
            }
        }
    }

    /// Writing is EROFS from here on.
    pub fn make_read_only(&self) {
        self.remount("remount,bind,ro");
    }

    /// Writing is possible again.
    pub fn make_writable(&self) {
        self.remount("remount,bind,rw");
    }

    fn remount(&self, options: &str) {
        run(Command::new("mount").args(["-o", options]).arg(&self.0)).expect("the mount can be changed");
    }
}

impl Drop for Overmount {
    fn drop(&mut self) {
        let _ = Command::new("umount").args(["--lazy", "--quiet"]).arg(&self.0).output();
    }
}

/// Where a byte of a file is on its device, from `filefrag -v`: `ext: logical: physical: length: …`, in blocks.
fn physical(file: &Path, offset: u64) -> u64 {
    const BLOCK_BYTES: u64 = 4096;
    File::open(file).and_then(|file| file.sync_all()).expect("the file can be synced");
    let table = run(Command::new("filefrag").args(["-v", "-b4096"]).arg(file)).expect("filefrag is there");
    let block = offset / BLOCK_BYTES;
    let mut extents = table.lines().filter_map(|line| {
        let mut columns = line.split(':').skip(1);
        let range = |column: Option<&str>| {
            let (first, last) = column?.trim().split_once("..")?;
            Some((first.trim().parse::<u64>().ok()?, last.trim().parse::<u64>().ok()?))
        };
        Some((range(columns.next())?, range(columns.next())?))
    });
    let ((logical, _), (start, _)) = extents
        .find(|((first, last), _)| (*first..=*last).contains(&block))
        .unwrap_or_else(|| panic!("byte {offset} of {} is nowhere on the disk:\n{table}", file.display()));
    (start + block - logical) * BLOCK_BYTES + offset % BLOCK_BYTES
}

fn run(command: &mut Command) -> Result<String, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| format!("{name}: {error}"))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(format!("{name}: {}", String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ")))
    }
}
