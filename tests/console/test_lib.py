"""What the pages are made of, called in the browser: numbers and times in words, rates, drawings, and streams that come back."""

import json

import pytest


def library(page, name, expression):
    """The value of an expression in which `lib` is a module of the console."""
    return page.evaluate(f"import('/lib/{name}.js').then(async (lib) => {expression})")


@pytest.mark.parametrize("expression, text", [
    ("count(1234567)", "1,234,567"), ("count(null)", "–"),
    ("short(0.44)", "0.4"), ("short(9.96)", "10"), ("short(1234.4)", "1,234"), ("short(12345)", "12.3k"), ("short(3400000)", "3.4M"), ("short(5e9)", "5G"),
    ("bytes(0)", "0 B"), ("bytes(1023)", "1,023 B"), ("bytes(1024)", "1 KiB"), ("bytes(1536)", "1.5 KiB"), ("bytes(20480)", "20 KiB"), ("bytes(1048576)", "1 MiB"), ("bytes(3 * 1024 ** 3)", "3 GiB"),
    ("duration(999)", "0 s"), ("duration(59999)", "59 s"), ("duration(60000)", "1 min"), ("duration(3661000)", "1 h 1 min"), ("duration(90061000)", "1 d 1 h"), ("duration(86400000)", "1 d"),
    ("expiry(null)", "never"), ("expiry(0)", "at disconnect"), ("expiry(3600)", "1 h"),
    ("ago(Date.now() - 4000)", "now"), ("ago(Date.now() - 30000)", "30 sec ago"), ("ago(Date.now() - 61000)", "1 min ago"), ("ago(Date.now() - 7200000)", "2 hr ago"), ("ago(Date.now() - 3 * 86400000)", "3 days ago"), ("ago(null)", "–"),
    ("clock(Date.UTC(2024, 0, 2, 3, 4, 5, 67))", "02/01/2024 12:04:05"), ("clock(Date.UTC(2024, 0, 2, 15, 4, 5, 67), true)", "03/01/2024 00:04:05.067"), ("clock(null)", "–"),
    ("messages(1)", "1 message"), ("messages(1200)", "1,200 messages"),
    (r"visible('a\u0000\u202e\u007f\n')", "a␀⟨U+202E⟩␡␊"), (r"visible('a\n\tb', true)", "a\n\tb"),
])
def test_numbers_and_times_are_written_for_people(lasting_page, expression, text):
    lasting_page.call("Emulation.setTimezoneOverride", timezoneId="Asia/Tokyo")
    assert library(lasting_page, "format", f"lib.{expression}") == text


def test_a_rate_is_each_second_and_never_below_nothing(lasting_page):
    rates = library(lasting_page, "live", """{ Object.assign(lib.broker, { names: ['a', 'b'], points: [[1000, 0, 7], [6000, 50, 7], [16000, 60, 7], [21000, 5, 8]] });
        return { a: lib.rate('a'), b: lib.gauge('b'), c: lib.rate('c') }; }""")
    # A counter that has fallen is that of a new broker.
    assert rates == {"a": [[6000, 10], [16000, 1], [21000, 0]], "b": [[1000, 7], [6000, 7], [16000, 7], [21000, 8]], "c": []}


def test_more_is_drawn_higher_and_later_farther_right(lasting_page):
    lines = library(lasting_page, "chart", """{ const one = lib.spark(); one.update([[0, 0], [30000, 5], [60000, 10]]);
        return [...one.node.querySelectorAll('path')].map((path) => path.getAttribute('d')); }""")
    assert lines == ["M0.0,35.0L100.0,19.0L200.0,3.0V36H0.0Z", "M0.0,35.0L100.0,19.0L200.0,3.0"]


def test_a_text_is_a_text_in_every_element(lasting_page):
    shown = library(lasting_page, "dom", """{ const one = lib.h('p', { title: '"<b>' }, '<b>x</b>', ['&amp;'], lib.s('text', {}, '<i>'));
        return [one.title, one.textContent, one.querySelectorAll('*').length]; }""")
    assert shown == ['"<b>', "<b>x</b>&amp;<i>", 1]


def test_a_stream_that_breaks_comes_back_each_time(open_page, broker):
    """The browser's streams are stood in for, so that they break when the test says so."""
    page = open_page()
    page.log_in(broker.url)
    told = page.evaluate("""import('/lib/live.js').then(async ({ stream, connection }) => {
      const told = [];
      let made;
      let next = new Promise((resolve) => { made = resolve; });
      window.EventSource = class { constructor(url) { this.url = url; made(this); } close() { told.push('closed'); } addEventListener(kind, handler) { this[kind] = handler; } };
      connection.watchers.add((heard) => told.push(heard ? 'heard' : 'lost'));
      const end = stream('events?x=1', { open: () => told.push('open'), stats: (one) => told.push(one.n) });
      for (let n = 0; n < 3; n += 1) {
        const source = await next;
        next = new Promise((resolve) => { made = resolve; });
        if (n === 2) {
          source.onopen();
          source.stats({ data: '{"n":7}' });
          end();
          told.push(source.url);
        } else source.onerror();
      }
      return told;
    })""")
    assert told == ["closed", "lost", "closed", "heard", "open", 7, "closed", "/api/v1/events?x=1"]


@pytest.mark.parametrize("language, chosen", [("en", "en"), ("zh-CN", "zh-CN"), ("de", "en"), ("de, zh-TW", "zh-CN"), ("fr, en-GB, zh", "en")])
def test_the_first_language_that_there_is_is_taken(open_page, lasting_broker, language, chosen):
    page = open_page(language=language)
    page.open(lasting_broker.url)
    page.until(f"document.documentElement.lang === {json.dumps(chosen)}")
    page.sees({"en": "Log in", "zh-CN": "登录"}[chosen], "button")
