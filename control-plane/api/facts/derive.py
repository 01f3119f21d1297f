#!/usr/bin/env python3
"""Derives facts.txt: what the published OpenAPI documents say about merging, and k8s-openapi's schemas do not.

    python3 control-plane/api/facts/derive.py /path/to/openapi-spec > control-plane/api/facts/facts.txt

The folder holds Kubernetes' `swagger.json` and `v3/*.json` (kubernetes/kubernetes, api/openapi-spec).
Only definitions of stable versions count; the first line of the output explains the format.
"""

import glob
import json
import re
import sys

HEADER = """\
# Derived by derive.py from Kubernetes 1.36's OpenAPI documents; not edited by hand. One definition a line (without `io.k8s.`),
# then its fields: `field=fact;fact`. `*` is the definition itself, `field[]` the items of a list, `field{}` the values of a map.
# atomic|granular|set|map(keys): x-kubernetes-list-type, x-kubernetes-map-type. merge(key)|merge+retainKeys(key)|retainKeys|replace:
# x-kubernetes-patch-strategy and -merge-key. default(JSON): a default that is not the type's zero value. present: Go writes the
# field even when nothing is set, as {} or null (a struct that is no pointer, a required list)."""

STABLE = re.compile(r"^io\.k8s\..*\.v\d+\.|^io\.k8s\.apimachinery\.")


def facts_of(node):
    out = []
    kind = node.get("x-kubernetes-list-type")
    if kind == "map":
        out.append("map(%s)" % ",".join(node["x-kubernetes-list-map-keys"]))
    elif kind:
        out.append(kind)
    if "x-kubernetes-map-type" in node:
        out.append(node["x-kubernetes-map-type"])
    strategy = node.get("x-kubernetes-patch-strategy")
    if strategy:
        key = node.get("x-kubernetes-patch-merge-key")
        out.append(strategy.replace(",", "+") + ("(%s)" % key if key else ""))
    return out


def collect(node, path, fields):
    for fact in facts_of(node):
        fields.setdefault(path, []).append(fact)
    if isinstance(node.get("items"), dict):
        collect(node["items"], path + "[]", fields)
    if isinstance(node.get("additionalProperties"), dict):
        collect(node["additionalProperties"], path + "{}", fields)


def is_struct(node, schemas):
    """Whether a place refers to a definition with fields; times and such have none."""
    references = [node.get("$ref", "")] + [part.get("$ref", "") for part in node.get("allOf", [])]
    return any(schemas.get(r.rsplit("/", 1)[-1], {}).get("properties") for r in references)


def main(folder):
    table = {}
    with open(folder + "/swagger.json") as file:
        definitions = json.load(file)["definitions"]
    for name, definition in definitions.items():
        fields = table.setdefault(name, {})
        for fact in facts_of(definition):
            fields.setdefault("*", []).append(fact)
        for field, node in definition.get("properties", {}).items():
            collect(node, field, fields)
            if field in definition.get("required", []) and node.get("x-kubernetes-list-type") in ("map", "set"):
                fields.setdefault(field, []).append("present")
    for path in sorted(glob.glob(folder + "/v3/*.json")):
        with open(path) as file:
            schemas = json.load(file).get("components", {}).get("schemas", {})
        for name, definition in schemas.items():
            for field, node in definition.get("properties", {}).items():
                if node.get("default") == {} and is_struct(node, schemas):
                    known = table.setdefault(name, {}).setdefault(field, [])
                    if "present" not in known:
                        known.append("present")
                if node.get("default") not in (None, "", 0, False, {}):
                    fact = "default(%s)" % json.dumps(node["default"])
                    known = table.setdefault(name, {}).setdefault(field, [])
                    if fact not in known:
                        known.append(fact)
    print(HEADER)
    for name in sorted(table):
        if table[name] and STABLE.match(name):
            fields = " ".join("%s=%s" % (f, ";".join(v)) for f, v in sorted(table[name].items()))
            print(name.removeprefix("io.k8s."), fields)


main(sys.argv[1])
