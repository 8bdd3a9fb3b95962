//! What the site says of marking where a request says nothing: experiments by VO, issuer or path, activities by path,
//! role or user.

use penstock_door_proto::v1 as proto;
use penstock_service::settings::Wrong;
use serde::{Deserialize, Deserializer, de};

use super::wish::TAGS;
use crate::namespace::NsPath;

/// The activity of an experiment of which nothing else is said: "default" in the working group's registry.
const DEFAULT_ACTIVITY: u32 = 1;
/// Activities have six bits of a tag.
const ACTIVITY_BITS: u32 = 6;
/// Experiments by their names in the working group's registry.
const EXPERIMENTS: [(&str, u32); 13] = [
    ("atlas", 2),
    ("cms", 3),
    ("lhcb", 4),
    ("alice", 5),
    ("belleii", 6),
    ("ska", 7),
    ("dune", 8),
    ("lsst", 9),
    ("ilc", 10),
    ("auger", 11),
    ("juno", 12),
    ("nova", 13),
    ("xenon", 14),
];

/// How transfers without a SciTag are marked.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MarkingRules {
    /// For transfers that nothing else is said of. Default: none, so that the pool decides.
    pub default_tag: Option<TagKey>,
    /// Whose traffic it is; the first that fits counts.
    pub experiments: Vec<ExperimentRule>,
    /// What it is for; the first that fits counts. Default: activity 1.
    pub activities: Vec<ActivityRule>,
}

/// Whose traffic it is. All that is given must fit.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExperimentRule {
    /// The client's VO, or a group of it.
    pub vo: Option<String>,
    /// Who has issued its token.
    pub issuer: Option<String>,
    /// At or below this path.
    pub path: Option<PathKey>,
    /// The experiment: a number from 1 to 1023, or a name such as `"atlas"`.
    pub experiment: ExperimentKey,
}

/// What it is for. All that is given must fit.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActivityRule {
    /// Only of this experiment.
    pub experiment: Option<ExperimentKey>,
    /// At or below this path.
    pub path: Option<PathKey>,
    /// A role of the client, as in `/atlas/Role=production`.
    pub role: Option<String>,
    /// The client's user name.
    pub user: Option<String>,
    /// The activity: a number from 1 to 63.
    pub activity: ActivityKey,
}

/// A tag: 65 to 65535.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TagKey(u32);

/// An experiment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExperimentKey(u32);

/// An activity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ActivityKey(u32);

/// A path in the namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathKey(NsPath);

impl<'de> Deserialize<'de> for TagKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let tag = u32::deserialize(deserializer)?;
        let wrong = || de::Error::custom("a SciTag is experiment << 6 | activity: a number from 65 to 65535");
        Some(tag).filter(|tag| TAGS.contains(tag)).map(Self).ok_or_else(wrong)
    }
}

impl<'de> Deserialize<'de> for ExperimentKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Number(u32),
            Name(String),
        }
        let known =
            |name: &str| EXPERIMENTS.iter().find(|(known, _)| *known == name).map(|(_, number)| *number);
        let number = match Written::deserialize(deserializer) {
            Ok(Written::Number(number)) => Some(number).filter(|number| (1..=1023).contains(number)),
            Ok(Written::Name(name)) => known(&name),
            Err(_) => None,
        };
        number.map(Self).ok_or_else(|| {
            let names = EXPERIMENTS.map(|(name, _)| name).join(", ");
            de::Error::custom(format!("an experiment is a number from 1 to 1023, or one of {names}"))
        })
    }
}

impl<'de> Deserialize<'de> for ActivityKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let activity = u32::deserialize(deserializer)?;
        let wrong = || de::Error::custom("an activity is a number from 1 to 63");
        Some(activity).filter(|activity| (1..=63).contains(activity)).map(Self).ok_or_else(wrong)
    }
}

impl<'de> Deserialize<'de> for PathKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        NsPath::parse(&String::deserialize(deserializer)?).map(Self).map_err(de::Error::custom)
    }
}

impl MarkingRules {
    /// The tag of a client's transfer; `None` when no rule fits, the site's policy names no experiment (`granted`), and
    /// there is no default.
    pub fn tag(&self, client: &proto::Client, path: &NsPath, granted: Option<ExperimentKey>) -> Option<u32> {
        let rule = self.experiments.iter().find(|rule| rule.fits(client, path));
        let Some(experiment) = rule.map(|rule| rule.experiment).or(granted) else {
            return self.default_tag.map(|tag| tag.0);
        };
        let activity = self.activities.iter().find(|rule| rule.fits(experiment, client, path));
        let activity = activity.map_or(DEFAULT_ACTIVITY, |rule| rule.activity.0);
        Some(experiment.0 << ACTIVITY_BITS | activity)
    }

    /// A rule that would fit everybody, by a slip of the pen. `None` when there is none.
    pub fn contradiction(&self) -> Option<Wrong> {
        let bare = |rule: &ExperimentRule| rule.vo.is_none() && rule.issuer.is_none() && rule.path.is_none();
        if self.experiments.iter().any(bare) {
            return Some(Wrong::new(
                "marking.experiments",
                "one has neither vo nor issuer nor path: use marking.default_tag instead",
            ));
        }
        None
    }
}

impl ExperimentRule {
    fn fits(&self, client: &proto::Client, path: &NsPath) -> bool {
        self.vo.as_deref().is_none_or(|vo| is_of_vo(client, vo))
            && self.issuer.as_deref().is_none_or(|issuer| same_issuer(&client.issuer, issuer))
            && self.path.as_ref().is_none_or(|above| path.is_within(&above.0))
    }
}

impl ActivityRule {
    fn fits(&self, experiment: ExperimentKey, client: &proto::Client, path: &NsPath) -> bool {
        self.experiment.is_none_or(|own| own == experiment)
            && self.path.as_ref().is_none_or(|above| path.is_within(&above.0))
            && self.role.as_deref().is_none_or(|role| has_role(client, role))
            && self.user.as_deref().is_none_or(|user| client.subject == user)
    }
}

/// Groups are written `/vo`, `/vo/group` or `/vo/group/Role=role`; a VO may stand alone as well.
fn is_of_vo(client: &proto::Client, vo: &str) -> bool {
    let first = |group: &str| group.trim_start_matches('/').split('/').next() == Some(vo);
    client.issuer == vo || client.groups.iter().any(|group| first(group))
}

fn has_role(client: &proto::Client, role: &str) -> bool {
    let roles =
        client.groups.iter().flat_map(|group| group.split('/')).filter_map(|part| part.strip_prefix("Role="));
    roles.into_iter().any(|one| one == role)
}

/// A slash at the end of a URL makes no difference.
fn same_issuer(one: &str, other: &str) -> bool {
    one.trim_end_matches('/') == other.trim_end_matches('/') && !one.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: &str = r#"
default_tag = 65

[[experiments]]
vo = "atlas"
experiment = "atlas"

[[experiments]]
issuer = "https://cms-auth.example.org/"
experiment = 3

[[experiments]]
path = "/belle"
experiment = "belleii"

[[activities]]
experiment = "atlas"
path = "/atlas/rucio"
role = "production"
activity = 15

[[activities]]
role = "production"
activity = 16

[[activities]]
user = "tester"
activity = 11

[[activities]]
path = "/atlas/datadisk"
activity = 4
"#;

    fn rules(text: &str) -> Result<MarkingRules, String> {
        toml::from_str(text).map_err(|error: toml::de::Error| error.message().to_owned())
    }

    fn client(subject: &str, issuer: &str, groups: &[&str]) -> proto::Client {
        proto::Client {
            subject: subject.into(),
            issuer: issuer.into(),
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
            ..Default::default()
        }
    }

    #[test]
    fn who_and_where_decide_of_experiment_and_activity() {
        let rules = rules(RULES).unwrap();
        let production: &[&str] = &["/atlas", "/atlas/Role=production"];
        for (subject, issuer, groups, path, experiment, activity) in [
            ("a", "", production, "/atlas/rucio/x", 2, 15),
            ("a", "", production, "/elsewhere", 2, 16),
            ("a", "", &["/atlas/de"], "/atlas/datadisk/x", 2, 4),
            ("a", "", &["atlas"], "/atlas/datadisk2", 2, 1),
            ("tester", "", &["/atlas"], "/x", 2, 11),
            ("a", "atlas", &[], "/x", 2, 1),
            ("a", "https://cms-auth.example.org", &["/cms/Role=production"], "/x", 3, 16),
            ("a", "", &[], "/belle/x", 6, 1),
            ("a", "", &["/atlasx"], "/belle", 6, 1),
            ("a", "", &["/other"], "/x", 1, 1),
        ] {
            let path = NsPath::parse(path).unwrap();
            let tag = rules.tag(&client(subject, issuer, groups), &path, None);
            assert_eq!(tag, Some(experiment << 6 | activity), "{subject} {issuer} {groups:?} {path}");
        }
        assert_eq!(
            MarkingRules::default().tag(&client("a", "", &["/atlas"]), &NsPath::parse("/x").unwrap(), None),
            None
        );
    }

    #[test]
    fn what_has_no_meaning_is_refused_with_what_would_have_one() {
        for (text, expected) in [
            ("default_tag = 64", "a SciTag is experiment << 6 | activity"),
            ("[[experiments]]\nvo = \"x\"\nexperiment = 1024", "an experiment is a number from 1 to 1023"),
            ("[[experiments]]\nvo = \"x\"\nexperiment = \"x\"", "or one of atlas, cms"),
            ("[[activities]]\nactivity = 64", "an activity is a number from 1 to 63"),
            ("[[activities]]\nuser = \"x\"", "missing field `activity`"),
            ("[[activities]]\nvo = \"x\"\nactivity = 1", "unknown field `vo`"),
        ] {
            let error = rules(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
        let bare = rules("[[experiments]]\nexperiment = 2").unwrap();
        assert!(bare.contradiction().unwrap().problem.contains("use marking.default_tag"));
        assert_eq!(rules(RULES).unwrap().contradiction(), None);
    }
}
