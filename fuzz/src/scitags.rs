//! What requests say of packet marking, and the label that comes of it.
//!
//! A tag is taken in decimal digits from 65 to 65535 and from nowhere else; the header goes before the parameter; what is
//! none may stand in a log; and the label of a tag is read back as that tag, whatever its entropy.

use hyper::header::{HeaderMap, HeaderValue};
use penstock_door::marking::wish::{self, Wish};
use penstock_pool::marking::label::FlowLabel;
use penstock_pool::marking::tag::Tag;

use crate::input::Input;

const NAMES: [&str; 2] = ["scitag", "transferheaderscitag"];

/// Checks an input: four bytes of entropy; then `SciTag`, `TransferHeaderSciTag` and the parameter, a line each.
pub fn check(data: &[u8]) {
    let mut input = Input(data);
    let entropy = input.u32();
    let lines: Vec<&[u8]> = input.lines(3).collect();
    let mut headers = HeaderMap::new();
    let mut said: Vec<&[u8]> = Vec::new();
    for (name, line) in NAMES.iter().zip(&lines) {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.append(*name, value);
            said.push(line.trim_ascii());
        }
    }
    let parameter = lines.get(2).and_then(|line| std::str::from_utf8(line).ok());
    said.extend(parameter.map(str::as_bytes));
    let first = said.into_iter().find(|value| !value.is_empty());
    let expected = first.and_then(|value| std::str::from_utf8(value).ok()).and_then(number);
    match wish::read(&headers, parameter) {
        Wish::Unsaid => assert_eq!(first, None),
        Wish::Tagged(number) => {
            assert_eq!(Some(number), expected);
            labelled(Tag::try_from(number).expect("the pool takes what the door gives"), entropy);
        }
        Wish::Invalid { value, .. } => {
            assert_eq!(expected, None);
            assert!(!value.contains(char::is_control) && value.len() <= 40 * 10);
        }
    }
    if let Some(tag) = FlowLabel::tag_of(entropy & 0xf_ffff) {
        labelled(tag, !entropy);
    }
}

/// Digits only, in the range of tags.
fn number(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let significant = text.trim_start_matches('0');
    if !digits || significant.len() > 5 {
        return None;
    }
    let number = significant.bytes().fold(0, |number, digit| number * 10 + u32::from(digit - b'0'));
    (65..=65_535).contains(&number).then_some(number)
}

fn labelled(tag: Tag, entropy: u32) {
    assert_eq!(Tag::new(tag.experiment(), tag.activity()), Some(tag));
    assert_eq!(Tag::try_from(tag.number()), Ok(tag));
    match FlowLabel::new(tag, entropy) {
        Some(label) => {
            assert!(tag.experiment() < 512 && label.bits() < 1 << 20 && label.bits() != 0);
            assert_eq!(FlowLabel::tag_of(label.bits()), Some(tag));
        }
        None => assert!(tag.experiment() >= 512),
    }
}
