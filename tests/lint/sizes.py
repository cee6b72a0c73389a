#!/usr/bin/env python3
"""Files and functions stay small enough to be read in one go."""

import re

import tree

FILE_LIMIT = 1000
FILE_HINT = 600
FUNCTION_LIMIT = 120
FUNCTION_HINT = 60

# Comments, strings and character constants; a brace or quote inside them means nothing.
NOISE = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.DOTALL)
DIRECTIVE = re.compile(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", re.MULTILINE)
NAME = re.compile(r"(\w+)\s*\(")


def blank(match):
    return "\n" * match.group().count("\n")


def functions(text):
    """Yields (name, first line, number of lines) of every function definition."""
    text = DIRECTIVE.sub(blank, NOISE.sub(blank, text))
    depth, line, head, start, name = 0, 1, "", 0, None
    for char in text:
        if depth == 0 and char not in "{};":
            if not head.strip() and not char.isspace():
                start = line
            head += char
        elif depth == 0:
            name = None
            if char == "{" and head.rstrip().endswith(")") and "=" not in head:
                names = [n for n in NAME.findall(head) if n != "__attribute__"]
                name = names[0] if names else None
            head = ""
        if char == "{":
            depth += 1
        elif char == "}":
            depth -= 1
            if depth == 0 and name:
                yield name, start, line - start + 1
                name = None
        elif char == "\n":
            line += 1


def main():
    problems, hints, n_files, n_functions = [], [], 0, 0
    for path in tree.files(".c", ".h"):
        text = tree.read(path)
        length = text.count("\n")
        n_files += 1
        if length > FILE_LIMIT:
            problems.append(f"{path}: {length} lines, the limit is {FILE_LIMIT}: split it")
        elif length > FILE_HINT:
            hints.append(f"hint: {path}: {length} lines")
        for name, line, lines in functions(text):
            n_functions += 1
            if lines > FUNCTION_LIMIT:
                problems.append(f"{path}:{line}: {name}(): {lines} lines, the limit is {FUNCTION_LIMIT}")
            elif lines > FUNCTION_HINT:
                hints.append(f"hint: {path}:{line}: {name}(): {lines} lines")
    print("\n".join(hints))
    tree.finish(problems, f"{n_functions} functions in {n_files} files keep within the limits")


main()
