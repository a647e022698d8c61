"""`python -m midge` runs a broker until SIGINT or SIGTERM."""

from __future__ import annotations

import argparse
import signal
import sys

import midge

EPILOG = """\
Exit status: 0 stopped by a signal, 1 the broker could not listen or failed, 2 the command line or a setting is wrong.
"""


def main(arguments: list[str] | None = None) -> int:
    """Runs the command, and returns its exit status."""
    given = parse(arguments)
    try:
        config = midge.Config.from_file(given.config) if given.config else midge.Config()
        config.update(dict(given.set))
    except midge.MidgeError as error:
        return fail(error, 2)
    try:
        broker = midge.Broker(given.listen, config)
    except midge.MidgeError as error:
        return fail(error, 2 if isinstance(error, midge.ConfigError) else 1)
    with broker:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: broker.request_stop())
        for name, (host, port) in broker.addresses.items():
            print(f"listening on {bracketed(host)}:{port} ({name})", flush=True)
        if broker.console_address is not None:
            host, port = broker.console_address
            print(f"console at http://{bracketed(host)}:{port}", flush=True)
        broker.wait()
    return 0


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Reads the command line; ends the program with status 2 if it is wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m midge", description="Runs an MQTT broker until SIGINT or SIGTERM.", epilog=EPILOG
    )
    parser.add_argument(
        "--listen",
        metavar="HOST:PORT",
        action="append",
        help="listen here; may be repeated; port 0 takes a free one (default: what the settings say, 127.0.0.1:1883)",
    )
    parser.add_argument("--config", metavar="FILE", help="read settings from a TOML file")
    parser.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        type=assignment,
        default=[],
        help="change a setting, such as mqtt.max_qos=1; may be repeated",
    )
    parser.add_argument("--version", action="version", version=f"midge {midge.__version__}")
    return parser.parse_args(arguments)


def assignment(text: str) -> tuple[str, str]:
    """The two sides of KEY=VALUE."""
    key, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE")
    return key.strip(), value.strip()


def bracketed(host: str) -> str:
    """A host as it stands before a port."""
    return f"[{host}]" if ":" in host else host


def fail(error: BaseException, status: int) -> int:
    """Says what went wrong, in one sentence."""
    print(f"midge: {error}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
