"""Hatchling's hook: wheels, source distributions and editable installs carry the dashboard's libraries."""

import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

HERE = Path(__file__).parent


class LibrariesHook(BuildHookInterface):
    """Brings the libraries in before files are collected (`artifacts` in pyproject.toml names the folder)."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called before each target is built."""
        sys.path.insert(0, str(HERE))
        try:
            import libraries
        finally:
            sys.path.remove(str(HERE))
        try:
            libraries.bring()
        except libraries.LibrariesError as error:
            self.app.abort(str(error))
