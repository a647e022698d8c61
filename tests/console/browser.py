"""A headless Chromium, driven through its own debugging protocol: pages, clicks, texts, screenshots."""

import base64
import itertools
import json
import re
import subprocess
import tempfile
import time
import urllib.parse
import urllib.request

import websocket

# Longest wait for something that should happen. It is not what happens: a test goes on when its event is there.
DEADLINE = 30
# Looks whether the expression is true, and again whenever the page changes or something happens in it.
UNTIL = """new Promise((resolve) => {
  const value = () => { try { return (() => (%s))() || null; } catch (error) { return null; } };
  const happens = ['readystatechange', 'load', 'hashchange', 'focusin', 'focusout', 'input', 'change', 'toggle', 'scroll'];
  const look = () => { const found = value(); if (found !== null) end(found); };
  const changes = new MutationObserver(look);
  const end = (found) => {
    changes.disconnect();
    clearTimeout(late);
    for (const one of happens) for (const at of [window, document]) at.removeEventListener(one, look, true);
    resolve(found);
  };
  const late = setTimeout(() => end(value()), %d);
  changes.observe(document, { subtree: true, childList: true, attributes: true, characterData: true });
  for (const one of happens) for (const at of [window, document]) at.addEventListener(one, look, true);
  look();
})"""
# What stands on the page as a person would find it: the visible element whose own name is that text.
FIND = """((selector, text) => [...document.querySelectorAll(selector)].filter((one) => one.checkVisibility()).find((one) =>
  text === null || (one.getAttribute('aria-label') ?? one.innerText ?? '').trim() === text || one.innerText.trim() === text))(%s, %s)"""


class Browser:
    """A Chromium without a window, and without a profile that stays."""

    def __init__(self, chromium="chromium"):
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self._process = subprocess.Popen(
            [chromium, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
             "--disable-background-networking", "--disable-component-update", "--hide-scrollbars",
             "--remote-debugging-port=0", "--remote-allow-origins=*", "--lang=en", f"--user-data-dir={self._profile.name}"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        for line in self._process.stderr:
            found = re.search(r"listening on ws://([^/]+)/", line)
            if found:
                self._address = found[1]
                break
        else:
            raise AssertionError(f"{chromium} did not start")

    def page(self, width=1280, height=900, dark=False, language=None):
        """A new page of its own, with its own cookies and storage."""
        return Page(self, width, height, dark, language)

    def ask(self, path, method="GET"):
        """The browser's answer to `path` of its HTTP interface."""
        request = urllib.request.Request(f"http://{self._address}{path}", method=method)
        with urllib.request.urlopen(request, timeout=DEADLINE) as answer:
            return json.load(answer)

    def socket(self, path):
        """A connection to the debugging protocol."""
        return websocket.create_connection(f"ws://{self._address}{path}", timeout=DEADLINE)

    def browser_path(self):
        """The path of the browser's own connection."""
        return "/devtools/browser/" + self.ask("/json/version")["webSocketDebuggerUrl"].rsplit("/", 1)[1]

    def close(self):
        """Ends it."""
        self._process.terminate()
        self._process.wait(timeout=DEADLINE)
        self._process.stderr.close()
        self._profile.cleanup()


class Connection:
    """One connection to the debugging protocol: commands, and the events that come between."""

    def __init__(self, socket):
        self._socket = socket
        self._numbers = itertools.count(1)
        self.events = []

    def call(self, method, **params):
        """The result of a command."""
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        # The page waits for itself as long as DEADLINE; its events come meanwhile, and are no sign that it will answer.
        end = time.monotonic() + DEADLINE + 10
        while True:
            assert time.monotonic() < end, f"no answer to {method} {str(params)[:300]}"
            message = json.loads(self._socket.recv())
            if message.get("id") == number:
                assert "error" not in message, f"{method}: {message['error']}"
                return message["result"]
            if "method" in message:
                self.events.append(message)

    def close(self):
        """Closes it."""
        self._socket.close()


class Page:
    """One page."""

    def __init__(self, browser, width, height, dark, language):
        self._browser = Connection(browser.socket(browser.browser_path()))
        self._context = self._browser.call("Target.createBrowserContext")["browserContextId"]
        target = self._browser.call("Target.createTarget", url="about:blank", browserContextId=self._context)["targetId"]
        self._connection = Connection(browser.socket(f"/devtools/page/{target}"))
        self.call = self._connection.call
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.size(width, height)
        self.colours(dark)
        if language:
            self.call("Emulation.setLocaleOverride", locale=language.split(",")[0])
            self.call("Network.setUserAgentOverride", userAgent=self.evaluate("navigator.userAgent"), acceptLanguage=language)

    def size(self, width, height, scale=1):
        """The window's size in CSS pixels."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=width < 600)

    def colours(self, dark):
        """What the system prefers."""
        self.call("Emulation.setEmulatedMedia", features=[
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
            {"name": "prefers-reduced-motion", "value": "reduce"}])

    def open(self, url):
        """Goes to `url`."""
        self.call("Page.navigate", url=url)
        self.until("document.readyState === 'complete' && document.querySelector('#app')?.firstChild")

    def go(self, route):
        """Goes to a page of the console, and waits until it is there."""
        self.evaluate(f"location.hash = {json.dumps('#/' + route)}")
        self.until(f"document.querySelector('main')?.dataset.page === {json.dumps(route)} && document.querySelector('main h1')")

    def watch(self, topic_filter):
        """Goes to the live page, and waits until it hears what is published to a filter."""
        self.go(f"live?filter={urllib.parse.quote(topic_filter, safe='/')}")
        self.until(f"document.querySelector('.messages')?.dataset.watching === {json.dumps(topic_filter)}")

    def evaluate(self, expression):
        """The value of `expression`; waits for it if it is a promise."""
        result = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in result:
            raise AssertionError(f"{expression[:200]}: {result['exceptionDetails'].get('exception', {}).get('description', result)}")
        return result["result"].get("value")

    def until(self, expression, why=None):
        """Waits until `expression` is true, and gives what it is."""
        value = self.evaluate(UNTIL % (expression, DEADLINE * 1000))
        assert value is not None, f"{why or expression} did not become true; the page: {self.text()[:1500]!r}"
        return value

    def sees(self, text, selector="body"):
        """Waits until `text` can be read in an element that `selector` finds."""
        self.until(f"[...document.querySelectorAll({json.dumps(selector)})].some((one) => one.innerText?.includes({json.dumps(text)}))",
                   f"{text!r} in {selector}")

    def sees_not(self, text, selector="body"):
        """Waits until `text` cannot be read there."""
        self.until(f"![...document.querySelectorAll({json.dumps(selector)})].some((one) => one.innerText?.includes({json.dumps(text)}))",
                   f"no {text!r} in {selector}")

    def text(self, selector="body"):
        """What can be read in the first element that `selector` finds."""
        return self.evaluate(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''")

    def click(self, text=None, selector="button, a, summary, label, [role=treeitem]"):
        """Clicks, with the pointer, what is named `text`."""
        find = FIND % (json.dumps(selector), json.dumps(text))
        box = self.until(f"""(() => {{ const one = {find}; if (!one || one.disabled) return null; one.scrollIntoView({{ block: 'center' }});
            const box = one.getClientRects()[0]; return [box.x + box.width / 2, box.y + box.height / 2]; }})()""", f"{text!r} to click")
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=box[0], y=box[1], button="left", clickCount=1)

    def fill(self, label, text):
        """Types `text` into the control that is labelled `label`, in place of what is there."""
        self.until(f"""(() => {{ const name = {json.dumps(label)};
            const one = [...document.querySelectorAll('input, textarea')].filter((one) => one.checkVisibility()).find((one) => one.getAttribute('aria-label') === name || [...one.labels ?? []].some((label) => label.innerText.trim() === name));
            one?.focus(); one?.select?.(); return Boolean(one); }})()""", f"a control {label!r}")
        self.call("Input.insertText", text=text)

    def press(self, key, code=None, number=0):
        """Presses a key."""
        text = {"Enter": "\r", " ": " "}.get(key)
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=code or key, windowsVirtualKeyCode=number, **({"text": text} if text and kind == "keyDown" else {}))

    def log_in(self, url, user="admin", password="public"):
        """Opens the console and logs in."""
        self.open(url)
        self.until("document.querySelector('form input[type=password]')")
        self.evaluate(f"""(() => {{ const [name, word] = document.querySelectorAll('form input'); name.value = {json.dumps(user)};
            word.value = {json.dumps(password)}; document.querySelector('form').requestSubmit(); }})()""")
        self.until("document.querySelector('main h1') && document.querySelector('nav')")

    def screenshot(self, path, full=False, kind="png", quality=None):
        """Writes what is seen to `path`."""
        options = {"format": kind, "captureBeyondViewport": full}
        if quality:
            options["quality"] = quality
        with open(path, "wb") as file:
            file.write(base64.b64decode(self.call("Page.captureScreenshot", **options)["data"]))

    def complaints(self, forget=False):
        """What the browser complained of: exceptions, errors in its log, refused contents. Not the answers 401 and 404."""
        self.evaluate("0")
        said = []
        for event in self._connection.events:
            params = event["params"]
            if event["method"] == "Runtime.exceptionThrown":
                details = params["exceptionDetails"]
                said.append(details.get("exception", {}).get("description") or details["text"])
            elif event["method"] == "Runtime.consoleAPICalled" and params["type"] == "error":
                said.append(str(params["args"]))
            elif event["method"] == "Log.entryAdded" and params["entry"]["level"] == "error" and params["entry"]["source"] != "network":
                said.append(params["entry"]["text"])
            elif event["method"] == "Page.javascriptDialogOpening":
                said.append(f"dialog: {params['message']}")
        if forget:
            self._connection.events.clear()
        return said

    def close(self):
        """Closes it, with its cookies."""
        self._connection.close()
        self._browser.call("Target.disposeBrowserContext", browserContextId=self._context)
        self._browser.close()
