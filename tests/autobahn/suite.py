"""Runs Autobahn's cases against the echo, and compares their outcomes with those that MQTT asks for.

The cases run twice: as they are, where text is refused; and with text made binary beside the layer, so that the many
cases of frames, fragments and sizes that Autobahn writes with text run as well. Groups 12 and 13 are about compression,
which is not offered. An outcome that differs without a reason in DIFFERENCES fails the run.
"""

from __future__ import annotations

import fnmatch
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

SECONDS = 1200
TEXT = "text, refused with 1003 [MQTT-6.0.0-1]"
EMPTY = "an empty message, of which a stream of bytes has nothing to echo"
UTF8 = "text that is no UTF-8, which binary frames may carry"
REFUSED_AS_TEXT = 1003
BINARY_AND_EMPTY = ["1.2.1", "9.8.1"]
NO_UTF8 = ["6.3.*", "6.4.*", "6.6.1", "6.6.3", "6.6.4", "6.6.6", "6.6.8", "6.6.10", "6.8.*", "6.10.*", "6.11.5"]
NO_UTF8 += [f"6.{group}.*" for group in range(12, 22)]
DIFFERENCES: dict[str, dict[str, list[str]]] = {
    "text refused": {EMPTY: BINARY_AND_EMPTY},
    "text as binary": {EMPTY: [*BINARY_AND_EMPTY, "1.1.1", "6.1.1", "6.1.2", "9.7.1"], UTF8: NO_UTF8},
}


def run(wstest: str, echo: list[str], where: Path) -> dict[str, dict[str, Any]]:
    """The outcome of each case."""
    with subprocess.Popen(echo, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            port = int(process.stdout.readline())
            server = {"agent": "midge", "url": f"ws://127.0.0.1:{port}/", "protocols": ["mqtt"]}
            spec = {
                "outdir": str(where / "reports"),
                "servers": [server],
                "cases": ["*"],
                "exclude-cases": ["12.*", "13.*"],
                "exclude-agent-cases": {},
            }
            (where / "spec.json").write_text(json.dumps(spec), encoding="utf-8")
            with (where / "log").open("w", encoding="utf-8") as log:
                command = [wstest, "-m", "fuzzingclient", "-s", str(where / "spec.json")]
                subprocess.run(command, stdout=log, stderr=log, check=True, timeout=SECONDS)
        finally:
            process.kill()
    found: dict[str, dict[str, Any]] = json.loads((where / "reports/index.json").read_text(encoding="utf-8"))["midge"]
    return found


def reason(name: str, case: str, outcome: dict[str, Any]) -> str | None:
    """Why a case may differ."""
    if name == "text refused" and outcome["remoteCloseCode"] == REFUSED_AS_TEXT:
        return TEXT
    for why, patterns in DIFFERENCES[name].items():
        if any(fnmatch.fnmatchcase(case, pattern) for pattern in patterns):
            return why
    return None


def main() -> None:
    """Runs both passes, and prints their counts."""
    wstest, echo, where = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    failed = False
    for name in DIFFERENCES:
        place = where / name.replace(" ", "-")
        place.mkdir(parents=True, exist_ok=True)
        outcomes = run(wstest, [echo, *(["--text"] if name == "text as binary" else [])], place)
        counts: Counter[str] = Counter()
        for case, outcome in sorted(outcomes.items()):
            is_right = outcome["behavior"] in ("OK", "NON-STRICT", "INFORMATIONAL")
            is_right &= outcome["behaviorClose"] in ("OK", "INFORMATIONAL")
            why = reason(name, case, outcome)
            if is_right:
                counts["passed"] += 1
            elif why:
                counts[why] += 1
            else:
                failed = True
                print(f"{name}: case {case}: {outcome['behavior']}, closing {outcome['behaviorClose']}")
        print(f"{name}: {len(outcomes)} cases: " + ", ".join(f"{count} {what}" for what, count in counts.items()))
    sys.exit(failed)


if __name__ == "__main__":
    main()
