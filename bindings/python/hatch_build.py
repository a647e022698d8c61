"""Builds the shared library with cargo and puts it beside the package; carries the crate into the sdist.

A wheel also has the licence texts of the crates that are linked into the library, as those licences ask.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

CRATE = ("Cargo.toml", "Cargo.lock", "build.rs", "src", "include", "examples/rust")
"""What cargo needs of the crate, from the top of the repository, besides `named_targets`."""
LICENSES = ("LICENSE-MIT", "LICENSE-APACHE")
FEATURES = ("--no-default-features", "--features", "accounts,console,durable,tls,websocket")
"""The library has the console; the command `midge` is not part of the package."""
TEXTS = re.compile(r"(LICEN[CS]E|COPYING|COPYRIGHT|NOTICE|UNLICENSE)", re.I)


class CargoBuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """The hook that hatchling finds in this file."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Adds the crate to an sdist, or the built library to a wheel."""
        root = Path(self.root)
        crate = find_crate(root)
        if self.target_name == "sdist":
            for name in (*CRATE, *named_targets(crate)):
                if (crate / name).exists():
                    build_data["force_include"][str(crate / name)] = f"crate/{name}"
        else:
            library = strip(build_library(crate), root / "build")
            included = "force_include_editable" if version == "editable" else "force_include"
            build_data[included][str(library)] = f"midge/{library.name}"
            build_data["pure_python"] = False
            build_data["tag"] = f"py3-none-{platform_tag()}"
            notices = root / "build" / "THIRD-PARTY.txt"
            notices.write_text(third_party(crate), encoding="utf-8")
            licenses = f"midge-{self.metadata.version}.dist-info/licenses"
            build_data["force_include"][str(notices)] = f"{licenses}/{notices.name}"
        for name in LICENSES:
            if self.target_name == "sdist" and (crate / name).exists():
                build_data["force_include"][str(crate / name)] = f"crate/{name}"


def named_targets(crate: Path) -> list[str]:
    """The files of the tests and benches that the manifest names. Cargo refuses a manifest whose files are missing."""
    manifest = (crate / "Cargo.toml").read_text(encoding="utf-8")
    named = re.findall(r'^\[\[(test|bench)\]\]\nname = "(\w+)"', manifest, re.M)
    folders = {"test": "tests", "bench": "benches"}
    files = [f"{folders[kind]}/{name}{end}" for kind, name in named for end in (".rs", "/main.rs")]
    return [file for file in files if (crate / file).exists()]


def third_party(crate: Path) -> str:
    """The licence texts of every crate that the library is linked from, each text once."""
    command = [find_cargo(), "metadata", "--format-version=1", "--locked", *FEATURES]
    asked = subprocess.run(
        [*command, "--filter-platform", host(crate)], cwd=crate, stdout=subprocess.PIPE, check=False, text=True
    )
    if asked.returncode != 0:
        raise SystemExit(f"cargo metadata failed with status {asked.returncode}")
    metadata = json.loads(asked.stdout)
    packages = {package["id"]: package for package in metadata["packages"]}
    texts: dict[str, list[str]] = {}
    for name in sorted(linked(metadata), key=lambda name: str(packages[name]["name"])):
        package = packages[name]
        title = f"{package['name']} {package['version']} ({package['license']})"
        folder = Path(package["manifest_path"]).parent
        files = [file for file in sorted(folder.iterdir()) if file.is_file() and TEXTS.match(file.name)]
        for file in files:
            texts.setdefault(file.read_text(encoding="utf-8", errors="replace").strip(), []).append(title)
        if not files:
            texts.setdefault("No text comes with it; the licences are named above.", []).append(title)
    parts = ["\n".join([*titles, "", text]) for text, titles in texts.items()]
    return "The shared library is linked from these crates.\n\n" + f"\n\n{'-' * 72}\n\n".join(parts) + "\n"


def linked(metadata: dict[str, Any]) -> set[str]:
    """The crates that the library is linked from, without itself: what it needs at run time, and what they need."""
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    root = metadata["resolve"]["root"]
    found, todo = {root}, [root]
    while todo:
        for dependency in nodes[todo.pop()]["deps"]:
            at_run_time = any(kind["kind"] is None for kind in dependency["dep_kinds"])
            if at_run_time and dependency["pkg"] not in found:
                found.add(dependency["pkg"])
                todo.append(dependency["pkg"])
    return found - {root}


def host(crate: Path) -> str:
    """The platform as cargo spells it, such as x86_64-unknown-linux-gnu."""
    shown = subprocess.run([find_cargo(), "-vV"], cwd=crate, stdout=subprocess.PIPE, check=True, text=True).stdout
    return next(line.partition(": ")[2] for line in shown.splitlines() if line.startswith("host: "))


def find_cargo() -> str:
    """The path of cargo."""
    cargo = shutil.which(os.environ.get("CARGO", "cargo"))
    if cargo is None:
        raise SystemExit("midge is built with cargo, which is not on the PATH; see https://rustup.rs")
    return cargo


def find_crate(root: Path) -> Path:
    """The folder of Cargo.toml: `crate` in an sdist, the top of the repository in a checkout."""
    for folder in (root / "crate", root.parent.parent):
        if (folder / "Cargo.toml").is_file():
            return folder
    raise SystemExit(f"no Cargo.toml in {root / 'crate'} or {root.parent.parent}")


def build_library(crate: Path) -> Path:
    """Has cargo build the library, and returns the shared one."""
    command = [find_cargo(), "build", "--release", "--locked", "--lib", *FEATURES]
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
