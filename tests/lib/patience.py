"""Patience with a daemon under a tool that slows it down (tests/sanitize/run says which). Without one nothing changes."""

import json
import os

TOOL = os.environ.get("GITFS_TOOL")
# How many times longer everything may take.
TIMES = int(os.environ.get("GITFS_PATIENCE", "1"))
# Cases that mean nothing under the tool, and why: {name: reason}.
EXCLUDED = json.loads(os.environ.get("GITFS_EXCLUDED", "{}"))


def memory_is_ours():
    """Whether the size of the daemon says something about the daemon."""
    return not TOOL
