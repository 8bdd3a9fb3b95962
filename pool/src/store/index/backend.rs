//! The database's one file, reached through the pool's own [`Disk`]: so a simulated disk can fail, kill and lose what
//! the index does like everything else.

use std::fmt;
use std::io;
use std::sync::Arc;

use redb::StorageBackend;

use crate::engine::disk::{Disk, File};

/// The database's view of its file.
pub(super) struct Backend {
    disk: Arc<dyn Disk>,
    file: File,
}

impl Backend {
    pub fn new(disk: Arc<dyn Disk>, file: File) -> Self {
        Self { disk, file }
    }
}

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.metadata(&self.file)?.size)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let mut done = 0;
        while done < out.len() {
            match self.disk.read_at(&self.file, &mut out[done..], offset + done as u64)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => done += read,
            }
        }
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.disk.truncate(&self.file, length)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk.sync_data(&self.file)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.disk.write_all_at(&self.file, data, offset)
    }
}

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backend").field("file", &self.file).finish_non_exhaustive()
    }
}
