//! `[marking]` of the one file: what the pool's own has there, and the door's rules beside it.

use penstock_door::marking::MarkingRules;
use penstock_pool::config::MarkingTable;
use penstock_pool::marking::Settings;
use serde::de::{self, Deserialize, Deserializer};
use toml::{Table, Value};

/// What is the door's. Its default tag is left to the pool, which has one of the same meaning.
const RULES: [&str; 2] = ["experiments", "activities"];

/// Packet marking of a site in one process.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Marking {
    /// What the pool does.
    pub pool: Settings,
    /// How the door marks requests without a SciTag.
    pub rules: MarkingRules,
}

impl<'de> Deserialize<'de> for Marking {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let whole = Table::deserialize(deserializer)?;
        let (rules, rest): (Table, Table) =
            whole.clone().into_iter().partition(|(key, _)| RULES.contains(&key.as_str()));
        let wrong = |error: toml::de::Error| de::Error::custom(with_rules(error.message(), &whole));
        let MarkingTable(pool) = MarkingTable::deserialize(Value::Table(rest)).map_err(wrong)?;
        let rules = MarkingRules::deserialize(Value::Table(rules)).map_err(wrong)?;
        Ok(Self { pool, rules })
    }
}

/// To a key that there is not, the pool tells of its own keys alone.
fn with_rules(message: &str, table: &Table) -> String {
    let unknown = message.strip_prefix("unknown field `").and_then(|rest| rest.split('`').next());
    match unknown {
        Some(unknown) if table.contains_key(unknown) => format!("{message}, `{}`", RULES.join("`, `")),
        _ => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marking(text: &str) -> Result<Marking, String> {
        toml::from_str(text).map_err(|error| error.message().to_owned())
    }

    #[test]
    fn one_table_says_what_pool_and_door_do() {
        let text = "policy = \"firefly\"\nports = \"24000-24063\"\ndefault_tag = 65\ncollectors = [\"host:1\"]\n\
                    [[override]]\nsubnet = \"2001:db8::/32\"\npolicy = \"off\"\n\
                    [[experiments]]\npath = \"/atlas\"\nexperiment = \"atlas\"\n\
                    [[activities]]\nuser = \"pilot\"\nactivity = 4\n";
        let marking = marking(text).unwrap();
        assert_eq!(marking.pool.ports.count(), 64);
        assert_eq!(marking.pool.default_tag.map(|tag| tag.number()), Some(65));
        assert_eq!((marking.pool.collectors.len(), marking.pool.rules.overrides.len()), (1, 1));
        assert_eq!((marking.rules.experiments.len(), marking.rules.activities.len()), (1, 1));
        assert_eq!(toml::from_str::<Marking>("").unwrap(), Marking::default());
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, expected) in [
            ("polcy = \"off\"", "unknown field `polcy`"),
            ("polcy = \"off\"", "`experiments`, `activities`"),
            ("default_tag = 1", "marking.default_tag: 1 is no SciTag"),
            ("[[override]]\nnet = 1", "unknown field `net`"),
            ("[[experiments]]\nexperiment = \"nobody\"", "an experiment is a number"),
            ("[[activities]]\nactivity = 64", "an activity is a number from 1 to 63"),
        ] {
            let error = marking(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
        let nested = marking("[[override]]\nnet = 1").unwrap_err();
        assert!(!nested.contains("experiments"), "{nested}");
    }
}
