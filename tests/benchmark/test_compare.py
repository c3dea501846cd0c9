"""A whole benchmark on tiny images: it is the package's own loop, it can be stopped, it adds up."""

import json
from pathlib import Path

import pytest

from unseen.benchmark import run_benchmark
from unseen.cli import main
from unseen.errors import BenchmarkError, ConfigError


def records(output: Path) -> dict[str, dict]:
    paths = sorted((output / "runs").glob("*.json"))
    return {f"{r['strategy']} {r['seed']}": r for r in (json.loads(p.read_text()) for p in paths)}


def without_times(value):
    if isinstance(value, dict):
        times = ("seconds", "machine", "command")
        return {k: without_times(v) for k, v in value.items() if k not in times}
    return [without_times(v) for v in value] if isinstance(value, list) else value


@pytest.mark.fiftyone
def test_batches_are_those_that_the_steps_choose_on_a_dataset(coco_folder, tmp_path, small):
    import fiftyone as fo

    import unseen
    from unseen.dataset.coco_folder import import_coco_folder

    folder, output = coco_folder(), tmp_path / "out"
    strategies = ("mixed", "diverse", "balanced", "sequential")
    run_benchmark(str(folder), strategies=strategies, output=str(output), **small)
    name = import_coco_folder(folder, "benchmark-same").dataset
    same = {key: small[key] for key in ("initial", "budget", "iterations", "unet_steps")}
    place = {"seed": 0, "model_dir": str(tmp_path / "models")}
    unseen.simulate(name, strategies=strategies, detector=False, **same, **place)
    dataset = fo.load_dataset(name)
    paths = sorted(dataset.match_tags("test", bool=False).values("filepath"))
    for strategy in strategies:
        record = records(output)[f"{strategy} 0"]
        for number in (1, 2):
            prefix = "" if strategy == strategies[0] else f"{strategy}_"
            view = dataset.load_saved_view(f"{prefix}batch_{number:02d}")
            chosen = [paths.index(path) for path in view.values("filepath")]
            assert record["iterations"][number]["batch"] == chosen, (strategy, number)


def test_a_repeated_call_does_only_what_is_missing(coco_folder, tmp_path, small):
    folder, output = str(coco_folder()), tmp_path / "out"
    run_benchmark(folder, strategies=("plain", "random"), output=str(output), **small)
    before = {p: p.stat().st_mtime_ns for p in (output / "runs").iterdir()}
    assert len(before) == 2
    done = []
    result = run_benchmark(
        folder,
        strategies=("plain", "random", "entropy"),
        output=str(output),
        progress=lambda n, total, label="": done.append((n, total)),
        **small,
    )
    assert (done[0], done[-1], result.runs) == ((2, 3), (3, 3), 3)
    assert {p: p.stat().st_mtime_ns for p in before} == before
    # The runs of earlier calls are in every later report.
    again = run_benchmark(folder, strategies=("random",), output=str(output), **small)
    assert again.runs == 3
    assert "entropy" in Path(again.report).read_text()
    # The UNet of the initial images serves both; each has one of its own later.
    assert len(list((output / "cache").rglob("*.npz"))) == 3


def test_runs_add_up_and_processes_and_a_cluster_find_what_one_finds(coco_folder, tmp_path, small):
    ray = pytest.importorskip("ray")
    folder = str(coco_folder())
    strategies = ("mixed:statistics", "ensemble", "paper_bce", "random")
    settings = {**small, "strategies": strategies, "members": 2, "iterations": 1}
    for name, more in {"one": {}, "two": {"jobs": 2}, "ray": {"engine": "ray"}}.items():
        run_benchmark(folder, output=str(tmp_path / name), **more, **settings)
    ray.shutdown()
    one = records(tmp_path / "one")
    for name in ("two", "ray"):
        assert without_times(records(tmp_path / name)) == without_times(one)
    assert len(one) == 4
    for record in one.values():
        labelled = [index for index, _ in record["labelled"]]
        assert len(labelled) == len(set(labelled)) == 10
        batches = [entry["batch"] for entry in record["iterations"]]
        assert labelled == [*range(6), *(i for batch in batches for i in batch)]
        assert [entry["images"] for entry in record["iterations"]] == [6, 10]
        counts = {n: sum(c.get(n, 0) for _, c in record["labelled"]) for n in record["classes"]}
        assert all(counts[n] <= record["pool"]["boxes"][n] for n in counts)
    first = one["mixed:statistics 0"]["iterations"][0]
    assert sum(first["criteria"].values()) == 4
    assert 0 <= first["score"]["pixel_auroc"] <= 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("schedule", "few", "full"),
    [
        ("epochs", [f"2 epochs ({n} steps)" for n in (3, 5, 7)], "2 epochs (15 steps)"),
        ("steps", ["7 steps"] * 3, "7 steps"),
    ],
)
def test_detectors_are_measured_by_epochs_or_by_steps(
    coco_folder, tmp_path, small, schedule, few, full
):
    output = tmp_path / "out"
    settings = {**small, "detector": "each", "schedule": schedule, "epochs": 2}
    strategies = ("sequential", "full")
    run_benchmark(str(coco_folder()), strategies=strategies, output=str(output), **settings)
    first, last = (records(output)[f"{name} 0"]["iterations"] for name in strategies)
    for entry, expected in zip([*first, *last], [*few, full], strict=True):
        assert entry["detector"]["schedule"].startswith(expected)
        assert [row["support"] for row in entry["detector"]["per_class"].values()] == [12, 2]
    assert [entry["images"] for entry in last] == [30]


def test_a_run_that_cannot_be_done_does_not_stop_the_others(coco_folder, tmp_path, small):
    folder = coco_folder()
    # Each seed's pool begins elsewhere; without a box in its first images nothing can be learned.
    labels = folder / "train" / "labels.json"
    document = json.loads(labels.read_text())
    late = [a for a in document["annotations"] if a["image_id"] > 12]
    labels.write_text(json.dumps({**document, "annotations": late}))
    settings = {**small, "pool": 20, "seeds": tuple(range(8)), "initial": 4}
    result = run_benchmark(
        str(folder), strategies=("random",), output=str(tmp_path / "out"), **settings
    )
    assert 0 < result.runs < 8
    assert len(result.failed) == 8 - result.runs
    assert all("none of the 4 initial images" in reason for reason in result.failed.values())
    assert "not done: parts, random, seed" in result.summary()


def test_a_benchmark_without_any_run_is_an_error(coco_folder, tmp_path, small):
    settings = {**small, "initial": 200, "strategies": ("random",)}
    with pytest.raises(BenchmarkError, match=r"parts, random, seed 0.*30 images to choose from"):
        run_benchmark(str(coco_folder()), output=str(tmp_path / "out"), **settings)


def test_a_folder_holds_one_benchmark(coco_folder, tmp_path, small):
    folder, output = str(coco_folder()), tmp_path / "out"
    settings = {**small, "strategies": ("random",), "output": str(output)}
    run_benchmark(folder, **settings)
    with pytest.raises(ConfigError, match="budget: 4, now 5"):
        run_benchmark(folder, **{**settings, "budget": 5})
    other = tmp_path / "holiday"
    other.mkdir()
    (other / "photo.txt").write_text("sea")
    with pytest.raises(ConfigError, match="other things than a benchmark"):
        run_benchmark(folder, **{**settings, "output": str(other)})
    assert [p.name for p in other.iterdir()] == ["photo.txt"]


def test_the_command_line_prints_one_json_line(coco_folder, tmp_path, capsys):
    output = tmp_path / "out"
    options = ["--strategies", "sequential,random", "--seeds", "0,1", "--detector", "never"]
    options += ["--initial", "6", "--budget", "4", "--output", str(output)]
    assert main(["benchmark", str(coco_folder()), *options]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    printed = json.loads(line)
    assert printed["runs"] == 4
    assert json.loads(Path(printed["figures"]).read_text())
    command = records(output)["random 1"]["command"]
    assert command.startswith("unseen benchmark")
    assert "--seeds 0,1" in command


@pytest.mark.parametrize(
    ("strategies", "words"),
    [("full", ["compares nothing; name at least one"]), ("best", ["'best'", "mixed"])],
)
def test_strategies_that_cannot_be_compared_are_refused(coco_folder, capsys, strategies, words):
    assert main(["benchmark", str(coco_folder()), "--strategies", strategies]) == 2
    error = capsys.readouterr().err
    assert all(word in error for word in words)
