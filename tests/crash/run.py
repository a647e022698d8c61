"""Kills a broker with a durable store at random moments of random work, and checks what it gives back.

    run.py [--rounds 300] [--seed 1] [--power] [--control] [--midge FILE] [--host FILE]

A round is a life of the broker: it starts, is audited, works, and is killed by SIGKILL. `--power` cuts the power, too: the
store lies on an ext4 file system in a file, which is copied right after the kill; the copy is what the next life finds
(needs root). `--control` runs a broker with a fault, and succeeds if a fault is found: one that acknowledges before the
commit, or with `--power` one with `storage.sync = never`.
"""

import argparse
import os
import random
import selectors
import shutil
import sys
import tempfile
import time

import wire
from clients import Client, Publisher, Subscriber
from ending import Expiring, WillClient
from history import History, payload
from victim import Loop, Plain, Victim
from wire import V4, V5

LIVES = 25  # of one store
PATIENCE = 20  # seconds without any packet, after which what is owed counts as lost


class Campaign:
    """What one store lives through."""

    def __init__(self, options, seed, scratch):
        self.options, self.random, self.scratch = options, random.Random(seed), scratch
        self.history = History()
        self.history.catch_up = self.read_host
        self.selector = selectors.DefaultSelector()
        self.disk = Loop(scratch) if options.power else Plain(scratch)
        self.victim, self.address, self.started, self.progress, self.life = None, None, 0, 0, 0
        self.lingering, self.queue = [], None
        self.log_size = self.random.choice(["64KiB", "64KiB", "256KiB", "4MiB" if options.power else "32MiB"])
        self.starts, self.startup_kills, self.clean_stops = 0, 0, 0
        # Whether the disk is full, and messages that were refused for that.
        self.full, self.refused = False, 0
        self.clients = self.make_clients()

    def make_clients(self):
        group = self.history.receiver("group g", True, ordered=())
        group4 = self.history.receiver("group k", True, ordered=())
        made = [
            Publisher(self, "p1", V5, True), Publisher(self, "p2", V4, True), Publisher(self, "p3", V5, True),
            Publisher(self, "p4", V4, False), Publisher(self, "p5", V5, False),
            Subscriber(self, "s1", V5, True, [("t/#", 2), ("h/#", 2)]), Subscriber(self, "s2", V4, True, [("t/#", 2), ("r/#", 2)]),
            Subscriber(self, "s3", V5, True, [("h/#", 1), ("t/+/a", 2), ("r/#", 1), ("w/#", 2)]),
            Subscriber(self, "s4", V5, True), Subscriber(self, "s5", V4, True), Subscriber(self, "s6", V5, True),
            Subscriber(self, "s7", V4, False), Subscriber(self, "s8", V5, False),
        ]
        for number in range(3):
            made.append(Subscriber(self, f"g{number}", V5, True, [("$share/g/s/#", 2)], group))
            made.append(Subscriber(self, f"k{number}", V4, True, [("$share/k/s/#", 1)], group4))
        made += [WillClient(self, f"w{number}", number % 2) for number in range(4)]
        return made + [Expiring(self, "x1", 2), Expiring(self, "x2", 4)]

    def now(self):
        return time.monotonic()

    # -- the broker

    def start(self):
        self.life += 1
        self.starts += 1
        embedded = self.random.random() < 0.6 or self.options.control and not self.options.power
        early = ["--early"] if self.options.control and not self.options.power else []
        command = [self.options.host, *early] if embedded else [self.options.midge, "serve"]
        log_size = self.log_size if self.random.random() < 0.9 else self.random.choice(["64KiB", "1MiB"])
        # With little memory most waiting messages are in the store alone, and are read again.
        memory = self.random.choice(["0", "4KiB", "64KiB", "16MiB"])
        settings = {"storage.path": self.disk.store, "storage.log_size": log_size, "storage.memory": memory}
        if self.options.control and self.options.power:
            settings["storage.sync"] = "never"
        self.victim = Victim(command, settings, self.scratch, self.life)

    def wait_until_up(self):
        """Waits for the address; false if the broker was killed before."""
        deadline = self.now() + 60
        while not self.victim.killed:
            address = self.read_host() if self.victim.embedded else self.victim.listening()
            if address:
                self.address = address
                self.started = self.now()
                return True
            if self.victim.process.poll() is not None and not self.victim.killed:
                raise Refused(self.victim.said())
            if self.now() > deadline:
                raise Refused("no start within a minute: " + self.victim.said())
            time.sleep(0.001)
        return False

    def read_host(self):
        """Takes in what the host program has written; its address, if that is among it."""
        address = None
        for line in self.victim.lines():
            word, *rest = line.split(" ")
            if word == "L":
                host, port = rest[0].rsplit(":", 1)
                address = (host, int(port))
                self.queue = self.history.receiver(f"queue of life {self.life}", False)
                for name in ("t/#", "h/#"):
                    self.queue.subscribe(name, 2).acked = self.history.clock
            elif word == "S":
                source, number, size, topic, qos, retain = rest
                self.history.send(source, topic, int(qos), retain == "1", int(size), int(number))
            elif word == "A":
                self.history.ack(self.history.messages[rest[0], int(rest[1])], "in-process")
            elif word == "R":
                self.progress += 1
                self.queue.receive(Taken(*rest), self.life)
            elif word:
                self.history.fault(f"the host program says {line}")
        return address

    def after_death(self, stopped=False):
        """Reads what was sent before, and closes everything."""
        self.victim.join()
        for client in self.clients:
            if client.socket:
                client.socket.setblocking(True)
                while client.read():
                    pass
            client.killed(stopped)
        for socket in self.lingering:
            socket.close()
        self.lingering = []
        self.read_host()
        if self.queue:
            self.history.receivers.remove(self.queue)
            self.queue = None
        said = self.victim.said()
        if "panicked" in said:
            self.history.fault(f"the broker panicked: {said[:400]}")
        self.victim.close()

    # -- the clients

    def watch(self, client):
        self.selector.register(client.socket, selectors.EVENT_READ, client)

    def unwatch(self, client):
        self.selector.unregister(client.socket)

    def poll(self, seconds):
        for key, _ in self.selector.select(seconds):
            client = key.data
            if client.socket is key.fileobj and not client.read():
                if not client.leaving and not self.victim.killed:
                    if self.victim.process.poll() is None:
                        self.history.fault(f"{client.name} was closed by the broker: {self.victim.said()[-300:]}")
                client.drop()
        self.read_host()
        for client in self.clients:
            client.flush()

    def work(self):
        """Random work until the broker is killed."""
        while not self.victim.killed:
            self.poll(0.002)
            for client in self.random.sample(self.clients, 8):
                if not self.victim.killed:
                    client.act()
            self.check_alive()

    def check_alive(self):
        if self.victim.process.poll() is not None and not self.victim.killed:
            raise Refused("the broker has ended: " + self.victim.said())

    def settle(self):
        """No new work: everything owed arrives, or is lost."""
        self.victim.tell("pause")
        seen, since = -1, self.now()
        calm = 0
        while calm < 3:
            self.poll(0.005)
            for client in self.clients:
                client.rest()
            done = not self.history.pending() and all(client.idle() for client in self.clients)
            calm = calm + 1 if done and self.progress == seen else 0
            if self.progress != seen:
                seen, since = self.progress, self.now()
            if self.now() - since > PATIENCE:
                for client in self.clients:
                    if not client.idle():
                        self.history.fault(f"{client.name} waits for answers: {vars(client).get('window') or vars(client).get('requests')}")
                break
            self.check_alive()
        self.history.settle()
        self.victim.tell("go")

    def audit(self):
        """Asks for everything retained, before anybody else comes."""
        auditor = Auditor(self)
        self.clients.append(auditor)
        auditor.open()
        deadline = self.now() + 10
        while not auditor.is_done() and self.now() < deadline and not self.victim.killed:
            self.poll(0.02)
        if not self.victim.killed:
            self.read_host()
            auditor.compare()
        auditor.drop()
        self.clients.remove(auditor)
        self.history.receivers.remove(auditor.receiver)

    # -- a round

    def round(self, last):
        dice = self.random
        while dice.random() < 0.3:
            # Killed while it starts.
            self.start()
            self.startup_kills += 1
            self.victim.kill_after(dice.random() * 0.12, self.disk)
            if self.wait_until_up():
                self.work()
            self.after_death()
            self.disk.restore()
        self.start()
        self.wait_until_up()
        if dice.random() < 0.6:
            self.audit()
        if last or dice.random() < 0.3:
            self.busy(dice.random() * 0.3)
            self.settle()
        if dice.random() < 0.1:
            self.busy(dice.random() * 0.3)
            status = self.victim.stop()
            self.clean_stops += 1
            if status:
                self.history.fault(f"a clean stop ended with {status}: {self.victim.said()}")
            self.after_death(True)
            return
        self.victim.kill_after(dice.random() ** 2 * 1.2, self.disk)
        self.work()
        self.after_death()
        self.disk.restore()

    def busy(self, seconds):
        end = self.now() + seconds
        while self.now() < end:
            self.poll(0.002)
            for client in self.random.sample(self.clients, 8):
                client.act()
            self.check_alive()

    def close(self):
        if self.victim and self.victim.process.poll() is None:
            self.victim.kill(self.disk)
        for client in self.clients:
            client.drop()


class Refused(Exception):
    """The broker does not start, or ends by itself."""


class Taken:
    """A message that the host program has taken from its queue; it has checked the length."""

    retain = False

    def __init__(self, topic, qos, head, size):
        source, number, promised = head.split(":")
        self.topic, self.qos = topic, int(qos)
        self.payload = payload(source, int(number), int(promised))
        if len(self.payload) != int(size):
            self.payload = b"wrong length"


class Auditor(Client):
    """Subscribes to everything retained, and compares it with what must be there."""

    def __init__(self, world):
        super().__init__(world, "auditor", V5, False)
        self.receiver = world.history.receiver("auditor", False)
        self.states, self.must, self.found, self.ponged = {}, set(), {}, None

    def start(self, present):
        # The last acknowledged state, and all that come.
        self.states = {topic: each.watch() for topic, each in self.history.topics.items()}
        self.must = {topic for topic, each in self.history.topics.items() if all(there for _, there in each.states)}
        self.receiver.subscribe("r/#", 1)
        self.send(wire.subscribe(self.version, 1, [("r/#", 1)]) + wire.pingreq())

    def handle(self, kind, first, body):
        if kind == wire.PINGRESP:
            self.ponged = self.world.now()
        super().handle(kind, first, body)

    def handle_other(self, kind, first, body):
        if kind != wire.PUBLISH:
            return
        packet = wire.Publish(self.version, first, body)
        self.receiver.receive(packet, None)
        # What is published meanwhile comes, too.
        _, key = self.history.identify(packet)
        self.found[packet.topic] = key[1] if key else None
        if packet.qos:
            self.send(wire.ack(wire.PUBACK, packet.packet_id))

    def is_done(self):
        return self.ponged and self.must <= set(self.found) and self.world.now() - self.ponged > 0.05

    def compare(self):
        for topic, states in self.states.items():
            self.history.count("retained topic")
            found = self.found.get(topic)
            right = [number if there else None for number, there in states]
            # A message that the full store refuses takes the older one of its topic away, until the next start.
            if found not in right and not (self.world.full and found is None and len(states) > 1):
                self.history.fault(f"retained in {topic}: {found}, not one of {states[:5]}, of which the first is acknowledged")


def campaign(options):
    """All rounds; the campaigns' histories and the rounds that were played."""
    total, played, lines = {}, 0, []
    counts = dict(received=0, starts=0, startup_kills=0, clean_stops=0, lives_of_host=0)
    begun = time.monotonic()
    while played < options.rounds:
        seed = options.seed * 1000 + played
        with tempfile.TemporaryDirectory(prefix="midge-crash-") as scratch:
            world = Campaign(options, seed, scratch)
            try:
                lives = min(LIVES, options.rounds - played)
                for life in range(lives):
                    world.round(life == lives - 1)
                    played += 1
                    if world.history.faults:
                        break
            except Refused as refused:
                world.history.fault(str(refused))
                options.control = False
            finally:
                world.close()
                keep(options, world, scratch)
                world.disk.close()
        for kind, number in world.history.acks.items():
            total[kind] = total.get(kind, 0) + number
        counts["received"] += world.history.received
        for name in ("starts", "startup_kills", "clean_stops"):
            counts[name] += getattr(world, name)
        for fault in world.history.faults[:20]:
            print(f"fault in round {played} (store of seed {seed}, log of {world.log_size}): {fault}", flush=True)
        if world.history.faults:
            return played, total, counts, time.monotonic() - begun, len(world.history.faults)
        print(f"round {played}: {sum(total.values())} acknowledgements checked, {counts['received']} messages received", flush=True)
    return played, total, counts, time.monotonic() - begun, 0


def keep(options, world, scratch):
    """The store of a campaign that has found a fault."""
    if world.history.faults and options.keep:
        shutil.copytree(scratch, options.keep, dirs_exist_ok=True, ignore=shutil.ignore_patterns("mount"))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--power", action="store_true")
    parser.add_argument("--control", action="store_true")
    parser.add_argument("--midge", default="target/debug/midge")
    parser.add_argument("--host", default="target/debug/examples/crash_host")
    parser.add_argument("--keep", help="a directory for the store of a campaign that has found a fault")
    options = parser.parse_args()
    played, total, counts, seconds, faults = campaign(options)
    kinds = ", ".join(f"{number} {kind}" for kind, number in sorted(total.items()))
    print(f"{played} rounds in {seconds:.0f} s: {sum(total.values())} acknowledgements checked ({kinds}); "
          f"{counts['received']} messages received, {counts['starts']} starts, {counts['startup_kills']} of them killed early, "
          f"{counts['clean_stops']} clean stops; {faults} faults")
    if options.control:
        print("control: found" if faults else "control: NOT found")
        return 0 if faults else 1
    print("1 passed" if not faults else "1 failed")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
