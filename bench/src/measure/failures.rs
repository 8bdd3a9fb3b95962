//! What failed while it was measured, by kind.

use std::collections::BTreeMap;

/// Kinds that are kept apart; those that come later are counted together.
const MOST_KINDS: usize = 16;
/// Kinds that are told.
const TOLD_KINDS: usize = 3;

/// Counts by kind, each with the words of the first.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Failures(BTreeMap<String, (u64, String)>);

impl Failures {
    /// One more of a kind, in these words.
    pub fn add(&mut self, kind: &str, words: &str) {
        self.count(kind.to_owned(), 1, words.to_owned());
    }

    /// Those of others, too.
    pub fn add_all(&mut self, other: Failures) {
        for (kind, (count, words)) in other.0 {
            self.count(kind, count, words);
        }
    }

    fn count(&mut self, kind: String, more: u64, words: String) {
        let room = self.0.len() < MOST_KINDS || self.0.contains_key(&kind);
        let kind = if room { kind } else { "others".to_owned() };
        self.0.entry(kind).or_insert((0, words)).0 += more;
    }

    /// All of them.
    pub fn total(&self) -> u64 {
        self.0.values().map(|(count, _)| count).sum()
    }

    /// In words, the most frequent first; `None` without any.
    pub fn shown(&self) -> Option<String> {
        let mut kinds: Vec<_> = self.0.iter().collect();
        kinds.sort_by_key(|(_, (count, _))| std::cmp::Reverse(*count));
        let told = kinds.iter().take(TOLD_KINDS);
        let told: Vec<String> =
            told.map(|(kind, (count, words))| format!("failed: {count} × {kind} ({words})")).collect();
        (!told.is_empty()).then(|| told.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_counted_by_kind_with_the_words_of_the_first() {
        let (mut one, mut other) = (Failures::default(), Failures::default());
        assert_eq!(one.shown(), None);
        one.add("pool 507", "full");
        other.add("door 503", "busy, try later");
        other.add("door 503", "busy, too");
        one.add_all(other);
        assert_eq!(one.total(), 3);
        assert_eq!(
            one.shown().unwrap(),
            "failed: 2 × door 503 (busy, try later); failed: 1 × pool 507 (full)"
        );
    }

    #[test]
    fn the_kinds_are_bounded() {
        let mut failures = Failures::default();
        (400..500).for_each(|status| failures.add(&format!("pool {status}"), ""));
        assert_eq!((failures.total(), failures.0.len()), (100, MOST_KINDS + 1));
    }
}
