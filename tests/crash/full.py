"""A disk that is full, or fails, under load: what clients see, and what is there afterwards (needs root).

    full.py [--rounds 5] [--seed 1] [--failing] [--midge FILE] [--host FILE]

The store lies on a small ext4 file system in a file. A round fills it while clients work, sees that nothing is
acknowledged that is not safe, that QoS 0 and reading go on, that all goes on when there is space again, and cuts the power.
With `--failing` the file has no space for the file system's new blocks, which the file system sees as a failed disk (EIO):
then the store has failed, and the next start must have everything that was acknowledged.
"""

import argparse
import os
import sys
import tempfile

import wire
from clients import Client
from run import Campaign, Refused
from victim import Loop, run
from wire import V5


class Thin(Loop):
    """The file of the file system lies on a tmpfs that can be full."""

    def __init__(self, scratch):
        self.tmpfs = os.path.join(scratch, "thin")
        os.makedirs(self.tmpfs)
        run("mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", self.tmpfs)
        super().__init__(self.tmpfs, 48)

    def cut(self):
        """The file stays: what the file system could not write is not in it."""

    def restore(self):
        run("umount", self.root)
        self.mount()

    def close(self):
        super().close()
        run("umount", self.tmpfs)


class Prober(Client):
    """Sends itself messages of QoS 0."""

    def __init__(self, world):
        super().__init__(world, "prober", V5, False)
        self.sent, self.come = 0, 0

    def start(self, present):
        self.send(wire.subscribe(self.version, 1, [("probe", 0)]))

    def probe(self):
        self.sent += 1
        self.send(wire.publish(self.version, "probe", b"%d" % self.sent, 0, 0))

    def handle_other(self, kind, first, body):
        if kind == wire.PUBLISH:
            self.come = int(wire.Publish(self.version, first, body).payload)


class Full(Campaign):
    """One store, and its disk."""

    def __init__(self, options, seed, scratch):
        options.power, options.control = True, False
        super().__init__(options, seed, scratch)
        self.disk.close()
        self.disk = Thin(scratch) if options.failing else Loop(scratch, 24)
        self.log_size, self.stalls, self.said = "64KiB", [], set()

    def filler(self):
        return os.path.join(self.disk.tmpfs if self.options.failing else self.disk.root, "filler")

    def fill(self):
        self.full = True
        with open(self.filler(), "wb", buffering=0) as file:
            for size in (1 << 20, 4096, 512):
                try:
                    while True:
                        file.write(bytes(size))
                except OSError:
                    pass
            try:
                os.fsync(file.fileno())
            except OSError:
                pass

    def phase(self, name):
        """Names what was found."""
        found = self.history.faults
        self.history.faults = [fault if fault.startswith("[") else f"[{name}] {fault}" for fault in found]

    def acked(self):
        return sum(self.history.acks.get(kind, 0) for kind in ("PUBACK", "PUBREC", "in-process"))

    def round(self, last):
        self.start()
        self.wait_until_up()
        prober = Prober(self)
        self.clients.append(prober)
        prober.open()
        self.busy(1)
        self.fill()
        before, count, quiet = self.now(), self.acked(), self.now()
        # Until nothing is acknowledged for two seconds.
        while self.now() - quiet < 2 and self.now() - before < 60:
            self.busy(0.05)
            if self.acked() != count:
                count, quiet = self.acked(), self.now()
        stalled = self.now() - quiet >= 2
        self.stalls.append(stalled)
        if not stalled:
            self.history.fault("the full disk has stopped no acknowledgement")
        sent = prober.sent
        prober.probe()
        deadline = self.now() + 10
        while prober.come <= sent and self.now() < deadline:
            self.poll(0.01)
        if prober.come <= sent:
            self.history.fault("QoS 0 does not go on while the disk is full")
        self.audit()
        said = [line[-200:] for line in self.victim.said().splitlines() if "listening" not in line]
        self.said |= set(said)
        if self.victim.embedded and not said:
            self.history.fault("nobody was told that the disk is full")
        if not self.options.failing:
            os.remove(self.filler())
            self.settle()
            self.full = False
        prober.drop()
        self.clients.remove(prober)
        self.victim.kill_after(0, self.disk)
        self.victim.join()
        self.after_death()
        if self.options.failing:
            os.remove(self.filler())
        self.disk.restore()
        self.full = False
        self.phase("while the disk was full")
        self.start()
        self.wait_until_up()
        self.audit()
        self.phase("after the restart")
        self.busy(0.3)
        self.settle()
        self.phase("in the next life")
        self.victim.kill(self.disk)
        self.after_death()
        self.disk.restore()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--failing", action="store_true")
    parser.add_argument("--midge", default="target/debug/midge")
    parser.add_argument("--host", default="target/debug/examples/crash_host")
    options = parser.parse_args()
    faults = checked = refused = 0
    for number in range(options.rounds):
        with tempfile.TemporaryDirectory(prefix="midge-full-") as scratch:
            world = Full(options, options.seed * 1000 + number, scratch)
            try:
                world.round(True)
            except Refused as error:
                world.history.fault(str(error))
            finally:
                world.close()
                world.disk.close()
            faults += len(world.history.faults)
            checked += sum(world.history.acks.values())
            refused += world.refused
            for fault in world.history.faults[:10]:
                print(f"fault in round {number}: {fault}", flush=True)
            print(f"round {number}: {sum(world.history.acks.values())} acknowledgements checked, {world.refused} messages refused; "
                  f"said: {sorted(world.said)}", flush=True)
    print(f"{options.rounds} rounds: {checked} acknowledgements checked, {refused} messages refused with 0x97, {faults} faults")
    print("1 passed" if not faults else "1 failed")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
