"""A dataset that unseen 0.1.0 wrote: it says what it said then, and the loop goes on with it.

`data/former_dataset.zip` was made with that version: FiftyOne's export
of sixteen images with two loops, and `expected.json` with what that version answered. A name that
is stored differently today needs a migration; the zip is never made anew to please a test.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

import unseen
from unseen import overview
from unseen.dataset.fields import Names
from unseen.dataset.loop import Loop

pytestmark = pytest.mark.fiftyone

ZIP = Path(__file__).parent / "data" / "former_dataset.zip"
QUICK_UNET = {"steps": 3, "batch_size": 2, "crop_size": 64, "channels": (4, 8), "device": "cpu"}
LOOPS = ("", "sequential")


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    """The folder of the zip, and what the former version answered."""
    folder = tmp_path_factory.mktemp("former")
    with zipfile.ZipFile(ZIP) as file:
        file.extractall(folder)
    return folder, json.loads((folder / "expected.json").read_text())


@pytest.fixture(scope="module")
def expected(unpacked):
    return unpacked[1]


@pytest.fixture(scope="module")
def untouched(unpacked, fiftyone_database):
    """The imported dataset, for tests that only read."""
    dataset = import_dataset(unpacked[0])
    yield dataset
    dataset.delete()


@pytest.fixture
def former(unpacked, fiftyone_database):
    """The imported dataset, for tests that change it."""
    dataset = import_dataset(unpacked[0])
    yield dataset
    dataset.delete()


def import_dataset(folder):
    import fiftyone as fo

    return fo.Dataset.from_dir(
        str(folder / "dataset"), dataset_type=fo.types.FiftyOneDataset, progress=False
    )


@pytest.fixture
def checkpoint(unpacked, expected):
    """The newest UNet of the main loop: the records name a file that is not there."""
    return str(unpacked[0] / expected["checkpoints"]["unet"])


# --- asking --------------------------------------------------------------------------------------
def names_of(expected, series):
    return Names(series=series, label_field=expected["loops"][series]["label_field"])


def file_names(dataset):
    return {i: Path(p).name for i, p in zip(*dataset.values(["id", "filepath"]), strict=True)}


def plain(value):
    """JSON data with numbers to seven digits, to compare what was computed on another machine."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return float(f"{value:.7g}") if isinstance(value, float) else value


def those_of(found, wanted):
    """The attributes (or keys) of `found` that `wanted` names."""
    values = found if isinstance(found, dict) else {k: getattr(found, k) for k in wanted}
    return plain({k: values[k] for k in wanted})


def where(dataset, names=None):
    """Everything that tells how far the loop is; a step that did nothing leaves it as it was."""
    overview.forget()
    now = overview.now(dataset, names).to_dict()
    if now["batch"]:
        now["batch"].pop("age_days")
    return now


# --- reading -------------------------------------------------------------------------------------
@pytest.mark.parametrize("series", LOOPS)
def test_the_loop_stands_where_it_stood(untouched, expected, series):
    wanted, names = expected["loops"][series], names_of(expected, series)
    now = overview.now(untouched, names)
    assert now.iteration == wanted["now"]["iteration"]
    assert those_of(now.counts, wanted["now"]["counts"]) == wanted["now"]["counts"]
    assert those_of(now.batch, wanted["now"]["batch"]) == wanted["now"]["batch"]
    assert now.next_action.operator == wanted["now"]["next_action"]
    assert now.next_action.params == wanted["now"]["next_params"]
    assert now.series == wanted["now"]["series"]
    files = file_names(untouched)
    for group in ("labelled", "pool"):
        found = getattr(Loop(untouched, names), group).values("id")
        assert sorted(files[i] for i in found) == wanted[group]


def test_the_loop_is_found_without_saying_which(untouched, expected):
    now = overview.now(untouched.name)
    assert now.next_action.operator == expected["loops"][""]["now"]["next_action"]


@pytest.mark.parametrize("series", LOOPS)
def test_batches_have_their_images_in_their_order(untouched, expected, series):
    wanted, names = expected["loops"][series]["batches"], names_of(expected, series)
    files = file_names(untouched)
    assert Loop(untouched, names).batches() == {b["number"]: tag for tag, b in wanted.items()}
    records = Loop(untouched, names).records()
    for tag, batch in wanted.items():
        ids = untouched.load_saved_view(tag).values("id")
        assert [files[i] for i in ids] == batch["files"]
        view = untouched.select(ids, ordered=True)
        assert view.values(names.rank) == list(range(1, len(ids) + 1))
        assert all(tag in tags for tags in view.values("tags"))
        entry = records[batch["number"] - 1]["steps"]["select_batch"]
        assert entry["batch_ids"] == ids
        assert entry["parameters"]["strategy"] == batch["strategy"]
        assert {files[i]: s for i, s in entry.get("sources", {}).items()} == batch["sources"]


@pytest.mark.parametrize("series", LOOPS)
def test_the_ranking_and_its_control_are_as_they_were(untouched, expected, series):
    wanted, names = expected["loops"][series], names_of(expected, series)
    ranking = overview.ranking(untouched, names)
    for fact in ("metric", "field", "scored"):
        assert getattr(ranking, fact) == wanted["ranking"][fact]
    rows = wanted["ranking"]["rows"]
    assert [those_of(r, w) for r, w in zip(ranking.rows, rows, strict=True)] == plain(rows)
    assert ranking.trust.verdict == wanted["ranking"]["verdict"]
    novelty = ranking.novelty.to_dict() if ranking.novelty else None
    assert plain(novelty) == plain(wanted["ranking"]["novelty"])
    control = overview.control(untouched, names)
    if wanted["control"] is None:
        assert control is None
    else:
        assert those_of(control.to_dict(), wanted["control"]) == plain(wanted["control"])


@pytest.mark.parametrize("series", LOOPS)
def test_the_learning_curves_are_as_they_were(untouched, expected, series):
    wanted, names = expected["loops"][series], names_of(expected, series)
    progress = overview.progress(untouched, names)
    about = {k: v for k, v in wanted["progress"].items() if k != "curves"}
    assert those_of(progress, about) == plain(about)
    for curve, as_it_was in zip(progress.curves, wanted["progress"]["curves"], strict=True):
        said = ("series", "strategy", "label", "is_main")
        assert those_of(curve, said) == those_of(as_it_was, said)
        for point, point_was in zip(curve.points, as_it_was["points"], strict=True):
            numbers = {k: v for k, v in point_was.items() if k not in ("per_class", "gain")}
            assert those_of(point, numbers) == plain(numbers)
            cells = {k: those_of(point.per_class[k], w) for k, w in point_was["per_class"].items()}
            assert cells == plain(point_was["per_class"])
            if point_was["gain"] is None:
                assert point.gain is None
            else:
                assert those_of(point.gain, point_was["gain"]) == plain(point_was["gain"])
    advice = overview.stopping(
        progress, overview.ranking(untouched, names), overview.now(untouched, names)
    )
    assert those_of(advice, wanted["stopping"]) == wanted["stopping"]


def test_iterations_of_both_loops_are_compared(untouched, expected, tmp_path):
    result = unseen.compare_iterations(untouched, output=str(tmp_path / "report"))
    rows = expected["comparison"]
    assert [those_of(i, w) for i, w in zip(result.iterations, rows, strict=True)] == plain(rows)
    assert Path(result.report).is_file()
    assert len(result.pictures) > 1  # heatmaps and regions can be drawn


def test_every_name_is_where_it_was(expected):
    names = Names()
    metrics = [names.metric(m) for m in ("excess", "alpha", "threshold", "region_strength")]
    score = [names.heatmap, names.regions, names.entropy, names.foreground, names.embedding]
    batch = [names.rank, names.chosen_by, names.model, names.expected_counts, names.auto_labels]
    image = [names.structure, names.scope, names.similar, names.excluded_reason]
    person = [names.annotation, names.annotation_url, names.annotation_base]
    detector = [names.predictions(i) for i in range(3)]
    stored = expected["stored"]
    for field in (*metrics, *score, *batch, *image, *person, *detector):
        assert field in stored["fields"]
    assert {names.top_regions, names.similar_regions} < set(stored["saved_views"])
    assert {names.similarity_run, names.visualization_run} == set(stored["brain_runs"])
    assert {names.eval_key(i) for i in range(3)} < set(stored["evaluations"])
    runs = [names.setup_key, names.structure_key, names.snapshot_key(1)]
    runs += [names.run_key(i) for i in range(3)]
    runs += [names.sending_key(k) for k in (names.anno_key(2), names.own_anno_key("test"))]
    assert set(runs) < set(stored["runs"])


def test_every_stored_name_is_known(untouched, expected):
    wanted = expected["stored"]
    schema = {k: type(v).__name__ for k, v in untouched.get_field_schema().items()}
    assert schema == wanted["fields"]
    assert {v: len(untouched.load_saved_view(v)) for v in untouched.list_saved_views()} == (
        wanted["saved_views"]
    )
    assert sorted(untouched.list_runs()) == sorted(wanted["runs"])
    for key in untouched.list_evaluations():
        assert untouched.load_evaluation_view(key).count() > 0
    assert sorted(untouched.list_evaluations()) == wanted["evaluations"]
    assert sorted(untouched.list_annotation_runs()) == wanted["annotation_runs"]
    for key in wanted["brain_runs"]:
        assert untouched.load_brain_results(key) is not None
    # Cleaning up finds all of it; what it does not know would stay for ever.
    found = unseen.clean_dataset(untouched, dry_run=True)
    own = ("unseen_", "predictions_", "sequential_", "iter_")
    assert {f for f in wanted["fields"] if f.startswith(own)} <= set(found.fields) | {
        f for f in wanted["fields"] if f.split("iter_")[0] in ("", "sequential_")
    }
    assert set(found.views) == set(wanted["saved_views"])
    runs = {*wanted["runs"], *wanted["annotation_runs"], *wanted["brain_runs"]}
    assert set(found.runs) == runs
    assert set(found.evaluations) == set(wanted["evaluations"])


# --- going on ------------------------------------------------------------------------------------
def test_no_step_is_done_twice(former, expected, checkpoint):
    wanted, before = expected["next"], where(former)
    parameters = expected["checkpoints"]["score_parameters"]
    scored = unseen.score_samples(former, checkpoint=checkpoint, **parameters)
    assert those_of(scored, wanted["score_samples"]) == wanted["score_samples"]
    assert scored.scored == 0
    again = unseen.request_annotations(
        former, backend="app", iteration=2, regions_only=True, regions_per_image=3
    )
    assert again.sent == 0
    loaded = unseen.load_annotations(former, anno_key="unseen_batch_02")
    assert (loaded.written, loaded.added, loaded.snapshots) == (0, {}, [])
    turn = unseen.next_iteration(former)
    assert turn.steps == {}
    assert "batch_03" in turn.waits_for
    listed = unseen.list_annotations(former).batches
    assert {b.anno_key: {"backend": b.backend, "images": b.images} for b in listed} == (
        wanted["list_annotations"]
    )
    assert where(former) == before


def test_the_open_batch_is_guarded(former):
    with pytest.raises(unseen.UnseenError, match="batch_03 is still out"):
        unseen.select_batch(former, budget=2)


def test_the_open_batch_is_chosen_anew_from_the_stored_scores(former, expected):
    files = file_names(former)
    for strategy, wanted in expected["next"]["select_batch"].items():
        chosen = unseen.select_batch(former, budget=2, strategy=strategy, seed=5, replace=True)
        assert (chosen.iteration, chosen.batch) == (3, "batch_03")
        assert chosen.unscored == 0
        pool = set(expected["loops"][""]["pool"])
        if strategy == "mixed":  # its features come from a network
            assert {files[i] for i in chosen.sample_ids} <= pool
            assert len(set(chosen.sample_ids)) == 2
        else:
            assert [files[i] for i in chosen.sample_ids] == wanted, strategy
        assert former.load_saved_view("batch_03").values("id") == chosen.sample_ids
        assert set(former.match_tags("batch_03").values("id")) == set(chosen.sample_ids)


@pytest.mark.parametrize("series", LOOPS)
def test_a_load_of_then_can_be_undone_now(former, expected, series):
    wanted, names = expected["next"]["undo_annotations"][series], names_of(expected, series)
    counts = expected["loops"][series]["now"]["counts"]
    undone = unseen.undo_annotations(former, series=series, label_field=names.label_field)
    assert those_of(undone, wanted) == wanted
    overview.forget()
    after = overview.now(former, names).counts
    assert after.labelled < counts["labelled"]
    assert after.boxes == counts["boxes"] - wanted["boxes_before"] + wanted["boxes_after"]


def test_the_loop_goes_on_to_the_next_batch(former):
    revealed = unseen.reveal_labels(former)
    assert (revealed.iteration, revealed.images) == (3, 2)
    overview.forget()
    assert overview.now(former).next_action.operator == "train_unet"
    trained = unseen.train_unet(former, **QUICK_UNET)
    assert (trained.iteration, trained.images) == (3, 10)
    assert trained.partly_labelled == 3  # of batch_02, by the scope that was asked for
    scored = unseen.score_samples(former, embeddings=False, device="cpu")
    assert (scored.scored, scored.already_scored) == (2, 0)
    chosen = unseen.select_batch(former, budget=1, strategy="plain")
    assert (chosen.batch, chosen.iteration) == ("batch_04", 4)
    overview.forget()
    now = overview.now(former)
    assert (now.iteration, now.batch.name) == (3, "batch_04")


def test_cleaning_up_leaves_images_and_labels_only(former):
    before = former.count("ground_truth.detections"), len(former)
    unseen.clean_dataset(former)
    former.reload()
    standard = {"id", "filepath", "tags", "metadata", "created_at", "last_modified_at"}
    assert set(former.get_field_schema()) == {*standard, "ground_truth", "hidden_truth"}
    assert former.list_runs() == former.list_evaluations() == former.list_brain_runs() == []
    assert former.list_saved_views() == former.list_annotation_runs() == []
    assert former.distinct("tags") == []
    assert (former.count("ground_truth.detections"), len(former)) == before
