"""The publisher of the story that a beginner plays: it publishes before it has heard that it is connected."""

import paho.mqtt.client as mqtt

client = mqtt.Client()
client.connect("127.0.0.1", 1883, 60)
client.publish("chat", payload="hello tao", qos=0)
client.loop_forever()
