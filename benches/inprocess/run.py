#!/usr/bin/env python3
"""Midge inside a process beside its anchors, alternately in one run: `make bench-inprocess` (ROUNDS=5).

What is not installed is left out: libzmq3-dev, libmosquitto-dev and mosquitto, paho-mqtt 2, and rumqttd's link, which
is built from benches/inprocess/rumqttd if RUMQTTD=yes.

ONLY="start memory" measures only these. BESIDE=folder runs the C program with the libmidge.so.0 of another build, too.
"""

from __future__ import annotations

import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
TOP = HERE.parents[1]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", TOP / "target"))
OUT = TARGET / "inprocess"
ROUNDS = int(os.environ.get("ROUNDS", "5"))
SCALE = float(os.environ.get("SCALE", "1"))
ONLY = os.environ.get("ONLY", "").split()
BESIDE = os.environ.get("BESIDE")
ENV = dict(os.environ)


def compile_c(name: str, *flags: str) -> list[str] | None:
    program = OUT / name
    built = subprocess.run(
        [
            "gcc",
            "-O2",
            "-o",
            str(program),
            str(HERE / f"{name}.c"),
            *flags,
            "-lpthread",
        ],
        capture_output=True,
        text=True,
    )
    if built.returncode:
        print(f"left out: {name} ({built.stderr.strip().splitlines()[0]})")
        return None
    return [str(program)]


def mosquitto() -> subprocess.Popen[bytes] | None:
    path = shutil.which("mosquitto", path=os.environ["PATH"] + ":/usr/sbin")
    if path is None:
        return None
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = tempfile.NamedTemporaryFile("w", suffix=".conf", delete=False)
    config.write(
        f"listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\n"
    )
    config.close()
    process = subprocess.Popen(
        [path, "-c", config.name], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    ENV.update(PORT=str(port), PID=str(process.pid))
    for _ in range(100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.05)
    return process


def build() -> dict[str, list[str]]:
    subprocess.run(
        ["cargo", "build", "--quiet", "--release", "--lib", "--no-default-features"],
        cwd=TOP,
        check=True,
    )
    OUT.mkdir(parents=True, exist_ok=True)
    library = TARGET / "release"
    link = OUT / "libmidge.so.0"
    link.unlink(missing_ok=True)
    link.symlink_to(library / "libmidge.so")
    programs = {
        "midge": compile_c(
            "midge",
            f"-I{TOP}/include",
            str(library / "libmidge.so"),
            f"-Wl,-rpath,{OUT}",
        ),
        "libzmq": compile_c("zmq", "-lzmq"),
        "mosquitto": compile_c("mosquitto", "-lmosquitto"),
    }
    if os.environ.get("RUMQTTD") == "yes":
        target = Path(os.environ.get("RUMQTTD_TARGET", TARGET / "rumqttd"))
        command = [
            "cargo",
            "build",
            "--quiet",
            "--release",
            "--target-dir",
            str(target),
        ]
        subprocess.run(command, cwd=HERE / "rumqttd", check=True)
        programs["rumqttd"] = [str(target / "release/rumqttd-link-bench")]
    ENV.update(
        MIDGE_LIBRARY=str(library / "libmidge.so"),
        PYTHONPATH=str(TOP / "bindings/python/src"),
    )
    return {name: program for name, program in programs.items() if program}


def measure(command: list[str]) -> list[float] | None:
    try:
        ended = subprocess.run(
            command, capture_output=True, text=True, env=ENV, timeout=120
        )
    except subprocess.TimeoutExpired:
        return None
    return (
        [float(word) for word in ended.stdout.split()]
        if ended.returncode == 0 and ended.stdout
        else None
    )


def main() -> None:
    programs = build()
    server = mosquitto()
    if server is None:
        programs.pop("mosquitto", None)
    counts = {
        "midge": 3_000_000,
        "libzmq": 2_000_000,
        "rumqttd": 300_000,
        "mosquitto": 60_000,
    }
    work: list[tuple[str, str, list[str]]] = []
    for size in ("64", "1024"):
        for name, program in programs.items():
            count = str(int(counts[name] * SCALE))
            work.append(
                (
                    f"{size} B: messages/s, CPU ns each",
                    name,
                    [*program, "throughput", size, count],
                )
            )
    for name, program in programs.items():
        work.append(
            (
                "waiting thread at 1,000/s: p50 us",
                name,
                [*program, "waiting", str(int(1000 * SCALE))],
            )
        )
    midge = programs["midge"]
    work.append(
        (
            "one thread, 64 B: CPU ns each",
            "midge",
            [*midge, "alone", "64", str(int(2e6 * SCALE))],
        )
    )
    work.append(
        (
            "direct callback: p50 us, CPU ns each",
            "midge",
            [*midge, "direct", str(int(5e5 * SCALE))],
        )
    )
    work.append(
        (
            "start, stop (first), start, stop (median of 20): us",
            "midge",
            [*midge, "start", "20"],
        )
    )
    work.append(
        (
            "resident memory of a started broker, of it anonymous, of a second one: KiB",
            "midge",
            [*midge, "memory"],
        )
    )
    python = [sys.executable, str(HERE / "python_midge.py"), str(int(200_000 * SCALE))]
    work.append(("Python: published one by one/s, taken in batches/s", "midge", python))
    if server is not None:
        paho = [sys.executable, str(HERE / "python_paho.py"), str(int(20_000 * SCALE))]
        work.append(
            (
                "Python: published one by one/s, taken in batches/s",
                "paho + mosquitto",
                paho,
            )
        )
    if BESIDE:
        other = ["env", f"LD_LIBRARY_PATH={Path(BESIDE).resolve()}"]
        work += [
            (what, "midge, the other build", [*other, *command])
            for what, name, command in work
            if command[0] == midge[0]
        ]
    if ONLY:
        work = [one for one in work if any(word in one[2] for word in ONLY)]
    found: dict[tuple[str, str], list[list[float]]] = {}
    for number in range(ROUNDS):
        print(f"round {number + 1} of {ROUNDS}", file=sys.stderr)
        for what, name, command in work:
            result = measure(command)
            if result is not None:
                found.setdefault((what, name), []).append(result)
    if server is not None:
        server.terminate()
        server.wait()
    print(
        "| work | who | median (least to most), one for each figure | rounds |\n|---|---|---|---|"
    )
    for (what, name), rounds in found.items():
        cells = []
        for values in zip(*rounds):
            cells.append(
                f"{statistics.median(values):,.4g} ({min(values):,.4g} to {max(values):,.4g})"
            )
        print(f"| {what} | {name} | {'; '.join(cells)} | {len(rounds)} |")


if __name__ == "__main__":
    main()
