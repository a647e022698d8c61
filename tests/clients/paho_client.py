"""paho-mqtt clients whose events a test waits for; for paho-mqtt 2.x."""

import collections
import os
import queue
import socket

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from processes import DEADLINE

__all__ = ["V31", "V311", "V5", "VERSIONS", "Client", "SubscribeOptions", "properties"]

V31, V311, V5 = mqtt.MQTTv31, mqtt.MQTTv311, mqtt.MQTTv5
VERSIONS = [V31, V311, V5]


def properties(packet, **values):
    """The properties of a packet of this type: properties("PUBLISH", TopicAlias=1)."""
    made = Properties(getattr(PacketTypes, packet))
    for name, value in values.items():
        setattr(made, name, value)
    return made


class Client:
    """A client with a queue for each kind of event."""

    def __init__(self, broker, version, client_id="", *, clean=True, connect=None, will=None, keep_alive=60,
                 manual_ack=False, maximum_inflight=None, transport="tcp", prepare=None):
        options = {} if version == V5 else {"clean_session": clean}
        self.client = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2, client_id, protocol=version, reconnect_on_failure=False,
            manual_ack=manual_ack, transport=transport, **options)
        if prepare:
            prepare(self.client)
        self.version = version
        self._queues = {}
        self._seen = collections.deque(maxlen=20)
        if maximum_inflight is not None:
            self.client.max_inflight_messages_set(maximum_inflight)
        if will:
            self.client.will_set(**will)
        self.client.on_connect = lambda c, u, flags, reason, properties: self._put(
            "connect", (flags.session_present, reason, properties))
        self.client.on_disconnect = lambda c, u, flags, reason, properties: self._put("disconnect", reason)
        self.client.on_subscribe = lambda c, u, mid, reasons, properties: self._put("subscribe", reasons)
        self.client.on_unsubscribe = lambda c, u, mid, reasons, properties: self._put("unsubscribe", reasons)
        self.client.on_publish = lambda c, u, mid, reason, properties: self._put("publish", (mid, reason))
        self.client.on_message = lambda c, u, message: self._put("message", message)
        self.client.on_log = lambda c, u, level, text: self._put("log", text)
        self._connect(broker, clean, connect, keep_alive)

    def _connect(self, broker, clean, connect, keep_alive):
        options = {}
        if self.version == V5:
            options = {"clean_start": clean, "properties": connect}
        self.client.connect(broker.host, broker.port, keepalive=keep_alive, **options)
        self.client.loop_start()
        self.session_present, self.reason, self.properties = self.event("connect")

    def _put(self, kind, event):
        self._seen.append((kind, str(event)))
        self._queues.setdefault(kind, queue.Queue()).put(event)

    def event(self, kind):
        """The next event of this kind: connect, disconnect, subscribe, unsubscribe, publish, message or log."""
        try:
            return self._queues.setdefault(kind, queue.Queue()).get(timeout=DEADLINE)
        except queue.Empty:
            raise AssertionError(f"no {kind} within {DEADLINE} s; the last events: {list(self._seen)}") from None

    def has(self, kind):
        """Whether an event of this kind has come and was not asked for."""
        return not self._queues.setdefault(kind, queue.Queue()).empty()

    def log_with(self, text):
        while text not in self.event("log"):
            pass

    def subscribe(self, *arguments, **options):
        """Subscribes, and returns the reason codes of the SUBACK as numbers."""
        result, _ = self.client.subscribe(*arguments, **options)
        assert result == mqtt.MQTT_ERR_SUCCESS
        return [reason.value for reason in self.event("subscribe")]

    def unsubscribe(self, *arguments):
        """Unsubscribes, and returns the reason codes of the UNSUBACK as numbers."""
        self.client.unsubscribe(*arguments)
        return [reason.value for reason in self.event("unsubscribe")]

    def publish(self, topic, payload=b"", qos=0, retain=False, properties=None):
        """Publishes, waits until that is finished, and returns the last reason code as a number."""
        info = self.client.publish(topic, payload, qos, retain, properties)
        while True:
            mid, reason = self.event("publish")
            if mid == info.mid:
                return reason.value

    def message(self):
        return self.event("message")

    def payloads(self, count):
        return [self.message().payload for _ in range(count)]

    def until(self, topic):
        """The messages before the next one of this topic."""
        before = []
        while (message := self.message()).topic != topic:
            before.append(message)
        return before

    def break_off(self):
        """Ends the connection without a DISCONNECT."""
        # Of any transport: the wrapper of WebSocket cannot be shut down.
        with socket.socket(fileno=os.dup(self.client.socket().fileno())) as connection:
            connection.shutdown(socket.SHUT_RDWR)
        self.event("disconnect")

    def disconnect(self, **options):
        """Says goodbye, and waits until the connection has ended."""
        self.client.disconnect(**options)
        self.event("disconnect")

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()
