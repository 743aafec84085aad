# SPDX-License-Identifier: MIT
"""The interactive page: its data against reports of windows, to the byte; its bounds; and
the page itself in a browser, by clicking, dragging and typing, with names that attack."""
import collections
import html
import json
import random
import re
import shutil
import urllib.parse

import pytest

import browser
import page_data
import support
from support import analyze, run

NODE = shutil.which("node") or shutil.which("nodejs")
MEASURES = ["leaked", "live", "allocated", "temporary", "released"]


@pytest.fixture(scope="module")
def sessions(tmp_path_factory):
    """A trace of sessions.c, and its page."""
    folder = tmp_path_factory.mktemp("sessions")
    support.trace([support.PROGRAMS / "sessions", 4, 300], folder / "t.mlog")
    analyze(folder / "t.mlog", "--html", folder / "t.html")
    return folder / "t.mlog", folder / "t.html"


def seconds(ns):
    return f"{ns // 10**9}.{ns % 10**9:09}"


def sums_of(rows, *keys):
    found = [collections.Counter() for _ in keys]
    for row in rows:
        for counter, key in zip(found, keys):
            counter[row["stack_id"]] += row[key]
    return [+counter for counter in found]


def told(trace, page, a, b):
    """What reports say of a window, as [bytes, blocks] by stack's number of each measure."""
    def window(a, b):
        bounds = ["--from", seconds(a * page.width)] * bool(a)
        bounds += ["--to", seconds(b * page.width)] * (b < page.slots)
        whole = support.report(trace, "--allocations", "--leaks", *bounds)
        return (sums_of(whole["allocations"], "bytes", "calls", "temporary"),
                sums_of(whole["leaks"], "bytes", "blocks"))
    (size, calls, instant), leaked = window(a, b)
    live = window(0, b)[1] if a else leaked
    before = window(0, a)[1] if a else [collections.Counter()] * 2
    released = [+(before[i] - (live[i] - leaked[i])) for i in (0, 1)]
    temporary = [+(size - leaked[0]), +(calls - leaked[1])]
    return {"leaked": leaked, "live": live, "allocated": [size, calls], "temporary": temporary,
            "released": released, "instant": [collections.Counter(), instant]}


def windows_of(page):
    chance = random.Random(12)
    pairs = [sorted(chance.sample(range(page.slots + 1), 2)) for _ in range(3)]
    return [[0, page.slots], *pairs]


def test_windows_are_exact(sessions):
    """
    GIVEN a program with phases, threads, resized blocks and a child, and its page
    WHEN windows from slot to slot are summed up from the page's data
    THEN all is what reports with --from and --to say, to the byte, stack by stack
    """
    trace, path = sessions
    page = page_data.Page(path)
    assert 64 < page.slots <= 256
    seen = set()
    for a, b in windows_of(page):
        said = told(trace, page, a, b)
        found = page.window(a, b)
        for measure, (size, blocks) in found.items():
            assert page.by_key(size) == said[measure][0], (measure, a, b)
            assert page.by_key(blocks) == said[measure][1], (measure, a, b)
        seen |= {measure for measure, counters in found.items() if counters[1]}
    assert seen >= {"leaked", "live", "allocated", "temporary", "released"}


@pytest.mark.skipif(not NODE, reason="no node (nodejs) to run the page's script in")
def test_the_script_of_the_page_agrees(sessions):
    """
    GIVEN the same page
    WHEN its own script sums windows up
    THEN it finds what the second opinion does
    """
    page = page_data.Page(sessions[1])
    windows = windows_of(page)
    done = run([NODE, support.ROOT / "tests" / "page_sums.js",
                support.ROOT / "analyzer" / "html" / "model.js", sessions[1],
                *[f"{a}-{b}" for a, b in windows]])
    assert done.returncode == 0, done
    for (a, b), found in zip(windows, json.loads(done.stdout)):
        for measure, counters in page.window(a, b).items():
            for numbers, counter in zip(found[measure], counters):
                assert {i: n for i, n in enumerate(numbers) if n} == +counter, (measure, a, b)


def test_threads_and_processes_are_told_apart(sessions):
    """
    GIVEN a program with a child
    WHEN the page's cells are summed up by process
    THEN each has allocated what the report of processes says
    """
    trace, path = sessions
    page = page_data.Page(path)
    found = collections.Counter()
    for cell in page.cells:
        found[page.meta["threads"][cell.thread]["process"]] += cell.bytes
    said = support.report(trace, "--summary")["processes"]
    assert len(said) == 2
    assert found == {i: process["allocated_bytes"] for i, process in enumerate(said)}
    assert [mark["name"] for mark in page.meta["marks"]] == ["phase"] * 4


def test_a_filter_holds_for_the_page(sessions, tmp_path):
    trace, _ = sessions
    analyze(trace, "--html", tmp_path / "p.html", "--min-size", "1000")
    page = page_data.Page(tmp_path / "p.html")
    said = support.report(trace, "--summary", "--min-size", "1000")["summary"]
    found = page.window(0, page.slots)["allocated"]
    assert sum(found[0].values()) == said["allocated_bytes"]
    assert sum(found[1].values()) == said["allocations"]


MANY = """
#include <stdlib.h>
static void *volatile keep;
static void deeper(unsigned path, int depth, size_t size)
{
    if (depth == 0)
        keep = malloc(size);
    else if (path & 1)
        deeper(path >> 1, depth - 1, size);
    else
        deeper(path >> 1, depth - 1, size);
    __asm__ volatile("");
}
int main(void)
{
    for (unsigned path = 0; path < 1 << 15; path++)
        deeper(path, 15, 24 + (path * 2654435761u >> 20));
    return 0;
}
"""


def test_a_page_keeps_its_bound_and_its_sums(tmp_path):
    """
    GIVEN 32,768 stacks, and a page of 256 KiB at most
    WHEN it is written
    THEN it is no larger, small stacks are one, which is said, and no sum is missing
    """
    program = support.compiled(tmp_path, "many", MANY, "-O0")
    support.trace([program], tmp_path / "t")
    analyze(tmp_path / "t", "--html", tmp_path / "p.html", "--html-size", "256K",
            "--no-symbols")
    assert (tmp_path / "p.html").stat().st_size <= 256 << 10
    page = page_data.Page(tmp_path / "p.html")
    assert page.meta["united_stacks"] > 1000
    assert page.flags[-1] == 32 and len(page.flags) > 100
    said = support.report(tmp_path / "t", "--summary")["summary"]
    leaked = page.window(0, page.slots)["leaked"]
    assert sum(leaked[0].values()) == said["leaked_bytes"]
    assert sum(leaked[1].values()) == said["leaked_blocks"]


def test_the_verb_names_the_page(sessions, tmp_path):
    """
    GIVEN a trace
    WHEN mlog html is given it, with and without -o
    THEN the page lies beside it, or where -o says
    """
    trace = tmp_path / "run.mlog"
    shutil.copy(sessions[0], trace)
    done = run([support.MLOG, "html", trace])
    assert done.returncode == 0 and "run.html" in done.stderr, done
    assert page_data.Page(tmp_path / "run.html").cells
    done = run([support.MLOG, "html", trace, "--from", "50%", "-o", tmp_path / "half.html"])
    assert done.returncode == 0, done
    assert page_data.Page(tmp_path / "half.html").meta["words"]["report"]["filter"]
    done = run([support.MLOG, "html", "-"])
    assert done.returncode == 2 and "give -o FILE" in done.stderr, done


# Names of 32 bytes, to be put over one in a finished binary.
PLAIN = b"hostile_name_of_a_function_32_by"
ATTACK = b"</script><script>pwned=1//\xff\xe2\x80\xae<b"
ATTACKS = """
#include <pthread.h>
#include <stdlib.h>
#include "mlog.h"
static void *volatile keep;
__attribute__((noinline)) void *NAME(void *none)
{
    keep = malloc(123 * 8);
    return none;
}
int main(void)
{
    pthread_t thread;
    mlog_mark("</script><img src=x onerror=pwned=2>\\xff\\xe2\\x80\\xae\\"'");
    if (pthread_create(&thread, NULL, NAME, NULL) != 0)
        return 1;
    pthread_setname_np(thread, "\\"><img src=x>");
    pthread_join(thread, NULL);
    return 0;
}
"""


@pytest.fixture(scope="module")
def attacked(tmp_path_factory):
    """The page of a program whose names, arguments and marks attack it."""
    folder = tmp_path_factory.mktemp("attacked")
    assert len(PLAIN) == len(ATTACK) == 32
    program = support.compiled(folder, "attacks", ATTACKS.replace("NAME", PLAIN.decode()), "-g0",
                               "-O1", "-rdynamic", "-pthread", "-D_GNU_SOURCE",
                               f"-I{support.ROOT / 'libtrace'}")
    program.write_bytes(program.read_bytes().replace(PLAIN, ATTACK))
    support.trace([program, "<script>pwned=3</script>" * 4000], folder / "t")
    analyze(folder / "t", "--html", folder / "p.html")
    return folder / "p.html"


def test_names_stay_out_of_the_markup(attacked):
    page = page_data.Page(attacked)
    assert page.text.count("<script") == page.text.count("</script>") == 2
    assert "<img" not in page.text and "onerror" not in page.text
    assert any("</script><script>pwned=1//" in text for text in page.meta["strings"])
    policy = html.unescape(re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"',
                                     page.text).group(1))
    assert "unsafe" not in policy and "default-src 'none'" in policy
    assert policy.count("'sha256-") == 2


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    why = browser.missing()
    if why:
        pytest.skip(why)
    from selenium.common.exceptions import WebDriverException
    try:
        one = browser.start()
    except WebDriverException as error:
        pytest.skip(f"chromium does not start here: {str(error).splitlines()[0]}")
    yield one
    one.quit()


def complaints(driver):
    return [line for line in driver.get_log("browser") if line["level"] in ("SEVERE", "WARNING")]


def cards(driver):
    return driver.execute_script(
        "return Object.fromEntries([...document.querySelectorAll('#measures button')].map(one =>"
        " [one.id.slice(8), [Number(one.dataset.bytes), Number(one.dataset.blocks)]]))")


def fragment(driver):
    text = driver.execute_script("return location.hash.slice(1)")
    return dict(urllib.parse.parse_qsl(text))


def test_names_that_attack_are_shown_as_text(driver, attacked):
    """
    GIVEN a page of a program whose names hold markup, quotes, what turns text around, and
          what is no text
    WHEN it is opened and every view is looked at
    THEN nothing of it runs, and the names stand there to be read
    """
    browser.open_page(driver, attacked, "#all=1&s=0")
    seen = driver.execute_script("return document.body.innerText")
    for state in ("by=name", "by=thread", "by=module", "v=flame&m=allocated"):
        browser.go(driver, state)
        seen += driver.execute_script("return document.body.innerText")
    assert "</script><script>pwned=1//" in seen and "\\u202e<b" in seen
    assert "\u202e" not in seen
    assert "<img src=x>" in seen
    assert driver.execute_script("return typeof pwned + document.images.length") == "undefined0"
    assert driver.execute_script("return document.scripts.length") == 2
    assert not complaints(driver)


def test_a_page_is_used(driver, sessions):
    """
    GIVEN the page of a program with a leak
    WHEN one follows the verdict, drags over the chart, types, and goes back
    THEN the stack, the window with the report's numbers, the rows that match, and the
         former state are there
    """
    from selenium.webdriver import ActionChains, Keys
    from selenium.webdriver.common.by import By
    trace, path = sessions
    page = page_data.Page(path)
    browser.open_page(driver, path)
    whole = page.window(0, page.slots)

    first = driver.find_element(By.CSS_SELECTOR, "#table tbody tr .name")
    assert first.text == "open_session"
    first.click()
    frames = driver.find_element(By.ID, "detail").text
    assert "open_session" in frames and "sessions.c" in frames and "work" in frames
    link = driver.find_element(By.CSS_SELECTOR, "#detail .own a").get_attribute("href")
    assert re.fullmatch(r"vscode://file/.*/sessions\.c:\d+", link)
    ActionChains(driver).send_keys(Keys.ESCAPE).perform()
    assert "s" not in fragment(driver)

    chart = driver.find_element(By.CSS_SELECTOR, "#chart svg")
    ActionChains(driver).move_to_element_with_offset(chart, -200, 0).click_and_hold() \
        .move_by_offset(120, 0).move_by_offset(130, 5).release().perform()
    a, b = map(int, fragment(driver)["w"].split("-"))
    assert 0 < a < b < page.slots
    found = page.window(a, b)
    shown = cards(driver)
    hidden = sum(size for stack, size in found["leaked"][0].items() if page.flags[stack] & 16)
    for measure in MEASURES:
        less = hidden if measure == "leaked" else 0
        assert shown[measure][0] == sum(found[measure][0].values()) - less, measure
    said = told(trace, page, a, b)
    assert shown["allocated"] == [sum(counter.values()) for counter in said["allocated"]]
    assert shown["released"] == [sum(counter.values()) for counter in said["released"]]

    driver.find_element(By.CSS_SELECTOR, ".handle.to").send_keys(Keys.ARROW_RIGHT)
    assert fragment(driver)["w"] == f"{a}-{b + 1}"

    driver.find_element(By.ID, "measure-allocated").click()
    driver.find_element(By.ID, "search").send_keys("^fill_cache$")
    browser.wait(driver, "location.hash.includes('fill_cache')")
    names = driver.execute_script(
        "return [...document.querySelectorAll('#table tbody .name')].map(one => one.textContent)")
    assert set(names) <= {"fill_cache"}
    driver.find_element(By.CSS_SELECTOR, "[data-view=flame]").click()
    assert driver.find_element(By.CSS_SELECTOR, "#flame canvas").size["height"] > 1
    assert fragment(driver)["v"] == "flame"
    driver.back()
    browser.wait(driver, "!document.getElementById('table').hidden")
    for _ in range(5):
        driver.back()
    browser.wait(driver, "!location.hash.includes('w=')")
    now = cards(driver)
    assert now["allocated"] == [sum(counter.values()) for counter in whole["allocated"]]
    assert not complaints(driver)


def test_a_page_fits_a_telephone_and_the_night(driver, sessions):
    """
    GIVEN a screen of 390 points, and one that is dark
    WHEN the page is opened by a deep link
    THEN nothing stands out at the side, and the colours are others
    """
    colors = []
    for width, height, dark in ((390, 844, False), (1280, 800, True)):
        browser.resize(driver, width, height, dark)
        browser.open_page(driver, sessions[1], "#w=3-40&s=0")
        assert driver.execute_script("return document.documentElement.scrollWidth") <= width
        assert driver.execute_script("return document.querySelector('#detail h2').textContent")
        colors.append(driver.execute_script("return getComputedStyle(document.body).color"))
    browser.resize(driver, 1280, 800)
    assert colors[0] != colors[1]


def test_a_page_of_nothing_says_so(driver, tmp_path):
    """
    GIVEN a program that allocates nothing
    WHEN its page is opened
    THEN it does not praise what was never there, and the audit stands open
    """
    program = support.compiled(tmp_path, "nothing", "int main(void) { return 0; }\n")
    support.trace([program], tmp_path / "t")
    analyze(tmp_path / "t", "--html", tmp_path / "p.html")
    browser.open_page(driver, tmp_path / "p.html")
    text = driver.execute_script("return document.body.innerText")
    assert "Nothing was allocated in this window." in text and "was freed" not in text
    assert "Nothing was recorded" in text and "complete" not in text.split("Nothing was rec")[0]
    assert driver.execute_script("return document.getElementById('audit').open")
    assert not complaints(driver)


@pytest.fixture(scope="module")
def paused(tmp_path_factory):
    """The trace of a program that pauses its recording, and its page."""
    folder = tmp_path_factory.mktemp("paused")
    done = support.trace([support.PROGRAMS / "paused", "windows"], folder / "t.mlog")
    assert done.returncode == 0, done
    analyze(folder / "t.mlog", "--html", folder / "t.html")
    return folder / "t.mlog", folder / "t.html"


def test_what_a_pause_may_have_hidden_is_no_leak(paused):
    """
    GIVEN blocks from before a pause of the recording, of which no end was seen
    THEN the page calls them neither leaked nor live at the end, as the reports do
    """
    trace, path = paused
    assert support.summary(trace)["unsure_blocks"] > 0
    page = page_data.Page(path)
    said, found = told(trace, page, 0, page.slots), page.window(0, page.slots)
    for measure in ("leaked", "live", "allocated", "temporary"):
        size, blocks = found[measure]
        assert page.by_key(size) == said[measure][0], measure
        assert page.by_key(blocks) == said[measure][1], measure


def test_a_pause_is_shown(driver, paused):
    """THEN the chart has its window, and the audit the blocks that it hides."""
    browser.open_page(driver, paused[1])
    assert driver.execute_script("return document.querySelectorAll('.chart rect.pause').length") == 1
    unsure = support.summary(paused[0])["unsure_blocks"]
    assert f"{unsure} block" in driver.execute_script(
        "return [...document.querySelectorAll('#audit-lines li')].map(one => one.textContent)"
        ".find(text => text.includes('from before a pause') && text.includes('gone here'))")
    assert not complaints(driver)
