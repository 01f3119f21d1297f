#!/usr/bin/env python3
"""Makes fields.txt: which protobuf field of which type has which JSON name.

Usage: generate.py K8S_PB_CRATE_SRC SWAGGER_JSON > fields.txt
The first is the `src` folder of the crate k8s-pb (for the numbers), the second the published OpenAPI v2 document
(for the JSON names, and for which fields are always written).
"""
import json, os, re, sys

# Pointers in the Go types: a zero on the wire is a value there, and the absence of one anywhere else.
POINTERS = """
DeploymentSpec.replicas ReplicaSetSpec.replicas StatefulSetSpec.replicas ReplicationControllerSpec.replicas
revisionHistoryLimit progressDeadlineSeconds terminationGracePeriodSeconds activeDeadlineSeconds parallelism completions
backoffLimit ttlSecondsAfterFinished backoffLimitPerIndex maxFailedIndexes startingDeadlineSeconds successfulJobsHistoryLimit
failedJobsHistoryLimit PodSpec.priority runAsUser runAsGroup fsGroup defaultMode mode tolerationSeconds expirationSeconds
deletionGracePeriodSeconds gracePeriodSeconds ClientIPConfig.timeoutSeconds ValidatingWebhook.timeoutSeconds MutatingWebhook.timeoutSeconds
partition EndpointPort.port leaseDurationSeconds leaseTransitions minDomains averageUtilization minReplicas
targetCPUUtilizationPercentage stabilizationWindowSeconds JobStatus.ready JobStatus.terminating manualSelector suspend controller
blockOwnerDeletion optional immutable automountServiceAccountToken enableServiceLinks shareProcessNamespace hostUsers
setHostnameAsFQDN allowPrivilegeEscalation privileged readOnlyRootFilesystem runAsNonRoot allocateLoadBalancerNodePorts
EndpointConditions.ready EndpointConditions.serving EndpointConditions.terminating ContainerStatus.started attachRequired
podInfoOnMount storageCapacity allowVolumeExpansion CSIVolumeSource.readOnly orphanDependents ignoreStoreReadErrorWithClusterBreakingPotential
PersistentVolumeClaimSpec.storageClassName PersistentVolumeClaimSpec.volumeAttributesClassName requiresRepublish seLinuxMount
hostnameOverride PodDisruptionBudgetSpec.unhealthyPodEvictionPolicy
""".split()
POINTERS = {tuple(p.split(".")) if "." in p else (None, p) for p in POINTERS}
EMBEDDED = ("EphemeralContainerCommon IngressRuleValue LocalObjectReference PersistentVolumeSource ProbeHandler Rule "
            "RuleWithOperations VolumeSource").split()
SCALARS = {"string": "s", "bytes": "y", "bool": "b", "int32": "i", "int64": "i", "uint32": "i", "uint64": "i", "double": "d"}


def normal(name):
    return re.sub(r"[^a-z0-9]", "", name.lower())


def resolve(module, rust_type):
    text = rust_type
    while True:
        match = re.match(r"^(?:::)?[\w:]*(?:Option|Vec|Box)<(.*)>$", text)
        if not match:
            break
        text = match.group(1)
    match = re.match(r"^[\w:]*BTreeMap<\s*::prost::alloc::string::String,\s*(.*?),?\s*>$", text)
    if match:
        text = match.group(1)
    path, parts = list(module), text.split("::")
    while parts and parts[0] == "super":
        path.pop()
        parts.pop(0)
    return ".".join(path + parts)


def read(root):
    types = {}
    for folder, _, files in os.walk(root):
        if "mod.rs" not in files:
            continue
        module = os.path.relpath(folder, root).split(os.sep)
        text = open(os.path.join(folder, "mod.rs")).read()
        for match in re.finditer(r"pub struct (\w+) \{\n(.*?)^\}", text, re.S | re.M):
            fields = []
            for attr, name, kind in re.findall(r"#\[prost\((.*?)\)\]\s*pub (?:r#)?(\w+):\s+(.*?),\n(?=\s*(?:///|#\[|$|\Z))", match.group(2) + "\n", re.S):
                fields.append((re.sub(r"\s+", " ", attr), name, re.sub(r"\s+", "", kind)))
            types[".".join(module + [match.group(1)])] = (module, fields)
    return types


def openapi_name(name):
    return "io.k8s." + name.replace("apiextensions_apiserver", "apiextensions-apiserver").replace("kube_aggregator", "kube-aggregator")


def main():
    types, definitions = read(sys.argv[1]), json.load(open(sys.argv[2]))["definitions"]
    by_name = {normal(name): definition for name, definition in definitions.items()}
    roots = [name for name in types if openapi_name(name) in definitions
             and any(name.startswith("api." + g + ".") for g in
                     ("core.v1", "apps.v1", "batch.v1", "autoscaling.v1", "autoscaling.v2", "policy.v1", "networking.v1", "discovery.v1",
                      "events.v1", "coordination.v1", "rbac.v1", "authentication.v1", "authorization.v1", "certificates.v1",
                      "scheduling.v1", "storage.v1", "node.v1", "admissionregistration.v1"))
             and not re.search(r"\.v\d+(alpha|beta)", name)
             or name.startswith("apiextensions_apiserver.pkg.apis.apiextensions.v1.")]
    roots += ["apimachinery.pkg.apis.meta.v1.DeleteOptions"]
    seen, todo, out, borrowed = set(), sorted(roots), [], {}
    while todo:
        name = todo.pop(0)
        if name in seen or name not in types:
            continue
        seen.add(name)
        module, fields = types[name]
        short = name.split(".")[-1]
        definition = by_name.get(normal(openapi_name(name)), {})
        properties = {normal(p): p for p in definition.get("properties", {})}
        properties = {**borrowed.get(name, {}), **properties}
        lines = []
        for attr, field, rust in fields:
            tag = re.search(r'tag = "(\d+)"', attr).group(1)
            kind = re.split(r"[,=]", attr)[0].strip()
            mapped = re.search(r'btree_map = "string, (\w+)"', attr)
            json_name = properties.get(normal(field))
            prefix = "{" if mapped else "*" if "repeated" in attr else ""
            base = mapped.group(1) if mapped else kind
            if base in SCALARS:
                code = SCALARS[base]
            else:
                target = resolve(module, rust)
                todo.append(target)
                code = "@" + target
                if json_name is None:
                    # Embedded in Go: its fields are the parent's in JSON. Others are fields of another release, unless
                    # the whole type has a JSON form of its own.
                    if target.split(".")[-1] not in EMBEDDED:
                        if properties:
                            continue
                    else:
                        code = "^" + target
                    borrowed.setdefault(target, {}).update(properties)
            if json_name is None:
                json_name = re.sub(r"_(\w)", lambda m: m.group(1).upper(), field)
            keep = ("", "!")[not prefix and code in "sbid" and (json_name in definition.get("required", [])
                             or (None, json_name) in POINTERS or (short, json_name) in POINTERS)]
            lines.append(f"{tag} {json_name} {prefix}{code}{keep}")
        out.append("\n".join(["#" + name] + lines))
    out.sort()
    print("\n".join(out))


main()
