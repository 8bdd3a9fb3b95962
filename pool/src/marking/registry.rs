//! Names of experiments and activities: the working group's registry, built in, or a file of the site's.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use thiserror::Error;

use super::tag::Tag;

/// The registry as it was published on 2025-09-04.
const BUILT_IN: &str = include_str!("registry.json");
/// The version of the file's form.
const VERSION: u32 = 1;
/// A file that is larger is none.
const MAX_BYTES: u64 = 4 << 20;

/// Why a registry cannot be used.
#[derive(Debug, Error)]
pub enum RegistryError {
    /// The file cannot be read.
    #[error("cannot read {path}: {error}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// It is not the form that is known.
    #[error("{path} is no registry of experiments and activities: {problem}")]
    Wrong {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
}

#[derive(Deserialize)]
struct File {
    version: u32,
    experiments: Vec<Experiment>,
}

#[derive(Deserialize)]
struct Experiment {
    #[serde(rename = "expName")]
    name: String,
    #[serde(rename = "expId")]
    id: u16,
    #[serde(default)]
    activities: Vec<Activity>,
}

#[derive(Deserialize)]
struct Activity {
    #[serde(rename = "activityName")]
    name: String,
    #[serde(rename = "activityId")]
    id: u16,
}

/// What a tag is called. Where the registry knows no name, the number stands for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// The experiment's.
    pub experiment: String,
    /// The activity's.
    pub activity: String,
    /// Both are in the registry.
    pub known: bool,
}

/// Names by numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registry {
    experiments: HashMap<u16, (String, HashMap<u16, String>)>,
}

impl Registry {
    /// The one that comes with the pool.
    #[must_use]
    pub fn built_in() -> Registry {
        let built_in = Path::new("the built-in registry");
        // A test reads it, so it is good; without names the pool would still mark.
        Registry::parse(BUILT_IN, built_in).unwrap_or(Registry { experiments: HashMap::new() })
    }

    /// Reads a file.
    pub fn load(path: &Path) -> Result<Registry, RegistryError> {
        let unreadable = |error| RegistryError::Unreadable { path: path.to_owned(), error };
        let length = std::fs::metadata(path).map_err(unreadable)?.len();
        if length > MAX_BYTES {
            let problem = format!("it has {length} bytes, at most {MAX_BYTES} are taken");
            return Err(RegistryError::Wrong { path: path.to_owned(), problem });
        }
        Registry::parse(&std::fs::read_to_string(path).map_err(unreadable)?, path)
    }

    fn parse(text: &str, path: &Path) -> Result<Registry, RegistryError> {
        let wrong = |problem: String| RegistryError::Wrong { path: path.to_owned(), problem };
        let file: File = serde_json::from_str(text).map_err(|error| wrong(error.to_string()))?;
        if file.version != VERSION {
            return Err(wrong(format!("its version is {}, known is {VERSION}", file.version)));
        }
        let experiments = file.experiments.into_iter().map(|experiment| {
            let activities = experiment.activities.into_iter().map(|activity| (activity.id, activity.name));
            (experiment.id, (experiment.name, activities.collect()))
        });
        Ok(Registry { experiments: experiments.collect() })
    }

    /// What a tag is called.
    #[must_use]
    pub fn names(&self, tag: Tag) -> Names {
        let experiment = self.experiments.get(&tag.experiment());
        let activity = experiment.and_then(|(_, activities)| activities.get(&tag.activity()));
        let named = |name: Option<&String>, number: u16| name.cloned().unwrap_or_else(|| number.to_string());
        Names {
            known: activity.is_some(),
            experiment: named(experiment.map(|(name, _)| name), tag.experiment()),
            activity: named(activity, tag.activity()),
        }
    }

    /// Experiments that it knows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.experiments.len()
    }

    /// It knows none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.experiments.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(registry: &Registry, experiment: u16, activity: u16) -> (String, String, bool) {
        let Names { experiment, activity, known } = registry.names(Tag::new(experiment, activity).unwrap());
        (experiment, activity, known)
    }

    #[test]
    fn the_built_in_registry_knows_the_working_groups_names() {
        let registry = Registry::parse(BUILT_IN, Path::new("built in")).unwrap();
        assert_eq!(registry.len(), 14);
        for (experiment, activity, expected) in [
            (1, 1, ("default", "default")),
            (2, 26, ("atlas", "Data Challenge")),
            (3, 4, ("cms", "Data Challenge")),
            (4, 2, ("lhcb", "perfSONAR")),
            (6, 19, ("belleii", "Raw Export")),
            (14, 1, ("xenon", "default")),
        ] {
            let expected = (expected.0.to_owned(), expected.1.to_owned(), true);
            assert_eq!(names(&registry, experiment, activity), expected);
        }
    }

    #[test]
    fn what_has_no_name_is_called_by_its_number() {
        let registry = Registry::built_in();
        assert_eq!(names(&registry, 2, 63), ("atlas".into(), "63".into(), false));
        assert_eq!(names(&registry, 700, 5), ("700".into(), "5".into(), false));
    }

    #[test]
    fn a_file_of_the_sites_is_read_and_a_wrong_one_says_why() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("registry.json");
        let load = |text: &str| {
            std::fs::write(&path, text).unwrap();
            Registry::load(&path).map_err(|error| error.to_string())
        };
        let own = load(
            r#"{"version":1,"modified":"x","experiments":[{"expName":"ours","expId":20,"activities":[{"activityName":"a","activityId":1}]}]}"#,
        );
        assert_eq!(names(&own.unwrap(), 20, 1), ("ours".into(), "a".into(), true));
        for (text, why) in [
            ("{}", "missing field `version`"),
            (r#"{"version":2,"experiments":[]}"#, "its version is 2, known is 1"),
            ("names", "expected"),
        ] {
            let error = load(text).unwrap_err();
            assert!(error.contains("registry.json is no registry") && error.contains(why), "{error}");
        }
        let missing = Registry::load(&dir.path().join("none")).unwrap_err().to_string();
        assert!(missing.starts_with("cannot read ") && missing.contains("none"), "{missing}");
    }
}
