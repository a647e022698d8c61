"""The clients of the crash campaign. They outlive the broker, and know what a correct client must remember."""

import socket

import wire
from wire import V5


class Client:
    """One Client Identifier and its connections, one after the other."""

    def __init__(self, world, name, version=V5, kept=True, expiry=None):
        self.world, self.history, self.random = world, world.history, world.random
        self.name, self.version, self.kept = name, version, kept
        self.expiry = (wire.NEVER if kept else 0) if expiry is None else expiry
        self.socket, self.connected, self.number = None, False, 0
        self.inbox, self.outbox = bytearray(), bytearray()
        # Whether the broker must have the session: True, False, or None where either is right.
        self.expected = False
        self.leaving = False
        # Whether the last CONNECT was not answered, and its Clean Start.
        self.unsure, self.clean = False, False
        # Whether a Clean Start was refused, so that the session that it was to end is still there.
        self.owes_clean = False

    # -- the connection

    def open(self, clean=None):
        """Connects. An older connection is closed, or left to the broker, which must end it."""
        self.drop(self.random.random() < 0.5)
        self.number += 1
        self.clean = (not self.kept) if clean is None else clean
        self.clean |= self.owes_clean
        try:
            self.socket = socket.create_connection(self.world.address, timeout=5)
        except OSError:
            return
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.leaving = False
        self.world.watch(self)
        expiry = self.expiry if self.version == V5 else None
        self.begin_session()
        self.send(wire.connect(self.version, self.name, self.clean, expiry, self.will()))
        if self.clean:
            self.expected = False
        self.unsure = True

    def begin_session(self):
        pass

    def will(self):
        return None

    def drop(self, linger=False):
        """Closes the connection without a word; one that lingers stays open, unread, until the life ends."""
        if self.socket:
            self.world.unwatch(self)
            if linger:
                self.world.lingering.append(self.socket)
            else:
                self.socket.close()
            if self.unsure and not self.clean and self.expected is False:
                self.expected = None
            self.socket, self.connected = None, False
            self.inbox.clear()
            self.outbox.clear()
            self.dropped()

    def dropped(self):
        """The connection has ended."""

    def killed(self, stopped):
        """The broker is dead, or has stopped cleanly."""
        self.drop()

    def leave(self):
        """DISCONNECT; the broker closes."""
        self.send(wire.disconnect())
        self.leaving, self.connected = True, False

    def send(self, data):
        self.outbox += data
        self.flush()

    def flush(self):
        if not self.outbox or not self.socket:
            return
        try:
            sent = self.socket.send(self.outbox)
            del self.outbox[:sent]
        except BlockingIOError:
            pass
        except OSError:
            self.outbox.clear()

    def read(self):
        """Reads what has come; false at the end of the connection."""
        while True:
            try:
                data = self.socket.recv(1 << 16)
            except BlockingIOError:
                break
            except OSError:
                data = b""
            if not data:
                self.handle_all()
                return False
            self.inbox += data
            if len(data) < 1 << 16:
                break
        self.handle_all()
        return True

    def handle_all(self):
        for first, body in wire.split(self.inbox):
            self.world.progress += 1
            self.handle(first >> 4, first, body)

    def handle(self, kind, first, body):
        if kind == wire.CONNACK:
            self.handle_connack(body)
        elif kind == wire.DISCONNECT and not (self.world.victim.killed and body[:1] == b"\x8b"):
            # 0x8b is "server shutting down".
            self.history.fault(f"{self.name} was disconnected with {body[:1].hex()}")
        elif kind not in (wire.PINGRESP, wire.DISCONNECT):
            self.handle_other(kind, first, body)

    def handle_connack(self, body):
        present, code = body[0] & 1, body[1]
        if code and self.world.victim.killed:
            # It stops.
            return
        if code in (3, 0x88) and self.world.full and self.kept:
            # The store takes no session now, and ends none; the client tries again.
            self.world.refused += 1
            self.leaving = True
            self.owes_clean |= self.clean
            return
        if code:
            self.history.fault(f"{self.name} was refused with {code}")
            return
        self.history.count("CONNACK")
        if self.expected is not None and bool(present) != self.expected:
            self.history.fault(f"{self.name}: session present = {present}, not {self.expected} (clean = {self.clean})")
        self.unsure, self.connected, self.owes_clean = False, True, False
        self.expected = self.lasts()
        self.start(bool(present))

    def lasts(self):
        """Whether the session outlives its connection. A clean one of MQTT 3.1.1 does not."""
        return self.kept and not (self.version == wire.V4 and self.clean)

    def start(self, present):
        pass

    def handle_other(self, kind, first, body):
        pass

    def act(self):
        """One step of random work."""

    def rest(self):
        """One step towards the end of all work."""
        if not self.socket and self.kept:
            self.open()

    def idle(self):
        return self.connected or not self.kept


class Publisher(Client):
    """Publishes with a small window; what is not acknowledged is sent again where the session is kept."""

    def __init__(self, world, name, version, kept):
        super().__init__(world, name, version, kept)
        self.window = {}
        self.limit = self.random.choice([1, 4, 20])

    def start(self, present):
        if present:
            for packet_id, (message, released) in self.window.items():
                message.times += released is None
                self.transmit(packet_id, message, released)
            return
        waiting, self.window = self.window, {}
        for message, released in waiting.values():
            # A QoS 2 message of a session that is gone may have come or not: it is not sent again.
            if message.qos == 1:
                message.times += 1
                self.add(message)

    def add(self, message):
        packet_id = next(number for number in range(1, 65536) if number not in self.window)
        self.window[packet_id] = (message, None)
        self.transmit(packet_id, message, None)

    def transmit(self, packet_id, message, released):
        if released is None:
            dup = message.times > 1 and self.kept
            data = message.payload()
            self.send(wire.publish(self.version, message.topic, data, message.qos, packet_id, message.retain, dup))
        elif released:
            self.send(wire.ack(wire.PUBREL, packet_id))

    def handle_other(self, kind, first, body):
        packet_id = wire.identifier(body)
        message, released = self.window.get(packet_id, (None, None))
        if wire.reason(body) == 0x97 and self.world.full and message:
            # The disk is full: this message is the client's again.
            self.world.refused += 1
            del self.window[packet_id]
            return
        if wire.reason(body) not in (0, 0x10):
            self.history.fault(f"{self.name} got reason {wire.reason(body):#x} for {message}")
        if message is None or (kind == wire.PUBCOMP) != bool(released):
            if not (kind == wire.PUBREC and released is not None):
                self.history.fault(f"{self.name} got packet type {kind} for identifier {packet_id}, which it has not sent")
            return
        if kind == wire.PUBACK:
            self.history.ack(message, "PUBACK")
            del self.window[packet_id]
        elif kind == wire.PUBREC:
            self.history.ack(message, "PUBREC")
            # Released now or later.
            now = self.random.random() < 0.8
            self.window[packet_id] = (message, now)
            self.transmit(packet_id, message, now)
        elif kind == wire.PUBCOMP:
            self.history.count("PUBCOMP")
            del self.window[packet_id]

    def release(self):
        for packet_id, (message, released) in list(self.window.items()):
            if released is False:
                self.window[packet_id] = (message, True)
                self.transmit(packet_id, message, True)

    def make(self):
        dice = self.random
        topic, qos, retain = dice.choice([("a", 1, False), ("b", 2, False), ("c", 0, False), ("d", 1, True), ("e", 2, True)])
        size = dice.choice([16, 16, 60, 200, 1000, 1000, 9000 if dice.random() < 0.2 else 40, 30000 if dice.random() < 0.05 else 24])
        if retain:
            topic = f"r/{self.name}/{topic}{dice.randrange(4)}"
            size = 0 if dice.random() < 0.2 else size
        else:
            topic = f"{dice.choice('tts')}/{self.name}/{topic}"
        return self.history.send(self.name, topic, qos, retain, max(size, 40) if size else 0)

    def act(self):
        dice = self.random
        if not self.socket:
            if dice.random() < 0.2:
                self.open()
            return
        if not self.connected:
            return
        if dice.random() < 0.3:
            self.release()
        for _ in range(dice.choice([0, 1, 1, 5])):
            if len(self.window) >= self.limit or len(self.outbox) > 1 << 16:
                break
            message = self.make()
            if message.qos:
                self.add(message)
            else:
                self.transmit(0, message, None)
        if dice.random() < 0.005:
            dice.choice([self.open, self.drop, self.leave])()

    def rest(self):
        if not self.socket and (self.kept or self.window):
            self.open()
        elif self.connected:
            self.release()

    def idle(self):
        return not self.window


class Subscriber(Client):
    """Subscribes, receives, acknowledges now or later."""

    FILTERS = ["t/#", "t/+/a", "t/+/b", "h/#", "h/+/b", "s/+/b", "w/#"]

    def __init__(self, world, name, version, kept, fixed=(), group=None):
        super().__init__(world, name, version, kept)
        self.fixed, self.group = list(fixed), group
        self.receiver, self.lasting = None, False
        self.requests, self.subscribed, self.next_id = {}, {}, 0
        # Identifiers of QoS 2 messages that are received and not released, with their payloads.
        self.holding, self.waiting = {}, []
        self.lazy = self.random.choice([0.02, 0.2, 1])

    def begin_session(self):
        if self.receiver is None or self.clean or not self.lasting:
            if self.receiver:
                self.history.receivers.remove(self.receiver)
            self.lasting = self.lasts()
            # What a member of a group has at QoS 1 and the store does not, another one may get after a crash.
            ordered = (2,) if self.group else (0, 1, 2)
            kept = self.lasting and not self.group
            self.receiver = self.history.receiver(f"{self.name}.{self.number}", kept, ordered)
            self.subscribed, self.holding = {}, {}

    def dropped(self):
        self.requests, self.waiting = {}, []
        if not self.lasting:
            self.holding = {}

    def start(self, present):
        if not present:
            self.holding = {}
        for name, qos in self.fixed:
            if name not in self.subscribed:
                self.subscribe(name, qos)
        for name, interval in list(self.subscribed.items()):
            # What the crash has left unanswered is asked again.
            if interval.unsent is not None:
                self.unsubscribe(name)
            elif interval.acked is None:
                self.request(wire.subscribe, [(name, interval.qos)], interval)

    def subscribe(self, name, qos):
        interval = self.receiver.subscribe(name, qos)
        self.subscribed[name] = interval
        if self.group:
            self.group.intervals.append(interval)
        self.request(wire.subscribe, [(name, qos)], interval)

    def unsubscribe(self, name):
        interval = self.subscribed[name]
        self.receiver.unsubscribe(interval)
        self.request(wire.unsubscribe, [name], interval)

    def request(self, make, filters, interval):
        self.next_id = self.next_id % 60000 + 1
        self.requests[self.next_id] = interval
        self.send(make(self.version, self.next_id, filters))

    def handle_other(self, kind, first, body):
        if kind == wire.PUBLISH:
            self.handle_publish(wire.Publish(self.version, first, body))
        elif kind == wire.PUBREL:
            packet_id = wire.identifier(body)
            self.holding.pop(packet_id, None)
            self.answer(wire.PUBCOMP, packet_id)
        elif kind in (wire.SUBACK, wire.UNSUBACK):
            self.history.count("SUBACK" if kind == wire.SUBACK else "UNSUBACK")
            interval = self.requests.pop(wire.identifier(body))
            if kind == wire.SUBACK and self.world.full and wire.granted(self.version, body)[0] in (0x80, 0x97):
                # The store takes no subscription now; an earlier one that was never answered may be there. It is asked
                # for again with the next connection.
                self.world.refused += 1
            elif kind == wire.SUBACK:
                # What the host program has published before may not have been read: it is not owed.
                self.history.catch_up()
                interval.acked = self.history.tick()
                if wire.granted(self.version, body) != [interval.qos]:
                    self.history.fault(f"{self.name}: {interval.filter} was granted {body.hex()}")
            else:
                interval.unacked = self.history.tick()
                del self.subscribed[interval.filter]
        else:
            self.history.fault(f"{self.name} got packet type {kind}")

    def handle_publish(self, packet):
        if packet.qos == 2:
            held = self.holding.get(packet.packet_id)
            if held is not None:
                if held != packet.payload:
                    self.history.fault(
                        f"{self.name} got identifier {packet.packet_id} again before PUBREL for another message: "
                        f"{held[:40]} and {packet.payload[:40]}"
                    )
                self.answer(wire.PUBREC, packet.packet_id)
                return
            self.holding[packet.packet_id] = packet.payload
        self.receiver.receive(packet, (self.name, self.number))
        if self.group:
            self.group.receive(packet, (self.name, self.number))
        if packet.qos:
            self.answer(wire.PUBACK if packet.qos == 1 else wire.PUBREC, packet.packet_id)

    def answer(self, kind, packet_id):
        self.waiting.append(wire.ack(kind, packet_id))

    def answer_all(self):
        if self.waiting:
            self.send(b"".join(self.waiting))
            self.waiting = []

    def act(self):
        dice = self.random
        if not self.socket:
            if dice.random() < 0.05:
                self.open(not self.kept or not self.fixed and dice.random() < 0.1)
            return
        if not self.connected:
            return
        if dice.random() < self.lazy:
            self.answer_all()
        if dice.random() < 0.02 and not self.fixed:
            name = dice.choice(self.FILTERS)
            interval = self.subscribed.get(name)
            if interval is None:
                self.subscribe(name, dice.choice([0, 1, 2, 2]))
            elif interval.acked is not None and interval.unsent is None and dice.random() < 0.3:
                self.unsubscribe(name)
        if dice.random() < 0.005:
            dice.choice([self.open, self.drop, self.leave])()

    def open(self, clean=None):
        # A CONNECT with Clean Start that was not answered is repeated, since nobody knows what it has done.
        super().open(True if self.kept and self.unsure and self.clean else clean)

    def rest(self):
        super().rest()
        if self.connected:
            self.answer_all()

    def idle(self):
        return super().idle() and not self.waiting and not self.requests and not self.holding
