"""Mininet topologies, the sandbox they live in, and the servers that run on them.

Mininet comes from the distribution, packaged for the system's interpreter; ResetLB has an environment of its own.
Importing this package makes that one distribution package importable, and nothing beside it.
"""

import importlib.machinery
import sys
from collections.abc import Sequence

DISTRIBUTION_PACKAGES = "/usr/lib/python3/dist-packages"


class _MininetOfTheDistribution:
    """Finds `mininet`, and only `mininet`, where Debian and Ubuntu install it; asked last, so an own copy wins."""

    @staticmethod
    def find_spec(
        name: str, _path: Sequence[str] | None = None, _target: object = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != "mininet":
            return None
        return importlib.machinery.PathFinder.find_spec(name, [DISTRIBUTION_PACKAGES])


if not any(finder is _MininetOfTheDistribution for finder in sys.meta_path):
    sys.meta_path.append(_MininetOfTheDistribution)
