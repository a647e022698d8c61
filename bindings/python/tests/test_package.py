"""What is installed."""

from __future__ import annotations

import ast
import importlib.metadata
import json
import re
import runpy
import shutil
import sys
import types
from pathlib import Path
from typing import Any

import pytest
from conftest import TOP, finished

import midge
from midge import _library

HERE = Path(midge.__file__).resolve().parent


@pytest.fixture
def installed() -> importlib.metadata.Distribution:
    try:
        found = importlib.metadata.distribution("midge")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("midge runs from its sources; run.sh installs the wheel")
    return found


def test_the_versions_agree(installed: importlib.metadata.Distribution) -> None:
    assert installed.version == midge.__version__


def test_the_wheel_has_the_licences(installed: importlib.metadata.Distribution) -> None:
    assert installed.metadata["License-Expression"] == "MIT OR Apache-2.0"
    files = {Path(file).name: Path(str(installed.locate_file(file))) for file in installed.files or []}
    for name in ("LICENSE-MIT", "LICENSE-APACHE"):
        assert files[name].parent.name == "licenses"
        assert files[name].read_text() == (TOP / name).read_text()
    notices = files["THIRD-PARTY.txt"].read_text()
    for crate in ("tokio", "bytes", "libc", "rustix-futex-sync", "hyper", "prometheus-client"):
        assert f"\n{crate} " in notices
    assert "Copyright (c) Tokio Contributors" in notices
    assert "proptest" not in notices


def test_the_wheel_serves_every_python_and_holds_the_library(installed: importlib.metadata.Distribution) -> None:
    tags = re.findall(r"^Tag: (.*)$", installed.read_text("WHEEL") or "", flags=re.M)
    assert [tag.startswith("py3-none-") and tag != "py3-none-any" for tag in tags] == [True]
    assert "libmidge.so" in {Path(file).name for file in installed.files or []}
    assert installed.metadata["Requires-Python"] == ">=3.9"


def test_it_takes_python_3_9_and_later_and_names_linux() -> None:
    """run.sh runs all tests with each version that is here."""
    project = (TOP / "bindings" / "python" / "pyproject.toml").read_text()
    assert 'requires-python = ">=3.9"' in project
    assert [line for line in project.splitlines() if "Operating System" in line] == [
        '    "Operating System :: POSIX :: Linux",'
    ]
    assert "${PYTHONS-3.9 3.10 3.11 3.12 3.13" in (TOP / "bindings" / "python" / "tests" / "run.sh").read_text()


def test_a_build_is_cargo_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    interface = types.ModuleType("hatchling.builders.hooks.plugin.interface")
    interface.BuildHookInterface = object  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, interface.__name__, interface)
    build = types.SimpleNamespace(**runpy.run_path(str(TOP / "bindings" / "python" / "hatch_build.py")))
    monkeypatch.setenv("CARGO", str(tmp_path / "cargo"))
    with pytest.raises(SystemExit, match="built with cargo, which is not on the PATH"):
        build.find_cargo()
    artifact = {"reason": "compiler-artifact", "target": {"name": "midge"}, "filenames": ["/a/libmidge.so"]}
    (tmp_path / "cargo").write_text(f"#!/bin/sh\necho \"$@\" > arguments\necho '{json.dumps(artifact)}'\n")
    (tmp_path / "cargo").chmod(0o755)
    assert build.build_library(tmp_path) == Path("/a/libmidge.so")
    assert (tmp_path / "arguments").read_text().startswith("build --release --locked --lib ")


def test_it_needs_no_other_package(installed: importlib.metadata.Distribution) -> None:
    assert [line for line in installed.requires or [] if "extra ==" not in line] == []


def test_the_licences_beside_the_package_are_those_of_the_project() -> None:
    for name in ("LICENSE-MIT", "LICENSE-APACHE"):
        assert (TOP / "bindings" / "python" / name).read_bytes() == (TOP / name).read_bytes()


def test_every_public_name_is_there() -> None:
    assert midge.__all__ == sorted(midge.__all__)
    assert all(hasattr(midge, name) for name in midge.__all__)


def test_importing_midge_imports_little(run: Any) -> None:
    ended = run("import sys, midge; print(*sys.modules)")
    loaded = set(ended.stdout.split())
    assert "midge._broker" in loaded
    assert not loaded & {"asyncio", "pytest", "_pytest", "unittest", "subprocess", "multiprocessing"}


def test_a_missing_library_is_an_import_error(tmp_path: Path) -> None:
    ended = finished(
        [sys.executable, "-c", "import midge"],
        env={"MIDGE_LIBRARY": str(tmp_path / "absent.so"), "PYTHONPATH": str(HERE.parent)},
    )
    assert ended.returncode == 1
    assert "absent.so" in ended.stderr


def test_midge_library_names_another_library(tmp_path: Path) -> None:
    other = tmp_path / "other.so"
    shutil.copyfile(_library.find(), other)
    program = "import midge; print('other.so' in open('/proc/self/maps').read(), midge._library.find())"
    ended = finished([sys.executable, "-c", program], env={"MIDGE_LIBRARY": str(other), "PYTHONPATH": str(HERE.parent)})
    assert ended.stdout.split() == ["True", str(other)], ended.stderr


def test_the_package_imports_nothing_but_the_standard_library() -> None:
    """But pytest, where its plugin is loaded by it."""
    if not hasattr(sys, "stdlib_module_names"):
        pytest.skip("this Python does not tell the names of its library")
    # typing_extensions is there for type checkers alone.
    known = {"midge", "pytest", "typing_extensions"} | sys.stdlib_module_names
    for path in HERE.glob("*.py"):
        for step in ast.walk(ast.parse(path.read_text())):
            names = [step.module] if isinstance(step, ast.ImportFrom) else []
            names += [alias.name for alias in step.names] if isinstance(step, ast.Import) else []
            for name in names:
                assert (name or "").partition(".")[0] in known, f"{path.name}: {name}"


def test_a_package_without_its_library_says_what_to_do(tmp_path: Path) -> None:
    shutil.copytree(HERE, tmp_path / "midge", ignore=shutil.ignore_patterns("libmidge*", "__pycache__"))
    ended = finished([sys.executable, "-c", "import midge"], env={"PYTHONPATH": str(tmp_path)})
    assert ended.returncode == 1
    assert "libmidge.so is missing; install the midge wheel, or name the library in MIDGE_LIBRARY" in ended.stderr
