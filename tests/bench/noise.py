"""Whether this machine is quiet enough to conclude anything: a fixed piece of work, timed again and again."""

import hashlib
import statistics
import time

# Of the longest to the median time of the same work. Above it, differences of a tenth mean nothing.
LIMIT = 1.25
BLOCK = bytes(1 << 20)


class Noise:
    def __init__(self):
        self.times = []
        for _ in range(5):
            self.probe()

    def probe(self):
        started = time.perf_counter()
        digest = hashlib.sha256()
        for _ in range(100):
            digest.update(BLOCK)
        self.times.append(time.perf_counter() - started)

    @property
    def spread(self):
        return max(self.times) / statistics.median(self.times)

    def verdict(self):
        text = f"the same work took up to {self.spread:.2f} times its usual time, {len(self.times)} probes"
        if self.spread > LIMIT:
            return f"TOO NOISY to conclude: {text}"
        return f"quiet enough: {text}"
