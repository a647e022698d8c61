"""Takes the pictures of docs/console/: each page of a broker at work, light, dark, and on a phone; some in Chinese."""

import json
import math
import pathlib
import sys
import threading

from browser import Browser
from conftest import Broker, Client

PAGES = {"overview": "overview", "live": "live?filter=home/%23", "drops": "drops", "clients": "clients", "client": "clients/thermostat", "gone": "clients/visitor",
         "sessions": "sessions", "subscriptions": "subscriptions?topic=home/kitchen/temperature", "topics": "topics?topic=home/kitchen/temperature", "retained": "retained",
         "listeners": "listeners", "storage": "storage", "settings": "settings", "tutorial": "tutorial"}
CHINESE = ["overview", "drops", "settings"]
# What a label says in a language that is not English.
TOPIC = {"zh-CN": "主题"}


class Home:
    """Some clients that do what clients in a house do, a step each 0.2 s."""

    def __init__(self, broker):
        self.clients = {name: Client(broker, name) for name in ("thermostat", "wall-display", "recorder", "kitchen-sensor", "hall-sensor", "door")}
        self.clients["thermostat"].subscribe("home/+/temperature", 1)
        self.clients["thermostat"].subscribe("home/heating/set", 1)
        self.clients["wall-display"].subscribe("home/#")
        self.clients["recorder"].subscribe("#", 1)
        phone = Client(broker, "phone", clean=False)
        phone.subscribe("home/door/#", 1)
        phone.subscribe("home/hall/light")
        phone.close()
        # One that the console disconnects: its session ends with its connection.
        self.visitor = Client(broker, "visitor")
        self.visitor.subscribe("home/door/#")
        self._step = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self):
        while not self._stop.wait(0.2):
            self._step += 1
            warm = 20 + 3 * math.sin(self._step / 20)
            say = lambda who, topic, payload, **options: self.clients[who].client.publish(topic, payload, **options)
            say("kitchen-sensor", "home/kitchen/temperature", json.dumps({"celsius": round(warm, 2), "battery": {"volts": 3.01}, "sensor": "dht22"}), retain=True)
            say("kitchen-sensor", "home/kitchen/humidity", str(40 + self._step % 9))
            if self._step % 3 == 0:
                say("hall-sensor", "home/hall/temperature", f"{warm - 2:.1f}", retain=True)
                say("hall-sensor", "home/hall/light", "on" if self._step % 2 else "off", qos=1)
            if self._step % 20 == 0:
                say("door", "home/door/front", "open" if self._step % 40 else "closed", qos=1)
            if self._step == 30:
                self.clients["recorder"].client.unsubscribe("#")
                self.clients["recorder"].subscribe("home/#", 1)
            if self._step > 30 and self._step % 7 == 0:
                say("hall-sensor", "office/printer/ink", "12 %")

    def close(self):
        """Ends it."""
        self._stop.set()
        self._thread.join()
        for client in self.clients.values():
            client.close()


def take(browser, broker, folder, names, suffix, width=1280, height=800, **look):
    """Pictures of some pages."""
    page = browser.page(width=width, height=height, **look)
    if suffix == "light":
        page.open(broker.url)
        page.until("document.querySelector('form')")
        page.screenshot(folder / "login-light.webp", kind="webp", quality=72)
    page.log_in(broker.url)
    for name in names:
        page.go(PAGES[name])
        if name == "tutorial":
            page.until("document.querySelector('.steps')")
        if name == "live":
            page.until("document.querySelectorAll('.messages li').length > 11")
        elif name == "topics":
            page.sees("celsius", "aside")
        elif name == "drops":
            page.until("document.querySelector('.drops li')")
            page.fill(TOPIC.get(look.get("language"), "Topic"), "home/hall/light")
            page.press("Enter")
            page.until("document.querySelector('.explanation')")
            page.evaluate("scrollTo(0, 0)")
        else:
            page.until("document.querySelector('.tile strong, .facts, tbody tr, .drops li, .setting, .steps details, .verdict')?.innerText")
        page.evaluate("document.activeElement.blur(); new Promise((resolve) => setTimeout(resolve, 1200))")
        page.screenshot(folder / f"{name}-{suffix}.webp", kind="webp", quality=72)
    assert page.complaints() == []
    page.close()


def learn(browser, folder):
    """Pictures of the first steps, on a broker that has seen one subscriber."""
    broker = Broker({})
    learner = Client(broker, "")
    learner.subscribe("chat")
    take(browser, broker, folder, ["tutorial"], "start")
    take(browser, broker, folder, ["tutorial"], "dark", dark=True)
    take(browser, broker, folder, ["tutorial"], "phone", width=360, height=740)
    learner.close()
    empty = Broker({})
    take(browser, empty, folder, ["overview"], "start")
    broker.stop()
    empty.stop()


def main():
    """Takes all of them into the folder that is named."""
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    broker = Broker({})
    home = Home(broker)
    browser = Browser()
    try:
        # The sparklines want some minutes of history, at a point each 5 s.
        watcher = browser.page()
        watcher.log_in(broker.url)
        threading.Event().wait(float(sys.argv[2]) if len(sys.argv) > 2 else 120)
        watcher.close()
        page = browser.page()
        page.log_in(broker.url)
        page.go("clients/visitor")
        page.click("Disconnect", "header button")
        page.click("Disconnect", "dialog button")
        page.sees("Reason:")
        page.close()
        at_work = [name for name in PAGES if name != "tutorial"]
        take(browser, broker, folder, at_work, "light")
        take(browser, broker, folder, at_work, "dark", dark=True)
        take(browser, broker, folder, at_work, "phone", width=360, height=740)
        take(browser, broker, folder, CHINESE, "chinese", language="zh-CN")
        learn(browser, folder)
    finally:
        browser.close()
        home.close()
        broker.stop()


if __name__ == "__main__":
    main()
