"""Processes of their own: fork, exit, signals, `python -m midge`."""

from __future__ import annotations

import signal
import socket
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from conftest import PATIENCE, line, started

import midge


def test_a_forked_child_cannot_use_the_broker(run: Any) -> None:
    ended = run(
        """
        import os, threading, warnings
        import midge
        warnings.simplefilter("ignore", DeprecationWarning)  # fork with threads: that is what is tested
        broker = midge.Broker("127.0.0.1:0")
        messages = broker.subscribe("t")
        handler = broker.on("t", print)
        blocked = broker.subscribe("never")
        waiting = threading.Event()
        threading.Thread(target=lambda: (waiting.set(), next(blocked, None)), daemon=True).start()
        waiting.wait()
        child = os.fork()
        if child == 0:
            refused = 0
            for call in (
                lambda: broker.publish("t"),
                lambda: broker.publish("t", qos=1, expiry=3),
                lambda: broker.publish_many([("t", "x")]),
                lambda: broker.subscribe("t"),
                lambda: broker.on("t", print),
                lambda: broker.clients(),
                lambda: broker.subscriptions(),
                lambda: broker.stats(),
                lambda: broker.kick("x"),
                lambda: broker.end_session("x"),
                lambda: broker.queued("x"),
                lambda: broker.clear_queue("x"),
                lambda: broker.stop(),
                lambda: broker.wait(0),
                lambda: messages.get(timeout=5),
                lambda: messages.get(timeout=0),
                lambda: blocked.get(timeout=5),
            ):
                try:
                    call()
                except midge.ForkedError:
                    refused += 1
            messages.close()
            handler.close()
            repr(broker)
            del broker, messages, handler, blocked
            with midge.Broker("127.0.0.1:0") as own, own.subscribe("t") as heard:
                own.publish("t", "works")
                assert heard.get(timeout=30).payload == b"works"
            from midge._library import inside
            assert not inside, inside
            raise SystemExit(refused)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 17, status
        broker.publish("t", "still here")
        assert messages.get(timeout=30).payload == b"still here"
        broker.stop()
        """
    )
    assert "still here" in ended.stdout


@pytest.mark.parametrize("ending", ["", "sys.exit(0)", "raise SystemExit"])
def test_exit_with_a_live_broker(run: Any, ending: str) -> None:
    ended = run(
        f"""
        import sys, threading
        import midge
        broker = midge.Broker("127.0.0.1:0")
        heard = threading.Event()
        handler = broker.on("t", lambda message: heard.set())
        broker.publish("t")
        assert heard.wait(30)
        messages = broker.subscribe("t")
        threading.Thread(target=lambda: list(messages), daemon=True).start()
        print(broker.address[1])
        {ending}
        """
    )
    assert ended.stderr == ""
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(ended.stdout)), timeout=PATIENCE)


def test_exit_by_an_exception_with_a_live_broker(run: Any) -> None:
    ended = run("import midge; broker = midge.Broker('127.0.0.1:0'); 1 / 0", status=1)
    assert "ZeroDivisionError" in ended.stderr


@pytest.mark.parametrize(
    "waiting", ["list(messages)", "messages.get()", "broker.wait()", "messages.get(3600)", "broker.wait(3600)"]
)
def test_ctrl_c_ends_waiting(waiting: str) -> None:
    program = (
        "import signal, midge\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "with midge.Broker('127.0.0.1:0') as broker, broker.subscribe('t') as messages:\n"
        "    try:\n"
        "        print('ready', flush=True)\n"
        f"        {waiting}\n"
        "    except KeyboardInterrupt:\n"
        "        print('interrupted')\n"
    )
    with started("-c", program) as process:
        assert line(process) == "ready"
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=PATIENCE)[0] == "interrupted\n"
        assert process.returncode == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_runs_until_a_signal(number: signal.Signals) -> None:
    with started("-m", "midge", "--listen", "127.0.0.1:0", "--listen", "[::1]:0", "--set", "mqtt.max_qos=1") as process:
        first, second = line(process), line(process)
        assert first.startswith("listening on 127.0.0.1:")
        assert first.endswith(" (tcp)")
        assert second.startswith("listening on [::1]:")
        assert second.endswith(" (tcp-2)")
        port = int(first.split(":")[1].split()[0])
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as client:
            client.sendall(b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01c")
            assert client.recv(4) == b"\x20\x02\x00\x00"
            process.send_signal(number)
            output, errors = process.communicate(timeout=PATIENCE)
            assert (process.returncode, output, errors) == (0, "", "")


def test_the_command_reads_a_file(tmp_path: Path) -> None:
    file = tmp_path / "midge.toml"
    file.write_text('[listener.tcp]\nbind = "127.0.0.1:0"\n')
    with started("-m", "midge", "--config", str(file)) as process:
        assert line(process).startswith("listening on 127.0.0.1:")
        process.terminate()
        process.communicate(timeout=PATIENCE)
        assert process.returncode == 0


def test_what_is_set_on_the_command_line_comes_before_the_file(tmp_path: Path) -> None:
    file = tmp_path / "midge.toml"
    file.write_text('[listener.tcp]\nbind = "127.0.0.1:1"\n')
    with started("-m", "midge", "--config", str(file), "--set", "listener.tcp.bind = 127.0.0.1:0") as process:
        place, port, name = line(process).replace(":", " ").rpartition(" on ")[2].split()
        assert (place, name) == ("127.0.0.1", "(tcp)")
        assert int(port) > 1


def test_the_command_tells_its_version() -> None:
    with started("-m", "midge", "--version") as process:
        assert process.communicate(timeout=PATIENCE) == (f"midge {midge.__version__}\n", "")
        assert process.returncode == 0


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_the_command_tells_where_the_console_is(host: str) -> None:
    console = ("--set", f"console.listen={host}:0", "--set", "console.tutorial=true")
    with started("-m", "midge", "--listen", "127.0.0.1:0", *console) as process:
        assert line(process).startswith("listening on 127.0.0.1:")
        url = line(process)
        assert url.startswith(f"console at http://{host}:")
        with urllib.request.urlopen(url.split()[-1] + "/health", timeout=PATIENCE) as answer:
            assert answer.status == 200
        process.terminate()
        process.communicate(timeout=PATIENCE)
        assert process.returncode == 0


def test_what_the_command_refuses(broker: midge.Broker, tmp_path: Path) -> None:
    host, port = broker.address
    for arguments, status, sentence in (
        (["--listen", f"{host}:{port}"], 1, f"midge: listener.tcp.bind: {host}:{port}: address in use\n"),
        (["--listen", "nowhere"], 2, "listener.tcp.bind"),
        (["--set", "mqtt.max_qos=9"], 2, "mqtt.max_qos"),
        (["--set", "mqtt.max_qs=1"], 2, "mqtt.max_qos"),
        (["--set", "mqtt.max_qos"], 2, "'mqtt.max_qos' is not KEY=VALUE"),
        (["--config", str(tmp_path / "absent.toml")], 2, "absent.toml"),
        (["--wrong"], 2, "--wrong"),
    ):
        with started("-m", "midge", *arguments) as process:
            output, errors = process.communicate(timeout=PATIENCE)
        assert (process.returncode, output) == (status, ""), arguments
        assert sentence in errors
        assert "Traceback" not in errors
