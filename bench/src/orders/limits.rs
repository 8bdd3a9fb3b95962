//! What held transfers back, as the pool tells it, over many transfers.

use penstock_door_proto::v1 as proto;

/// Shares of several transfers, each weighed by its bytes.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub struct Limits {
    weight: f64,
    shares: [f64; 5],
}

/// All but the first, which is the other side.
const NAMES: [&str; 4] = ["network", "disk", "checksum", "queue"];
/// Smaller shares are not worth a word.
const WORTH_TELLING: f64 = 0.05;

impl Limits {
    /// Those of one transfer.
    pub fn add(&mut self, limits: &proto::Limits, bytes: u64) {
        let weight = bytes as f64;
        self.weight += weight;
        let of_it = [limits.source, limits.network, limits.disk, limits.checksum, limits.queue];
        self.shares.iter_mut().zip(of_it).for_each(|(sum, share)| *sum += share * weight);
    }

    /// Those of several others, too.
    pub fn add_all(&mut self, other: &Limits) {
        self.weight += other.weight;
        self.shares.iter_mut().zip(other.shares).for_each(|(sum, more)| *sum += more);
    }

    /// In words, the largest first; `None` when nothing is known. `far`: what the other side is.
    pub fn shown(&self, far: &str) -> Option<String> {
        let names = std::iter::once(far).chain(NAMES);
        let mut shares: Vec<(&str, f64)> =
            names.zip(self.shares).map(|(name, sum)| (name, sum / self.weight)).collect();
        shares.retain(|(_, share)| *share >= WORTH_TELLING);
        shares.sort_by(|one, other| other.1.total_cmp(&one.1));
        let words: Vec<String> =
            shares.iter().map(|(name, share)| format!("{name} {:.0} %", share * 100.0)).collect();
        (!words.is_empty()).then(|| format!("waited for {}", words.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_transfers_weigh_more_and_small_shares_are_left_out() {
        let mut limits = Limits::default();
        assert_eq!(limits.shown("client"), None);
        limits.add(&proto::Limits { network: 1.0, ..Default::default() }, 1);
        limits.add(&proto::Limits { disk: 0.96, queue: 0.04, ..Default::default() }, 3);
        assert_eq!(limits.shown("client").as_deref(), Some("waited for disk 72 %, network 25 %"));
    }
}
