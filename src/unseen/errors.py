"""Every error that this package raises on purpose.

A message names the value, what was expected, and the way out.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator


class UnseenError(Exception):
    """Base of all errors that a user can do something about."""


class ConfigError(UnseenError, ValueError):
    """A parameter is out of its range or names something that does not exist."""


class DatasetError(UnseenError):
    """The dataset, the view or a field is not what the step needs."""


class DatabaseError(UnseenError):
    """FiftyOne's database server cannot be reached or failed."""


class LockedError(DatasetError):
    """Another run is working on the same dataset."""


class LabelError(UnseenError):
    """The labels cannot be learned from: there are none, or their class names are reserved."""


class BudgetError(DatasetError):
    """There are fewer images than were asked for."""


class FileError(UnseenError):
    """A file or folder cannot be read or written."""


class ImageError(UnseenError):
    """An image file cannot be read."""


class StructureError(UnseenError):
    """The known structure of the images cannot be found, read or used."""


class CheckpointError(UnseenError):
    """A model file is missing, damaged, or was made for something else."""


class StoreError(UnseenError):
    """The file of stored features is damaged, holds other features, or cannot be written."""


class AnnotationError(UnseenError):
    """Labelling in CVAT, the App or another tool cannot go on as asked."""


class ServerError(AnnotationError):
    """The annotation server refused, failed or cannot be reached."""


class TrainingError(UnseenError):
    """Training diverged or had nothing to learn from."""


class BenchmarkError(UnseenError):
    """A comparison of strategies could not be made."""


class ShapeError(UnseenError, ValueError):
    """An array does not have the documented shape."""


class Cancelled(BaseException):
    """The user stopped the run; everything written until then is consistent.

    A BaseException like `KeyboardInterrupt`, so that no `except Exception` around a single image
    swallows it.
    """


#: What writing to an open file ends in, where the system names no file.
_ABOUT_FILES = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)


@contextlib.contextmanager
def file_errors() -> Iterator[None]:
    """Turn what the system says about a file inside into a FileError that names it."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno not in _ABOUT_FILES:
            raise
        what = "a file" if error.filename is None else repr(error.filename)
        raise FileError(
            f"{what} cannot be used: {error.strerror}. Give another path, or see to its "
            "permissions and the space on its disk"
        ) from error
