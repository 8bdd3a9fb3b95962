//! The reference as text: a configuration with everything commented out, and a page of the documentation.

use super::{Default, Key, Reference};

/// Longest line of comments.
const LINE: usize = 100;

impl Reference {
    /// A configuration with every key at its default, commented out.
    #[must_use]
    pub fn commented(&self) -> String {
        let mut text = self.file_preface.to_owned();
        let mut table = "";
        for key in self.keys() {
            // Where the table of that name stands, its keys say all.
            if self.lists.contains(&key.name) || self.named.iter().any(|(name, _)| *name == key.name) {
                continue;
            }
            if key.table() != table {
                table = key.table();
                // A list of tables begins anew with each header, so that one that is not commented out would be an entry;
                // and a table that is there must have all that it needs.
                let hidden = if self.is_in_list(table) || self.asks_for_something(table) { "#" } else { "" };
                text.push_str(&format!("\n{hidden}{}\n", self.header(table)));
            }
            text.push('\n');
            text.push_str(&comment(key.what));
            text.push_str(&comment(&format!("{} {}", default_words(key), key.why)));
            text.push_str(&format!("#{} = {}\n", key.own_name(), key.example));
        }
        // Behind all others, as a table ends only where the next begins.
        for (name, line) in self.named {
            if let Some(key) = self.find(name) {
                text.push_str(&format!(
                    "\n[{name}]\n\n{}#{line}\n",
                    comment(&format!("{} {}", key.what, key.why))
                ));
            }
        }
        text
    }

    /// Whether a table cannot stand without some of its keys.
    fn asks_for_something(&self, table: &str) -> bool {
        !table.is_empty() && self.keys().any(|key| key.table() == table && key.default == Default::Required)
    }

    /// The page of the documentation.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut page = self.page_preface.to_owned();
        for table in self.tables() {
            let title = match table {
                "" => "At the top".to_owned(),
                table => format!("`{}`", self.header(table)),
            };
            page.push_str(&format!(
                "\n## {title}\n\n| key | form | default | what it does, and why so |\n| --- | --- | --- | --- |\n"
            ));
            for key in self.keys().filter(|key| key.table() == table) {
                let default = match key.default {
                    Default::Value => format!("`{}`", key.example),
                    Default::Otherwise(words) => words.to_owned(),
                    Default::Required => "required".to_owned(),
                };
                let words = format!("{} *{}*", key.what, key.why).replace('|', "\\|");
                page.push_str(&format!("| `{}` | {} | {default} | {words} |\n", key.name, key.form.words()));
            }
        }
        page
    }
}

fn default_words(key: &Key) -> String {
    match key.default {
        Default::Value => format!("Form: {}.", key.form.words()),
        Default::Otherwise(words) => format!("Form: {}. Default: {words}.", key.form.words()),
        Default::Required => format!("Form: {}. Required.", key.form.words()),
    }
}

/// Words in lines of a comment.
fn comment(words: &str) -> String {
    let mut text = String::new();
    let mut line = String::from("#");
    for word in words.split_whitespace() {
        if line.len() + 1 + word.len() > LINE {
            text.push_str(&line);
            text.push('\n');
            line = String::from("#");
        }
        line.push(' ');
        line.push_str(word);
    }
    text.push_str(&line);
    text.push('\n');
    text
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::Form::{Count, Path, Table, Text};
    use super::*;

    pub(crate) const EXAMPLE: Reference = Reference {
        keys: &[&[
            Key::new("name", Text, Default::Required, "\"a\"", "Its name.", "It has one."),
            Key::new("pools", Table, Default::Required, "[]", "Pools.", "For files."),
            Key::new("limits.count", Count, Default::Value, "3", "How many.", "Three is company|a crowd."),
            Key::new("pools.name", Text, Default::Required, "\"p\"", "Its name.", "It has one."),
            Key::new("pools.tls.ca", Path, Default::Otherwise("none"), "\"/ca\"", "Trust.", "Why not."),
            Key::new("tls.key", Path, Default::Required, "\"/key\"", "The key.", "It needs one."),
            Key::new("doors", Table, Default::Value, "{}", "Doors.", "They come."),
        ]],
        lists: &["pools"],
        named: &[("doors", "door1 = \"url\"")],
        environment_prefix: "EXAMPLE_",
        file_preface: "# All.\n",
        page_preface: "# Page\n",
    };

    #[test]
    fn in_a_file_only_the_headers_of_single_tables_are_not_comments() {
        let text = EXAMPLE.commented();
        let plain: Vec<&str> =
            text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect();
        assert_eq!(plain, ["[limits]", "[doors]"]);
        for line in
            ["#[[pools]]", "#[pools.tls]", "#[tls]", "#ca = \"/ca\"", "#count = 3", "#door1 = \"url\""]
        {
            assert!(text.lines().any(|other| other == line), "{line} is not in {text}");
        }
    }

    #[test]
    fn a_page_has_a_table_for_each_table() {
        let page = EXAMPLE.markdown();
        for line in [
            "## At the top",
            "## `[limits]`",
            "## `[[pools]]`",
            "## `[pools.tls]`",
            "| `limits.count` | number | `3` | How many. *Three is company\\|a crowd.* |",
            "| `pools.tls.ca` | path | none | Trust. *Why not.* |",
        ] {
            assert!(page.lines().any(|other| other == line), "{line} is not in {page}");
        }
    }

    #[test]
    fn comments_are_as_wide_as_pages() {
        assert_eq!(comment("a b"), "# a b\n");
        let long = comment(&"word ".repeat(100));
        assert!(long.lines().all(|line| line.len() <= LINE) && long.lines().count() > 4);
    }
}
