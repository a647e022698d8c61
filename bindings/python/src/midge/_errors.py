"""The exceptions. All of them are MidgeErrors, and fit Python's own where it has one."""

from __future__ import annotations

import errno
import re

__all__ = [
    "AddressInUse",
    "ArgumentError",
    "ConfigError",
    "ForkedError",
    "IoError",
    "MidgeError",
    "StateError",
    "Stopped",
    "Timeout",
    "TopicError",
    "UnknownKey",
]


class MidgeError(Exception):
    """Anything that Midge refuses or fails at."""


class ConfigError(MidgeError, ValueError):
    """A setting is wrong. The sentence names the key; `key` is it, if the error is about one.

    >>> try:
    ...     midge.Broker("nowhere")
    ... except midge.ConfigError as error:
    ...     print(error.key)
    listener.tcp.bind
    """

    def __init__(self, message: str, key: str | None = None) -> None:
        super().__init__(message)
        self.key = key if key is not None else _key_in(message)


class UnknownKey(ConfigError, KeyError):
    """No setting has this name."""

    __str__ = Exception.__str__


class ArgumentError(MidgeError, ValueError):
    """An argument is out of its range."""


class TopicError(MidgeError, ValueError):
    """A topic or a topic filter is not valid."""


class IoError(MidgeError, OSError):
    """The operating system refused something."""


class AddressInUse(IoError):
    """Another program listens on the address. `errno` is EADDRINUSE."""

    def __init__(self, message: str) -> None:
        super().__init__(errno.EADDRINUSE, message)

    def __str__(self) -> str:
        return str(self.strerror)

    def __reduce__(self) -> tuple[type[AddressInUse], tuple[str]]:
        return AddressInUse, (str(self),)


class StateError(MidgeError, RuntimeError):
    """What was called has been stopped or closed before."""


class Stopped(StateError):
    """The broker has stopped, or the subscription was closed, and no message is left."""


class ForkedError(StateError):
    """This process is a fork of the one that started the broker, whose threads do not exist here."""


class Timeout(MidgeError, TimeoutError):
    """The time ran out."""


for _name in __all__:
    globals()[_name].__module__ = "midge"  # where tracebacks say that they are from


def _key_in(message: str) -> str | None:
    """The key in a sentence such as `midge.toml:3:7: mqtt.max_qos: 9 is out of range`."""
    found = re.search(r"(?:^|: )([a-z][a-z0-9_]*(?:\.[A-Za-z0-9_-]+)+): ", message)
    return found.group(1) if found else None
