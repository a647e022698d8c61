"""A proxy that tells the broker who its clients are: the PROXY protocol, version 1 or 2."""

import contextlib
import socket
import struct
import threading

# What it says of each client.
CLIENT = ("203.0.113.7", 4711)
HEADERS = {
    "v1": f"PROXY TCP4 {CLIENT[0]} 127.0.0.1 {CLIENT[1]} 1883\r\n".encode(),
    "v2": b"\r\n\r\n\0\r\nQUIT\n\x21\x11" + struct.pack(
        "!H4s4sHH", 12, socket.inet_aton(CLIENT[0]), socket.inet_aton("127.0.0.1"), CLIENT[1], 1883),
    "none": b"",
}


class Proxy:
    """Listens on a free port, and hands each connection on, after a header."""

    def __init__(self, to, header):
        self._to, self._header = to, header
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.host, self.port = "localhost", self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                broker = socket.create_connection((self._to.host, self._to.port))
                broker.sendall(self._header)
                for ends in ((client, broker), (broker, client)):
                    threading.Thread(target=self._carry, args=ends, daemon=True).start()

    @staticmethod
    def _carry(source, sink):
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    def close(self):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
