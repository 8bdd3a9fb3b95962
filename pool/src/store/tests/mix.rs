//! Random mixes of everything, held against a plain list of what should be there.

use proptest::prelude::*;
use rustix::io::Errno;

use super::*;
use crate::engine::disk::{Disk, KernelDisk};
use crate::engine::sim::faults::{Call, FaultPlan};

#[derive(Debug, Clone)]
enum Step {
    Upload {
        replica: u8,
        length: usize,
        length_known: bool,
        small: bool,
    },
    Abort {
        replica: u8,
        length: usize,
    },
    Delete {
        replica: u8,
    },
    AddChecksum {
        replica: u8,
    },
    Break {
        replica: u8,
    },
    Suspect {
        replica: u8,
    },
    Verify {
        replica: u8,
    },
    Orphan {
        replica: u8,
    },
    Acknowledge {
        replica: u8,
    },
    Read {
        replica: u8,
    },
    Restart,
    /// The index is lost with the restart.
    RestartWithoutIndex,
    Kill,
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    let replica = 0..12_u8;
    let length = prop_oneof![0..3_usize, 0..20_000_usize, 4090..4100_usize, 90_000..300_000_usize];
    prop_oneof![
        6 => (replica.clone(), length.clone(), any::<bool>(), any::<bool>()).prop_map(
            |(replica, length, length_known, small)| Step::Upload { replica, length, length_known, small }
        ),
        1 => (replica.clone(), length).prop_map(|(replica, length)| Step::Abort { replica, length }),
        3 => replica.clone().prop_map(|replica| Step::Delete { replica }),
        1 => replica.clone().prop_map(|replica| Step::AddChecksum { replica }),
        1 => replica.clone().prop_map(|replica| Step::Break { replica }),
        1 => replica.clone().prop_map(|replica| Step::Suspect { replica }),
        1 => replica.clone().prop_map(|replica| Step::Verify { replica }),
        1 => replica.clone().prop_map(|replica| Step::Orphan { replica }),
        1 => replica.clone().prop_map(|replica| Step::Acknowledge { replica }),
        2 => replica.prop_map(|replica| Step::Read { replica }),
        1 => Just(Step::Restart),
        1 => Just(Step::RestartWithoutIndex),
        1 => Just(Step::Kill),
        1 => Just(Step::Crash),
    ]
}

/// A store, and what should be in it.
struct Story {
    disk: Arc<dyn Disk>,
    /// The same disk, where it is a simulated one.
    sim: Option<SimDisk>,
    config: StoreConfig,
    store: Option<Store>,
    expected: BTreeMap<u8, Expected>,
    /// A change of attributes failed, so that until the next start nobody knows what the file says.
    unsure: bool,
}

/// What may be found under an id. Under faults there can be more than one possibility.
#[derive(Debug, Clone, Default)]
struct Expected {
    contents: Vec<Vec<u8>>,
    may_be_missing: bool,
}

impl Story {
    fn new(disk: Arc<dyn Disk>, sim: Option<SimDisk>, config: StoreConfig) -> Self {
        let store = Store::open_root(disk.clone(), &config).unwrap();
        Self { disk, sim, config, store: Some(store), expected: BTreeMap::new(), unsure: false }
    }

    fn store(&self) -> &Store {
        self.store.as_ref().unwrap()
    }

    fn name(replica: u8) -> String {
        format!("r{replica}")
    }

    fn put(&self, replica: u8, data: &[u8], length_known: bool, small: bool) -> Result<(), StoreError> {
        let spec = spec(&Self::name(replica), length_known.then_some(data.len() as u64));
        match (&self.sim, small) {
            (Some(sim), false) => {
                let mut upload = self.store().begin_upload(spec)?;
                write_by_ring(sim, &mut upload, data, 32 * KIB)?;
                upload.commit(commit_of(data))?;
            }
            (None, false) => {
                self.store().begin_upload(spec)?.commit_small(data, commit_of(data))?;
            }
            (_, true) => {
                self.store().admit(spec)?.store_small(data, commit_of(data))?;
            }
        }
        Ok(())
    }

    fn play(&mut self, step: Step) {
        match step {
            Step::Upload { replica, length, length_known, small } => {
                let data = bytes(length, replica.wrapping_add(length as u8));
                let outcome = self.put(replica, &data, length_known, small);
                let expected = self
                    .expected
                    .entry(replica)
                    .or_insert(Expected { contents: Vec::new(), may_be_missing: true });
                match outcome {
                    Ok(()) => *expected = Expected { contents: vec![data], may_be_missing: false },
                    Err(StoreError::Exists { .. }) => assert!(!expected.contents.is_empty()),
                    // It may have been named before the step that failed.
                    Err(StoreError::Io { .. }) if self.sim.is_some() => expected.contents.push(data),
                    Err(StoreError::ReadOnly { .. }) if self.sim.is_some() => self.recover(),
                    // The index has failed and could not be set aside: nothing may be begun.
                    Err(StoreError::Index { .. }) if self.sim.is_some() => {}
                    Err(error) => panic!("{error}"),
                }
            }
            Step::Abort { replica, length } => {
                if let Ok(mut upload) = self.store().begin_upload(spec(&Self::name(replica), None)) {
                    let _ = upload.ensure(length as u64);
                    upload.abort();
                }
            }
            Step::Delete { replica } => {
                let outcome = self.store().delete(&id(&Self::name(replica)));
                match (outcome, self.expected.get_mut(&replica)) {
                    (Ok(()), Some(_)) => drop(self.expected.remove(&replica)),
                    (Ok(()), None) => panic!("a replica was there that nobody had put"),
                    (Err(StoreError::NotFound { .. }), expected) => {
                        assert!(expected.is_none_or(|expected| expected.may_be_missing), "lost");
                        // Whatever was tried, it is not there now; but a removal may not be durable yet.
                    }
                    (Err(_), Some(expected)) => expected.may_be_missing = true,
                    (Err(error), None) => assert!(self.sim.is_some(), "{error}"),
                }
            }
            Step::AddChecksum { replica } => {
                let crc32 = BTreeMap::from([("crc32".to_owned(), format!("{replica:08x}"))]);
                self.change(replica, |store, id| store.set_checksums(id, &crc32));
            }
            Step::Break { replica } => {
                self.change(replica, |store, id| store.mark_broken(id, "a block is wrong"))
            }
            Step::Suspect { replica } => {
                self.change(replica, |store, id| store.mark_suspect(id, "a read failed"))
            }
            Step::Verify { replica } => {
                self.change(replica, |store, id| store.set_verified(id, Timestamp::UNIX_EPOCH));
            }
            Step::Orphan { replica } => {
                self.change(replica, |store, id| store.set_state(id, ReplicaState::Orphaned, None));
            }
            Step::Acknowledge { replica } => {
                let replica = id(&Self::name(replica));
                self.store().results().put_soon("door1:1", Some(&replica), b"result".to_vec());
                self.store().results().remove("door1:1");
            }
            Step::Read { replica } => self.check(replica),
            Step::Restart => self.restart(),
            Step::RestartWithoutIndex => {
                self.store = None;
                // It may have been given up before.
                let _ = self.disk.remove(&self.config.root.join("index/replicas.redb"));
                self.restart();
            }
            Step::Kill => self.end_by(SimDisk::kill),
            Step::Crash => self.end_by(SimDisk::crash),
        }
    }

    fn change(
        &mut self,
        replica: u8,
        change: impl FnOnce(&Store, &ReplicaId) -> Result<ReplicaStat, StoreError>,
    ) {
        if let Err(StoreError::Io { .. }) = change(self.store(), &id(&Self::name(replica))) {
            self.unsure = true;
        }
    }

    fn end_by(&mut self, end: impl FnOnce(&SimDisk) -> SimDisk) {
        if let Some(sim) = self.sim.take() {
            let after = end(&sim);
            self.disk = Arc::new(after.clone());
            self.sim = Some(after);
        }
        self.restart();
    }

    /// The disk is repaired, and somebody says so.
    fn recover(&self) {
        let sim = self.sim.as_ref().unwrap();
        sim.set_faults(FaultPlan::none());
        self.store().recover().unwrap();
    }

    fn restart(&mut self) {
        self.store = None;
        self.store = Some(Store::open_root(self.disk.clone(), &self.config).unwrap());
        self.unsure = false;
        for replica in self.expected.keys() {
            self.check(*replica);
        }
        self.check_accounts();
    }

    fn check(&self, replica: u8) {
        let expected = self
            .expected
            .get(&replica)
            .cloned()
            .unwrap_or(Expected { contents: Vec::new(), may_be_missing: true });
        match self.store().open(&id(&Self::name(replica))) {
            Ok(open) => {
                let data = read(self.store(), &open);
                assert!(
                    expected.contents.contains(&data),
                    "r{replica} has a content that nobody acknowledged"
                );
                assert_eq!(open.attributes().checksums["adler32"], commit_of(&data).checksums["adler32"]);
            }
            Err(StoreError::NotFound { .. }) => assert!(expected.may_be_missing, "r{replica} is lost"),
            Err(error) => panic!("r{replica}: {error}"),
        }
    }

    fn check_accounts(&self) {
        let space = self.store().space().unwrap();
        assert_eq!(space.reserved, 0);
        assert_eq!(space.used, disk_usage(&*self.disk, &self.config.root.join("data")));
        if !self.unsure {
            assert_index_is_what_the_files_say(self.store());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn the_accounts_are_what_du_says_after_any_mix(
        seed in any::<u64>(), steps in prop::collection::vec(step(), 1..40),
    ) {
        let disk = sim(seed);
        let mut story = Story::new(Arc::new(disk.clone()), Some(disk), config(Path::new(ROOT)));
        for step in steps {
            story.play(step);
            story.check_accounts();
        }
        story.restart();
    }

    #[test]
    fn nothing_acknowledged_is_lost_on_a_disk_that_fails_now_and_then(
        seed in any::<u64>(), index_too in any::<bool>(), steps in prop::collection::vec(step(), 1..40),
    ) {
        let disk = sim(seed);
        let mut story = Story::new(Arc::new(disk.clone()), Some(disk), config(Path::new(ROOT)));
        for step in steps {
            let mut ill = vec![
                Call::Link, Call::SetAttribute, Call::SyncAll, Call::SyncDir, Call::Allocate,
                Call::RingWrite, Call::Remove, Call::SetDirect, Call::CreateUnnamed,
            ];
            if index_too {
                ill.extend([Call::Write, Call::Truncate, Call::SyncData, Call::Rename]);
            }
            let restarts = matches!(step, Step::Restart | Step::RestartWithoutIndex | Step::Kill | Step::Crash | Step::Read { .. });
            let plan = ill.into_iter().fold(FaultPlan::none(), |plan, call| {
                plan.fail(call, if restarts { 0.0 } else { 0.08 }, Errno::IO)
            });
            let sim = story.sim.clone().unwrap();
            sim.set_faults(plan);
            story.play(step);
            sim.set_faults(FaultPlan::none());
            story.check_accounts();
        }
        story.play(Step::Crash);
        let open = story.sim.unwrap().open_handles();
        prop_assert_eq!(open, 2, "only the lock and the index are open");
    }
}

proptest! {
    // Each step makes a real disk durable, so there are few.
    #![proptest_config(ProptestConfig { cases: 4, max_shrink_iters: 20, ..ProptestConfig::default() })]

    #[test]
    fn the_accounts_of_a_real_file_system_are_what_du_says_after_any_mix(
        steps in prop::collection::vec(step(), 10..30),
    ) {
        let Some((dir, store)) = super::upload::on_kernel(|_| ()) else { return Ok(()) };
        drop(store);
        let mut story = Story::new(Arc::new(KernelDisk), None, config(&dir.path().join("pool")));
        for step in steps {
            story.play(step);
            story.check_accounts();
        }
        story.restart();
    }
}
