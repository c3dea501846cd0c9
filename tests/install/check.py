"""Runs in an environment that a test made: the plugin loads, and an operator and commands work."""

import sys
import tempfile
from pathlib import Path

import fiftyone as fo
import fiftyone.operators as foo
import fiftyone.plugins as fop
from fiftyone.operators.registry import OperatorRegistry

registry = OperatorRegistry()
assert registry.list_errors() == [], registry.list_errors()[0]
(plugin,) = (p for p in fop.list_plugins(builtin=False) if p.name == "@unseen/curation")
loaded = {o.name for o in registry.list_operators(builtin=False) if o.plugin_name == plugin.name}
assert loaded == set(plugin.operators), loaded.symmetric_difference(plugin.operators)
assert Path(plugin.directory, "plugin/assets/train_unet.svg").is_file()
assert {s.plugin_name for s in fop.skills.list_skills()} == {plugin.name}
place = Path(plugin.directory)
there = {path.name for path in place.iterdir()}
assert place.is_symlink() or not there & {"tests", "benchmarks", "docs", ".ci"}, there

import unseen  # noqa: E402 - only the plugin may have made it importable

assert Path(unseen.__file__).is_relative_to(sys.argv[1]), unseen.__file__

from unseen import cli  # noqa: E402

with tempfile.TemporaryDirectory() as folder:
    for arguments in (
        ["synthesize", f"{folder}/images", "--train", "8", "--test", "4", "--size", "128"],
        ["import-coco", f"{folder}/images", "--name", "wafers"],
        ["split-dataset", "wafers", "--initial", "6"],
        ["reveal-labels", "wafers", "--iteration", "0"],
        ["train-unet", "wafers", "--steps", "2"],
        ["train-detector", "wafers", "--steps", "2"],
    ):
        assert cli.main([*arguments]) == 0, arguments
    foo.execute_operator(
        f"{plugin.name}/apply_detector", {"dataset": fo.load_dataset("wafers")}, params={}
    )
    fo.delete_dataset("wafers")
print("checked", fo.__version__)
