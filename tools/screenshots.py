"""Take the pictures of the page that the docs show, of whatever this Hive does just now.

`HIVE_HOME=… python -m tools.screenshots docs/images` writes dashboard-*.png. Start some jobs before: the newest one
with a preview is opened for the second picture.
"""

import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from hive.settings import Settings, load_settings

CHROMIUM = "/usr/bin/chromium"
DESK, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 780}
# Ends when the pictures that are in sight are drawn; those further down are loaded when they are scrolled to.
VISIBLE_PICTURES = """Promise.all([...document.images].filter((one) => one.getBoundingClientRect().top < innerHeight)
  .map((one) => one.decode().catch(() => {})))"""


def main() -> None:
    folder = Path(sys.argv[1])
    settings = load_settings()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        light = logged_in(browser, settings, color_scheme="light", viewport=DESK)
        save(light, folder / "dashboard-jobs.png")
        open_with_preview(light)
        save(light, folder / "dashboard-job.png")
        dark = logged_in(browser, settings, color_scheme="dark", viewport=DESK)
        save(dark, folder / "dashboard-dark.png")
        save(logged_in(browser, settings, color_scheme="light", viewport=PHONE), folder / "dashboard-phone.png")
        browser.close()


def logged_in(browser: Browser, settings: Settings, **looks: object) -> Page:
    page = browser.new_context(reduced_motion="reduce", **looks).new_page()
    page.goto(f"http://127.0.0.1:{settings.gateway_port}/")
    page.get_by_label("Bearer token").fill(settings.token)
    page.get_by_role("button", name="Log in").click()
    page.locator(".jobs li").first.wait_for()
    page.evaluate(VISIBLE_PICTURES)
    return page


def open_with_preview(page: Page) -> None:
    page.locator(".jobs li", has=page.locator(".thumb img")).first.locator("a.title").click()
    page.locator("#job .previews img").wait_for()
    page.locator("#job .story li").first.wait_for()
    page.evaluate(VISIBLE_PICTURES)


def save(page: Page, file: Path) -> None:
    """Save what is seen, with as many colours as a palette has: a third of the size, and no difference to be seen."""
    page.screenshot(path=file)
    Image.open(file).convert("RGB").quantize(256, kmeans=6, dither=Image.Dither.NONE).save(file, optimize=True)
    print(f"{file}: {file.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
