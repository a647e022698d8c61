"""What the checker of the campaigns says of histories that are known to be right, or wrong."""

import random

import wire
from clients import Subscriber
from history import History
from wire import V5


class Packet:
    """What a subscriber is sent."""

    def __init__(self, message, qos):
        self.topic, self.qos, self.payload = message.topic, qos, message.payload()
        self.retain, self.dup = False, False


def faults(again=True, qos=1, ended=False):
    """Two messages arrive in the wrong order, the first of them published `again`, with a subscription that had `ended`."""
    history = History()
    receiver = history.receiver("s", True)

    def subscribe():
        interval = receiver.subscribe("t/+/a", qos)
        interval.acked = history.tick()
        return interval

    interval = subscribe()
    if ended:
        receiver.unsubscribe(interval)
        interval.unacked = history.tick()
    first = history.send("p", "t/p/a", 1, False, 40)
    if ended:
        subscribe()
    second = history.send("p", "t/p/a", 1, False, 40)
    receiver.receive(Packet(second, qos), 1)
    first.times += again
    receiver.receive(Packet(first, qos), 1)
    return history.faults


class World:
    """A campaign's world, of which a subscriber uses the history alone."""

    def __init__(self):
        self.history, self.random, self.full, self.progress = History(), random.Random(1), False, 0


def pending_of_the_host():
    """The host publishes before a client subscribes, and the campaign reads of it when the client has SUBACK."""
    world = World()
    history = world.history
    client = Subscriber(world, "s", V5, True)
    client.begin_session()
    client.send = lambda data: None
    client.subscribe("h/#", 1)
    lines = [1]
    history.catch_up = lambda: [history.send("h", "h/a", 1, False, 40, number=lines.pop()) for _ in list(lines)]
    client.handle_other(wire.SUBACK, 0x90, bytes([0, client.next_id, 0, 1]))
    history.catch_up()
    history.ack(history.messages["h", 1], "in-process")
    return client.receiver.pending


def main():
    # Never published again, or with the subscription there all the time: the broker has changed the order.
    for again in (False, True):
        assert len(faults(again)) == 1, again
    # The first time it came when there was no subscription, or at QoS 0 when the client may have been away.
    assert not faults(ended=True), faults(ended=True)
    assert not faults(qos=0), faults(qos=0)
    assert not pending_of_the_host()
    print("the checker of the campaigns: 5 histories")


if __name__ == "__main__":
    main()
