"""What the broker shows of its clients, subscriptions and counters."""

from __future__ import annotations

import ctypes
import functools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from midge import _arguments, _ffi
from midge._batch import copied, copied_text, copy_of
from midge._errors import TopicError
from midge._library import encode, quick, raise_for, raise_for_topic, text_of, waiting
from midge._message import Message
from midge._types import QoS, RetainHandling

__all__ = ["Client", "ClientCertificate", "Listener", "Stats", "StorageStats", "SubscriptionInfo", "TlsIdentity"]


@dataclass(frozen=True)
class ClientCertificate:
    """The certificate that a client has presented, and that was verified."""

    subject: str
    """The subject, such as "CN=device-1,O=Example"."""
    common_name: str | None
    """The subject's common name."""
    names: tuple[str, ...]
    """The alternative names, each with its kind, such as "DNS:device-1.example"."""
    issuer: str
    """The issuer, as the subject."""
    fingerprint: str
    """The SHA-256 digest of the certificate in lower-case hexadecimal digits."""
    not_after: int
    """The last second of its validity, in seconds since 1970."""


@dataclass(frozen=True)
class TlsIdentity:
    """What the handshake of TLS has shown."""

    version: str
    """ "TLS 1.3" or "TLS 1.2"."""
    cipher: str
    """The cipher suite, such as "TLS13_AES_256_GCM_SHA384"."""
    server_name: str | None
    """The server's name that the client has asked for (SNI)."""
    protocol: str | None
    """The application protocol that was agreed on (ALPN), such as "mqtt"."""
    resumed: bool
    """Whether the session of an earlier connection was resumed."""
    certificate: ClientCertificate | None
    """The client's certificate, if it has presented one."""


@dataclass(frozen=True)
class Client:
    """A client that is connected, or whose session waits for it."""

    client_id: str
    """The client identifier."""
    connected: bool
    """Whether it is connected."""
    username: str | None
    """The user name, while connected, if it gave one."""
    address: str | None
    """The peer's address, while connected."""
    version: str
    """The protocol version of the current or last connection: "3.1", "3.1.1" or "5"."""
    clean_start: bool
    """Whether it connected with Clean Start or Clean Session."""
    keep_alive: int
    """The keep alive in force, in seconds; 0 is none."""
    connected_since: float | None
    """When it connected, in seconds since the broker started; None if it is away."""
    session_expiry: int | None
    """Seconds that the session outlives its connection; None is for ever."""
    subscriptions: int
    """Subscriptions of the session."""
    queued: int
    """Messages that wait for it."""
    inflight: int
    """Messages that it has not yet acknowledged."""
    received_messages: int
    """Messages received from it."""
    sent_messages: int
    """Messages sent to it."""
    tls: TlsIdentity | None = None
    """What the handshake of TLS has shown, while connected; None without TLS."""
    uid: int | None = None
    """The user of the process at the other end of a Unix domain socket; None for other peers, and while away."""
    gid: int | None = None
    """Its group."""
    pid: int | None = None
    """Its number; 0 if the system does not say."""


@dataclass(frozen=True)
class SubscriptionInfo:
    """A subscription of a client, or of the program itself."""

    filter: str
    """The topic filter, with `$share/<group>/` if it is shared."""
    client_id: str | None
    """The client identifier; None for the program itself."""
    qos: QoS
    """The highest QoS of a delivery."""
    no_local: bool
    """Whether messages that the subscriber publishes itself are left out."""
    retain_as_published: bool
    """Whether RETAIN is passed on as it was published."""
    retain_handling: RetainHandling
    """Which retained messages were delivered at once: 0 all, 1 for a new subscription only, 2 none."""
    identifier: int | None
    """The subscription identifier, if there is one."""


@dataclass(frozen=True)
class StorageStats:
    """The durable store at one moment. Counters count since the broker was started."""

    state: str
    """"ok"; "retrying" while the disk refuses something; "failed", until the broker is started again; "closed"."""
    trouble: str | None
    """What the disk refuses, why the store has failed, or where a damaged one is kept, and what to do."""
    set_aside: bool
    """Whether the store was damaged and begun anew."""
    commits: int
    """Groups of changes that were committed, each by one write and one flush."""
    committed_changes: int
    """Changes in these groups: a queued message, a subscription and an acknowledgement are one each."""
    committed_bytes: int
    """Bytes of these changes."""
    flushes: int
    """Flushes of the log."""
    flush_total: float
    """The time of all flushes together, in seconds."""
    flush_longest: float
    """The time of the longest flush, in seconds."""
    flush_times: dict[float, int]
    """The number of flushes by their time: up to this many seconds, and longer than the bound before."""
    checkpoints: int
    """Checkpoints: the log's changes were written into the tables."""
    checkpoint_age: float
    """Seconds since the tables were last flushed, or since the store was opened."""
    written_bytes: int
    """Bytes that were written to all files."""
    disk_errors: int
    """Operations that the disk refused, with attempts that were repeated."""
    waiting_acknowledgements: int
    """Acknowledgements, deliveries and calls of the program that wait for a commit."""
    waiting_bytes: int
    """Bytes of changes that wait for a commit."""
    unwritten_bytes: int
    """Bytes of committed changes that wait for a checkpoint."""
    log_bytes: int
    """Bytes of the log's two files."""
    tables_bytes: int
    """Bytes of the file with the tables."""
    replayed_groups: int
    """Groups that were read from the log when the store was opened."""
    replayed_bytes: int
    """Bytes of these groups."""
    opening: float
    """Seconds that the opening of the store took."""


@dataclass(frozen=True)
class Listener:
    """A listener of a broker at one moment."""

    name: str
    """The name in its settings."""
    address: str
    """The address, such as "127.0.0.1:1883" or "unix:/run/midge.sock"."""
    transport: str
    """What lies between MQTT and the socket: "tcp", "tls", "ws", "wss" or "auto"."""
    state: str
    """"accepting", "paused" or "stopped"."""
    connections: int
    """The clients that are connected by it."""
    max_connections: int | None
    """The most clients that may be; None without a limit."""
    accepted: int
    """The connections that it has accepted."""
    refused: int
    """The connections that were refused because a limit was reached."""
    handshake_failures: dict[str, int]
    """The connections that were closed before their handshake was complete, by reason, the most frequent first."""


class Stats(Mapping[str, int]):
    """The counters and gauges of a broker at one moment, by name: as a mapping, or as attributes."""

    __slots__ = ("_values",)

    _values: dict[str, int]

    def __init__(self, values: dict[str, int]) -> None:
        """For Broker.stats."""
        object.__setattr__(self, "_values", values)

    def __getitem__(self, name: str) -> int:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __getattr__(self, name: str) -> int:
        if not name.startswith("_"):
            value = self._values.get(name)
            if value is not None:
                return value
        raise AttributeError(f"there is no statistic {name!r}")

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("statistics cannot be changed")

    def __dir__(self) -> list[str]:
        return sorted([*super().__dir__(), *self._values])

    def __repr__(self) -> str:
        return f"Stats({', '.join(f'{name}={value}' for name, value in self._values.items())})"


VERSIONS = {3: "3.1", 4: "3.1.1", 5: "5"}


def read_process(view: Any) -> dict[str, int | None]:
    """The process at the other end of a Unix domain socket, as a C struct shows it."""
    return {name: value if (value := getattr(view, name)) >= 0 else None for name in ("uid", "gid", "pid")}


def read_clients(broker: ctypes.c_void_p | None) -> list[Client]:
    """The clients of a broker."""
    found = []
    for view in _listed(broker, "clients", _ffi.midge_client_view):
        since, expiry = view.connected_since_ms, view.session_expiry_interval
        found.append(
            Client(
                client_id=copied_text(view.client_id) or "",
                connected=view.connected == 1,
                username=copied_text(view.username),
                address=copied_text(view.address),
                version=VERSIONS.get(view.protocol_version, str(view.protocol_version)),
                clean_start=view.clean_start == 1,
                keep_alive=view.keep_alive,
                connected_since=since / 1000 if since >= 0 else None,
                session_expiry=expiry if expiry >= 0 else None,
                subscriptions=view.subscriptions,
                queued=view.queued,
                inflight=view.inflight,
                received_messages=view.received_messages,
                sent_messages=view.sent_messages,
                tls=read_tls(view.tls),
                **read_process(view),
            )
        )
    return found


def read_listeners(broker: ctypes.c_void_p | None) -> list[Listener]:
    """The listeners of a broker."""
    handle = ctypes.c_void_p()
    status = waiting.midge_broker_listeners(broker, ctypes.byref(handle))
    if status < 0:
        raise_for(status)
    try:
        return [_read_listener(handle, index) for index in range(quick.midge_listeners_count(handle))]
    finally:
        quick.midge_listeners_free(handle)


def _read_listener(listeners: ctypes.c_void_p, index: int) -> Listener:
    view = _ffi.midge_listener_view(ctypes.sizeof(_ffi.midge_listener_view))
    quick.midge_listeners_at(listeners, index, ctypes.byref(view))
    failures = {}
    for reason in range(view.failure_reasons):
        failure = _ffi.midge_handshake_failure_view(ctypes.sizeof(_ffi.midge_handshake_failure_view))
        quick.midge_listeners_failure_at(listeners, index, reason, ctypes.byref(failure))
        failures[copied_text(failure.reason) or ""] = int(failure.count)
    return Listener(
        name=copied_text(view.name) or "",
        address=copied_text(view.address) or "",
        transport=copied_text(view.transport) or "",
        state=copied_text(view.state) or "",
        connections=view.connections,
        max_connections=view.max_connections if view.max_connections >= 0 else None,
        accepted=view.accepted,
        refused=view.refused,
        handshake_failures=failures,
    )


def read_tls(pointer: Any) -> TlsIdentity | None:
    """What the handshake of TLS has shown, copied; None for NULL."""
    if not pointer:
        return None
    view = pointer.contents
    subject = copied_text(view.subject)
    certificate = None
    if subject is not None:
        certificate = ClientCertificate(
            subject=subject,
            common_name=copied_text(view.common_name),
            names=tuple((copied_text(view.names) or "").split("\n")) if view.names.len else (),
            issuer=copied_text(view.issuer) or "",
            fingerprint=copied_text(view.fingerprint) or "",
            not_after=view.not_after,
        )
    return TlsIdentity(
        version=copied_text(view.version) or "",
        cipher=copied_text(view.cipher) or "",
        server_name=copied_text(view.server_name),
        protocol=copied_text(view.protocol),
        resumed=view.resumed == 1,
        certificate=certificate,
    )


def read_subscriptions(broker: ctypes.c_void_p | None) -> list[SubscriptionInfo]:
    """The subscriptions of a broker."""
    return [read_subscription(view) for view in _listed(broker, "subscriptions", _ffi.midge_subscription_view)]


def read_subscription(view: _ffi.midge_subscription_view) -> SubscriptionInfo:
    """A subscription, copied."""
    return SubscriptionInfo(
        filter=copied_text(view.filter) or "",
        client_id=copied_text(view.client_id),
        qos=cast(QoS, view.qos),
        no_local=view.no_local == 1,
        retain_as_published=view.retain_as_published == 1,
        retain_handling=cast(RetainHandling, view.retain_handling),
        identifier=view.identifier or None,
    )


def read_retained(broker: ctypes.c_void_p | None, filter: str) -> list[Message]:
    """The retained messages that match a filter."""
    name = encode(f"topic filter {filter!r}", filter, TopicError)
    listed = ctypes.c_void_p()
    status = waiting.midge_broker_retained(broker, name, ctypes.byref(listed))
    if status < 0:
        raise_for_topic(status, "midge_filter_check", name, f"topic filter {filter!r}")
    try:
        count = quick.midge_retained_count(listed)
        return [copy_of(quick.midge_retained_at(listed, index)) for index in range(count)]
    finally:
        quick.midge_retained_free(listed)


def read_queued(broker: ctypes.c_void_p | None, client_id: str, limit: int) -> list[Message] | None:
    """The oldest messages of a session's queue; None if there is no such session."""
    name = encode("client_id", client_id)
    listed = ctypes.c_void_p()
    most = _arguments.whole("limit", limit, 0, ctypes.c_size_t(-1).value)
    status = waiting.midge_broker_queued(broker, name, most, ctypes.byref(listed))
    if status < 0:
        raise_for(status)
    if status == _ffi.MIDGE_STATUS_NO_SESSION:
        return None
    try:
        count = quick.midge_queued_count(listed)
        return [copy_of(quick.midge_queued_at(listed, index)) for index in range(count)]
    finally:
        quick.midge_queued_free(listed)


def read_stats(broker: ctypes.c_void_p | None) -> Stats:
    """The statistics of a broker."""
    stats = _ffi.midge_stats(ctypes.sizeof(_ffi.midge_stats))
    status = quick.midge_broker_stats(broker, ctypes.byref(stats))
    if status < 0:
        raise_for(status)
    values = {name: int(getattr(stats, name)) for name in _fields()}
    for name, index in _sums():
        view = _ffi.midge_stat_view(ctypes.sizeof(_ffi.midge_stat_view))
        quick.midge_stat_at(ctypes.byref(stats), index, ctypes.byref(view))
        values[name] = view.value
    return Stats(values)


STORAGE_STATES = {
    _ffi.MIDGE_STORAGE_OK: "ok",
    _ffi.MIDGE_STORAGE_RETRYING: "retrying",
    _ffi.MIDGE_STORAGE_FAILED: "failed",
    _ffi.MIDGE_STORAGE_CLOSED: "closed",
}
FLUSH_TIMES = {
    0.0001: "flushes_to_100us",
    0.00025: "flushes_to_250us",
    0.0005: "flushes_to_500us",
    0.001: "flushes_to_1ms",
    0.0025: "flushes_to_2500us",
    0.005: "flushes_to_5ms",
    0.01: "flushes_to_10ms",
    0.025: "flushes_to_25ms",
    0.05: "flushes_to_50ms",
    0.1: "flushes_to_100ms",
    0.25: "flushes_to_250ms",
    0.5: "flushes_to_500ms",
    1.0: "flushes_to_1s",
    2.5: "flushes_to_2500ms",
    math.inf: "flushes_longer",
}


def read_storage(broker: ctypes.c_void_p | None) -> StorageStats | None:
    """The durable store of a broker; None without one."""
    stats = _ffi.midge_storage_stats(ctypes.sizeof(_ffi.midge_storage_stats))
    status = waiting.midge_broker_storage(broker, ctypes.byref(stats))
    if status < 0:
        raise_for(status)
    if stats.state == _ffi.MIDGE_STORAGE_MEMORY:
        return None
    text = ctypes.c_void_p()
    status = waiting.midge_broker_storage_trouble(broker, ctypes.byref(text))
    if status < 0:
        raise_for(status)
    try:
        trouble = text_of(ctypes.string_at(text.value or 0)) or None
    finally:
        quick.midge_string_free(text)
    return StorageStats(
        state=STORAGE_STATES.get(stats.state, str(stats.state)),
        trouble=trouble,
        set_aside=stats.set_aside == 1,
        commits=stats.commits,
        committed_changes=stats.committed_changes,
        committed_bytes=stats.committed_bytes,
        flushes=stats.flushes,
        flush_total=stats.flush_total_us / 1e6,
        flush_longest=stats.flush_longest_us / 1e6,
        flush_times={bound: int(getattr(stats, name)) for bound, name in FLUSH_TIMES.items()},
        checkpoints=stats.checkpoints,
        checkpoint_age=stats.checkpoint_age_ms / 1e3,
        written_bytes=stats.written_bytes,
        disk_errors=stats.disk_errors,
        waiting_acknowledgements=stats.waiting_acknowledgements,
        waiting_bytes=stats.waiting_bytes,
        unwritten_bytes=stats.unwritten_bytes,
        log_bytes=stats.log_bytes,
        tables_bytes=stats.tables_bytes,
        replayed_groups=stats.replayed_groups,
        replayed_bytes=stats.replayed_bytes,
        opening=stats.opening_ms / 1e3,
    )


@functools.cache
def _fields() -> list[str]:
    """The statistics that are fields."""
    return [field[0] for field in _ffi.midge_stats._fields_[1:]]


@functools.cache
def _sums() -> list[tuple[str, int]]:
    """The statistics that are no field of their own, and where they stand in the table."""
    found = []
    fields = set(_fields())
    for index in range(quick.midge_stat_count()):
        view = _ffi.midge_stat_view(ctypes.sizeof(_ffi.midge_stat_view))
        quick.midge_stat_at(None, index, ctypes.byref(view))
        name = (copied(view.name) or b"").decode()
        if name not in fields:
            found.append((name, index))
    return found


def _listed(broker: ctypes.c_void_p | None, what: str, row: Any) -> Iterator[Any]:
    """The rows of a list of the library, each valid until the next."""
    listed = ctypes.c_void_p()
    # A list may be long: other threads of Python run while it is made.
    status = getattr(waiting, f"midge_broker_{what}")(broker, ctypes.byref(listed))
    if status < 0:
        raise_for(status)
    try:
        for index in range(getattr(quick, f"midge_{what}_count")(listed)):
            view = row(ctypes.sizeof(row))
            getattr(quick, f"midge_{what}_at")(listed, index, ctypes.byref(view))
            yield view
    finally:
        getattr(quick, f"midge_{what}_free")(listed)
