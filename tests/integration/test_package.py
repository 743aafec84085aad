# SPDX-License-Identifier: MIT
"""What `debian/` says of the packages agrees with what the tree says of itself.
The packages themselves are built and used by tests/packages.sh."""

import fnmatch
import json
import re
import subprocess

from support import BUILD, ROOT

DEBIAN = ROOT / "debian"


def rows(purpose):
    """Packages of packages.txt that are there for a purpose."""
    lines = (line.split("#")[0].split() for line in (ROOT / "packages.txt").read_text().splitlines())
    return {line[0] for line in lines if len(line) > 1 and line[1] == purpose}


def field(name):
    """A field of the source paragraph of debian/control, as names without versions."""
    source = (DEBIAN / "control").read_text().split("\n\n")[0]
    value = re.search(rf"^{name}:(.*(?:\n[ \t].*)*)", source, re.M).group(1)
    return {re.split(r"[\s(:]", entry.strip())[0] for entry in value.split(",") if entry.strip()}


def test_packages_are_built_with_what_the_build_needs():
    """GIVEN the rows of packages.txt that a build needs
    WHEN they are compared with the build dependencies of the packages
    THEN both name the same, but for what every Debian package is built with."""
    essential = {"gcc", "libc6-dev", "ninja-build"}  # build-essential; meson's own
    helpers = {"debhelper-compat", "dh-python"}
    assert field("Build-Depends") - helpers == rows("build") - essential


def test_version_of_the_packages_is_the_projects():
    """GIVEN debian/changelog WHEN its newest entry is read THEN its version is meson.build's."""
    entry = re.match(r"mlog \(([^)]+)\)", (DEBIAN / "changelog").read_text())
    project = re.search(r"version: '([^']+)'", (ROOT / "meson.build").read_text())
    assert entry.group(1) == project.group(1)


def test_every_installed_file_belongs_to_one_package():
    """GIVEN the files that `meson install` installs
    WHEN they are looked up in debian/*.install
    THEN each is in exactly one package."""
    said = json.loads(subprocess.run(["meson", "introspect", "--installed", BUILD], check=True,
                                     capture_output=True, text=True).stdout)
    patterns = {path.stem: [line.split()[0] for line in path.read_text().splitlines() if line]
                for path in DEBIAN.glob("*.install")}
    assert len(patterns) == 3
    for target in said.values():
        name = target.removeprefix("/").removeprefix("usr/local/").removeprefix("usr/")
        name = re.sub(r"^lib/([^/]*\.so|pkgconfig/)", r"lib/any/\1", name)
        owners = [package for package, wanted in patterns.items()
                  if any(fnmatch.fnmatch("usr/" + name, each)
                         or ("usr/" + name).startswith(each.rstrip("/") + "/") for each in wanted)]
        assert len(owners) == 1, f"{target} is in {owners or 'no package'}"
