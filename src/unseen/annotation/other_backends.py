"""Labelling in other tools that FiftyOne talks to: Label Studio, Labelbox, a backend of the user's.

FiftyOne does the work; this module avoids traps of its version 1.22. It registers a run before it
connects, so that a failure leaves a run that can neither be repeated nor loaded; it asks for
missing credentials on the terminal; a load that fails half-way leaves half of the labels.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import fiftyone as fo
import fiftyone.utils.annotations as foua
from bson import ObjectId
from pymongo import UpdateOne

from unseen.dataset import reading
from unseen.errors import AnnotationError, ServerError, UnseenError

logger = logging.getLogger(__name__)

#: What the configs of FiftyOne's backends call their credentials.
_CREDENTIALS = ("url", "username", "password", "api_key")
#: FiftyOne's default address of Label Studio is its product page, not a server.
_NOT_A_SERVER = ("https://labelstud.io",)
#: Backends that take no field with labels: they get a new one, which is loaded into the real one.
_NEW_FIELDS_ONLY = ("labelbox",)
#: Packages that the built-in backends import when they connect.
_PACKAGES = {"labelstudio": "label-studio-sdk lxml", "labelbox": "labelbox"}


def send(
    view: Any,
    anno_key: str,
    backend: str,
    label_field: str,
    classes: Sequence[str],
    settings: Mapping[str, Any],
) -> None:
    """Send the samples of a view, with the boxes that they hold, to an annotation backend.

    What else the view does (hiding labels or fields) is ignored. `settings` are the backend's
    parameters, such as `url`, `api_key` or `project_name`; the rest comes from FiftyOne's annotation
    config and the variables FIFTYONE_<BACKEND>_*. Labelbox takes no existing boxes.

    Raises AnnotationError if the backend or the key is unusable, the view is empty or credentials
    are missing, and ServerError if the server fails; then there is no run.
    """
    dataset = reading.dataset_of(view)
    reading.check_label_field(dataset, label_field, must_exist=False)
    ids = view.values("id")
    if not ids:
        raise AnnotationError("the view is empty; choose samples to annotate")
    if not anno_key.isidentifier() or dataset.has_annotation_run(anno_key):
        raise AnnotationError(
            f"annotation run {anno_key!r} exists or is no valid key; expected a new name of letters, "
            f"digits and underscores. Existing: {', '.join(dataset.list_annotation_runs()) or 'none'}"
        )
    check(backend, settings)
    field = f"{label_field}__{anno_key}" if backend in _NEW_FIELDS_ONLY else label_field
    try:
        with _server_errors(backend, "sending", "Look there for a project that was left over"):
            dataset.select(ids, ordered=True).annotate(
                anno_key,
                backend=backend,
                label_field=field,
                label_type="detections",
                classes=list(classes),
                attributes=False,
                launch_editor=False,
                **settings,
            )
    except BaseException:
        if dataset.has_annotation_run(anno_key):
            dataset.delete_annotation_run(anno_key)
        raise


def load(dataset: Any, anno_key: str, settings: Mapping[str, Any] | None = None) -> None:
    """Merge the annotators' boxes into the labels: all of them, or none if that fails.

    FiftyOne cannot tell which images are finished. Label Studio's answer omits images on which
    nothing was drawn, so they stay unlabelled; boxes that are gone on the server are deleted.
    `settings` are credentials; the rest is looked up as in `send`.

    Raises AnnotationError if the run does not exist or was never finished or credentials are
    missing, and ServerError if the server fails or its answer cannot be read.
    """
    known = dataset.list_annotation_runs()
    if anno_key not in known:
        raise AnnotationError(
            f"annotation run {anno_key!r} does not exist; there are: {', '.join(known) or 'none'}"
        )
    config = dataset.get_annotation_info(anno_key).config
    backend = config.name
    known_names = [name for name in _CREDENTIALS if hasattr(config, name)]
    credentials = {k: v for k, v in (settings or {}).items() if k in known_names}
    if getattr(config, "url", None):
        # Otherwise FiftyOne would use the configured server instead of that of the run.
        credentials.setdefault("url", config.url)
    with _server_errors(backend, "loading", "Nothing was changed"):
        config.load_credentials(**credentials)
        _need_credentials(backend, config)
        results = dataset.load_annotation_results(anno_key, cache=False, **credentials)
        if results is None:
            raise AnnotationError(
                f"annotation run {anno_key!r} was never sent completely; remove it with "
                f"dataset.delete_annotation_run({anno_key!r}) and send again"
            )
        results.backend.connect_to_api()
        targets = {field: field.removesuffix(f"__{anno_key}") for field in config.label_schema}
        ids = dataset.load_annotation_view(anno_key).values("id")
        with _all_or_nothing(dataset, ids, list(targets.values())):
            dataset.load_annotations(
                anno_key,
                dest_field=targets,
                unexpected="ignore",  # the default asks on the terminal
                cleanup=False,
                progress=False,
                **credentials,
            )


def check(backend: str, settings: Mapping[str, Any]) -> None:
    """Connect to the server of a backend, to fail before anything is sent.

    Raises AnnotationError for an unknown backend, missing credentials or a missing package, and
    ServerError if the server cannot be reached or refuses.
    """
    known = sorted(fo.annotation_config.backends)
    if backend not in known:
        raise AnnotationError(
            f"unknown annotation backend {backend!r}; expected {', '.join(known)}"
        )
    with _server_errors(backend, "connecting", "Nothing was sent"):
        config = foua._parse_config(backend, None, **settings)
        _need_credentials(backend, config)
        config.build().connect_to_api()


def _need_credentials(backend: str, config: Any) -> None:
    """Raise where FiftyOne would ask on the terminal."""
    missing = [
        name
        for name in _CREDENTIALS
        if hasattr(config, name) and getattr(config, name) in (None, "", *_NOT_A_SERVER)
    ]
    if missing:
        variables = " and ".join(f"FIFTYONE_{backend.upper()}_{n.upper()}" for n in missing)
        raise AnnotationError(
            f"{backend} needs {' and '.join(missing)}; set {variables} before FiftyOne is imported, "
            "or enter them in FiftyOne's annotation config"
        )


@contextmanager
def _server_errors(backend: str, doing: str, aftermath: str) -> Iterator[None]:
    """Turn whatever the vendors' libraries raise into one of our errors."""
    try:
        yield
    except UnseenError:
        raise
    except ImportError as error:
        packages = _PACKAGES.get(backend, "the package it names")
        raise AnnotationError(
            f"{doing} with {backend} needs another package ({_brief(error)}); "
            f"pip install {packages}"
        ) from error
    except Exception as error:  # each vendor has its own errors
        raise ServerError(
            f"{doing} with {backend} failed ({type(error).__name__}: {_brief(error)}). {aftermath}; "
            "check the address, the credentials and the server's own log, then try again"
        ) from error


def _brief(error: BaseException) -> str:
    """The beginning of a message, which may hold a whole request."""
    return " ".join(str(error).split())[:300]


@contextmanager
def _all_or_nothing(dataset: Any, ids: Sequence[str], fields: Sequence[str]) -> Iterator[None]:
    """Restore the labels if the block fails."""
    query = {"_id": {"$in": [ObjectId(i) for i in ids]}}
    before = list(dataset._sample_collection.find(query, dict.fromkeys(fields, 1)))
    try:
        yield
    except BaseException:
        restored = [
            UpdateOne({"_id": row["_id"]}, {"$set": {name: row.get(name) for name in fields}})
            for row in before
        ]
        dataset._bulk_write(restored, ids=list(ids))
        logger.warning("the labels of %d samples were restored", len(restored))
        raise
