"""A short storm; `make storm` has long ones."""

import sys
from pathlib import Path

import pytest
from conftest import finished


@pytest.mark.skipif(sys.platform != "linux", reason="counts in /proc")
def test_a_storm_leaves_nothing_behind() -> None:
    ended = finished([sys.executable, str(Path(__file__).with_name("storm.py")), "2"])
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "messages acknowledged and told" in ended.stdout
