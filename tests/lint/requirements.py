#!/usr/bin/env python3
"""Which requirements do tests prove? Prints each number of tests/requirements.txt with the tests that
cite it, and those that none cites yet. A citation of a number that does not exist is an error."""

import re

import tree

LIST = "tests/requirements.txt"
NUMBER = re.compile(r"\b[RF][1-9][0-9]?\b")


def wanted():
    """Number -> one line of what it asks for, in the order of the list."""
    lines = (line.split(None, 1) for line in tree.read(LIST).splitlines() if not line.startswith("#"))
    return dict(lines)


def citations(path):
    return {match.group(): path for match in NUMBER.finditer(tree.read(path))}


def main():
    requirements = wanted()
    cited, problems = {}, []
    for path in tree.files(".c", ".h", ".py", ".sh"):
        # The goals of the benchmark have numbers of their own, and a benchmark proves nothing.
        if not path.startswith("tests/") or path.startswith("tests/bench/") or path.endswith("lint/requirements.py"):
            continue
        for number in citations(path):
            if number in requirements:
                cited.setdefault(number, []).append(path)
            else:
                problems.append(f"{path}: cites {number}, which {LIST} does not list")
    for number, text in requirements.items():
        print(f"{number:4} {text}")
        for path in cited.get(number, ["(no test yet)"]):
            print(f"       {path}")
    left = [number for number in requirements if number not in cited]
    print(f"left to later: {' '.join(left) or 'none'}")
    tree.finish(problems, f"{len(cited)} of {len(requirements)} requirements are cited by tests")


main()
