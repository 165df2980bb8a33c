"""The dashboard in a real browser, over a running fabric: what an operator sees, and what a click does."""

import contextlib
from collections.abc import Iterator

import pytest
from bed import Bed, one_vip, pool
from browser import DESKTOP, PHONE, Browser, bring_libraries
from running_controller import Refused, soon
from selenium.webdriver.common.keys import Keys

from controller.store import Role, Store
from topologies.leaf_spine import LeafSpineTopo

pytestmark = pytest.mark.one_framework

TOPOLOGY = LeafSpineTopo(spines=2, leaves=3, hosts=2)
ATTACKS = True
"""Nobody attacks, but clients are put into quarantine by hand."""
CLIENT, OTHER_CLIENT = "h1", "h3"
MEMBERS = ("h2", "h4", "h6")
VICTIM = "h4"
DISCONNECTED = ("ERR_CONNECTION", "ERR_INCOMPLETE_CHUNKED", "ERR_EMPTY_RESPONSE", "Failed to fetch")
"""What a console says when the controller was killed."""
HOSTILE_REASON = "<img src=x onerror=document.title='owned'>"
RULES = [
    {"id": "lab-out", "src": "10.0.9.0/24", "action": "drop", "comment": "<b>the lab</b> has its own"},
    {"id": "seen", "protocol": "icmp", "action": "allow"},
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    bring_libraries()
    with Browser() as running:
        yield running


@pytest.fixture(autouse=True)
def quiet(bed: Bed, browser: Browser) -> Iterator[None]:
    """Every test starts with a fabric that is well and a browser that knows nothing, and ends without a complaint."""
    bed.serve(*MEMBERS)
    bed.apply({**one_vip(pool(bed, *MEMBERS)), "firewall": {"rules": RULES}})
    browser.size(DESKTOP)
    browser.system_theme("light")
    browser.open()
    browser.forget()
    browser.complaints()
    yield
    assert browser.hosts_asked() == {"127.0.0.1:8080"}, "no request leaves the machine, not even this controller's"
    assert browser.complaints() == []


def an_incident(bed: Bed) -> str:
    """Has a member refuse under load; the id of the incident that is about it."""
    with bed.load(CLIENT, 40) as near, bed.load(OTHER_CLIENT, 40) as far:
        bed.ask(CLIENT, 10)
        bed.stop_server(VICTIM)
        found = soon(
            "an incident is about it", lambda: incident_about(bed), 10, lambda: bed.controller.get("incidents")
        )
        bed.ask(CLIENT, 30)
        near.finish()
        far.finish()
    return str(found["id"])


def incident_about(bed: Bed) -> dict[str, object] | None:
    wanted = {"type": "member", "id": bed.member(VICTIM)}
    incidents = bed.controller.get("incidents?state=open")["items"]
    return next((incident for incident in incidents if incident["subject"] == wanted), None)


# --- what is shown -------------------------------------------------------------------------------------------------------------


def test_the_map_shows_every_switch_link_and_member(bed: Bed, browser: Browser) -> None:
    browser.open("overview", "#map .station.member")
    switches = {f"Switch {int(dpid, 16):x}, connected" for dpid in bed.dpids}
    assert set(browser.labels("#map .switch")) == switches
    assert len(browser.labels("#map .cable")) == 6
    soon(
        "every member is up",
        lambda: sum("up, weight 100 of 100" in label for label in browser.labels("#map .member")) == 3,
        10,
    )
    names = {label.split()[1].rstrip(",") for label in browser.labels("#map .member")}
    assert names == {bed.member(host) for host in MEMBERS}
    assert len(browser.labels("#map .client")) == 3
    with bed.load(CLIENT, 30):
        browser.picture("overview-light", DESKTOP)
    browser.click("#map .switch")
    browser.says("#inspector", "connected, in order")
    browser.press(Keys.ESCAPE)
    soon("the details are gone", lambda: not browser.all("#inspector"))


def test_a_refusing_member_opens_an_incident_that_can_be_read_labelled_and_undone(bed: Bed, browser: Browser) -> None:
    browser.open("overview", "#map .station.member")
    incident = an_incident(bed)
    browser.see("#map .member.guilty .halo")
    (guilty,) = [label for label in browser.labels("#map .member") if "incident" in label]
    assert bed.member(VICTIM) in guilty
    assert "weight 0 of 100" in guilty
    link = f"a.brief[href='#/incidents/{incident}']"
    browser.says(link, bed.member(VICTIM))
    soon("the timeline counts it", lambda: browser.text(".legend").strip(), 10)
    browser.picture("incident-on-the-map", DESKTOP)
    browser.system_theme("dark")
    browser.picture("overview-dark", DESKTOP)
    browser.system_theme("light")

    browser.go(f"incidents/{incident}")
    browser.says("#incident", "Evidence")
    document = bed.controller.get(f"incidents/{incident}")
    shown = browser.text("#incident")
    assert document["evidence"], "there is something to read"
    assert all(found["text"].split(":")[0] in shown for found in document["evidence"][:2])
    assert "eject" in shown
    browser.picture("incident", DESKTOP)
    browser.size(PHONE)
    assert browser.overflow() <= 0
    browser.picture("incident-phone", PHONE)
    browser.size(DESKTOP)

    browser.choose("#cause", "policy")
    browser.click("#label button")
    browser.says(".toasts", "labelled policy")
    assert bed.controller.get(f"incidents/{incident}")["label"] == "policy"
    browser.says("#incident header", "labelled by an operator")

    # Its server is still dead: the ejection stands until an operator, or a probe, says otherwise.
    browser.click("#revert")
    browser.click("#dialog button.danger")
    browser.says(".toasts", "undone")
    assert "revert" in [taken["action"] for taken in bed.controller.get(f"incidents/{incident}")["actions"]]
    browser.says("#incident .actions", "undone by the operator")


def test_freezing_is_one_click_and_seen_by_everyone(bed: Bed, browser: Browser) -> None:
    browser.click("#freeze")
    browser.says(".banner", "Automation is frozen")
    assert bed.controller.get("automation")["mode"] == "frozen"
    browser.says("#freeze", "Resume")
    browser.click("#freeze")
    soon("automation is back", lambda: bed.controller.get("automation")["mode"] == "enforce")
    soon("the banner is gone", lambda: not browser.all(".banner"))


def test_weights_move_while_one_looks(bed: Bed, browser: Browser) -> None:
    browser.open("pools", f"tr[data-member='{bed.member(VICTIM)}']")
    with bed.load(CLIENT, 30):
        browser.choose(f"tr[data-member='{bed.member(VICTIM)}'] select", "draining")
        browser.says(f"tr[data-member='{bed.member(VICTIM)}'] td.weight", "0 of 100")
        assert bed.controller.member(VICTIM)["admin_state"] == "draining"
        width = (
            f"return document.querySelector(\"tr[data-member='{bed.member(VICTIM)}'] .bar-fill\").getAttribute('width')"
        )
        soon("its bar is empty", lambda: browser.run(width) == "0")
        rate = f"tr[data-member='{bed.member('h2')}'] td[data-label='New/s']"
        soon("the others get theirs", lambda: browser.text(rate) not in ("", "0"), 10, lambda: browser.text("main"))
        browser.picture("pools", DESKTOP)


def test_quarantine_is_added_and_removed_by_hand(bed: Bed, browser: Browser) -> None:
    client = bed.fabric.address("h5")
    browser.open("protection", "#add")
    browser.fill("#add [name=client]", "10.0.300.1")
    browser.click("#add button")
    browser.says(".toasts", "client")
    assert "10.0.300.1" in browser.text(".toasts")
    assert browser.run("return document.querySelector('#add [name=client]').value") == "10.0.300.1", (
        "a slip is mended, not typed again"
    )
    browser.fill("#add [name=client]", client)
    browser.fill("#add [name=reason]", HOSTILE_REASON)
    browser.click("#add button")
    browser.says(f"tr[data-client='{client}'], tr[data-client='{client}/32']", HOSTILE_REASON)
    (entry,) = bed.controller.get("quarantine")["items"]
    assert entry["reason"] == HOSTILE_REASON
    assert browser.all("#entries img") == []
    assert "owned" not in browser.run("return document.title")
    browser.picture("protection", DESKTOP)
    browser.go("overview")
    browser.see("#map .quarantined")
    browser.go("protection")
    browser.click("#entries button")
    soon("it is out", lambda: bed.controller.get("quarantine")["items"] == [])
    browser.says("main", "Nobody is in quarantine")
    browser.complaints(ignored=("422",))


def test_firewall_rules_show_what_they_met(bed: Bed, browser: Browser) -> None:
    browser.open("protection", "tr[data-rule='seen']")
    assert "<b>the lab</b> has its own" in browser.text("tr[data-rule='lab-out']")
    bed.fabric.run("h1", "ping", "-c3", "-i0.2", "-W1", bed.fabric.address("h3"))
    hits = "tr[data-rule='seen'] td:last-child"
    soon(
        "its hits are shown",
        lambda: browser.text(hits) not in ("", "0"),
        15,
        lambda: bed.controller.get("firewall/rules"),
    )


def test_events_and_changes_are_listed_as_they_happen(bed: Bed, browser: Browser) -> None:
    browser.open("activity", ".empty, .log")
    browser.says(".connection", "live")
    with contextlib.suppress(Refused):
        bed.controller.request(
            "POST", "quarantine", {"client": bed.fabric.address("h5"), "ttl_s": 60, "reason": "to be seen"}
        )
    browser.says(".log", "quarantine")
    browser.click(".choice button:last-child")
    browser.says("#audit-rows", "quarantine add")
    browser.fill("#filter", "nothing has these words")
    browser.says("main", "No change has these words")
    for entry in bed.controller.get("quarantine")["items"]:
        bed.controller.request("DELETE", f"quarantine/{entry['id']}")


# --- how it is used ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("view", ["overview", "incidents", "pools", "protection", "activity"])
def test_no_view_scrolls_sideways_on_a_phone(browser: Browser, view: str) -> None:
    browser.size(PHONE)
    browser.open(view)
    soon("everything is drawn", lambda: browser.run("return document.querySelectorAll('.card').length") > 0)
    assert browser.overflow() <= 0
    browser.picture(f"{view}-phone", PHONE)


def test_the_theme_follows_the_system_until_it_is_chosen_and_then_stays(browser: Browser) -> None:
    light = browser.colour()
    browser.system_theme("dark")
    dark = browser.colour()
    assert light != dark
    browser.click("#theme")
    assert browser.colour() == light, "chosen: light"
    browser.open()
    assert browser.colour() == light, "after a reload too"
    browser.press("t")
    browser.system_theme("light")
    assert browser.colour() == dark, "chosen: dark"


def test_everything_is_reached_by_keyboard(browser: Browser) -> None:
    browser.open("overview", "#map .switch")
    browser.press(Keys.TAB)
    assert browser.focus() == "Skip to content"
    browser.press(Keys.TAB, Keys.TAB)
    assert browser.focus() == "Overview"
    outline = "return getComputedStyle(document.activeElement).outlineStyle"
    assert browser.run(outline) == "solid", "where the focus is can be seen"
    browser.press("4")
    browser.see("#add")
    browser.press("1")
    browser.see("#map .switch")
    browser.press("m")
    soon("the map has the focus", lambda: browser.focus().startswith("Switch"))
    first = browser.focus()
    browser.press(Keys.ARROW_RIGHT)
    assert browser.focus() != first
    browser.press(Keys.ENTER)
    browser.see("#inspector")
    browser.press(Keys.ESCAPE)
    soon("the details are gone", lambda: not browser.all("#inspector"))
    browser.press("?")
    browser.see("#dialog[open]")
    browser.press(Keys.ESCAPE)
    soon("the list of keys is gone", lambda: not browser.all("#dialog[open]"))
    nameless = "e => !(e.innerText || e.getAttribute('aria-label') || e.labels?.length)"
    operable = "[...document.querySelectorAll('button, a, input, select, [role=button]')]"
    assert browser.run(f"return {operable}.filter({nameless}).map(e => e.outerHTML)") == []


def test_the_view_is_remembered(browser: Browser) -> None:
    browser.open("activity", ".choice")
    browser.click(".choice button:nth-child(2)")
    browser.open()
    browser.see("main[data-view=activity]")
    assert browser.text(".choice [aria-pressed=true]") == "Resets"


# --- when something is missing -------------------------------------------------------------------------------------------------


def test_a_controller_that_is_gone_is_said_to_be_gone(bed: Bed, browser: Browser) -> None:
    browser.open("overview", "#map .switch")
    browser.says(".connection", "live")
    for switch in bed.fabric.switch_names:
        bed.fabric.disconnect(switch)
    bed.controller.kill()
    browser.says("#lost", "Disconnected, trying again")
    assert "What is shown is from" in browser.text("#lost")
    assert browser.all("#map .switch"), "what was known stays to be seen"
    browser.picture("disconnected", DESKTOP)
    bed.controller.start()
    browser.says(".connection", "live", 20)
    browser.says("main", "No switch is connected")
    assert "ovs-vsctl set-controller br0 tcp:127.0.0.1:6653" in browser.text("main")
    browser.picture("no-switch", DESKTOP)
    bed.call_in()
    bed.in_order()
    browser.see("#map .switch", 20)
    assert not browser.all("#lost")
    browser.complaints(ignored=DISCONNECTED)


def test_a_page_without_its_libraries_says_how_to_get_them(browser: Browser) -> None:
    browser.block("*/vendor/*")
    try:
        browser.open(wait_for="#page")
        browser.says("#page", "scripts/lib/web/libraries.py")
    finally:
        browser.block()
    browser.complaints(ignored=("ERR_BLOCKED_BY_CLIENT",))


def test_with_tokens_the_page_asks_for_one(bed: Bed, browser: Browser) -> None:
    with Store(bed.controller.state) as store:
        reader, read_secret = store.tokens.create("reader", Role.READ, 0.0)
        admin, admin_secret = store.tokens.create("admin", Role.ADMIN, 0.0)
        try:
            browser.open("overview", "#access")
            browser.picture("token", DESKTOP)
            browser.fill("#token", "rlb_wrong")
            browser.press(Keys.ENTER)
            browser.says("#access", "does not know this token")
            browser.fill("#token", read_secret)
            browser.press(Keys.ENTER)
            browser.see("#map .switch")
            browser.says(".connection", "live")
            browser.click("#freeze")
            browser.says(".toasts", "may only read")
            browser.run("sessionStorage.setItem('token', arguments[0])", admin_secret)
            browser.click("#freeze")
            browser.says("#freeze", "Resume")
            browser.click("#freeze")
            browser.says("#freeze", "Freeze")
            assert admin_secret not in browser.run(
                "return JSON.stringify(localStorage) + location.href + document.cookie"
            )
        finally:
            store.tokens.revoke(reader.id)
            store.tokens.revoke(admin.id)
    browser.complaints(ignored=("401", "403"))
