"""What the checker of the campaigns says of histories that are known to be right, or wrong."""

from history import History


class Packet:
    """What a subscriber is sent."""

    def __init__(self, message, dup=False):
        self.topic, self.qos, self.payload = message.topic, message.qos, message.payload()
        self.retain, self.dup = False, dup


def faults(again, ended):
    """Two messages arrive in the wrong order, the first of them published `again`, with a subscription that had `ended`."""
    history = History()
    receiver = history.receiver("s", True)

    def subscribe():
        interval = receiver.subscribe("t/+/a", 1)
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
    receiver.receive(Packet(second), 1)
    first.times += again
    receiver.receive(Packet(first), 1)
    return history.faults


def main():
    # Never published again, or with the subscription there all the time: the broker has changed the order.
    for again in (False, True):
        assert len(faults(again, ended=False)) == 1, again
    # It came when there was no subscription, and again when there was one.
    assert faults(again=True, ended=True) == [], faults(again=True, ended=True)
    print("the checker of the campaigns: 3 histories")


if __name__ == "__main__":
    main()
