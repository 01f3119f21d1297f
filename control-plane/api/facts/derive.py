#!/usr/bin/env python3
"""Derives facts.txt: what k8s-openapi's schemas do not say. The published OpenAPI documents tell how fields merge, the Go
types which of them are left out of JSON.

    cd control-plane/api/facts && python3 derive.py /path/to/openapi-spec /path/to/k8s.io > facts.txt

The first folder holds Kubernetes' `swagger.json` and `v3/*.json` (kubernetes/kubernetes, api/openapi-spec), the second the
folders `api`, `apimachinery` and `apiextensions-apiserver` (kubernetes/kubernetes, staging/src/k8s.io), all of the version
that k8s-openapi is of. Only definitions of stable versions count; the first lines of the output explain the format.
"""

import glob
import json
import re
import sys

import gotypes

HEADER = """\
# Derived by derive.py from Kubernetes 1.36's OpenAPI documents and Go types; not edited by hand. One definition a line (without
# `io.k8s.`), then its fields: a name, a mark, `=fact;fact`. `*` is the definition itself, `field[]` the items of a list, `field{}` the
# values of a map. Marks say what Go writes. Without one, texts, numbers, booleans, lists and maps are left out when empty, and structs
# are pointers, left out when nil. `field*`: a pointer to what else were left out, so that an explicit zero stays. `field!`: no pointer, and
# written always: a struct, or a zero. `field?`: a pointer that is written always, as null. `field-`: a struct that is left out when empty.
# atomic|granular|set|map(keys): x-kubernetes-list-type, x-kubernetes-map-type. merge(key)|merge+retainKeys(key)|retainKeys|replace:
# x-kubernetes-patch-strategy and -merge-key. default(JSON): a default that is not the type's zero value."""

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


def main(folder, sources):
    table = {}
    with open(folder + "/swagger.json") as file:
        definitions = json.load(file)["definitions"]
    for name, definition in definitions.items():
        fields = table.setdefault(name, {})
        for fact in facts_of(definition):
            fields.setdefault("*", []).append(fact)
        for field, node in definition.get("properties", {}).items():
            collect(node, field, fields)
    for path in sorted(glob.glob(folder + "/v3/*.json")):
        with open(path) as file:
            schemas = json.load(file).get("components", {}).get("schemas", {})
        for name, definition in schemas.items():
            for field, node in definition.get("properties", {}).items():
                if node.get("default") not in (None, "", 0, False, {}):
                    fact = "default(%s)" % json.dumps(node["default"])
                    known = table.setdefault(name, {}).setdefault(field, [])
                    if fact not in known:
                        known.append(fact)
    marks = gotypes.marks(sources)
    print(HEADER)
    for name in sorted(table.keys() | marks.keys()):
        facts, mark = table.get(name, {}), marks.get(name, {})
        fields = [f + mark.get(f, "") + ("=" + ";".join(facts[f]) if f in facts else "") for f in sorted(facts.keys() | mark)]
        if fields and STABLE.match(name) and not name.endswith("List"):
            print(name.removeprefix("io.k8s."), *fields)


main(*sys.argv[1:])
