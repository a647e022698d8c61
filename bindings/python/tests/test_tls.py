"""TLS: paho-mqtt with and without a client certificate, what hooks and lists see, and reading certificates again."""

from __future__ import annotations

import hashlib
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import paho.mqtt.client as paho
import pytest

import midge

PATIENCE = 20


def openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


def issue(folder: Path, name: str, subject: str, extension: str) -> None:
    """Writes `name.pem` and `name.key`, signed by the authority of the folder."""
    openssl(
        folder, "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
        "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={subject}",
    )  # fmt: skip
    # What VERIFY_X509_STRICT asks for, the default since Python 3.13.
    (folder / "extension").write_text(f"authorityKeyIdentifier=keyid\nsubjectKeyIdentifier=hash\n{extension}")
    openssl(
        folder, "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
        "-days", "90", "-out", f"{name}.new", "-extfile", "extension",
    )  # fmt: skip
    (folder / f"{name}.new").rename(folder / f"{name}.pem")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority, a server's certificate and a client's."""
    folder = tmp_path_factory.mktemp("tls")
    openssl(
        folder, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "90",
        "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=Test CA",
        "-addext", "keyUsage=critical,keyCertSign,cRLSign",
    )  # fmt: skip
    issue(folder, "server", "localhost", "subjectAltName=DNS:localhost")
    issue(folder, "device", "device-1", "extendedKeyUsage=clientAuth\nsubjectAltName=DNS:device-1.example")
    return folder


def settings(files: Path) -> dict[str, str]:
    return {
        "listener.tcp.bind": "127.0.0.1:0",
        "listener.tcp.transport": "tls",
        "listener.tcp.certificate": str(files / "server.pem"),
        "listener.tcp.key": str(files / "server.key"),
        "listener.tcp.client_certificate": "optional",
        "listener.tcp.client_ca": str(files / "ca.pem"),
    }


@pytest.fixture
def client() -> Iterator[paho.Client]:
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id="a", protocol=paho.MQTTv5)
    yield client
    client.disconnect()
    client.loop_stop()


def test_hooks_and_lists_see_the_certificate_of_paho(files: Path, client: paho.Client) -> None:
    asked: list[midge.ConnectRequest] = []

    hooks = midge.Hooks()

    @hooks.authenticate
    def let_in(request: midge.ConnectRequest) -> bool:
        asked.append(request)
        return True

    with midge.Broker(config=settings(files), hooks=hooks) as broker:
        client.tls_set(str(files / "ca.pem"), str(files / "device.pem"), str(files / "device.key"))
        subscription = broker.subscribe("t")
        client.connect("localhost", broker.address[1])
        client.loop_start()
        client.publish("t", "hello", qos=2).wait_for_publish(PATIENCE)
        assert subscription.get(timeout=PATIENCE).payload == b"hello"
        tls = asked[0].tls
        assert tls is not None
        assert tls.certificate is not None
        assert tls.version == "TLS 1.3"
        assert tls.server_name == "localhost"
        assert tls.certificate.subject == "CN=device-1"
        assert tls.certificate.common_name == "device-1"
        assert tls.certificate.names == ("DNS:device-1.example",)
        assert tls.certificate.issuer == "CN=Test CA"
        der = ssl.PEM_cert_to_DER_cert((files / "device.pem").read_text())
        assert tls.certificate.fingerprint == hashlib.sha256(der).hexdigest()
        assert [one.tls for one in broker.clients()] == [tls]


def test_certificates_are_read_again(files: Path) -> None:
    context = ssl.create_default_context(cafile=str(files / "ca.pem"))
    context.verify_flags |= ssl.VERIFY_X509_STRICT

    def shown(port: int) -> bytes:
        plain = socket.create_connection(("localhost", port))
        with context.wrap_socket(plain, server_hostname="localhost") as stream:
            certificate = stream.getpeercert(binary_form=True)
            assert certificate is not None
            return certificate

    with midge.Broker(config=settings(files)) as broker:
        port = broker.address[1]
        before = shown(port)
        issue(files, "server", "localhost", "subjectAltName=DNS:localhost")
        broker.reload_certificates()
        assert shown(port) != before
        key = (files / "server.key").read_text()
        (files / "server.key").write_text("")
        with pytest.raises(midge.MidgeError, match=r"listener\.tcp\.key: .*server\.key: no private key in it"):
            broker.reload_certificates()
        (files / "server.key").write_text(key)
        assert shown(port) != before


def test_a_client_of_another_authority_is_refused(files: Path, client: paho.Client, tmp_path: Path) -> None:
    openssl(
        tmp_path, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "9",
        "-keyout", "own.key", "-out", "own.pem", "-subj", "/CN=stranger",
    )  # fmt: skip
    with midge.Broker(config=settings(files)) as broker:
        client.tls_set(str(files / "ca.pem"), str(tmp_path / "own.pem"), str(tmp_path / "own.key"))

        def try_it() -> None:
            client.connect("localhost", broker.address[1])
            for _ in range(50):
                if client.loop(0.5) != paho.MQTT_ERR_SUCCESS:
                    raise ConnectionError

        with pytest.raises((ssl.SSLError, ConnectionError)):
            try_it()
        assert broker.clients() == []
