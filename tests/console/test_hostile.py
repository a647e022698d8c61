"""Whoever may connect to the broker chooses client ids, topics and payloads: nothing of that may become markup."""

import paho.mqtt.client as mqtt

HTML = "<img src=x onerror=\"window.hacked=1\"><script>window.hacked=2</script>"
# A right-to-left override, which turns "gnp.exe" round, a bell, a zero-width space and an escape sequence.
MARKS = "evil\u202egnp.exe\u0007\u200b\u001b[31m"
PAGES = ["overview", "clients", "sessions", "subscriptions", "topics", "retained", "drops", "live?filter=%23"]
HARMLESS = """(() => ({ hacked: window.hacked ?? null, elements: document.querySelectorAll('main img, main script, main b, dialog img').length,
  handlers: [...document.querySelectorAll('*')].filter((one) => [...one.attributes].some((attribute) => attribute.name.startsWith('on') || attribute.value.startsWith('javascript:'))).length }))()"""


def assert_harmless(page):
    assert page.evaluate(HARMLESS) == {"hacked": None, "elements": 0, "handlers": 0}


def test_markup_of_clients_is_shown_as_text(page, connect):
    page.watch("#")
    client = connect(HTML, user="<b>bold</b>", version=mqtt.MQTTv5)
    client.subscribe(f"{HTML}/#")
    away = connect("away<b>", clean=False)
    away.subscribe("<b>away</b>", 0)
    away.close()
    properties = mqtt.Properties(mqtt.PacketTypes.PUBLISH)
    properties.UserProperty = [("<b>name</b>", HTML)]
    properties.ContentType = HTML
    client.publish(f"{HTML}/x", HTML, retain=True, properties=properties)
    client.publish("<b>nobody</b>", HTML)
    client.publish("<b>away</b>", HTML)
    page.sees(HTML, ".messages")
    page.click(None, ".messages summary")
    assert_harmless(page)
    for name, selector, text in [("overview", ".feed", "<img"), ("clients", "tbody", HTML), ("sessions", "tbody", "away<b>"),
                                 ("subscriptions", "tbody", HTML), ("retained", "tbody", HTML), ("drops", ".drops", "<b>nobody</b>")]:
        page.go(name)
        page.sees(text, selector)
        assert_harmless(page)
    page.go("retained")
    page.click(None, "tbody th button")
    page.sees(HTML, "dialog")
    assert_harmless(page)
    page.evaluate("document.querySelector('dialog').close()")
    page.go("topics")
    page.sees("<b>nobody<", "[role=tree]")
    page.fill("Search the topics", "nobody")
    page.until("document.querySelectorAll('[role=treeitem]').length === 1")
    page.click(None, "[role=treeitem] .level")
    page.sees(HTML, "aside .payload")
    assert_harmless(page)
    page.go("clients")
    page.click(HTML, "tbody a")
    page.sees("<b>bold</b>", ".facts")
    page.sees(HTML, "h1")
    assert_harmless(page)


def test_marks_that_cannot_be_seen_are_seen(page, connect):
    # MQTT lets a broker refuse control characters; those that it takes must not reach the page as they are.
    client = connect("evil\u202egnp.exe\u200b")
    client.publish("turn\u202eed", MARKS)
    page.go("clients")
    page.sees("evil⟨U+202E⟩gnp.exe⟨U+200B⟩", "tbody")
    page.go("drops")
    page.sees("turn⟨U+202E⟩ed", ".drops")
    page.watch("#")
    client.publish("again", MARKS)
    page.sees("evil⟨U+202E⟩gnp.exe\u2407⟨U+200B⟩\u241b[31m", ".messages")


def test_a_payload_of_bytes_is_shown_as_hex(page, connect):
    page.watch("blob")
    connect("writer").publish("blob", bytes([0, 255, 128, 65]))
    page.click(None, ".messages summary")
    page.sees("00 ff 80 41", ".messages .payload")
