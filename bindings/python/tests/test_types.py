"""What type checkers say of programs that use Midge."""

from __future__ import annotations

import importlib.util
import inspect
import json
import os
import re
import sys
import typing
from pathlib import Path
from typing import Any

import pytest
from conftest import finished

import midge
import midge.aio
from midge import _subscription

TYPED = Path(__file__).with_name("typed")
SOURCE = Path(midge.__file__).parents[1]
Lines = set[tuple[str, int]]


def wrong() -> Lines:
    """The lines that say that they are wrong."""
    return {
        (path.name, number)
        for path in TYPED.glob("*.py")
        for number, text in enumerate(path.read_text().splitlines(), 1)
        if text.endswith("# wrong")
    }


def by_mypy(work: Path) -> Lines:
    """The lines in which mypy finds an error."""
    environment = dict(os.environ)
    if SOURCE.name != "site-packages":
        environment["MYPYPATH"] = str(SOURCE)
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(work), "--config-file=", "--no-pretty"]
    ended = finished([*command, *map(str, sorted(TYPED.glob("*.py")))], cwd=work, env=environment)
    assert ended.stderr == ""
    found = re.findall(r"^(.+?):(\d+): error: ", ended.stdout, flags=re.M)
    return {(Path(path).name, int(number)) for path, number in found}


def by_pyright(work: Path) -> Lines:
    """The lines in which pyright finds an error; in the form that its fork has, which a wheel brings as a whole."""
    paths = [] if SOURCE.name == "site-packages" else [str(SOURCE)]
    settings = {"include": [str(TYPED)], "extraPaths": paths, "typeCheckingMode": "strict"}
    (work / "pyrightconfig.json").write_text(json.dumps(settings))
    command = [sys.executable, "-m", "basedpyright", "--outputjson", "--pythonpath", sys.executable, "-p", str(work)]
    ended = finished(command, cwd=work)
    found = json.loads(ended.stdout)
    assert found["summary"]["filesAnalyzed"] == 2, found
    return {
        (Path(error["file"]).name, error["range"]["start"]["line"] + 1)
        for error in found["generalDiagnostics"]
        if error["severity"] == "error"
    }


@pytest.mark.parametrize(("checker", "run"), [("mypy", by_mypy), ("basedpyright", by_pyright)])
def test_a_type_checker_takes_what_is_right_and_refuses_what_is_wrong(checker: str, run: Any, tmp_path: Path) -> None:
    if importlib.util.find_spec(checker) is None:
        pytest.skip(f"{checker} is not here")
    expected = wrong()
    assert len(expected) > 20
    assert run(tmp_path) == expected


def test_the_literals_are_what_the_calls_take(broker: midge.Broker) -> None:
    for qos in typing.get_args(midge.QoS):
        broker.publish("t", qos=qos)
        broker.subscribe("t", qos=qos)
    for overflow in typing.get_args(midge.Overflow):
        broker.subscribe("t", overflow=overflow)
    for handling in typing.get_args(midge.RetainHandling):
        broker.subscribe("t", retain_handling=handling)
    assert set(typing.get_args(midge.QoS)) == {0, 1, 2}
    assert set(_subscription.OVERFLOW) == set(typing.get_args(midge.Overflow))


def test_the_names_of_options_are_those_of_the_calls() -> None:
    def keywords(call: Any, but: set[str]) -> list[str]:
        kinds = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        given = inspect.signature(call).parameters.values()
        return [parameter.name for parameter in given if parameter.kind in kinds and parameter.name not in but]

    properties = list(midge.PublishProperties.__annotations__)
    options = list(midge.SubscribeOptions.__annotations__)
    message, subscription = {"self", "topic", "payload", "qos", "retain"}, {"self", "filter", "qos"}
    assert keywords(midge.Broker.publish, message) == properties
    assert keywords(midge.Broker.subscribe, subscription) == options
    assert keywords(midge.aio.Broker.subscribe, subscription) == options
