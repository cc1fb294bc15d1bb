#!/usr/bin/env python3
"""Writes the generated files of the Python package from docs/reference/: errors, configurations, records, schemas."""

import json
import re
import sys
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT / "docs/reference"
PACKAGE = ROOT / "bindings-python/python/ayni"
NOTE = "# Written by `make gen` from the code. Change the code, not this file."
WIDTH = 120

Schema = dict[str, Any]


def read(name: str) -> Any:
    return json.loads((REFERENCE / name).read_text())


def docstring(text: str, indent: str) -> str:
    """A description as a docstring. Code spans are the ones of reStructuredText."""
    words = " ".join(re.sub(r"(?<!`)`([^`]+)`(?!`)", r"``\1``", text).replace("\\", "\\\\").split())
    paragraphs = textwrap.wrap(words, WIDTH - len(indent) - 6)
    if len(paragraphs) < 2:
        return f'{indent}"""{"".join(paragraphs)}"""'
    return f'{indent}"""' + f"\n{indent}".join(paragraphs) + f'\n{indent}"""'


def error_class(kind: dict[str, Any]) -> str:
    name = "".join(word.capitalize() for word in kind["kind"].split("_"))
    bases = {"timeout": "AyniError, TimeoutError"}.get(kind["kind"], "AyniError")
    usually = "True" if kind["temporary"] else "False"
    return "\n".join(
        [
            f"class {name}({bases}):",
            docstring(kind["meaning"], "    "),
            "",
            '    __module__ = "ayni"',
            f'    kind: ClassVar[str] = "{kind["kind"]}"',
            f"    _usually_retryable: ClassVar[bool] = {usually}",
        ]
    )


def errors() -> str:
    kinds = read("error-kinds.json")
    classes = [error_class(kind) for kind in kinds]
    names = ["".join(word.capitalize() for word in kind["kind"].split("_")) for kind in kinds]
    table = "\n".join(f'    "{kind["kind"]}": {name},' for kind, name in zip(kinds, names, strict=True))
    return (
        f'"""One class a kind of error, all under ``AyniError``."""\n\n{NOTE}\n\n'
        "from __future__ import annotations\n\nfrom typing import ClassVar\n\n"
        "from ayni._failure import AyniError\n\n"
        f"__all__ = {list_of(['AyniError', *sorted(names)])}\n\n\n"
        + "\n\n\n".join(classes)
        + f"\n\n\nCLASSES: dict[str, type[AyniError]] = {{\n{table}\n}}\n"
        + '"""The class of every kind."""\n'
    )


def list_of(names: list[str]) -> str:
    return "[\n" + "".join(f'    "{name}",\n' for name in names) + "]"


class Types:
    """Schemas as Python types. What a schema refers to is collected."""

    NAMES = {"Secret": "str", "Money": "MoneyInput", "Decimal": "str"}

    def __init__(self) -> None:
        self.definitions: dict[str, Schema] = {}

    def add(self, definitions: dict[str, Schema]) -> None:
        self.definitions.update(definitions)

    def of(self, schema: Schema | bool) -> str:
        if isinstance(schema, bool):
            return "Any"
        if reference := schema.get("$ref"):
            name = reference.rsplit("/", 1)[-1]
            return self.NAMES.get(name, name)
        if "const" in schema:
            return f"Literal[{schema['const']!r}]".replace("'", '"')
        if "enum" in schema:
            return "Literal[" + ", ".join(json.dumps(value) for value in schema["enum"]) + "]"
        for key in ("anyOf", "oneOf", "allOf"):
            if key in schema:
                return union([self.of(variant) for variant in schema[key]])
        kinds = schema.get("type")
        kinds = kinds if isinstance(kinds, list) else [kinds]
        return union([self.simple(kind, schema) for kind in kinds])

    def simple(self, kind: str | None, schema: Schema) -> str:
        match kind:
            case "string":
                return "str"
            case "integer":
                return "int"
            case "number":
                return "float"
            case "boolean":
                return "bool"
            case "null":
                return "None"
            case "array" if "prefixItems" in schema:
                return "tuple[" + ", ".join(self.of(item) for item in schema["prefixItems"]) + "]"
            case "array":
                return f"Sequence[{self.of(schema.get('items', True))}]"
            case "object" if "properties" not in schema:
                return f"Mapping[str, {self.of(schema.get('additionalProperties', True))}]"
            case "object":
                return "Mapping[str, Any]"
            case _:
                return "Any"


def union(types: list[str]) -> str:
    """One type out of several; the values of literals joined."""
    literals: list[str] = []
    others: list[str] = []
    for given in types:
        for part in split_union(given):
            if found := re.fullmatch(r"Literal\[(.*)\]", part):
                literals += [value for value in re.findall(r'"[^"]*"', found[1]) if value not in literals]
            elif part not in others:
                others.append(part)
    joined = [f"Literal[{', '.join(literals)}]"] if literals else []
    parts = joined + sorted(others, key=lambda part: part == "None")
    return " | ".join(parts)


def split_union(text: str) -> list[str]:
    """The members of a union on its outermost level."""
    parts, depth, start = [], 0, 0
    for position, character in enumerate(text):
        depth += (character == "[") - (character == "]")
        if character == "|" and depth == 0:
            parts.append(text[start:position].strip())
            start = position + 1
    return [*parts, text[start:].strip()]


def typed_dict(types: Types, name: str, schema: Schema) -> str:
    required = set(schema.get("required", ()))
    lines = [f"class {name}(TypedDict, total=False):", docstring(schema.get("description", name), "    "), ""]
    for field, value in schema["properties"].items():
        kind = types.of(value)
        lines.append(f"    {field}: {f'Required[{kind}]' if field in required else kind}")
        if description := value.get("description"):
            lines.append(docstring(description, "    "))
    return "\n".join(lines)


def define(types: Types, name: str) -> str | None:
    """What a definition becomes: a typed dictionary, or a union of literals."""
    schema = types.definitions[name]
    if name in Types.NAMES or name.endswith("Config"):
        return None
    if "properties" in schema:
        return typed_dict(types, name, schema)
    return f"{name}: TypeAlias = {quoted_union(types.of(schema))}\n" + docstring(schema.get("description", name), "")


def quoted_union(text: str) -> str:
    """A union that Python 3.9's grammar of values has too: the alias is evaluated."""
    parts = split_union(text)
    return parts[0] if len(parts) == 1 else f"Union[{', '.join(parts)}]"


def configs() -> dict[str, str]:
    types, shapes, fields = Types(), {}, []
    for capability in ("embedder", "chat", "image", "procurement"):
        schema = read(f"{capability}-config.schema.json")
        types.add(schema["$defs"])
        fields.append(capability_types(types, capability.capitalize(), schema, shapes))
    shared = {name: text for name in sorted(types.definitions) if (text := define(types, name))}
    backends = "\n\n\n".join([*shapes.values(), *fields])
    used = [name for name in shared if re.search(rf"\b{name}\b", backends)]
    return {
        "_policies.py": typed_module("What configurations have in common: the policy, spaces, scripts.", shared.values()),
        "_configs.py": typed_module(
            "The configuration of every backend, as docs/reference/configuration.md has it.", [backends], used
        ),
    }


def typed_module(what: str, parts: Iterable[str], imported: Sequence[str] = ()) -> str:
    """A module of types, with the imports that they need."""
    text = "\n\n\n".join(parts)

    def used(names: Sequence[str]) -> list[str]:
        return [name for name in names if re.search(rf"\b{name}\b", text)]

    def imports(module: str, names: Sequence[str], indent: str = "") -> str:
        return f"{indent}from {module} import {', '.join(names)}\n" if names else ""

    checked = imports("typing_extensions", used(["Required", "TypeAlias"]), "    ")
    checked += "\n" if checked and imported else ""
    checked += imports("ayni._policies", imported, "    ")
    return (
        f'"""{what}"""\n\n{NOTE}\n\nfrom __future__ import annotations\n\n'
        + imports("collections.abc", used(["Mapping", "Sequence"]))
        + imports("typing", ["TYPE_CHECKING", *used(["Any", "Literal", "TypedDict", "Union"])])
        + f"\nif TYPE_CHECKING:\n{checked}\n\n{text}\n"
    )


def capability_types(types: Types, capability: str, schema: Schema, shapes: dict[str, str]) -> str:
    """The configuration of one capability, and its fields as keyword arguments."""
    names, merged = [], {}
    for variant in schema["oneOf"]:
        tag = variant["properties"]["backend"]["const"]
        name = "".join(word.capitalize() for word in tag.split("_")) + "Config"
        own = {**variant, "required": ["backend"]}
        shapes.setdefault(name, typed_dict(types, name, own))
        names.append(name)
        for field, value in variant["properties"].items():
            merged.setdefault(field, []).append(types.of(value))
    policy = schema["properties"]["policy"]["description"]
    fallback = schema["properties"]["fallback"]["description"]
    http = schema["properties"]["http"]["description"]
    lines = [
        f"{capability}Config: TypeAlias = Union[{', '.join(names)}]",
        docstring(schema["description"], ""),
        "",
        "",
        f"class {capability}Fields(TypedDict, total=False):",
        f'    """Every field of every backend: which belong to which is in ``{capability}Config``."""',
        "",
        *(f"    {field}: {union(kinds)}" for field, kinds in merged.items()),
        f"    policy: Policy\n{docstring(policy, '    ')}",
        f"    fallback: Sequence[{capability}Config]\n{docstring(fallback, '    ')}",
        f"    http: HttpOptions\n{docstring(http, '    ')}",
    ]
    return "\n".join(lines)


# What a class has beside its fields.
METHODS = {
    "Quota": '''
    @property
    def left(self) -> int:
        """What is left for whoever has reserved nothing."""
        return 0 if self.spent else max(0, self.limit - self.used - self.reserved)
''',
    "Money": '''
    def __str__(self) -> str:
        return f"{self.amount} {self.currency}"
''',
}

# Texts that stand for something else: the type, and the function that reads it.
READ = {"Timestamp": ("datetime", "moment"), "Date": ("date", "date.fromisoformat"), "Decimal": ("Decimal", "Decimal")}

# What is asked, not answered: `ayni._procurement` has it.
ASKED = {"ListRequest", "Sorting"}


class Records:
    """The definitions of procurement records as classes."""

    def __init__(self, definitions: dict[str, Schema]) -> None:
        self.definitions = definitions

    def type_and_reader(self, schema: Schema) -> tuple[str, str | None]:
        """A schema as a type, and the function that makes a value of it out of JSON; ``None`` if JSON has it already."""
        if reference := schema.get("$ref"):
            return self.named(reference.rsplit("/", 1)[-1])
        if variants := schema.get("anyOf"):
            known = [variant for variant in variants if variant.get("type") != "null"]
            kind, reader = self.type_and_reader(known[0])
            return f"{kind} | None", reader and f"optional({reader})"
        kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        kind, reader = self.plain(next(kind for kind in kinds if kind != "null"), schema)
        return (f"{kind} | None", reader and f"optional({reader})") if "null" in kinds else (kind, reader)

    def plain(self, kind: str, schema: Schema) -> tuple[str, str | None]:
        if kind == "object":
            return f"Mapping[str, {self.type_and_reader(schema['additionalProperties'])[0]}]", None
        if kind != "array":
            return {"string": "str", "integer": "int", "number": "float", "boolean": "bool"}[kind], None
        if "prefixItems" in schema:
            parts = [self.type_and_reader(item) for item in schema["prefixItems"]]
            readers = ", ".join(reader or "str" for _, reader in parts)
            return f"tuple[{', '.join(kind for kind, _ in parts)}]", f"pair({readers})"
        item, reader = self.type_and_reader(schema["items"])
        return f"tuple[{item}, ...]", f"several({reader})" if reader else "tuple"

    def named(self, name: str) -> tuple[str, str | None]:
        if name in READ:
            return READ[name]
        schema = self.definitions[name]
        if "properties" in schema:
            return name, f"{name}._of"
        if "oneOf" in schema or "enum" in schema:
            return Types().of(schema), None
        return ("str", None) if schema.get("type") == "string" else ("Any", None)

    def record(self, name: str) -> str:
        schema = self.definitions[name]
        required = set(schema.get("required", ()))
        lines = ["@dataclass(frozen=True, slots=True)", f"class {name}:", docstring(schema["description"], "    "), ""]
        arguments = []
        for field, value in schema["properties"].items():
            kind, reader = self.type_and_reader(value)
            lines.append(f"    {field}: {kind}")
            if description := value.get("description"):
                lines.append(docstring(description, "    "))
            nothing = {"array": ", ()", "object": ", {}"}.get(str(value.get("type")), "")
            given = f'fields["{field}"]' if field in required else f'fields.get("{field}"{nothing})'
            arguments.append(f"            {field}={read_by(reader, given)},")
        lines += [METHODS.get(name, "").rstrip(), "", "    @classmethod", f"    def _of(cls, fields: Fields) -> {name}:"]
        return "\n".join([*lines, "        return cls(", *arguments, "        )"]).replace("\n\n\n", "\n\n")


def read_by(reader: str | None, given: str) -> str:
    """The expression that reads a field."""
    if reader is None:
        return given
    if inner := re.fullmatch(r"optional\((.*)\)", reader):
        return f"None if (given := {given}) is None else {inner[1]}(given)"
    return f"{reader}({given})"


def records() -> str:
    definitions = read("records.schema.json")["$defs"]
    made = Records(definitions)
    names = [name for name, schema in definitions.items() if "properties" in schema and name not in ASKED]
    classes = "\n\n\n".join(made.record(name) for name in names)
    return (
        '"""Records of public procurement. Amounts are exact, moments are Santiago\'s, ``raw`` is what the source wrote."""\n\n'
        f"{NOTE}\n\nfrom __future__ import annotations\n\n"
        "from collections.abc import Mapping\nfrom dataclasses import dataclass\nfrom datetime import date, datetime\n"
        "from decimal import Decimal\nfrom typing import Any, Literal\n\n"
        "from ayni._reading import moment, pair, several\n\n"
        f"__all__ = {list_of(sorted(names))}\n\nFields = Mapping[str, Any]\n\n\n{classes}\n"
    )


def main() -> int:
    if sys.argv[1:]:
        print(__doc__)
        return 0 if sys.argv[1] in ("-h", "--help") else 2
    written = {"_errors.py": errors(), **configs(), "records.py": records()}
    # What the services document: FastAPI reads it as it is.
    written["fastapi/openai-requests.schema.json"] = (REFERENCE / "openai-requests.schema.json").read_text()
    for name, text in written.items():
        (PACKAGE / name).write_text(text)
        print((PACKAGE / name).relative_to(ROOT))
    return 0


if __name__ == "__main__":
    sys.exit(main())
