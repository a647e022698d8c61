"""A real mosquitto as a bridge: https://mosquitto.org/man/mosquitto-conf-5.html"""

import socket
from types import SimpleNamespace

import pytest

from mosquitto import Subscriber, publish

# What mosquitto calls the versions of the protocol, and the setting that makes it say that it is a bridge.
BRIDGES = [("mqttv31", "true"), ("mqttv311", "true"), ("mqttv311", "false"), ("mqttv50", "true")]


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@pytest.fixture(params=BRIDGES, ids=lambda param: "-".join(param))
def bridged(run, broker, tmp_path, request):
    """A mosquitto that has a bridge to the broker: all below `both` goes both ways, the rest one way."""
    version, try_private = request.param
    config = tmp_path / "mosquitto.conf"
    port = free_port()
    config.write_text(f"""
listener {port} 127.0.0.1
allow_anonymous true
connection over
address {broker.host}:{broker.port}
bridge_protocol_version {version}
try_private {try_private}
topic both/# both 1
topic there/# out 2
topic here/# in 2
""")
    seen = Subscriber(run, broker, "mqttv5", "-t", "$SYS/broker/connection/+/state")
    process = run(["mosquitto", "-v", "-c", str(config)])
    process.line_with("mosquitto version 2")
    # The retained state of the bridge: 0 before it is connected is not asked for.
    topic, _, _, payload = seen.message()
    assert (topic.startswith("$SYS/broker/connection/"), payload) == (True, "1")
    theirs = SimpleNamespace(host="127.0.0.1", port=port)
    yield SimpleNamespace(theirs=theirs, process=process, states=seen, says_bridge=try_private == "true")


@pytest.mark.parametrize("qos", "012")
def test_messages_cross_the_bridge_both_ways(run, broker, bridged, qos):
    ours = Subscriber(run, broker, "mqttv311", "-t", "both/#", "-t", "there/#", "-q", "2")
    theirs = Subscriber(run, bridged.theirs, "mqttv311", "-t", "both/#", "-t", "here/#", "-q", "2")
    publish(bridged.theirs, "mqttv311", "-t", "both/a", "-m", "from theirs", "-q", qos)
    publish(bridged.theirs, "mqttv311", "-t", "there/a", "-m", "there", "-q", qos)
    assert sorted(ours.messages(2)) == [("both/a", min(qos, "1"), "0", "from theirs"), ("there/a", qos, "0", "there")]
    publish(broker, "mqttv311", "-t", "here/a", "-m", "here", "-q", qos)
    publish(broker, "mqttv311", "-t", "both/b", "-m", "from ours", "-q", qos)
    # A bridge that does not say that it is one gets its own messages again, which the protocol cannot tell apart.
    expected = ["from ours", "here"] + ["from theirs"] * (1 if bridged.says_bridge else 2)
    assert sorted(theirs.payloads(len(expected))) == sorted(expected)


def test_the_state_of_a_bridge_is_retained_and_its_will(run, broker, bridged):
    late = Subscriber(run, broker, "mqttv5", "-t", "$SYS/broker/connection/+/state")
    topic, _, retain, payload = late.message()
    assert (retain, payload) == ("1", "1")
    bridged.process.close()
    assert late.message() == (topic, "0", "0", "0")
