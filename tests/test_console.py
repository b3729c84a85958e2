"""How a command ends: exit codes, and mistakes in one line."""

import pytest

from ssl_dml.console import plain, run_main
from ssl_dml.stops import Interrupted, NonFiniteError
from ssl_dml.types import ConfigError, ImageSpec


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("bad key"), 2),
        (NonFiniteError("step 3"), 1),
        (OSError(28, "No space left on device", "/there"), 1),
    ],
)
def test_a_users_mistake_ends_in_one_line(error, code, capsys):
    def main():
        raise error

    with pytest.raises(SystemExit) as left:
        run_main(main)
    assert left.value.code == code
    assert capsys.readouterr().err == f"error: {error}\n"


def test_a_value_error_of_the_package_is_told_and_a_foreign_one_is_a_bug(capsys):
    with pytest.raises(SystemExit):
        run_main(lambda: ImageSpec(channels=1, size=1, mean=(), std=()))
    assert "mean and std need one value" in capsys.readouterr().err
    with pytest.raises(ValueError, match="invalid literal"):
        run_main(lambda: int("x"))


def test_success_and_ctrl_c_have_their_codes(capsys):
    with pytest.raises(SystemExit) as left:
        run_main(lambda: 0)
    assert left.value.code == 0

    def interrupted():
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as left:
        run_main(interrupted)
    assert left.value.code == 130
    assert "interrupted" in capsys.readouterr().err


def test_a_run_that_a_signal_stopped_says_how_to_continue(capsys):
    def stopped():
        raise Interrupted("stopped at step 3 of 9; to continue: --resume true", 143)

    with pytest.raises(SystemExit) as left:
        run_main(stopped)
    assert left.value.code == 143
    assert capsys.readouterr().out == "stopped at step 3 of 9; to continue: --resume true\n"


OUT_OF_MEMORY = [
    MemoryError("Unable to allocate 3.64 TiB"),
    RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to"),
    RuntimeError("CUDA out of memory. Tried to allocate 20 GiB"),
]


@pytest.mark.parametrize("error", OUT_OF_MEMORY)
def test_memory_that_does_not_suffice_is_one_line_with_keys(error, capsys):
    def main():
        raise error

    with pytest.raises(SystemExit) as left:
        run_main(main)
    assert left.value.code == 2
    line = capsys.readouterr().err
    assert line.startswith("error: there is not enough memory (")
    assert "lower data.batch_size" in line
    assert line.count("\n") == 1


def test_any_other_error_of_torch_keeps_its_traceback():
    def main():
        raise RuntimeError("size mismatch")

    with pytest.raises(RuntimeError, match="size mismatch"):
        run_main(main)


def test_a_line_for_a_terminal_is_one_short_and_without_commands():
    told = plain("a\x1b[2J\x07.png\r\n has \u202e" + "x" * 100_000 + " y" * 2000)
    assert told.isprintable()
    assert len(told) <= 1000
    assert told.startswith(r"a\x1b[2J\x07.png has \u202exxx")
    assert plain("/데이터/été.png is damaged; remove it") == "/데이터/été.png is damaged; remove it"
