"""The fixtures of pytest: each test runs a pytest of its own."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from conftest import Run


def counts(ended: subprocess.CompletedProcess[str]) -> dict[str, int]:
    last = ended.stdout.splitlines()[-1]
    return {what: int(number) for number, what in re.findall(r"(\d+) (passed|failed|error|errors|warnings?)", last)}


def test_a_broker_is_there_and_is_gone(run_pytest: Run) -> None:
    ended = run_pytest(
        """
        import socket
        import paho.mqtt.client as mqtt
        import pytest

        address, kept = [], []

        def test_first(mqtt_broker):
            kept.append(mqtt_broker)
            address.append(mqtt_broker.address)
            client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, "sensor")
            client.connect(*mqtt_broker.address)
            client.loop_start()
            mqtt_broker.wait_for_client("sensor")
            client.publish("sensors/a", "21.5", qos=1)
            mqtt_broker.assert_published("sensors/+", "21.5", qos=1)
            client.loop_stop()

        def test_second(mqtt_broker):
            assert mqtt_broker.published() == []
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(address[0])

        def test_several(mqtt_broker, mqtt_broker_factory):
            other = mqtt_broker_factory()
            other.publish("t")
            assert other.address != mqtt_broker.address
            assert mqtt_broker.published() == []
        """
    )
    assert counts(ended) == {"passed": 3}


def test_settings_from_everywhere(run_pytest: Run) -> None:
    ended = run_pytest(
        """
        import midge
        import pytest

        @pytest.fixture
        def settings(mqtt_broker):
            chosen = mqtt_broker.settings
            return [chosen[key] for key in ("mqtt.max_qos", "mqtt.retain", "queue.capacity")]

        def test_ini_and_command_line(settings, mqtt_broker):
            assert settings == ["1", "false", "7"]
            assert mqtt_broker.timeout == 3.5

        @pytest.mark.mqtt_settings({"mqtt.max_qos": 2}, queue__capacity=8)
        def test_marker(settings):
            assert settings == ["2", "false", "8"]

        @pytest.mark.mqtt_settings(queue__capacity=8)
        class TestIn:
            @pytest.mark.mqtt_settings(queue__capacity=9)
            def test_nearer_marker(self, settings):
                assert settings == ["1", "false", "9"]

        def test_factory(mqtt_broker_factory):
            broker = mqtt_broker_factory({"mqtt.retain": True}, queue__capacity=10, listen=["127.0.0.1:0"] * 2)
            assert (broker.settings["mqtt.retain"], broker.settings["queue.capacity"]) == ("true", "10")
            assert len(broker.addresses) == 2

        def test_wrong(mqtt_broker_factory):
            with pytest.raises(midge.ConfigError, match="mqtt.max_qos"):
                mqtt_broker_factory(mqtt__max_qs=1)
        """,
        "--mqtt-set=queue.capacity=7",
        "--strict-markers",
        pytest_dot_ini="[pytest]\nmqtt_settings =\n    mqtt.max_qos = 1\n    mqtt.retain = false\nmqtt_timeout = 3.5\n",
    )
    assert counts(ended) == {"passed": 5}
    ended = run_pytest("def test(mqtt_broker): pass", "--mqtt-set=wrong", status=1)
    assert "--mqtt-set: 'wrong' is not KEY=VALUE" in ended.stdout
    ended = run_pytest("def test(mqtt_broker): assert mqtt_broker.timeout == 9", "--mqtt-timeout=9")
    assert counts(ended) == {"passed": 1}
    ended = run_pytest("def test(mqtt_broker): pass", pytest_dot_ini="[pytest]\nmqtt_timeout = soon\n", status=1)
    assert "mqtt_timeout: 'soon' is no number of seconds" in ended.stdout


SCOPES = """
    import socket
    import pytest

    kept = {}

    def stopped(address):
        try:
            socket.create_connection(address).close()
        except ConnectionRefusedError:
            return True
        return False

    def same(name, broker):
        first = kept.setdefault(name, broker.address)
        return first == broker.address and not stopped(first)

    @pytest.fixture(scope="SCOPE")
    def mine(SCOPE_mqtt_broker_factory):
        return SCOPE_mqtt_broker_factory({"mqtt.max_qos": 1}, queue__capacity=9)

    class TestOne:
        def test_first(self, SCOPE_mqtt_broker, mine):
            assert same("own", SCOPE_mqtt_broker) and same("made", mine)
            assert mine.address != SCOPE_mqtt_broker.address
            assert (mine.settings["mqtt.max_qos"], mine.settings["queue.capacity"]) == ("1", "9")
            SCOPE_mqtt_broker.publish("t", "kept", retain=True)

        def test_second(self, SCOPE_mqtt_broker, mine, mqtt_broker):
            assert same("own", SCOPE_mqtt_broker) and same("made", mine)
            assert SCOPE_mqtt_broker.retained()[0].payload == b"kept"
            SCOPE_mqtt_broker.assert_published("t", count=1)
            assert not mqtt_broker.published()

    def test_after_the_class():
        assert [stopped(address) for address in kept.values()] == [ENDED] * 2
"""


@pytest.mark.parametrize("scope", ["class", "module", "package", "session"])
def test_brokers_of_longer_life(run_pytest: Run, scope: str) -> None:
    """They serve all tests of their scope, and are gone behind it."""
    text = SCOPES.replace("SCOPE", scope).replace("ENDED", str(scope == "class"))
    ended_before = scope in ("class", "module")
    after = f"""
        import test_it

        def test_after_the_module():
            assert [test_it.stopped(address) for address in test_it.kept.values()] == [{ended_before}] * 2
        """
    at_the_end = """
        import pytest

        @pytest.hookimpl(trylast=True)
        def pytest_sessionfinish(session):
            import test_it
            assert all(test_it.stopped(address) for address in test_it.kept.values())
            print("all of them have stopped")
        """
    ended = run_pytest(text, "-s", test_zz_dot_py=after, conftest_dot_py=at_the_end)
    assert counts(ended) == {"passed": 4}
    assert "all of them have stopped" in ended.stdout


def test_markers_and_settings_of_brokers_of_longer_life(run_pytest: Run) -> None:
    ended = run_pytest(
        """
        import pytest

        pytestmark = pytest.mark.mqtt_settings({"mqtt.max_qos": 1})

        def test_module(module_mqtt_broker):
            assert [module_mqtt_broker.settings[key] for key in ("mqtt.max_qos", "queue.capacity")] == ["1", "7"]

        def test_session(session_mqtt_broker):
            assert [session_mqtt_broker.settings[key] for key in ("mqtt.max_qos", "queue.capacity")] == ["2", "7"]
        """,
        "--mqtt-set=queue.capacity=7",
    )
    assert counts(ended) == {"passed": 2}


def test_a_failure_shows_the_brokers_that_the_test_uses(run_pytest: Run) -> None:
    ended = run_pytest(
        """
        def test_both(module_mqtt_broker, session_mqtt_broker):
            module_mqtt_broker.publish("of/the/module")
            session_mqtt_broker.publish("of/the/session")

        def test_fails(module_mqtt_broker):
            assert False
        """,
        status=1,
    )
    assert counts(ended) == {"failed": 1, "passed": 1}
    assert ended.stdout.count("- mqtt_broker 127.0.0.1:") == 1
    assert "'of/the/module'" in ended.stdout
    assert "'of/the/session'" not in ended.stdout


def test_a_failure_shows_what_came_instead(run_pytest: Run) -> None:
    ended = run_pytest(
        """
        def test_it(mqtt_broker):
            messages = mqtt_broker.subscribe("only/#", qos=1)
            mqtt_broker.publish("rooms/1/light", "off", qos=1)
            mqtt_broker.publish("rooms/1/door", "open")
            mqtt_broker.assert_published("rooms/+/light", "on", timeout=0)
        """,
        status=1,
    )
    assert counts(ended) == {"failed": 1}
    shown = re.sub(r"^E? +", "", ended.stdout, flags=re.M)
    for line in (
        "midge.testing.NotSeen: a message to 'rooms/+/light', payload b'on' was published 0 times, not 1",
        "'rooms/1/light' b'off', QoS 1",
        "'rooms/1/door' b'open', QoS 0",
        "subscription 'only/#' of the program, QoS 1",
        "2 messages published:",
        "messages_dropped_no_subscriber: 2",
    ):
        assert line in shown
    assert "- mqtt_broker 127.0.0.1:" in ended.stdout
    assert "_test_broker.py" not in ended.stdout


def test_a_failure_shows_the_last_messages_and_who_is_away(run_pytest: Run) -> None:
    ended = run_pytest(
        """
        import socket

        def test_fails(mqtt_broker):
            with socket.create_connection(mqtt_broker.address) as client:
                client.sendall(b"\\x10\\x0d\\x00\\x04MQTT\\x04\\x00\\x00\\x3c\\x00\\x01c")
                client.recv(4)
            mqtt_broker.wait_for_no_client("c")
            mqtt_broker.publish_many([(f"t/{number}", "x") for number in range(25)])
            assert False

        def test_passes(mqtt_broker):
            pass
        """,
        "-rP",
        status=1,
    )
    assert counts(ended) == {"failed": 1, "passed": 1}
    assert "client 'c', away\n" in ended.stdout
    assert "25 messages published, the last of them:" in ended.stdout
    assert re.findall(r"^  '(t/\d+)' b'x'", ended.stdout, re.M) == [f"t/{number}" for number in range(5, 25)]
    assert ended.stdout.count("- mqtt_broker 127.0.0.1:") == 1


THREE_HUNDRED = """
    import os, socket
    import pytest

    def connect(broker):
        client = socket.create_connection(broker.address)
        client.sendall(b"\\x10\\x0d\\x00\\x04MQTT\\x04\\x02\\x00\\x3c\\x00\\x01c")
        assert client.recv(4) == b"\\x20\\x02\\x00\\x00"
        return client

    @pytest.mark.parametrize("number", range(300))
    def test_each(mqtt_broker, number):
        with connect(mqtt_broker), mqtt_broker.subscribe("n", qos=1) as messages:
            mqtt_broker.wait_for_client("c")
            mqtt_broker.publish("n", str(number), qos=1, retain=True)
            assert int(messages.get(timeout=30).payload) == number
            mqtt_broker.assert_published("n", str(number), count=1)
            mqtt_broker.advance("1h")
            if number % 7 == 0:
                mqtt_broker.on("n", print)
"""

CONFTEST = """
    import contextlib, gc, json, os, time
    import pytest

    durations = []
    before = None

    def in_use():
        gc.collect()
        return {"threads": len(os.listdir("/proc/self/task")), "descriptors": sorted(descriptors())}

    def descriptors():
        for name in os.listdir("/proc/self/fd"):
            with contextlib.suppress(OSError):  # that of the listing itself
                target = os.readlink(f"/proc/self/fd/{name}")
                if not target.startswith("/"):  # pytest opens and closes files
                    yield target

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(item):
        global before
        if before is None:
            import midge.testing
            before = in_use()

    @pytest.hookimpl(hookwrapper=True)
    def pytest_fixture_setup(fixturedef, request):
        begun = time.perf_counter()
        yield
        if fixturedef.argname == "mqtt_broker":
            durations.append(time.perf_counter() - begun)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(session):
        if durations:
            worker = os.environ.get("PYTEST_XDIST_WORKER", "alone")
            with open(f"{worker}.json", "w") as file:
                json.dump({"before": before, "after": in_use(), "durations": durations}, file)
"""


def test_three_hundred_brokers_leave_nothing_behind(run_pytest: Run, tmp_path: Path) -> None:
    """`pytest -k three_hundred -s` shows the time that each takes to start."""
    ended = run_pytest(THREE_HUNDRED, "-s", "-n", "2", conftest_dot_py=CONFTEST)
    assert counts(ended) == {"passed": 300}
    reports: list[dict[str, Any]] = [json.loads(file.read_text()) for file in sorted(tmp_path.glob("gw*.json"))]
    assert len(reports) == 2
    for report in reports:
        assert report["after"] == report["before"]
    durations = sorted(duration for report in reports for duration in report["durations"])
    assert len(durations) == 300
    milliseconds = [1000 * durations[len(durations) * part // 100] for part in (50, 90)]
    print("\nto start a broker: {:.2f} ms median, {:.2f} ms at 90 %".format(*milliseconds))
