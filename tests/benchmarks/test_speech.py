import shutil

import numpy as np
import pytest
import soundfile
from benchmarks import speak, speech
from benchmarks.speech import WORDS, draw_speakers

spoken = pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="needs espeak-ng")


def test_speakers_of_test_are_others_and_the_seed_says_who():
    train, test = draw_speakers(80, 24)
    voices = [(speaker.accent, speaker.variant) for speaker in train + test]
    assert len(set(voices)) == 104
    assert draw_speakers(80, 24) == (train, test)
    assert draw_speakers(80, 24, seed=1) != (train, test)
    assert len({speaker.name for speaker in train}) == 80


@pytest.mark.parametrize(("train", "test"), [(0, 1), (1, 0), (184, 1)])
def test_more_speakers_than_there_are_are_named(train, test):
    with pytest.raises(ValueError, match="at least 1 each and 184 together"):
        draw_speakers(train, test)


def test_words_are_distinct():
    assert len(set(WORDS)) == len(WORDS) == 30


@spoken
def test_every_word_by_every_speaker_alike_each_time(tmp_path, monkeypatch):
    monkeypatch.setattr(speech, "WORDS", ("ship", "chip"))
    assert speak(tmp_path / "a", train=2, test=1) == 6
    speak(tmp_path / "b", train=2, test=1)
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*.*"))
    assert len(files) == 6
    assert {path.parts[:2] for path in files} == {
        (split, word) for split in ("train", "test") for word in ("ship", "chip")
    }
    contents = [(tmp_path / "a" / path).read_bytes() for path in files]
    assert len(set(contents)) == 6
    for path in files:  # some voices breathe a little differently each time
        once, again = (soundfile.read(tmp_path / side / path)[0] for side in "ab")
        length = min(len(once), len(again))
        assert abs(len(once) - len(again)) < 0.05 * length
        assert np.corrcoef(once[:length], again[:length])[0, 1] > 0.5
    assert all(soundfile.info(tmp_path / "a" / path).duration > 0.2 for path in files)


@spoken
def test_what_was_spoken_is_not_spoken_again(tmp_path, monkeypatch):
    monkeypatch.setattr(speech, "WORDS", ("ship",))
    speak(tmp_path, train=1, test=1)
    path = next(tmp_path.glob("train/*/*.wav"))
    path.write_bytes(b"kept")
    speak(tmp_path, train=1, test=1)
    assert path.read_bytes() == b"kept"


def test_a_missing_program_says_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setattr(speech, "PROGRAM", "no-such-program")
    with pytest.raises(ValueError, match="not installed; try: apt-get install no-such-program"):
        speak(tmp_path)


def test_a_failure_is_told_with_its_reason(tmp_path, monkeypatch):
    program = tmp_path / "espeak"
    program.write_text("#!/bin/sh\necho no voice >&2\nexit 3\n")
    program.chmod(0o755)
    monkeypatch.setattr(speech, "PROGRAM", str(program))
    with pytest.raises(OSError, match=r"cannot speak .*\.wav: no voice"):
        speak(tmp_path / "out", train=1, test=1)


@spoken
def test_silence_surrounds_a_word_alike_each_time(tmp_path, monkeypatch):
    monkeypatch.setattr(speech, "WORDS", ("ship",))
    silent = [tmp_path / "a", tmp_path / "b"]
    for folder in silent:
        speak(folder, train=2, test=1, silence=0.5)
    speak(tmp_path / "plain", train=2, test=1)
    for path in (tmp_path / "plain").rglob("*.wav"):
        name = path.relative_to(tmp_path / "plain")
        plain, *longer = (soundfile.read(where / name)[0] for where in (path.parents[2], *silent))
        assert abs(len(longer[0]) - len(longer[1])) < 0.05 * len(plain)
        assert len(plain) < len(longer[0]) < len(plain) + 1.1 * 22050
        assert 5e-4 < longer[0][:200].std() < 2e-3
