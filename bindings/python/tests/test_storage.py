"""The store of a broker: it lasts, and it is copied while the broker runs."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from conftest import PATIENCE

import midge
import midge.aio


def stored(path: Path) -> midge.Broker:
    return midge.Broker("127.0.0.1:0", config={"storage.path": str(path), "storage.log_size": "1MiB"})


def test_a_running_broker_is_copied_and_the_copy_runs(tmp_path: Path) -> None:
    with stored(tmp_path / "store") as broker:
        broker.publish_acknowledged("a", "before", retain=True, timeout=PATIENCE)
        broker.backup(tmp_path / "copy")
        broker.publish_acknowledged("b", "afterwards", retain=True, timeout=PATIENCE)
        with stored(tmp_path / "copy") as copy:
            assert [(message.topic, message.payload) for message in copy.retained()] == [("a", b"before")]
        with pytest.raises(midge.ArgumentError, match=r"path: .*there is a store here"):
            broker.backup(tmp_path / "copy")
        with pytest.raises(midge.ArgumentError, match=r"path: .*No such file"):
            broker.backup(str(tmp_path / "no" / "copy"))


def test_a_broker_of_an_event_loop_is_copied(tmp_path: Path) -> None:
    async def main() -> None:
        config = {"storage.path": str(tmp_path / "store"), "storage.log_size": "1MiB"}
        async with midge.aio.Broker("127.0.0.1:0", config=config) as broker:
            await broker.publish_acknowledged("a", "before", retain=True, timeout=PATIENCE)
            await broker.backup(tmp_path / "copy")

    asyncio.run(asyncio.wait_for(main(), PATIENCE))
    with stored(tmp_path / "copy") as copy:
        assert [message.topic for message in copy.retained()] == ["a"]


def test_without_a_store_nothing_is_copied(tmp_path: Path) -> None:
    with midge.Broker("127.0.0.1:0") as broker, pytest.raises(midge.IoError, match=r"storage\.path: it is not set"):
        broker.backup(tmp_path)
