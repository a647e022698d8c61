"""The console for everybody: without a pointer, with a screen reader, on a phone, and for those who may only look."""

import pathlib
import re

import pytest

AXE = (pathlib.Path(__file__).parent / "node_modules/axe-core/axe.min.js").read_text()
RUN = """axe.run(document, { resultTypes: ['violations'] }).then(({ violations }) => violations
  .filter((one) => ['serious', 'critical'].includes(one.impact)).map((one) => `${one.id}: ${one.nodes.map((node) => node.target + ' ' + (node.any[0]?.message ?? '')).slice(0, 3).join('; ')}`))"""
PAGES = ["overview", "live", "drops", "clients", "clients/reader", "sessions", "subscriptions?topic=a/b", "topics?topic=a/b", "retained", "listeners",
         "storage", "settings", "tutorial"]


def axe(page):
    """What axe-core finds that is serious."""
    if not page.evaluate("Boolean(window.axe)"):
        page.call("Runtime.evaluate", expression=AXE)
    return page.evaluate(RUN)


@pytest.fixture
def busy(connect):
    """Something on every page."""
    reader = connect("reader")
    reader.subscribe("a/#", 1)
    writer = connect("writer", clean=False)
    writer.publish("a/b", '{"n": 1}', qos=1, retain=True)
    writer.publish("nobody/here", "x")
    assert reader.message().topic == "a/b"
    return writer


@pytest.mark.parametrize("look", ["light", "dark", "phone", "empty"])
def test_axe_has_no_serious_findings(open_page, broker, request, look):
    page = open_page(dark=look == "dark", width=360 if look == "phone" else 1280)
    page.open(broker.url)
    page.until("document.querySelector('form')")
    assert axe(page) == []
    page.log_in(broker.url)
    page.until("document.querySelector('.tile strong')?.innerText")
    writer = None if look == "empty" else request.getfixturevalue("busy")
    for name in PAGES:
        page.go(name)
        if name == "live" and writer:
            page.until("document.querySelector('.messages').dataset.watching")
            writer.publish("a/c", "y")
            page.sees("a/c", ".messages")
        page.until("document.querySelector('.panel, .tile, .empty, tbody tr, .tree, .steps li')")
        assert (name, axe(page)) == (name, [])


def test_nothing_is_wider_than_a_phone(open_page, broker, busy):
    page = open_page(width=360, height=740)
    page.log_in(broker.url)
    for name in PAGES:
        page.go(name)
        page.until("document.querySelector('.panel, .tile, .empty, tbody tr, .tree, .steps li')")
        assert (name, page.evaluate("document.documentElement.scrollWidth")) == (name, 360)


def test_the_menu_of_a_phone(open_page, broker):
    page = open_page(width=360, height=740)
    page.log_in(broker.url)
    assert not page.evaluate("document.querySelector('nav').checkVisibility()")
    page.click("Pages", "button")
    page.click("Tutorial", "nav a")
    page.sees("Tutorial", "h1")
    page.until("!document.querySelector('nav').checkVisibility()")


def test_the_first_key_skips_the_pages(page, broker):
    page.open(broker.url)
    page.sees("Overview", "h1")
    page.press("Tab", number=9)
    assert page.evaluate("document.activeElement.innerText") == "Skip to content"
    page.press("Enter", number=13)
    assert page.evaluate("document.activeElement.id") == "main"


def test_going_to_a_page_tells_where_one_is(page):
    page.go("retained")
    page.until("document.activeElement.innerText === 'Retained'")
    assert page.evaluate("document.title") == "Retained – Midge"


def test_the_tree_is_walked_with_keys(page, connect):
    writer = connect("writer")
    page.go("topics")
    for topic in ("a/b/c", "a/b/d", "e", "/slash"):
        writer.publish(topic, topic)
    page.until("document.querySelectorAll('[role=treeitem]').length === 3")
    page.evaluate("document.querySelector('[role=tree]').focus()")
    page.press("ArrowDown", number=40)
    active = "document.getElementById(document.querySelector('[role=tree]').getAttribute('aria-activedescendant'))"
    page.until(f"{active}?.querySelector('.level').innerText === 'a'")
    page.press("ArrowRight", number=39)
    page.until(f"{active}.getAttribute('aria-expanded') === 'true'")
    page.press("ArrowRight", number=39)
    page.until(f"{active}.getAttribute('aria-level') === '2' && {active}.querySelector('.level').innerText === 'b'")
    page.press("ArrowRight", number=39)
    page.until("document.querySelectorAll('[role=treeitem]').length === 6")
    page.sees("d", "[role=treeitem][aria-level='3']")
    page.press("ArrowDown", number=40)
    page.press("ArrowDown", number=40)
    page.press("Enter", number=13)
    page.sees("a/b/d", "aside h2")
    page.press("ArrowLeft", number=37)
    page.press("ArrowLeft", number=37)
    page.until("document.querySelectorAll('[role=treeitem]').length === 4")
    page.press("Home", number=36)
    page.press("ArrowRight", number=39)
    page.until("document.querySelectorAll('[role=treeitem]').length === 5")
    page.sees("slash", "[role=treeitem][aria-level='2']")


# What changes something, page by page, where there is something to change; and what is clicked to see it.
ACTIONS = {"clients/reader": [None, "Disconnect"], "live": [None, "Publish"], "topics?topic=a/b": [None, "Publish here"], "retained": [None, "Delete a/b"], "retained?search=a": ["a/b", "Delete"]}


@pytest.mark.parametrize("user", ["admin", "viewer"])
def test_an_admin_has_actions_and_a_viewer_none(open_page, start_broker, connect_to, user):
    broker = start_broker({"console.viewer_password": "looking"})
    connect_to(broker, "reader").subscribe("a/#", 1)
    connect_to(broker, "writer").publish("a/b", "x", qos=1, retain=True)
    page = open_page()
    page.log_in(broker.url, user, "looking" if user == "viewer" else "public")
    page.until(f"document.querySelector('.side-foot .user').innerText === '{user}{', read only' if user == 'viewer' else ''}'")
    for name, (opened, action) in ACTIONS.items():
        page.go(name)
        page.until({"clients/reader": "document.querySelector('.facts') && document.querySelector('main .badge')", "live": "document.querySelector('.messages')?.dataset.watching",
                    "topics?topic=a/b": "document.querySelector('aside .actions')"}.get(name, "document.querySelector('tbody th button')"))
        if opened:
            page.click(opened, "tbody button")
            page.until("document.querySelector('dialog .payload')")
        seen = page.evaluate("""[...document.querySelectorAll('main button, main a, dialog button')].filter((one) => one.checkVisibility())
          .map((one) => one.getAttribute('aria-label') ?? one.innerText.trim())""")
        assert (action in seen) == (user == "admin"), (name, seen)
        if user == "viewer":
            # Neither in words nor in a form: nothing here can be sent that changes something.
            assert not [one for one in seen if re.match(r"(Delete|Disconnect|Publish)\b", one)], (name, seen)
            assert page.evaluate("document.querySelectorAll('main textarea, main .danger, dialog .danger').length") == page.evaluate("document.querySelectorAll('main .danger[hidden]').length")
        page.evaluate("document.querySelector('dialog')?.close()")


def test_the_policy_lets_nothing_else_in(page, broker):
    page.evaluate("document.body.append(Object.assign(document.createElement('img'), { src: 'http://127.0.0.1:1/x.png' }))")
    page.evaluate("(() => { const one = document.createElement('script'); one.textContent = 'window.inline = true'; document.body.append(one); })()")
    assert page.evaluate("window.inline ?? null") is None
    refused = page.complaints(forget=True)
    assert refused and all("Content Security Policy" in one for one in refused), refused
