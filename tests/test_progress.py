from ssl_dml.progress import progress


def test_only_the_first_process_draws(monkeypatch, capsys):
    for rank, drawn in (("0", True), ("1", False)):
        monkeypatch.setenv("RANK", rank)
        bar = progress(3, "working", "things", delay=0.0)
        bar.update(3)
        bar.refresh()
        bar.close()
        assert ("working" in capsys.readouterr().err) == drawn
