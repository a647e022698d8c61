"""Prints what is published to the topic `chat`. Start it before publish.py."""

import os
import sys

import paho.mqtt.client as mqtt

HOST = os.environ.get("MQTT_HOST", "127.0.0.1")
PORT = int(os.environ.get("MQTT_PORT", "1883"))


def on_connect(client, userdata, flags, rc):
    """Subscribes each time that a connection is made."""
    print("Connected with result code " + str(rc), flush=True)
    client.subscribe("chat", qos=0)


def on_message(client, userdata, msg):
    """Prints a message."""
    print(msg.topic + " :" + str(msg.payload), flush=True)


if len(sys.argv) > 1:
    HOST = sys.argv[1]
if len(sys.argv) > 2:
    PORT = int(sys.argv[2])

client = mqtt.Client()
client.on_connect = on_connect
client.on_message = on_message
client.connect(HOST, PORT, 60)
client.loop_forever()
