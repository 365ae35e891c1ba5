"""A headless Chromium, driven by chromedriver over HTTP with the standard library."""

import base64
import contextlib
import json
import os
import shutil
import socket
import subprocess
import time
from http.client import HTTPConnection

import pytest

_CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))),
    None,
)
_DRIVER = shutil.which("chromedriver")

needs_browser = pytest.mark.skipif(
    not (_CHROMIUM and _DRIVER),
    reason="needs Chromium and chromedriver (Debian: chromium, chromium-driver)",
)

_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # its key in the WebDriver protocol


class Browser:
    """A session of the WebDriver protocol: https://www.w3.org/TR/webdriver2/."""

    def __init__(self, port, profile, *arguments):
        self._port, self._path = port, ""
        flags = [
            *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"),
            *("--no-first-run", "--disable-background-networking"),
            *("--disable-component-update", "--disable-sync"),
            *("--disable-dev-shm-usage", f"--user-data-dir={profile}"),
            *arguments,
        ]
        options = {"binary": _CHROMIUM, "args": flags}
        logs = {"performance": "ALL", "browser": "ALL"}
        capabilities = {"goog:chromeOptions": options, "goog:loggingPrefs": logs}
        session = self._send(
            "POST", "/session", {"capabilities": {"alwaysMatch": capabilities}}
        )
        self._path = f"/session/{session['sessionId']}"

    def open(self, url):
        self._send("POST", "/url", {"url": url})

    def run(self, script):
        """Return what the body of a function of JavaScript returns."""
        return self._send("POST", "/execute/sync", {"script": script, "args": []})

    def text(self, selector):
        return self._send("GET", f"/element/{self._find(selector)}/text")

    def click(self, selector):
        self._send("POST", f"/element/{self._find(selector)}/click", {})

    def emulate(self, **features):
        """Set media features such as prefers_color_scheme="dark"."""
        each = [
            {"name": name.replace("_", "-"), "value": value}
            for name, value in features.items()
        ]
        self._send(
            "POST",
            "/goog/cdp/execute",
            {"cmd": "Emulation.setEmulatedMedia", "params": {"features": each}},
        )

    def draw(self, selector, strokes, pointer="mouse"):
        """Draw lines of points from 0 to 1 of an element's width and height."""
        box = self.run(
            f"const b = document.querySelector({selector!r}).getBoundingClientRect();"
            "return [b.left, b.top, b.width, b.height];"
        )
        left, top, width, height = box
        actions = []
        for stroke in strokes:
            for i, (x, y) in enumerate(stroke):
                place = {"x": round(left + x * width), "y": round(top + y * height)}
                actions.append({"type": "pointerMove", "duration": 8, **place})
                if i == 0:
                    actions.append({"type": "pointerDown", "button": 0})
            actions.append({"type": "pointerUp", "button": 0})
        source = {"type": "pointer", "id": pointer, "actions": actions}
        source["parameters"] = {"pointerType": pointer}
        self._send("POST", "/actions", {"actions": [source]})

    def screenshot(self, path):
        path.write_bytes(base64.b64decode(self._send("GET", "/screenshot")))

    def resize(self, width, height):
        self._send("POST", "/window/rect", {"width": width, "height": height})

    def log(self, kind):
        """Take what was logged since the last call: kind "browser" or "performance"."""
        return self._send("POST", "/se/log", {"type": kind})

    def close(self):
        self._send("DELETE", "")

    def _find(self, selector):
        body = {"using": "css selector", "value": selector}
        return self._send("POST", "/element", body)[_ELEMENT]

    def _send(self, method, path, body=None):
        connection = HTTPConnection("127.0.0.1", self._port, timeout=60)
        with contextlib.closing(connection):
            content = None if body is None else json.dumps(body)
            connection.request(method, self._path + path, content)
            value = json.loads(connection.getresponse().read())["value"]
        if isinstance(value, dict) and "error" in value:
            raise RuntimeError(f"{value['error']}: {value['message']}")
        return value


@contextlib.contextmanager
def chromium(folder, *arguments):
    """A browser with a new profile in the folder; gone at the end."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    profile = folder / "profile"
    log = folder / "chromedriver.log"
    # No proxy of the environment: all there is to reach is on this machine.
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.lower().endswith("_proxy")
    }
    driver = subprocess.Popen(
        [_DRIVER, f"--port={port}", f"--log-path={log}"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment,
    )
    try:
        deadline = time.monotonic() + 30
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert driver.poll() is None, log.read_text()
            assert time.monotonic() < deadline, "chromedriver does not listen"
            time.sleep(0.05)
        browser = Browser(port, profile, *arguments)
        try:
            yield browser
        finally:
            browser.close()
    finally:
        driver.terminate()
        driver.wait()
        shutil.rmtree(profile, ignore_errors=True)
