//! Whose traffic a flow is: the SciTag, an experiment and one of its activities.

use std::fmt;

use thiserror::Error;

/// Bits of a tag below the experiment.
const ACTIVITY_BITS: u16 = 6;
/// The lowest tag that names both an experiment and an activity (1, 1).
const LOWEST: u16 = 65;

/// A tag: `experiment << 6 | activity`, 65 to 65535 (docs/packet-marking.md, "The tag").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(u16);

/// A number that is no tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{0} is no SciTag: one is experiment << 6 | activity, from 65 to 65535")]
pub struct NoTag(pub u32);

impl Tag {
    /// The tag of an experiment (1 to 1023) and an activity (0 to 63); `None` when there is none.
    #[must_use]
    pub fn new(experiment: u16, activity: u16) -> Option<Tag> {
        let fits = experiment < 1 << (u16::BITS - u32::from(ACTIVITY_BITS)) && activity < 1 << ACTIVITY_BITS;
        fits.then_some(experiment.wrapping_shl(ACTIVITY_BITS.into()) | activity)
            .and_then(|number| Tag::try_from(number).ok())
    }

    /// The experiment, 1 to 1023.
    #[must_use]
    pub fn experiment(self) -> u16 {
        self.0 >> ACTIVITY_BITS
    }

    /// The activity, 0 to 63.
    #[must_use]
    pub fn activity(self) -> u16 {
        self.0 & ((1 << ACTIVITY_BITS) - 1)
    }

    /// As it stands in a `SciTag` header.
    #[must_use]
    pub fn number(self) -> u16 {
        self.0
    }
}

impl TryFrom<u16> for Tag {
    type Error = NoTag;

    fn try_from(number: u16) -> Result<Self, NoTag> {
        if number >= LOWEST { Ok(Tag(number)) } else { Err(NoTag(number.into())) }
    }
}

impl TryFrom<u32> for Tag {
    type Error = NoTag;

    fn try_from(number: u32) -> Result<Self, NoTag> {
        u16::try_from(number).map_err(|_| NoTag(number)).and_then(Tag::try_from)
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// What a request says of its marking.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Wish {
    /// Nothing: the pool's default counts.
    #[default]
    Unsaid,
    /// That it is not to be marked.
    Unmarked,
    /// With this tag.
    Tagged(Tag),
}

impl TryFrom<u32> for Wish {
    type Error = NoTag;

    /// As the contract has it: 0 is explicitly unmarked.
    fn try_from(number: u32) -> Result<Self, NoTag> {
        match number {
            0 => Ok(Wish::Unmarked),
            number => Tag::try_from(number).map(Wish::Tagged),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_its_experiment_and_activity() {
        for (number, experiment, activity) in [(65, 1, 1), (144, 2, 16), (205, 3, 13), (65_535, 1023, 63)] {
            let tag = Tag::try_from(number as u16).unwrap();
            assert_eq!((tag.experiment(), tag.activity()), (experiment, activity), "{number}");
            assert_eq!(Tag::new(experiment, activity), Some(tag));
        }
    }

    #[test]
    fn every_number_in_the_range_is_a_tag_and_no_other() {
        for number in 0..=u32::from(u16::MAX) + 2 {
            let tag = Tag::try_from(number);
            assert_eq!(tag.is_ok(), (65..=65_535).contains(&number), "{number}");
            if let Ok(tag) = tag {
                assert_eq!(Tag::new(tag.experiment(), tag.activity()), Some(tag));
            }
        }
        for (experiment, activity) in [(0, 1), (1, 0), (1024, 1), (1, 64)] {
            assert_eq!(Tag::new(experiment, activity), None, "({experiment}, {activity})");
        }
    }

    #[test]
    fn nothing_said_and_unmarked_are_two_things() {
        assert_eq!(Wish::try_from(0), Ok(Wish::Unmarked));
        assert_eq!(Wish::try_from(66), Ok(Wish::Tagged(Tag(66))));
        assert_eq!(Wish::try_from(64), Err(NoTag(64)));
        assert_eq!(Wish::default(), Wish::Unsaid);
    }
}
