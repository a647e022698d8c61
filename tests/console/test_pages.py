"""What each page says and does: numbers of the right statistic, forms that send what stands in them, lists in their order."""

import json
import re

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.subscribeoptions import SubscribeOptions

TILES = "Object.fromEntries([...document.querySelectorAll('.tile')].map((one) => [one.querySelector('.label').innerText, [one.querySelector('strong').innerText, one.querySelector('small').innerText]]))"


def choose(page, label, value):
    """Chooses an option of the select that is labelled so."""
    page.evaluate(f"(() => {{ const one = [...document.querySelectorAll('select')].find((one) => one.labels[0]?.innerText === {json.dumps(label)}); one.value = {json.dumps(value)}; one.dispatchEvent(new Event('change')); }})()")


def test_each_tile_has_its_own_number(page, connect):
    for name in ("one", "two"):
        connect(name).subscribe("heard", 1)
    sleeper = connect("sleeper", clean=False)
    sleeper.subscribe("heard", 1)
    sleeper.close()
    writer = connect("writer")
    for number in range(3):
        writer.publish("heard", str(number), qos=1)
    for number in range(4):
        writer.publish("lost", "x", qos=1)
    writer.publish("kept", "x" * 2000, qos=1, retain=True)
    page.until(f"(() => {{ const tiles = {TILES}; return tiles['Messages in'][1] === 'total 8' && tiles['Messages out'][1] === 'total 6'; }})()")
    tiles = page.evaluate(TILES)
    assert (tiles["Clients"], tiles["Sessions"], tiles["Subscriptions"]) == (["3", "peak 3"], ["4", "1 offline"], ["3", "3 queued"])
    assert (tiles["Dropped"], tiles["Retained"][0]) == (["4", "since start"], "1")
    assert tiles["Retained"][1] == "2.2 KiB"
    # As if the broker had counted for five seconds.
    page.evaluate("""import('/lib/live.js').then(({ broker }) => {
      const last = Date.now();
      const before = broker.names.map(() => 0);
      const now = broker.names.map((name) => ({ messages_published: 50, messages_delivered: 100, bytes_received: 10240, bytes_sent: 51200 })[name] ?? 0);
      broker.points = [[last - 5000, ...before], [last, ...now]];
      for (const watcher of broker.watchers) watcher(broker.stats);
      document.body.dataset.tiles = JSON.stringify(%s);
    })""" % TILES)
    tiles = json.loads(page.evaluate("document.body.dataset.tiles"))
    assert [tiles[name][0] for name in ("Messages in", "Messages out", "Bytes in", "Bytes out")] == ["10/s", "20/s", "2 KiB/s", "10 KiB/s"]


def test_the_overview_says_how_long_the_broker_has_been_running(page):
    page.go("live")
    # A broker that has been running for an hour, a minute and a half.
    page.evaluate("""(() => { const real = window.fetch; window.fetch = async (path, options) => {
      const answer = await real(path, options);
      return path === '/api/v1/overview' ? new Response(JSON.stringify({ ...await answer.json(), uptime_ms: 3690000 })) : answer; }; })()""")
    page.go("overview")
    page.sees(", running for 1 h 1 min", ".lead")


def test_the_hint_for_beginners_goes_with_the_first_client(page, connect):
    page.sees("The broker is running and waiting for clients.")
    connect("first")
    page.sees_not("The broker is running and waiting for clients.")


def test_the_feed_tells_each_thing_that_happens_newest_first(page, connect, broker):
    feed = "[...document.querySelectorAll('.feed li')].map((one) => `${one.querySelector('.badge')?.innerText} ${one.querySelector('.name')?.innerText}`)"
    client = connect("busy")
    client.subscribe("a", 1)
    client.client.unsubscribe("a")
    client.close()
    expected = [f"{kind} busy" for kind in ("disconnected", "unsubscribed", "subscribed", "connected")]
    page.until(f"JSON.stringify({feed}) === {json.dumps(json.dumps(expected, separators=(',', ':')))}", f"the feed is {expected}")
    # And the same to somebody who comes later.
    page.open(broker.url)
    page.until(f"JSON.stringify({feed}) === {json.dumps(json.dumps(expected, separators=(',', ':')))}", f"the feed is {expected} again")


@pytest.mark.parametrize("text", ["a/#/b", "a+", "a/b#", "#/"])
def test_what_is_no_filter_is_said_and_not_watched(page, text):
    page.watch("#")
    page.fill("Topic filter", text)
    page.click("Watch", "button")
    page.sees("Invalid topic filter", ".problem")
    assert page.evaluate("document.querySelector('.messages').dataset.watching ?? null") is None
    page.fill("Topic filter", "a/+/#")
    page.click("Watch", "button")
    page.until("document.querySelector('.messages').dataset.watching === 'a/+/#' && document.querySelector('.problem').hidden")


def test_the_last_messages_are_kept_newest_first(page, connect):
    writer = connect("writer")
    page.watch("many")
    for number in range(310):
        writer.publish("many", f"nr. {number}")
    page.until("document.querySelector('.status').innerText === '310 messages'")
    shown = page.evaluate("[...document.querySelectorAll('.messages .value')].map((one) => one.innerText)")
    assert shown == [f"nr. {number}" for number in range(309, 9, -1)]


def test_what_a_page_was_too_slow_for_is_counted(open_page, start_broker, connect_to):
    broker = start_broker({"console.max_live_messages": "1"})
    writer = connect_to(broker, "writer")
    page = open_page()
    page.log_in(broker.url)
    page.watch("many")
    for number in range(200):
        writer.publish("many", str(number), qos=1)
    page.until("""(() => { const said = document.querySelector('.status').innerText.match(/^(\\d+) messages? · (\\d+) skipped, because this page was too slow$/);
      return said && Number(said[1]) + Number(said[2]) === 200; })()""", "messages and left out are 200 together")


def test_the_form_publishes_bytes_and_keeps_them(page, connect):
    reader = connect("reader")
    reader.subscribe("blob", 2)
    page.watch("blob")
    page.fill("Topic", "blob")
    page.fill("Payload", "AP+AQQ==")
    choose(page, "QoS", "2")
    choose(page, "Payload format", "base64")
    page.click("Retain", "label")
    page.click("Publish", "form button")
    message = reader.message()
    assert (message.payload, message.qos) == (b"\x00\xff\x80A", 2)
    page.sees("The message is now the retained message of the topic.", ".answer")
    page.sees("retain", ".messages summary")
    late = connect("late")
    late.subscribe("blob", 1)
    assert late.message().payload == b"\x00\xff\x80A"


def test_what_the_broker_refuses_is_said_below_the_form(page):
    page.watch("#")
    page.fill("Topic", "$SYS/mine")
    page.click("Publish", "form button")
    page.sees("Only the broker publishes below $SYS.", ".answer")


def test_drops_are_sorted_and_filtered_by_their_reason(page, connect):
    sleeper = connect("sleeper", clean=False)
    sleeper.subscribe("dreams", 0)
    sleeper.close()
    writer = connect("writer")
    writer.publish("dreams", "x")
    for topic in ("void/1", "void/2", "void/3"):
        writer.publish(topic, "x", qos=1)
    page.go("drops")
    bars = "[...document.querySelectorAll('.bars .bar-head')].map((one) => one.innerText.replace(/\\s+/g, ' '))"
    rows = "[...document.querySelectorAll('.drops li')].map((one) => one.querySelector('.who .name').innerText)"
    page.until(f"JSON.stringify({bars}) === '[\"no subscriber 3\",\"offline 1\"]'", "the bars, the most first")
    assert page.evaluate(rows) == ["void/3", "void/2", "void/1", "dreams"]
    page.sees("for sleeper", ".drops")
    page.click(None, ".bars li:nth-child(2) button")
    page.until(f"JSON.stringify({rows}) === '[\"dreams\"]'")
    page.click(None, ".bars li:nth-child(2) button")
    page.until(f"{rows}.length === 4")
    now = page.evaluate("""Promise.all([import('/lib/format.js'), fetch('/api/v1/drops').then((answer) => answer.json())])
      .then(([{ clock }, { recent }]) => [recent.map((one) => clock(one.time, true)), [...document.querySelectorAll('.drops time')].map((one) => one.innerText)])""")
    assert now[0] == now[1]


def test_the_explanation_is_of_what_stands_in_the_form(open_page, start_broker, connect_to):
    broker = start_broker({"mqtt.max_packet_size": "1000"})
    reader = connect_to(broker, "reader", version=mqtt.MQTTv5)
    reader.subscribe("t", options=SubscribeOptions(qos=1, noLocal=True))
    sleeper = connect_to(broker, "sleeper", clean=False)
    sleeper.subscribe("t", 1)
    sleeper.close()
    page = open_page()
    page.log_in(broker.url)
    page.go("drops")
    page.fill("Topic", "t")
    choose(page, "QoS", "1")
    page.click("Explain", "button")
    page.sees("1 of 2 get the message now, 1 later.", ".explanation")
    page.fill("Published by", "reader")
    page.click("Explain", "button")
    page.sees("1 of 2 get the message later.", ".explanation")
    page.sees("No Local", ".explanation")
    page.fill("Bytes", "2000")
    page.click("Explain", "button")
    page.sees("The message is larger than mqtt.max_packet_size.", ".explanation")


def test_sessions_say_when_they_end(page, connect):
    connect("for ever", clean=False)
    connect("at once")
    hour = mqtt.Properties(mqtt.PacketTypes.CONNECT)
    hour.SessionExpiryInterval = 3600
    connect("hour", version=mqtt.MQTTv5, properties=hour)
    page.go("sessions")
    page.until("document.querySelectorAll('tbody tr').length === 3")
    ends = page.evaluate("[...document.querySelectorAll('tbody tr')].map((row) => [row.querySelector('th').innerText, row.querySelector('[data-label=Ends]').innerText])")
    assert ends == [["at once", "at disconnect"], ["for ever", "never"], ["hour", "1 h"]]


def test_a_client_that_went_twice_says_why_it_went_last(page, connect):
    first = connect("restless", clean=False)
    connect("restless", clean=False).close()
    assert first.ended.get(timeout=30)
    page.go("clients/restless")
    page.sees("Reason: The client disconnected normally.", ".verdict")
    page.sees("The client connected again on another connection.", ".feed")


def test_a_question_that_is_answered_by_cancel_does_nothing(page, connect):
    client = connect("wanted")
    page.go("clients/wanted")
    for answer in ("Cancel", None):
        page.click("Disconnect", "header button")
        page.sees("Disconnect this client?", "dialog")
        if answer:
            page.click(answer, "dialog button")
        else:
            page.press("Escape", number=27)
        page.until("!document.querySelector('dialog')")
    client.subscribe("still/here")
    page.until("[...document.querySelectorAll('tbody th')].some((one) => one.innerText === 'still/here')")
    assert client.ended.empty()


def test_a_topic_that_nobody_hears_is_said_to_be_lost(page, connect):
    reader = connect("reader")
    reader.subscribe("heard")
    page.go("topics")
    writer = connect("writer")
    for topic in ("heard", "lost"):
        writer.publish(topic, "x")
    lost = "No subscription matches this topic: its messages are dropped."
    page.click("lost", "[role=treeitem] .level")
    page.sees(lost, "aside")
    page.click("heard", "[role=treeitem] .level")
    page.sees_not(lost, "aside")
    page.sees("heard", "aside h2")


def test_the_next_step_of_the_tutorial_is_open(page, connect):
    opened = "[...document.querySelectorAll('.steps details')].map((one) => one.open)"
    page.go("tutorial")
    page.until(f"JSON.stringify({opened}) === '[true,false,false,false]'")
    reader = connect("reader")
    reader.subscribe("chat")
    page.until(f"JSON.stringify({opened}) === '[false,true,false,false]'")
    connect("writer").publish("chat", "hello tao")
    page.until(f"JSON.stringify({opened}) === '[false,false,false,true]'")


def test_a_logout_ends_the_login_on_the_broker_too(page, broker):
    page.click("Log out", "button")
    page.until("document.querySelector('input[type=password]')")
    assert page.evaluate("fetch('/api/v1/overview').then((answer) => answer.status)") == 401
    page.open(broker.url)
    page.until("document.querySelector('input[type=password]')")


def test_who_guesses_is_told_how_long_to_wait(open_page, broker):
    page = open_page()
    page.open(broker.url)
    page.fill("User", "admin")
    # Each wrong password makes the wait longer: at last it is longer than a slow machine takes to try again.
    for _ in range(20):
        page.fill("Password", "wrong")
        page.click("Log in", "button")
        page.until("!document.querySelector('form button').disabled && !document.querySelector('.problem').hidden")
        said = page.text(".problem")
        if said != "Wrong user name or password.":
            break
    assert re.fullmatch(r"Too many attempts\. Try again in \d+ s\.", said), said
