//! Names that the door keeps for itself: what would be stored there could not be reached.

use super::{oauth, tape};
use crate::namespace::NsPath;

/// Whether a path is one of them.
pub fn is(path: &NsPath) -> bool {
    tape::reserves(path) || oauth::reserves(path)
}

/// The same, and for directories that hold one: what is moved there could bring a name along.
pub fn is_or_holds(path: &NsPath) -> bool {
    let holds = |place: &str| NsPath::parse(place).is_ok_and(|place| place.is_within(path));
    is(path) || (!path.is_root() && [tape::PLACE, oauth::TOKEN, oauth::DESCRIPTION].into_iter().any(holds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_door_answers_itself_and_what_is_above_it_is_no_place_for_a_file() {
        let table = [
            ("/.oauth2/token", true, true),
            ("/.oauth2", false, true),
            ("/.well-known", false, true),
            ("/.well-known/wlcg-tape-rest-api/v1/x", true, true),
            ("/.well-known/other", false, false),
            ("/", false, false),
            ("/data", false, false),
        ];
        for (path, itself, with_above) in table {
            let parsed = NsPath::parse(path).unwrap();
            assert_eq!((is(&parsed), is_or_holds(&parsed)), (itself, with_above), "{path}");
        }
    }
}
