"""Every shell block of docs/console.md, run as it stands."""

import re
import subprocess
from pathlib import Path

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "console.md"


def blocks():
    """The text of each block marked `sh`, and what the block `text` right behind it says that it prints."""
    found = re.findall(r"```sh\n(.*?)```(?:\n\n```text\n(.*?)```)?", DOCUMENT.read_text(), re.DOTALL)
    return [(command, printed) for command, printed in found]


def test_the_examples_run_and_print_what_the_document_says(broker, tmp_path):
    run = 0
    for command, printed in blocks():
        if "midge serve" in command or "ssh " in command:
            continue
        command = command.replace("http://127.0.0.1:18083", broker.console)
        command = command.replace("-p 1883", "-p " + broker.mqtt.rpartition(":")[2])
        outcome = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command], cwd=tmp_path, capture_output=True, text=True, timeout=60
        )
        assert outcome.returncode == 0, (command, outcome)
        # "..." stands for what differs from run to run.
        pattern = ".*".join(re.escape(part) for part in printed.strip().split("..."))
        assert re.fullmatch(pattern, outcome.stdout.strip(), re.DOTALL), (command, outcome.stdout)
        run += 1
    assert run >= 10, run
