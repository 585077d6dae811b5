"""Walks a folder of objects in the order of their keys."""

from __future__ import annotations

import os
from collections.abc import Iterator


def walk(root: str, prefix: str, after: str) -> Iterator[tuple[str, bool]]:
    """Yield the keys that start with a prefix and are greater than another, in order.

    One folder's names are held at a time for each level: memory grows with the
    largest folder, not with the number of objects.

    Yields
    ------
    tuple of str and bool
        A key, and whether it is the first of its folder.
    """
    folder, slash, _ = prefix.rpartition("/")
    yield from _walk(root, folder + slash, prefix, after)


def _walk(root: str, folder: str, prefix: str, after: str) -> Iterator[tuple[str, bool]]:
    first = True
    for name in _names(root, folder, prefix, after):
        key = folder + name
        if name.endswith("/"):
            yield from _walk(root, key, prefix, after)
            first = True
        else:
            yield key, first
            first = False


def _names(root: str, folder: str, prefix: str, after: str) -> list[str]:
    """Return the names in a folder that lead to wanted keys. Those of folders end in a slash: so they sort as keys."""
    names = []
    try:
        with os.scandir(f"{root}/{folder}") as found:
            for item in found:
                if "~" in item.name:
                    continue
                below = item.is_dir(follow_symlinks=False)
                name = item.name + "/" if below else item.name
                key = folder + name
                # Keys below a folder are all greater than `after` or all less, unless `after` is below it too.
                if key <= after and not (below and after.startswith(key)):
                    continue
                if key.startswith(prefix) or (below and prefix.startswith(key)):
                    names.append(name)
    except (FileNotFoundError, NotADirectoryError):
        return []
    names.sort()
    return names
