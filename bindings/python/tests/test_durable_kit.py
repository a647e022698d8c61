"""Durable brokers of midge.testing: crashes, restarts, and disks that are slow, full or broken."""

from __future__ import annotations

import gc
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import pytest
from conftest import PATIENCE, Run
from paho.mqtt.enums import CallbackAPIVersion

import midge
from midge.testing import Disk, Fault, TestBroker


@pytest.fixture
def broker() -> Iterator[TestBroker]:
    with TestBroker(timeout=PATIENCE, durable=True) as broker:
        yield broker


class Peer:
    """A paho client that connects again by itself."""

    def __init__(self, broker: TestBroker, client_id: str) -> None:
        self.connected = threading.Event()
        self.present: list[bool] = []
        self.client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id, clean_session=False)
        self.client.reconnect_delay_set(1, 1)
        self.client.on_connect = self._on_connect
        self.client.connect(*broker.address)
        self.client.loop_start()
        assert self.connected.wait(PATIENCE)

    def _on_connect(self, client: Any, data: Any, flags: Any, reason: Any, properties: Any) -> None:
        if not reason.is_failure:
            self.present.append(flags.session_present)
            self.connected.set()

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


def storage(broker: TestBroker) -> midge.StorageStats:
    stats = broker.storage()
    assert stats is not None
    return stats


def test_a_session_is_present_after_a_crash(broker: TestBroker) -> None:
    peer = Peer(broker, "a")
    peer.connected.clear()
    address = broker.address
    broker.crash()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address)
    broker.restart()
    assert peer.connected.wait(PATIENCE)
    assert peer.present == [False, True]
    peer.close()


@pytest.mark.parametrize("power_cut", [False, True])
def test_what_was_not_flushed(broker: TestBroker, power_cut: bool) -> None:
    broker.publish_acknowledged("t", "kept", retain=True, timeout=PATIENCE)
    broker.set_disk(Disk.held())
    with pytest.raises(midge.Timeout):
        broker.publish_acknowledged("u", "x", retain=True, timeout=0)
    broker.advance(0)
    broker.crash(power_cut)
    broker.restart()
    assert [message.topic for message in broker.retained()] == (["t"] if power_cut else ["t", "u"])


def test_a_slow_disk_takes_the_brokers_time(broker: TestBroker) -> None:
    broker.set_disk(Disk.slow("2s"))
    with pytest.raises(midge.Timeout):
        broker.publish_acknowledged("t", "x", retain=True, timeout=0)
    broker.advance("1999ms")
    assert storage(broker).commits == 0
    broker.advance("1ms")
    assert storage(broker).commits == 1


def test_a_full_and_a_broken_disk(broker: TestBroker) -> None:
    broker.set_disk(Disk.full())
    with pytest.raises(midge.ArgumentError):
        broker.publish_acknowledged("t", "x", timeout=PATIENCE)
    broker.set_disk(Disk.well())
    broker.publish_acknowledged("t", "x", retain=True, timeout=PATIENCE)
    for disk in (Disk.write_error(), Disk.flush_error()):
        broker.set_disk(disk)
        with pytest.raises(midge.IoError):
            broker.publish_acknowledged("t", "y", retain=True, timeout=PATIENCE)
        assert storage(broker).state == "failed"
        broker.restart()
        assert storage(broker).state == "ok"


def test_time_passes_while_the_broker_is_down(broker: TestBroker) -> None:
    broker.publish_acknowledged("t", "x", retain=True, expiry=60, timeout=PATIENCE)
    broker.crash()
    broker.advance("59s")
    broker.restart()
    assert broker.time == 59.0
    assert len(broker.retained()) == 1
    broker.crash()
    broker.advance("1s")
    broker.restart()
    assert broker.retained() == []


def test_lives_follow_each_other(broker: TestBroker) -> None:
    heard: list[bytes] = []
    broker.on("t", lambda message: heard.append(message.payload))
    fault = broker.inject(Fault.drop("PUBACK"))
    address = broker.address
    broker.crash()
    for again in (broker.crash, lambda: broker.set_disk(Disk.well())):
        with pytest.raises(midge.Stopped):
            again()
    broker.stop()
    assert "stopped" in repr(broker)
    broker.restart()
    broker.restart()
    assert broker.address == address
    assert "stopped" not in repr(broker)
    broker.publish("t", "x")
    assert [message.payload for message in broker.published("t")] == [b"x"]
    assert fault.hits == 0
    assert heard == []


def test_the_temporary_directory_goes_with_the_broker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    broker = TestBroker(durable=True)
    broker.crash()
    broker.restart()
    (directory,) = tmp_path.iterdir()
    assert (directory / "log.0").is_file()
    del broker
    gc.collect()
    assert list(tmp_path.iterdir()) == []


def test_a_directory_of_the_test_stays(tmp_path: Path) -> None:
    with TestBroker(config={"storage.path": str(tmp_path / "store")}, durable=True) as broker:
        broker.publish_acknowledged("t", "x", retain=True, timeout=PATIENCE)
        broker.crash()
    with midge.Broker("127.0.0.1:0", {"storage.path": str(tmp_path / "store")}) as live:
        assert len(live.retained()) == 1
        with pytest.raises(midge.IoError, match="another broker of this process uses it"):
            broker.restart()
    broker.restart()
    assert len(broker.retained()) == 1
    broker.stop()


def test_a_restart_asks_the_hooks_again() -> None:
    seen: list[str] = []
    hooks = midge.Hooks()

    @hooks.on_connected
    def _connected(client: midge.Connected) -> None:
        seen.append(client.client_id)

    with TestBroker(durable=True, hooks=hooks, timeout=PATIENCE) as broker:
        Peer(broker, "a").close()
        broker.crash()
        broker.restart()
        Peer(broker, "b").close()
        broker.wait_for_no_client("b")
    assert seen == ["a", "b"]


def test_a_broker_in_memory_forgets(broker: TestBroker) -> None:
    with TestBroker(timeout=PATIENCE) as other:
        with pytest.raises(midge.ArgumentError, match="no directory"):
            other.set_disk(Disk.full())
        other.publish("t", "x", retain=True)
        other.crash()
        other.restart()
        assert other.retained() == []


@pytest.mark.parametrize("wrong", [1, "yes", None])
def test_arguments(broker: TestBroker, wrong: Any) -> None:
    for call in (lambda: broker.crash(wrong), lambda: broker.set_disk(wrong), lambda: TestBroker(durable=wrong)):
        with pytest.raises(midge.ArgumentError, match="is needed, not"):
            call()
    with pytest.raises(midge.ArgumentError, match="delay"):
        broker.set_disk(Disk.slow("soon"))


def test_the_fixture(run_pytest: Run) -> None:
    ended = run_pytest(
        """
        def test_first(durable_mqtt_broker, mqtt_broker_factory):
            durable_mqtt_broker.publish_acknowledged("t", "x", retain=True)
            other = mqtt_broker_factory(durable=True)
            for broker in (durable_mqtt_broker, other):
                broker.crash()
                broker.restart()
            assert [len(broker.retained()) for broker in (durable_mqtt_broker, other)] == [1, 0]

        def test_second(durable_mqtt_broker):
            durable_mqtt_broker.crash()
            durable_mqtt_broker.restart()
            assert durable_mqtt_broker.retained() == []
            durable_mqtt_broker.crash()
        """
    )
    assert "2 passed" in ended.stdout
