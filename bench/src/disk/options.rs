//! What can be asked of `penstock-bench disk`.

use std::path::PathBuf;
use std::time::Duration;

use super::case::{Direction, Mode};
use crate::arguments::{Common, Count, Size, parse_duration};
use crate::target::{Target, TargetError};

/// Size of each file unless asked for, where there is space.
const USUAL_SIZE_BYTES: u64 = 1 << 30;
/// Otherwise all files together take at most this share of what may be used.
const SHARE_OF_SPACE: u64 = 4;
/// Sizes are whole slots.
const STEP_BYTES: u64 = 1 << 20;

/// What a disk gives the pool: its own way to write and read, in an empty directory
#[derive(Debug, clap::Args)]
pub struct Options {
    /// An empty directory on the disk that is to be measured
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
    /// Only writing, or only reading [default: both]
    #[arg(long, value_delimiter = ',', value_enum, value_name = "WHICH,…")]
    pub direction: Option<Vec<Direction>>,
    /// How bytes come to the disk
    #[arg(long, value_delimiter = ',', value_enum, value_name = "MODE,…")]
    pub mode: Option<Vec<Mode>>,
    /// Operations in flight for each file
    #[arg(long, value_delimiter = ',', value_name = "N,…")]
    pub depth: Option<Vec<Count>>,
    /// Bytes of an operation: whole pages of 4 KiB, up to the pool's 1 MiB
    #[arg(long, value_delimiter = ',', value_name = "SIZE,…")]
    pub block: Option<Vec<Size>>,
    /// Files at once
    #[arg(long, value_delimiter = ',', value_name = "N,…")]
    pub jobs: Option<Vec<Count>>,
    /// Size of each file, in whole MiB [default: 1 GiB, or less where there is little space]
    #[arg(long, value_name = "SIZE")]
    pub size: Option<Size>,
    /// A run ends after that long, wherever it is then
    #[arg(long, default_value = "10", value_parser = parse_duration, value_name = "SECONDS")]
    pub seconds: Duration,
    /// Run fio, too, where it is installed, and show both
    #[arg(long)]
    pub fio: bool,
    #[command(flatten)]
    pub common: Common,
}

impl Options {
    /// Writing, reading or both.
    pub fn directions(&self) -> Vec<Direction> {
        self.direction.clone().unwrap_or_else(|| vec![Direction::Write, Direction::Read])
    }

    /// Whether the cases were chosen by the user.
    pub fn chosen(&self) -> bool {
        self.mode.is_some() || self.depth.is_some() || self.block.is_some() || self.jobs.is_some()
    }

    /// The size of each file, when so many are written and so many read.
    pub fn size_bytes(&self, target: &Target, jobs: u32) -> anyhow::Result<u64> {
        if let Some(size) = self.size {
            anyhow::ensure!(
                size.0.is_multiple_of(STEP_BYTES),
                "--size: {size} is not a whole number of MiB; the pool reads and writes in steps of 1 MiB"
            );
            return Ok(size.0);
        }
        let share = target.usable_bytes()? / SHARE_OF_SPACE / u64::from(jobs.max(1));
        let size = USUAL_SIZE_BYTES.min(share / STEP_BYTES * STEP_BYTES);
        if size == 0 {
            // For the error's text.
            target.need(u64::from(jobs.max(1)) * SHARE_OF_SPACE * STEP_BYTES * 2)?;
            return Err(TargetError::Full {
                path: target.path().to_owned(),
                free: "too little".to_owned(),
                needed: "a few MiB".to_owned(),
            }
            .into());
        }
        Ok(size)
    }
}
