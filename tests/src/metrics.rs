//! Reading the numbers of a daemon's admin port.

use std::collections::BTreeMap;

use crate::curl::Curl;

/// One look at `/metrics`: values by name and labels, as they stand in the text.
#[derive(Debug, Clone)]
pub struct Metrics(BTreeMap<String, f64>);

impl Metrics {
    /// Asks the admin port at `http://HOST:PORT`.
    #[must_use]
    pub fn of(admin_url: &str) -> Metrics {
        let answer = Curl::new(format!("{admin_url}/metrics")).run().expect(200);
        Metrics(
            answer
                .text()
                .lines()
                .filter(|line| !line.starts_with('#'))
                .filter_map(|line| line.rsplit_once(' '))
                .filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?)))
                .collect(),
        )
    }

    /// The sum of all values of a name, whatever their labels. Panics when there is none: a story that reads a
    /// number that does not exist would hold for ever.
    #[must_use]
    pub fn sum(&self, name: &str) -> f64 {
        self.sum_where(name, "")
    }

    /// The sum of the values of a name whose labels contain this text (`outcome="done"`).
    #[must_use]
    pub fn sum_where(&self, name: &str, label: &str) -> f64 {
        let of_name = |key: &str| key.split('{').next() == Some(name);
        assert!(self.0.keys().any(|key| of_name(key)), "there is no metric {name} among {:?}", self.0.keys());
        self.0.iter().filter(|(key, _)| of_name(key) && key.contains(label)).map(|(_, value)| value).sum()
    }
}
