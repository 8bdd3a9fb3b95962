//! The IPv6 flow label that carries a tag.
//!
//! Twenty bits, the most significant first: `EE CCCCCCCCC E AAAAAA EE`. C is the experiment with its bits in reverse
//! order, A the activity, E entropy: five random bits that let routers spread flows of one tag over links.

use super::tag::Tag;

/// The bits that are entropy.
const ENTROPY_MASK: u32 = 0xC_0103;
/// The bits that carry the tag.
const MEANING_MASK: u32 = 0x3_FEFC;
/// Where the reversed experiment begins.
const EXPERIMENT_SHIFT: u32 = 9;
/// Where the activity begins.
const ACTIVITY_SHIFT: u32 = 2;
/// Bits of the experiment: one less than the tag has.
const EXPERIMENT_BITS: u32 = 9;

const _: () = assert!(ENTROPY_MASK | MEANING_MASK == 0xF_FFFF && ENTROPY_MASK & MEANING_MASK == 0);

/// A flow label with a tag in it. Never 0, which is "no label".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FlowLabel(u32);

impl FlowLabel {
    /// The label of a tag. `entropy`: any bits; those at the places of the entropy are used. `None` for experiments
    /// that have no label: from 512 on.
    #[must_use]
    pub fn new(tag: Tag, entropy: u32) -> Option<FlowLabel> {
        let experiment = u32::from(tag.experiment());
        if experiment >= 1 << EXPERIMENT_BITS {
            return None;
        }
        let reversed = experiment.reverse_bits() >> (u32::BITS - EXPERIMENT_BITS);
        let meaning = reversed << EXPERIMENT_SHIFT | u32::from(tag.activity()) << ACTIVITY_SHIFT;
        Some(FlowLabel(meaning | entropy & ENTROPY_MASK))
    }

    /// The same with random entropy; without random bits there, with none.
    #[must_use]
    pub fn random(tag: Tag) -> Option<FlowLabel> {
        let mut entropy = [0; 4];
        // Spreading flows is a courtesy: a label without entropy is as good a mark.
        let _ = getrandom::fill(&mut entropy);
        FlowLabel::new(tag, u32::from_ne_bytes(entropy))
    }

    /// As a number below 2²⁰.
    #[must_use]
    pub fn bits(self) -> u32 {
        self.0
    }

    /// The tag in a label; `None` when it has none.
    #[must_use]
    pub fn tag_of(bits: u32) -> Option<Tag> {
        let meaning = bits & MEANING_MASK;
        let experiment = ((meaning >> EXPERIMENT_SHIFT) << (u32::BITS - EXPERIMENT_BITS)).reverse_bits();
        let activity = meaning >> ACTIVITY_SHIFT & 0x3F;
        u16::try_from(experiment).ok().zip(u16::try_from(activity).ok()).and_then(|(e, a)| Tag::new(e, a))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_published_vectors_come_out() {
        for (experiment, activity, label) in
            [(1, 1, 0x2_0004), (2, 16, 0x1_0040), (3, 13, 0x3_0034), (3, 14, 196_664)]
        {
            let tag = Tag::new(experiment, activity).unwrap();
            assert_eq!(FlowLabel::new(tag, 0).unwrap().bits(), label, "({experiment}, {activity})");
        }
    }

    #[test]
    fn every_tag_below_512_comes_back_and_the_others_have_no_label() {
        for number in 65..=u16::MAX {
            let tag = Tag::try_from(number).unwrap();
            for entropy in [0, u32::MAX, 0x5555_5555] {
                match FlowLabel::new(tag, entropy) {
                    Some(label) => assert_eq!(FlowLabel::tag_of(label.bits()), Some(tag)),
                    None => assert!(tag.experiment() >= 512),
                }
            }
        }
    }

    #[test]
    fn two_flows_of_a_tag_rarely_have_the_same_label() {
        let tag = Tag::new(2, 16).unwrap();
        let labels: std::collections::HashSet<_> = (0..100).map(|_| FlowLabel::random(tag)).collect();
        assert!(labels.len() > 8, "{labels:?}");
    }

    proptest! {
        #[test]
        fn entropy_never_touches_the_meaning(number in 65u16..32_768, entropy: u32) {
            let tag = Tag::try_from(number).unwrap();
            let (plain, label) = (FlowLabel::new(tag, 0).unwrap(), FlowLabel::new(tag, entropy).unwrap());
            prop_assert_eq!(label.bits() & MEANING_MASK, plain.bits());
            prop_assert_eq!(label.bits() & ENTROPY_MASK, entropy & ENTROPY_MASK);
            prop_assert!(label.bits() < 1 << 20);
            prop_assert_eq!(FlowLabel::tag_of(label.bits()), Some(tag));
        }

        #[test]
        fn any_label_holds_a_tag_or_none(bits in 0u32..1 << 20) {
            if let Some(tag) = FlowLabel::tag_of(bits) {
                prop_assert_eq!(FlowLabel::new(tag, bits).unwrap().bits(), bits);
            }
        }
    }
}
