"""FiftyOne's custom runs without its documents: where thousands of histories need records.

FiftyOne reads and writes a run in 20 to 60 ms, most of it for conversions. Here a run is the document
that FiftyOne stores, read and written as it is; the results of runs are kept in memory.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import fiftyone as fo
import fiftyone.core.odm as foo
import pytest


class PlainRuns:
    """Stands for the methods of `fo.Dataset` that deal with custom runs."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.results: dict[str, Any] = {}
        self._runs = foo.get_db_conn().runs
        methods = ("has_run", "list_runs", "register_run", "update_run_config", "delete_run")
        methods += ("get_run_info", "init_run_results", "save_run_results", "load_run_results")
        for name in methods:
            monkeypatch.setattr(fo.Dataset, name, self._method(name))
        monkeypatch.setattr(fo.Dataset, "_reload", lambda dataset, hard=False: None)
        # The dataset names no such run, which would make each of them one of a killed process.
        monkeypatch.setattr("unseen.steps.step.delete_unnamed_runs", lambda dataset: None)

    def _method(self, name: str) -> Any:
        # A function and not a bound method, so that the dataset is the first argument.
        return lambda dataset, *args, **more: getattr(self, name)(dataset, *args, **more)

    def _mine(self, dataset: fo.Dataset, **more: str) -> dict:
        return {"_dataset_id": dataset._doc.id, "config.type": "run", **more}

    def has_run(self, dataset: fo.Dataset, key: str) -> bool:
        return self._runs.find_one(self._mine(dataset, key=key), {"_id": 1}) is not None

    def list_runs(self, dataset: fo.Dataset) -> list[str]:
        return [run["key"] for run in self._runs.find(self._mine(dataset), {"key": 1})]

    def register_run(self, dataset: fo.Dataset, key: str, config: Any) -> None:
        document = {"_dataset_id": dataset._doc.id, "key": key, "config": config.serialize()}
        self._runs.insert_one(document)

    def update_run_config(self, dataset: fo.Dataset, key: str, config: Any) -> None:
        self._runs.update_one(
            self._mine(dataset, key=key), {"$set": {"config": config.serialize()}}
        )

    def delete_run(self, dataset: fo.Dataset, key: str) -> None:
        self._runs.delete_one(self._mine(dataset, key=key))

    def get_run_info(self, dataset: fo.Dataset, key: str) -> Any:
        config = self._runs.find_one(self._mine(dataset, key=key))["config"]
        return SimpleNamespace(config=SimpleNamespace(serialize=lambda: config))

    def init_run_results(self, dataset: fo.Dataset, key: str, **values: Any) -> Any:
        return SimpleNamespace(**values)

    def save_run_results(self, dataset: fo.Dataset, key: str, results: Any, **_: Any) -> None:
        self.results[key] = results

    def load_run_results(self, dataset: fo.Dataset, key: str, **_: Any) -> Any:
        return self.results[key]
