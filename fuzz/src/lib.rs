//! What must hold for every input, target by target. None of it is only "does not crash".
//!
//! * [`request_heads`], [`chunked`], [`ranges`], [`digests`]: the data port of the pool.
//! * [`answers`]: remote servers, to which the pool is the client.
//! * [`xml_bodies`], [`if_headers`], [`paths`], [`scitags`]: the door's side of WebDAV.
//! * [`credentials`], [`macaroons`], [`tokens`], [`certificates`]: who asks. [`policies`]: what the site gives them.
//!
//! Each module has one function, `check`, which panics on what must not be. `fuzz_targets/` hands it the fuzzer's bytes.
#![forbid(unsafe_code)]

pub mod answers;
pub mod certificates;
pub mod chunked;
pub mod credentials;
pub mod digests;
pub mod if_headers;
mod input;
pub mod macaroons;
mod operations;
pub mod paths;
pub mod policies;
pub mod ranges;
pub mod request_heads;
pub mod scitags;
pub mod tokens;
pub mod xml_bodies;

/// A target: its name, and what it checks.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: [Target; 14] = [
    ("answers", answers::check),
    ("certificates", certificates::check),
    ("chunked", chunked::check),
    ("credentials", credentials::check),
    ("digests", digests::check),
    ("if_headers", if_headers::check),
    ("macaroons", macaroons::check),
    ("paths", paths::check),
    ("policies", policies::check),
    ("ranges", ranges::check),
    ("request_heads", request_heads::check),
    ("scitags", scitags::check),
    ("tokens", tokens::check),
    ("xml_bodies", xml_bodies::check),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::{Path, PathBuf};

    use super::*;

    fn here(path: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
    }

    fn names(directory: &str) -> BTreeSet<String> {
        let entries = fs::read_dir(here(directory)).unwrap();
        entries.map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned()).collect()
    }

    /// As `fuzz/run` does when it starts, and some more: cut short, and with a byte changed.
    #[test]
    fn every_seed_holds_and_so_do_its_neighbours() {
        for (name, check) in TARGETS {
            let mut seeds = 0;
            for entry in fs::read_dir(here("seeds").join(name)).unwrap() {
                let path = entry.unwrap().path();
                println!("{}", path.display());
                let seed = fs::read(&path).unwrap();
                assert!(seed.len() <= 4096, "{}: seeds are small", path.display());
                check(&seed);
                for at in 0..seed.len() {
                    check(&seed[..at]);
                    let mut other = seed.clone();
                    other[at] ^= 1 << (at % 8);
                    check(&other);
                }
                seeds += 1;
            }
            assert!(seeds > 0, "{name} has no seeds");
        }
    }

    #[test]
    fn every_target_has_its_program_and_its_seeds() {
        let known: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(names("fuzz_targets"), known);
        assert_eq!(names("seeds"), known);
        assert!(names("dictionaries").is_subset(&known));
        let manifest = fs::read_to_string(here("Cargo.toml")).unwrap();
        for name in known {
            assert!(manifest.contains(&format!("name = \"{name}\"")), "{name} is no [[bin]]");
        }
    }
}
