"""What the figures are held against. Each goal is a limit on a figure that the same run has measured both sides of."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Goal:
    key: str
    text: str
    must: float
    stretch: float = None


GOALS = {
    g.key: g
    for g in (
        Goal("W1", "warm find, find -printf, ls -lR / ext4", 1.05, 0.85),
        Goal("W2", "warm grep -r / ext4", 1.10, 1.05),
        Goal("W3a", "warm tar / ext4", 1.25, 1.10),
        Goal("W3b", "warm open+read+close of all / ext4", 1.5, 1.35),
        Goal("W4", "warm random lstat, 4 threads / ext4", 1.7, 1.4),
        Goal("W5a", "warm read of 512 MB / ext4", 2.0, 1.6),
        Goal("W5b", "warm random reads of 4 KiB / ext4", 1.1, 1.0),
        Goal("W6", "requests to the daemon in a warm pass / entries", 0.01, 0.0),
        Goal("K1", "cold kernel, hot daemon: find -printf / ext4 cold", 1.15, 0.6),
        Goal("K2", "cold kernel, hot daemon: tar / ext4 cold", 1.1, 0.35),
        Goal("K1r", "the same: requests / directory", 2.05),
        Goal("K2r", "the same: READs / file", 1.1, 0.2),
        Goal("K3", "processor time for a request / floor server", 1.3, 1.1),
        Goal("K4", "2 GB/s / cold kernel, hot daemon: read of 512 MB", 1.0, 0.69),
        Goal("K4f", "the same / floor server", 1.3, 1.1),
        Goal("R1", "first file / blob:none + git show", 0.65, 0.5),
        Goal("R2", "next file: (seconds - one round trip) / 15 ms", 1.0),
        Goal("R3", "names of a large tree / clone --depth 1", 0.06, 0.035),
        Goal("R4", "sizes of a large tree / clone --depth 1", 0.15, 0.06),
        Goal("R4s", "sizes of a small tree / clone --depth 1", 0.35),
        Goal("R1t", "first file at 50 ms - at 0 ms, in round trips", 5.0, 4.0),
        Goal("R3t", "names at 50 ms - at 0 ms, in round trips", 4.0, 3.0),
        Goal("R4t", "sizes at 50 ms - at 0 ms, in round trips", 5.0),
        Goal("R5", "sizes out of contents / clone --depth 1", 0.8, 0.6),
        Goal("R6", "full read / (clone --depth 1 + read)", 1.0, 0.7),
        Goal("R7", "requests of a full read / (5 + files/1000)", 1.0),
        Goal("R8a", "bytes of a full read / pack of depth 1", 1.02),
        Goal("R8b", "bytes for names / (pack of all trees + 49 per size)", 1.05),
        Goal("R9", "full read at 50 ms - at 0 ms, in round trips", 6.0, 4.0),
        Goal("M1", "private memory / (20 MiB + 10 MiB per 100,000 entries)", 1.0, 0.7),
    )
}


def verdict(goal, value):
    """"met", "met (stretch)", or by how much it is missed."""
    if goal.stretch is not None and value <= goal.stretch:
        return "met (stretch)"
    if value <= goal.must:
        return "met"
    return f"missed by {value / goal.must:.2f} x" if goal.must else "missed"
