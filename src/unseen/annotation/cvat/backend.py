"""How FiftyOne's `annotate` is made to use the careful client."""

from __future__ import annotations

import inspect
from typing import Any

from fiftyone.utils import cvat as focvat

from unseen.annotation.cvat.api import Api
from unseen.annotation.cvat.credentials import find

#: What FiftyOne's own config knows, secrets included, which it does not store.
_KNOWN = frozenset(inspect.signature(focvat.CVATBackendConfig.__init__).parameters)


class BackendConfig(focvat.CVATBackendConfig):  # type: ignore[misc]  # FiftyOne is untyped
    """FiftyOne's config without the parameters that must not be stored with a run."""

    def __init__(self, name: str, label_schema: Any, **kwargs: Any) -> None:
        # Every FIFTYONE_CVAT_* variable comes in here, tokens too, and FiftyOne (1.22) stores what
        # it does not know.
        super().__init__(name, label_schema, **{k: v for k, v in kwargs.items() if k in _KNOWN})

    @property
    def cls(self) -> str:
        """The name that is stored: FiftyOne's own, so that it reads the run without this package."""
        return "fiftyone.utils.cvat.CVATBackendConfig"

    @property
    def run_cls(self) -> type:
        """The backend that belongs to this config."""
        return Backend


class Backend(focvat.CVATBackend):  # type: ignore[misc]  # FiftyOne is untyped
    """Registers a run without tasks; `sending` adds them one after the other."""

    def _connect_to_api(self) -> Api:
        return Api(find(self.config.url), self.config.organization)

    def upload_annotations(
        self, samples: Any, anno_key: str, launch_editor: bool = False
    ) -> focvat.CVATAnnotationResults:
        """An annotation run that holds no task yet."""
        fields = list(self.config.label_schema)
        return focvat.CVATAnnotationResults(
            samples,
            self.config,
            anno_key,
            id_map={name: {} for name in fields},
            server_id_map={"tags": {}, "shapes": {}, "tracks": {}},
            project_ids=[],
            task_ids=[],
            job_ids={},
            frame_id_map={},
            labels_task_map={name: [] for name in fields},
            backend=self,
        )
