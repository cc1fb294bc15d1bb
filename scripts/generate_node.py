#!/usr/bin/env python3
"""Writes the generated TypeScript of the npm package from docs/reference/: errors, configurations, requests, answers,
records."""

import json
import re
import sys
import textwrap
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT / "docs/reference"
PACKAGE = ROOT / "bindings-node/js/generated"
NOTE = "// Written by `make gen` from the code. Change the code, not this file.\n"
WIDTH = 120

Schema = dict[str, Any]

# What TypeScript knows by another name.
NAMES = {"Secret": "string", "Decimal": "string", "ImageData": "string"}


def read(name: str) -> Any:
    return json.loads((REFERENCE / name).read_text())


def comment(text: str | None, indent: str = "") -> str:
    """A description as a comment of documentation."""
    # Links are rustdoc's, and so is the word for nothing.
    text = re.sub(r"\[(`[^`]+`)\](?:\([^)]*\))?", r"\1", text or "").replace("`None`", "`null`")
    words = " ".join(text.replace("*/", "* /").split())
    if not words:
        return ""
    lines = textwrap.wrap(words, WIDTH - len(indent) - 7)
    if len(lines) == 1:
        return f"{indent}/** {lines[0]} */\n"
    return f"{indent}/**\n" + "".join(f"{indent} * {line}\n" for line in lines) + f"{indent} */\n"


def camel(name: str) -> str:
    return "".join(word.capitalize() for word in name.split("_"))


def type_of(schema: Schema | bool) -> str:
    """A schema as a type."""
    if isinstance(schema, bool):
        return "unknown"
    if reference := schema.get("$ref"):
        name = reference.rsplit("/", 1)[-1]
        return NAMES.get(name, name)
    if "const" in schema:
        return json.dumps(schema["const"])
    if "enum" in schema:
        return " | ".join(json.dumps(value) for value in schema["enum"])
    for key in ("anyOf", "oneOf", "allOf"):
        if key in schema:
            return union([type_of(variant) for variant in schema[key]])
    kinds = schema.get("type")
    return union([simple(kind, schema) for kind in (kinds if isinstance(kinds, list) else [kinds])])


def simple(kind: str | None, schema: Schema) -> str:
    match kind:
        case "string" | "boolean" | "null":
            return kind
        case "integer" | "number":
            return "number"
        case "array" if "prefixItems" in schema:
            return "[" + ", ".join(type_of(item) for item in schema["prefixItems"]) + "]"
        case "array":
            item = type_of(schema.get("items", True))
            return f"readonly ({item})[]" if " " in item else f"readonly {item}[]"
        case "object" if "properties" in schema:
            return "{ " + "; ".join(fields(schema, "", described=False)) + " }"
        case "object":
            return f"Readonly<Record<string, {type_of(schema.get('additionalProperties', True))}>>"
        case _:
            return "unknown"


def union(types: list[str]) -> str:
    parts = list(dict.fromkeys(part for given in types for part in given.split(" | ")))
    if any("{" in given or "(" in given or "[" in given for given in types):
        parts = list(dict.fromkeys(types))
    if "unknown" in parts:
        return "unknown"
    if "string" in parts and any(part.startswith('"') for part in parts):
        # Editors offer the known words, and the type takes others.
        parts[parts.index("string")] = "(string & {})"
    return " | ".join(sorted(parts, key=lambda part: part == "null"))


def fields(schema: Schema, indent: str, described: bool = True) -> list[str]:
    required = set(schema.get("required", ()))
    lines = []
    for name, value in schema["properties"].items():
        told = comment(value.get("description"), indent) if described and isinstance(value, dict) else ""
        # What is optional may be given as undefined too: it is left out then.
        mark, kind = ("", type_of(value)) if name in required else ("?", union([type_of(value), "undefined"]))
        lines.append(f"{told}{indent}{name}{mark}: {kind}")
    return lines


def define(name: str, schema: Schema) -> str:
    told = comment(schema.get("description"))
    if "properties" in schema and "oneOf" not in schema:
        return f"{told}export interface {name} {{\n" + "".join(f"{line};\n" for line in fields(schema, "  ")) + "}\n"
    kind = type_of(schema)
    if len(kind) > WIDTH and (variants := schema.get("oneOf")):
        kind = "".join(f"\n  | {type_of(variant)}" for variant in variants)
    return f"{told}export type {name} ={kind if kind[0] == chr(10) else f' {kind}'};\n"


def definitions(all_of: dict[str, Schema]) -> str:
    return "\n".join(define(name, all_of[name]) for name in sorted(all_of) if name not in NAMES)


def errors() -> str:
    kinds = read("error-kinds.json")
    parts = [NOTE, 'import { AyniError, register } from "../failure.js";\nimport type { ErrorKind } from "./kinds.js";\n']
    for kind in kinds:
        name = camel(kind["kind"])
        parts.append(
            f"{comment(kind['meaning'])}export class {name} extends AyniError {{\n"
            f'  static override readonly code: ErrorKind = "{kind["kind"]}";\n'
            f"  static override readonly usuallyRetryable: boolean = {str(kind['temporary']).lower()};\n}}\n"
            f'register("{name}", {name});\n'
        )
    return "\n".join(parts)


def kinds() -> str:
    names = "".join(f'  "{kind["kind"]}",\n' for kind in read("error-kinds.json"))
    return (
        f"{NOTE}\n/** Every error kind: the same names in Rust, Python and JSON. */\n"
        f"export const errorKinds = Object.freeze([\n{names}] as const);\n\n"
        "/** What went wrong. */\nexport type ErrorKind = (typeof errorKinds)[number];\n"
    )


def configs() -> str:
    shapes: dict[str, str] = {}
    shared: dict[str, Schema] = {}
    setups = []
    for capability in ("embedder", "chat", "image", "procurement"):
        schema = read(f"{capability}-config.schema.json")
        shared.update({name: value for name, value in schema["$defs"].items() if not name.endswith("Config")})
        names = []
        for variant in schema["oneOf"]:
            tag = variant["properties"]["backend"]["const"]
            # The local backends of the capabilities differ in their fields.
            name = f"{camel(capability) if tag == 'local' else ''}{camel(tag)}Config"
            shapes.setdefault(name, define(name, {**variant, "required": ["backend"]}))
            names.append(name)
        common = {**schema, "properties": {n: v for n, v in schema["properties"].items() if n != "fallback"}}
        common.pop("oneOf")
        told = comment(schema["properties"]["fallback"]["description"], "  ")
        own = camel(capability)
        setups.append(
            f"/** A backend of this capability, without policy. */\nexport type {own}Backend =\n"
            + "".join(f"  | {name}\n" for name in names).rstrip() + ";\n\n"
            + f"{comment(schema['description'])}export type {own}Config = {own}Backend & {{\n"
            + "".join(f"{line};\n" for line in fields({**common, "required": []}, "  "))
            + f"{told}  fallback?: readonly {own}Backend[] | undefined;\n}};\n"
        )
    shared.pop("ErrorKind")
    head = f'{NOTE}\nimport type {{ ErrorKind }} from "./kinds.js";\n'
    return "\n".join([head, definitions(shared), *shapes.values(), *setups])


def of_schema(name: str) -> str:
    return f"{NOTE}\n{definitions(read(name)['$defs'])}"


def answers() -> str:
    """Requests and answers have parts: one name for each."""
    shared = json.loads(json.dumps(read("answers.schema.json")["$defs"]).replace("#/$defs/Part\"", "#/$defs/AnswerPart\""))
    shared["AnswerPart"] = shared.pop("Part")
    shared.pop("ErrorKind")
    return f'{NOTE}\nimport type {{ ErrorKind }} from "./kinds.js";\n\n{definitions(shared)}'


def version() -> str:
    found = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]
    return f'{NOTE}\n/** The version shared by crate, wheel and addon. */\nexport const version = "{found}";\n'


def front_page() -> str:
    """The page for people, which the services of both languages show."""
    folder = ROOT / "bindings-python/python/ayni/fastapi/pages"
    page = (folder / "front.html").read_text().replace("/*style*/", (folder / "style.css").read_text())
    # Only the Python services have the routes of documentation.
    page = page.replace(' <a href="docs">Every route, with examples</a>', "")
    page = page.replace(' <a href="openapi.json">openapi.json</a> describes the routes.', "")
    return f"{NOTE}\n/** The page for people; `{{{{title}}}}` and `\"{{{{data}}}}\"` are filled in. */\nexport const front = {json.dumps(page)};\n"


def main() -> int:
    if sys.argv[1:]:
        print(__doc__)
        return 0 if sys.argv[1] in ("-h", "--help") else 2
    written = {
        "answers.ts": answers(),
        "errors.ts": errors(),
        "kinds.ts": kinds(),
        "pages.ts": front_page(),
        "configs.ts": configs(),
        "records.ts": of_schema("records.schema.json"),
        "requests.ts": of_schema("requests.schema.json"),
        "version.ts": version(),
    }
    PACKAGE.mkdir(parents=True, exist_ok=True)
    for name, text in written.items():
        (PACKAGE / name).write_text(re.sub(r"\n{3,}", "\n\n", text))
        print((PACKAGE / name).relative_to(ROOT))
    return 0


if __name__ == "__main__":
    sys.exit(main())
