"""Whose code a configuration may name: anybody's in one's own, known packages' in a run folder."""

import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from jsonargparse import _stubs_resolver, set_parsing_settings
from jsonargparse._common import parsing_settings  # which the setter alone cannot put back
from jsonargparse.typing import import_object
from typeshed_client import get_search_context

# Else the parser starts a Python to ask for its path, which imports json of the current folder.
_stubs_resolver.stubs_resolver = _stubs_resolver.StubsResolver(
    search_context=get_search_context(search_path=[Path(path) for path in sys.path if path])
)
# Packages of which any configuration may name components, a stranger's too.
KNOWN = ("ssl_dml", "torch.optim", "timm.optim")
_allowed: ContextVar[tuple[str, ...] | None] = ContextVar("allowed", default=None)


@contextmanager
def naming(packages: Iterable[str] | None) -> Iterator[None]:
    """Within it a configuration is data: it imports nothing but known packages and these.

    Args:
        packages: Dotted names of packages beside the known ones; None for any, as in a
            configuration of one's own.
    """
    if packages is None:
        yield
        return
    allowed, before = (*KNOWN, *packages), dict(parsing_settings)
    token = _allowed.set(allowed)
    set_parsing_settings(import_path_denylist=["*"], import_path_allowlist=list(allowed))
    try:
        yield
    finally:
        parsing_settings.update(before)
        _allowed.reset(token)


def class_paths(values: Any) -> Iterator[str]:  # noqa: ANN401 - plain values
    """What plain values name as the classes of components, however deep.

    >>> list(class_paths({"head": {"class_path": "a.B", "parts": [{"class_path": "c.D"}]}}))
    ['a.B', 'c.D']
    """
    if isinstance(values, Mapping):
        if isinstance(values.get("class_path"), str):
            yield values["class_path"]
        values = list(values.values())
    if isinstance(values, list):
        for value in values:
            yield from class_paths(value)


class PackageError(ValueError):
    """Of a package that may not be named."""


def imported(path: str) -> Any:  # noqa: ANN401
    """What a dotted path names; of a package that may not be named, only what is there already."""
    module, _, name = path.rpartition(".")
    if module in sys.modules and name in vars(sys.modules[module]):
        return vars(sys.modules[module])[name]
    check_package(path)
    return import_object(path, check_path=False)


def check_package(path: str) -> None:
    """Raise if it is of a package that may not be named.

    Raises:
        ValueError: With the path, what may be named, and how to trust it.
    """
    allowed = _allowed.get()
    if allowed is not None and not any(f"{path}.".startswith(f"{one}.") for one in allowed):
        raise PackageError(
            f"{path} is outside {', '.join(KNOWN[:-1])} and {KNOWN[-1]}, and the configuration of "
            "a run folder may not name it; if you trust it, add --trust true"
        )
