"""The page of the durable store: what is stored where, how fast, and what to do when it does not work."""

import json

FACTS = "Object.fromEntries([...document.querySelectorAll('.facts > div')].map((one) => [one.querySelector('dt').innerText, one.querySelector('dd').innerText]))"
STATE = "document.querySelector('.heading .badge')?.innerText"


def answer_with(page, changes):
    """From now on the broker says this of its store."""
    page.evaluate("""(() => { const real = window.fetch; window.fetch = async (path, options) => {
      const answer = await real(path, options);
      if (path !== '/api/v1/storage') return answer;
      const told = await answer.json();
      const { state, ...changes } = %s;
      return new Response(JSON.stringify({ state, store: { ...told.store, ...changes } })); }; })()""" % json.dumps(changes))


def test_without_a_store_it_is_said_how_to_have_one(page):
    page.go("storage")
    page.sees("Everything is in memory")
    page.sees("midge serve --set storage.path=", ".code")
    assert page.evaluate(STATE) is None


def test_the_numbers_are_those_of_the_store(open_page, start_broker, connect_to, tmp_path):
    broker = start_broker({"storage.path": str(tmp_path / "store"), "storage.log_size": "1MiB"})
    writer = connect_to(broker, "writer")
    for number in range(5):
        writer.publish(f"kept/{number}", "x", qos=1, retain=True)
    page = open_page()
    page.log_in(broker.url)
    page.go("storage")
    page.until(f"({FACTS}).Commits === '5'", "there are 5 commits")
    facts = page.evaluate(FACTS)
    assert facts["Directory"] == str((tmp_path / "store").resolve())
    assert (facts["Log"], facts["Disk errors"], facts["Changes"], facts["Changes per commit"]) == ("2 MiB", "0", "5", "1.0")
    assert (facts["Waiting acknowledgements"], facts["Groups from the log at the start"]) == ("0", "0")
    assert facts["Last one"].endswith(" s ago")
    assert page.evaluate(STATE) == "ok"
    page.sees("The store works.", ".verdict.good")
    counted = page.evaluate("[...document.querySelectorAll('.bars .number')].reduce((sum, one) => sum + Number(one.innerText), 0)")
    assert str(counted) == facts["Flushes"]


def test_a_disk_that_refuses_is_told_with_what_to_do(open_page, start_broker, tmp_path):
    broker = start_broker({"storage.path": str(tmp_path / "store"), "storage.log_size": "1MiB"})
    page = open_page()
    page.log_in(broker.url)
    page.go("live")
    cause = "/store/log.1: grow: No space left on device (os error 28): free space on this disk"
    answer_with(page, {"state": "retrying", "cause": cause, "sync": "never", "set_aside": "it is damaged; kept in <b>here</b>"})
    page.go("storage")
    page.sees(cause, ".verdict.bad")
    page.sees("tries again by itself", ".verdict.bad")
    page.sees("it is damaged; kept in <b>here</b>", ".verdict.warn")
    page.sees("no loss of power")
    assert page.evaluate(STATE) == "retrying"
    page.go("live")
    answer_with(page, {"state": "failed", "cause": "/store/log.0: sync: I/O error"})
    page.go("storage")
    page.sees("start the broker again", ".verdict.bad")


def test_the_bound_within_which_most_flushes_ended(open_page, start_broker, tmp_path):
    broker = start_broker({"storage.path": str(tmp_path / "store"), "storage.log_size": "1MiB"})
    page = open_page()
    page.log_in(broker.url)
    page.go("live")
    bounds = [100, 250, 500, 1000, 2500, 5000, 10000, 25000, 50000, 100000, 250000, 500000, 1000000, 2500000, None]
    counts = [0, 90, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]
    histogram = [{"up_to_us": bound, "count": count} for bound, count in zip(bounds, counts)]
    answer_with(page, {"state": "ok", "flushes": {"count": 100, "total_us": 3200000, "longest_us": 3100000, "histogram": histogram}})
    page.go("storage")
    page.until(f"({FACTS}).Flushes === '100'")
    facts = page.evaluate(FACTS)
    assert (facts["Mean"], facts["99 of 100 within"], facts["Longest"]) == ("32 ms", "2.5 ms", "3.1 s")
    bars = page.evaluate("[...document.querySelectorAll('.bars .bar-head')].map((one) => [...one.children].map((part) => part.innerText).join(' '))")
    assert (len(bars), bars[0], bars[3], bars[-1]) == (14, "≤ 250 µs 90", "≤ 2.5 ms 9", "longer 1")
