"""The anchor paho: messages/s from one client to another through a mosquitto on loopback (PORT), at QoS 0."""

import os
import sys
import threading
import time

import paho.mqtt.client as mqtt

count = int(sys.argv[1])
done, subscribed = threading.Event(), threading.Event()
received = 0


def on_message(*_: object) -> None:
    global received
    received += 1
    if received == count:
        done.set()


def client() -> mqtt.Client:
    made = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
    made.connect("127.0.0.1", int(os.environ["PORT"]))
    return made


subscriber = client()
subscriber.on_message = on_message
subscriber.on_subscribe = lambda *_: subscribed.set()
subscriber.subscribe("bench/topic")
subscriber.loop_start()
subscribed.wait(10)
publisher = client()
publisher.loop_start()
began = time.perf_counter()
for number in range(count):
    while number - received > 4096:
        time.sleep(0.001)
    publisher.publish("bench/topic", b"x" * 64)
done.wait(60)
print(f"{received / (time.perf_counter() - began):.0f}")
