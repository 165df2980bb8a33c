"""A headless Chromium for the dashboard's tests: what it shows, what it asked for, what it complained about.

Pictures go to the folder RESETLB_SCREENSHOTS, or nowhere.
"""

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import pytest
from running_controller import ROOT, soon
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

sys.path.insert(0, str(ROOT / "scripts/lib/web"))

import libraries

PAGE = "http://127.0.0.1:8080/"
DESKTOP, PHONE = (1440, 1000), (390, 844)
TALLEST = 2600
ARGUMENTS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
)  # fmt: skip


def bring_libraries() -> None:
    """Has the page's libraries in place: `scripts/test` brings them, a checkout without it finds them in the cache."""
    try:
        libraries.bring()
    except libraries.LibrariesError as error:
        pytest.fail(f"{error} (a sandbox has no network: run scripts/lib/web/libraries.py outside)")


class Browser:
    """One browser with a profile of its own, gone with it."""

    def __init__(self) -> None:
        chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
        if chromium is None or driver is None:
            (pytest.fail if os.environ.get("CI") else pytest.skip)("needs chromium and chromedriver (chromium-driver)")
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        options = webdriver.ChromeOptions()
        options.binary_location = str(chromium)
        for argument in (*ARGUMENTS, f"--user-data-dir={self._profile.name}"):
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self._driver = webdriver.Chrome(options=options, service=Service(driver))
        self._asked: list[str] = []
        self.size(DESKTOP)

    def close(self) -> None:
        """Ends it."""
        self._driver.quit()
        self._profile.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- what a reader does ----------------------------------------------------------------------------------------------------

    def open(self, view: str = "", wait_for: str = "main[data-view] > *") -> Self:
        """Opens a view as if the page was never seen before in this tab; waits for its content."""
        self._driver.get("about:blank")
        self._driver.get(PAGE + (f"#/{view}" if view else ""))
        self.see(wait_for)
        return self

    def go(self, view: str) -> None:
        """Goes to a view of the page that is open."""
        self.run("location.hash = arguments[0]", f"#/{view}")

    def forget(self) -> None:
        """Empties what the page keeps in the browser."""
        self.run("localStorage.clear(); sessionStorage.clear()")

    def size(self, size: tuple[int, int], *, mobile: bool | None = None) -> None:
        """A window of so many pixels; narrow ones are a phone's."""
        width, height = size
        narrow = width < 500 if mobile is None else mobile
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": narrow}
        self._driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def system_theme(self, name: str) -> None:
        """What the system says it prefers, `light` or `dark`."""
        feature = {"name": "prefers-color-scheme", "value": name}
        self._driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})

    def press(self, *keys: str) -> None:
        """Types where the focus is."""
        self._driver.switch_to.active_element.send_keys(*keys)

    def click(self, selector: str) -> None:
        """Clicks what is there, however often it is drawn anew."""
        self.see(selector).click()

    def fill(self, selector: str, text: str) -> None:
        """Writes into a field."""
        field = self.see(selector)
        field.clear()
        field.send_keys(text)

    def choose(self, selector: str, value: str) -> None:
        """Picks an option, as a reader does: the page hears of it."""
        script = "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('change', {bubbles: true}))"
        self.run(script, self.see(selector), value)

    def block(self, *patterns: str) -> None:
        """Lets no request to these addresses through, nor answers it from the cache; without patterns all pass again."""
        self._driver.execute_cdp_cmd("Network.enable", {})
        self._driver.execute_cdp_cmd("Network.setCacheDisabled", {"cacheDisabled": bool(patterns)})
        self._driver.execute_cdp_cmd("Network.setBlockedURLs", {"urls": list(patterns)})

    # --- what a reader sees ----------------------------------------------------------------------------------------------------

    def all(self, selector: str) -> list[WebElement]:
        """What is on the page now."""
        return self._driver.find_elements(By.CSS_SELECTOR, selector)

    def see(self, selector: str, within_s: float = 15.0) -> WebElement:
        """Waits until something is there and to be seen."""

        def there() -> WebElement | None:
            # SVG groups have no size of their own for the driver, so what is there counts for them.
            found = self.run(
                "return [...document.querySelectorAll(arguments[0])].find(e => e.ownerSVGElement || e.offsetParent !== null || "
                "getComputedStyle(e).position === 'fixed') ?? null",
                selector,
            )
            return found if isinstance(found, WebElement) else None

        seen: WebElement = soon(f"{selector} is shown", there, within_s, lambda: self.text("body")[:1500])
        return seen

    def text(self, selector: str) -> str:
        """The text of an element, empty if it is not there."""
        return str(self.run("return document.querySelector(arguments[0])?.innerText ?? ''", selector))

    def says(self, selector: str, words: str, within_s: float = 15.0) -> None:
        """Waits until an element has these words."""
        soon(
            f"{selector} says {words}", lambda: words in self.text(selector), within_s, lambda: self.text("body")[:1500]
        )

    def labels(self, selector: str) -> list[str]:
        """The accessible names of elements."""
        script = "return [...document.querySelectorAll(arguments[0])].map(e => e.getAttribute('aria-label') ?? '')"
        return [str(label) for label in self.run(script, selector)]

    def run(self, script: str, *arguments: Any) -> Any:
        """What a script returns."""
        return self._driver.execute_script(script, *arguments)

    def focus(self) -> str:
        """What has the focus: its accessible name or text."""
        script = (
            "const e = document.activeElement; return e.getAttribute('aria-label') || e.innerText || e.id || e.tagName"
        )
        return str(self.run(script)).strip()

    def overflow(self) -> int:
        """By how many pixels the page is wider than the window."""
        return int(self.run("return document.documentElement.scrollWidth - innerWidth"))

    def colour(self, selector: str = "body") -> str:
        """Its background."""
        return str(self.run("return getComputedStyle(document.querySelector(arguments[0])).backgroundColor", selector))

    def picture(self, name: str, size: tuple[int, int] | None = None) -> None:
        """Keeps what is seen; with a size, all of the page at that width."""
        folder = os.environ.get("RESETLB_SCREENSHOTS")
        if not folder:
            return
        Path(folder).mkdir(parents=True, exist_ok=True)
        if size:
            tall = int(self.run("return document.documentElement.scrollHeight"))
            self.size((size[0], min(max(size[1], tall), TALLEST)))
            soon("the page has its new size", lambda: self.run("return innerWidth") == size[0])
        self._driver.save_screenshot(str(Path(folder) / f"{name}.png"))
        if size:
            self.size(size)

    # --- what the browser says -------------------------------------------------------------------------------------------------

    def hosts_asked(self) -> set[str]:
        """Whom it has sent requests to since it was started; also of requests that were refused or never left."""
        for entry in self._driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                self._asked.append(message["params"]["request"]["url"])
        network = (urlsplit(url) for url in self._asked)
        return {url.netloc for url in network if url.scheme not in ("data", "blob", "about", "chrome", "")}

    def complaints(self, ignored: Sequence[str] = ()) -> list[str]:
        """Errors and warnings of its console since the last call: also what the page's own rules (CSP) forbade."""
        lines = [
            entry["message"] for entry in self._driver.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")
        ]
        return [line for line in lines if not any(words in line for words in ignored)]
