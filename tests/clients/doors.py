"""A broker with every kind of listener, and the certificates for those that speak TLS."""

import os
import pathlib
import subprocess
import types

MIDGE = os.environ.get("MIDGE_BIN", "midge")
REVOKED = """[ca]
default_ca = own
[own]
database = index
crlnumber = number
default_md = sha256
default_crl_days = 9
"""


def certificates(folder):
    """Makes ca.pem, server.pem, device.pem, revoked.pem, their keys, stranger.pem of another authority, and crl.pem."""
    def make(where, *arguments):
        subprocess.run([MIDGE, "certificate", str(where), *arguments], check=True, capture_output=True)

    make(folder, "--server", "localhost", "--server", "127.0.0.1", "--client", "device", "--client", "revoked")
    make(folder / "other", "--client", "stranger")
    for end in ("pem", "key"):
        (folder / "other" / f"stranger.{end}").rename(folder / f"stranger.{end}")
    (folder / "index").write_text("")
    (folder / "number").write_text("01\n")
    (folder / "revoke.cnf").write_text(REVOKED)
    ca = ["openssl", "ca", "-config", "revoke.cnf", "-keyfile", "ca.key", "-cert", "ca.pem"]
    for arguments in (["-revoke", "revoked.pem"], ["-gencrl", "-out", "crl.pem"]):
        subprocess.run([*ca, *arguments], cwd=folder, check=True, capture_output=True)


class Door:
    """A way to the broker: where it is, and the transport as paho, MQTT.js and mosquitto name it."""

    def __init__(self, listener, transport, *, is_secure=False):
        self.listener, self.transport, self.is_secure = listener, transport, is_secure
        self.name = f"{listener}-{'s' * is_secure}{transport}"

    def at(self, doors):
        """Its address: `host` and `port`."""
        return doors.address(self.listener)

    def url(self, doors):
        """Its address for MQTT.js."""
        scheme = {"tcp": ("mqtt", "mqtts"), "websockets": ("ws", "wss")}[self.transport][self.is_secure]
        at = self.at(doors)
        return f"{scheme}://{at.host}:{at.port}" + ("/mqtt" if self.transport == "websockets" else "")


DOORS = [
    Door("tcp", "tcp"),
    Door("tls", "tcp", is_secure=True),
    Door("ws", "websockets"),
    Door("wss", "websockets", is_secure=True),
    Door("auto", "tcp"),
    Door("auto", "tcp", is_secure=True),
    Door("auto", "websockets"),
    Door("auto", "websockets", is_secure=True),
    Door("unix", "unix"),
]


class Doors:
    """The listeners of a running broker with certificates in `files`."""

    def __init__(self, files):
        self.files = files
        self.broker = None

    def settings(self):
        """tcp, tls, ws, wss, auto, unix; strict asks for a client's certificate."""
        settings = {"mqtt.max_packet_size": "4MiB", "listener.unix.bind": f"unix:{self.files}/mqtt.sock"}
        for name, transport in {"tls": "tls", "strict": "tls", "ws": "ws", "wss": "wss", "auto": "auto"}.items():
            settings |= {f"listener.{name}.bind": "127.0.0.1:0", f"listener.{name}.transport": transport}
            if name != "ws":
                settings |= {f"listener.{name}.certificate": f"{self.files}/server.pem",
                             f"listener.{name}.key": f"{self.files}/server.key"}
        return settings | {
            "listener.strict.client_certificate": "required", "listener.strict.client_ca": f"{self.files}/ca.pem",
            "listener.strict.client_crl": f"{self.files}/crl.pem"}

    def address(self, name):
        """`host` and `port` of a listener; of a Unix domain socket its path, and a port that means nothing."""
        address = self.broker.addresses[name]
        if address.startswith("unix:"):
            return types.SimpleNamespace(host=address.removeprefix("unix:"), port=1)
        # Certificates have the name.
        return types.SimpleNamespace(host="localhost", port=int(address.rsplit(":", 1)[1]))

    def file(self, name):
        return str(pathlib.Path(self.files) / name)
