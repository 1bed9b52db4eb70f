//! Static bearer tokens.

use super::UserInfo;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// Why a token file was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("read the token file, line {line}: {what}")]
pub struct TokenFileError {
    /// The line, from 1.
    line: usize,
    /// What is wrong.
    what: &'static str,
}

/// The known tokens, by their digest: a look-up tells nothing of a token by the time it takes.
#[derive(Default)]
pub struct Tokens {
    users: HashMap<[u8; 32], Arc<UserInfo>>,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tokens({})", self.users.len())
    }
}

impl Tokens {
    /// Reads a token file: lines of `TOKEN,USER,UID[,"GROUP,GROUP"]`; empty lines and lines with `#` are skipped.
    ///
    /// *Source:* Kubernetes, "Static token file".
    ///
    /// # Errors
    /// When a line has no token or user, names a token again, or its quotes do not match.
    pub fn parse(text: &str) -> Result<Tokens, TokenFileError> {
        let mut tokens = Tokens::default();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            tokens.add_line(line).map_err(|what| TokenFileError { line: index + 1, what })?;
        }
        Ok(tokens)
    }

    fn add_line(&mut self, line: &str) -> Result<(), &'static str> {
        let columns = columns(line)?;
        let mut columns = columns.iter().map(String::as_str);
        let mut next = || columns.next().unwrap_or_default().trim();
        let (token, name, uid, groups) = (next(), next(), next(), next());
        if token.is_empty() || name.is_empty() {
            return Err("it must have a token and a user name");
        }
        let groups = groups.split(',').map(str::trim).filter(|group| !group.is_empty());
        let user = UserInfo { uid: uid.to_owned(), ..UserInfo::new(name, groups) };
        if self.insert(token, user) { Ok(()) } else { Err("its token is that of an earlier line") }
    }

    /// Adds a token; `false` when it was there.
    pub fn insert(&mut self, token: &str, user: UserInfo) -> bool {
        self.users.insert(digest(token), Arc::new(user)).is_none()
    }

    /// The user of a token.
    pub(super) fn user(&self, token: &str) -> Option<Arc<UserInfo>> {
        self.users.get(&digest(token)).cloned()
    }
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}

/// Splits a line of comma-separated values, of which some are in double quotes.
fn columns(line: &str) -> Result<Vec<String>, &'static str> {
    let mut columns = vec![String::new()];
    let mut quoted = false;
    for character in line.chars() {
        match (character, columns.last_mut()) {
            ('"', _) => quoted = !quoted,
            (',', _) if !quoted => columns.push(String::new()),
            (character, Some(column)) => column.push(character),
            (_, None) => {}
        }
    }
    if quoted { Err("a quote is not closed") } else { Ok(columns) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_file() {
        let text = "# comment\n\nt1,alice,42,\"a,b\"\nt2,bob\n";
        let tokens = Tokens::parse(text).unwrap();
        let alice = tokens.user("t1").unwrap();
        assert_eq!((alice.name.as_str(), alice.uid.as_str()), ("alice", "42"));
        assert!(alice.is_in("a") && alice.is_in("b") && alice.is_in("system:authenticated"));
        assert_eq!(tokens.user("t2").unwrap().name, "bob");
        assert_eq!(tokens.user("t3"), None);
    }

    #[test]
    fn says_which_line_is_wrong() {
        let check = |text: &str, expected: &str| {
            assert_eq!(Tokens::parse(text).unwrap_err().to_string(), expected);
        };
        check("x", "read the token file, line 1: it must have a token and a user name");
        check("\n,a", "read the token file, line 2: it must have a token and a user name");
        check("t,a,1,\"x", "read the token file, line 1: a quote is not closed");
        check("t,a\nt,b", "read the token file, line 2: its token is that of an earlier line");
    }
}
