"""The page in a real browser, on a real agent with its embedded default."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Route, expect
from tests.e2e.browsing import PATIENCE_MILLISECONDS, Visitor, choose_port, chromium, shows, visit

# A fixture that these tests ask for by name.
__all__ = ["chromium"]

pytestmark = pytest.mark.tools
MARKUP = "<img src=x onerror=window.pwned=1><script>window.pwned=1</script>"


@pytest.fixture
def visitor(site: Any, chromium: Browser) -> Iterator[Visitor]:
    """A visitor of the site's agent, which runs."""
    choose_port(site)
    site.start()
    with visit(site, chromium) as visitor:
        yield visitor


def test_a_saved_contract_appears_by_itself_and_a_button_reconciles_it(
    site: Any, visitor: Visitor, wait_until: Callable[..., None]
) -> None:
    """Without a reload: the empty page, the stack, its directory, its mistake, and what a click has put back."""
    page = visitor.page
    shows(page.locator("#stacks-empty"), "software/stacks/<stack>/hostk8s.storage.yaml")
    site.save("sample")
    shows(visitor.row("sample").locator("summary"), "Ready")
    shows(page.locator("#verdict"), "The one stack is Ready")
    page.keyboard.press("Tab")
    visitor.row("sample").locator("summary").press("Enter")
    shows(visitor.row("sample"), f"/mnt/pv/{site.prefix}/sample/one")
    shows(visitor.row("sample"), "hostk8s-agent reconcile sample --wait")

    directory: Path = site.root / "data/pv" / site.prefix / "sample/one"
    directory.chmod(0o700)
    visitor.row("sample").get_by_role("button", name="Reconcile", exact=True).click()
    shows(page.locator("#note"), "sample was reconciled: Ready")
    assert oct(directory.stat().st_mode) == "0o40750"

    site.save("sample", size="lots")
    shows(visitor.row("sample").locator("summary"), "Invalid")
    shows(page.locator("#problems"), "QuantityInvalid")
    shows(page.locator("#verdict"), "1 stack of 1 needs you")
    (site.stacks / "sample/hostk8s.storage.yaml").unlink()
    shows(visitor.row("sample").locator("summary"), "Removing")
    assert visitor.is_same_page()
    wait_until(lambda: site.stack("sample")["state"] == "Removing")


def test_a_problem_of_no_stack_says_what_it_is_about(site: Any, visitor: Visitor) -> None:
    """And the watcher that has no folder to follow does not look well."""
    page = visitor.page
    shows(page.locator("#parts"), "✓ Following")
    site.stacks.rename(site.stacks.with_name("elsewhere"))
    shows(page.locator("#problem-list"), "✗ Watch")
    shows(page.locator("#problem-list"), "StacksFolderMissing")
    shows(page.locator("#parts"), "✗ Waiting")
    site.stacks.with_name("elsewhere").rename(site.stacks)
    shows(page.locator("#parts"), "✓ Following")


def test_what_a_stack_has_left_behind_is_told(site: Any, visitor: Visitor) -> None:
    """Once its objects are pruned: where the data is, and how the stack comes back."""
    page = visitor.page
    site.save("sample")
    shows(visitor.row("sample").locator("summary"), "Ready")
    expect(page.locator("#left")).to_be_hidden()
    (site.stacks / "sample/hostk8s.storage.yaml").unlink()
    shows(page.locator("#left"), f"nothing was changed in /mnt/pv/{site.prefix}/sample/one")
    shows(page.locator("#left"), "Bring software/stacks/sample/hostk8s.storage.yaml back")
    site.save("sample")
    shows(visitor.row("sample").locator("summary"), "Ready")
    expect(page.locator("#left")).to_be_hidden(timeout=PATIENCE_MILLISECONDS)


def test_what_is_true_is_shown_when_it_came_before_the_pages_modules(
    visitor: Visitor, wait_until: Callable[..., None]
) -> None:
    """The page asks before its modules are there; what was answered meanwhile is not lost."""
    page, held = visitor.page, list[Route]()
    page.route("**/live.js", lambda route: held.append(route))  # noqa: PLW0108 - playwright marks what it calls
    page.reload(wait_until="commit")
    wait_until(lambda: page.evaluate("(window.early?.events.length ?? 0) > 0"), "the answer is there")
    for route in held:
        route.continue_()
    page.unroute("**/live.js")

    shows(page.locator("#verdict"), "No stack yet")


def test_the_page_outlives_the_agent(site: Any, visitor: Visitor) -> None:
    """It says that it has lost the agent, claims nothing, and comes back by itself with what is true then."""
    page = visitor.page
    site.save("sample")
    shows(visitor.row("sample").locator("summary"), "Ready")
    site.stop()
    shows(page.locator("#banner"), "The agent does not answer.")
    shows(page.locator("#verdict"), "Not known")
    site.save("second")
    site.start()
    expect(page.locator("#banner")).to_be_hidden(timeout=PATIENCE_MILLISECONDS)
    shows(visitor.row("second").locator("summary"), "Ready")
    shows(page.locator("#verdict"), "All 2 stacks are Ready")
    assert visitor.is_same_page()


def test_contract_text_is_text(site: Any, visitor: Visitor) -> None:
    """Markup in every field, and in the names of folders: shown as it was written, and nothing of it happens."""
    for name in ("directory", "path", "size", "storage_class", "owner", "permissions"):
        stack = f"with-{name.replace('_', '-')}"
        site.save(stack, **{name: f"'{MARKUP}'"})
        shows(visitor.row(stack).locator("summary"), "Invalid")
    site.save("with-name", text=site.render("with-name").replace("name: with-name", f"name: '{MARKUP}'"))
    site.save("<b onclick=1>", text=site.render("x"))
    site.save("unknown", text=site.render("unknown") + f'"{MARKUP}": 1\n')
    shows(visitor.row("unknown").locator("summary"), "Invalid")
    page = visitor.page
    for opened in page.locator("details.stack summary").all():
        opened.click()
    page.get_by_role("button", name="Show all").first.click()
    shows(page.locator("main"), "<img src=x")
    assert page.evaluate("window.pwned") is None
    assert page.locator("main :is(img, script, b, iframe, style)").count() == 0


def test_the_page_works_with_keys_alone_and_on_a_narrow_screen(site: Any, visitor: Visitor) -> None:
    """Seven stacks at 360 px: nothing to the side, a filter by key, arrows between the lines."""
    for number in range(7):
        site.save(f"stack-{number}", path=f"/mnt/pv/{site.prefix}/{'long-' * 12}{number}")
        shows(visitor.row(f"stack-{number}").locator("summary"), "Ready")
    page = visitor.page
    page.set_viewport_size({"width": 360, "height": 740})
    visitor.row("stack-2").locator("summary").press("Enter")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.keyboard.press("ArrowDown")
    assert page.evaluate("document.activeElement.parentElement.dataset.stack") == "stack-3"
    page.keyboard.press("/")
    page.keyboard.type("-5")
    expect(page.locator("details.stack:visible")).to_have_count(1)
    page.keyboard.press("Escape")
    expect(page.locator("details.stack:visible")).to_have_count(7)


def test_snapshots_are_taken_verified_and_restored_by_button(site: Any, visitor: Visitor) -> None:
    """What a person clicks: one is taken, read back, and brought back after the stack's name was typed."""
    page = visitor.page
    site.save("sample")
    row = visitor.row("sample")
    shows(row.locator("summary"), "Ready")
    kept: Path = site.root / "data/pv" / site.prefix / "sample/one/kept"
    kept.write_text("precious", encoding="utf-8")
    row.locator("summary").click()
    shows(row, "hostk8s-agent snapshot create sample")
    row.get_by_role("button", name="Take a snapshot", exact=True).click()
    shows(page.locator("#note"), "was taken and read back: good")
    shows(page.locator("#snapshots"), "1 snapshot")
    row.get_by_role("button", name="Verify", exact=True).click()
    shows(page.locator("#note"), "every byte is as it was written")

    kept.write_text("lost", encoding="utf-8")
    row.get_by_role("button", name="Restore …", exact=True).click()
    dialog = page.get_by_role("dialog")
    shows(dialog, f"/mnt/pv/{site.prefix}/sample/one")
    go = dialog.get_by_role("button", name="Restore", exact=True)
    expect(go).to_be_disabled()
    page.keyboard.type("sampl")
    expect(go).to_be_disabled()
    assert kept.read_text(encoding="utf-8") == "lost"
    page.keyboard.type("e")
    page.keyboard.press("Enter")
    shows(page.locator("#note"), "What was there before is the snapshot")
    assert kept.read_text(encoding="utf-8") == "precious"
    shows(page.locator("#snapshots"), "2 snapshots")


@pytest.mark.engine
@pytest.mark.cluster
def test_where_docker_alone_leads_to_the_volume_a_size_is_the_newest_snapshots(
    real_site: Any, docker_engine: Any, chromium: Browser
) -> None:
    """As on every Mac: the page, the table and the document say of when it is, and none that it is measured."""
    site, stack = real_site, f"{real_site.prefix}-sizes"
    site.environment["HOSTK8S_AGENT_VOLUME_ACCESS"] = "helper-container"
    site.environment["HOSTK8S_AGENT_SNAPSHOT_SCHEDULE"] = "off"
    choose_port(site)
    site.start()
    with visit(site, chromium) as visitor:
        site.save(stack)
        row = visitor.row(stack)
        shows(row.locator("summary"), "Ready")
        row.locator("summary").click()
        shows(row, "? of 1 GiB")
        folder = docker_engine.mountpoint(site.environment["HOSTK8S_AGENT_VOLUME_NAME"]) / site.prefix / stack / "one"
        (folder / "half").write_bytes(bytes(4096))
        taken = json.loads(site.run("snapshot", "create", stack, "-o", "json").stdout)
        (folder / "more").write_bytes(bytes(8192))

        shows(row, "4 KiB of 1 GiB at the snapshot ")
        (known,) = site.status()["snapshots"]["directories"]
        asked = (known["sizeBytes"], known["sizeFrom"], known["sizeAt"], known["sizeSnapshot"], known["bytesAtRisk"])
        assert asked == (4096, "snapshot", taken["takenAt"], taken["id"], None)
        (directory,) = site.stack(stack)["directories"]
        assert directory["usedBytes"] is None
        said = site.run("status", stack).stdout
        assert "one: 4.0 KiB of 1.0 GiB declared at the snapshot " in said
        assert "what it holds now is not known" in said
