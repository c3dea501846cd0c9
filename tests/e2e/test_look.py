"""What the App looks like: groups, colours and switched-on fields without a page load, and contrast."""

from __future__ import annotations

import pytest

import unseen
from unseen.dataset.appearance import COLOURS, save_workspace

#: WCAG 2.2, level AA, for text.
LEAST_CONTRAST = 4.5
SIZES = ((1280, 800), (1920, 1080))
TABS = ("Now", "Ranking", "Progress", "When to stop")

#: Texts of an element that are seen, with the colours of letters and background as CSS gives them.
#: A background that is partly transparent is laid over what is behind it.
TEXTS = """root => {
  const parse = c => { const n = (c.match(/[\\d.]+/g) || []).map(Number);
    const scale = c.startsWith('color(') ? 255 : 1;
    return [n[0] * scale, n[1] * scale, n[2] * scale, n.length > 3 ? n[3] : 1]; };
  const over = (a, b) => [0, 1, 2].map(i => a[i] * a[3] + b[i] * (1 - a[3])).concat(1);
  const behind = e => { const layers = [];
    for (let x = e; x; x = x.parentElement) {
      const c = parse(getComputedStyle(x).backgroundColor);
      if (c[3] > 0) layers.push(c);
      if (c[3] === 1) break; }
    return layers.reverse().reduce((below, c) => over(c, below), [255, 255, 255, 1]); };
  const found = [];
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode.textContent.trim(), e = walker.currentNode.parentElement;
    const style = getComputedStyle(e), box = e.getBoundingClientRect();
    if (!text || !box.width || style.visibility === 'hidden' || e.closest('[aria-hidden=true]'))
      continue;
    const ground = behind(e);
    const letters = over(parse(e.closest('svg') ? style.fill : style.color), ground);
    found.push([text, letters.slice(0, 3), ground.slice(0, 3), box.left, box.right]); }
  return found; }"""


def learned(make_dataset, name):
    """Six images are labelled and learned; nothing is scored."""
    made = make_dataset(name)
    unseen.prepare_dataset(made, initial=6)
    unseen.reveal_labels(made)
    unseen.train_unet(made, steps=30)
    return made


@pytest.fixture(scope="module")
def dataset(make_dataset):
    """A ranked batch and a measured detector."""
    made = learned(make_dataset, "look")
    unseen.score_samples(made)
    unseen.select_batch(made, budget=4)
    unseen.train_detector(made, architecture="small", steps=2, batch_size=1)
    unseen.apply_detector(made, min_confidence=0)
    unseen.evaluate_detector(made, min_confidence=0)
    save_workspace(made)
    return made


def test_what_is_scored_elsewhere_is_seen_in_a_running_app(app, make_dataset, picture):
    trained = learned(make_dataset, "trained")
    app.open("trained")
    unseen.score_samples(trained)
    unseen.select_batch(trained, budget=4)
    app.page.locator("[data-cy='sidebar-group-unseen (details)-field']").wait_for()
    for name, title in (("heatmap", "unseen_heatmap"), ("regions", "unseen_regions")):
        box = app.page.locator(f"[data-cy=checkbox-{title}]").first
        app.wait(lambda box=box: box.locator("input").is_checked(), f"{title} to be switched on")
        red, green, blue = (int(COLOURS[name][i : i + 2], 16) for i in (1, 3, 5))
        colours = box.evaluate(
            "e => [...e.querySelectorAll('*'), e].map(x => getComputedStyle(x).color)"
        )
        assert f"rgb({red}, {green}, {blue})" in colours
    picture("scored")


@pytest.mark.parametrize("light", [False, True], ids=["dark", "light"])
@pytest.mark.parametrize(("width", "height"), SIZES)
def test_every_text_of_the_panel_can_be_read_and_lies_within_it(
    chromium, server, dataset, output, width, height, light
):
    from app_browser import app_page

    with app_page(chromium, server, width=width, height=height, light=light) as app:
        app.open("look")
        for tab in TABS:
            app.tab(tab)
            app.page.screenshot(
                path=output / f"look-{tab}-{width}-{'light' if light else 'dark'}.png"
            )
            edges = app.panel.bounding_box()
            texts = app.panel.evaluate(TEXTS)
            assert texts
            for text, letters, ground, left, right in texts:
                assert contrast(letters, ground) >= LEAST_CONTRAST, (tab, text, letters, ground)
                assert edges["x"] + 4 <= left, (tab, text)
                assert right <= edges["x"] + edges["width"] - 4, (tab, text)


def test_every_button_of_the_panel_has_a_name_and_can_be_reached_by_key(app, dataset):
    app.open("look")
    for tab in TABS:
        app.tab(tab)
        buttons = app.panel.get_by_role("button")
        for i in range(buttons.count()):
            assert buttons.nth(i).inner_text().strip() or buttons.nth(i).get_attribute("aria-label")
            assert buttons.nth(i).get_attribute("tabindex") != "-1"
    app.tab("Now")
    app.settle()
    app.panel.get_by_role("button", name="More steps").press("Enter")
    app.settle()
    app.panel.get_by_role("button", name="Screen images").press("Space")  # 1.22 takes Enter away
    app.wait_for_form("Screen images")
    app.close_form()


def contrast(one, other):
    """Of two colours (red, green, blue), 0 to 255 (WCAG 2.2)."""

    def luminance(colour):
        shares = [c / 255 for c in colour]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in shares]
        return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)
