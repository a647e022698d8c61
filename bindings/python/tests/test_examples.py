"""What docstrings and pages show, run."""

from __future__ import annotations

import asyncio
import doctest
import importlib
import pkgutil
import re
import threading
from typing import Any

import pytest
from conftest import TOP, Run

import midge
import midge.aio
import midge.testing

NAMES = (module.name for module in pkgutil.iter_modules(midge.__path__, "midge."))
PAGES = ["README.md", "bindings/python/README.md", "docs/python.md", "docs/embedding.md", "docs/listeners.md"]
MODULES = sorted(name for name in NAMES if "__main__" not in name and "libmidge" not in name)


@pytest.mark.parametrize("name", ["midge", *MODULES])
def test_docstrings(name: str) -> None:
    """Each docstring has `broker`, of its own, and some modules."""
    module = importlib.import_module(name)
    known = {"midge": midge, "asyncio": asyncio, "threading": threading}
    finder = doctest.DocTestFinder(exclude_empty=True)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.IGNORE_EXCEPTION_DETAIL)
    for test in finder.find(module, name, globs=known):
        said: list[str] = []
        with midge.Broker("127.0.0.1:0") as broker:
            test.globs["broker"] = broker
            failed, _ = runner.run(test, out=said.append)
        assert failed == 0, "".join(said)


@pytest.mark.parametrize(
    "owner",
    [midge.Broker, midge.Config, midge.Message, midge.Subscription.get, midge.Broker.publish, midge.Broker.publish_many,
     midge.Broker.subscribe, midge.Broker.on, midge.Broker.stats, midge.aio.Broker, midge.aio.Subscription],
)  # fmt: skip
def test_the_main_names_show_their_use(owner: object) -> None:
    assert ">>> " in (owner.__doc__ or "")


def blocks(page: str) -> list[tuple[int, str, str | None]]:
    """The Python blocks of a Markdown page: their lines, and what they print, which is the block behind it if any."""
    text = (TOP / page).read_text(encoding="utf-8")
    found = re.finditer(r"^```python\n(.*?)^```$(?:\n\n^```text\n(.*?)^```$)?", text, flags=re.S | re.M)
    return [(text.count("\n", 0, block.start()) + 2, block[1], block[2]) for block in found]


@pytest.mark.parametrize(
    ("page", "line", "program", "printed"),
    [(page, *block) for page in PAGES for block in blocks(page)],
    ids=lambda value: value if isinstance(value, (str, int)) and len(str(value)) < 30 else "",
)
def test_pages(
    page: str, line: int, program: str, printed: str | None, run_pytest: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each block is a program of its own; one with tests is for pytest. A page shows what its programs print."""
    if "def test_" in program:
        tests = program.count("def test_")
        assert f"{tests} passed" in run_pytest(program).stdout
        return
    code = compile("\n" * (line - 1) + program, page, "exec")
    exec(code, {"__name__": "__main__"})
    shown = capsys.readouterr().out
    if printed is not None:
        difference = f"{page}:{line} prints\n{shown}and the page says\n{printed}"
        assert doctest.OutputChecker().check_output(printed, shown, doctest.ELLIPSIS), difference
    else:
        assert not shown or "README" in page, f"{page}:{line} prints what the page does not say:\n{shown}"


def test_the_benchmark_runs(run: Any) -> None:
    program = str(TOP / "bindings" / "python" / "benches" / "inprocess.py")
    ended = run(
        "import runpy, sys; sys.argv[:] = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')",
        program,
        "--messages=300",
        "--rounds=2",
    )
    rows = [line.rpartition("  ")[2] for line in ended.stdout.splitlines()[1:]]
    assert len(rows) == 4
    assert all(row.endswith(" x bare") for row in rows)
