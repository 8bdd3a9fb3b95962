//! Signing policies as Globus writes them (`<hash>.signing_policy`): for each authority patterns of the names that it may
//! certify.
//!
//! ```text
//! access_id_CA   X509    '/C=XX/CN=Some CA'
//! pos_rights     globus  CA:sign
//! cond_subjects  globus  '"/C=XX/O=Site/*" "/O=Other/*"'
//! ```

use super::namespace::PolicyError;

/// What one authority may certify.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigningPolicy {
    /// The authority's name.
    pub issuer: String,
    /// Patterns with `*` and `?`.
    pub subjects: Vec<String>,
}

/// Reads a file.
pub fn parse(text: &str) -> Result<Vec<SigningPolicy>, PolicyError> {
    let mut policies: Vec<SigningPolicy> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let wrong = |problem| PolicyError { line: index + 1, problem };
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (keyword, rest) =
            line.split_once(char::is_whitespace).ok_or_else(|| wrong("a word stands alone"))?;
        let (authority, value) =
            rest.trim().split_once(char::is_whitespace).ok_or_else(|| wrong("a value is missing"))?;
        let value = value.trim();
        match (keyword, authority) {
            ("access_id_CA", "X509") => {
                let issuer = unquoted(value).ok_or_else(|| wrong("a quotation mark is missing"))?;
                policies.push(SigningPolicy { issuer: issuer.to_owned(), subjects: Vec::new() });
            }
            ("pos_rights", "globus") if unquoted(value) == Some("CA:sign") => {}
            ("cond_subjects", "globus") => {
                let policy = policies
                    .last_mut()
                    .ok_or_else(|| wrong("cond_subjects stands before any access_id_CA"))?;
                let list = unquoted(value).ok_or_else(|| wrong("a quotation mark is missing"))?;
                policy.subjects.extend(patterns(list).ok_or_else(|| wrong("a quotation mark is missing"))?);
            }
            // Rights that are taken away, and conditions of other kinds, cannot be passed over.
            _ => {
                return Err(wrong(
                    "it is neither access_id_CA, pos_rights nor cond_subjects as Globus has them",
                ));
            }
        }
    }
    Ok(policies)
}

/// A value without the quotation marks around it; `None` when only one of them is there.
fn unquoted(value: &str) -> Option<&str> {
    match value.chars().next()? {
        mark @ ('\'' | '"') => {
            let inside = value.strip_prefix(mark)?.strip_suffix(mark)?;
            (!inside.contains(mark)).then_some(inside)
        }
        _ => Some(value),
    }
}

/// Several patterns in quotation marks, or one without.
fn patterns(list: &str) -> Option<Vec<String>> {
    let list = list.trim();
    if !list.starts_with('"') {
        return Some(vec![list.to_owned()]);
    }
    let mut found = Vec::new();
    let mut rest = list;
    while !rest.is_empty() {
        let (pattern, behind) = rest.strip_prefix('"')?.split_once('"')?;
        found.push(pattern.to_owned());
        rest = behind.trim_start();
    }
    Some(found)
}

/// Whether a name fits a pattern: `*` is any text, `?` any character.
pub fn fits(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut at, mut from) = (0, 0);
    // Where the last star was, and up to where it has eaten: linear in both but for going back to it.
    let mut star = None;
    while from < name.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, from));
                at += 1;
            }
            Some(sign) if *sign == b'?' || *sign == name[from] => {
                at += 1;
                from += 1;
            }
            _ => match star {
                Some((star_at, eaten)) => {
                    star = Some((star_at, eaten + 1));
                    at = star_at + 1;
                    from = eaten + 1;
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|sign| *sign == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str = "# A comment.\n\
        access_id_CA\tX509\t'/C=XX/CN=Some CA'\n\
        pos_rights globus CA:sign\n\
        cond_subjects globus '\"/C=XX/O=Site/*\"  \"/O=Other/*\"'\n\
        \n\
        access_id_CA X509 \"/CN=Second\"\n\
        pos_rights globus 'CA:sign'\n\
        cond_subjects globus \"/CN=one\"\n";

    #[test]
    fn a_policy_is_read_with_its_ways_to_quote() {
        let policies = parse(TWO).unwrap();
        assert_eq!(policies[0].issuer, "/C=XX/CN=Some CA");
        assert_eq!(policies[0].subjects, ["/C=XX/O=Site/*", "/O=Other/*"]);
        assert_eq!(
            policies[1],
            SigningPolicy { issuer: "/CN=Second".into(), subjects: vec!["/CN=one".into()] }
        );
    }

    #[test]
    fn what_cannot_be_understood_is_named_with_its_line() {
        for (text, line) in [
            ("access_id_CA", 1),
            ("access_id_CA X509", 1),
            ("\ncond_subjects globus '\"/C=XX/*\"'", 2),
            ("access_id_CA X509 '/CN=CA\n", 1),
            ("access_id_CA X509 '/CN=CA'\ncond_subjects globus '\"/C=XX/*'", 2),
            ("access_id_CA X509 '/CN=CA'\nneg_rights globus CA:sign", 2),
        ] {
            assert_eq!(parse(text).unwrap_err().line, line, "{text}");
        }
    }

    #[test]
    fn a_star_is_any_text_and_a_question_mark_any_character() {
        for (pattern, name, expected) in [
            ("/C=XX/*", "/C=XX/CN=paul", true),
            ("/C=XX/*", "/C=XX/", true),
            ("/C=XX/*", "/C=XXL/CN=paul", false),
            ("/C=??/CN=*", "/C=DE/CN=paul", true),
            ("/C=?/CN=*", "/C=DE/CN=paul", false),
            ("*/CN=*/x", "/O=a/CN=b/CN=c/x", true),
            ("*/CN=*/x", "/O=a/CN=b/CN=c", false),
            ("/CN=paul", "/CN=paul", true),
            ("/CN=paul", "/CN=paula", false),
            ("*", "", true),
            ("", "", true),
            ("", "/", false),
        ] {
            assert_eq!(fits(pattern, name), expected, "{pattern} {name}");
        }
    }
}
