//! What the files of a measurement may take of a pool.

use penstock_door_proto::v1 as proto;

use crate::arguments::{Size, show_byte_size};

/// Files take at most this share of what the pool has,
const SHARE: u64 = 4;
/// and at most this much.
const MOST_BYTES: u64 = 16 << 30;

/// What was asked for with `--space`, if the pool has it; else a part of what it has, in whole MiB.
pub fn space_bytes(asked: Option<Size>, status: &proto::PoolStatus) -> anyhow::Result<u64> {
    let available = status.space.as_ref().map_or(0, |space| space.available);
    match asked {
        Some(space) if space.0 > available => anyhow::bail!(
            "--space: {space} are asked for, and pool {} has {} for new files",
            status.pool_name,
            show_byte_size(available >> 20 << 20)
        ),
        Some(space) => Ok(space.0),
        None => Ok((available / SHARE).min(MOST_BYTES) >> 20 << 20),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_of_a_pool_is_left_alone() {
        let status = |available| proto::PoolStatus {
            pool_name: "p".to_owned(),
            space: Some(proto::Space { available, ..Default::default() }),
            ..Default::default()
        };
        assert_eq!(space_bytes(None, &status((8 << 20) + 5)).unwrap(), 2 << 20);
        assert_eq!(space_bytes(None, &status(1 << 50)).unwrap(), 16 << 30);
        assert_eq!(space_bytes(Some(Size(7 << 20)), &status(8 << 20)).unwrap(), 7 << 20);
        let error = space_bytes(Some(Size(9 << 20)), &status(8 << 20)).unwrap_err().to_string();
        assert_eq!(error, "--space: 9 MiB are asked for, and pool p has 8 MiB for new files");
    }
}
