"""The task guide says what is marked in this very task, and cannot be broken by names."""

import re

import pytest

from unseen.annotation.guide import MARKER, task_guide, with_batches


def guide(**changes):
    settings = {
        "dataset": "wafers",
        "batch": "batch_3",
        "images": 20,
        "first_rank": 21,
        "classes": {"scratch": 40, "crack": 9, "residue": 0},
        "suggestions": True,
        "overlay": True,
        "structure": True,
        "predictions": True,
        "regions_only": True,
    }
    return task_guide(**{**settings, **changes})


def test_the_marker_stands_first_and_alone_and_instructions_follow_the_title():
    text = guide(instructions="\nLook at the *edges*.\n")
    lines = [line for line in text.splitlines() if line]
    assert lines[0] == MARKER == "<!-- unseen guide -->"
    assert text.count(MARKER) == 1
    assert lines[1].startswith("# ")
    assert lines[2] == "Look at the *edges*."


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("suggestions", "suggestions: the model"),
        ("overlay", "Colours mark what the model has never seen"),
        ("structure", "Thin blue lines"),
        ("predictions", "drawn by a detector"),
        ("regions_only", "Yellow rectangles show the parts to look at"),
    ],
)
def test_only_what_is_marked_is_explained(setting, words):
    assert words in guide()
    assert words not in guide(**{setting: False})


def test_a_task_without_any_marks_says_so():
    nothing = "Nothing is marked"
    assert nothing in guide(suggestions=False, overlay=False, predictions=False, regions_only=False)
    assert nothing not in guide(suggestions=False, overlay=False)


@pytest.mark.parametrize("regions_only", [False, True])
def test_where_to_look_is_either_everywhere_or_inside_of_the_rectangles(regions_only):
    text = guide(regions_only=regions_only)
    assert ("inside a yellow rectangle" in text) == regions_only
    assert ("every class, also where nothing is marked" in text) != regions_only


def test_ranks_count_both_ends():
    assert "20 images, numbers 21 to 40" in guide()
    assert "1 image, number 7" in guide(images=1, first_rank=7)


def test_rare_classes_come_first_and_are_marked():
    rows = [line for line in guide().splitlines() if line.startswith("| ")][1:]
    assert rows == [
        "| residue | none yet (**rare**) |",
        "| crack | 9 (**rare**) |",
        "| scratch | 40 |",
    ]
    assert "| crack | 10 |" in guide(classes={"crack": 10})
    assert "|" not in guide(classes={})


def test_names_cannot_break_the_markdown():
    evil = "a|b *c* <img src=x> `d`\n# [e](f)"
    text = guide(dataset=evil, batch="_b_", classes={evil: 3})
    assert len(text.splitlines()) == len(guide(classes={"x": 3}).splitlines())
    escaped = [line for line in text.splitlines() if "img" in line]
    assert len(escaped) == 2
    for line in escaped:
        name = re.search(r"a\\\|b.*\\\)", line)[0]
        assert not re.search(r"(?<!\\)[|*<>`#\[\]()_]", name)
        assert re.sub(r"\\(.)", r"\1", name) == " ".join(evil.split())


def test_the_guide_of_a_project_has_a_section_for_each_open_batch_the_newest_first():
    one = with_batches(None, {"a1": guide(batch="alpha")})
    both = with_batches(one, {"b2": guide(batch="beta")})
    assert one.startswith(MARKER)
    assert "several batches" not in one
    assert "several batches" in both
    assert both.index("beta") < both.index("alpha")
    assert both.count(MARKER) == 1
    # Written again, a batch has its new text; what has ended goes, what others wrote stays.
    again = with_batches(both, {"a1": guide(batch="renewed")})
    assert ("alpha" in again, again.index("renewed") < again.index("beta")) == (False, True)
    assert with_batches(again, {}, ["a1", "unknown"]) == with_batches(
        None, {"b2": guide(batch="beta")}
    )
    assert with_batches(both, {}, []) == both
    assert "No batch" in with_batches(both, {}, ["a1", "b2"])


@pytest.mark.parametrize(("before", "new"), [("# By hand", {"a1": "text"}), (None, {})])
def test_there_may_be_nothing_to_write_into_the_guide_of_a_project(before, new):
    assert with_batches(before, new) is None


def test_a_guide_from_before_there_were_sections_is_replaced():
    assert "zeta" not in with_batches(f"{MARKER}\n# zeta", {"a1": guide()})
