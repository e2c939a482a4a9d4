"""The `inquest` command, wherever the application's rooms lie."""

from inquest import _path
from workers.cli import main

__all__ = ["_path", "main"]
