//! nameConstraints of authorities (RFC 5280 §4.2.1.10): distinguished names and mail addresses, which is what users
//! have. What else such a constraint speaks of cannot be held against a certificate here, so one that has such names is
//! refused.

use x509_parser::extensions::{GeneralName, NameConstraints as Parsed};

use super::facts::{Certificate, OtherName};
use super::name::Name;

/// emailAddress within a distinguished name.
const MAIL_ATTRIBUTE: &str = "1.2.840.113549.1.9.1";

/// Which names an authority has been given.
#[derive(Debug, Clone, Default)]
pub struct NameConstraints {
    permitted: Vec<Subtree>,
    excluded: Vec<Subtree>,
}

#[derive(Debug, Clone)]
enum Subtree {
    Directory(Name),
    Mail(String),
    Other,
}

impl NameConstraints {
    /// As it stands in a certificate.
    pub fn new(parsed: &Parsed<'_>) -> Self {
        let subtrees = |list: &Option<Vec<x509_parser::extensions::GeneralSubtree<'_>>>| {
            list.iter().flatten().map(|subtree| Subtree::new(&subtree.base)).collect()
        };
        Self {
            permitted: subtrees(&parsed.permitted_subtrees),
            excluded: subtrees(&parsed.excluded_subtrees),
        }
    }

    /// Whether a certificate below such an authority may have the names that it has.
    pub fn allow(&self, certificate: &Certificate) -> bool {
        let directory = (!certificate.subject.is_empty()).then_some(&certificate.subject);
        let others = &certificate.other_names;
        let directories = others.iter().filter_map(|name| match name {
            OtherName::Directory(name) => Some(name),
            OtherName::Mail(_) | OtherName::Other => None,
        });
        let mails = others.iter().filter_map(|name| match name {
            OtherName::Mail(mail) => Some(mail.clone()),
            OtherName::Directory(_) | OtherName::Other => None,
        });
        let in_subject = certificate.subject.values(MAIL_ATTRIBUTE);
        let mails = mails.chain(in_subject.map(|mail| String::from_utf8_lossy(mail).into_owned()));
        let of_another_kind = others.contains(&OtherName::Other);
        let speaks_of_others =
            self.permitted.iter().chain(&self.excluded).any(|subtree| matches!(subtree, Subtree::Other));
        directory.into_iter().chain(directories).all(|name| {
            self.permits(|subtree| match subtree {
                Subtree::Directory(base) => Some(name.is_within(base)),
                Subtree::Mail(_) | Subtree::Other => None,
            })
        }) && { mails }.all(|mail| {
            self.permits(|subtree| match subtree {
                Subtree::Mail(base) => Some(mail_is_within(&mail, base)),
                Subtree::Directory(_) | Subtree::Other => None,
            })
        }) && !(of_another_kind && speaks_of_others)
    }

    /// `fits` tells for a subtree of the name's kind whether the name lies in it. Where a kind is not spoken of, all
    /// names of that kind are permitted.
    fn permits(&self, fits: impl Fn(&Subtree) -> Option<bool>) -> bool {
        let mut permitted = self.permitted.iter().filter_map(&fits).peekable();
        let is_permitted = permitted.peek().is_none() || permitted.any(|within| within);
        is_permitted && !self.excluded.iter().filter_map(&fits).any(|within| within)
    }
}

impl Subtree {
    fn new(base: &GeneralName<'_>) -> Self {
        match base {
            GeneralName::DirectoryName(name) => Self::Directory(Name::new(name)),
            GeneralName::RFC822Name(mail) => Self::Mail((*mail).to_owned()),
            _ => Self::Other,
        }
    }
}

/// A mailbox, all of a host, or (with a dot before it) all hosts of a domain.
fn mail_is_within(mail: &str, base: &str) -> bool {
    let host = mail.rsplit_once('@').map_or("", |(_, host)| host);
    if base.contains('@') {
        return mail.rsplit_once('@').zip(base.rsplit_once('@')).is_some_and(
            |((mailbox, host), (base_mailbox, base_host))| {
                mailbox == base_mailbox && host.eq_ignore_ascii_case(base_host)
            },
        );
    }
    if base.starts_with('.') {
        let begin = host.len().checked_sub(base.len());
        return begin.and_then(|begin| host.get(begin..)).is_some_and(|end| end.eq_ignore_ascii_case(base));
    }
    host.eq_ignore_ascii_case(base)
}

#[cfg(test)]
mod tests {
    use super::mail_is_within;

    #[test]
    fn a_mail_address_lies_within_a_mailbox_a_host_or_a_domain() {
        for (base, expected) in [
            ("paul@example.org", true),
            ("paul@EXAMPLE.org", true),
            ("Paul@example.org", false),
            ("example.org", true),
            (".org", true),
            (".example.org", false),
            ("ample.org", false),
        ] {
            assert_eq!(mail_is_within("paul@example.org", base), expected, "{base}");
        }
    }
}
