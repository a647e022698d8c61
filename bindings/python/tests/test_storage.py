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


def test_the_program_sees_what_the_store_does(tmp_path: Path) -> None:
    with stored(tmp_path / "store") as broker:
        before = broker.storage()
        assert before is not None
        assert (before.state, before.trouble, before.set_aside, before.commits) == ("ok", None, False, 0)
        for number in range(3):
            broker.publish_acknowledged(f"t/{number}", "x", retain=True, timeout=PATIENCE)
    seen = broker.storage()
    assert seen is not None
    # Each was published when the one before was committed.
    assert (seen.state, seen.commits, seen.committed_changes, seen.checkpoints) == ("closed", 3, 3, 1)
    assert seen.flushes >= before.flushes + 3
    assert sum(seen.flush_times.values()) == seen.flushes
    assert list(seen.flush_times) == sorted(seen.flush_times)
    assert 0 < seen.flush_longest <= seen.flush_total
    assert seen.log_bytes == 2 << 20
    assert seen.tables_bytes == (tmp_path / "store" / "midge.redb").stat().st_size
    assert (seen.disk_errors, seen.waiting_acknowledgements) == (0, 0)


def test_a_damaged_store_is_told(tmp_path: Path) -> None:
    stored(tmp_path).stop()
    (tmp_path / "midge.redb").unlink()
    config = {"storage.path": str(tmp_path), "storage.log_size": "1MiB", "storage.on_damage": "set_aside"}
    with midge.Broker("127.0.0.1:0", config=config) as broker:
        seen = broker.storage()
        assert seen is not None
        assert seen.set_aside
        assert "midge.redb is missing" in (seen.trouble or "")


def test_without_a_path_there_is_no_store() -> None:
    async def main() -> None:
        async with midge.aio.Broker("127.0.0.1:0") as broker:
            assert broker.storage() is None

    asyncio.run(asyncio.wait_for(main(), PATIENCE))
