//! Finds out what io_uring offers here, and says what to change where it offers nothing.

use std::fmt;
use std::io;

use io_uring::{IoUring, Probe, opcode};

/// What this kernel's io_uring has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Abilities {
    /// SINGLE_ISSUER | DEFER_TASKRUN (Linux 6.1): completions are made when the shard asks, not by interrupting it.
    pub deferred_task_run: bool,
    /// COOP_TASKRUN (Linux 5.19).
    pub cooperative_task_run: bool,
    /// SUBMIT_ALL (Linux 5.18): an operation that is refused does not hold up the ones behind it.
    pub submit_all: bool,
    /// A cancelled receive or send that was to do all of its memory reports how far it got (Linux 6.0). Without it bytes
    /// would be lost or sent twice, so these operations then complete with whatever they did at once.
    pub keeps_partial: bool,
    /// SEND_ZC (Linux 6.0).
    pub zero_copy_send: bool,
}

impl fmt::Display for Abilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = [
            (self.deferred_task_run, "deferred-task-run"),
            (self.cooperative_task_run, "cooperative-task-run"),
            (self.submit_all, "submit-all"),
            (self.keeps_partial, "filling-receive"),
            (self.zero_copy_send, "zero-copy-send"),
        ];
        let mut first = true;
        for (_, name) in list.iter().filter(|(has, _)| *has) {
            write!(f, "{}{name}", if first { "" } else { " " })?;
            first = false;
        }
        if first { f.write_str("basic") } else { Ok(()) }
    }
}

/// io_uring cannot be used; the text says why and what to change.
#[derive(Debug, thiserror::Error)]
pub enum RingUnavailable {
    /// The kernel was built without it, or a seccomp filter hides it.
    #[error(
        "io_uring is missing here (ENOSYS): this kernel has none (5.11 or newer is needed), or a seccomp filter hides \
         it; allow io_uring_setup, io_uring_enter and io_uring_register in the container's or unit's filter \
         (systemd: SystemCallFilter=@aio)"
    )]
    Missing,
    /// Switched off by the administrator.
    #[error("io_uring is forbidden here (EPERM): sysctl kernel.io_uring_disabled is {setting}{remedy}")]
    Forbidden {
        /// What the sysctl says.
        setting: String,
        /// What to do about it.
        remedy: &'static str,
    },
    /// Not enough locked memory (kernels before 5.12), or none at all.
    #[error(
        "io_uring could not get memory for its queues ({0}): raise the memlock limit (systemd: LimitMEMLOCK=infinity, \
         shell: ulimit -l) or free memory"
    )]
    Memory(io::Error),
    /// The kernel is too old.
    #[error("io_uring here lacks {0}: Linux 5.11 or newer is needed")]
    TooOld(&'static str),
    /// Anything else.
    #[error("io_uring cannot be set up: {0}")]
    Other(#[from] io::Error),
}

/// What io_uring offers here, found by opening a small ring and closing it again.
pub fn abilities() -> Result<Abilities, RingUnavailable> {
    const ENTRIES: u32 = 8;
    open(ENTRIES, 2 * ENTRIES).map(|(_, abilities)| abilities)
}

/// Opens a ring with as many of the helpful flags as this kernel takes.
pub(super) fn open(entries: u32, completions: u32) -> Result<(IoUring, Abilities), RingUnavailable> {
    type Flags = fn(&mut io_uring::Builder) -> &mut io_uring::Builder;
    // From the newest kernel to the oldest; an unknown flag is EINVAL.
    let attempts: [(Flags, [bool; 3]); 4] = [
        (
            |b| b.setup_single_issuer().setup_defer_taskrun().setup_coop_taskrun().setup_submit_all(),
            [true, true, true],
        ),
        (|b| b.setup_coop_taskrun().setup_submit_all(), [false, true, true]),
        (|b| b.setup_submit_all(), [false, false, true]),
        (|b| b, [false, false, false]),
    ];
    let mut refused = None;
    for (flags, [deferred_task_run, cooperative_task_run, submit_all]) in attempts {
        let mut builder = IoUring::builder();
        flags(&mut builder).setup_cqsize(completions).setup_clamp();
        let ring = match builder.build(entries) {
            Ok(ring) => ring,
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                refused = Some(error);
                continue;
            }
            Err(error) => return Err(explain(error)),
        };
        if !ring.params().is_feature_ext_arg() {
            return Err(RingUnavailable::TooOld("waiting with a timeout"));
        }
        let mut probe = Probe::new();
        ring.submitter().register_probe(&mut probe)?;
        for (code, name) in [
            (opcode::Recv::CODE, "receive"),
            (opcode::Send::CODE, "send"),
            (opcode::Accept::CODE, "accept"),
            (opcode::Connect::CODE, "connect"),
            (opcode::ReadFixed::CODE, "fixed reads"),
            (opcode::WriteFixed::CODE, "fixed writes"),
            (opcode::AsyncCancel::CODE, "cancelling"),
        ] {
            if !probe.is_supported(code) {
                return Err(RingUnavailable::TooOld(name));
            }
        }
        // SEND_ZC came with 6.0, and so did partial results of receives and sends that are cancelled.
        let zero_copy_send = probe.is_supported(opcode::SendZc::CODE);
        let abilities = Abilities {
            deferred_task_run,
            cooperative_task_run,
            submit_all,
            keeps_partial: zero_copy_send,
            zero_copy_send,
        };
        return Ok((ring, abilities));
    }
    Err(refused.map_or(RingUnavailable::Missing, RingUnavailable::Other))
}

fn explain(error: io::Error) -> RingUnavailable {
    match error.raw_os_error() {
        Some(libc::ENOSYS) => RingUnavailable::Missing,
        Some(libc::EPERM | libc::EACCES) => {
            let setting = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled")
                .map_or_else(|_| "not readable".to_owned(), |text| text.trim().to_owned());
            let remedy = match setting.as_str() {
                "2" => "; allow it with `sysctl kernel.io_uring_disabled=0`",
                "1" => {
                    "; allow it with `sysctl kernel.io_uring_disabled=0`, or put the daemon's group into \
                     kernel.io_uring_group"
                }
                _ => {
                    ", so a seccomp filter or security module forbids it; allow io_uring_setup, io_uring_enter and \
                     io_uring_register (systemd: SystemCallFilter=@aio; containers: a seccomp profile with them)"
                }
            };
            RingUnavailable::Forbidden { setting, remedy }
        }
        Some(libc::ENOMEM) => RingUnavailable::Memory(error),
        _ => RingUnavailable::Other(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_or_forbidden_ring_says_what_to_change() {
        for (errno, expected) in [
            (libc::ENOSYS, "seccomp"),
            (libc::EPERM, "kernel.io_uring_disabled"),
            (libc::ENOMEM, "LimitMEMLOCK"),
        ] {
            let text = explain(io::Error::from_raw_os_error(errno)).to_string();
            assert!(text.contains(expected), "{errno}: {text}");
        }
    }
}
