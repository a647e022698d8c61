"""Publishes `hello tao` to the topic `chat`, and stays connected."""

import os
import sys

import paho.mqtt.client as mqtt

HOST = os.environ.get("MQTT_HOST", "127.0.0.1")
PORT = int(os.environ.get("MQTT_PORT", "1883"))

if len(sys.argv) > 1:
    HOST = sys.argv[1]
if len(sys.argv) > 2:
    PORT = int(sys.argv[2])

client = mqtt.Client()
client.connect(HOST, PORT, 60)
client.publish("chat", payload="hello tao", qos=0)
client.loop_forever()
