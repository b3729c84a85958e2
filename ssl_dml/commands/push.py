"""Upload an exported folder to the hub: ``ssl_dml push FOLDER --repo USER/NAME``."""

import re
import sys
from dataclasses import dataclass
from pathlib import Path

from ssl_dml.config import parse
from ssl_dml.offline import offline
from ssl_dml.progress import say
from ssl_dml.types import ConfigError, one_line


@dataclass(frozen=True, kw_only=True)
class PushConfig:
    """What to upload, and where to.

    Args:
        folder: What ``ssl_dml export --to hub`` or ``--to timm`` wrote.
        repo: ``USER/NAME`` on the hub; it is made if it is not there.
        private: Whether a repository that is made is private.
    """

    folder: Path
    repo: str
    private: bool = True

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[\w.-]+/[\w.-]+", self.repo):
            raise ConfigError(f"--repo must be USER/NAME, got {self.repo!r}")
        if not (self.folder / "README.md").is_file():
            raise ConfigError(
                f"{self.folder} has no README.md; ssl_dml export --to hub writes such a folder"
            )


def push(config: PushConfig) -> str:
    """Upload the folder.

    Returns:
        Address of what was uploaded.

    Raises:
        ConfigError: If the network is not to be used, there is no token, or the hub refuses.
    """
    from huggingface_hub import HfApi, get_token

    if offline():
        raise ConfigError("HF_HUB_OFFLINE is set, and a push needs the network; unset it")
    if get_token() is None:
        raise ConfigError("there is no token of the hub: run hf auth login, or set HF_TOKEN")
    api = HfApi()
    try:
        api.create_repo(config.repo, private=config.private, exist_ok=True)
        done = api.upload_folder(
            repo_id=config.repo, folder_path=config.folder, ignore_patterns=[".*", "*.part"]
        )
    except Exception as error:  # clients of the hub raise many unrelated types
        raise ConfigError(
            f"{config.folder} was not uploaded to {config.repo}: {one_line(error)}; "
            "push again once the hub can be reached"
        ) from error
    say(f"uploaded: {done}")
    return str(done)


def main(args: list[str] | None = None) -> None:
    """Parse the command line and upload; the first word may be the folder."""
    args = list(sys.argv[1:] if args is None else args)
    if args and not args[0].startswith("-"):
        args = ["--folder", *args]
    config, _ = parse(PushConfig, args, kind="push")
    push(config)
