"""Clients whose sessions and wills end in time."""

from clients import Client
from wire import V5


class WillClient(Client):
    """Comes with a will, and goes in every way."""

    def __init__(self, world, name, delay):
        super().__init__(world, name, V5, True)
        self.delay, self.message, self.awaits = delay, None, False
        # When the broker has closed after DISCONNECT.
        self.deleted_at = None

    def will(self):
        self.message = self.history.send(self.name, f"w/{self.name}", 2, False, 60, self.number)
        return self.message.topic, self.message.payload(), 2, self.delay

    def dropped(self):
        if self.leaving:
            self.deleted_at = self.world.now()

    def begin_session(self):
        self.forbid()

    def forbid(self):
        """A will that was deleted a second ago must not come."""
        if self.deleted_at and self.world.now() - self.deleted_at > 1:
            name = (self.name, self.message.number)
            self.message.forbidden = not any(name in each.given for each in self.history.receivers)
        self.deleted_at = None

    def killed(self, stopped):
        self.forbid()
        if stopped:
            # A clean stop deletes wills.
            for receiver in self.history.receivers:
                receiver.pending.pop((self.name, self.number), None)
        elif self.connected and self.random.random() < 0.5:
            self.await_will()
        self.drop()
        self.deleted_at = None

    def act(self):
        dice = self.random
        if not self.socket:
            if self.awaits:
                # Its will must come first.
                self.awaits = any((self.name, self.message.number) in each.pending for each in self.history.receivers)
            elif dice.random() < 0.1:
                self.open()
        elif self.connected and dice.random() < 0.02:
            dice.choice([self.open, self.abort, self.leave])()

    def abort(self):
        """Ends the connection without DISCONNECT, and waits for the will."""
        self.await_will()
        self.drop()

    def await_will(self):
        # When it is published is not known, only that it will be.
        self.history.count("will")
        self.history.owe(self.message)
        self.awaits = True

    def rest(self):
        pass

    def idle(self):
        return True


class Expiring(Client):
    """A session that expires soon; what CONNACK says of it depends on the time."""

    def __init__(self, world, name, expiry):
        super().__init__(world, name, V5, True, expiry)
        self.ended = None

    def dropped(self):
        self.ended = self.world.now()
        if self.unsure:
            self.expected = None

    def act(self):
        if not self.socket and self.random.random() < 0.01:
            if self.expected is not False and self.ended is not None:
                now = self.world.now()
                away, counted = now - self.ended, now - max(self.ended, self.world.started)
                short, long = away < self.expiry - 1.2, counted > self.expiry + 2.5
                self.expected = (True if self.expected else None) if short else False if long else None
            self.open()
        elif self.connected and self.random.random() < 0.05:
            self.leave()

    def rest(self):
        pass

    def idle(self):
        return True
