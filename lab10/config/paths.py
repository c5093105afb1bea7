"""Paths given by users and configs."""

import errno
import os
from pathlib import Path

from lab10.config.errors import UserError


def path_of(name: str | os.PathLike[str]) -> Path:
    """Converts a name to a path and expands `~`. The path need not exist.

    Raises:
      UserError: the name is not a valid path.
    """
    if not isinstance(name, str | os.PathLike):
        raise UserError(f"{name!r:.80} is not a path; expected the path of a file or folder.")
    try:
        path = Path(name).expanduser()
        str(path).encode()  # Orbax and TensorStore accept only UTF-8 names
        path.lstat()
    except (ValueError, RuntimeError) as error:  # a NUL or lone surrogate; a `~` of an unknown user
        raise UserError(f"{str(name)[:200]!r} is not a valid path: {error}.") from error
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise UserError(f"{str(name)[:200]!r}… is too long for a path.") from error
    return path
