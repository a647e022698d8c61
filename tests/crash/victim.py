"""The broker that is killed, and the disk that its store lies on."""

import os
import shutil
import signal
import subprocess
import threading


class Plain:
    """A directory of the system: what was written survives kill -9."""

    def __init__(self, scratch):
        self.root = os.path.join(scratch, "disk")
        shutil.rmtree(self.root, ignore_errors=True)
        os.makedirs(self.root)
        self.store = os.path.join(self.root, "store")

    def cut(self):
        pass

    def restore(self):
        pass

    def close(self):
        shutil.rmtree(self.root, ignore_errors=True)


class Loop:
    """An ext4 file system in a file. What was not flushed is not in the file, and lost when a copy of it is mounted."""

    def __init__(self, scratch, mebibytes=64):
        self.image, self.copy = os.path.join(scratch, "image"), os.path.join(scratch, "image.cut")
        self.root = os.path.join(scratch, "mount")
        os.makedirs(self.root, exist_ok=True)
        with open(self.image, "wb") as image:
            image.truncate(mebibytes << 20)
        run("mkfs.ext4", "-q", "-F", "-J", "size=4", self.image)
        self.mount()
        self.store = os.path.join(self.root, "store")

    def mount(self):
        run("mount", "-o", "loop", self.image, self.root)

    def cut(self):
        """Copies what is on the disk now; the file system is still mounted."""
        with open(self.image, "rb", buffering=0) as image, open(self.copy, "wb", buffering=0) as copy:
            while block := image.read(1 << 20):
                if block.count(0) == len(block):
                    copy.seek(len(block), os.SEEK_CUR)
                else:
                    copy.write(block)
            copy.truncate()

    def restore(self):
        run("umount", self.root)
        os.replace(self.copy, self.image)
        self.mount()

    def close(self):
        run("umount", self.root)
        os.remove(self.image)


def run(*words):
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(words)}: {done.stderr.strip()}")


SETTINGS = {
    "session.max_queued_messages": "unlimited",
    "session.max_queued_bytes": "1GiB",
    "listener.tcp.bind": "127.0.0.1:0",
}


class Victim:
    """One life of the broker: the command, or a program that embeds it."""

    def __init__(self, command, settings, scratch, number):
        self.embedded = command[-1] != "serve"
        self.killed, self.timer = False, None
        self.errors = open(os.path.join(scratch, "errors"), "w+")
        words = list(command)
        if self.embedded:
            words.insert(1, str(number))
        for name, value in {**SETTINGS, **settings}.items():
            words += ["--set", f"{name}={value}"]
        self.process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE if self.embedded else self.errors, stderr=self.errors
        )
        if self.embedded:
            os.set_blocking(self.process.stdout.fileno(), False)
        self.rest = b""

    def lines(self):
        """What the program has written since the last call."""
        if not self.embedded:
            return []
        parts = [self.rest]
        while True:
            data = None
            try:
                data = os.read(self.process.stdout.fileno(), 1 << 16)
            except BlockingIOError:
                pass
            if not data:
                break
            parts.append(data)
        *lines, self.rest = b"".join(parts).split(b"\n")
        return [line.decode() for line in lines]

    def said(self):
        """What was written to standard error."""
        self.errors.flush()
        with open(self.errors.name) as file:
            return file.read()

    def listening(self):
        """The address, if the command has named it."""
        for line in self.said().splitlines():
            if line.startswith("listening on "):
                host, port = line.split()[2].rsplit(":", 1)
                return host, int(port)
        return None

    def tell(self, word):
        if self.embedded:
            self.process.stdin.write(word.encode() + b"\n")
            self.process.stdin.flush()

    def kill_after(self, seconds, disk):
        def kill():
            self.killed = True
            self.process.send_signal(signal.SIGKILL)
            disk.cut()

        self.timer = threading.Timer(seconds, kill)
        self.timer.start()

    def kill(self, disk):
        self.kill_after(0, disk)
        self.join()

    def stop(self):
        """A clean stop."""
        self.killed = True
        if self.embedded:
            self.process.stdin.close()
        else:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return "a time-out"

    def join(self):
        if self.timer:
            self.timer.join()
        self.process.wait(30)

    def close(self):
        if self.embedded:
            self.process.stdout.close()
        self.process.stdin.close()
        self.errors.close()
