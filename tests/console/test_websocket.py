"""A page of somebody's own, which speaks MQTT over WebSocket with MQTT.js."""

import functools
import http.server
import os
import pathlib
import re
import subprocess
import threading

import pytest

from conftest import Broker

BUNDLE = pathlib.Path(__file__).parent / "node_modules/mqtt/dist/mqtt.min.js"
# What it hears of what it says: QoS 0 to 2, and payloads on both sides of a frame's length of 16 bits.
PAGE = """<!doctype html><meta charset="utf-8"><title>A page</title><script src="mqtt.min.js"></script><main id="app"><p id="heard"></p></main>
<script>
const [url, version] = decodeURIComponent(location.search.slice(1)).split(' ');
const heard = document.getElementById('heard');
const client = mqtt.connect(url, { protocolVersion: Number(version), reconnectPeriod: 0 });
const all = [0, 1, 2].flatMap((qos) => ['', 'x'.repeat(65536), 'y'.repeat(1000000)].map((payload) => [qos, payload]));
const say = () => client.publish('page', all[0][1], { qos: all[0][0] });
client.on('error', (error) => { heard.textContent = `error: ${error.message}`; });
client.on('connect', () => client.subscribe('page', { qos: 2 }, say));
client.on('message', (topic, payload, packet) => {
  const [qos, expected] = all.shift();
  if (packet.qos !== qos || payload.toString() !== expected) heard.textContent = `wrong: QoS ${packet.qos}, ${payload.length} bytes`;
  else if (all.length) say();
  else client.end(false, () => { heard.textContent = 'all of it'; });
});
</script>"""


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A site with the page, and certificates."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "index.html").write_text(PAGE)
    (folder / "mqtt.min.js").write_bytes(BUNDLE.read_bytes())
    return folder


@pytest.fixture(scope="module")
def site(files):
    """The address of the page."""
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=files))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def doors(files):
    """The ports of listeners for ws, wss and all."""
    subprocess.run([os.environ["MIDGE_BIN"], "certificate", str(files)], check=True, capture_output=True)
    settings = {}
    for name in ("ws", "wss", "auto"):
        settings |= {f"listener.{name}.bind": "127.0.0.1:0", f"listener.{name}.transport": name}
        if name != "ws":
            settings |= {f"listener.{name}.certificate": f"{files}/server.pem", f"listener.{name}.key": f"{files}/server.key"}
    broker = Broker(settings)
    found = [re.search(r"listening on 127\.0\.0\.1:(\d+) \((\w+)\)", line) for line in broker.process.seen]
    yield {one[2]: one[1] for one in found if one}
    broker.stop()


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("scheme, door", [("ws", "ws"), ("wss", "wss"), ("ws", "auto"), ("wss", "auto")])
def test_a_page_says_and_hears_all(open_page, site, doors, scheme, door, version):
    page = open_page()
    # The authority is our own.
    page.call("Security.setIgnoreCertificateErrors", ignore=True)
    page.open(f"{site}/index.html?{scheme}://127.0.0.1:{doors[door]}/mqtt%20{version}")
    page.sees("all of it", "#heard")
