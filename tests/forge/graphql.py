"""As much of GraphQL as clients of forges use: queries with aliases, arguments, variables, fragments. A field, an
argument or a type that the schema does not have is refused, as by a real server.

A schema is {type: {field: Field}}. An object is anything with `typename` (or a dict with "__typename"); its fields
are found by calling the Field with the object and the arguments.
"""

import json
import re

TOKEN = re.compile(
    r"""[\s,\ufeff]+|\#[^\n]*                                  # ignored
    |(?P<punctuation>\.\.\.|[!$():=@\[\]{}|&])
    |(?P<name>[_A-Za-z][_0-9A-Za-z]*)
    |(?P<number>-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)
    |(?P<text>"(?:[^"\\\n]|\\.)*")""",
    re.VERBOSE,
)
DEPTH_MAX = 25


class Error(Exception):
    """Ends the whole query."""


class FieldError(Exception):
    """Makes one field null; `more` goes into the error beside the message."""

    def __init__(self, message, **more):
        super().__init__(message)
        self.more = more


class Field:
    """of: the name of the type of what it gives, None for scalars; arguments: names, a ! behind required ones."""

    def __init__(self, of, resolve, *arguments):
        self.of = of
        self.resolve = resolve
        self.required = {a.rstrip("!") for a in arguments if a.endswith("!")}
        self.arguments = {a.rstrip("!") for a in arguments}


def attribute(name):
    return lambda thing, _: getattr(thing, name)


class Parser:
    def __init__(self, text):
        self.tokens = []
        at = 0
        while at < len(text):
            match = TOKEN.match(text, at)
            if not match:
                raise Error(f"Parse error on {text[at:at + 10]!r}")
            if match.lastgroup:
                self.tokens.append((match.lastgroup, match.group()))
            at = match.end()
        self.tokens.append(("end", ""))
        self.at = 0
        self.fragments = {}

    def peek(self):
        return self.tokens[self.at][1]

    def take(self, expected=None, kind=None):
        found = self.tokens[self.at]
        if (expected is not None and found[1] != expected) or (kind and found[0] != kind):
            raise Error(f"Parse error on {found[1]!r}, expecting {expected or kind}")
        self.at += 1
        return found[1]

    def skip(self, text):
        if self.peek() == text and self.tokens[self.at][0] != "text":
            self.at += 1
            return True
        return False

    def document(self):
        """The one operation: (variables with their defaults, selections)."""
        operation = None
        while self.tokens[self.at][0] != "end":
            if self.skip("fragment"):
                name = self.take(kind="name")
                self.take("on")
                self.fragments[name] = (self.take(kind="name"), self.selections())
                continue
            if operation:
                raise Error("An operation name is required")
            operation = self.operation()
        if operation is None:
            raise Error("A query attribute must be specified and must be a string.")
        return operation

    def operation(self):
        variables = {}
        if self.peek() != "{":
            self.take("query")
            if self.tokens[self.at][0] == "name":
                self.take()
            if self.skip("("):
                while not self.skip(")"):
                    self.variable(variables)
        return variables, self.selections()

    def variable(self, variables):
        self.take("$")
        name = self.take(kind="name")
        self.take(":")
        depth = 0
        while self.skip("["):
            depth += 1
        self.take(kind="name")
        required = self.skip("!")
        for _ in range(depth):
            self.take("]")
            required = self.skip("!")
        default = self.value() if self.skip("=") else None
        variables[name] = (required, default)

    def selections(self):
        self.take("{")
        found = []
        while not self.skip("}"):
            found.append(self.selection())
        if not found:
            raise Error("Parse error: empty selection")
        return found

    def selection(self):
        """("field", alias, name, arguments, selections), ("on", type, selections) or ("spread", name)."""
        if self.skip("..."):
            if self.skip("on"):
                return "on", self.take(kind="name"), self.selections()
            if self.peek() == "{":
                return "on", None, self.selections()
            return "spread", self.take(kind="name")
        name = alias = self.take(kind="name")
        if self.skip(":"):
            name = self.take(kind="name")
        arguments = {}
        if self.skip("("):
            while not self.skip(")"):
                argument = self.take(kind="name")
                self.take(":")
                arguments[argument] = self.value()
        return "field", alias, name, arguments, self.selections() if self.peek() == "{" else None

    def value(self):
        kind, text = self.tokens[self.at]
        if kind == "text":
            self.at += 1
            return json.loads(text)
        if kind == "number":
            self.at += 1
            return json.loads(text)
        if self.skip("["):
            found = []
            while not self.skip("]"):
                found.append(self.value())
            return found
        if self.skip("$"):
            return Variable(self.take(kind="name"))
        return {"true": True, "false": False, "null": None}.get(text, text) if self.take(kind="name") else None


class Variable:
    def __init__(self, name):
        self.name = name


class Query:
    def __init__(self, schema, body):
        text = body.get("query")
        if not isinstance(text, str):
            raise Error("A query attribute must be specified and must be a string.")
        self.schema = schema
        parser = Parser(text)
        declared, self.selections = parser.document()
        self.fragments = parser.fragments
        given = body.get("variables") or {}
        self.variables = {}
        for name, (required, default) in declared.items():
            self.variables[name] = given.get(name, default)
            if required and self.variables[name] is None:
                raise Error(f"Variable ${name} of required type was provided invalid value")
        self.errors = []
        self.check("Query", self.selections, 0)

    def check(self, typename, selections, depth):
        """Everything that can be said without running it."""
        if depth > DEPTH_MAX:
            raise Error("Query has too much depth")
        fields = self.schema.get(typename)
        for selection in selections:
            if selection[0] == "on":
                if selection[1] and selection[1] not in self.schema:
                    raise Error(f"No such type {selection[1]}, so it can't be a fragment condition")
                self.check(selection[1] or typename, selection[2], depth + 1)
            elif selection[0] == "spread":
                if selection[1] not in self.fragments:
                    raise Error(f"Fragment {selection[1]} was used, but not defined")
                self.check(*self.fragments[selection[1]], depth + 1)
            else:
                self.check_field(typename, fields, selection, depth)

    def check_field(self, typename, fields, selection, depth):
        _, _, name, arguments, below = selection
        if name == "__typename":
            return
        field = fields.get(name)
        if field is None:
            raise Error(f"Field '{name}' doesn't exist on type '{typename}'")
        if unknown := set(arguments) - field.arguments:
            raise Error(f"Field '{name}' doesn't accept argument '{sorted(unknown)[0]}'")
        if missing := field.required - set(arguments):
            raise Error(f"Field '{name}' is missing required arguments: {', '.join(sorted(missing))}")
        if (below is None) != (field.of is None):
            raise Error(f"Field '{name}' of type '{field.of or 'scalar'}' and its selections do not agree")
        if below:
            self.check(field.of, below, depth + 1)

    def bind(self, value):
        if isinstance(value, Variable):
            if value.name not in self.variables:
                raise Error(f"Variable ${value.name} is used but not declared")
            return self.variables[value.name]
        return [self.bind(v) for v in value] if isinstance(value, list) else value

    def run(self, thing, typename, selections, path):
        out = {}
        actual = getattr(thing, "typename", typename)
        for selection in selections:
            if selection[0] == "on":
                if selection[1] in (None, actual, typename):
                    out.update(self.run(thing, actual, selection[2], path))
            elif selection[0] == "spread":
                condition, below = self.fragments[selection[1]]
                if condition in (actual, typename):
                    out.update(self.run(thing, actual, below, path))
            elif selection[2] == "__typename":
                out[selection[1]] = actual
            else:
                out[selection[1]] = self.run_field(thing, typename, selection, path + [selection[1]])
        return out

    def run_field(self, thing, typename, selection, path):
        _, _, name, arguments, below = selection
        actual = getattr(thing, "typename", typename)
        field = self.schema.get(actual, {}).get(name) or self.schema[typename][name]
        try:
            value = field.resolve(thing, {k: self.bind(v) for k, v in arguments.items()})
        except FieldError as e:
            self.errors.append({**e.more, "path": path, "locations": [{"line": 1, "column": 1}], "message": str(e)})
            return None
        if below is None or value is None:
            return value
        if isinstance(value, list):
            return [None if v is None else self.run(v, field.of, below, path + [i]) for i, v in enumerate(value)]
        return self.run(value, field.of, below, path)


def published(introspection):
    """The schema that a server says it has: for checks only, its fields give nothing."""

    def named(kind):
        while kind["ofType"]:
            kind = kind["ofType"]
        return None if kind["kind"] in ("SCALAR", "ENUM") else kind["name"]

    def argument(described):
        needed = described["type"]["kind"] == "NON_NULL" and described["defaultValue"] is None
        return described["name"] + ("!" if needed else "")

    schema = {}
    for described in introspection["__schema"]["types"]:
        fields = described["fields"] or []
        schema[described["name"]] = {
            f["name"]: Field(named(f["type"]), None, *map(argument, f["args"])) for f in fields
        }  # fmt: skip
    return schema


def answer(schema, root, body, inspect=None):
    """The object to answer with; inspect(query) may raise Error for a query that is too much."""
    try:
        query = Query(schema, body)
        if inspect:
            inspect(query)
        data = query.run(root, "Query", query.selections, [])
    except Error as e:
        return {"errors": [{"message": str(e), "locations": [{"line": 1, "column": 1}]}]}
    return {"data": data, "errors": query.errors} if query.errors else {"data": data}
