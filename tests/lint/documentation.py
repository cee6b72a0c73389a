#!/usr/bin/env python3
"""Every option is documented, and nothing else is (R22): the tables in daemon/config, the manual page and
the example configuration tell the same options with the same defaults.

Usage: documentation.py PROGRAM, which prints "section<TAB>key<TAB>default" for each option."""

import re
import subprocess
import sys

import tree

PAGE = "packaging/man/gitfs.conf.5"
EXAMPLE = "packaging/gitfs.conf"


def built_in(program):
    """{(section, key): default} of the program."""
    text = subprocess.run([program], text=True, capture_output=True, check=True).stdout
    rows = (line.split("\t") for line in text.splitlines())
    return {(section, key): default for section, key, default in rows}


def in_page():
    """{(section, key): its text} of the manual page."""
    options, section, key = {}, None, None
    for line in tree.read(PAGE).splitlines():
        heading = re.fullmatch(r"\.Ss The \[(\w+)\] section", line)
        item = re.fullmatch(r"\.It Sy (\w+)=", line)
        if heading:
            section, key = heading.group(1), None
        elif item and section:
            key = item.group(1)
            options[section, key] = ""
        elif line.startswith((".El", ".Sh")):
            key = None
        elif key:
            options[section, key] += line + "\n"
    return options


def in_example():
    """{(section, key): default} of the example, where each option stands commented out."""
    options, section = {}, None
    for line in tree.read(EXAMPLE).splitlines():
        heading = re.fullmatch(r"\[(\w+)\]", line)
        option = re.fullmatch(r"#(\w+)=(.*)", line)
        if heading:
            section = heading.group(1)
        elif option:
            options[section, option.group(1)] = option.group(2)
    return options


def compare(options, documented, where):
    for section, key in options.keys() - documented.keys():
        yield f"{where}: [{section}] {key}= is missing"
    for section, key in documented.keys() - options.keys():
        yield f"{where}: [{section}] {key}= does not exist"


def main():
    options, page, example = built_in(sys.argv[1]), in_page(), in_example()
    global_options = {name: default for name, default in options.items() if name[0] != "Org"}
    problems = [*compare(options, page, PAGE), *compare(global_options, example, EXAMPLE)]
    for name, default in options.items():
        if default and f"Default: {default}." not in page.get(name, ""):
            problems.append(f"{PAGE}: [{name[0]}] {name[1]}=: should say \"Default: {default}.\"")
        if name in example and example[name] != default:
            problems.append(f"{EXAMPLE}: [{name[0]}] {name[1]}=: the default is \"{default}\"")
    tree.finish(problems, f"{len(options)} options are documented")


main()
