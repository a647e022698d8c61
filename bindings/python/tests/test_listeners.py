"""Listeners of a broker that runs: Unix domain sockets, adding, pausing, stopping."""

from __future__ import annotations

import asyncio
import os
import queue
import socket
from pathlib import Path

import pytest
from conftest import PATIENCE

import midge
import midge.aio

CONNECT = b"\x10\x0f\x00\x04MQTT\x04\x02\x00\x3c\x00\x03one"
CONNACK = b"\x20\x02\x00\x00"


def greet(connection: socket.socket) -> socket.socket:
    connection.settimeout(PATIENCE)
    connection.sendall(CONNECT)
    assert connection.recv(4) == CONNACK
    return connection


def test_a_listener_is_added_listed_and_stopped(broker: midge.Broker) -> None:
    address = broker.add_listener("lan", "127.0.0.1:0", max_connections=3)
    host, port = broker.addresses["lan"]
    assert address == f"{host}:{port}"
    client = greet(socket.create_connection((host, port)))
    tcp, lan = broker.listeners()
    assert (tcp.name, tcp.state, tcp.connections, tcp.max_connections) == ("tcp", "accepting", 0, None)
    assert lan == midge.Listener("lan", address, "tcp", "accepting", 1, 3, 1, 0, {})
    broker.pause_listener("lan")
    assert broker.listeners()[1].state == "paused"
    broker.resume_listener("lan")
    assert broker.listeners()[1].state == "accepting"
    broker.stop_listener("lan", disconnect=True)
    assert client.recv(1) == b""
    assert [listener.name for listener in broker.listeners()] == ["tcp"]


def test_a_stopped_listener_keeps_its_connections(broker: midge.Broker) -> None:
    client = greet(socket.create_connection(broker.address))
    broker.stop_listener("tcp")
    client.sendall(b"\xc0\x00")
    assert client.recv(2) == b"\xd0\x00"
    with pytest.raises(midge.StateError, match="no listener"):
        _ = broker.address


def test_a_unix_socket_is_a_listener(broker: midge.Broker, tmp_path: Path) -> None:
    path = tmp_path / "mqtt.sock"
    assert broker.add_listener("local", f"unix:{path}", unix_mode="0600") == f"unix:{path}"
    assert path.stat().st_mode & 0o777 == 0o600
    assert "local" not in broker.addresses
    client = socket.socket(socket.AF_UNIX)
    client.connect(str(path))
    greet(client)
    shown = broker.clients()[0]
    assert (shown.uid, shown.gid, shown.pid) == (os.geteuid(), os.getegid(), os.getpid())
    assert shown.address == f"unix:uid={shown.uid},gid={shown.gid},pid={shown.pid}"
    broker.stop_listener("local")
    assert not path.exists()


def test_hooks_are_told_the_process_at_a_unix_socket(tmp_path: Path) -> None:
    told: queue.SimpleQueue[midge.ConnectRequest | midge.AccessRequest | midge.Connected] = queue.SimpleQueue()
    hooks = midge.Hooks()
    hooks.on_connected(told.put)

    @hooks.authenticate
    def let_in(request: midge.ConnectRequest) -> bool:
        told.put(request)
        return True

    @hooks.authorize
    def allow(request: midge.AccessRequest) -> bool:
        told.put(request)
        return True

    config = {"listener.local.bind": f"unix:{tmp_path}/mqtt.sock"}
    with midge.Broker("127.0.0.1:0", config, hooks=hooks) as broker:
        client = socket.socket(socket.AF_UNIX)
        client.connect(f"{tmp_path}/mqtt.sock")
        greet(client)
        client.sendall(b"\x82\x06\x00\x01\x00\x01t\x00")
        for _ in range(3):
            one = told.get(timeout=PATIENCE)
            assert (one.uid, one.gid, one.pid) == (os.geteuid(), os.getegid(), os.getpid())
        far = socket.create_connection(broker.address)
        greet(far)
        one = told.get(timeout=PATIENCE)
        assert (one.uid, one.gid, one.pid) == (None, None, None)
        far.close()
        client.close()


def test_errors_name_the_listener(broker: midge.Broker) -> None:
    with pytest.raises(midge.ArgumentError, match='has a listener "tcp" already'):
        broker.add_listener("tcp", "127.0.0.1:0")
    with pytest.raises(midge.AddressInUse, match=r"listener\.lan\.bind"):
        broker.add_listener("lan", "{}:{}".format(*broker.address))
    with pytest.raises(midge.ConfigError, match=r"off|needs an address"):
        broker.add_listener("lan", "off")
    with pytest.raises(midge.ConfigError, match=r"listener\.lan\.port: unknown setting"):
        broker.add_listener("lan", "127.0.0.1:0", port=1)
    for change in (broker.stop_listener, broker.pause_listener, broker.resume_listener):
        with pytest.raises(midge.ArgumentError, match='no listener "lan"'):
            change("lan")


def test_a_broker_of_asyncio_has_them(tmp_path: Path) -> None:
    async def main() -> None:
        async with midge.aio.Broker("127.0.0.1:0") as broker:
            await broker.add_listener("lan", "127.0.0.1:0")
            broker.pause_listener("lan")
            assert [listener.state for listener in broker.listeners()] == ["accepting", "paused"]
            broker.resume_listener("lan")
            await broker.stop_listener("lan", disconnect=True)
            assert len(broker.listeners()) == 1

    asyncio.run(main())


def test_a_connection_is_adopted_with_a_transport(broker: midge.Broker) -> None:
    ours, theirs = socket.socketpair()
    with pytest.raises(midge.ArgumentError, match="transport"):
        broker.adopt(theirs, "tcp", transport="quic")
    with pytest.raises(midge.ConfigError, match=r"listener\.tcp"):
        broker.adopt(theirs, "tcp", transport="tls")
    broker.adopt(theirs, "tcp", transport="tcp")
    greet(ours)
