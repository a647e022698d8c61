"""Builds the shared library with cargo and puts it beside the package; carries the crate into the sdist."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

# What cargo needs of the crate, from the top of the repository. `examples` and `tests` only because the manifest
# may name files in them.
CRATE = ("Cargo.toml", "Cargo.lock", "build.rs", "src", "include", "examples/rust", "tests/header.rs")
LICENSES = ("LICENSE-MIT", "LICENSE-APACHE")


class CargoBuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """The hook that hatchling finds in this file."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Adds the crate to an sdist, or the built library to a wheel."""
        root = Path(self.root)
        crate = find_crate(root)
        if self.target_name == "sdist":
            for name in CRATE:
                if (crate / name).exists():
                    build_data["force_include"][str(crate / name)] = f"crate/{name}"
        else:
            library = strip(build_library(crate), root / "build")
            included = "force_include_editable" if version == "editable" else "force_include"
            build_data[included][str(library)] = f"midge/{library.name}"
            build_data["pure_python"] = False
            build_data["tag"] = f"py3-none-{platform_tag()}"
        for name in LICENSES:
            if self.target_name == "sdist" and (crate / name).exists():
                build_data["force_include"][str(crate / name)] = f"crate/{name}"


def find_crate(root: Path) -> Path:
    """The folder of Cargo.toml: `crate` in an sdist, the top of the repository in a checkout."""
    for folder in (root / "crate", root.parent.parent):
        if (folder / "Cargo.toml").is_file():
            return folder
    raise SystemExit(f"no Cargo.toml in {root / 'crate'} or {root.parent.parent}")


def build_library(crate: Path) -> Path:
    """Has cargo build the library, and returns the shared one."""
    cargo = shutil.which(os.environ.get("CARGO", "cargo"))
    if cargo is None:
        raise SystemExit("midge is built with cargo, which is not on the PATH; see https://rustup.rs")
    command = [cargo, "build", "--release", "--locked", "--lib", "--no-default-features"]
    command.append("--message-format=json-render-diagnostics")
    built = subprocess.run(command, cwd=crate, stdout=subprocess.PIPE, check=False)
    if built.returncode != 0:
        raise SystemExit(f"cargo failed with status {built.returncode}")
    for line in built.stdout.splitlines():
        message = json.loads(line)
        if message["reason"] == "compiler-artifact" and message["target"]["name"] == "midge":
            for name in message["filenames"]:
                if name.endswith((".so", ".dylib", ".dll")):
                    return Path(name)
    raise SystemExit("cargo built no shared library")


def strip(library: Path, folder: Path) -> Path:
    """A copy without debug information, for which a wheel has no use."""
    folder.mkdir(parents=True, exist_ok=True)
    copy = folder / library.name
    shutil.copyfile(library, copy)
    tool = shutil.which("strip")
    if tool is not None and sys.platform == "linux":
        subprocess.run([tool, "--strip-unneeded", str(copy)], check=True)
    return copy


def platform_tag() -> str:
    """The platform as wheels spell it, such as linux_x86_64."""
    return sysconfig.get_platform().replace("-", "_").replace(".", "_")
