//! Two versions of an object as YAML, in unified form, for people.

use serde_json::Value;
use similar::{ChangeTag, TextDiff};
use std::fmt::Write as _;
use std::time::Duration;

/// Lines around a change.
const CONTEXT: usize = 3;
/// How long the shortest difference is looked for; then a longer one will do.
const PATIENCE: Duration = Duration::from_millis(200);
/// Bytes of one object's patch; what is longer is cut.
const MAX_BYTES: usize = 256 << 10;

/// The difference from `old` to `new`; an absent version is an empty text.
pub(super) fn patch(old: Option<&Value>, new: Option<&Value>) -> String {
    let (old, new) = (old.map(yaml).unwrap_or_default(), new.map(yaml).unwrap_or_default());
    let diff = TextDiff::configure().timeout(PATIENCE).diff_lines(&old, &new);
    let mut out = String::new();
    for hunk in diff.unified_diff().context_radius(CONTEXT).iter_hunks() {
        let _ = writeln!(out, "{}", hunk.header());
        for change in hunk.iter_changes() {
            let sign = match change.tag() {
                ChangeTag::Delete => '-',
                ChangeTag::Insert => '+',
                ChangeTag::Equal => ' ',
            };
            let _ = writeln!(out, "{sign}{}", change.value().trim_end_matches('\n'));
            if out.len() > MAX_BYTES {
                out.truncate(out.floor_char_boundary(MAX_BYTES));
                out.push_str("\n… (cut)\n");
                return out;
            }
        }
    }
    out
}

fn yaml(object: &Value) -> String {
    serde_saphyr::to_string(object).unwrap_or_else(|_| object.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_change_has_its_surroundings() {
        let object = |replicas: u8| json!({"kind": "Deployment", "metadata": {"name": "web"}, "spec": {"paused": true, "replicas": replicas}});
        let text = patch(Some(&object(1)), Some(&object(3)));
        assert_eq!(text, "@@ -3,4 +3,4 @@\n   name: web\n spec:\n   paused: true\n-  replicas: 1\n+  replicas: 3\n");
        assert_eq!(patch(Some(&object(1)), Some(&object(1))), "");
        assert!(patch(None, Some(&object(1))).lines().skip(1).all(|line| line.starts_with('+')));
    }
}
