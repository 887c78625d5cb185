"""Hive's own page, as people see and use it in a real browser."""

import re
import shutil
from pathlib import Path

import psutil
import pytest
from playwright.sync_api import expect

from hive.store import JobStore
from tests.support import TILE, Hive, Web, wait_until
from tests.wire.browser import PHONE, axe, barriers, chromium, visiting
from tests.wire.test_events import is_still

pytestmark = pytest.mark.wire
EVIL = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def mac(tmp_path_factory):
    """A Mac side with a gateway and one worker; shared, so leave it as it was."""
    hive = Hive(tmp_path_factory.mktemp("mac"))
    with hive.up(gateway=True), hive.worker("gis", slots=2):
        yield hive


@pytest.fixture(scope="module")
def browser():
    with chromium() as one:
        yield one


@pytest.fixture
def visit(browser, mac):
    """Somebody who is logged in."""
    with visiting(browser, mac) as one:
        one.log_in()
        yield one


@pytest.fixture(scope="module")
def terrain(mac, tmp_path_factory):
    """A job that has made a picture, of a file with a name that would like to be HTML."""
    folder = tmp_path_factory.mktemp("evil")
    tile = folder / f"{EVIL}.laz"
    shutil.copy(TILE, tile)
    job_id = mac.submit("gis", "dtm", tile, folder / "dtm.tif", "--cell", "2")
    assert mac.wait(job_id)["state"] == "succeeded"
    return job_id


@pytest.fixture(scope="module")
def failure(mac):
    """A job that has failed, with a message that would like to be HTML."""
    job_id = mac.submit("test", "--fail", "--message", EVIL)
    assert mac.wait(job_id)["state"] == "failed"
    return job_id


def test_a_wrong_token_is_refused_and_the_right_one_lets_in(browser, mac):
    with visiting(browser, mac) as visit:
        visit.page.goto(visit.url)
        visit.page.get_by_label("Bearer token").fill("wrong")
        visit.page.get_by_role("button", name="Log in").click()
        expect(visit.page.get_by_role("alert")).to_have_text("Wrong token.")
        visit.wrong.clear()  # a browser notes the 401
        visit.log_in()
        expect(visit.page).to_have_title("Hive")
        visit.page.get_by_role("button", name="Log out").click()
        expect(visit.page.get_by_label("Bearer token")).to_be_focused()


def test_a_job_appears_and_moves_without_reloading(visit, mac):
    visit.page.evaluate("window.isTheSamePage = true")
    job_id = mac.submit("test", "--seconds", "4")
    row = visit.row(job_id)
    expect(row.locator(".state")).to_have_text("Running")
    bar = row.get_by_role("progressbar")
    done = wait_until(lambda: bar.evaluate("bar => bar.value"), "it moves")
    wait_until(lambda: bar.evaluate("bar => bar.value") > done, "it moves on")
    expect(row.locator(".state")).to_have_text("Succeeded")
    assert visit.page.evaluate("window.isTheSamePage")


def test_a_preview_opens_large(visit, terrain):
    thumbnail = visit.row(terrain).get_by_role("button", name=re.compile("show it large"))
    expect(thumbnail.locator("img")).to_have_js_property("complete", True)
    thumbnail.click()
    picture = visit.page.get_by_role("dialog", name="Preview").locator("img")
    wait_until(lambda: picture.evaluate("one => one.naturalWidth") > 50, "it is there")
    visit.page.keyboard.press("Escape")
    expect(picture).not_to_be_visible()


def test_a_job_is_shown_with_its_measures_files_and_story(visit, terrain):
    dialog = visit.open(terrain)
    for text in ("110,000", "127.9", "dtm.tif", "cost", "unknown", "submitted", "w1@test", f"hive fetch {terrain[:8]}"):
        expect(dialog).to_contain_text(text)
    assert visit.page.url.endswith(f"#/job/{terrain}")
    expect(dialog.locator(".story strong")).to_have_text(["submitted", "started", "succeeded"])


def test_a_log_line_is_read_while_the_job_runs(visit, mac):
    job_id = mac.submit("test", "--seconds", "30", "--log-lines", "3")
    dialog = visit.open(job_id)
    expect(dialog.get_by_role("log")).to_contain_text("line 3 of 3")
    expect(dialog.locator(".state")).to_have_text("Running")
    mac.run("cancel", job_id)
    expect(dialog.locator(".state")).to_have_text("Cancelled")


def test_a_running_job_is_cancelled_by_two_presses(visit, mac):
    job_id = mac.submit("test", "--seconds", "60")
    dialog = visit.open(job_id)
    expect(dialog.locator(".state")).to_have_text("Running")
    dialog.get_by_role("button", name="Cancel").click()
    assert mac.record(job_id)["state"] == "running"
    dialog.get_by_role("button", name="Really cancel?").click()
    expect(dialog.locator(".state")).to_have_text("Cancelled")
    assert mac.record(job_id)["state"] == "cancelled"


def test_a_failed_job_says_why_and_is_run_again(visit, mac):
    job_id = mac.submit("test", "--fail")
    row = visit.row(job_id)
    expect(row.locator(".state")).to_have_text("Failed")
    expect(row).to_contain_text("because it was told to")
    expect(visit.open(job_id)).to_contain_text("It failed at")
    visit.page.keyboard.press("Escape")
    row.get_by_role("button", name="Retry").click()
    wait_until(lambda: mac.record(job_id)["attempts"] == 2, "it runs again")
    expect(row.locator(".state")).to_have_text("Failed")


def test_the_list_is_filtered_by_state_capability_and_text(visit, mac, terrain, failure):
    rows = visit.page.locator("#job-list li")
    visit.page.get_by_label("Failed", exact=True).check()
    expect(visit.row(failure)).to_be_visible()
    expect(visit.row(terrain)).to_have_count(0)
    visit.page.get_by_label("All", exact=True).check()
    visit.page.get_by_label("Capability").select_option("gis")
    expect(visit.row(failure)).to_have_count(0)
    expect(visit.row(terrain)).to_be_visible()
    visit.page.get_by_label("Search").fill("ONERROR")
    expect(rows).to_have_count(1)
    visit.page.get_by_label("Search").fill("nothing has this name")
    expect(visit.page.get_by_text("No matching jobs.")).to_be_visible()


def test_text_from_outside_is_shown_and_never_run(visit, mac, terrain, failure):
    expect(visit.row(terrain)).to_contain_text(f"{EVIL}.laz")
    expect(visit.row(failure)).to_contain_text(EVIL)
    dialog = visit.open(failure)
    expect(dialog.get_by_role("log")).to_contain_text(EVIL)
    expect(dialog.locator(".why")).to_contain_text(EVIL)
    visit.page.keyboard.press("Escape")
    expect(visit.open(terrain)).to_contain_text(f"{EVIL}.laz")
    assert visit.page.locator("img[src=x], script:not([src])").count() == 0


def test_workers_queues_and_cost_are_shown_and_what_is_unknown_is_not_free(visit, mac, failure):
    page = visit.page
    worker = page.locator("#workers li")
    expect(worker).to_contain_text("w1@test")
    expect(worker).to_contain_text(re.compile(r"[0-2] of 2 slots.*CPU.*Memory.*GPU.*none.*Price.*\u2013"))
    expect(page.get_by_role("row", name=re.compile("^gis"))).to_be_visible()
    expect(page.locator("#total-cost")).to_have_text("unknown")
    mac.redis.hset(f"hive:job:{failure}", "cost_usd", "1.25")
    expect(visit.open(failure)).to_contain_text("$1.25")
    mac.redis.hdel(f"hive:job:{failure}", "cost_usd")


def test_the_last_hour_is_drawn(visit, failure):
    picture = visit.page.get_by_role("img", name=re.compile("The last hour: [1-9].* ended"))
    expect(picture).to_be_visible()
    wait_until(lambda: picture.locator("rect:not([height='0'])").count() >= 1, "it has a bar")


def test_the_page_fits_a_phone(browser, mac, terrain, failure):
    with visiting(browser, mac, viewport=PHONE, has_touch=True, is_mobile=True) as visit:
        visit.log_in()
        expect(visit.row(terrain)).to_be_visible()
        fits = "document.documentElement.scrollWidth <= innerWidth"
        assert visit.page.evaluate(fits)
        visit.row(failure).get_by_role("link").tap()
        dialog = visit.page.get_by_role("dialog")
        expect(dialog).to_contain_text("It failed at")
        assert dialog.evaluate("one => one.scrollWidth <= innerWidth && one.clientWidth >= innerWidth - 2")


def test_the_page_is_used_with_nothing_but_the_keyboard(visit, failure):
    page = visit.page
    expect(visit.row(failure)).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.get_by_text("Skip to the jobs")).to_be_focused()
    page.keyboard.press("Enter")
    link = visit.row(failure).get_by_role("link")
    for _ in range(60):
        page.keyboard.press("Tab")
        if link.evaluate("one => one === document.activeElement"):
            break
    assert link.evaluate("one => getComputedStyle(one, '::after').outlineStyle") == "solid"
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_contain_text("It failed at")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(link).to_be_focused()


def test_a_job_has_an_address_of_its_own(visit, failure):
    visit.page.goto(f"{visit.url}/#/job/{failure}")
    visit.page.reload()
    expect(visit.page.get_by_role("dialog")).to_contain_text("It failed at")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everybody_can_use_the_page(browser, mac, terrain, failure, scheme, pytestconfig):
    source = axe(pytestconfig.cache)
    with visiting(browser, mac, color_scheme=scheme, reduced_motion="reduce") as visit:
        visit.page.goto(visit.url)
        assert barriers(visit.page, source) == []
        visit.log_in()
        expect(visit.row(terrain)).to_be_visible()
        assert barriers(visit.page, source) == []
        for job_id in (terrain, failure):
            expect(visit.open(job_id)).to_contain_text("History")
            assert barriers(visit.page, source) == []
            visit.page.keyboard.press("Escape")


def test_ten_thousand_jobs_are_shown_a_hundred_at_a_time(browser, hive):
    with hive.up(gateway=True), visiting(browser, hive) as visit:
        visit.log_in()
        asked = JobStore(hive.redis).get(hive.submit("test")).specification
        JobStore(hive.redis).create_many([(f"{number:016x}", asked) for number in range(10_000)])
        rows = visit.page.locator("#job-list li")
        expect(visit.page.locator("#total-queued")).to_have_text("10,001")
        expect(visit.row(f"{9_999:016x}")).to_be_visible()
        expect(rows).to_have_count(100)
        visit.page.get_by_role("button", name="Show more").click()
        expect(rows).to_have_count(200)
        visit.page.get_by_label("Search").fill(f"{12:016x}")
        expect(rows).to_have_count(1)


def test_the_page_says_that_redis_is_away_and_goes_on_by_itself(browser, hive):
    with hive.up(gateway=True), visiting(browser, hive) as visit:
        status = visit.log_in().locator("#connection")
        psutil.Process(int((hive.home / "redis" / "redis.pid").read_text())).kill()
        expect(status).to_contain_text("does not answer")
        hive.run("up")
        expect(status).to_have_text("Live")
        job_id = hive.submit("test")
        expect(visit.row(job_id)).to_be_visible()
        visit.wrong.clear()  # a list that was asked for meanwhile is answered with 503


def test_a_page_that_nobody_sees_lets_go_and_comes_back_when_it_is_seen(browser, hive):
    hide = """hidden => { Object.defineProperty(document, "hidden", { get: () => hidden, configurable: true });
        document.dispatchEvent(new Event("visibilitychange")); }"""
    with hive.up(gateway=True), visiting(browser, hive) as visit:
        visit.page.clock.install()
        visit.log_in()
        visit.page.evaluate(hide, True)
        visit.page.clock.fast_forward(31_000)
        wait_until(lambda: is_still(hive), "nothing is asked any more")
        job_id = hive.submit("test")
        visit.page.evaluate(hide, False)
        expect(visit.row(job_id)).to_be_visible()


def test_flower_lists_the_same_jobs(visit, failure):
    visit.page.get_by_role("link", name="Flower").click()
    visit.page.goto(f"{visit.url}/flower/tasks")
    row = visit.page.get_by_role("row").filter(has_text=failure[:8])
    expect(row).to_contain_text("test.probe")
    expect(row).to_contain_text("w1@test")
    visit.wrong.clear()  # what Flower's own pages complain of is not Hive's


def test_the_page_is_made_of_small_files_of_its_own(mac):
    folder = Path(__file__).parents[2] / "hive" / "gateway" / "page"
    for file in folder.glob("*.js"):
        assert len(file.read_text().splitlines()) < 200, file.name
    for file in folder.iterdir():
        text = file.read_text()
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(", text), file.name
        assert not re.search(r'(src|href|url\(|from )\s*=?\s*"?https?://', text), file.name
    answer = Web(mac).ask("GET", "/page/main.js")
    assert answer.headers["Content-Type"] == "text/javascript; charset=utf-8"
    assert "unsafe" not in answer.headers["Content-Security-Policy"]
