"""The story of the first message: a broker inside this program, a subscriber, a publisher, and what the broker saw.

A browser shows it, too, in the broker's console. Ends with status 0 if, and only if, all of it was seen; 1 if not; 2 if
it could not begin. At a terminal it stays up until Ctrl-C.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import http.client
import importlib.util
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Callable

import midge

HOST = "127.0.0.1"
EXAMPLES = Path(__file__).resolve().parent.parent / "examples" / "python"
PATIENCE = 30.0
"""Seconds that a step may take on a busy machine."""
USER, PASSWORD = "admin", "public"
"""The login of a console in tutorial mode."""


class NotSeenError(Exception):
    """A step of the story did not happen."""


class Script:
    """One of the two scripts, running in a process of its own."""

    def __init__(self, name: str, port: int) -> None:
        """Starts examples/python/<name> against the broker on `port`."""
        self.name = name
        self.lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        quiet = {"PYTHONWARNINGS": "ignore::DeprecationWarning", "PYTHONUNBUFFERED": "1"}
        address = {"MQTT_HOST": HOST, "MQTT_PORT": str(port)}
        # Ctrl-C at a terminal is for this program, which ends the scripts: they inherit that it is ignored.
        handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            self.process = subprocess.Popen(
                [sys.executable, str(EXAMPLES / name)],
                env={**os.environ, **quiet, **address},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                text=True,
            )
        finally:
            signal.signal(signal.SIGINT, handler)
        threading.Thread(target=self._read, daemon=True).start()

    def expect(self, line: str) -> None:
        """Waits until the script prints `line`."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                printed = self.lines.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise NotSeenError(f"{self.name} did not print {line!r}") from None
            if printed is None:
                raise NotSeenError(f"{self.name} ended with status {self.process.wait()}")
            if printed == line:
                return

    def end(self) -> None:
        """Ends the script, and waits for it."""
        self.process.terminate()
        self.process.wait()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            say(f"    {self.name}> {line.rstrip()}")
            self.lines.put(line.rstrip("\n"))
        self.lines.put(None)


def main() -> int:
    """Runs the demo, and returns its status."""
    port, console_port = ports_of(sys.argv[1:])
    if importlib.util.find_spec("paho") is None:
        return fail("the two scripts need paho-mqtt: pip install paho-mqtt")
    try:
        broker = midge.Broker(f"{HOST}:{port}", {"console.listen": f"{HOST}:{console_port}", "console.tutorial": True})
    except midge.AddressInUse as error:
        if str(error).startswith("console.listen"):
            return fail(
                f"{HOST}:{console_port}, the console's address, is taken by another program; choose another port for "
                f"it with `make demo DEMO_CONSOLE_PORT={other(console_port)}` or "
                f"`demo.py --console-port {other(console_port)}`"
            )
        return fail(
            f"{HOST}:{port} is taken by another program; choose another port with "
            f"`make demo DEMO_PORT={other(port)}` or `demo.py --port {other(port)}`"
        )
    except midge.MidgeError as error:
        return fail(str(error))
    scripts: list[Script] = []
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        with broker:
            watch_topics(broker)
            tell(broker, scripts)
            if sys.stdin.isatty() and sys.stdout.isatty():
                stay(broker)
    except NotSeenError as missing:
        say(f"Not seen: {missing}.")
        return 1
    except KeyboardInterrupt:
        say("")
        return 130
    finally:
        for script in scripts:
            script.end()
    return 0


def tell(broker: midge.Broker, scripts: list[Script]) -> None:
    """The story, step by step; raises NotSeenError at the first step that does not happen."""
    host, port = broker.address
    say(f"1. The broker runs inside this program, process {os.getpid()}, and listens on {host}:{port}.")
    say(f"   Its console, for a browser: {url(broker)} (user {USER}, password {PASSWORD}).")
    see(connected(broker) == [], "0 clients at the start")
    say("   0 clients.")

    say("2. The lesson first: 'hello' is published to 'chat', and nobody has subscribed yet.")
    before = broker.stats()
    broker.publish("chat", "hello")
    after = broker.stats()
    published = after.messages_published - before.messages_published
    dropped = after.messages_dropped_no_subscriber - before.messages_dropped_no_subscriber
    see((published, dropped) == (1, 1), "one message published and dropped for want of a subscriber")
    say(
        f"   published {published}, no subscriber, dropped {dropped} "
        "(no subscriber: nobody had subscribed to the topic when the message was published)."
    )

    say("3. subscribe.py connects and subscribes to 'chat'.")
    subscriber = Script("subscribe.py", port)
    scripts.append(subscriber)
    subscriber.expect("Connected with result code 0")
    wait_until(broker, lambda: listeners(broker, "chat") != [], "a subscriber of 'chat'")

    say("4. publish.py connects and publishes 'hello tao' to 'chat'.")
    scripts.append(Script("publish.py", port))
    subscriber.expect("chat :b'hello tao'")

    wait_until(broker, lambda: len(connected(broker)) == 2, "two clients")
    say("5. What the broker sees:")
    for client in connected(broker):
        say(f"   client {name(client.client_id)} from {client.address}, MQTT {client.version}")
    for heard_by in listeners(broker, "chat"):
        say(f"   topic 'chat', subscribed by {name(heard_by)}")
    delivered = broker.stats().messages_delivered
    see(delivered == 1, "one message delivered")
    say(f"   messages delivered: {delivered}")


def stay(broker: midge.Broker) -> None:
    """Keeps the broker up until Ctrl-C."""
    host, port = broker.address
    # A shell that starts programs in the background has them ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        say("")
        say(f"The broker stays up on {host}:{port}. In a browser, with user {USER} and password {PASSWORD}:")
        say(f"  {url(broker)}")
        say("In another terminal, for example (the first stays connected until Ctrl-C):")
        say(f"  MQTT_PORT={port} {sys.executable} {EXAMPLES / 'publish.py'}")
        say(f"  mosquitto_pub -h {host} -p {port} -t chat -m 'hello again'")
        say("Ctrl-C ends it.")
        while not broker.wait(timeout=60):
            watch_topics(broker)
    except KeyboardInterrupt:
        say("")


def url(broker: midge.Broker) -> str:
    """Where a browser finds the console."""
    host, port = console_address(broker)
    return f"http://{host}:{port}"


def console_address(broker: midge.Broker) -> tuple[str, int]:
    """The console's host and port."""
    address = broker.console_address
    assert address is not None
    return address


def watch_topics(broker: midge.Broker) -> None:
    """Has the console note what is published, before anybody looks; two minutes after the last question it forgets."""
    login = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    console = http.client.HTTPConnection(*console_address(broker), timeout=PATIENCE)
    with contextlib.closing(console):
        console.request("GET", "/api/v1/topics?limit=1", headers={"Authorization": f"Basic {login}"})
        see(console.getresponse().status == http.client.OK, "an answer of the console")


def connected(broker: midge.Broker) -> list[midge.Client]:
    """The clients that are connected, by name."""
    return sorted((c for c in broker.clients() if c.connected), key=lambda client: client.client_id)


def listeners(broker: midge.Broker, filter: str) -> list[str]:
    """The client ids that subscribed to `filter`."""
    return [s.client_id for s in broker.subscriptions() if s.filter == filter and s.client_id is not None]


def wait_until(broker: midge.Broker, seen: Callable[[], bool], what: str) -> None:
    """Waits until the broker shows what was awaited."""
    deadline = time.monotonic() + PATIENCE
    while not seen():
        if time.monotonic() > deadline or broker.wait(timeout=0.01):
            raise NotSeenError(what)


def see(seen: bool, what: str) -> None:
    """Goes on only if `seen`."""
    if not seen:
        raise NotSeenError(what)


def ports_of(arguments: list[str]) -> tuple[int, int]:
    """The ports of the broker and of its console: of the command line, else of the environment, else the usual ones."""
    parser = argparse.ArgumentParser(description="The story of the first message.")
    default = os.environ.get("DEMO_PORT") or "1883"
    parser.add_argument("--port", type=int, default=default, help="port of the broker; 0 takes a free one")
    parser.add_argument(
        "--console-port",
        type=int,
        default=os.environ.get("DEMO_CONSOLE_PORT") or None,
        help="port of its console; 0 takes a free one (default: 18083, or 0 if the broker's is 0)",
    )
    given = parser.parse_args(arguments)
    port: int = given.port
    console_port: int = given.console_port if given.console_port is not None else (18083 if port else 0)
    for option, number in (("--port", port), ("--console-port", console_port)):
        if not 0 <= number <= 65535:
            parser.error(f"{option}: {number} is not a port (0 to 65535)")
    if port == console_port != 0:
        parser.error(f"--console-port: {port} is the port of the broker")
    return port, console_port


def other(port: int) -> int:
    """A port to propose instead of `port`."""
    return port + 1 if port < 65535 else 1884


def name(client_id: str) -> str:
    """A client id as it is shown."""
    return repr(client_id)


def say(line: str) -> None:
    """Prints a line at once."""
    print(line, flush=True)


def fail(sentence: str) -> int:
    """Says why the demo cannot begin."""
    print(f"demo: {sentence}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
