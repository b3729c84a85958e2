import pytest
from PIL import Image

from ssl_dml.commands.finished import data_of, model_folder
from ssl_dml.commands.finished import tested as divided
from ssl_dml.config import ConfigError
from ssl_dml.data import DataConfig, load_test, load_train


@pytest.mark.parametrize(
    ("made", "model", "words"),
    [
        ((), "backbone", "is no run folder: it has no config.yaml"),
        (("config.yaml",), "backbone", "has no backbone yet: finish it with --resume true"),
        (("config.yaml", "backbone"), "best", "has no best model: fine-tuning keeps one where"),
    ],
)
def test_a_model_that_is_not_there_is_named(tmp_path, made, model, words):
    for name in made:
        (tmp_path / name).mkdir()
    with pytest.raises(ConfigError, match=words):
        model_folder(tmp_path, model)


@pytest.mark.parametrize("text", ["data: [", "other: 1", "data: 3", "data: {sorce: x}", "\udcff"])
def test_a_configuration_that_cannot_be_read_is_named(tmp_path, text):
    (tmp_path / "config.yaml").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ConfigError, match=r"config\.yaml"):
        data_of(tmp_path)


def samples(folder, *, each):
    """Training samples of five a class, and test samples of other classes."""
    for split, name, count in (("train", "a", 5), ("train", "b", 5), ("test", "c", each),
                               ("test", "d", each)):  # fmt: skip
        (folder / split / name).mkdir(parents=True)
        for i in range(count):
            Image.new("L", (8, 8), 9 * i).save(folder / split / name / f"{i}.png")
    config = DataConfig(source=str(folder))
    train = load_train(config)
    return train, load_test(config, train)


def test_one_test_sample_of_a_class_is_classified_as_the_error_says(tmp_path):
    train, test = samples(tmp_path, each=1)
    words = "two test samples of a class, and 2 are of 2 classes: .* or choose --evaluator knn$"
    with pytest.raises(ConfigError, match=words):
        divided("retrieval", [1], train, test)
    assert "query 9 training samples" in divided("knn", [1], train, test)[0]


def test_neighbors_beyond_the_test_samples_are_named(tmp_path):
    train, test = samples(tmp_path, each=2)
    words = r"retrieval\.ks must be from 1 to 3, .* got \[1, 2, 4, 8\]: set it to \[1, 2\]$"
    with pytest.raises(ConfigError, match=words):
        divided("retrieval", [1, 2, 4, 8], train, test)
    divided("retrieval", [1, 2], train, test)
