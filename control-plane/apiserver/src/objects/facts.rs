//! The little of a stored object that is asked again and again, read without the rest.

use serde::Deserialize;
use std::borrow::Cow;

/// Who an object is; of a pod also where it runs, and as whom.
#[derive(Debug, Deserialize)]
pub(crate) struct Facts<'a> {
    #[serde(borrow, default)]
    pub metadata: Named<'a>,
    #[serde(default)]
    pub spec: Placed,
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Named<'a> {
    #[serde(borrow, default)]
    pub name: Cow<'a, str>,
    #[serde(borrow, default)]
    pub uid: Cow<'a, str>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Placed {
    pub node_name: Option<String>,
    pub service_account_name: Option<String>,
}

impl<'a> Facts<'a> {
    /// # Errors
    /// The body is no object of the kinds that have these fields.
    pub(crate) fn of(body: &'a [u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_read_out_of_any_object() {
        let pod = br#"{"kind":"Pod","apiVersion":"v1","metadata":{"managedFields":[{"manager":"m"}],"name":"a","uid":"1\u0031"},
            "spec":{"nodeName":"n","serviceAccountName":"s","containers":[]},"status":{}}"#;
        let facts = Facts::of(pod).unwrap();
        assert_eq!((&*facts.metadata.name, &*facts.metadata.uid), ("a", "11"));
        assert_eq!(
            (facts.spec.node_name.as_deref(), facts.spec.service_account_name.as_deref()),
            (Some("n"), Some("s"))
        );
        let account =
            Facts::of(br#"{"kind":"ServiceAccount","apiVersion":"v1","metadata":{"name":"default"}}"#).unwrap();
        assert_eq!((&*account.metadata.name, &*account.metadata.uid, account.spec.node_name), ("default", "", None));
        assert!(Facts::of(b"null").is_err());
    }
}
