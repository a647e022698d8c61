"""MQTT packets as bytes: what the clients of the crash campaign send, and how they read what comes."""

import struct

CONNECT, CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP = range(1, 8)
SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK, PINGREQ, PINGRESP, DISCONNECT = range(8, 15)
V4, V5 = 4, 5
NEVER = 0xFFFFFFFF


def length(number):
    out = bytearray()
    while True:
        number, low = divmod(number, 128)
        out.append(low | (128 if number else 0))
        if not number:
            return bytes(out)


def text(string):
    data = string.encode()
    return struct.pack(">H", len(data)) + data


def packet(first, body):
    return bytes([first]) + length(len(body)) + body


def connect(version, client_id, clean, expiry=None, will=None):
    """`will` is (topic, payload, QoS, delay in seconds)."""
    flags = 2 if clean else 0
    properties = b"" if expiry is None else b"\x11" + struct.pack(">I", expiry)
    body = text("MQTT") + bytes([version])
    tail = text(client_id)
    if will:
        topic, payload, qos, delay = will
        flags |= 4 | qos << 3
        if version == V5:
            tail += b"\x05\x18" + struct.pack(">I", delay)
        tail += text(topic) + struct.pack(">H", len(payload)) + payload
    body += bytes([flags]) + b"\x00\x00"
    if version == V5:
        body += length(len(properties)) + properties
    return packet(CONNECT << 4, body + tail)


def publish(version, topic, payload, qos, packet_id, retain=False, dup=False):
    body = text(topic) + (struct.pack(">H", packet_id) if qos else b"") + (b"\0" if version == V5 else b"")
    return packet(PUBLISH << 4 | dup << 3 | qos << 1 | retain, body + payload)


def ack(kind, packet_id):
    return packet(kind << 4 | (2 if kind == PUBREL else 0), struct.pack(">H", packet_id))


def subscribe(version, packet_id, filters):
    body = struct.pack(">H", packet_id) + (b"\0" if version == V5 else b"")
    return packet(SUBSCRIBE << 4 | 2, body + b"".join(text(name) + bytes([qos]) for name, qos in filters))


def unsubscribe(version, packet_id, filters):
    body = struct.pack(">H", packet_id) + (b"\0" if version == V5 else b"")
    return packet(UNSUBSCRIBE << 4 | 2, body + b"".join(text(name) for name in filters))


def disconnect():
    return b"\xe0\x00"


def pingreq():
    return b"\xc0\x00"


def split(buffer):
    """Takes the whole packets out of a bytearray, as (first byte, body)."""
    found, at = [], 0
    while True:
        size, shift, place = 0, 0, at + 1
        while True:
            if place >= len(buffer):
                del buffer[:at]
                return found
            byte = buffer[place]
            place += 1
            size |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                break
        if place + size > len(buffer):
            del buffer[:at]
            return found
        found.append((buffer[at], bytes(buffer[place : place + size])))
        at = place + size


def variable(body, at):
    size, shift = 0, 0
    while True:
        byte = body[at]
        at += 1
        size |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return size, at


class Publish:
    """A PUBLISH that has come."""

    __slots__ = ("topic", "payload", "qos", "retain", "dup", "packet_id")

    def __init__(self, version, first, body):
        self.qos, self.retain, self.dup = first >> 1 & 3, bool(first & 1), bool(first & 8)
        size = struct.unpack_from(">H", body)[0]
        self.topic = body[2 : 2 + size].decode()
        at = 2 + size
        self.packet_id = 0
        if self.qos:
            self.packet_id = struct.unpack_from(">H", body, at)[0]
            at += 2
        if version == V5:
            size, at = variable(body, at)
            at += size
        self.payload = body[at:]


def identifier(body):
    return struct.unpack_from(">H", body)[0]


def reason(body):
    """The Reason Code of an acknowledgement of MQTT 5; 0 where there is none."""
    return body[2] if len(body) > 2 else 0


def granted(version, body):
    at = 2
    if version == V5:
        size, at = variable(body, 2)
        at += size
    return list(body[at:])
