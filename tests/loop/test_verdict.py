import dataclasses

import pytest
from report_facts import CLASSES, FACTS, counted, full_set, point, scored

from unseen.loop.verdict import judge, short


def pair(ranked: float, **baselines: float):
    """A ranked loop of two iterations and baselines, all classes alike."""
    counts = counted(50, 5, 2)
    loop = [
        point("", "diverse", 0, scored(0.2, 0.2, 0.2), counts),
        point("", "diverse", 1, scored(ranked, ranked, ranked), counts),
    ]
    return loop + [point(n, n, 1, scored(f, f, f), counts) for n, f in baselines.items()]


def test_nothing_recorded_is_said_plainly():
    verdict = judge([], CLASSES)
    assert verdict.outcome == "unknown"
    assert verdict.headline == "Nothing to report yet."


def test_a_win_names_every_number(loop):
    verdict = judge(loop, CLASSES, FACTS)
    assert verdict.headline == "The ranking earned its keep."
    assert verdict.sentence == (
        "With 30 labelled images the ranked loop reaches mean F1 .68, sequential .34, random .38 "
        "(test split of 60 images, one run: differences of a few hundredths are noise)."
    )
    assert [(b.label, short(b.value)) for b in verdict.bars] == [
        ("Diverse", ".68"),
        ("Sequential", ".34"),
        ("Random", ".38"),
    ]


def test_the_biggest_gain_is_named_with_its_few_test_boxes(loop):
    details = " ".join(judge(loop, CLASSES).details)
    assert "stain +0.59 (F1 .62, random .03, only 9 test boxes)" in details
    assert "No class lost." in details


def test_a_loss_of_one_class_is_named_even_in_a_win():
    loop = pair(0.6, random=0.3)
    worse = scored(0.9, 0.2, 0.1)
    loop[1] = dataclasses.replace(
        point("", "diverse", 1, worse, counted(50, 5, 2)), macro_f1=loop[1].macro_f1
    )
    assert "Biggest loss: stain -0.20" in " ".join(judge(loop, CLASSES).details)


@pytest.mark.parametrize(
    ("ranked", "baselines", "outcome", "words"),
    [
        (0.3, {"sequential": 0.5, "random": 0.31}, "loss", "did not earn its keep: sequential"),
        (0.5, {"random": 0.47}, "level", "the ranking is level with random."),
        (0.5, {"random": 0.53}, "level", "the ranking is level with random."),
        (0.5, {"sequential": 0.2, "random": 0.5}, "mixed", "beat sequential but is level with"),
        (0.5, {"entropy": 0.7, "random": 0.3}, "win", "earned its keep"),
        (0.5, {"entropy": 0.7}, "unknown", "Compared with other rankings only."),
        (0.9, {}, "unknown", "No baseline to compare with."),
    ],
)
def test_the_outcome_follows_the_unranked_baselines(ranked, baselines, outcome, words):
    verdict = judge(pair(ranked, **baselines), CLASSES)
    assert verdict.outcome == outcome
    assert words in verdict.headline


def test_another_ranking_is_named_in_the_numbers():
    assert "entropy .70" in judge(pair(0.5, entropy=0.7, random=0.3), CLASSES).sentence


def test_without_a_baseline_only_the_rise_is_told():
    sentence = judge(pair(0.9), CLASSES).sentence
    assert "from mean F1 .20 with 10 images to .90 with 20" in sentence


def test_the_full_set_is_no_baseline(loop):
    verdict = judge([*loop[:3], full_set()], CLASSES)
    assert verdict.outcome == "unknown"
    assert "Trained on all 200 images (600 steps)" in verdict.details[0]


def test_a_baseline_that_stopped_early_is_compared_where_both_were_measured(loop):
    early = [p for p in loop if p.series == "" or p.iteration < 2]

    verdict = judge(early, CLASSES)
    assert verdict.sentence.startswith(
        "With 20 labelled images the ranked loop reaches mean F1 .54"
    )


def test_one_missing_baseline_is_named(loop):
    verdict = judge(loop[:-1], CLASSES)
    assert verdict.sentence.endswith("Random was not measured with 30 images.")


def test_the_initial_images_alone_are_no_comparison(loop):
    assert judge(loop[:1], CLASSES).headline == "Only the initial images so far."


def test_without_a_detector_the_rare_boxes_are_compared():
    loop = [
        point("", "diverse", 0, None, counted(5, 2, 0)),
        point("", "diverse", 1, None, counted(9, 4, 3)),
        point("random", "random", 1, None, counted(9, 4, 1)),
    ]
    verdict = judge(loop, CLASSES)
    assert verdict.headline == "No detector was evaluated."
    assert verdict.details == (
        "Boxes of the rarest class, stain, within 20 images: diverse 3, random 1.",
    )


def test_more_boxes_for_the_same_images_are_admitted(loop):
    details = " ".join(judge(loop, CLASSES).details)
    assert "its images hold 230 boxes, sequential's 184" in details
    # Between 151 boxes (.54) and 230 boxes (.68): .54 + 33 / 79 * .14
    assert "With 184 boxes it stands at about .60" in details


def test_fewer_boxes_for_the_same_images_are_named_too():
    loop = pair(0.3, random=0.5)
    loop[2] = dataclasses.replace(loop[2], boxes=90)
    assert "its images hold 57 boxes, random's 90" in " ".join(judge(loop, CLASSES).details)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.684, ".68"), (1.0, "1.00"), (0.0, ".00"), (None, "-"), (float("nan"), "-")],
)
def test_numbers_are_short(value, text):
    assert short(value) == text
