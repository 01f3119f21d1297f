//! Values as Go marshals Kubernetes' internal structs (`pkg/apis/*/types.go`): messages show those that are no plain ones so,
//! fields in the order of the struct, those that are not set among them.

use crate::field::{self, Error, Path};
use serde_json::Value;

/// A field: its name in Go, its name in JSON, and what it is.
pub(super) struct Field(&'static str, &'static str, Kind);

enum Kind {
    /// Shown as it is in JSON; the text is its zero.
    Plain(&'static str),
    Struct(&'static [Field]),
    Pointer(&'static [Field]),
}

const TEXT: Kind = Kind::Plain("\"\"");
const NULL: Kind = Kind::Plain("null");
const ZERO: Kind = Kind::Plain("0");

pub(super) const TOLERATION: &[Field] = &[
    Field("Key", "key", TEXT),
    Field("Operator", "operator", TEXT),
    Field("Value", "value", TEXT),
    Field("Effect", "effect", TEXT),
    Field("TolerationSeconds", "tolerationSeconds", NULL),
];
pub(super) const TAINT: &[Field] = &[
    Field("Key", "key", TEXT),
    Field("Value", "value", TEXT),
    Field("Effect", "effect", TEXT),
    Field("TimeAdded", "timeAdded", NULL),
];
pub(super) const RESOURCE_CLAIM: &[Field] = &[
    Field("Name", "name", TEXT),
    Field("ResourceClaimName", "resourceClaimName", NULL),
    Field("ResourceClaimTemplateName", "resourceClaimTemplateName", NULL),
];
pub(super) const ROLLING_STRATEGY: &[Field] = &[
    Field("Type", "type", TEXT),
    Field(
        "RollingUpdate",
        "rollingUpdate",
        Kind::Pointer(&[Field("MaxUnavailable", "maxUnavailable", ZERO), Field("MaxSurge", "maxSurge", ZERO)]),
    ),
];
pub(super) const STATEFUL_STRATEGY: &[Field] = &[
    Field("Type", "type", TEXT),
    Field(
        "RollingUpdate",
        "rollingUpdate",
        Kind::Pointer(&[Field("Partition", "partition", ZERO), Field("MaxUnavailable", "maxUnavailable", NULL)]),
    ),
];
pub(super) const CSI_NODE_DRIVER: &[Field] = &[
    Field("Name", "name", TEXT),
    Field("NodeID", "nodeID", TEXT),
    Field("TopologyKeys", "topologyKeys", NULL),
    Field("Allocatable", "allocatable", Kind::Pointer(&[Field("Count", "count", NULL)])),
];
pub(super) const VOLUME_ATTACHMENT: &[Field] = &[
    Field("Attacher", "attacher", TEXT),
    Field(
        "Source",
        "source",
        Kind::Struct(&[
            Field("PersistentVolumeName", "persistentVolumeName", NULL),
            Field("InlineVolumeSpec", "inlineVolumeSpec", NULL),
        ]),
    ),
    Field("NodeName", "nodeName", TEXT),
];
pub(super) const PARENT_REFERENCE: &[Field] = &[
    Field("Group", "group", TEXT),
    Field("Resource", "resource", TEXT),
    Field("Namespace", "namespace", TEXT),
    Field("Name", "name", TEXT),
];
const PROFILE: &[Field] = &[Field("Type", "type", TEXT), Field("LocalhostProfile", "localhostProfile", NULL)];
pub(super) const SECURITY_CONTEXT: &[Field] = &[
    Field("Capabilities", "capabilities", Kind::Pointer(&[Field("Add", "add", NULL), Field("Drop", "drop", NULL)])),
    Field("Privileged", "privileged", NULL),
    Field(
        "SELinuxOptions",
        "seLinuxOptions",
        Kind::Pointer(&[
            Field("User", "user", TEXT),
            Field("Role", "role", TEXT),
            Field("Type", "type", TEXT),
            Field("Level", "level", TEXT),
        ]),
    ),
    Field(
        "WindowsOptions",
        "windowsOptions",
        Kind::Pointer(&[
            Field("GMSACredentialSpecName", "gmsaCredentialSpecName", NULL),
            Field("GMSACredentialSpec", "gmsaCredentialSpec", NULL),
            Field("RunAsUserName", "runAsUserName", NULL),
            Field("HostProcess", "hostProcess", NULL),
        ]),
    ),
    Field("RunAsUser", "runAsUser", NULL),
    Field("RunAsGroup", "runAsGroup", NULL),
    Field("RunAsNonRoot", "runAsNonRoot", NULL),
    Field("ReadOnlyRootFilesystem", "readOnlyRootFilesystem", NULL),
    Field("AllowPrivilegeEscalation", "allowPrivilegeEscalation", NULL),
    Field("ProcMount", "procMount", NULL),
    Field("SeccompProfile", "seccompProfile", Kind::Pointer(PROFILE)),
    Field("AppArmorProfile", "appArmorProfile", Kind::Pointer(PROFILE)),
];

fn show(fields: &[Field], value: &Value) -> String {
    let one = |Field(go, json, kind): &Field| {
        let value = value.get(json).filter(|value| !value.is_null());
        let shown = match kind {
            Kind::Plain(zero) => value.map_or_else(|| (*zero).to_owned(), field::json),
            Kind::Struct(fields) => show(fields, value.unwrap_or(&Value::Null)),
            Kind::Pointer(fields) => value.map_or_else(|| "null".to_owned(), |value| show(fields, value)),
        };
        format!("\"{go}\":{shown}")
    };
    format!("{{{}}}", fields.iter().map(one).collect::<Vec<_>>().join(","))
}

/// The error with the struct that `value` is to Kubernetes as its value.
pub(super) fn showing(mut error: Error, fields: &[Field], value: &Value) -> Error {
    error.value = None;
    let separator = if error.detail.is_empty() { "" } else { ": " };
    error.detail = format!("{}{separator}{}", show(fields, value), error.detail);
    error
}

/// `Invalid value: <the struct>: detail`.
pub(super) fn invalid(path: &Path<'_>, fields: &[Field], value: &Value, detail: impl Into<String>) -> Error {
    showing(Error::invalid(path, Value::Null, detail), fields, value)
}

/// Complains when a member that is a struct differs from the old object's.
pub(super) fn check_immutable(
    new: &Value,
    old: &Value,
    (name, fields): (&str, &[Field]),
    path: &Path<'_>,
    errors: &mut Vec<Error>,
) {
    if new.get(name) != old.get(name) {
        let value = new.get(name).unwrap_or(&Value::Null);
        errors.push(invalid(&path.child(name), fields, value, crate::meta::IMMUTABLE));
    }
}
