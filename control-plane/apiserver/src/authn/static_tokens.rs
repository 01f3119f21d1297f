//! Bearer tokens known from the start: kube-apiserver's `--token-auth-file`.

use crate::user::User;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why a token file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenFileError {
    #[error("cannot read the token file {path}")]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("token file {path}, line {line}: {why}")]
    Line { path: PathBuf, line: usize, why: &'static str },
}

/// Tokens and whom they stand for.
#[derive(Clone, Default)]
pub struct StaticTokens(HashMap<String, Arc<User>>);

impl StaticTokens {
    #[must_use]
    pub fn new(tokens: impl IntoIterator<Item = (String, User)>) -> Self {
        Self(tokens.into_iter().map(|(token, user)| (token, Arc::new(user))).collect())
    }

    /// Reads a CSV file of `token,user,uid[,"group1,group2"]` lines.
    ///
    /// # Errors
    /// See [`TokenFileError`].
    pub fn from_file(path: &Path) -> Result<Self, TokenFileError> {
        let read = |source| TokenFileError::Read { path: path.to_path_buf(), source };
        let text = std::fs::read_to_string(path).map_err(read)?;
        Self::from_csv(&text).map_err(|(line, why)| TokenFileError::Line { path: path.to_path_buf(), line, why })
    }

    fn from_csv(text: &str) -> Result<Self, (usize, &'static str)> {
        let mut tokens = HashMap::new();
        for (number, line) in text.lines().enumerate() {
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            let fail = |why| (number + 1, why);
            let fields = fields(line).ok_or_else(|| fail("a quoted field has no end"))?;
            let [token, name, uid, rest @ ..] = fields.as_slice() else {
                return Err(fail("must have at least 3 columns (token, user name, user uid)"));
            };
            if token.is_empty() {
                return Err(fail("the token is empty"));
            }
            let groups = rest.first().map(String::as_str).unwrap_or_default();
            let groups = groups.split(',').map(str::trim).filter(|group| !group.is_empty());
            let user = User { uid: uid.clone(), ..User::authenticated(name.as_str(), groups) };
            tokens.insert(token.clone(), Arc::new(user));
        }
        Ok(Self(tokens))
    }

    /// The user that a token stands for.
    pub(super) fn find(&self, token: &str) -> Option<Arc<User>> {
        self.0.get(token).cloned()
    }
}

/// The fields of one CSV line; a quoted one may hold commas and doubled quotes. `None`: a quote has no end.
fn fields(line: &str) -> Option<Vec<String>> {
    let mut fields = Vec::new();
    let mut rest = line;
    loop {
        let (field, after) = match rest.trim_start().strip_prefix('"') {
            Some(quoted) => unquote(quoted)?,
            None => {
                let end = rest.find(',').unwrap_or(rest.len());
                (rest[..end].trim().to_owned(), &rest[end..])
            }
        };
        fields.push(field);
        match after.trim_start().strip_prefix(',') {
            Some(next) => rest = next,
            None => return Some(fields),
        }
    }
}

fn unquote(text: &str) -> Option<(String, &str)> {
    let mut field = String::new();
    let mut rest = text;
    loop {
        let (before, after) = rest.split_once('"')?;
        field.push_str(before);
        match after.strip_prefix('"') {
            Some(more) => {
                field.push('"');
                rest = more;
            }
            None => return Some((field, after)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_files_are_read_as_kube_apiserver_does() {
        let text = "t1,alice,1,\"dev,ops\"\n\nt2, bob ,2\nt3,carol,3,dev,more\n";
        let tokens = StaticTokens::from_csv(text).unwrap();
        let alice = tokens.find("t1").unwrap();
        assert_eq!((alice.name.as_str(), alice.uid.as_str()), ("alice", "1"));
        assert_eq!(alice.groups, ["dev", "ops", "system:authenticated"]);
        assert_eq!(tokens.find("t2").unwrap().name, "bob");
        assert_eq!(tokens.find("t3").unwrap().groups[0], "dev");
        assert!(tokens.find("t").is_none());
        assert_eq!(StaticTokens::from_csv("a,b").err().unwrap().0, 1);
        assert_eq!(StaticTokens::from_csv("x,y,z\n,b,c").err().unwrap().0, 2);
        assert!(StaticTokens::from_csv("a,\"b").is_err());
    }
}
