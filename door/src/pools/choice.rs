//! Where a new file goes: a pool that can have it, preferring room and idleness.
//!
//! A pool is drawn by lot, as likely as its share of the room and idleness of all. So uploads spread although every
//! door looks at numbers that are seconds old, where the best of them would get every file until the next look.

use penstock_door_proto::v1 as proto;

use super::health::PoolState;

/// How many pools are tried one after another for one upload.
const MAX_ATTEMPTS: usize = 3;

/// No pool can do it. The text is for the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoPool {
    /// None answers, or none takes work: 503.
    #[error("{0}")]
    Unavailable(String),
    /// None has the room: 507.
    #[error("{0}")]
    NoSpace(String),
}

impl NoPool {
    pub(super) fn unavailable(text: String) -> Self {
        NoPool::Unavailable(text)
    }
}

/// What the choice looks at.
#[derive(Debug, Clone)]
pub struct Candidate {
    name: String,
    /// What keeps it from taking files.
    obstacle: Option<String>,
    available_bytes: u64,
    transfers: u32,
}

impl Candidate {
    /// A pool in its present state.
    pub fn of(name: &str, state: &PoolState) -> Self {
        let (space, load) = match state {
            PoolState::Up(status) => (status.space.unwrap_or_default(), status.load.unwrap_or_default()),
            PoolState::Unknown | PoolState::Unreachable(_) => {
                (proto::Space::default(), proto::Load::default())
            }
        };
        Self {
            name: name.to_owned(),
            obstacle: state.obstacle(None),
            available_bytes: space.available,
            transfers: load.running.saturating_add(load.waiting),
        }
    }

    /// Room for each transfer that would share it then.
    fn worth(&self) -> u64 {
        self.available_bytes / (u64::from(self.transfers) + 1)
    }
}

/// The indices of the pools to try, the first choice first. `random` decides among equals.
pub fn order(candidates: &[Candidate], size_bytes: Option<u64>, random: u64) -> Result<Vec<usize>, NoPool> {
    let usable: Vec<usize> =
        (0..candidates.len()).filter(|index| candidates[*index].obstacle.is_none()).collect();
    if usable.is_empty() {
        let why: Vec<_> = candidates
            .iter()
            .filter_map(|candidate| {
                candidate.obstacle.as_ref().map(|obstacle| format!("{} {obstacle}", candidate.name))
            })
            .collect();
        return Err(NoPool::Unavailable(format!("no pool can take a file now: {}", why.join(", "))));
    }
    let needed = size_bytes.unwrap_or(1).max(1);
    let mut fitting: Vec<usize> =
        usable.iter().copied().filter(|index| candidates[*index].available_bytes >= needed).collect();
    if fitting.is_empty() {
        // An empty file needs no room, and a full pool still takes it.
        if size_bytes == Some(0) {
            fitting = usable;
        } else {
            let most =
                usable.iter().map(|index| candidates[*index].available_bytes).max().unwrap_or_default();
            let file = size_bytes.map_or("a file of unknown size".to_owned(), |size| format!("{size} bytes"));
            return Err(NoPool::NoSpace(format!(
                "no pool has room for {file}; the emptiest has {most} bytes"
            )));
        }
    }
    // Drawn one after another, each as likely as its share of the worth that is left.
    let mut state = random;
    let mut drawn = Vec::with_capacity(MAX_ATTEMPTS);
    while drawn.len() < MAX_ATTEMPTS && !fitting.is_empty() {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let worth = |index: &usize| u128::from(candidates[*index].worth()) + 1;
        let total: u128 = fitting.iter().map(worth).sum();
        // The high bits of the generator are the good ones.
        let mut point = (u128::from(state >> 33) * total) >> 31;
        let place = fitting
            .iter()
            .position(|index| match point.checked_sub(worth(index)) {
                Some(rest) => {
                    point = rest;
                    false
                }
                None => true,
            })
            .unwrap_or(fitting.len() - 1);
        drawn.push(fitting.remove(place));
    }
    Ok(drawn)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(name: &str, available_bytes: u64, transfers: u32) -> Candidate {
        Candidate { name: name.into(), obstacle: None, available_bytes, transfers }
    }

    fn ill(name: &str) -> Candidate {
        Candidate { obstacle: Some("is draining".into()), ..pool(name, 1 << 40, 0) }
    }

    /// How often each pool comes first in 10 000 draws.
    fn first_choices<const N: usize>(pools: &[Candidate; N]) -> [u32; N] {
        let mut first = [0; N];
        for number in 0..10_000u64 {
            let random = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            first[order(pools, None, random).unwrap()[0]] += 1;
        }
        first
    }

    #[test]
    fn a_pool_is_chosen_as_often_as_its_share_of_the_room() {
        for (pools, shares) in [
            ([pool("a", 1 << 40, 0), pool("b", 1 << 40, 0)], [5000, 5000]),
            ([pool("a", 1 << 40, 0), pool("b", 3 << 40, 0)], [2500, 7500]),
            ([pool("a", 1 << 40, 9), pool("b", 1 << 40, 0)], [909, 9091]),
        ] {
            let first = first_choices(&pools);
            for (came, share) in first.iter().zip(shares) {
                assert!(came.abs_diff(share) < 300, "{first:?}, expected {shares:?}");
            }
        }
    }

    #[test]
    fn two_equal_pools_share_the_uploads_between_two_looks_at_their_state() {
        let pools = [pool("a", (50 << 30) + 4096, 0), pool("b", 50 << 30, 0)];
        let first = first_choices(&pools);
        assert!(first.iter().all(|came| *came > 4500), "{first:?}");
    }

    #[test]
    fn pools_that_are_ill_or_too_full_are_left_out() {
        let pools = [ill("a"), pool("b", 10, 0), pool("c", 100, 50)];
        assert_eq!(order(&pools, Some(50), 1).unwrap(), [2]);
    }

    #[test]
    fn the_client_is_told_whether_room_or_pools_are_missing() {
        assert_eq!(
            order(&[ill("a"), ill("b")], None, 0).unwrap_err(),
            NoPool::Unavailable("no pool can take a file now: a is draining, b is draining".into())
        );
        assert_eq!(
            order(&[ill("a"), pool("b", 10, 0)], Some(11), 0).unwrap_err(),
            NoPool::NoSpace("no pool has room for 11 bytes; the emptiest has 10 bytes".into())
        );
        assert_eq!(order(&[pool("a", 0, 0)], Some(0), 0).unwrap(), [0]);
    }
}
