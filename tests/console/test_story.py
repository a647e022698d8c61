"""The story that a beginner plays, seen in the console; and what a person does there."""

import json
import socket

import paho.mqtt.client as mqtt
import pytest

TILE = "[...document.querySelectorAll('.tile')].find((one) => one.querySelector('.label').innerText === '%s')?.querySelector('strong').innerText === '%s'"


def test_the_story_from_the_login_to_the_first_message(open_page, broker, play):
    page = open_page()
    page.open(broker.url)
    page.sees("Tutorial mode: the user is admin, the password public.")
    page.fill("User", "admin")
    page.fill("Password", "wrong")
    page.press("Enter")
    page.sees("Wrong user name or password.")
    page.fill("Password", "public")
    page.click("Log in")
    page.sees("No clients yet")
    page.until(TILE % ("Clients", "0"))

    subscriber = play("subscribe.py")
    assert subscriber.line() == "Connected with result code 0"
    page.until(TILE % ("Clients", "1"))
    page.sees_not("No clients yet")
    play("publish.py")
    assert subscriber.line() == "chat :b'hello tao'"
    page.until(TILE % ("Clients", "2"))
    page.sees("connected", ".feed")

    page.click("Clients", "nav a")
    page.until("document.querySelectorAll('tbody tr').length === 2")
    page.sees("127.0.0.1:", "tbody")
    page.click("Topics", "nav a")
    page.sees("hello tao", "[role=tree]")
    page.click(None, "[role=treeitem] .level")
    page.sees("hello tao", "aside .payload")
    page.click("Tutorial", "nav a")
    page.until("document.querySelectorAll('.steps .done').length === 3")


def test_a_message_that_was_too_early_is_explained(page, play):
    page.go("drops")
    page.sees("No recent drops")
    play("publish.py")
    page.sees("no subscriber", ".drops")
    page.sees("chat", ".drops .name")
    page.fill("Topic", "chat")
    page.click("Explain", "button")
    page.sees("No subscriber.", ".explanation")
    page.sees("Access: every client may publish this.", ".explanation")
    subscriber = play("subscribe.py")
    assert subscriber.line() == "Connected with result code 0"
    page.go("overview")
    page.until(TILE % ("Subscriptions", "1"))
    page.go("drops")
    page.fill("Topic", "chat")
    page.click("Explain", "button")
    page.sees("Delivered to 1 receiver.", ".explanation")


def test_the_same_drop_is_told_once(page, connect):
    publisher = connect("writer")
    for _ in range(3):
        publisher.publish("void", "x", qos=1)
    page.go("drops")
    page.sees("× 3", ".drops")
    page.sees("published by writer", ".drops")
    assert page.evaluate("document.querySelectorAll('.drops li').length") == 1


def test_what_happened_before_the_login_is_told(open_page, broker, connect):
    connect("early").subscribe("x")
    page = open_page()
    page.log_in(broker.url)
    page.sees("early", ".feed")
    page.sees("subscribed", ".feed")


def test_the_form_publishes_to_a_client(page, connect):
    subscriber = connect("reader")
    subscriber.subscribe("news/#", 1)
    page.watch("news/#")
    page.fill("Topic", "news/today")
    page.fill("Payload", '{"headline": "a midge landed"}')
    page.evaluate("document.querySelectorAll('form.stack select')[0].value = '1'")
    page.click("Publish", "form button")
    message = subscriber.message()
    assert (message.topic, json.loads(message.payload), message.qos) == ("news/today", {"headline": "a midge landed"}, 1)
    page.sees("Delivered to 1 receiver.", ".answer")
    page.sees("reader", ".receivers")
    page.sees("a midge landed", ".messages")
    page.click(None, ".messages summary")
    page.sees('"headline": "a midge landed"', ".messages .payload")


def test_the_form_publishes_properties(page, connect):
    subscriber = connect("reader", version=mqtt.MQTTv5)
    subscriber.subscribe("ask")
    page.watch("ask")
    page.fill("Topic", "ask")
    page.click("Properties of MQTT 5", "summary")
    for label, text in (("Content type", "text/plain"), ("Response topic", "answers"), ("Correlation data", "nr. 7 \u00fc"), ("Expires after, in seconds", "60")):
        page.fill(label, text)
    page.click("Add", "button")
    page.fill("Name", "colour")
    page.fill("Value", "green")
    page.click("Publish", "form button")
    properties = subscriber.message().properties
    assert (properties.ContentType, properties.ResponseTopic, properties.CorrelationData) == ("text/plain", "answers", "nr. 7 \u00fc".encode())
    assert (properties.UserProperty, properties.MessageExpiryInterval) == ([("colour", "green")], 60)
    page.click(None, ".messages summary")
    page.sees("text/plain", ".messages")
    page.sees("colour", ".messages")


def test_a_paused_tail_holds_messages_back(page, connect):
    publisher = connect("writer")
    page.watch("ticks")
    publisher.publish("ticks", "one")
    page.sees("one", ".messages")
    page.click("Pause", "button")
    publisher.publish("ticks", "two")
    page.sees("1 waiting")
    assert "two" not in page.text(".messages")
    page.click("Resume", "button")
    page.sees("two", ".messages")


def test_a_client_is_disconnected(page, connect):
    client = connect("unwanted")
    page.go("clients")
    page.click("unwanted", "tbody a")
    page.sees("MQTT 3.1.1", ".facts")
    page.click("Disconnect", "header button")
    page.sees("Disconnect this client?", "dialog")
    page.click("Disconnect", "dialog button")
    assert client.ended.get(timeout=30)
    page.sees_not("Disconnect this client?")
    page.sees("Reason:", ".verdict")
    page.sees("An administrator or the host program disconnected the client.", ".feed")
    page.sees("ended", "main header .badge")
    assert not page.evaluate("document.querySelector('main header button').checkVisibility()")


def test_a_client_that_is_away_says_why_it_went(page, connect):
    client = connect("sleeper", clean=False)
    client.subscribe("dreams/#", 1)
    client.close()
    connect("waker").publish("dreams/tonight", "sheep", qos=1)
    page.go("sessions")
    page.sees("offline", "tbody")
    page.click("sleeper", "tbody a")
    page.sees("Reason:")
    page.sees("dreams/#", "table")
    page.until("[...document.querySelectorAll('.facts div')].some((one) => one.innerText.replace(/\\s+/g, ' ') === 'Queued 1')")
    page.go("drops")
    page.fill("Topic", "dreams/today")
    page.press("Enter")
    page.until("[...document.querySelectorAll('.receivers .muted')].some((one) => one.innerText.startsWith('The subscriber was not connected'))")


def test_a_retained_message_is_looked_at_and_deleted(page, connect):
    connect("writer").publish("house/light", '{"on": true}', qos=1, retain=True)
    page.go("retained")
    page.click("house/light", "button")
    page.sees('"on": true', "dialog .payload")
    page.click("Delete", "dialog button")
    page.sees("Delete the retained message?", "dialog")
    page.click("Delete", "dialog button")
    page.sees("No retained messages")
    reader = connect("reader")
    reader.subscribe("house/light", 1)
    reader.publish("house/light", "the first that it hears", qos=1)
    assert reader.message().payload == b"the first that it hears"


def test_who_receives_a_topic(page, connect):
    connect("one").subscribe("a/+/c", 1)
    connect("two").subscribe("a/#", 2)
    page.go("subscriptions")
    page.fill("Topic", "a/b/c")
    page.click("Look up", "button")
    page.sees("2 receivers", ".verdict")
    page.sees("a/+/c", ".receivers")
    page.sees("two", ".receivers")
    page.fill("Topic", "b")
    page.click("Look up", "button")
    page.sees("No receivers.", ".verdict")


def test_settings_and_listeners_are_shown(page, broker):
    page.go("listeners")
    page.sees(f"{broker.host}:{broker.port}", "tbody")
    page.go("settings")
    page.sees("console.tutorial", ".setting")
    page.click("Changed only", "label")
    page.sees_not("mqtt.max_qos", ".setting")
    page.sees("console.listen", ".setting")


def test_the_page_in_chinese(open_page, broker, play, connect):
    sleeper = connect("sleeper", clean=False)
    sleeper.subscribe("away", 1)
    sleeper.close()
    page = open_page(language="zh-CN")
    page.open(broker.url)
    page.sees("登录")
    page.log_in(broker.url)
    page.sees("还没有客户端")
    assert page.evaluate("document.documentElement.lang") == "zh-CN"
    play("publish.py")
    page.go("drops")
    page.sees("无订阅者", ".drops")
    page.fill("主题", "away")
    page.evaluate("document.querySelector('form.stack select').value = '1'")
    page.click("解释", "button")
    page.sees("1 个中有 1 个稍后收到消息。", ".explanation")
    page.go("settings")
    page.sees("监听的地址和端口。", ".setting")
    page.sees("布尔值 · true 或 false", ".setting")
    page.fill("搜索设置", "空闲端口")
    page.sees("console.listen", ".setting")
    page.sees_not("mqtt.max_qos", ".setting")
    page.go("drops")
    page.click("English", "button")
    page.sees("no subscriber", ".drops")
    page.open(broker.url)
    page.sees("Overview", "h1")


def test_the_colours_are_chosen_and_kept(page, broker):
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    page.click("System colours", "button")
    page.click("Light colours", "button")
    assert page.evaluate(ground) != light
    page.open(broker.url)
    page.sees("Overview", "h1")
    assert page.evaluate(ground) != light


def test_a_lost_connection_is_said_and_mended(open_page, start_broker):
    first = start_broker()
    console = first.url.removeprefix("http://")
    page = open_page()
    page.log_in(first.url)
    page.until("document.querySelector('.lost')?.hidden")
    first.stop()
    page.sees("Connection to the broker lost.", ".lost")
    start_broker(console=console)
    # The new broker does not know the old one's login.
    page.until("document.querySelector('input[type=password]')")


def test_a_listener_is_added_paused_and_stopped(page, broker, connect):
    connect("old")
    page.go("listeners")
    page.click("Add a listener", "button")
    page.fill("Name", "lan")
    page.fill("Address", "127.0.0.1:99999")
    page.click("Add", "dialog button")
    page.sees("127.0.0.1:99999", "dialog [role=alert]")
    page.fill("Address", "127.0.0.1:0")
    page.click("Add", "dialog button")
    page.sees("lan listens on 127.0.0.1:")
    page.sees("lan", "tbody")
    address = page.evaluate("[...document.querySelectorAll('tbody tr')].find((row) => row.innerText.startsWith('lan')).querySelector('code').innerText")
    host, port = address.rsplit(":", 1)
    with socket.create_connection((host, int(port))):
        pass
    page.click("Pause: lan", "button")
    page.sees("Paused", "tbody")
    page.click("Resume: lan", "button")
    page.sees_not("Paused", "tbody")
    page.click("Stop: lan", "button")
    page.click("Stop", "dialog button")
    page.sees("The listener is stopped.")
    page.sees_not("lan", "tbody")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)))
    page.sees("tcp", "tbody")
