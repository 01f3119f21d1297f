//! The built-in kinds: one row each. What a row does not say follows from its type in `k8s-openapi`: group, version,
//! kind, plural, scope and schema.

use super::{LazySchema, Resource, ScalePaths, SchemaSource, Scope, Subresource, Text, Verb};
use crate::strategies;
use Verb::{Create, Delete, DeleteCollection, Get, List, Patch, Update, Watch};
use k8s_openapi::api::{
    admissionregistration::v1 as admission, apps::v1 as apps, authentication::v1 as authentication,
    authorization::v1 as authorization, autoscaling::v1 as autoscaling_v1, autoscaling::v2 as autoscaling,
    batch::v1 as batch, certificates::v1 as certificates, coordination::v1 as coordination, core::v1 as core,
    discovery::v1 as discovery, events::v1 as events, networking::v1 as networking, node::v1 as node,
    policy::v1 as policy, rbac::v1 as rbac, scheduling::v1 as scheduling, storage::v1 as storage,
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1 as apiextensions;
use k8s_openapi::{ClusterResourceScope, NamespaceResourceScope};
use schemars::JsonSchema;
use std::borrow::Cow;

/// The groups that Kubernetes ranks, in the order that `/apis` lists them (`"/api"` holds the first).
const GROUPS: &[&str] = &[
    "",
    "apiregistration.k8s.io",
    "apps",
    "events.k8s.io",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "autoscaling",
    "batch",
    "certificates.k8s.io",
    "networking.k8s.io",
    "policy",
    "rbac.authorization.k8s.io",
    "storage.k8s.io",
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "scheduling.k8s.io",
    "coordination.k8s.io",
    "node.k8s.io",
    "discovery.k8s.io",
    "resource.k8s.io",
    "flowcontrol.apiserver.k8s.io",
];

/// The place of a group in discovery; groups of CRDs share the last one.
pub(super) fn rank(group: &str) -> usize {
    GROUPS.iter().position(|g| *g == group).unwrap_or(GROUPS.len())
}

const ALL: &[Verb] = &[Create, Delete, DeleteCollection, Get, List, Patch, Update, Watch];
const ALL_BUT_COLLECTION: &[Verb] = &[Create, Delete, Get, List, Patch, Update, Watch];
const GET_PATCH_UPDATE: &[Verb] = &[Get, Patch, Update];
const PROXIED: &[Verb] = &[Create, Delete, Get, Patch, Update];

const STATUS: Sub = own("status", GET_PATCH_UPDATE);
const SCALE: Sub = other::<autoscaling_v1::Scale>("scale", GET_PATCH_UPDATE);
const EVICTION: Sub = other::<policy::Eviction>("eviction", &[Create]);
const BINDING: Sub = other::<core::Binding>("binding", &[Create]);
const TOKEN: Sub = other::<authentication::TokenRequest>("token", &[Create]);

// One row, one line: the table is read as a table.
#[rustfmt::skip]
const ROWS: &[Row] = &[
    row::<core::Binding>().verbs(&[Create]).not_stored(),
    row::<core::ComponentStatus>().verbs(&[Get, List]).short(&["cs"]).not_stored(),
    row::<core::ConfigMap>().short(&["cm"]),
    row::<core::Endpoints>().short(&["ep"]),
    row::<core::Event>().short(&["ev"]),
    row::<core::LimitRange>().short(&["limits"]),
    row::<core::Namespace>().verbs(ALL_BUT_COLLECTION).short(&["ns"]).subs(&[own("finalize", &[Update]), STATUS]),
    row::<core::Node>().short(&["no"]).subs(&[options("proxy", "NodeProxyOptions", PROXIED), STATUS]),
    row::<core::PersistentVolumeClaim>().short(&["pvc"]).subs(&[STATUS]),
    row::<core::PersistentVolume>().short(&["pv"]).subs(&[STATUS]),
    row::<core::Pod>().short(&["po"]).in_all().subs(&[
        options("attach", "PodAttachOptions", &[Create, Get]),
        BINDING,
        own("ephemeralcontainers", GET_PATCH_UPDATE),
        EVICTION,
        options("exec", "PodExecOptions", &[Create, Get]),
        own("log", &[Get]),
        options("portforward", "PodPortForwardOptions", &[Create, Get]),
        options("proxy", "PodProxyOptions", PROXIED),
        own("resize", GET_PATCH_UPDATE),
        STATUS,
    ]),
    row::<core::PodTemplate>(),
    row::<core::ReplicationController>().short(&["rc"]).in_all().subs(&[SCALE, STATUS]),
    row::<core::ResourceQuota>().short(&["quota"]).subs(&[STATUS]),
    row::<core::Secret>(),
    row::<core::ServiceAccount>().short(&["sa"]).subs(&[TOKEN]),
    row::<core::Service>().short(&["svc"]).in_all().subs(&[options("proxy", "ServiceProxyOptions", PROXIED), STATUS]),

    row::<apps::ControllerRevision>(),
    row::<apps::DaemonSet>().short(&["ds"]).in_all().subs(&[STATUS]),
    row::<apps::Deployment>().short(&["deploy"]).in_all().subs(&[SCALE, STATUS]),
    row::<apps::ReplicaSet>().short(&["rs"]).in_all().subs(&[SCALE, STATUS]),
    row::<apps::StatefulSet>().short(&["sts"]).in_all().subs(&[SCALE, STATUS]),

    // The same objects as core's events, seen through the newer names of their fields.
    row::<events::Event>().short(&["ev"]).stored_as("core/events", "v1"),

    row::<authentication::SelfSubjectReview>().verbs(&[Create]).not_stored(),
    row::<authentication::TokenReview>().verbs(&[Create]).not_stored(),

    row::<authorization::LocalSubjectAccessReview>().verbs(&[Create]).not_stored(),
    row::<authorization::SelfSubjectAccessReview>().verbs(&[Create]).not_stored(),
    row::<authorization::SelfSubjectRulesReview>().verbs(&[Create]).not_stored(),
    row::<authorization::SubjectAccessReview>().verbs(&[Create]).not_stored(),

    row::<autoscaling::HorizontalPodAutoscaler>().short(&["hpa"]).in_all().subs(&[STATUS]),
    row::<autoscaling_v1::HorizontalPodAutoscaler>().short(&["hpa"]).in_all().subs(&[STATUS])
        .stored_as("autoscaling/horizontalpodautoscalers", "autoscaling/v2"),

    row::<batch::CronJob>().short(&["cj"]).in_all().subs(&[STATUS]),
    row::<batch::Job>().in_all().subs(&[STATUS]),

    row::<certificates::CertificateSigningRequest>().short(&["csr"]).subs(&[own("approval", GET_PATCH_UPDATE), STATUS]),

    row::<networking::IngressClass>(),
    row::<networking::Ingress>().short(&["ing"]).subs(&[STATUS]),
    row::<networking::IPAddress>().short(&["ip"]),
    row::<networking::NetworkPolicy>().short(&["netpol"]),
    row::<networking::ServiceCIDR>().subs(&[STATUS]),

    row::<policy::PodDisruptionBudget>().short(&["pdb"]).subs(&[STATUS]),

    row::<rbac::ClusterRoleBinding>(),
    row::<rbac::ClusterRole>(),
    row::<rbac::RoleBinding>(),
    row::<rbac::Role>(),

    row::<storage::CSIDriver>(),
    row::<storage::CSINode>(),
    row::<storage::CSIStorageCapacity>(),
    row::<storage::StorageClass>().short(&["sc"]),
    row::<storage::VolumeAttachment>().subs(&[STATUS]),
    row::<storage::VolumeAttributesClass>().short(&["vac"]),

    row::<admission::MutatingWebhookConfiguration>().extends_api(),
    row::<admission::ValidatingWebhookConfiguration>().extends_api(),

    row::<apiextensions::CustomResourceDefinition>().short(&["crd", "crds"]).extends_api().subs(&[STATUS]),

    row::<scheduling::PriorityClass>().short(&["pc"]),
    row::<coordination::Lease>(),
    row::<node::RuntimeClass>(),
    row::<discovery::EndpointSlice>(),
];

/// The rows as [`Resource`]s.
pub(super) fn rows() -> impl Iterator<Item = Resource> {
    ROWS.iter().map(Row::resource)
}

/// One built-in kind, as the compiler can know it.
#[derive(Clone, Copy)]
struct Row {
    group: &'static str,
    version: &'static str,
    kind: &'static str,
    plural: &'static str,
    scope: Scope,
    schema: SchemaSource,
    verbs: &'static [Verb],
    short: &'static [&'static str],
    categories: &'static [&'static str],
    subs: &'static [Sub],
    storage: Storage,
}

#[derive(Clone, Copy)]
enum Storage {
    /// Under the row's own group and plural, in its own version.
    Own,
    /// Under another row's place, in that row's `apiVersion`.
    Shared(&'static str, &'static str),
    Never,
}

/// One subresource. `body` None: the resource itself.
#[derive(Clone, Copy)]
struct Sub {
    name: &'static str,
    verbs: &'static [Verb],
    body: Option<Body>,
}

#[derive(Clone, Copy)]
struct Body {
    group: &'static str,
    version: &'static str,
    kind: &'static str,
    schema: Option<SchemaSource>,
}

trait KnownScope {
    const SCOPE: Scope;
}
impl KnownScope for NamespaceResourceScope {
    const SCOPE: Scope = Scope::Namespaced;
}
impl KnownScope for ClusterResourceScope {
    const SCOPE: Scope = Scope::Cluster;
}

/// A row with all verbs and nothing beside them.
const fn row<T>() -> Row
where
    T: k8s_openapi::Resource + JsonSchema,
    T::Scope: KnownScope,
{
    Row {
        group: T::GROUP,
        version: T::VERSION,
        kind: T::KIND,
        plural: T::URL_PATH_SEGMENT,
        scope: <T::Scope as KnownScope>::SCOPE,
        schema: |generator| generator.subschema_for::<T>(),
        verbs: ALL,
        short: &[],
        categories: &[],
        subs: &[],
        storage: Storage::Own,
    }
}

/// A subresource that speaks the resource's own kind.
const fn own(name: &'static str, verbs: &'static [Verb]) -> Sub {
    Sub { name, verbs, body: None }
}

/// A subresource that speaks another kind.
const fn other<T: k8s_openapi::Resource + JsonSchema>(name: &'static str, verbs: &'static [Verb]) -> Sub {
    let schema: SchemaSource = |generator| generator.subschema_for::<T>();
    Sub { name, verbs, body: Some(Body { group: T::GROUP, version: T::VERSION, kind: T::KIND, schema: Some(schema) }) }
}

/// A subresource of the core group whose kind exists as query parameters only.
const fn options(name: &'static str, kind: &'static str, verbs: &'static [Verb]) -> Sub {
    Sub { name, verbs, body: Some(Body { group: "", version: "v1", kind, schema: None }) }
}

impl Row {
    const fn verbs(mut self, verbs: &'static [Verb]) -> Self {
        self.verbs = verbs;
        self
    }

    const fn short(mut self, names: &'static [&'static str]) -> Self {
        self.short = names;
        self
    }

    /// Shown by `kubectl get all`.
    const fn in_all(mut self) -> Self {
        self.categories = &["all"];
        self
    }

    /// Shown by `kubectl get api-extensions`.
    const fn extends_api(mut self) -> Self {
        self.categories = &["api-extensions"];
        self
    }

    const fn subs(mut self, subs: &'static [Sub]) -> Self {
        self.subs = subs;
        self
    }

    const fn stored_as(mut self, place: &'static str, api_version: &'static str) -> Self {
        self.storage = Storage::Shared(place, api_version);
        self
    }

    const fn not_stored(mut self) -> Self {
        self.storage = Storage::Never;
        self
    }

    fn resource(&self) -> Resource {
        let (storage, storage_api_version): (Text, Text) = match self.storage {
            Storage::Own => {
                let group = if self.group.is_empty() { "core" } else { self.group };
                (format!("{group}/{}", self.plural).into(), super::group_version(self.group, self.version).into())
            }
            Storage::Shared(place, api_version) => (place.into(), api_version.into()),
            Storage::Never => (Text::default(), Text::default()),
        };
        Resource {
            group: self.group.into(),
            version: self.version.into(),
            kind: self.kind.into(),
            list_kind: format!("{}List", self.kind).into(),
            plural: self.plural.into(),
            singular: self.kind.to_ascii_lowercase().into(),
            short_names: texts(self.short),
            categories: texts(self.categories),
            scope: self.scope,
            verbs: Cow::Borrowed(self.verbs),
            subresources: self.subs.iter().map(|sub| sub.subresource(self)).collect(),
            storage,
            storage_api_version,
            strategy: strategies::for_kind(self.group, self.kind),
            schema: LazySchema::builtin(self.schema),
            columns: strategies::columns_for(self.group, self.kind),
            custom: None,
        }
    }
}

impl Sub {
    fn subresource(&self, row: &Row) -> Subresource {
        let body = self.body.unwrap_or(Body { group: row.group, version: row.version, kind: row.kind, schema: None });
        Subresource {
            name: self.name.into(),
            group: body.group.into(),
            version: body.version.into(),
            kind: body.kind.into(),
            verbs: Cow::Borrowed(self.verbs),
            scale: (self.name == "scale").then(|| ScalePaths {
                spec_replicas: "spec.replicas".into(),
                status_replicas: "status.replicas".into(),
                label_selector: Some("spec.selector".into()),
            }),
            schema: body.schema.map(LazySchema::builtin),
        }
    }
}

fn texts(names: &[&'static str]) -> Cow<'static, [Text]> {
    names.iter().map(|name| Text::Borrowed(name)).collect::<Vec<_>>().into()
}
