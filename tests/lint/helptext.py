#!/usr/bin/env python3
"""What a program's --help tells, its manual page and its completion tell as well.

Usage: helptext.py PROGRAM PAGE [COMPLETION]"""

import re
import subprocess
import sys

import tree

VERB = re.compile(r"^  ((?:[a-z]+ ?)+)(?= |$)", re.MULTILINE)
OPTION = re.compile(r"(?<![\w-])--([a-z][a-z-]*)")


def main():
    program, page, *completion = sys.argv[1:]
    text = subprocess.run([program, "--help"], text=True, capture_output=True, check=True).stdout
    verbs = {verb.strip() for verb in VERB.findall(text)}
    options = set(OPTION.findall(text))
    manual = tree.read(page)
    problems = [f"{page}: {verb} is missing" for verb in sorted(verbs) if f".It Cm {verb}" not in manual]
    problems += [f"{page}: --{name} is missing" for name in sorted(options) if f"Fl -{name}" not in manual]
    for path in completion:
        words = set(re.findall(r"[\w-]+", tree.read(path)))
        wanted = {word for verb in verbs for word in verb.split()} | {f"--{name}" for name in options}
        problems += [f"{path}: {word} is missing" for word in sorted(wanted - words)]
    tree.finish(problems, f"{len(verbs)} verbs and {len(options)} options are documented")


main()
