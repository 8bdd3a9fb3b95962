//! A reference of configuration keys in words: form, default, what a key does, and why the default is what it is.
//!
//! Each daemon has one [`Reference`], from which come its `config --default`, its page in docs/, and what may be set in the
//! environment. A key is one entry of a list; [`proof`] is what tests of the daemon hold the list against.

mod page;
pub mod proof;

#[cfg(test)]
pub(crate) use page::tests::EXAMPLE;

/// Everything that can be configured of a daemon.
#[derive(Debug, Clone, Copy)]
pub struct Reference {
    /// Every key, in parts; those of a table one behind the other, in the order in which a reader wants to know of them.
    pub keys: &'static [&'static [Key]],
    /// Tables of which there can be several, as in `[[queues]]`.
    pub lists: &'static [&'static str],
    /// Tables whose keys are names of the admin's own, each with an example of a line.
    pub named: &'static [(&'static str, &'static str)],
    /// Before the name of a key in the environment.
    pub environment_prefix: &'static str,
    /// What stands before the keys in a file: comments.
    pub file_preface: &'static str,
    /// What stands before the tables of the page.
    pub page_preface: &'static str,
}

/// One key.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// With its tables, as in `data.listen`.
    pub name: &'static str,
    /// What stands behind it.
    pub form: Form,
    /// Without it.
    pub default: Default,
    /// As TOML: the default where that is a value, else an example.
    pub example: &'static str,
    /// What it does.
    pub what: &'static str,
    /// Why the default is what it is, or when another value is better.
    pub why: &'static str,
}

/// What stands behind a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Text.
    Text,
    /// An absolute path.
    Path,
    /// `"address:port"`.
    Address,
    /// `"host:port"`.
    Authority,
    /// Bytes, or text with a unit.
    Size,
    /// Seconds, or text with a unit.
    Time,
    /// A whole number.
    Count,
    /// `true` or `false`.
    Flag,
    /// A list.
    List,
    /// A table, or a list of them.
    Table,
}

/// Without a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Default {
    /// The value of the example.
    Value,
    /// Something else, in words.
    Otherwise(&'static str),
    /// The daemon does not start.
    Required,
}

impl Form {
    /// For people.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Form::Text => "text",
            Form::Path => "path",
            Form::Address => "address:port",
            Form::Authority => "host:port",
            Form::Size => "size",
            Form::Time => "time",
            Form::Count => "number",
            Form::Flag => "true or false",
            Form::List => "list",
            Form::Table => "table",
        }
    }

    /// Whether its value is text in TOML, and so needs no quotes where nothing else can be meant.
    #[must_use]
    pub fn is_text(self) -> bool {
        match self {
            Form::Text | Form::Path | Form::Address | Form::Authority => true,
            Form::Size | Form::Time | Form::Count | Form::Flag | Form::List | Form::Table => false,
        }
    }
}

impl Key {
    /// An entry of the list.
    #[must_use]
    pub const fn new(
        name: &'static str,
        form: Form,
        default: Default,
        example: &'static str,
        what: &'static str,
        why: &'static str,
    ) -> Key {
        Key { name, form, default, example, what, why }
    }

    /// The tables before its own name; empty at the top.
    #[must_use]
    pub fn table(&self) -> &'static str {
        self.name.rsplit_once('.').map_or("", |(table, _)| table)
    }

    /// Its own name.
    #[must_use]
    pub fn own_name(&self) -> &'static str {
        self.name.rsplit_once('.').map_or(self.name, |(_, name)| name)
    }
}

impl Reference {
    /// All keys.
    pub fn keys(&self) -> impl Iterator<Item = &'static Key> + use<> {
        self.keys.iter().copied().flatten()
    }

    /// The keys that can be set from outside the file, with their names in the environment.
    pub fn settable(&self) -> impl Iterator<Item = (&'static Key, String)> {
        self.keys().filter(|key| self.can_be_set(key)).map(|key| (key, self.environment_name(key)))
    }

    /// A key by its name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&'static Key> {
        self.keys().find(|key| key.name == name)
    }

    /// Whether a key is one of the admin's own, in a table for such.
    #[must_use]
    pub fn is_named(&self, key: &str) -> bool {
        let own = |table: &str| key.strip_prefix(table).and_then(|rest| rest.strip_prefix('.'));
        self.named.iter().any(|(table, _)| own(table).is_some_and(|name| !name.is_empty()))
    }

    /// The tables that have keys, in the order of their first; the top is "".
    #[must_use]
    pub fn tables(&self) -> Vec<&'static str> {
        let mut tables: Vec<&str> = Vec::new();
        for key in self.keys() {
            if !tables.contains(&key.table()) {
                tables.push(key.table());
            }
        }
        tables
    }

    /// How a table begins in a file; nothing at the top.
    #[must_use]
    pub fn header(&self, table: &str) -> String {
        match table {
            "" => String::new(),
            table if self.lists.contains(&table) => format!("[[{table}]]"),
            table => format!("[{table}]"),
        }
    }

    /// Whether a table is one of a list of them, or stands in one.
    #[must_use]
    pub fn is_in_list(&self, table: &str) -> bool {
        self.lists
            .iter()
            .any(|list| table.strip_prefix(list).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
    }

    /// Whether a key can be set from outside the file. Of a list of tables, only the whole list can.
    #[must_use]
    pub fn can_be_set(&self, key: &Key) -> bool {
        !self.is_in_list(key.table())
    }

    /// A key's name in the environment.
    #[must_use]
    pub fn environment_name(&self, key: &Key) -> String {
        format!("{}{}", self.environment_prefix, key.name.replace('.', "_").to_ascii_uppercase())
    }
}

#[cfg(test)]
mod tests {
    use super::EXAMPLE;

    #[test]
    fn a_table_in_a_list_of_tables_cannot_be_set_from_outside() {
        let can = |name| EXAMPLE.can_be_set(EXAMPLE.find(name).unwrap());
        assert!(can("name") && can("limits.count") && can("pools"));
        assert!(!can("pools.name") && !can("pools.tls.ca"));
        assert!(!EXAMPLE.is_in_list("poolside"));
    }

    #[test]
    fn a_key_has_a_name_in_the_environment() {
        let key = EXAMPLE.find("limits.count").unwrap();
        assert_eq!(EXAMPLE.environment_name(key), "EXAMPLE_LIMITS_COUNT");
        assert_eq!((key.table(), key.own_name()), ("limits", "count"));
        let names: Vec<String> = EXAMPLE.settable().map(|(_, name)| name).collect();
        assert!(
            names.contains(&"EXAMPLE_POOLS".to_owned()) && !names.contains(&"EXAMPLE_POOLS_NAME".to_owned())
        );
    }

    #[test]
    fn names_of_the_admins_own_are_keys_of_their_table() {
        assert!(EXAMPLE.is_named("doors.door1") && EXAMPLE.is_named("doors.door.b"));
        assert!(!EXAMPLE.is_named("doors.") && !EXAMPLE.is_named("doors") && !EXAMPLE.is_named("doorstep.x"));
    }
}
