"""Mosquitto's command line clients: https://mosquitto.org/man/mosquitto_sub-1.html"""

import subprocess

from processes import DEADLINE

VERSIONS = ["mqttv31", "mqttv311", "mqttv5"]
# One line for a message: these cannot be mistaken for what -d prints.
FORMAT = "MESSAGE|%t|%q|%r|%p"


class Subscriber:
    """A mosquitto_sub that has its SUBACK."""

    def __init__(self, run, broker, version, *arguments, format=FORMAT, subscribed=True):
        # Its output is a pipe: without stdbuf it would keep its lines.
        self.process = run(
            ["stdbuf", "-oL", "mosquitto_sub", "-h", broker.host, "-p", str(broker.port), "-V", version,
             "-d", "-F", format, *arguments])
        if subscribed:
            self.process.line_with("Subscribed (mid: ")

    def message(self):
        """The next message as the parts of the format."""
        return tuple(self.process.line_with("MESSAGE|").split("|")[1:])

    def messages(self, count):
        return [self.message() for _ in range(count)]

    def payloads(self, count):
        return [self.message()[3] for _ in range(count)]


def publish(broker, version, *arguments, input=None):
    """Runs mosquitto_pub until it has every acknowledgement that its QoS asks for."""
    subprocess.run(
        ["mosquitto_pub", "-h", broker.host, "-p", str(broker.port), "-V", version, *arguments],
        input=input, check=True, timeout=DEADLINE)
