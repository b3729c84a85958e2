from ssl_dml.progress import progress, say


def test_only_the_first_process_draws(monkeypatch, capsys):
    for rank, drawn in (("0", True), ("1", False)):
        monkeypatch.setenv("RANK", rank)
        bar = progress(3, "working", "things", delay=0.0)
        bar.update(3)
        bar.refresh()
        bar.close()
        assert ("working" in capsys.readouterr().err) == drawn


def test_only_the_first_process_speaks(monkeypatch, capsys):
    for rank, told in (("0", "hello\n"), ("1", "")):
        monkeypatch.setenv("RANK", rank)
        say("hello")
        out, err = capsys.readouterr()
        assert (out, err) == (told, "")


def test_a_line_leaves_the_bar_standing(monkeypatch, capsys):
    monkeypatch.setenv("RANK", "0")
    bar = progress(3, "working", "things", delay=0.0)
    say("hello")
    drawn = capsys.readouterr()
    bar.close()
    assert drawn.out.splitlines()[-1].endswith("hello")
    assert drawn.err.rstrip().endswith("? things/s]")  # drawn again below the line
