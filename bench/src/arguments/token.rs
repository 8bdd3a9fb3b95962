//! Bearer tokens, given on the command line or in a file. Never shown, not even a wrong one.

use std::path::Path;

use anyhow::Context as _;

/// Longest token that is taken: beyond it, it is another file.
const MOST_BYTES: usize = 12 << 10;

/// A token that can stand in a request's head. `option`: where it was given.
pub fn parse_token(text: &str, option: &str) -> anyhow::Result<String> {
    let token = text.trim();
    let usable =
        !token.is_empty() && token.len() <= MOST_BYTES && token.bytes().all(|byte| byte.is_ascii_graphic());
    anyhow::ensure!(usable, "{option}: what is given is no token: a token is one word of printable ASCII");
    Ok(token.to_owned())
}

/// The token of a file.
pub fn read_token(path: &Path, option: &str) -> anyhow::Result<String> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("{option}: cannot read {}", path.display()))?;
    parse_token(&text, option)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_one_word_and_what_is_none_is_not_shown() {
        assert_eq!(parse_token(" MDAw-x_y=\n", "--token").unwrap(), "MDAw-x_y=");
        for text in ["", " \n", "two words", "line\r\nX-Evil: 1", "é", &"x".repeat(MOST_BYTES + 1)] {
            let error = parse_token(text, "--token").unwrap_err().to_string();
            assert_eq!(error, "--token: what is given is no token: a token is one word of printable ASCII");
        }
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named() {
        let error = format!("{:#}", read_token(Path::new("/nowhere/token"), "--token-file").unwrap_err());
        assert!(error.starts_with("--token-file: cannot read /nowhere/token: No such file"), "{error}");
    }
}
