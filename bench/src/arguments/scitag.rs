//! SciTags, as they are given on the command line.

use penstock_pool::marking::{FlowLabel, Tag};

/// A SciTag that has a flow label.
pub fn parse_scitag(text: &str) -> Result<Tag, String> {
    let number: u16 = text.parse().map_err(|_| "a SciTag is a number from 65 to 32767".to_owned())?;
    let tag = Tag::try_from(number).map_err(|error| error.to_string())?;
    match FlowLabel::new(tag, 0) {
        Some(_) => Ok(tag),
        None => Err("experiments from 512 on have no flow label".to_owned()),
    }
}
