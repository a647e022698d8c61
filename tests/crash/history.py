"""What was sent, acknowledged and received, across all lives of the broker, and what is wrong with it."""

from functools import lru_cache


@lru_cache(maxsize=100_000)
def matches(name, topic):
    """Whether a Topic Filter, `$share/group/` before it or not, matches a Topic Name."""
    if name.startswith("$share/"):
        name = name.split("/", 2)[2]
    levels, parts = name.split("/"), topic.split("/")
    for at, level in enumerate(levels):
        if level == "#":
            return True
        if at >= len(parts) or level not in ("+", parts[at]):
            return False
    return len(levels) == len(parts)


def payload(source, number, size):
    """The payload of a message: its name, and filling that follows from it."""
    head = f"{source}:{number}:{size};".encode()
    return head + bytes([97 + number % 26]) * max(0, size - len(head))


class Message:
    """A message that somebody has published, or a will."""

    __slots__ = ("source", "number", "topic", "qos", "retain", "size", "sent", "acked", "times", "forbidden")

    def __init__(self, source, number, topic, qos, retain, size, sent):
        self.source, self.number, self.topic, self.qos = source, number, topic, qos
        self.retain, self.size, self.sent = retain, size, sent
        self.acked, self.times, self.forbidden = None, 1, False

    def payload(self):
        return payload(self.source, self.number, self.size) if self.size else b""

    def __repr__(self):
        return f"{self.source}:{self.number} to {self.topic} at QoS {self.qos}"


class Interval:
    """From a SUBSCRIBE to an UNSUBSCRIBE."""

    __slots__ = ("filter", "qos", "sent", "acked", "unsent", "unacked")

    def __init__(self, name, qos, sent):
        self.filter, self.qos, self.sent = name, qos, sent
        self.acked = self.unsent = self.unacked = None

    def may_have(self, message):
        """Whether it may have been there when the message was published."""
        begun_after = message.acked is not None and message.acked < self.sent
        return not begun_after and not (self.unacked is not None and self.unacked < message.sent)

    def must_have(self, message):
        """Whether it was there when the message was published, for certain, and owes it."""
        return (
            self.acked is not None and self.acked < message.sent and self.unsent is None
            and min(self.qos, message.qos) > 0
        )


class Receiver:
    """A session, or all members of a group: what it was owed and was given."""

    def __init__(self, history, name, kept, ordered=(0, 1, 2)):
        self.history, self.name, self.kept, self.ordered = history, name, kept, ordered
        self.intervals, self.given, self.older = [], {}, {}
        self.pending, self.last, self.retained = {}, {}, {}

    def owe(self, message):
        if not self.kept or (message.source, message.number) in self.given or not message.size:
            return
        if any(each.must_have(message) and matches(each.filter, message.topic) for each in self.intervals):
            self.pending[message.source, message.number] = message

    def subscribe(self, name, qos):
        interval = Interval(name, qos, self.history.tick())
        self.intervals.append(interval)
        return interval

    def unsubscribe(self, interval):
        if interval.unsent is None:
            interval.unsent = self.history.tick()
        for key, message in list(self.pending.items()):
            if matches(interval.filter, message.topic):
                del self.pending[key]

    def receive(self, packet, connection):
        """A message arrives, not a repetition that its Packet Identifier shows."""
        history = self.history
        history.received += 1
        if not packet.payload:
            self.retained[packet.topic] = None
            return
        message, key = history.identify(packet)
        if message is None:
            self.receive_old(packet, key)
            return
        if packet.payload != message.payload() or packet.topic != message.topic or packet.qos > message.qos:
            history.fault(f"{self.name} got other bytes, topic or QoS for {message}: {packet.topic} {packet.payload[:60]}")
        if message.forbidden:
            history.fault(f"{self.name} got {message}, a will that was deleted")
        found = [each for each in self.intervals if matches(each.filter, message.topic)]
        if not packet.retain and not any(each.may_have(message) for each in found):
            history.fault(f"{self.name} got {message} without a subscription")
        self.pending.pop(key, None)
        if message.retain:
            self.retained[packet.topic] = message.number
        if packet.retain:
            return
        if key in self.given:
            if packet.qos == 2:
                history.fault(f"{self.name} got {message} twice at QoS 2, first on {self.given[key]}, now on {connection}")
            elif message.times == 1 and self.given[key] == connection:
                history.fault(f"{self.name} got {message} twice on one connection at QoS {packet.qos}")
            return
        self.given[key] = connection
        place = (message.source, message.topic, packet.qos)
        # What is published again may have been published first while no subscription was there, or at QoS 0 while the
        # client was away: then it comes by its second publication, after what was published between both.
        whole = message.times == 1 or any(each.must_have(message) for each in found)
        ordered = packet.qos in self.ordered and whole and not message.retain
        if ordered and self.last.get(place, -1) > message.number:
            history.fault(
                f"{self.name} got {message} (published {message.times} times) after {self.last[place]} on {connection},"
                f" DUP = {packet.dup}"
            )
        self.last[place] = max(message.number, self.last.get(place, -1))

    def receive_old(self, packet, key):
        """Of a message that the history has forgotten."""
        if key is None or key[1] > self.history.forgotten.get(key[0], -1):
            self.history.fault(f"{self.name} got what nobody sent: {packet.topic} {packet.payload[:60]}")
        elif packet.qos == 2 and not packet.retain:
            self.history.fault(f"{self.name} got {key} again at QoS 2, long after")


class Retained:
    """A topic with one publisher: the states it may be in, the last acknowledged one first."""

    def __init__(self):
        # (number, whether a message is there)
        self.states = [(-1, False)]
        self.watched = []

    def watch(self):
        """The same states, and those that come, also when they are acknowledged."""
        self.watched = list(self.states)
        return self.watched

    def send(self, message):
        for states in (self.states, self.watched):
            states.append((message.number, message.size > 0))

    def ack(self, message):
        self.states = [each for each in self.states if each[0] >= message.number]


class History:
    """Everything that the driver knows."""

    def __init__(self):
        self.clock, self.messages, self.receivers, self.topics = 0, {}, [], {}
        self.faults, self.acks, self.received, self.numbers = [], {}, 0, {}
        self.forgotten, self.fence = {}, []
        # Reads what the host program has written; set by the driver.
        self.catch_up = lambda: None

    def tick(self):
        self.clock += 1
        return self.clock

    def fault(self, words):
        self.faults.append(words)

    def count(self, kind):
        """An acknowledgement that is checked."""
        self.acks[kind] = self.acks.get(kind, 0) + 1

    def send(self, source, topic, qos, retain, size, number=None):
        if number is None:
            number = self.numbers[source] = self.numbers.get(source, 0) + 1
        message = Message(source, number, topic, qos, retain, size, self.tick())
        self.messages[source, number] = message
        if retain:
            self.topics.setdefault(topic, Retained()).send(message)
        return message

    def ack(self, message, kind):
        self.count(kind)
        if message.acked is not None:
            return
        message.acked = self.tick()
        if message.retain:
            self.topics[message.topic].ack(message)
        self.owe(message)

    def owe(self, message):
        for receiver in self.receivers:
            receiver.owe(message)

    def receiver(self, name, kept, ordered=(0, 1, 2)):
        receiver = Receiver(self, name, kept, ordered)
        self.receivers.append(receiver)
        return receiver

    def identify(self, packet):
        """The message that a payload names, and its name."""
        try:
            source, number, _ = packet.payload[:60].split(b";")[0].decode().split(":")
            key = (source, int(number))
        except (ValueError, UnicodeDecodeError):
            return None, None
        if key not in self.messages:
            self.catch_up()
        return self.messages.get(key), key

    def pending(self):
        return sum(len(each.pending) for each in self.receivers)

    def settle(self):
        """Everything owed must have come: the rest is lost. The oldest part of the history is forgotten."""
        for receiver in self.receivers:
            for message in list(receiver.pending.values())[:3]:
                self.fault(f"{receiver.name} never got {message} (lost: {len(receiver.pending)})")
            receiver.pending.clear()
            self.settle_retained(receiver)
        self.fence.append(list(self.messages))
        if len(self.fence) > 2:
            self.forget(set(self.fence.pop(0)))

    def settle_retained(self, receiver):
        """A subscriber of everything retained must know the state of every topic."""
        if not receiver.kept or not any(
            each.filter == "r/#" and each.acked is not None and each.unsent is None for each in receiver.intervals
        ):
            return
        for topic, retained in self.topics.items():
            known = receiver.retained.get(topic)
            if known not in [number if there else None for number, there in retained.states]:
                self.fault(f"{receiver.name} knows {known} as retained in {topic}, not {retained.states[:3]}")

    def forget(self, keys):
        for key in keys:
            message = self.messages.get(key)
            # A will may come late.
            if message is None or message.source.startswith("w"):
                continue
            if message.retain and any(number == message.number for number, _ in self.topics[message.topic].states):
                continue
            del self.messages[key]
            self.forgotten[key[0]] = max(key[1], self.forgotten.get(key[0], -1))
            for receiver in self.receivers:
                receiver.given.pop(key, None)
