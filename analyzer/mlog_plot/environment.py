# SPDX-License-Identifier: MIT
"""Makes matplotlib quiet and at home anywhere: without home directory, with one that
cannot be written, without display. To be called before matplotlib is imported.
"""

from __future__ import annotations

import atexit
import logging
import os
import shutil
import sys
import tempfile
import warnings
from pathlib import Path

from .errors import PlotError


def writable(directory: Path) -> bool:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            return True
    except OSError:
        return False


def default_directories() -> list[Path]:
    """The folders in which matplotlib would keep its configuration and its font cache."""
    if os.environ.get("MPLCONFIGDIR"):
        return [Path(os.environ["MPLCONFIGDIR"])]
    home = Path.home()      # raises RuntimeError where there is none
    return [Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config") / "matplotlib",
            Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache") / "matplotlib"]


def prepare() -> None:
    try:
        usable = all(writable(directory) for directory in default_directories())
    except (RuntimeError, OSError):
        usable = False
    if not usable:
        try:
            directory = tempfile.mkdtemp(prefix="mlog-plot-")
        except OSError as error:
            raise PlotError(f"no temporary directory: {error.strerror}") from None
        atexit.register(shutil.rmtree, directory, ignore_errors=True)
        os.environ["MPLCONFIGDIR"] = directory
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    if not sys.warnoptions:
        warnings.simplefilter("ignore")     # glyphs that the font lacks, above all
    os.environ.pop("MPLBACKEND", None)
