"""The console of a broker in a Python program: it is part of the package, tells its port, and answers."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from conftest import PATIENCE

import midge
import midge.aio

SETTINGS = {"console.listen": "127.0.0.1:0", "console.tutorial": True}
LOGIN = "Basic " + base64.b64encode(b"admin:public").decode()


@pytest.fixture
def broker() -> Iterator[midge.Broker]:
    with midge.Broker("127.0.0.1:0", SETTINGS) as broker:
        yield broker


def get(broker: midge.Broker, path: str, **headers: str) -> Any:
    assert broker.console_address is not None
    host, port = broker.console_address
    request = urllib.request.Request(f"http://{host}:{port}{path}", headers=headers)
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        return answer.read().decode()


def test_it_answers_on_the_port_that_it_tells(broker: midge.Broker) -> None:
    assert json.loads(get(broker, "/health")) == {"status": "ok"}
    assert "<title>Midge</title>" in get(broker, "/")
    assert broker.console_address not in broker.addresses.values()


def test_it_shows_the_broker_of_this_program(broker: midge.Broker) -> None:
    assert json.loads(get(broker, "/api/v1/clients", Authorization=LOGIN))["total"] == 0
    with socket.create_connection(broker.address, timeout=PATIENCE) as client:
        client.sendall(b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01c")
        assert client.recv(4) == b"\x20\x02\x00\x00"
        (shown,) = json.loads(get(broker, "/api/v1/clients", Authorization=LOGIN))["items"]
        assert shown["client_id"] == "c"
    broker.publish("chat", "hello")
    (dropped,) = json.loads(get(broker, "/api/v1/drops", Authorization=LOGIN))["recent"]
    assert (dropped["topic"], dropped["reason"]) == ("chat", "no_subscriber")


def test_it_wants_a_login(broker: midge.Broker) -> None:
    with pytest.raises(urllib.error.HTTPError, match="401") as raised:
        get(broker, "/api/v1/clients")
    raised.value.close()


def test_its_end_is_that_of_the_broker(broker: midge.Broker) -> None:
    address = broker.console_address
    assert address is not None
    broker.stop()
    assert broker.console_address == address
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, timeout=PATIENCE)


def test_there_is_none_unless_it_is_asked_for() -> None:
    with midge.Broker("127.0.0.1:0") as broker:
        assert broker.console_address is None


def test_without_a_password_it_is_refused() -> None:
    with pytest.raises(midge.ConfigError, match=r"console\.password"):
        midge.Broker("127.0.0.1:0", {"console.listen": "127.0.0.1:0"})


def test_a_port_in_use_is_said(broker: midge.Broker) -> None:
    assert broker.console_address is not None
    host, port = broker.console_address
    with pytest.raises(midge.AddressInUse, match=rf"console\.listen: {host}:{port}: address in use"):
        midge.Broker("127.0.0.1:0", {**SETTINGS, "console.listen": f"{host}:{port}"})


async def of_asyncio() -> str | None:
    async with midge.aio.Broker("127.0.0.1:0", SETTINGS) as broker:
        assert broker.console_address == broker.sync.console_address
        return None if broker.console_address is None else broker.console_address[0]


def test_asyncio_tells_it_too() -> None:
    assert asyncio.run(of_asyncio()) == "127.0.0.1"
