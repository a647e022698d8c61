"""The settings of a broker, as a mapping of texts."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Iterator, Mapping
from typing import Union

from midge._arguments import needed
from midge._errors import ConfigError, UnknownKey
from midge._library import encode, quick, raise_for, text_of, waiting

__all__ = ["Config", "Value"]

Value = Union[str, int, bool]
"""What a setting may be set to: its text with its unit, such as "64KiB", or a number or truth value."""


class Config(Mapping[str, str]):
    """The settings of a broker: what was set, and the defaults of all others.

    Reading gives each value as its canonical text. Setting a wrong key or value raises ConfigError, which names the
    key. Every setting stands in docs/CONFIGURATION.md.

    >>> config = midge.Config({"mqtt.max_packet_size": "64KiB"})
    >>> config["mqtt.max_qos"] = 1
    >>> config["mqtt.max_packet_size"], config["mqtt.max_qos"]
    ('64KiB', '1')
    >>> config["mqtt.max_qs"] = 1
    Traceback (most recent call last):
        ...
    midge.ConfigError: mqtt.max_qs: unknown setting; did you mean mqtt.max_qos?
    """

    def __init__(self, settings: Mapping[str, Value] = {}) -> None:
        """All defaults, and then these settings."""
        self._lock = threading.Lock()
        handle = ctypes.c_void_p()
        status = quick.midge_config_new(ctypes.byref(handle))
        if status < 0:
            raise_for(status, None, "midge_config_new")
        self._handle = handle
        self.update(settings)

    @classmethod
    def from_text(cls, toml: str, origin: str = "text") -> Config:
        """The settings of a TOML text. `origin` names it in errors.

        >>> midge.Config.from_text("[mqtt]\\nmax_qos = 1")["mqtt.max_qos"]
        '1'
        """
        config = cls()
        config.load_text(toml, origin)
        return config

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> Config:
        """The settings of a TOML file."""
        config = cls()
        config.load_file(path)
        return config

    def load_text(self, toml: str, origin: str = "text") -> None:
        """Sets what a TOML text says. A text with an error changes nothing."""
        error = ctypes.c_void_p()
        with self._lock:
            status = quick.midge_config_load_text(
                self._handle, _encode(origin, toml), _encode("origin", origin), ctypes.byref(error)
            )
        if status < 0:
            raise_for(status, error)

    def load_file(self, path: str | os.PathLike[str]) -> None:
        """Sets what a TOML file says.

        A file with an error changes nothing. One that cannot be read raises IoError.
        """
        error = ctypes.c_void_p()
        name = _encode("path", os.fspath(path))
        with self._lock:
            status = waiting.midge_config_load_file(self._handle, name, ctypes.byref(error))
        if status < 0:
            raise_for(status, error)

    def update(self, settings: Mapping[str, Value]) -> None:
        """Sets all of these."""
        if not isinstance(settings, Mapping):
            raise needed("config", "a midge.Config or a mapping", settings)
        for key, value in settings.items():
            self[key] = value

    def copy(self) -> Config:
        """A Config of its own with the same settings."""
        copy = Config()
        handle = ctypes.c_void_p()
        with self._lock:
            status = quick.midge_config_clone(self._handle, ctypes.byref(handle))
        if status < 0:
            raise_for(status)
        quick.midge_config_free(copy._handle)
        copy._handle = handle
        return copy

    def __setitem__(self, key: str, value: Value) -> None:
        error = ctypes.c_void_p()
        text = str(value).lower() if isinstance(value, bool) else str(value)
        with self._lock:
            status = quick.midge_config_set(self._handle, _encode(key, key), _encode(key, text), ctypes.byref(error))
        if status < 0:
            raise_for(status, error)

    def __getitem__(self, key: str) -> str:
        value, error = ctypes.c_void_p(), ctypes.c_void_p()
        with self._lock:
            status = quick.midge_config_get(self._handle, _encode(key, key), ctypes.byref(value), ctypes.byref(error))
        if status < 0:
            try:
                raise_for(status, error)
            except ConfigError as unknown:
                raise UnknownKey(str(unknown), key) from None
        try:
            return text_of(ctypes.string_at(value.value or 0))
        finally:
            quick.midge_string_free(value)

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and key in list(self)

    def __iter__(self) -> Iterator[str]:
        with self._lock:
            count = quick.midge_config_key_count(self._handle)
            keys = [text_of(quick.midge_config_key_at(self._handle, index)) for index in range(count)]
        return iter(keys)

    def __len__(self) -> int:
        with self._lock:
            return int(quick.midge_config_key_count(self._handle))

    def __reduce__(self) -> tuple[type[Config], tuple[dict[str, str]]]:
        return Config, (dict(self),)

    def __repr__(self) -> str:
        return f"Config({dict(self)!r})"

    def __del__(self) -> None:
        handle = getattr(self, "_handle", None)
        if handle is not None:
            quick.midge_config_free(handle)
            self._handle = ctypes.c_void_p()  # objects that are collected together with it may still use it


def _encode(what: str, text: str) -> bytes:
    return encode(what, text, ConfigError)


_UNITS = {
    "": 1,
    "B": 1,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
}


def in_bytes(size: str) -> int:
    """The number of bytes that a setting such as "64KiB" says."""
    number = size.rstrip("".join(_UNITS))
    return int(number) * _UNITS[size[len(number) :]]
