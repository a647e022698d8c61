"""Building, and running the load generator against a broker."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

from .brokers import Broker, pinned
from .machine import TOP

LOAD = TOP / "benches/load"
Result = dict[str, Any]


def build(release: bool) -> dict[str, Path]:
    """Builds Midge and the load generator; where their programs are."""
    profile = ["--release"] if release else []
    target = Path(os.environ.get("CARGO_TARGET_DIR") or TOP / "target").absolute()
    subprocess.run(["cargo", "build", "--quiet", "--features", "cli,console,durable", "--bin", "midge", *profile], cwd=TOP, check=True)
    load = ["cargo", "build", "--quiet", *profile, "--target-dir", str(target / "load")]
    subprocess.run(load, cwd=LOAD, check=True)
    folder = "release" if release else "debug"
    return {
        "midge": target / folder / "midge",
        "midge-load": target / "load" / folder / "midge-load",
        "rawrelay": target / "load" / folder / "rawrelay",
        "rawlog": target / "load" / folder / "rawlog",
    }


class Load:
    """A run of the load generator. With `sync` it waits, when all is set up, to be told to begin."""

    def __init__(
        self,
        program: Path,
        broker: Broker,
        arguments: list[str],
        processors: set[int] | None,
        *,
        sync: bool = False,
        background: bool = False,
    ) -> None:
        command = [str(program), *arguments, "--port", str(broker.port), "--pid", str(broker.pid), "--json"]
        self.sync = sync
        self.process = subprocess.Popen(
            command + (["--sync"] if sync else []),
            stdin=subprocess.PIPE if sync else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=pinned(processors, idle=background),
        )

    def ready(self) -> Load:
        """Waits until all is set up. Its --deadline bounds that."""
        assert self.process.stderr
        self.process.stderr.readline()
        return self

    def begin(self) -> None:
        """Tells it to begin."""
        assert self.process.stdin
        try:
            self.process.stdin.write("\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # It has failed: its result says how.

    def result(self) -> Result:
        """What it has found, when it has ended."""
        out, err = self.process.communicate()
        try:
            found: Result = json.loads(out)
        except ValueError:
            return {"ok": False, "errors": [f"midge-load, status {self.process.returncode}: {err.strip()[-300:]}"]}
        return found


def strace_count(broker: Broker) -> subprocess.Popen[str] | None:
    """Begins to count the broker's system calls by strace, where perf cannot; None where that cannot either."""
    try:
        counting = subprocess.Popen(
            ["strace", "-f", "-c", "-U", "calls,name", "-p", str(broker.pid)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
    except OSError:
        return None
    assert counting.stderr
    counting.stderr.readline()  # It says that it is attached, or why not.
    return counting


def strace_total(counting: subprocess.Popen[str]) -> int | None:
    """Ends the counting: how many calls there were."""
    counting.send_signal(signal.SIGINT)
    _, told = counting.communicate()
    for line in told.splitlines():
        words = line.split()
        if words and words[-1] == "total" and words[0].isdigit():
            return int(words[0])
    return None
