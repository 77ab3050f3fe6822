"""A headless Chromium driven over its DevTools pipe: real clicks and keys, and what it logs."""

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome")
BINARY = next(filter(None, map(shutil.which, NAMES)), "")
FLAGS = (
    "--headless", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu", "--no-first-run",
    "--disable-dev-shm-usage", "--disable-background-networking", "--disable-component-update",
    "--disable-extensions", "--hide-scrollbars",
)  # fmt: skip
AXE = os.environ.get("AXE", "")
"""Path of axe-core's axe.min.js, as npm or the package axe-playwright-python brings it."""
KEYS = {"Tab": 9, "Enter": 13, "Escape": 27, "ArrowRight": 39, " ": 32}


class Chromium:
    """A browser with one page; ``events`` holds all that it told, by method."""

    def __init__(self, profile: Path) -> None:
        commands, self._in = os.pipe()
        self._out, replies = os.pipe()
        ours = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (commands, replies)]

        def connect() -> None:
            """The browser reads commands from descriptor 3 and writes to 4."""
            os.dup2(ours[0], 3)
            os.dup2(ours[1], 4)

        self._process = subprocess.Popen(
            [BINARY, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
            pass_fds=(3, 4),
            preexec_fn=connect,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for end in (commands, replies, *ours):
            os.close(end)
        self.events: list[dict] = []
        self._buffer, self._count, self._session = b"", 0, None
        targets = self.call("Target.getTargets")["targetInfos"]
        target = next(t for t in targets if t["type"] == "page")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.call("Emulation.setFocusEmulationEnabled", enabled=True)

    def close(self) -> None:
        """End the browser."""
        self._process.kill()
        self._process.wait()
        os.close(self._in)
        os.close(self._out)

    def call(self, method: str, **params: object) -> dict:
        """Send a command and wait for its result."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._in, json.dumps(message).encode() + b"\0")
        while True:
            reply = self._read()
            if reply.get("id") == self._count:
                if "error" in reply:
                    raise RuntimeError(f"{method}: {reply['error']}")
                return reply["result"]
            self.events.append(reply)

    def _read(self, timeout: float = 300) -> dict:
        end = time.monotonic() + timeout
        while b"\0" not in self._buffer:
            if not select.select([self._out], [], [], max(0, end - time.monotonic()))[0]:
                raise TimeoutError("the browser is silent")
            part = os.read(self._out, 1 << 20)
            if not part:
                raise RuntimeError("the browser ended")
            self._buffer += part
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)

    def open(self, url: str) -> None:
        """Go to a page and wait until it is loaded."""
        seen = len(self.told("Page.loadEventFired"))
        self.call("Page.navigate", url=url)
        while len(self.told("Page.loadEventFired")) == seen:
            self.events.append(self._read())

    def told(self, method: str) -> list[dict]:
        """Parameters of the events of a kind, so far."""
        return [event["params"] for event in self.events if event.get("method") == method]

    def run(self, script: str) -> object:
        """Value of an expression on the page."""
        found = self.call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in found:
            raise RuntimeError(f"{script}: {found['exceptionDetails']}")
        return found["result"].get("value")

    def click(self, selector: str) -> None:
        """Click into the middle of the first element that matches."""
        x, y = self.run(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
            "e.scrollIntoView({block: 'center'}); const r = e.getBoundingClientRect();"
            "return [r.x + r.width / 2, r.y + r.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def key(self, name: str) -> None:
        """Press and release a key of `KEYS`."""
        code = {"key": name, "code": "Space" if name == " " else name}
        code |= {"windowsVirtualKeyCode": KEYS[name]}
        text = {"text": {"Enter": "\r", " ": " "}[name]} if name in ("Enter", " ") else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", **code, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", **code)

    def violations(self) -> list[str]:
        """What axe-core finds on the page with all that folds open: rule, count, first element."""
        opened = "document.querySelectorAll('details').forEach((each) => (each.open = true))"
        drawn = (
            "document.querySelectorAll('article').forEach("
            "(each) => (each.style.contentVisibility = 'visible'))"
        )
        for script in (opened, drawn, Path(AXE).read_text(encoding="utf-8") + ";0"):
            self.run(script)
        return self.run(
            "axe.run(document, {resultTypes: ['violations']}).then((found) => found.violations.map("
            "(v) => `${v.id} (${v.nodes.length}): ${v.nodes[0].html}`))"
        )

    def screen(self, width: int, height: int, scheme: str = "light") -> None:
        """Size of the window, and the colour scheme of the reader."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height,
                  deviceScaleFactor=1, mobile=width < 600)  # fmt: skip
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.call("Emulation.setEmulatedMedia", features=[feature])

    def picture(self, path: Path) -> None:
        """Write what the window shows as PNG."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))
