"""The digest of the content of datasets prepared from user files, stored in TFDS's release notes.

User files may be prepared again under the same name and version, with other content of equal size.
"""

from typing import Any

_PREFIX = "Content SHA-256: "


def content_note(sha256: str) -> str:
    """Returns the release note that stores a digest."""
    return f"{_PREFIX}{sha256}"


def content_sha256(info: Any) -> str | None:
    """Returns the SHA-256 in a `tfds.core.DatasetInfo`; None for datasets that were not prepared from user files."""
    note = (info.release_notes or {}).get(str(info.version), "")
    return note.removeprefix(_PREFIX) if note.startswith(_PREFIX) else None
