//! Stories of third-party copies: a shard, a store on a real directory, and a remote server that does what it is told.
//!
//! Whatever a remote server does: the copy ends with its own one-line text, no file is left, no buffer, no promise of
//! space, and no connection.

pub(crate) mod far;
mod hostile;
mod local_copy;
mod pull;
mod push;
mod secure;
mod streams;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use penstock_door_proto::v1;
use v1::transfer_request::Kind;

use self::far::Far;
use super::ThirdParty;
use crate::checksum::{AlgorithmSet, Checksum, DigestPool};
use crate::engine::blocking::Blocking;
use crate::engine::disk::KernelDisk;
use crate::engine::file::IoMode;
use crate::engine::shard::Shard;
use crate::http1;
use crate::remote::{Remotes, Settings};
use crate::store::{ReplicaId, Store, StoreConfig};
use crate::tls::ClientTls;
use crate::transfer::port::{self, Port};
use crate::transfer::source::{Reading, VerifyReads};
use crate::transfer::state::StateName;
use crate::transfer::{
    Capability, Claim, ClaimMethod, Desk, Failure, Observer, Refusal, State, SystemClock, Transfer,
    TransferRequest,
};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);
const SLOTS: usize = 8;

#[derive(Debug)]
struct NoDesk;

impl Desk for NoDesk {
    fn claim(
        &self,
        _: &Capability,
        _: ClaimMethod,
        _: &str,
        _: Option<&str>,
        _: SocketAddr,
    ) -> Result<Claim, Refusal> {
        Err(Refusal::Draining)
    }

    fn door_url(&self, _: &str) -> Option<String> {
        None
    }
}

#[derive(Debug)]
struct Quiet;

impl Observer for Quiet {
    fn changed(&self) {}
}

/// A pool's moving parts.
struct Stage {
    shard: Shard,
    store: Arc<Store>,
    third_party: Arc<ThirdParty>,
    transfers: AtomicUsize,
    _dir: tempfile::TempDir,
}

impl Stage {
    fn new() -> Stage {
        Stage::with(|_| {})
    }

    /// Short times, loopback allowed, and whatever else the story wants.
    fn with(change: impl FnOnce(&mut Settings)) -> Stage {
        Stage::trusting(None, change)
    }

    /// The same, believing an authority.
    fn trusting(tls: Option<ClientTls>, change: impl FnOnce(&mut Settings)) -> Stage {
        let mut settings = Settings {
            connect_timeout: Duration::from_secs(5),
            first_byte_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(5),
            verification_timeout: Duration::from_secs(10),
            keep_alive: Duration::ZERO,
            ..Settings::default()
        };
        settings.rules.loopback = true;
        change(&mut settings);
        let dir = tempfile::tempdir().unwrap();
        let config = StoreConfig {
            root: dir.path().join("pool"),
            pool_name: "p".into(),
            capacity: None,
            reserve_bytes: 0,
            max_file_size: None,
            direct: true,
        };
        std::fs::create_dir(&config.root).unwrap();
        let store = Arc::new(Store::open_root(Arc::new(KernelDisk), &config).unwrap());
        let hour = Duration::from_secs(3600);
        let port = Port {
            desk: Arc::new(NoDesk),
            store: Arc::clone(&store),
            digests: Some(Arc::new(DigestPool::new(1).unwrap())),
            settings: port::Settings {
                head_limits: http1::Limits::default(),
                head_time: hour,
                idle_limit: hour,
                keep_alive_limit: hour,
                connections_limit: Arc::new(AtomicUsize::new(1)),
                io_mode: IoMode::Direct,
                algorithms: AlgorithmSet::EMPTY,
            },
            reading: Arc::new(Reading::new(Arc::clone(&store), IoMode::Direct, VerifyReads::FromDisk)),
            counters: Arc::default(),
        };
        Stage {
            shard: Shard::start(0, SLOTS, Blocking::new(4)).expect("io_uring is needed for the tests"),
            third_party: Arc::new(ThirdParty {
                port: Arc::new(port),
                remotes: Remotes::new(settings, tls.map(Arc::new)),
            }),
            store,
            transfers: AtomicUsize::new(0),
            _dir: dir,
        }
    }

    /// Starts a transfer whose turn has come.
    fn start(&self, replica: &str, kind: Kind) -> Arc<Transfer> {
        self.start_limited(replica, kind, 0)
    }

    /// The same, with a limit on its rate.
    fn start_limited(&self, replica: &str, kind: Kind, bytes_per_second: u64) -> Arc<Transfer> {
        let number = self.transfers.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let request = v1::TransferRequest {
            transfer_id: format!("t{number}"),
            replica_id: replica.into(),
            transfer_path: "/atlas/file".into(),
            kind: Some(kind),
            rate_limit_bytes_per_second: bytes_per_second,
            ..Default::default()
        };
        let request = TransferRequest::try_from(request).unwrap();
        let clock = Arc::new(SystemClock::new());
        let capability = Capability::random().unwrap();
        let transfer = Arc::new(Transfer::new(request, capability, clock, Arc::new(Quiet)));
        transfer.admit().unwrap();
        let claim = transfer.claim_for_pool().unwrap();
        let third_party = Arc::clone(&self.third_party);
        self.shard.submit(move |core| third_party.run(core, claim)).unwrap();
        transfer
    }

    fn pull(&self, far: &Far) -> Arc<Transfer> {
        self.start("r1", Kind::Pull(v1::Pull { remote: Some(remote(far)), ..Default::default() }))
    }

    fn push(&self, far: &Far) -> Arc<Transfer> {
        self.start("r1", Kind::Push(v1::Push { remote: Some(remote(far)) }))
    }

    /// Brings a replica into the store.
    fn store(&self, replica: &str, data: &[u8]) {
        use crate::transfer::put::{commit_of, digests::Digests};
        let spec = crate::store::UploadSpec {
            replica: ReplicaId::new(replica).unwrap(),
            transfer: "t".into(),
            path: "/p".into(),
            class: String::new(),
            size: Some(data.len() as u64),
            maximum_size: None,
        };
        let mut digests = Digests::new(AlgorithmSet::EMPTY, None);
        digests.update_inline(data);
        let (checksums, blocks) = digests.finish_inline();
        let commit = commit_of(data.len() as u64, &checksums, blocks);
        self.store.admit(spec).and_then(|admission| admission.store_small(data, commit)).unwrap();
    }

    /// What a pull has stored, with its checksums checked; `None` if nothing is there.
    fn stored(&self, replica: &str) -> Option<Vec<u8>> {
        let stored = self.store.open(&ReplicaId::new(replica).unwrap()).ok()?;
        let mut bytes = vec![0; stored.size() as usize];
        let mut filled = 0;
        while filled < bytes.len() {
            let count =
                self.store.disk().read_at(stored.file(), &mut bytes[filled..], filled as u64).unwrap();
            assert!(count > 0, "the file is short");
            filled += count;
        }
        let recorded = stored.attributes().checksums.get("adler32").cloned();
        assert_eq!(recorded, Some(adler32(&bytes).hex().to_string()));
        let blocks: Vec<u32> = bytes.chunks(crate::checksum::BLOCK_SIZE_BYTES).map(crc32c).collect();
        let on_record = stored.blocks().map(|blocks| blocks.to_vec());
        assert_eq!(on_record.unwrap_or_default(), blocks, "every block has its checksum");
        Some(bytes)
    }

    /// Waits until the transfer has ended and let go of everything.
    fn end(&self, transfer: &Transfer) -> State {
        let began_at = Instant::now();
        while !transfer.state().has_ended() || transfer.open_claims() > 0 {
            assert!(
                began_at.elapsed() < PATIENCE,
                "the transfer does not end: {:?}",
                transfer.state().name()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
        transfer.state()
    }

    /// The transfer succeeds, and nothing is left in use.
    fn succeeds(&self, transfer: &Transfer) -> Arc<crate::transfer::record::Finished> {
        match self.end(transfer) {
            State::Done(finished) => {
                self.nothing_is_left_in_use();
                finished
            }
            State::Failed(failed) => panic!("failed: {}", failed.failure),
            other => panic!("ended {}", other.name()),
        }
    }

    /// The transfer fails, and nothing of it is left.
    fn fails(&self, transfer: &Transfer) -> Failure {
        match self.end(transfer) {
            State::Failed(failed) => {
                let failure = failed.failure.clone();
                assert!(failure.text().len() < 1000 && !failure.text().contains(['\n', '\r']), "{failure}");
                if transfer.request().kind.stores() {
                    self.no_replica_is_left();
                }
                self.nothing_is_left_in_use();
                failure
            }
            other => panic!("ended {}", other.name()),
        }
    }

    fn no_replica_is_left(&self) {
        assert!(self.stored("r1").is_none(), "a failed pull has left its replica");
    }

    fn nothing_is_left_in_use(&self) {
        let began_at = Instant::now();
        loop {
            let (sender, receiver) = std::sync::mpsc::channel();
            let count = move |core: std::rc::Rc<crate::engine::core::Core>| async move {
                sender
                    .send((core.arena().used(), core.arena().waiting(), core.operations_in_flight()))
                    .unwrap();
            };
            self.shard.submit(count).unwrap();
            let (used, waiting, operations) = receiver.recv_timeout(PATIENCE).unwrap();
            let reserved = self.store.space().unwrap().reserved;
            let connections = self.third_party.remotes.open_connections();
            if (used, waiting, operations, reserved, connections) == (0, 0, 0, 0, 0) {
                return;
            }
            assert!(
                began_at.elapsed() < Duration::from_secs(5),
                "left in use: {used} slots, {waiting} waiting, {operations} operations, {reserved} bytes, \
                 {connections} connections"
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until the transfer is in a state.
    fn reaches(&self, transfer: &Transfer, state: StateName) {
        let began_at = Instant::now();
        while transfer.state().name() != state {
            assert!(!transfer.state().has_ended(), "ended: {:?}", transfer.state());
            assert!(began_at.elapsed() < PATIENCE, "still {}", transfer.state().name());
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// A remote side whose checksum has to be had.
fn remote(far: &Far) -> v1::Remote {
    v1::Remote { url: far.url(), require_checksum_verification: true, ..Default::default() }
}

/// Bytes that do not repeat.
pub(crate) fn bytes(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    for (number, piece) in bytes.chunks_mut(8).enumerate() {
        let word = (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29).to_le_bytes();
        piece.copy_from_slice(&word[..piece.len()]);
    }
    bytes
}

pub(crate) fn adler32(data: &[u8]) -> Checksum {
    Checksum::adler32(adler32::adler32(data).unwrap())
}

fn crc32c(data: &[u8]) -> u32 {
    let mut hasher = crate::checksum::Hasher::new(crate::checksum::Algorithm::Crc32c);
    hasher.update(data);
    u32::from_be_bytes(hasher.finish().value().try_into().unwrap())
}
