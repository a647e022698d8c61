"""Who may connect: a password file by settings, read again by a call, and the refusal to be open to all."""

from __future__ import annotations

import socket
import struct
from pathlib import Path

import pytest

import midge

PATIENCE = 20
SECRET = (
    "$7$101$hqR93+XoHWTzC0sZ$Issi0o4rD/nZ3Kfv/F49KT9rjoLvJt+qSAGopJw9+Q8AzH16vTfYA0Yug9XPWUXDga3V31TNwgRMK8pR4k2uwg=="
)
"""`secret`, by Debian's mosquitto_passwd."""


def return_code(address: tuple[str, int], user: str) -> int:
    """The answer to a CONNECT of MQTT 3.1.1 with the password `secret`."""
    body = b"\x00\x04MQTT\x04\xc2\x00\x00"
    for text in (b"c", user.encode(), b"secret"):
        body += struct.pack("!H", len(text)) + text
    with socket.create_connection(address, PATIENCE) as stream:
        stream.sendall(bytes([0x10, len(body)]) + body)
        answer = b""
        while len(answer) < 4:
            answer += stream.recv(4 - len(answer))
    return answer[3]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "passwords"
    file.write_text(f"ann:{SECRET}\n")
    return file


def test_users_connect_by_their_passwords(file: Path) -> None:
    with midge.Broker(config={"listener.tcp.bind": "127.0.0.1:0", "access.password_file": str(file)}) as broker:

        def codes() -> list[int]:
            return [return_code(broker.address, user) for user in ("ann", "bob")]

        assert codes() == [0, 4]
        file.write_text(f"bob:{SECRET}\n")
        broker.reload_access()
        assert codes() == [4, 0]
        file.write_text(f"ann:{SECRET}\nbob\n")
        with pytest.raises(midge.MidgeError, match=r"access\.password_file: .*: line 2: a line is user:hash"):
            broker.reload_access()
        assert codes() == [4, 0]


def test_nobody_listens_for_other_machines_by_mistake() -> None:
    with pytest.raises(midge.MidgeError, match=r"access\.anonymous = true"):
        midge.Broker(config={"listener.tcp.bind": "0.0.0.0:0"})
    with midge.Broker(config={"listener.tcp.bind": "0.0.0.0:0", "access.anonymous": True}) as broker:
        assert return_code(("127.0.0.1", broker.address[1]), "max") == 0
