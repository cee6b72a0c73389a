#!/usr/bin/env python3
"""Caches are layers of their own, and in use.

R14: every cache has a writer and a reader in what ships, outside its own files: nothing is kept that nobody asks
for. R34: the file-system code (daemon/fuse) knows of none of them, and forges put objects into the store but keep
nothing that was found there."""

import re

import tree

# What belongs to the cache itself -> (functions that fill it, functions that ask it).
CACHES = {
    r"daemon/store/(store|disk|memory)[^/]*$": (
        ("store_put", "store_put_take", "store_writer_commit"), ("store_get", "store_get_resident", "store_stat"),
    ),
    r"daemon/store/memory[^/]*$": (("memory_tier_put",), ("memory_tier_get", "memory_tier_stat")),
    r"daemon/store/disk[^/]*$": (("disk_tier_commit",), ("disk_tier_get", "disk_tier_stat")),
    r"daemon/store/index[^/]*$": (("index_put",), ("index_get", "index_peek")),
    r"daemon/store/catalog[^/]*$": (("catalog_add",), ("catalog_find",)),
    r"daemon/store/documents[^/]*$": (("documents_put",), ("documents_get",)),
    r"daemon/tree/listing-cache[^/]*$": (("listing_cache_add",), ("listing_cache_get",)),
    r"daemon/object/base-cache[^/]*$": (("base_cache_put",), ("base_cache_get",)),
}  # fmt: skip

# A folder -> headers of caches that it may not include.
STRANGERS = {
    "daemon/fuse/": ("store/", "tree/listing-cache", "object/base-cache"),
    "daemon/forge/": ("store/memory", "store/disk", "store/index", "store/catalog", "tree/"),
    "ctl/": ("store/", "tree/"),
}


def callers(function, own, sources):
    call = re.compile(rf"\b{function}\(")
    return [path for path, text in sources.items() if not re.match(own, path) and call.search(text)]


def main():
    sources = {p: tree.read(p) for p in tree.files(".c", ".h") if p.startswith(("daemon/", "ctl/"))}
    problems = []
    for own, (writers, readers) in CACHES.items():
        for function in writers + readers:
            if not callers(function, own, {p: t for p, t in sources.items() if p.endswith(".c")}):
                problems.append(f"{function}(): nothing that ships calls it")
    for folder, headers in STRANGERS.items():
        for path in (p for p in sources if p.startswith(folder)):
            for header in headers:
                if f'#include "{header}' in sources[path]:
                    problems.append(f"{path}: {header} is no business of {folder}")
    tree.finish(problems, f"{len(CACHES)} caches are written and read; {len(STRANGERS)} layers know none")


main()
