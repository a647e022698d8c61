"""The broker's log as records of Python's."""

from __future__ import annotations

import ctypes
import logging
import socket
import threading
from typing import Any

import pytest
from conftest import PATIENCE

import midge
from midge import _ffi, _log
from midge._library import inside
from midge.testing import TestBroker


def connect(broker: midge.Broker) -> None:
    with socket.create_connection(broker.address, timeout=PATIENCE) as client:
        client.sendall(b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01c")
        assert client.recv(4) == b"\x20\x02\x00\x00"


def test_what_happens_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, logger="midge"):
        with TestBroker(log="debug", timeout=PATIENCE) as broker:
            connect(broker)
            broker.wait_for_no_client("c")
            broker.advance(0)
        records = [record for record in caplog.records if record.name == "midge"]
    assert {record.levelno for record in records} <= {logging.ERROR, logging.WARNING, logging.INFO, logging.DEBUG}
    text = "\n".join(record.getMessage() for record in records)
    assert "{}:{}".format(*broker.address) in text
    assert "c" in {getattr(record, "client_id", None) for record in records}
    assert any(record.levelno == logging.INFO for record in records)


def test_levels(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, logger="midge"):
        for level in (None, "error", logging.CRITICAL):
            with midge.Broker("127.0.0.1:0", log=level) as broker:
                connect(broker)
        assert caplog.records == []
        with midge.Broker("127.0.0.1:0", log=logging.INFO):
            pass
        assert caplog.records != []
        assert all(record.levelno >= logging.INFO for record in caplog.records)
    for wrong in ("loud", 1.5, True, ""):
        with pytest.raises(midge.ArgumentError, match="log: "):
            midge.Broker("127.0.0.1:0", log=wrong)  # type: ignore[arg-type]


def test_a_handler_that_uses_the_broker_or_raises(run: Any) -> None:
    ended = run(
        """
        import logging
        import midge
        class Handler(logging.Handler):
            def emit(self, record):
                counted.append(record)
                if brokers:
                    brokers[0].stats()
                    brokers[0].publish("log", record.getMessage())
                    raise KeyError("a handler that is broken")
        counted, brokers = [], []
        logger = logging.getLogger("midge")
        logger.addHandler(Handler())
        logger.setLevel(logging.DEBUG)
        with midge.Broker("127.0.0.1:0", log="debug") as broker:
            brokers.append(broker)
            with broker.subscribe("log") as messages:
                import socket
                with socket.create_connection(broker.address) as client:
                    client.sendall(b"\\x10\\x0d\\x00\\x04MQTT\\x04\\x02\\x00\\x3c\\x00\\x01c")
                    client.recv(4)
                messages.get(timeout=30)
            brokers.clear()
        assert counted
        left = midge.Broker("127.0.0.1:0", log="debug")
        print("end")
        """
    )
    assert (ended.stdout, ended.stderr) == ("end\n", "")


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        (_ffi.MIDGE_LOG_ERROR, logging.ERROR),
        (_ffi.MIDGE_LOG_WARN, logging.WARNING),
        (_ffi.MIDGE_LOG_INFO, logging.INFO),
        (_ffi.MIDGE_LOG_DEBUG, logging.DEBUG),
    ],
)
def test_a_line_keeps_its_level(level: int, expected: int, caplog: pytest.LogCaptureFixture) -> None:
    view = _ffi.midge_log_view(struct_size=ctypes.sizeof(_ffi.midge_log_view), level=level)
    with caplog.at_level(logging.DEBUG, logger="midge"):
        _log._write(ctypes.addressof(view), None)
    (record,) = caplog.records
    assert (record.levelno, record.getMessage()) == (expected, "")


def test_a_thread_that_logs_is_known_to_the_end_of_the_interpreter() -> None:
    """Else it could be torn out of the library when the interpreter ends."""
    known: list[bool] = []
    handler = logging.Handler()
    handler.emit = lambda record: known.append(threading.get_ident() in inside)  # type: ignore[method-assign]
    logger = logging.getLogger("midge")
    logger.addHandler(handler)
    try:
        with midge.Broker("127.0.0.1:0", log="error") as broker:
            view = _ffi.midge_log_view(struct_size=ctypes.sizeof(_ffi.midge_log_view), level=_ffi.MIDGE_LOG_ERROR)
            _log._write(ctypes.addressof(view), None)
            assert broker.address
    finally:
        logger.removeHandler(handler)
    assert known == [True]
    assert threading.get_ident() not in inside
