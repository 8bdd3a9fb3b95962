//! Every key of the door's configuration: its form, its default, what it does, and why the default is what it is.
//!
//! The one source of `penstock-door config --default`, of docs/door-configuration.md, and of what may be set in the
//! environment and by --set. A new key is one entry in [`keys`]; a test names those that are missing here.

pub mod keys;
mod page;

pub use keys::KEYS;
pub use penstock_service::reference::{Default, Form, Key, Reference};

/// All that there is to say.
pub const REFERENCE: Reference = Reference {
    keys: KEYS,
    lists: &[
        "pools",
        "marking.experiments",
        "marking.activities",
        "authentication.issuers",
        "delegation.exchange",
    ],
    named: &[],
    environment_prefix: "PENSTOCK_DOOR_",
    file_preface: page::FILE_PREFACE,
    page_preface: page::PAGE_PREFACE,
};

#[cfg(test)]
mod tests {
    use penstock_service::reference::proof;

    use super::*;
    use crate::config::Config;

    const LEAST: &str =
        "namespace = \"/n\"\nmacaroon_keys = \"/k\"\n[[pools]]\nname = \"p\"\nsocket = \"/s\"\n";

    #[test]
    fn the_reference_has_every_key_of_the_file_and_no_other() {
        proof::every_key_is_told::<Config>();
    }

    #[test]
    fn every_default_is_what_the_door_does_without_the_key() {
        proof::every_default_holds::<Config>(LEAST);
    }

    #[test]
    fn every_example_of_a_single_key_is_taken() {
        proof::every_example_is_taken::<Config>(LEAST);
    }

    #[test]
    fn every_key_says_what_it_does_and_why() {
        proof::every_key_speaks(&REFERENCE);
    }
}
