"""Requests and answers against a description in OpenAPI 3.0."""

import json
import re
import urllib.parse

import jsonschema

# Said for people, or in another way than JSON Schema does.
NOT_CHECKED = ("example", "examples", "nullable", "description", "default")


class Description:
    def __init__(self, path):
        with open(path, encoding="utf-8") as f:
            self.root = json.load(f)
        self._schemas = {}
        self._paths = []
        for template, item in self.root["paths"].items():
            pattern = ""
            for part in re.split(r"(\{[^}]+\})", template):
                if part.startswith("{"):
                    # Names of refs and paths may hold slashes, and say so.
                    pattern += ".+" if self._multi(item, part[1:-1]) else "[^/]+"
                else:
                    pattern += re.escape(part)
            literal = sum(not p.startswith("{") for p in template.split("/"))
            self._paths.append((-literal, template, re.compile(pattern), item))
        self._paths.sort(key=lambda p: p[:2])

    def _multi(self, item, name):
        for operation in item.values():
            for parameter in operation.get("parameters", []) if isinstance(operation, dict) else []:
                parameter = self.resolve(parameter)
                if parameter["name"] == name and parameter.get("x-multi-segment"):
                    return True
        return False

    def resolve(self, thing):
        while "$ref" in thing:
            found = self.root
            for part in thing["$ref"].removeprefix("#/").split("/"):
                found = found[part.replace("~1", "/").replace("~0", "~")]
            thing = found
        return thing

    def operation(self, method, path):
        """(template, operation) for the path of a request, the most literal one first; None."""
        for _, template, pattern, item in self._paths:
            if pattern.fullmatch(path) and method.lower() in item:
                return template, item[method.lower()]
        return None

    # --- schemas ---

    def validator(self, schema, key):
        if key not in self._schemas:
            self._schemas[key] = jsonschema.Draft4Validator(self._convert(schema, {}))
        return self._schemas[key]

    def _convert(self, schema, known):
        """The same for JSON Schema: references followed, nullable spelt as a type."""
        if "$ref" in schema:
            name = schema["$ref"]
            if name not in known:
                known[name] = {}
                known[name].update(self._convert(self.resolve(schema), known))
            return known[name]
        out = {k: v for k, v in schema.items() if k not in NOT_CHECKED}
        for key in "allOf", "anyOf", "oneOf":
            if key in schema:
                out[key] = [self._convert(s, known) for s in schema[key]]
        if "properties" in schema:
            out["properties"] = {k: self._convert(v, known) for k, v in schema["properties"].items()}
        for key in "items", "additionalProperties", "not":
            if isinstance(schema.get(key), dict):
                out[key] = self._convert(schema[key], known)
        return {"anyOf": [out, {"type": "null"}]} if schema.get("nullable") else out

    # --- checks; each gives a list of texts, empty when all is well ---

    def check_request(self, operation, query):
        """Parameters behind the question mark: known, and of the right kind."""
        known = {}
        for parameter in map(self.resolve, operation.get("parameters", [])):
            if parameter["in"] == "query":
                known[parameter["name"]] = parameter
        problems = []
        for name, value in urllib.parse.parse_qsl(query, keep_blank_values=True):
            if name not in known:
                problems.append(f"query parameter {name} is not described")
            elif not fits(value, self.resolve(known[name].get("schema", {}))):
                problems.append(f"query parameter {name}={value} does not fit {known[name]['schema']}")
        given = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
        missing = [n for n, p in known.items() if p.get("required") and n not in given]
        return problems + [f"query parameter {n} is missing" for n in missing]

    def check_response(self, template, operation, status, content_type, body):
        """body: text, None where the log does not have it."""
        if str(status) not in operation["responses"]:
            return [f"status {status} is not described"]
        content = self.resolve(operation["responses"][str(status)]).get("content", {})
        kind = content_type.partition(";")[0].strip()
        if status == 304 or not content:
            return []
        if kind not in content:
            # Media types that are asked for by Accept are described in words only.
            return [] if kind.startswith("application/vnd.github.") else [f"{kind} is not described for {status}"]
        if "json" not in kind or body is None:
            return []
        try:
            value = json.loads(body)
        except ValueError as e:
            return [f"no JSON: {e}"]
        errors = self.validator(content[kind].get("schema", {}), (template, status, kind)).iter_errors(value)
        return [f'{"/".join(map(str, e.absolute_path))}: {e.message[:200]}' for e in errors]


def fits(value, schema):
    if "enum" in schema and value not in map(str, schema["enum"]):
        return False
    if schema.get("type") == "integer":
        return re.fullmatch("-?[0-9]+", value) is not None
    if schema.get("type") == "boolean":
        return value in ("true", "false")
    return True
