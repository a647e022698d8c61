"""Clients that are not ours at every door: TCP, TLS, WebSocket, both, one port for all, a Unix domain socket."""

import base64
import json
import socket
import ssl
import subprocess
import urllib.request

import pytest

from conftest import Broker
from doors import DOORS, Door, Doors, certificates
from mosquitto import FORMAT
from paho_client import V5, V311, Client
from processes import DEADLINE
from proxy import HEADERS, Proxy
from test_mqttjs import Client as JsClient
from test_mqttjs import Driver

CONNECT = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01a"
# The edges of WebSocket's lengths, and more than a socket takes at once.
PAYLOADS = [b"", b"x" * 125, b"x" * 126, b"x" * 65_535, b"x" * 65_536, bytes(range(256)) * 4096]


@pytest.fixture(scope="module")
def doors(tmp_path_factory):
    doors = Doors(tmp_path_factory.mktemp("d"))
    certificates(doors.files)
    doors.broker = Broker(doors.settings())
    yield doors
    doors.broker.stop()


@pytest.fixture(params=DOORS, ids=lambda door: door.name)
def door(request):
    return request.param


def paho(doors, door, version, name, certificate=None, at=None, **options):
    """A connected paho client at a door, or at the address of what is before it."""
    def prepare(client):
        if door.transport == "websockets":
            client.ws_set_options(path="/mqtt")
        if door.is_secure:
            own = [doors.file(f"{certificate}.{end}") for end in ("pem", "key")] if certificate else []
            client.tls_set(doors.file("ca.pem"), *own)

    return Client(at or door.at(doors), version, name, transport=door.transport, prepare=prepare, **options)


@pytest.mark.parametrize("version", [V311, V5], ids=["v311", "v5"])
def test_paho_says_and_hears_all(doors, door, version):
    topic = f"paho/{door.name}/{version}"
    client = paho(doors, door, version, f"{topic}/a")
    assert client.subscribe(topic, 2) == [2]
    for qos in (0, 1, 2):
        for payload in PAYLOADS:
            assert client.publish(topic, payload, qos) == 0
            message = client.message()
            assert (message.topic, message.qos, message.retain) == (topic, qos, False)
            assert message.payload == payload
    client.publish(topic, b"kept", 1, retain=True)
    assert client.message().payload == b"kept"
    dying = paho(doors, door, version, f"{topic}/b", will={"topic": topic, "payload": "gone", "qos": 1})
    dying.break_off()
    assert client.message().payload == b"gone"
    late = paho(doors, door, version, f"{topic}/c")
    late.subscribe(topic, 1)
    message = late.message()
    assert (message.payload, message.retain) == (b"kept", True)
    for one in (client, dying, late):
        one.close()


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("door", [door for door in DOORS if door.transport != "unix"], ids=lambda door: door.name)
def test_mqttjs_says_and_hears_all(run, doors, door, version):
    driver = Driver(run)
    topic = f"js/{door.name}/{version}"
    with open(doors.file("ca.pem"), encoding="ascii") as file:
        options = {"ca": file.read()} if door.is_secure else {}
    client = JsClient(driver, None, version, f"{topic}/a", url=door.url(doors), **options)
    assert client.subscribe({topic: {"qos": 2}}) == [2]
    for qos in (0, 1, 2):
        for payload in PAYLOADS:
            client.publish(topic, payload, qos=qos)
            message = client.message()
            assert (message["topic"], message["qos"], message["retain"]) == (topic, qos, False)
            assert message["payload"] == payload
    client.publish(topic, b"kept", qos=1, retain=True)
    assert client.message()["payload"] == b"kept"
    late = JsClient(driver, None, version, f"{topic}/b", url=door.url(doors), **options)
    late.subscribe({topic: {"qos": 1}})
    message = late.message()
    assert (message["payload"], message["retain"]) == (b"kept", True)
    client.end()
    late.end()


@pytest.mark.parametrize("version", ["mqttv311", "mqttv5"])
@pytest.mark.parametrize("listener", ["tls", "auto", "unix"])
@pytest.mark.parametrize("qos", "012")
def test_mosquitto_says_and_hears(run, doors, listener, version, qos):
    at = doors.address(listener)
    way = ["--unix", at.host] if listener == "unix" else ["-h", at.host, "-p", str(at.port), "--cafile", doors.file("ca.pem")]
    topic = f"mosquitto/{listener}/{version}/{qos}"
    way += ["-V", version, "-t", topic, "-q", qos]
    subscriber = run(["stdbuf", "-oL", "mosquitto_sub", "-d", "-F", FORMAT, "-C", "2", *way])
    subscriber.line_with("Subscribed (mid: ")
    for payload in ("hello", "y" * 100_000):
        subprocess.run(["mosquitto_pub", *way, "-s"], input=payload.encode(), check=True, timeout=DEADLINE)
        assert subscriber.line_with("MESSAGE|").split("|")[1:] == [topic, qos, "0", payload]
    assert subscriber.wait() == 0


# It asks for a client's certificate.
STRICT = Door("strict", "tcp", is_secure=True)


def test_a_certificate_of_the_authority_is_taken(doors):
    for version in (V311, V5):
        client = paho(doors, STRICT, version, f"strict{version}", "device")
        client.subscribe("strict", 1)
        client.publish("strict", b"in", 1)
        assert client.message().payload == b"in"
        client.close()


@pytest.mark.parametrize("certificate", ["revoked", "stranger", None])
def test_another_certificate_is_refused(doors, certificate):
    at = STRICT.at(doors)
    context = ssl.create_default_context(cafile=doors.file("ca.pem"))
    if certificate:
        context.load_cert_chain(doors.file(f"{certificate}.pem"), doors.file(f"{certificate}.key"))
    # With TLS 1.3 a client has done its part before it hears the refusal.
    with pytest.raises(ssl.SSLError) as refused:
        with socket.create_connection((at.host, at.port), timeout=DEADLINE) as plain:
            with context.wrap_socket(plain, server_hostname="localhost") as stream:
                stream.sendall(CONNECT)
                assert stream.recv(4) == b""
                raise ssl.SSLError("closed without an alert")
    alerts = {"revoked": "revoked", "stranger": "unknown ca", None: "certificate required"}
    assert alerts[certificate] in str(refused.value).lower().replace("_", " ")


@pytest.mark.parametrize("certificate", ["revoked", "stranger", None])
def test_mqttjs_is_told_that_its_certificate_is_refused(run, doors, certificate):
    driver = Driver(run)
    options = {"protocolVersion": 5, "clientId": "refused"}
    for option, file in {"ca": "ca.pem", "cert": f"{certificate}.pem", "key": f"{certificate}.key"}.items():
        if certificate or option == "ca":
            with open(doors.file(file), encoding="ascii") as text:
                options[option] = text.read()
    driver.send(command="connect", client="refused", url=STRICT.url(doors), options=options)
    assert "alert" in driver.event("refused", "error")["text"]


def curl(doors, listener, *arguments):
    """The status and the body of an answer to curl."""
    at = doors.address(listener)
    scheme = "https" if listener in ("wss", "auto") else "http"
    path = next((one for one in arguments if one.startswith("/")), "/mqtt")
    done = subprocess.run(
        ["curl", "-s", "-m", "5", "--http1.1", "--cacert", doors.file("ca.pem"), "-o", "-", "-w", "\n%{http_code}",
         f"{scheme}://{at.host}:{at.port}{path}", *(one for one in arguments if not one.startswith("/"))],
        capture_output=True, timeout=DEADLINE)
    body, status = done.stdout.rsplit(b"\n", 1)
    return int(status), body


UPGRADE = ["-H", "Connection: Upgrade", "-H", "Upgrade: websocket", "-H", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
           "-H", "Sec-WebSocket-Version: 13"]


@pytest.mark.parametrize("listener", ["ws", "wss", "auto"])
def test_curl_is_told_what_is_wrong(doors, listener):
    mqtt = ["-H", "Sec-WebSocket-Protocol: mqtt"]
    status, body = curl(doors, listener, "/elsewhere", *UPGRADE, *mqtt)
    assert (status, b"/mqtt" in body) == (404, True)
    status, body = curl(doors, listener, *UPGRADE, "-H", "Sec-WebSocket-Protocol: chat")
    assert (status, b"mqtt" in body) == (400, True)
    status, _ = curl(doors, listener, "-X", "DELETE", *UPGRADE, *mqtt)
    assert status == 405
    status, body = curl(doors, listener)
    assert (status, body != b"") == (426, True)


@pytest.mark.parametrize("listener", ["tls", "auto"])
@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_openssl_agrees_on_mqtt(doors, listener, version):
    at = doors.address(listener)
    done = subprocess.run(
        ["openssl", "s_client", "-connect", f"{at.host}:{at.port}", "-CAfile", doors.file("ca.pem"), "-alpn", "mqtt",
         "-verify_return_error", "-servername", "localhost", version],
        input=b"", capture_output=True, timeout=DEADLINE)
    assert b"ALPN protocol: mqtt" in done.stdout
    assert b"Verify return code: 0 (ok)" in done.stdout


@pytest.fixture(scope="module")
def proxied(doors):
    """A broker all of whose listeners are behind a proxy."""
    behind = Doors(doors.files)
    settings = {key: value for key, value in doors.settings().items() if ".unix." not in key}
    for name in ("tcp", "tls", "ws", "wss", "auto"):
        settings |= {f"listener.{name}.proxy_protocol": "required", f"listener.{name}.proxy_from": "127.0.0.1"}
    settings |= {"listener.far.bind": "127.0.0.1:0", "listener.far.proxy_protocol": "required",
                 "listener.far.proxy_from": "198.51.100.0/24", "console.listen": "127.0.0.1:0", "console.tutorial": "true"}
    behind.broker = Broker(settings)
    behind.console = behind.broker.process.line_with("console at ").split()[2].rstrip("/")
    yield behind
    behind.broker.stop()


def api(doors, path):
    """An answer of the console."""
    credentials = base64.b64encode(b"admin:public").decode()
    request = urllib.request.Request(f"{doors.console}/api/v1/{path}", headers={"Authorization": f"Basic {credentials}"})
    with urllib.request.urlopen(request, timeout=DEADLINE) as answer:
        return json.load(answer)


@pytest.mark.parametrize("header", ["v1", "v2"])
@pytest.mark.parametrize("door", [door for door in DOORS if door.transport != "unix"], ids=lambda door: door.name)
def test_a_client_behind_a_proxy_has_its_own_address(proxied, door, header):
    proxy = Proxy(door.at(proxied), HEADERS[header])
    name = f"{door.name}-{header}"
    client = paho(proxied, door, V5, name, at=proxy)
    client.subscribe(name, 1)
    client.publish(name, b"x" * 70_000, 1)
    assert client.message().payload == b"x" * 70_000
    listed = api(proxied, f"clients?search={name}")["items"]
    assert [(one["client_id"], one["address"]) for one in listed] == [(name, "203.0.113.7:4711")]
    client.close()
    proxy.close()


def ended(at, sent):
    """What comes back until the broker ends the connection."""
    with socket.create_connection((at.host, at.port), timeout=DEADLINE) as stranger:
        stranger.sendall(sent)
        try:
            return stranger.recv(64)
        except ConnectionResetError:
            return b""


@pytest.mark.parametrize("name", ["tcp", "tls", "ws", "wss", "auto"])
def test_a_stranger_without_a_header_is_refused(proxied, name):
    at = proxied.address(name)
    before = api(proxied, f"listeners?search={name}")
    assert ended(at, CONNECT) == b""
    assert ended(at, b"PROXY TCP4 nonsense\r\n" + CONNECT) == b""
    item = next(one for one in api(proxied, "listeners")["items"] if one["name"] == name)
    counted = next(one for one in before["items"] if one["name"] == name)["handshake_failures"]
    assert item["handshake_failures"] == counted + 2
    assert any("PROXY" in one["reason"] for one in item["failure_reasons"])


def test_a_proxy_that_is_not_listed_is_refused(proxied):
    assert ended(proxied.address("far"), HEADERS["v1"] + CONNECT) == b""
    item = next(one for one in api(proxied, "listeners")["items"] if one["name"] == "far")
    assert item["connections"] == 0
    assert item["handshake_failures"] + item["refused"] == 1
