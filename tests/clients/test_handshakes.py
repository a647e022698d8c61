"""curl and `openssl s_client` against the doors that TLS or HTTP lead to."""

import subprocess
import time

import pytest

from conftest import Broker
from doors import Doors, certificates
from processes import DEADLINE
from test_doors import api

# The listener, whether the client speaks TLS.
WEBSOCKETS = {"ws": ("ws", False), "wss": ("wss", True), "auto-ws": ("auto", False), "auto-wss": ("auto", True)}
UPGRADE = {
    "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13", "Sec-WebSocket-Protocol": "mqtt",
}
CONNECTS = {
    "v311": b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01a", "v5": b"\x10\x0e\x00\x04MQTT\x05\x02\x00\x00\x00\x00\x01a",
}
# Those of MQTT 5: Receive Maximum 100, Maximum Packet Size 4 MiB, Topic Alias Maximum 16.
CONNACKS = {
    "v311": b"\x20\x02\x00\x00",
    "v5": b"\x20\x0e\x00\x00\x0b\x21\x00\x64\x27\x00\x40\x00\x00\x22\x00\x10",
}
DISCONNECT = b"\xe0\x00"


@pytest.fixture(scope="module")
def doors(tmp_path_factory):
    doors = Doors(tmp_path_factory.mktemp("d"))
    certificates(doors.files)
    doors.broker = Broker({**doors.settings(), "console.listen": "127.0.0.1:0", "console.tutorial": "true"})
    doors.console = doors.broker.process.line_with("console at ").split()[2]
    yield doors
    doors.broker.stop()


def failures(doors, listener):
    """Handshakes that have failed: how many, by reason."""
    listeners = {one["name"]: one for one in api(doors, "listeners")["items"]}
    return {one["reason"]: one["count"] for one in listeners[listener]["failure_reasons"]}


def assert_one_more(doors, listener, before, *words):
    """One more handshake has failed, for a reason with these words. A client may see the end before it is counted."""
    end = time.monotonic() + DEADLINE
    while (after := failures(doors, listener)) == before and time.monotonic() < end:
        pass
    [reason] = [reason for reason in after if after[reason] != before.get(reason)]
    assert after[reason] == before.get(reason, 0) + 1
    assert all(word in reason for word in words), reason


@pytest.fixture
def curl(run, doors):
    """The status line, the headers and what follows, as lines, of a request to a door of WebSocket."""

    def ask(door, path="/mqtt", method="GET", **headers):
        listener, tls = WEBSOCKETS[door]
        port = doors.address(listener).port
        headers = {**UPGRADE, **{name.replace("_", "-"): value for name, value in headers.items()}}
        arguments = [word for name, value in headers.items() for word in ("-H", f"{name}: {value}")]
        url = f"{'https' if tls else 'http'}://localhost:{port}{path}"
        # Without stdbuf it would keep its lines while the WebSocket is open.
        return run(["stdbuf", "-oL", "curl", "-si", "--http1.1", "--cacert", doors.file("ca.pem"), "-X", method, *arguments, url])

    return ask


@pytest.fixture
def s_client(doors):
    """Runs `openssl s_client`; what it has received, and what it says of the connection."""

    def talk(listener, *options, input):
        port = doors.address(listener).port
        done = subprocess.run(
            ["openssl", "s_client", "-brief", "-ign_eof", "-verify_return_error", "-CAfile", doors.file("ca.pem"), "-servername",
             "localhost", "-verify_hostname", "localhost", "-connect", f"127.0.0.1:{port}", *options],
            input=input, capture_output=True, timeout=DEADLINE)
        return done.stdout, done.stderr.decode()

    return talk


@pytest.mark.parametrize("door", WEBSOCKETS)
def test_curl_upgrades_to_websocket(curl, door):
    answer = curl(door)
    assert answer.line() == "HTTP/1.1 101 Switching Protocols"
    headers = []
    while line := answer.line():
        headers.append(line.lower())
    # RFC 6455, section 1.3.
    assert "sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=" in headers
    assert {"upgrade: websocket", "connection: upgrade", "sec-websocket-protocol: mqtt"} <= set(headers)


@pytest.mark.parametrize("door", WEBSOCKETS)
@pytest.mark.parametrize("options,status,reason", [
    ({"path": "/other"}, "404 Not Found", "no WebSocket at this path"),
    ({"Sec_WebSocket_Protocol": "chat"}, "400 Bad Request", "subprotocol"),
    ({"Sec_WebSocket_Version": "8"}, "426 Upgrade Required", "13"),
    ({"method": "POST"}, "405 Method Not Allowed", "GET"),
    ({"Upgrade": "h2c"}, "426 Upgrade Required", "websocket"),
], ids=["path", "subprotocol", "version", "method", "upgrade"])
def test_curl_is_told_what_is_wrong(doors, curl, door, options, status, reason):
    listener, _ = WEBSOCKETS[door]
    before = failures(doors, listener)
    answer = curl(door, **options)
    assert answer.line() == f"HTTP/1.1 {status}"
    lines = []
    while (line := answer.line()) is not None:
        lines.append(line)
    assert answer.wait() == 0
    assert reason in lines[-1]
    assert_one_more(doors, listener, before, "websocket: ", reason, f"(answered {status})")


@pytest.mark.parametrize("version", CONNECTS)
@pytest.mark.parametrize("listener", ["tls", "auto"])
@pytest.mark.parametrize("options,says", [
    (["-tls1_3"], "Protocol version: TLSv1.3"), (["-tls1_2"], "Protocol version: TLSv1.2"), (["-alpn", "mqtt"], "Verification: OK"),
], ids=["tls13", "tls12", "alpn"])
def test_s_client_speaks_mqtt(s_client, listener, version, options, says):
    received, said = s_client(listener, *options, input=CONNECTS[version] + DISCONNECT)
    assert received == CONNACKS[version]
    assert says in said


@pytest.mark.parametrize("listener", ["wss", "auto"])
def test_s_client_speaks_websocket(run, doors, listener):
    port = doors.address(listener).port
    client = subprocess.Popen(
        ["openssl", "s_client", "-quiet", "-verify_return_error", "-CAfile", doors.file("ca.pem"), "-servername", "localhost",
         "-connect", f"127.0.0.1:{port}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0)
    try:
        head = "".join(f"{name}: {value}\r\n" for name, value in {"Host": "localhost", **UPGRADE}.items())
        client.stdin.write(f"GET /mqtt HTTP/1.1\r\n{head}\r\n".encode())
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            answer += (byte := client.stdout.read(1))
            assert byte, answer
        assert answer.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
        # Two masked frames of binary data; what comes back has no mask. Then the broker closes the WebSocket, and TLS.
        for packet in (CONNECTS["v311"], DISCONNECT):
            client.stdin.write(b"\x82" + bytes([0x80 | len(packet)]) + b"\0\0\0\0" + packet)
        received = client.stdout.read(6)
        assert received == b"\x82\x04" + CONNACKS["v311"]
        assert client.stdout.read(2) == b"\x88\x02"
    finally:
        client.kill()
        client.wait(timeout=DEADLINE)
        client.stdin.close()
        client.stdout.close()


@pytest.mark.parametrize("options,reason", [
    (["-tls1_3", "-alpn", "h2"], "tls: the client offers other application protocols (ALPN) than this listener's"),
    (["-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"], "tls: no common "),
], ids=["alpn", "version"])
@pytest.mark.parametrize("listener", ["tls", "wss", "auto"])
def test_s_client_is_refused(doors, s_client, listener, options, reason):
    before = failures(doors, listener)
    received, said = s_client(listener, *options, input=CONNECTS["v311"])
    assert received == b"" and "alert" in said
    assert_one_more(doors, listener, before, reason)


@pytest.mark.parametrize("version", ["-tls1_3", "-tls1_2"])
@pytest.mark.parametrize("who,reason", [
    ("device", None),
    (None, "tls: the client has sent no certificate (client_certificate)"),
    ("revoked", "tls: client certificate revoked"),
    ("stranger", "tls: client certificate of an unknown certificate authority (client_ca)"),
], ids=["accepted", "none", "revoked", "stranger"])
def test_s_client_shows_a_certificate(doors, s_client, version, who, reason):
    before = failures(doors, "strict")
    options = [word for pair in zip(["-cert", "-key"], [doors.file(f"{who}.pem"), doors.file(f"{who}.key")]) for word in pair] if who else []
    received, _ = s_client("strict", version, *options, input=CONNECTS["v311"] + DISCONNECT)
    if reason:
        assert received == b""
        assert_one_more(doors, "strict", before, reason)
    else:
        assert received == CONNACKS["v311"]
        assert failures(doors, "strict") == before


@pytest.mark.parametrize("listener", ["tls", "wss"])
def test_curl_without_tls_is_refused(doors, run, listener):
    port = doors.address(listener).port
    before = failures(doors, listener)
    assert run(["curl", "-si", f"http://127.0.0.1:{port}/mqtt"]).wait() != 0
    assert_one_more(doors, listener, before, "tls: client speaks no TLS: first bytes are HTTP")
