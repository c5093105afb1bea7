"""Folders and files as people and configs name them."""

import errno
import os
from pathlib import Path

from lab10.errors import UserError


def path_of(name: str | os.PathLike[str]) -> Path:
    """Converts a name to a path, with `~` expanded. The path need not exist.

    Raises:
      UserError: no file can have that name.
    """
    try:
        path = Path(name).expanduser()
        str(path).encode()  # what reads and writes arrays takes names in UTF-8 alone
        path.lstat()
    except (ValueError, RuntimeError) as error:  # a NUL, a lone surrogate; a `~` of nobody
        raise UserError(f"{str(name)[:200]!r} can be no path: {error}.") from error
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise UserError(f"{str(name)[:200]!r}… is too long for a path.") from error
    return path
