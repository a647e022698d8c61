"""What is installed."""

from __future__ import annotations

import importlib.metadata
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import TOP, finished

import midge

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
    for crate in ("tokio", "bytes", "libc", "parking_lot", "hyper", "prometheus-client"):
        assert f"\n{crate} " in notices
    assert "Copyright (c) Tokio Contributors" in notices
    assert "proptest" not in notices


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


def test_a_package_without_its_library_says_what_to_do(tmp_path: Path) -> None:
    shutil.copytree(HERE, tmp_path / "midge", ignore=shutil.ignore_patterns("libmidge*", "__pycache__"))
    ended = finished([sys.executable, "-c", "import midge"], env={"PYTHONPATH": str(tmp_path)})
    assert ended.returncode == 1
    assert "libmidge.so is missing; install the midge wheel, or name the library in MIDGE_LIBRARY" in ended.stderr
