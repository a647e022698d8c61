"""The subscriber of the story that a beginner plays: it prints what is published to `chat`."""

import paho.mqtt.client as mqtt


def on_connect(client, userdata, flags, rc):
    print("Connected with result code " + str(rc))
    client.subscribe("chat", qos=0)


def on_message(client, userdata, msg):
    print(msg.topic + " :" + str(msg.payload))


client = mqtt.Client()
client.on_connect = on_connect
client.on_message = on_message
client.connect("127.0.0.1", 1883, 60)
client.loop_forever()
