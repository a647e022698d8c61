"""The interpreter's exit, threads, interrupts, subinterpreters, multiprocessing: programs of their own."""

from __future__ import annotations

import ctypes
import gc
import queue
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from conftest import PATIENCE, finished, line, refuses, started, until

import midge
from midge import _hooks
from midge._library import drain, guarded, inside
from midge.testing import TestBroker


def test_daemon_threads_that_publish_and_take_at_exit(run: Any) -> None:
    for _ in range(5):
        ended = run(
            """
            import threading
            import midge
            broker = midge.Broker("127.0.0.1:0")
            running = threading.Barrier(7)
            def publish(size):
                broker.publish("t", bytes(size))
                running.wait()
                while True:
                    broker.publish("t", bytes(size))
            def take(messages):
                running.wait()
                for message in messages:
                    pass
            def look():
                running.wait()
                while True:
                    broker.stats()
                    broker.subscribe("x").close()
            for size in (1, 100, 100_000):
                threading.Thread(target=publish, args=(size,), daemon=True).start()
            for _ in range(2):
                threading.Thread(target=take, args=(broker.subscribe("t"),), daemon=True).start()
            threading.Thread(target=look, daemon=True).start()
            running.wait()
            print("end")
            threading.excepthook = lambda arguments: None  # the broker stops under them: Stopped is right
            """
        )
        assert (ended.stdout, ended.stderr) == ("end\n", "")


def test_threads_that_are_no_daemons_end_before_the_broker(run: Any) -> None:
    ended = run(
        """
        import threading
        import midge
        broker = midge.Broker("127.0.0.1:0")
        messages = broker.subscribe("t")
        begin = threading.Event()
        def work():
            begin.wait()
            threading.main_thread().join()  # the program's last line is done
            broker.publish("t", "still there")
            print(messages.get(timeout=30).payload.decode())
        threading.Thread(target=work).start()
        begin.set()
        """
    )
    assert (ended.stdout, ended.stderr) == ("still there\n", "")


@pytest.mark.parametrize("registered", ["before", "after"])
def test_exit_functions_of_the_program(run: Any, registered: str) -> None:
    """Those that were registered after Midge was imported run before it stops its brokers, as Python orders them."""
    ended = run(
        f"""
        import atexit
        def at_exit():
            try:
                broker.publish("t")
                print("published")
            except midge.Stopped:
                print("stopped")
        if {registered!r} == "before":
            atexit.register(at_exit)
        import midge
        if {registered!r} == "after":
            atexit.register(at_exit)
        broker = midge.Broker("127.0.0.1:0")
        """
    )
    assert ended.stdout == {"before": "stopped\n", "after": "published\n"}[registered]
    assert ended.stderr == ""


def test_an_exit_function_may_start_a_broker(run: Any) -> None:
    ended = run(
        """
        import atexit
        def at_exit():
            with midge.Broker("127.0.0.1:0") as broker, broker.subscribe("t") as messages:
                broker.publish("t", "late")
                print(messages.get(timeout=30).payload.decode())
            global left
            left = midge.Broker("127.0.0.1:0")
        atexit.register(at_exit)
        import midge
        """
    )
    assert (ended.stdout, ended.stderr) == ("late\n", "")


def test_objects_that_die_with_the_interpreter(run: Any) -> None:
    """In reference cycles, as module globals, in the wrong order: everything is freed, or left alone, in peace."""
    ended = run(
        """
        import sys
        import midge
        class Node: pass
        node = Node()
        node.self = node
        node.broker = midge.Broker("127.0.0.1:0")
        node.messages = node.broker.subscribe("t")
        node.handler = node.broker.on("t", lambda message: None)
        node.config = midge.Config()
        sys.midge_keeps = node
        broker = midge.Broker("127.0.0.1:0")
        messages = broker.subscribe("t")
        iterator = iter(messages)
        broker.publish("t")
        del sys.modules["midge"]
        """
    )
    assert (ended.stdout, ended.stderr) == ("", "")


def test_an_os_exit_with_a_live_broker(run: Any) -> None:
    run("import os, midge; broker = midge.Broker('127.0.0.1:0'); os._exit(7)", status=7)


def test_ctrl_c_while_publishing_and_taking() -> None:
    program = (
        "import signal, midge\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "with midge.Broker('127.0.0.1:0') as broker, broker.subscribe('t') as messages:\n"
        "    handler = broker.on('t', lambda message: None)\n"
        "    try:\n"
        "        print('ready', flush=True)\n"
        "        while True:\n"
        "            broker.publish('t', 'x')\n"
        "            broker.publish_many([('t', 'y'), ('u', bytes(100_000))])\n"
        "            messages.get_batch()\n"
        "    except KeyboardInterrupt:\n"
        "        pass\n"
        "    with broker.subscribe('after') as after:\n"
        "        broker.publish('after', 'works')\n"
        "        print(after.get(timeout=30).payload.decode())\n"
    )
    with started("-c", program) as process:
        assert line(process) == "ready"
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=PATIENCE) == ("works\n", "")
        assert process.returncode == 0


def test_a_subinterpreter_is_refused(run: Any) -> None:
    ended = run(
        """
        import os
        try:
            import _interpreters as interpreters
        except ImportError:
            import _xxsubinterpreters as interpreters
        import midge
        reading, writing = os.pipe()
        code = f'''
        import os
        try:
            import midge
        except ImportError as refusal:
            os.write({writing}, str(refusal).encode())
        else:
            os.write({writing}, b"imported")
        '''
        import textwrap
        interpreters.run_string(interpreters.create(), textwrap.dedent(code))
        print(os.read(reading, 1000).decode())
        with midge.Broker("127.0.0.1:0") as broker, broker.subscribe("t") as messages:
            broker.publish("t", "here it works")
            print(messages.get(timeout=30).payload.decode())
        """
    )
    refusal, works = ended.stdout.splitlines()
    assert "midge cannot be used in a subinterpreter; start the broker in the main interpreter" in refusal
    assert works == "here it works"


WORKER = """
import multiprocessing, sys
import midge

def own(address, answers):
    # A broker of the child's own, and a client's view of the parent's.
    import socket
    socket.create_connection(address, timeout=30).close()
    with midge.Broker("127.0.0.1:0") as broker, broker.subscribe("t") as messages:
        broker.publish("t", "in the child")
        answers.put((messages.get(timeout=30).payload, broker.address != address))

def main():
    context = multiprocessing.get_context(sys.argv[1])
    with midge.Broker("127.0.0.1:0") as broker, broker.subscribe("t") as messages:
        handler = broker.on("t", lambda message: None)
        answers = context.Queue()
        children = [context.Process(target=own, args=(broker.address, answers)) for _ in range(3)]
        for child in children:
            child.start()
        for _ in children:
            assert answers.get(timeout=60) == (b"in the child", True)
        for child in children:
            child.join(60)
            assert child.exitcode == 0, child.exitcode
        broker.publish("t", "in the parent")
        print(messages.get(timeout=30).payload.decode())

if __name__ == "__main__":
    main()
"""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing(method: str, tmp_path: Path) -> None:
    program = tmp_path / "worker.py"
    program.write_text(WORKER)
    ended = finished([sys.executable, str(program), method])
    assert (ended.returncode, ended.stdout) == (0, "in the parent\n"), ended.stderr


@pytest.mark.parametrize("workers", [1, 2])
def test_threads_of_the_library_leave_signals_to_the_program(workers: int, run: Any) -> None:
    """They block them, so that the system hands them to a thread of the program."""
    ended = run(
        f"""
        import os, signal, threading
        import midge
        with midge.Broker("127.0.0.1:0", {{"runtime.worker_threads": {workers}}}) as broker:
            found = 0
            for task in set(map(int, os.listdir("/proc/self/task"))) - {{threading.get_native_id()}}:
                found += 1
                with open(f"/proc/self/task/{{task}}/status") as status:
                    blocked = int(status.read().partition("SigBlk:")[2].split()[0], 16)
                for name in ("INT", "TERM", "HUP", "USR1", "USR2", "ALRM", "CHLD", "PIPE"):
                    assert blocked >> (signal.Signals["SIG" + name] - 1) & 1, name
            assert found >= {workers}
        """
    )
    assert ended.stderr == ""


def test_a_broker_cannot_be_pickled(run: Any) -> None:
    """So that a pool of processes says so, not what its fields are made of."""
    ended = run(
        """
        import copy, pickle
        import midge
        with midge.Broker("127.0.0.1:0") as broker, broker.subscribe("t") as messages:
            with broker.on("t", print) as handler:
                for value in (broker, messages, handler, midge.Config()):
                    for way in (pickle.dumps, copy.copy):
                        try:
                            way(value)
                        except TypeError as refusal:
                            print(refusal)
        """
    )
    lines = ended.stdout.splitlines()
    assert len(lines) == 6  # a Config can be copied
    assert lines[0] == "a midge.Broker belongs to the process that made it: it cannot be pickled or copied"


def test_a_thread_is_known_to_be_inside_until_its_outermost_call_ends() -> None:
    seen: list[bool] = []
    inner = guarded(lambda: None)

    def outer() -> None:
        inner()
        seen.append(threading.get_ident() in inside)

    guarded(outer)()
    assert seen == [True]
    assert threading.get_ident() not in inside


def test_a_thread_that_waits_in_the_library_is_known_to_be_inside(broker: midge.Broker) -> None:
    with broker.subscribe("t") as messages:
        thread = threading.Thread(target=lambda: list(messages), daemon=True)
        thread.start()
        until(broker, lambda: thread.ident in inside, "the thread inside")
    thread.join(PATIENCE)
    assert thread.ident not in inside


def test_the_end_waits_for_other_threads_and_not_for_its_own() -> None:
    inside.update((-1, -2))
    ended = threading.Event()

    def end() -> None:
        inside.add(threading.get_ident())
        drain(3600)
        assert not inside & {-1, -2}
        inside.discard(threading.get_ident())
        ended.set()

    threading.Thread(target=end, daemon=True).start()
    inside.discard(-1)
    inside.discard(-2)
    assert ended.wait(PATIENCE)


def test_a_forgotten_broker_with_a_callback_stops() -> None:
    broker = midge.Broker("127.0.0.1:0")
    address, thread = broker.address, broker.on("t", print)._calls.thread
    gc.disable()
    try:
        del broker
        assert refuses(address), "it needs no collector: nothing refers to it"
    finally:
        gc.enable()
    thread.join(PATIENCE)
    assert not thread.is_alive()


@pytest.mark.parametrize("kept", ["neither", "handler", "subscription"])
def test_a_forgotten_broker_with_a_callback_that_names_it_stops(kept: str) -> None:
    called = threading.Event()

    def start() -> tuple[tuple[str, int], threading.Thread, Any]:
        broker = midge.Broker("127.0.0.1:0")

        def callback(message: midge.Message) -> None:
            assert broker.address
            called.set()

        handler, messages = broker.on("t", callback), broker.subscribe("t")
        broker.publish("t")
        return broker.address, handler._calls.thread, {"handler": handler, "subscription": messages}.get(kept)

    address, thread, keeps = start()
    assert called.wait(PATIENCE)
    gc.collect()
    assert refuses(address) == (keeps is None)
    del keeps
    gc.collect()
    assert refuses(address)
    thread.join(PATIENCE)
    assert not thread.is_alive()


def test_a_forgotten_broker_with_hooks_that_name_it_stops_and_tells_them() -> None:
    told: queue.SimpleQueue[str] = queue.SimpleQueue()
    gc.collect()  # what earlier tests left in cycles
    before = set(_hooks._in_use)

    def start() -> tuple[str, int]:
        hooks = midge.Hooks()

        @hooks.on_connected
        def connected(event: midge.Connected) -> None:
            told.put(f"{event.client_id} at {broker.address[1]}")

        @hooks.on_disconnected
        def disconnected(event: midge.Disconnected) -> None:
            told.put(f"{event.cause} at {broker.address[1]}")

        broker = midge.Broker("127.0.0.1:0", hooks=hooks)
        return broker.address

    address = start()
    with socket.create_connection(address, timeout=PATIENCE) as client:
        client.sendall(b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01c")
        assert told.get(timeout=PATIENCE) == f"c at {address[1]}"
        gc.collect()
        assert refuses(address)
        assert told.get(timeout=PATIENCE) == f"stopping at {address[1]}"
    assert set(_hooks._in_use) == before


def test_a_stopped_broker_shows_that_it_is() -> None:
    for broker in (midge.Broker("127.0.0.1:0"), midge.Broker(config={"listener.tcp.bind": "off"}), TestBroker()):
        assert "stopped" not in repr(broker)
        broker.stop()
        assert repr(broker) == f"<midge.{type(broker).__name__}, stopped>"


@pytest.mark.parametrize(
    ("kind", "use"),
    [
        ("midge.Broker('127.0.0.1:0')", ""),
        ("midge.Broker('127.0.0.1:0', {'runtime.worker_threads': 2})", ""),
        ("midge.Broker('127.0.0.1:0', {'console.listen': '127.0.0.1:0', 'console.tutorial': True})", ""),
        ("midge.testing.TestBroker()", ""),
        ("midge.Broker('127.0.0.1:0')", "broker.request_stop(); broker.wait()"),
        ("midge.Broker('127.0.0.1:0')", "handler = broker.on('t', print); broker.subscribe('t')"),
        ("midge.Broker('127.0.0.1:0')", "connect(broker)"),
        ("midge.Broker('127.0.0.1:0', {'runtime.worker_threads': 2})", "connect(broker)"),
        ("midge.Broker('127.0.0.1:0')", "threads.append(waiting(broker))"),
    ],
)
def test_a_stopped_broker_that_is_still_referenced_holds_no_descriptor(kind: str, use: str, run: Any) -> None:
    ended = run(
        f"""
        import os, pathlib, socket, threading
        import midge, midge.testing
        threads = []
        def descriptors():
            return sorted(os.listdir("/proc/self/fd"), key=int)
        def connect(broker):
            with socket.create_connection(broker.address) as client:
                client.sendall(b"\\x10\\x0d\\x00\\x04MQTT\\x04\\x02\\x00\\x3c\\x00\\x01c")
                assert client.recv(4) == b"\\x20\\x02\\x00\\x00"
                broker.publish("t")
        def waiting(broker):
            thread = threading.Thread(target=broker.wait)
            thread.start()
            return thread
        def stopped():
            broker = {kind}
            assert len(descriptors()) > 4
            {use or "pass"}
            broker.stop()
            for thread in threads:
                thread.join()
            return broker
        stopped()  # what a process opens once
        before = descriptors()
        kept = [stopped() for _ in range(3)]
        assert descriptors() == before, (descriptors(), before)
        names = [pathlib.Path(f"/proc/self/task/{{task}}/comm").read_text() for task in os.listdir("/proc/self/task")]
        assert not [name for name in names if name.startswith("midge-") and name[6].isdigit()], names
        assert threading.enumerate() == [threading.main_thread()]
        assert all(broker.wait() for broker in kept)
        """
    )
    assert ended.stderr == ""


def test_what_is_collected_with_a_broker_finds_it_freed_and_not_dangling(run: Any) -> None:
    """The order of finalizers in a cycle is the collector's: the broker's may have been before."""
    ended = run(
        """
        import midge
        broker = midge.Broker("127.0.0.1:0")
        messages = broker.subscribe("t")
        queue = messages._queue
        for each in (broker, queue):
            each.__del__()
            each.__del__()
        for use in (
            lambda: broker.publish("t"), lambda: broker.publish_many([("t", "")]), lambda: broker.subscribe("t"),
            lambda: broker.kick("c"), broker.clients, broker.subscriptions, broker.retained, broker.stats, broker.stop,
            lambda: broker.wait(0), lambda: broker.address, lambda: messages.get(0),
        ):
            try:
                use()
                raise AssertionError("it was not refused")
            except (midge.ArgumentError, midge.StateError):
                pass
        broker.request_stop()
        assert (broker.addresses, broker.console_address, len(messages), messages.dropped) == ({}, None, 0, 0)
        """
    )
    assert ended.stderr == ""


IN_USE = """
import ctypes, gc, sys
import midge, midge.testing
libc = ctypes.CDLL(None)
class Usage(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in "abcdefg"] + [("used", ctypes.c_size_t), ("h", ctypes.c_size_t * 2)]
libc.mallinfo2.restype = Usage
def used():
    gc.collect()
    return libc.mallinfo2().used
def refused(call, *arguments):
    try:
        call(*arguments)
    except midge.MidgeError:
        return
    raise AssertionError("it was not refused")
with midge.testing.TestBroker() as broker, broker.subscribe("t") as messages:
    broker.publish("kept", "x", retain=True)
    config = midge.Config()
    def use():
        {use}
    for _ in range(300):
        use()
    def grown():
        before = used()
        for _ in range(1000):
            use()
        return (used() - before) // 1000
    print(min(grown() for _ in range(3)))
"""


@pytest.mark.parametrize(
    "use",
    [
        "midge.Config()",
        "config.copy()",
        "config['mqtt.max_qos']",
        "refused(config.__setitem__, 'mqtt.max_qos', '9')",
        "refused(config.__getitem__, 'mqtt.max_qs')",
        "refused(config.load_text, '[')",
        "broker.subscribe('s').close()",
        "refused(broker.subscribe, 'a#')",
        "broker.publish('t', 'x'); messages.get(timeout=30)",
        "broker.clients(), broker.subscriptions(), broker.stats()",
        "broker.retained(), broker.published('kept')",
        "broker.inject(midge.testing.Fault.drop()).clear()",
        "refused(broker.inject, midge.testing.Fault.refuse(0))",
        "refused(broker.wait_for, 'never', 1, 0)",
    ],
)
def test_what_the_library_lends_is_given_back(use: str, run: Any) -> None:
    """A thousand times: what stays each time is less than the smallest piece that the library allocates for one.

    The interpreter grows a table of its own now and then, a leak shows in every round.
    """
    if not hasattr(ctypes.CDLL(None), "mallinfo2"):
        pytest.skip("the C library does not tell how much memory is in use (mallinfo2 of glibc 2.33)")
    ended = run(IN_USE.replace("{use}", f"{use}; broker.forget_published()"))
    assert int(ended.stdout) < 8
