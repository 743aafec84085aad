# SPDX-License-Identifier: MIT
"""Chromium without a window, for tests of the interactive report and for pictures of it.

    python3 tests/browser.py PAGE.html FOLDER

writes a picture of each main state of a page into a folder: to be looked at."""
import base64
import os
import pathlib
import shutil
import sys


def missing():
    """Why there is no browser here, or None."""
    try:
        import selenium                                    # noqa: F401
    except ImportError:
        return "no selenium (python3-selenium)"
    for name in ("chromium", "chromedriver"):
        if not shutil.which(name):
            return f"no {name} (chromium, chromium-driver)"
    return None


def start(width=1280, height=800, dark=False, cache=None):
    """A browser with a page of this size. Raises selenium's exception if it cannot run."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for word in ("--headless=new", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
                 "--disable-extensions", "--disable-background-networking", "--hide-scrollbars",
                 f"--window-size={width},{height}"):
        options.add_argument(word)
    if os.geteuid() == 0:
        options.add_argument("--no-sandbox")
    if cache:
        options.add_argument(f"--user-data-dir={cache}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(service=Service(shutil.which("chromedriver")), options=options)
    resize(driver, width, height, dark)
    return driver


def resize(driver, width, height, dark=False):
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {
        "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600})
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {
        "features": [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]})


def wait(driver, script, seconds=20):
    """Wait until a script's value is true, and return it."""
    from selenium.webdriver.support.ui import WebDriverWait
    return WebDriverWait(driver, seconds, 0.03).until(
        lambda one: one.execute_script("return " + script))


def go(driver, state):
    """Name a state in the page's address, and wait until the page shows it."""
    driver.set_script_timeout(20)
    driver.execute_async_script(
        "const done = arguments[1]; window.addEventListener('hashchange', () => "
        "requestAnimationFrame(() => requestAnimationFrame(() => done())), {once: true});"
        "location.hash = arguments[0]", state)


def open_page(driver, path, fragment=""):
    driver.get("about:blank")
    driver.get(pathlib.Path(path).resolve().as_uri() + fragment)
    wait(driver, "document.body.dataset.ready === 'true'")


STATES = {
    "whole": "", "window": "#w=60-120", "stack": "#w=60-200&s=0", "live": "#m=live",
    "function": "#by=name&m=allocated", "flame": "#v=flame&m=allocated",
}
SIZES = {"light": (1280, 800, False), "dark": (1280, 800, True), "phone": (390, 844, False),
         "phone-dark": (390, 844, True), "wall": (3840, 2160, False)}


def pictures(page, folder):
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    driver = start()
    try:
        for size, (width, height, dark) in SIZES.items():
            resize(driver, width, height, dark)
            for name, fragment in STATES.items():
                if size in ("wall", "phone-dark") and name not in ("whole", "stack"):
                    continue    # these are about room alone
                open_page(driver, page, fragment)
                shot = driver.execute_cdp_cmd("Page.captureScreenshot",
                                              {"captureBeyondViewport": True})
                (folder / f"{size}-{name}.png").write_bytes(base64.b64decode(shot["data"]))
        for line in driver.get_log("browser"):
            print(line["level"], line["message"])
    finally:
        driver.quit()


if __name__ == "__main__":
    if missing():
        sys.exit(missing())
    pictures(*sys.argv[1:])
