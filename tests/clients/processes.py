"""Processes whose lines a test waits for."""

import queue
import subprocess
import threading

# Longest wait for something that should happen. It is not what happens: a test ends when its event is there.
DEADLINE = 30


class Process:
    """A process; what it prints can be waited for line by line."""

    def __init__(self, command, **options):
        self.command = command
        self.seen = []
        self._lines = queue.Queue()
        self._process = subprocess.Popen(
            command, stdin=options.pop("stdin", subprocess.DEVNULL), stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, **options)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self._process.stdout:
            self._lines.put(line.decode("utf-8", "replace").rstrip("\r\n"))
        self._lines.put(None)

    def line(self):
        """The next line; None at the end of the output."""
        try:
            line = self._lines.get(timeout=DEADLINE)
        except queue.Empty:
            last = self.seen[-20:]
            raise AssertionError(f"no line from {self.command} within {DEADLINE} s; the last ones: {last}") from None
        if line is not None:
            self.seen.append(line)
        return line

    def line_with(self, text):
        """The next line that has `text` in it."""
        while True:
            line = self.line()
            assert line is not None, f"{self.command} ended before {text!r}: {self.seen}"
            if text in line:
                return line

    def write(self, text):
        self._process.stdin.write(text.encode())
        self._process.stdin.flush()

    def close_input(self):
        self._process.stdin.close()

    def signal(self, number):
        self._process.send_signal(number)

    def wait(self):
        """The exit code, when it has ended."""
        return self._process.wait(timeout=DEADLINE)

    @property
    def pid(self):
        return self._process.pid

    def close(self):
        """Kills it if it runs."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait(timeout=DEADLINE)
        self._reader.join(timeout=DEADLINE)
        self._process.stdout.close()
        if self._process.stdin:
            try:
                self._process.stdin.close()
            except BrokenPipeError:
                pass
