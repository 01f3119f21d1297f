//! The table of kinds: what the API serves. Built-in kinds and CRDs are rows of the same shape.
//! Knows nothing of requests or of the store; a row says what a kind is, its strategy says what it does.

mod builtin;
#[cfg(test)]
mod tests;

use crate::schema::{self, Schema};
use crate::status::Status;
use crate::strategy::Strategy;
use crate::table::Column;
use schemars::SchemaGenerator;
use std::borrow::Cow;
use std::cmp::Reverse;
use std::sync::{Arc, OnceLock};

/// Text that is static in built-in rows and owned in rows made from CRDs.
pub type Text = Cow<'static, str>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    Namespaced,
    Cluster,
}

/// The request verbs of a resource, in discovery's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    Create,
    Delete,
    DeleteCollection,
    Get,
    List,
    Patch,
    Update,
    Watch,
}

impl Verb {
    /// As discovery and RBAC spell it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Delete => "delete",
            Self::DeleteCollection => "deletecollection",
            Self::Get => "get",
            Self::List => "list",
            Self::Patch => "patch",
            Self::Update => "update",
            Self::Watch => "watch",
        }
    }
}

/// A subresource and what it speaks.
#[derive(Clone, Debug)]
pub struct Subresource {
    /// `status`, `scale`, `log`, `binding`, …
    pub name: Text,
    /// Group, version and kind of its body: the resource's own for `status`, others for
    /// `scale` (`autoscaling/v1 Scale`), `exec` (`v1 PodExecOptions`, which come as query parameters).
    pub group: Text,
    pub version: Text,
    pub kind: Text,
    pub verbs: Cow<'static, [Verb]>,
    /// For `scale`: where the object keeps what `Scale` shows.
    pub scale: Option<ScalePaths>,
    /// The body's schema where it is not the resource's own; None also where there is no body.
    pub schema: Option<LazySchema>,
}

/// Where a scalable object keeps what `Scale` shows, as dotted paths such as `spec.replicas`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScalePaths {
    pub spec_replicas: Text,
    pub status_replicas: Text,
    /// `spec.selector` for built-ins (a LabelSelector or a plain map), a string field for CRDs.
    pub label_selector: Option<Text>,
}

/// One served resource: a row of the table.
pub struct Resource {
    pub group: Text,
    pub version: Text,
    pub kind: Text,
    pub list_kind: Text,
    pub plural: Text,
    pub singular: Text,
    pub short_names: Cow<'static, [Text]>,
    pub categories: Cow<'static, [Text]>,
    pub scope: Scope,
    pub verbs: Cow<'static, [Verb]>,
    /// Sorted by name.
    pub subresources: Vec<Subresource>,
    /// Where the objects are kept: rows with an equal `storage` show the same objects
    /// (`events` of core and of `events.k8s.io`). The text is the first part of the store's key,
    /// `core/pods` or `apps/deployments`. Empty for kinds that are never stored (`bindings`, `componentstatuses`).
    pub storage: Text,
    /// Version that is written to the store, as `apiVersion` (`apps/v1`).
    pub storage_api_version: Text,
    pub strategy: Arc<dyn Strategy>,
    /// Built on first use: most kinds are never touched in a small cluster.
    pub schema: LazySchema,
    pub columns: Columns,
    /// Which CRD, and which of its versions, the row was made from; None for built-in kinds.
    /// A custom row's `storage_api_version` is its own: stored bodies in other versions are converted on their way.
    pub custom: Option<crate::crd::Custom>,
}

impl Resource {
    /// `v1` or `apps/v1`.
    #[must_use]
    pub fn api_version(&self) -> String {
        group_version(&self.group, &self.version)
    }

    #[must_use]
    pub fn namespaced(&self) -> bool {
        self.scope == Scope::Namespaced
    }

    /// Whether objects of the kind are kept; if not, the API server answers its requests in its own ways.
    #[must_use]
    pub fn stored(&self) -> bool {
        !self.storage.is_empty()
    }

    /// What every request to a deprecated kind is warned with (`prerelease-lifecycle` of Kubernetes).
    #[must_use]
    pub fn deprecation(&self) -> Option<&str> {
        if let Some(custom) = &self.custom {
            return custom.version().deprecation.as_deref();
        }
        match (self.group.as_ref(), self.version.as_ref(), self.kind.as_ref()) {
            ("", "v1", "ComponentStatus") => Some("v1 ComponentStatus is deprecated in v1.19+"),
            ("", "v1", "Endpoints") => {
                Some("v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice")
            }
            _ => None,
        }
    }

    /// The verbs that discovery tells: while a CRD is being deleted fewer than requests may still use.
    #[must_use]
    pub fn advertised_verbs(&self) -> &[Verb] {
        match &self.custom {
            Some(custom) => custom.advertised_verbs(&self.verbs),
            None => &self.verbs,
        }
    }

    #[must_use]
    pub fn supports(&self, verb: Verb) -> bool {
        self.verbs.contains(&verb)
    }

    #[must_use]
    pub fn subresource(&self, name: &str) -> Option<&Subresource> {
        self.subresources.iter().find(|s| s.name == name)
    }

    /// Refuses field selectors on fields that the kind cannot be selected by.
    ///
    /// # Errors
    /// 400.
    pub fn check_selector(&self, fields: &crate::selector::Fields) -> Result<(), Status> {
        match &self.custom {
            Some(custom) => custom.check_selector(self.scope, fields),
            None => fields.check(self.strategy.field_names()),
        }
    }

    /// [`schema::check`] with the error worded as the API server words it for this kind.
    ///
    /// # Errors
    /// 400 `Pod in version "v1" cannot be handled as a Pod: json: cannot unmarshal …`.
    pub fn check(&self, object: &serde_json::Value) -> Result<Vec<String>, Status> {
        check_body(self.schema.get(), (&self.kind, &self.version), object)
    }
}

/// The same for a body of any kind and version.
///
/// # Errors
/// As [`Resource::check`].
pub fn check_body(
    schema: &Schema,
    (kind, version): (&str, &str),
    object: &serde_json::Value,
) -> Result<Vec<String>, Status> {
    schema::check(schema, object).map_err(|e| {
        Status::bad_request(format!("{kind} in version \"{version}\" cannot be handled as a {kind}: {}", e.message))
    })
}

/// `v1` for the core group, `apps/v1` for others.
#[must_use]
pub fn group_version(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}

/// How a built-in kind's schema is asked of `k8s-openapi`.
pub(crate) type SchemaSource = fn(&mut SchemaGenerator) -> schemars::Schema;

/// A schema that is built when first asked for. Built-in schemas share their common parts.
#[derive(Clone, Debug)]
pub struct LazySchema {
    built: OnceLock<Arc<Schema>>,
    source: Source,
}

#[derive(Clone, Debug)]
enum Source {
    Builtin(SchemaSource),
    /// A CRD's `openAPIV3Schema` as its author wrote it, in JSON. Text is a fraction of what the parsed document takes.
    Document(Arc<str>),
}

impl LazySchema {
    /// The schema of a type of `k8s-openapi`.
    #[must_use]
    pub(crate) const fn builtin(source: SchemaSource) -> Self {
        Self { built: OnceLock::new(), source: Source::Builtin(source) }
    }

    /// A CRD's schema, as JSON text that validation has accepted.
    #[must_use]
    pub fn custom(document: Arc<str>) -> Self {
        Self { built: OnceLock::new(), source: Source::Document(document) }
    }

    /// The schema; the first call takes up to a few milliseconds.
    #[must_use]
    pub fn get(&self) -> &Arc<Schema> {
        self.built.get_or_init(|| match &self.source {
            Source::Builtin(source) => schema::builtin(*source),
            Source::Document(text) => {
                let document = serde_json::from_str(text).unwrap_or_default();
                Arc::new(Schema::of_crd(&document))
            }
        })
    }

    pub(crate) fn source(&self) -> Option<SchemaSource> {
        match &self.source {
            Source::Builtin(source) => Some(*source),
            Source::Document(_) => None,
        }
    }

    /// The JSON text of a CRD's schema.
    pub(crate) fn document(&self) -> Option<&Arc<str>> {
        match &self.source {
            Source::Builtin(_) => None,
            Source::Document(document) => Some(document),
        }
    }
}

/// How a resource prints as a table.
pub struct Columns {
    pub columns: Vec<Column>,
    /// The cells of one object, one for each column (see `table`).
    pub cells: Cells,
}

pub type Cells = Arc<dyn Fn(&serde_json::Value, &crate::table::Context) -> Vec<serde_json::Value> + Send + Sync>;

/// The table: an immutable value, cheap to clone. A change makes another table and leaves the old one to its readers.
#[derive(Clone)]
pub struct Kinds(Arc<Index>);

struct Index {
    /// In discovery's order: see [`order_key`].
    rows: Vec<Arc<Resource>>,
    /// Positions in `rows`, sorted by (group, version, plural) and by (group, version, kind).
    by_plural: Vec<u32>,
    by_kind: Vec<u32>,
}

impl Kinds {
    /// The kinds that Skiff has by itself. Costs microseconds; schemas are not built.
    #[must_use]
    pub fn builtin() -> Self {
        Self::from_rows(builtin::rows().map(Arc::new).collect())
    }

    fn from_rows(mut rows: Vec<Arc<Resource>>) -> Self {
        rows.sort_by(|a, b| order_key(a).cmp(&order_key(b)));
        let count = u32::try_from(rows.len()).expect("a table has fewer than 2^32 rows");
        let mut by_plural: Vec<u32> = (0..count).collect();
        let mut by_kind = by_plural.clone();
        by_plural.sort_by(|a, b| plural_key(&rows[*a as usize]).cmp(&plural_key(&rows[*b as usize])));
        by_kind.sort_by(|a, b| kind_key(&rows[*a as usize]).cmp(&kind_key(&rows[*b as usize])));
        Self(Arc::new(Index { rows, by_plural, by_kind }))
    }

    /// The row that serves `/apis/{group}/{version}/{plural}`; the core group is `""`.
    #[must_use]
    pub fn find(&self, group: &str, version: &str, plural: &str) -> Option<Arc<Resource>> {
        self.lookup(&self.0.by_plural, plural_key, (plural, group, version))
    }

    /// The row of a group, version and kind.
    #[must_use]
    pub fn by_kind(&self, group: &str, version: &str, kind: &str) -> Option<Arc<Resource>> {
        self.lookup(&self.0.by_kind, kind_key, (kind, group, version))
    }

    fn lookup(
        &self,
        index: &[u32],
        key: for<'a> fn(&'a Resource) -> (&'a str, &'a str, &'a str),
        wanted: (&str, &str, &str),
    ) -> Option<Arc<Resource>> {
        let rows = &self.0.rows;
        let at = index.binary_search_by(|row| key(&rows[*row as usize]).cmp(&wanted)).ok()?;
        Some(Arc::clone(&rows[index[at] as usize]))
    }

    /// All rows in discovery's order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Resource>> {
        self.0.rows.iter()
    }

    /// Whether any row is of this group and version.
    #[must_use]
    pub fn serves(&self, group: &str, version: &str) -> bool {
        self.iter().any(|row| row.group == group && row.version == version)
    }

    /// The table with these custom rows in place of all custom rows that it has. A custom row never hides a built-in one.
    #[must_use]
    pub fn with_custom(&self, custom: impl IntoIterator<Item = Arc<Resource>>) -> Self {
        let mut rows: Vec<_> = self.iter().filter(|row| row.custom.is_none()).map(Arc::clone).collect();
        let builtin = rows.len();
        for row in custom {
            if !rows[..builtin].iter().any(|known| plural_key(known) == plural_key(&row)) {
                rows.push(row);
            }
        }
        Self::from_rows(rows)
    }

    /// The table with `row` added, or put in place of the row of equal group, version and plural.
    #[must_use]
    pub fn with(&self, row: Resource) -> Self {
        let mut rows: Vec<_> = self.iter().filter(|r| plural_key(r) != plural_key(&row)).map(Arc::clone).collect();
        rows.push(Arc::new(row));
        Self::from_rows(rows)
    }

    /// The table without the row of this group, version and plural.
    #[must_use]
    pub fn without(&self, group: &str, version: &str, plural: &str) -> Self {
        let wanted = (plural, group, version);
        Self::from_rows(self.iter().filter(|r| plural_key(r) != wanted).map(Arc::clone).collect())
    }
}

type OrderKey<'a> = (usize, &'a str, Reverse<(u8, u32, u32)>, &'a str, &'a str);

/// Groups as Kubernetes ranks them, then by name; versions by priority; plurals by name.
fn order_key(row: &Resource) -> OrderKey<'_> {
    let rank = builtin::rank(&row.group);
    (rank, &row.group, Reverse(version_priority(&row.version)), &row.version, &row.plural)
}

/// Kubernetes' version priority (`version.CompareKubeAwareVersionStrings`): GA before beta before alpha, higher
/// numbers first; what is not such a version comes last. Greater is preferred.
#[must_use]
pub fn version_priority(version: &str) -> (u8, u32, u32) {
    let parse = || {
        let rest = version.strip_prefix('v')?;
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let major: u32 = rest[..digits].parse().ok()?;
        match &rest[digits..] {
            "" => Some((3, major, 0)),
            tail => {
                let (stage, minor) =
                    if let Some(n) = tail.strip_prefix("beta") { (2, n) } else { (1, tail.strip_prefix("alpha")?) };
                Some((stage, major, minor.parse().ok()?))
            }
        }
    };
    parse().unwrap_or((0, 0, 0))
}

/// What tells most comes first: a lookup then mostly compares one text a step.
fn plural_key(row: &Resource) -> (&str, &str, &str) {
    (&row.plural, &row.group, &row.version)
}

fn kind_key(row: &Resource) -> (&str, &str, &str) {
    (&row.kind, &row.group, &row.version)
}
