"""The tables: pages, orders, searches, and what is remembered of them."""

import json

import pytest

FIRST = "document.querySelector('tbody tr')?.querySelector('th')?.innerText"


@pytest.fixture
def full(page, connect):
    """The page of 51 retained messages, 25 at a time, so that the last page has one; the higher the number, the longer the payload, and the lower the QoS."""
    writer = connect("writer")
    for number in range(51):
        writer.publish(f"t/{number:02}", "x" * (30 * (number + 1)), qos=2 - number // 20, retain=True)
    page.go("retained")
    page.until("document.querySelectorAll('tbody tr').length === 50")
    choose_rows(page, 25)
    return page


def choose_rows(page, count):
    page.evaluate(f"(() => {{ const one = document.querySelector('.pager select'); one.value = '{count}'; one.dispatchEvent(new Event('change')); }})()")
    page.until(f"document.querySelectorAll('tbody tr').length === {count}")


def shows(page, first, rows, said):
    """Waits until the table begins with a row, has so many, and says which they are."""
    page.until(f"{FIRST} === {json.dumps(first)} && document.querySelectorAll('tbody tr').length === {rows} && document.querySelector('.range').innerText === {json.dumps(said)}")


def enabled(page):
    """Which of the two buttons of the pager can be pressed."""
    return page.evaluate("[...document.querySelectorAll('.pager button')].filter((one) => !one.disabled).map((one) => one.getAttribute('aria-label'))")


def test_a_table_is_turned_page_by_page(full, broker):
    shows(full, "t/00", 25, "1–25 of 51")
    assert enabled(full) == ["Next page"]
    full.click("Next page", "button")
    shows(full, "t/25", 25, "26–50 of 51")
    assert enabled(full) == ["Previous page", "Next page"]
    full.click("Next page", "button")
    shows(full, "t/50", 1, "51–51 of 51")
    assert enabled(full) == ["Previous page"]
    full.click("Previous page", "button")
    shows(full, "t/25", 25, "26–50 of 51")
    # The address says which part it is, and how many rows there are is remembered.
    address = full.evaluate("location.hash")
    full.call("Page.navigate", url="about:blank")
    full.open(f"{broker.url}/{address}")
    shows(full, "t/25", 25, "26–50 of 51")


def test_a_page_whose_rows_have_gone_gives_way_to_the_last_that_is_left(full, connect):
    full.click("Next page", "button")
    full.click("Next page", "button")
    shows(full, "t/50", 1, "51–51 of 51")
    remover = connect("remover")
    for number in range(30, 51):
        remover.publish(f"t/{number:02}", "", qos=1, retain=True)
    shows(full, "t/25", 5, "26–30 of 30")


def test_a_head_sorts_and_says_so(full):
    sorted_by = "[...document.querySelectorAll('thead th')].filter((one) => one.ariaSort).map((one) => `${one.innerText.trim()} ${one.ariaSort}`).join()"
    shows(full, "t/00", 25, "1–25 of 51")
    assert full.evaluate(sorted_by) == "Topic ascending"
    full.click("Topic", "thead button")
    shows(full, "t/50", 25, "1–25 of 51")
    assert full.evaluate(sorted_by) == "Topic descending"
    full.click("Topic", "thead button")
    shows(full, "t/00", 25, "1–25 of 51")
    assert full.evaluate(sorted_by) == "Topic ascending"
    # Of numbers, the largest come first.
    full.click("Next page", "button")
    full.click("QoS", "thead button")
    shows(full, "t/19", 25, "1–25 of 51")
    assert full.evaluate(sorted_by) == "QoS descending"
    full.click("QoS", "thead button")
    shows(full, "t/40", 25, "1–25 of 51")
    assert full.evaluate(sorted_by) == "QoS ascending"


def test_a_search_is_kept_in_the_address(full):
    full.click("Next page", "button")
    shows(full, "t/25", 25, "26–50 of 51")
    full.fill("Search for a topic", "t/4")
    full.until("document.querySelectorAll('tbody tr').length === 10")
    assert (full.evaluate(FIRST), full.evaluate("location.hash")) == ("t/40", "#/retained?search=t%2F4")
    full.fill("Search for a topic", "nothing")
    full.sees("No results for “nothing”.")
    full.go("retained?search=t/07")
    full.until("document.querySelectorAll('tbody tr').length === 1")
    assert full.evaluate(FIRST) == "t/07"


def test_sizes_are_written_with_their_units(full):
    full.click("Topic", "thead button")
    shows(full, "t/50", 25, "1–25 of 51")
    sizes = dict(full.evaluate("[...document.querySelectorAll('tbody tr')].map((row) => [row.querySelector('th').innerText, row.querySelector('[data-label=Size]').innerText])"))
    # 1530, 1050 and 1020 bytes.
    assert (sizes["t/50"], sizes["t/34"], sizes["t/33"]) == ("1.5 KiB", "1 KiB", "1,020 B")


def test_retained_messages_are_sorted_by_size_and_by_expiry(full, connect):
    full.click("Columns", "summary")
    full.click("Expires in", ".menu-body label")
    full.click("Columns", "summary")
    full.click("Size", "th button")
    shows(full, "t/50", 25, "1–25 of 51")
    full.click("Size", "th button")
    shows(full, "t/00", 25, "1–25 of 51")
    full.click("Expires in", "th button")
    full.until("document.querySelector('th[aria-sort]').innerText === 'Expires in'")
    shows(full, "t/00", 25, "1–25 of 51")
    full.sees_not("sort must be")


def test_sessions_are_filtered_by_their_state(page, connect):
    sleeper = connect("sleeper", clean=False)
    sleeper.subscribe("away", 1)
    sleeper.close()
    connect("waker")
    page.go("sessions")
    names = "[...document.querySelectorAll('tbody tr')].map((row) => row.children[0].innerText).join(' ')"
    for choice, expected in [("Offline", "sleeper"), ("Connected", "waker"), ("All", "sleeper waker")]:
        page.click(choice, ".segments button")
        page.until(f"{names} === {json.dumps(expected)}")


def test_listeners_are_sorted_by_their_heads(page, broker):
    page.go("listeners")
    for head in ["Name", "Address", "Connections"]:
        page.click(head, "th button")
        page.until(f"document.querySelector('th[aria-sort]').innerText === {json.dumps(head)}")
        page.sees(f"{broker.host}:{broker.port}", "tbody")
