//! What can go wrong in the store, with the HTTP status that tells a client of it.

use std::io;

use rustix::io::Errno;
use thiserror::Error;

use super::attributes::InvalidAttributes;
use super::id::ReplicaId;
use super::replica::ReplicaState;
use super::space::NoSpace;

/// Why the store did not do what it was asked.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The replica does not fit into the pool.
    #[error("replica {replica} cannot be stored: {source}")]
    NoSpace {
        /// The replica that did not fit.
        replica: ReplicaId,
        /// How much was missing.
        source: NoSpace,
    },
    /// The replica is larger than the pool, or the door, allows.
    #[error("replica {replica} is too large: {size} bytes, at most {limit} are allowed")]
    TooLarge {
        /// The replica.
        replica: ReplicaId,
        /// Its size, as far as it is known.
        size: u64,
        /// The largest size allowed.
        limit: u64,
    },
    /// A replica of that id is there already, or is being uploaded.
    #[error("replica {replica} exists already: a replica is never overwritten")]
    Exists {
        /// The id that is taken.
        replica: ReplicaId,
    },
    /// There is no such replica.
    #[error("replica {replica} is not in this pool")]
    NotFound {
        /// The id that was asked for.
        replica: ReplicaId,
    },
    /// The bytes that arrived are not as many as were announced.
    #[error("replica {replica} was announced with {announced} bytes, but {arrived} arrived")]
    SizeMismatch {
        /// The replica.
        replica: ReplicaId,
        /// Bytes announced.
        announced: u64,
        /// Bytes that arrived.
        arrived: u64,
    },
    /// The file is there, but its attributes are not usable.
    #[error("replica {replica} cannot be served: {source}; restore its attributes or delete it")]
    Attributes {
        /// The replica.
        replica: ReplicaId,
        /// What is wrong with them.
        source: InvalidAttributes,
    },
    /// The file is not as long as its attributes say.
    #[error("replica {replica} is damaged: it was stored with {recorded} bytes, its file has {found}")]
    WrongLength {
        /// The replica.
        replica: ReplicaId,
        /// What the attributes say.
        recorded: u64,
        /// The length of the file.
        found: u64,
    },
    /// A computed checksum is not the recorded one.
    #[error("replica {replica} has {algorithm} {computed}, but {recorded} is recorded")]
    ChecksumDiffers {
        /// The replica.
        replica: ReplicaId,
        /// The algorithm's name.
        algorithm: String,
        /// What the attributes say.
        recorded: String,
        /// What was computed now.
        computed: String,
    },
    /// A replica cannot change from the one state to the other.
    #[error("replica {replica} is {from} and cannot become {to}")]
    State {
        /// The replica.
        replica: ReplicaId,
        /// Its state.
        from: ReplicaState,
        /// The state asked for.
        to: ReplicaState,
    },
    /// The pool takes no uploads, since writes failed.
    #[error("the pool has been read-only since {since}: {because}; repair the disk, then recover the pool")]
    ReadOnly {
        /// Since when.
        since: jiff::Timestamp,
        /// The error that made it so.
        because: String,
    },
    /// The index is gone, and what was asked is nowhere else.
    #[error(
        "cannot {step}: the pool's index cannot be used ({because}); start the pool again to make a new one"
    )]
    Index {
        /// The step, to be read after "cannot".
        step: &'static str,
        /// What is wrong with the index.
        because: String,
    },
    /// As many checksums of blocks as the replica does not have blocks.
    #[error("replica {replica} has {blocks} blocks, {given} checksums were given")]
    BlockCount {
        /// The replica.
        replica: ReplicaId,
        /// What it has.
        blocks: u64,
        /// What there were.
        given: u64,
    },
    /// The file system refused a step.
    #[error("cannot {step} of replica {replica}: {source}")]
    Io {
        /// The step, to be read after "cannot".
        step: &'static str,
        /// The replica.
        replica: ReplicaId,
        /// The kernel's error.
        source: io::Error,
    },
    /// The file system refused something that concerns no single replica.
    #[error("cannot {step} in {path}: {source}")]
    Pool {
        /// The step, to be read after "cannot".
        step: &'static str,
        /// The directory concerned.
        path: std::path::PathBuf,
        /// The kernel's error.
        source: io::Error,
    },
}

impl StoreError {
    /// The status that a client of the data port gets.
    pub fn http_status(&self) -> u16 {
        match self {
            Self::NoSpace { source: NoSpace::TooLittle { .. }, .. } => 507,
            Self::NoSpace { source: NoSpace::Unknown { source, .. }, .. } => http_status_of(source),
            Self::TooLarge { .. } => 413,
            Self::Exists { .. } | Self::State { .. } => 409,
            Self::NotFound { .. } => 404,
            Self::SizeMismatch { .. } => 400,
            Self::ReadOnly { .. } => 503,
            Self::Attributes { .. }
            | Self::WrongLength { .. }
            | Self::ChecksumDiffers { .. }
            | Self::Index { .. }
            | Self::BlockCount { .. } => 500,
            Self::Io { source, .. } | Self::Pool { source, .. } => http_status_of(source),
        }
    }

    /// Whether it speaks against the disk, rather than against the request or the space left.
    pub fn is_disk_error(&self) -> bool {
        match self {
            Self::Io { source, .. }
            | Self::Pool { source, .. }
            | Self::NoSpace { source: NoSpace::Unknown { source, .. }, .. } => is_disk_error(source),
            Self::WrongLength { .. } | Self::ChecksumDiffers { .. } | Self::Index { .. } => true,
            Self::NoSpace { source: NoSpace::TooLittle { .. }, .. }
            | Self::TooLarge { .. }
            | Self::Exists { .. }
            | Self::NotFound { .. }
            | Self::SizeMismatch { .. }
            | Self::Attributes { .. }
            | Self::ReadOnly { .. }
            | Self::BlockCount { .. }
            | Self::State { .. } => false,
        }
    }
}

/// The HTTP status for an error of the kernel's, as clients of XRootD's HTTP know it.
pub fn http_status_of(error: &io::Error) -> u16 {
    // A number that is no errno has no status of its own.
    match Errno::from_io_error(error) {
        Some(Errno::ACCESS | Errno::PERM | Errno::ROFS) => 403,
        Some(Errno::NOENT) => 404,
        Some(Errno::EXIST | Errno::ISDIR | Errno::NOTDIR | Errno::NOTEMPTY) => 409,
        Some(Errno::FBIG) => 413,
        Some(Errno::NAMETOOLONG) => 414,
        Some(Errno::INVAL) => 400,
        Some(Errno::NOTSUP) => 501,
        Some(Errno::BUSY | Errno::AGAIN | Errno::NOMEM | Errno::MFILE | Errno::NFILE) => 503,
        Some(Errno::TIMEDOUT) => 504,
        Some(
            Errno::CONNREFUSED
            | Errno::CONNRESET
            | Errno::CONNABORTED
            | Errno::NOTCONN
            | Errno::PIPE
            | Errno::HOSTUNREACH
            | Errno::HOSTDOWN
            | Errno::NETUNREACH
            | Errno::NETDOWN
            | Errno::NETRESET,
        ) => 502,
        Some(Errno::NOSPC | Errno::DQUOT) => 507,
        Some(Errno::LOOP) => 508,
        _ => 500,
    }
}

/// Whether an error of the kernel's means that the disk or its file system is ill.
pub fn is_disk_error(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(
            Errno::IO
                | Errno::ROFS
                | Errno::NXIO
                | Errno::NODEV
                | Errno::NOMEDIUM
                | Errno::REMOTEIO
                | Errno::STALE
                // EUCLEAN: the file system found itself inconsistent (ext4, XFS).
                | Errno::UCLEAN
                // EBADMSG: a metadata checksum does not match (ext4, XFS).
                | Errno::BADMSG
        )
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errno(error: Errno) -> io::Error {
        io::Error::from_raw_os_error(error.raw_os_error())
    }

    #[test]
    fn each_errno_has_the_status_that_clients_know() {
        let table = [
            (Errno::ACCESS, 403),
            (Errno::ROFS, 403),
            (Errno::NOENT, 404),
            (Errno::EXIST, 409),
            (Errno::FBIG, 413),
            (Errno::NAMETOOLONG, 414),
            (Errno::INVAL, 400),
            (Errno::NOTSUP, 501),
            (Errno::NOMEM, 503),
            (Errno::TIMEDOUT, 504),
            (Errno::CONNRESET, 502),
            (Errno::NOSPC, 507),
            (Errno::DQUOT, 507),
            (Errno::LOOP, 508),
            (Errno::IO, 500),
        ];
        for (error, status) in table {
            assert_eq!(http_status_of(&errno(error)), status, "{error}");
        }
        assert_eq!(http_status_of(&io::Error::other("no errno at all")), 500);
    }

    #[test]
    fn a_full_disk_is_not_an_ill_disk() {
        for error in [Errno::NOSPC, Errno::DQUOT, Errno::MFILE, Errno::NOENT] {
            assert!(!is_disk_error(&errno(error)), "{error}");
        }
        for error in [Errno::IO, Errno::ROFS, Errno::UCLEAN] {
            assert!(is_disk_error(&errno(error)), "{error}");
        }
    }
}
