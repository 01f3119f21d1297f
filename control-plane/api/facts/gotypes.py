"""What Kubernetes' Go types say about JSON: which fields are left out when empty, and which are always written.

Reads the sources of k8s.io/api, k8s.io/apimachinery and k8s.io/apiextensions-apiserver; only types of stable versions that
objects with metadata are made of.
"""

import glob
import os
import re

PACKAGES = [
    "api/*/v[0-9]",
    "apimachinery/pkg/apis/meta/v1",
    "apimachinery/pkg/types",
    "apiextensions-apiserver/pkg/apis/apiextensions/v1",
]
# Structs with JSON of their own.
SPECIAL = re.compile(r"\b(Quantity|IntOrString|Time|MicroTime|RawExtension|JSON)$")
SCALAR = re.compile(r"^(string|bool|u?int\d*|float\d+|byte|rune)$")
FIELD = re.compile(r"^\t(?:(\w+)\s+)?([*\[\]\w.{}]+)\s+`([^`]*)`")


def packages(root):
    found = {}
    for pattern in PACKAGES:
        for folder in glob.glob(os.path.join(root, pattern)):
            found["k8s.io/" + os.path.relpath(folder, root)] = folder
    return found


def read(folder):
    """Type name → (its underlying type, or its struct's lines; the imports of its file)."""
    types = {}
    for path in sorted(glob.glob(folder + "/*.go")):
        if path.endswith("_test.go") or "generated" in path:
            continue
        with open(path) as file:
            text = file.read()
        imports = {}
        for alias, target in re.findall(r'^(?:import)?\s*(\w+)?\s*"([\w./-]+)"$', text, re.M):
            imports[alias or target.rsplit("/", 1)[-1]] = target
        for name, body in re.findall(r"^type (\w+) struct \{\n(.*?)^\}", text, re.M | re.S):
            types[name] = (body.split("\n"), imports)
        for name, alias in re.findall(r"^type (\w+) =? ?([*\[\]\w.]+(?:\{\})?)$", text, re.M):
            types.setdefault(name, (alias, imports))
    return types


class Types:
    def __init__(self, root):
        self.known = {package: read(folder) for package, folder in packages(root).items()}

    def kind(self, package, text):
        """plain, struct, or pointer."""
        if text.startswith("*"):
            return "pointer"
        if text.startswith(("[]", "map[")) or SCALAR.match(text):
            return "plain"
        if SPECIAL.search(text):
            return "struct"
        package, name = self.locate(package, text)
        body = self.known.get(package, {}).get(name)
        if body is None or isinstance(body[0], list):
            return "struct"
        return self.kind(package, body[0])

    def locate(self, package, text):
        if "." not in text:
            return package, text
        alias, name = text.split(".")
        for _, imports in self.known.get(package, {}).values():
            if alias in imports:
                return imports[alias], name
        return alias, name

    def fields(self, package, name):
        """The JSON name, the mark and the Go type of each, with the package that the type's name is of."""
        for line in self.known[package][name][0]:
            match = FIELD.match(line)
            tag = match and re.search(r'json:"([^"]*)"', match[3])
            if not tag:
                continue
            json, *options = tag[1].split(",")
            if json == "":
                yield from self.fields(*self.locate(package, match[2].lstrip("*")))
            elif json != "-":
                yield json, self.mark(package, match[2], options), (package, match[2])

    def mark(self, package, text, options):
        kind = self.kind(package, text)
        if kind == "pointer":
            if "omitempty" not in options:
                return "?"
            return "*" if self.kind(package, text[1:]) == "plain" else ""
        if kind == "struct":
            return "-" if "omitzero" in options else "!"
        return "" if "omitempty" in options or "omitzero" in options else "!"

    def collect(self, package, name, into):
        """The marks of a type and of all that it reaches, by definition and field."""
        definition = "io.k8s." + package.removeprefix("k8s.io/").replace("/", ".") + "." + name
        body = self.known.get(package, {}).get(name, [""])[0]
        if isinstance(body, str):
            return self.follow(package, body, into)
        if definition in into:
            return
        fields = into.setdefault(definition, {})
        for json, mark, (package, text) in self.fields(package, name):
            if mark:
                fields[json] = mark
            self.follow(package, text, into)

    def follow(self, package, text, into):
        for part in re.findall(r"[\w.]+", text):
            self.collect(*self.locate(package, part), into)

    def kinds(self):
        for package, known in self.known.items():
            for name, (body, _) in known.items():
                if isinstance(body, list) and any("ObjectMeta `" in line for line in body):
                    yield package, name


def marks(root):
    types, found = Types(root), {}
    for package, name in types.kinds():
        types.collect(package, name, found)
    return found
