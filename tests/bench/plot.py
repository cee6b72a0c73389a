#!/usr/bin/env python3
"""The figures of runs as an SVG: for each workload and step, bars of every contender over one kind of link.

    tests/bench/plot.py LINK OUT.svg RUN.json...

LINK is as in the tables ("50 ms"), the others are what tests/bench/run --json wrote.
"""

import json
import sys
from xml.sax.saxutils import escape

WIDTH, BAR, GAP, LEFT, TOP = 760, 13, 10, 210, 56
COLOURS = ("#1b6ca8", "#c0392b", "#e08e0b", "#7f8c8d")


STEPS = {"first": "deepest file", "names": "all names", "sizes": "all sizes", "read": "all contents"}


def groups_of(documents, link):
    """For svg(): what was measured over this kind of link, by workload and step."""
    groups = []
    for workload in (w for d in documents for w in d["workloads"]):
        rows = [r for r in workload["cold"] if r["link"] == link]
        for step, text in STEPS.items():
            bars = [(r["contender"], r["seconds"]) for r in rows if r["step"] == step]
            groups.append((f'{workload["name"]}: {text}, {link}', bars))
    return groups


def svg(title, note, groups):
    """groups: a list of (label, [(name, seconds or None)]) in seconds; each group has a scale of its own."""
    rows = sum(len(bars) for _, bars in groups)
    height = TOP + rows * (BAR + 3) + len(groups) * GAP + 40
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" font-family="sans-serif"'
        ' font-size="11">',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="12" y="22" font-size="15" font-weight="bold">{escape(title)}</text>',
        f'<text x="12" y="40" fill="#555555">{escape(note)}</text>',
    ]
    y = TOP
    for label, bars in groups:
        longest = max((s for _, s in bars if s is not None), default=1)
        out.append(f'<text x="12" y="{y + BAR - 2}">{escape(label)}</text>')
        for i, (name, seconds) in enumerate(bars):
            if seconds is not None:
                width = max(2, (WIDTH - LEFT - 250) * seconds / longest)
                colour = COLOURS[i % len(COLOURS)]
                out.append(f'<rect x="{LEFT}" y="{y}" width="{width:.1f}" height="{BAR}" fill="{colour}"/>')
                text = f"{name} {seconds:.2f} s"
                out.append(f'<text x="{LEFT + width + 5:.1f}" y="{y + BAR - 2}">{escape(text)}</text>')
            y += BAR + 3
        y += GAP
    out.append("</svg>")
    return "\n".join(out) + "\n"


def main():
    link, target, *sources = sys.argv[1:]
    documents = []
    for source in sources:
        with open(source, encoding="utf-8") as f:
            documents.append(json.load(f))
    noise = max(d["noise"] for d in documents)
    note = f"the same work took up to {noise:.2f} times its usual time; each group has its own scale"
    with open(target, "w", encoding="utf-8") as f:
        f.write(svg("From nothing to ...", note, groups_of(documents, link)))


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    main()
