"""The search page: ``ssl_dml search serve INDEX``."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from ssl_dml.backbones.saved import METADATA
from ssl_dml.commands.search_query import model_of
from ssl_dml.index.index import Index
from ssl_dml.reading import read_json, reading
from ssl_dml.threshold_file import NO_LIMITS, Limits, read_threshold
from ssl_dml.types import ConfigError

NEEDED = ("starlette", "uvicorn")
MAX_PORT = 65_535


@dataclass(frozen=True, kw_only=True)
class ServeConfig:
    """A page to search with images, on this machine.

    Args:
        index: Folder that ``ssl_dml search build`` wrote.
        host: Address that the page is at. Beyond this machine, as with 0.0.0.0, whoever asks needs
            the token of the printed address, and nothing is encrypted.
        port: Its port; 0 for any that is free.
        open: Open the page in a browser.
        weights: The model, a run folder or what else ``ssl_dml.load`` takes, where it is no longer
            where the table says.
    """

    index: Path
    host: str = "127.0.0.1"
    port: int = 8321
    open: bool = False
    weights: str | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.port <= MAX_PORT:
            raise ConfigError(f"--port must be from 0 to {MAX_PORT}, got {self.port}")


def serve(config: ServeConfig) -> None:
    """Serve the page until Ctrl-C.

    Raises:
        ConfigError: If the index or its model cannot be opened, or the port is in use.
    """
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        raise ConfigError(f"the page needs {' and '.join(missing)}: pip install 'ssl_dml[serve]'")
    from ssl_dml.serve import Access, Site, build_app, is_loopback, listen, new_token
    from ssl_dml.serve import serve as run

    index = Index.open(config.index)
    if (modality := index.info.table.modality) != "image":
        raise ConfigError(f"{config.index} is of {modality}s, and the page searches with images")
    with listen(config.host, config.port) as listening:
        model = model_of(index, config.weights)
        site = Site(
            name=config.index.absolute().name,
            index=index,
            embed=lambda image: model.embed([image])[0],
            limits=limits_of(index, config.weights),
        )
        token = "" if is_loopback(listening.getsockname()[0]) else new_token()
        app = build_app(site, Access(host=config.host, token=token))
        run(app, listening, token=token, open=config.open)


def limits_of(index: Index, weights: str | None = None) -> Limits:
    """What matches must reach, as calibration has written it for an index, or else for its model.

    Raises:
        ConfigError: If a threshold is no cosine, or of another model.
    """
    info, table = index.info, index.info.table
    if info.threshold is not None:
        return Limits(info.threshold, info.unknown)
    model = Path(weights or str(table.weights.get("path") or "")).expanduser()
    for folder in (model, model / "backbone"):
        if (found := read_threshold(folder)) is not None:
            digest = str(table.weights.get("digest"))
            found.check(folder, digest, table.pool, table.views, table.dim)
            return found.limits(info.rows)
    for path in (model / METADATA, model / "backbone" / METADATA):
        if not path.is_file():
            continue
        with reading(str(path)):
            values = read_json(path)
        value = values.get("threshold") if isinstance(values, dict) else None
        if value is not None:
            if type(value) not in (int, float) or not -1 <= value <= 1:
                raise ConfigError(f"{path}: threshold must be from -1 to 1, got {value!r}")
            return Limits(float(value))
    return NO_LIMITS
