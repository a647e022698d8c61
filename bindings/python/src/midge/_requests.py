"""What hooks are asked and told."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from midge import _ffi
from midge._arguments import needed
from midge._batch import copied, copied_text, read_properties
from midge._errors import ArgumentError, StateError, TopicError
from midge._library import encode, quick, raise_for, raise_for_topic, waiting
from midge._message import Properties
from midge._publish import Payload, as_bytes, call_with, pairs_of, plain
from midge._types import QoS
from midge._views import VERSIONS, TlsIdentity, read_process, read_tls

__all__ = [
    "AccessRequest",
    "ConnectRequest",
    "Connected",
    "Decision",
    "Delivered",
    "Disconnected",
    "Dropped",
    "PublishRequest",
]


class Decision:
    """A decision that is made later, on any thread: what `defer` of a request gives, and the hook returns.

    Meanwhile the client waits, others do not. What is not decided within the setting `hooks.deadline`, or is
    forgotten, is denied.
    """

    def __init__(self, handle: int | None) -> None:
        """For the hooks."""
        self._handle = [handle]  # a list, for popping is atomic: one call uses it

    def allow(self) -> bool:
        """Allows; False if that came too late: the time was over, the client gone, or the broker stopped."""
        return self._resolve(_ffi.MIDGE_ALLOW)

    def deny(self, reason: int | None = None) -> bool:
        """Denies, with a reason code of MQTT 5 (0x80 and above) if one is given; False if that came too late."""
        if reason is not None and not isinstance(reason, int):
            raise needed("reason", "an int", reason)
        if reason is not None and not 0x80 <= reason <= 0xFF:
            raise ArgumentError(f"reason: {reason} is not 0x80 to 0xFF")
        return self._resolve(_ffi.MIDGE_DENY if reason is None else reason)

    def _resolve(self, verdict: int) -> bool:
        try:
            handle = self._handle.pop()
        except IndexError:
            raise StateError("it was decided before") from None
        status = waiting.midge_decision_resolve(handle, verdict)
        if status == _ffi.MIDGE_STATUS_INVALID_ARGUMENT:
            quick.midge_decision_free(handle)
            raise ArgumentError(f"reason: {verdict} is no reason code for this")
        return bool(status == _ffi.MIDGE_STATUS_OK)

    def _abandon(self) -> None:
        """The hook has answered otherwise: the library has its half back."""
        with contextlib.suppress(IndexError):
            self._handle.pop()

    def __del__(self) -> None:
        with contextlib.suppress(IndexError, AttributeError):
            waiting.midge_decision_free(self._handle.pop())


@dataclass
class _Request:
    """What a hook decides."""

    _decision: Decision | None = field(default=None, init=False, repr=False, compare=False)

    def defer(self) -> Decision:
        """The decision, to be made later. The hook returns it, too."""
        if self._decision is None:
            raise StateError("the request does not come from a broker")
        return self._decision


@dataclass
class ConnectRequest(_Request):
    """A client that wants to be let in."""

    client_id: str
    """The client identifier; empty if the client leaves the choice to the broker."""
    username: str | None = None
    """The user name, if it gave one."""
    password: bytes | None = field(default=None, repr=False)
    """The password, if it gave one."""
    address: str | None = None
    """The peer's address; None if it did not come over a network."""
    listener: str | None = None
    """The name of the listener that it came by."""
    version: str = "5"
    """The protocol version: "3.1", "3.1.1" or "5"."""
    clean_start: bool = True
    """Whether it connects with Clean Start or Clean Session."""
    keep_alive: int = 0
    """The keep alive that it asks for, in seconds; 0 is none."""
    connection: int = 0
    """The number of the connection, which no other connection of this broker has."""
    tls: TlsIdentity | None = None
    """What the handshake of TLS has shown, such as the client's certificate; None without TLS."""
    uid: int | None = None
    """The user of the process at the other end of a Unix domain socket; None for other peers."""
    gid: int | None = None
    """Its group."""
    pid: int | None = None
    """Its number; 0 if the system does not say."""


@dataclass
class AccessRequest(_Request):
    """A client that wants to publish or to subscribe."""

    client_id: str
    """The client identifier; empty with the will of a client that leaves the choice to the broker."""
    username: str | None
    """The user name, if it gave one."""
    action: str
    """ "publish" or "subscribe"."""
    topic: str
    """The topic to publish to, or the topic filter, `$share/<group>/` included, to subscribe to."""
    qos: QoS = 0
    """The QoS of the message, or the highest one that is asked for."""
    retain: bool = False
    """Whether the message is to be retained."""
    is_will: bool = False
    """Whether it is the will of a client that connects."""
    address: str | None = None
    """The peer's address; None if it did not come over a network."""
    uid: int | None = None
    """The user of the process at the other end of a Unix domain socket; None for other peers."""
    gid: int | None = None
    """Its group."""
    pid: int | None = None
    """Its number; 0 if the system does not say."""


class PublishRequest:
    """A client's message before it is published. Setting topic, payload, qos, retain or properties changes it."""

    __slots__ = (
        "_client_id",
        "_edit",
        "_is_will",
        "_payload",
        "_properties",
        "_qos",
        "_retain",
        "_topic",
        "_username",
    )

    def __init__(
        self,
        edit: int | None,
        client_id: str,
        username: str | None,
        is_will: bool,
        topic: str,
        payload: bytes,
        qos: QoS,
        retain: bool,
        properties: Properties,
    ) -> None:
        """For the hooks."""
        self._edit = edit
        self._client_id = client_id
        self._username = username
        self._is_will = is_will
        self._topic = topic
        self._payload = payload
        self._qos = qos
        self._retain = retain
        self._properties = properties

    @property
    def client_id(self) -> str:
        """The client identifier."""
        return self._client_id

    @property
    def username(self) -> str | None:
        """The user name; None if it gave none, and with a will."""
        return self._username

    @property
    def is_will(self) -> bool:
        """Whether it is the will of a client that is gone."""
        return self._is_will

    @property
    def topic(self) -> str:
        """The topic. Whether the client may publish to another one is not asked."""
        return self._topic

    @topic.setter
    def topic(self, topic: str) -> None:
        name = encode("topic", topic, TopicError)
        status = quick.midge_edit_set_topic(self._lent(), name)
        if status < 0:
            raise_for_topic(status, "midge_topic_check", name, f"topic: {topic!r}")
        self._topic = topic

    @property
    def payload(self) -> bytes:
        """The payload; a str that is set is sent as UTF-8."""
        return self._payload

    @payload.setter
    def payload(self, payload: Payload) -> None:
        data = as_bytes(payload)
        self._changed("payload", quick.midge_edit_set_payload(self._lent(), data, len(data)), f"{len(data)} bytes")
        self._payload = data

    @property
    def qos(self) -> QoS:
        """The QoS. What the client is acknowledged does not change with it."""
        return self._qos

    @qos.setter
    def qos(self, qos: QoS) -> None:
        plain(qos, False)
        self._changed("qos", quick.midge_edit_set_qos(self._lent(), qos), qos)
        self._qos = qos

    @property
    def retain(self) -> bool:
        """Whether it becomes the topic's retained message."""
        return self._retain

    @retain.setter
    def retain(self, retain: bool) -> None:
        plain(0, retain)
        self._changed("retain", quick.midge_edit_set_retain(self._lent(), int(retain)), retain)
        self._retain = retain

    @property
    def properties(self) -> Properties:
        """The MQTT 5 properties."""
        return self._properties

    @properties.setter
    def properties(self, properties: Properties) -> None:
        if not isinstance(properties, Properties):
            raise needed("properties", "a midge.Properties", properties)
        told = call_with(
            self._qos,
            self._retain,
            properties.expiry,
            properties.content_type,
            properties.response_topic,
            properties.correlation_data,
            properties.user_properties,
        )
        status = quick.midge_edit_set_options(self._lent(), told.options)
        if status < 0:
            told.fail(status, "properties")
        self._properties = properties

    def add_user_properties(self, pairs: Mapping[str, str] | Iterable[tuple[str, str]]) -> None:
        """Adds user properties behind those that are there."""
        added = tuple(pairs_of(pairs))
        self.properties = self._properties._replace(user_properties=self._properties.user_properties + added)

    def __repr__(self) -> str:
        return (
            f"PublishRequest(client_id={self._client_id!r}, topic={self._topic!r}, payload={self._payload!r}, "
            f"qos={self._qos}, retain={self._retain})"
        )

    def _lent(self) -> int:
        if self._edit is None:
            raise StateError("the hook has returned: the message cannot be changed any more")
        return self._edit

    def _changed(self, what: str, status: int, value: Any) -> None:
        if status < 0:
            raise_for(status, None, f"{what}: {value!r}")


@dataclass(frozen=True)
class Connected:
    """A client that was let in."""

    client_id: str
    """The client identifier, which the broker may have chosen."""
    username: str | None
    """The user name, if it gave one."""
    address: str | None
    """The peer's address; None if it did not come over a network."""
    listener: str | None
    """The name of the listener that it came by."""
    version: str
    """The protocol version: "3.1", "3.1.1" or "5"."""
    clean_start: bool
    """Whether it connected with Clean Start or Clean Session."""
    session_present: bool
    """Whether it has resumed a session."""
    keep_alive: int
    """The keep alive in force, in seconds; 0 is none."""
    connection: int
    """The number of the connection, which no other connection of this broker has."""
    tls: TlsIdentity | None = None
    """What the handshake of TLS has shown; None without TLS."""
    uid: int | None = None
    """The user of the process at the other end of a Unix domain socket; None for other peers."""
    gid: int | None = None
    """Its group."""
    pid: int | None = None
    """Its number; 0 if the system does not say."""


@dataclass(frozen=True)
class Disconnected:
    """A client whose connection has ended."""

    client_id: str
    """The client identifier."""
    cause: str
    """Why.

    "disconnected" (it said so), "connection_lost", "refused" (it broke a rule), "keep_alive" (it was silent),
    "taken_over" (it has connected again), "kicked" or "stopping" (the broker stops).
    """
    why: str
    """More of it, in words; empty if the cause says it all."""
    reason_code: int | None
    """The reason code of MQTT 5 if the cause is "refused"."""
    connection: int
    """The number of the connection."""


@dataclass(frozen=True)
class Delivered:
    """A message that a client has."""

    client_id: str | None
    """The client identifier."""
    topic: str
    """The topic."""
    qos: QoS
    """The QoS of the delivery."""


@dataclass(frozen=True)
class Dropped:
    """A message that was dropped."""

    client_id: str | None
    """The client that does not get it, or that has published it if nobody does; None for this program."""
    topic: str
    """The topic."""
    reason: str
    """Why, such as "queue_full", as in the statistics `messages_dropped_...`."""


_ACTIONS = {_ffi.MIDGE_ACTION_PUBLISH: "publish", _ffi.MIDGE_ACTION_SUBSCRIBE: "subscribe"}
_CAUSES = {
    value: name[len("MIDGE_CAUSE_") :].lower() for name, value in vars(_ffi).items() if name.startswith("MIDGE_CAUSE_")
}


def read_connect_request(address: int) -> ConnectRequest:
    """A client that wants to be let in, copied."""
    view = _ffi.midge_connect_request.from_address(address)
    return ConnectRequest(
        client_id=copied_text(view.client_id) or "",
        username=copied_text(view.username),
        password=copied(view.password),
        address=copied_text(view.address),
        listener=copied_text(view.listener),
        version=VERSIONS.get(view.protocol_version, str(view.protocol_version)),
        clean_start=view.clean_start == 1,
        keep_alive=view.keep_alive,
        connection=view.connection,
        tls=read_tls(view.tls),
        **read_process(view),
    )


def read_access_request(address: int) -> AccessRequest:
    """A client that wants to publish or subscribe, copied."""
    view = _ffi.midge_access_request.from_address(address)
    return AccessRequest(
        client_id=copied_text(view.client_id) or "",
        username=copied_text(view.username),
        action=_ACTIONS.get(view.action, str(view.action)),
        topic=copied_text(view.topic) or "",
        qos=cast(QoS, view.qos),
        retain=view.retain == 1,
        is_will=view.is_will == 1,
        address=copied_text(view.address),
        **read_process(view),
    )


def read_publish_request(address: int, edit: int | None) -> PublishRequest:
    """A message that is to be published, copied."""
    view = _ffi.midge_publish_request.from_address(address)
    message = view.message or 0
    return PublishRequest(
        edit,
        copied_text(view.client_id) or "",
        copied_text(view.username),
        view.is_will == 1,
        copied_text(quick.midge_message_topic(message)) or "",
        copied(quick.midge_message_payload(message)) or b"",
        quick.midge_message_qos(message),
        quick.midge_message_retained(message) == 1,
        read_properties(message, quick.midge_message_expiry_interval(message)),
    )


def read_connected(address: int) -> Connected:
    """A client that was let in, copied."""
    view = _ffi.midge_connection_view.from_address(address)
    return Connected(
        client_id=copied_text(view.client_id) or "",
        username=copied_text(view.username),
        address=copied_text(view.address),
        listener=copied_text(view.listener),
        version=VERSIONS.get(view.protocol_version, str(view.protocol_version)),
        clean_start=view.clean_start == 1,
        session_present=view.session_present == 1,
        keep_alive=view.keep_alive,
        connection=view.connection,
        tls=read_tls(view.tls),
        **read_process(view),
    )


def read_disconnected(address: int) -> Disconnected:
    """A client whose connection has ended, copied."""
    view = _ffi.midge_disconnection_view.from_address(address)
    return Disconnected(
        client_id=copied_text(view.client_id) or "",
        cause=_CAUSES.get(view.cause, str(view.cause)),
        why=copied_text(view.why) or "",
        reason_code=view.reason_code or None,
        connection=view.connection,
    )


def read_delivered(address: int) -> Delivered:
    """A message that was delivered, copied."""
    view = _ffi.midge_delivery_view.from_address(address)
    return Delivered(copied_text(view.client_id), copied_text(view.topic) or "", cast(QoS, view.qos))


def read_dropped(address: int) -> Dropped:
    """A message that was dropped, copied."""
    view = _ffi.midge_delivery_view.from_address(address)
    return Dropped(copied_text(view.client_id), copied_text(view.topic) or "", copied_text(view.reason) or "")
