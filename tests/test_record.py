"""``config.yaml`` of a run reads back to the same run, whatever its values are."""

import json
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest
import torch
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st
from torch.optim import Optimizer

from ssl_dml.commands.finetune import FinetuneConfig
from ssl_dml.commands.finished import data_of
from ssl_dml.commands.pretrain import PretrainConfig
from ssl_dml.config import parse_run
from ssl_dml.training.run_folder import write_config
from ssl_dml.types import ConfigError

SCHEMAS = {
    "pretrain": (PretrainConfig, "default"),
    "finetune": (FinetuneConfig, "arcface"),
}
WORDS = [
    *("~", "null", "Null", "NULL", "&a", "*a", "!x", "!!int 3", "1e3", "1e-05", "012", "0x1f"),
    *("1_000", "1:30", "2024-01-01", "yes", "on", "true", "=", "<<", "?", "-", "--x", "...", "---"),
    *("[a]", "{a}", "{a: b}", "a: b", "a:", "1:", "#", "a #b", "%a", "@a", "`a", "|", ">", "'a'"),
    *('"a"', "'", '"', "", " ", " null ", "null\n", "a\nb", "a\n\n b\n", "\ta", "a\x85b\u2028c\rd"),
    *("/data/[x] (1)/a: b #c.npz", "~/Bilder", "사진/été", "\ufeffa", "a\x7f", "&a [*a]", ".inf"),
]
texts = st.one_of(
    st.sampled_from(WORDS),
    st.text("~&*!#:[]{},'\"-?|>%@`=<. \n\tan0e1_", max_size=6),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8),
)
few = settings(
    max_examples=12, deadline=None, derandomize=True, phases=[Phase.explicit, Phase.generate]
)
floats = st.sampled_from([1e3, 1e-05, 0.1 + 0.2, 0.5, 1.0, 5e-324, 1e16, 1e22, 0.999])
FREE = ("output_dir", "resume")  # where the run is, and how it was started
# Text of its own form, which the schema itself refuses.
PARTICULAR = ("adapt.train", "train.trackers")
OPTIONAL = "data.sequences."  # a section that may be null, of which lists are no text when typed


def leaves(schema, prefix=""):
    """Keys with their types; of components only that they are some."""
    for name, hint in get_type_hints(schema).items():
        inner = next((kind for kind in (hint, *get_args(hint)) if is_dataclass(kind)), None)
        if inner is not None:
            yield from leaves(inner, f"{prefix}{name}.")
        elif not (is_component(hint) or name in FREE or f"{prefix}{name}" in PARTICULAR):
            yield f"{prefix}{name}", hint


def is_component(hint):
    return getattr(get_origin(hint), "__name__", "") == "Callable"


def values_of(hint):
    """Values of a type, as plain values of a file."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return st.one_of([values_of(one) for one in inner])
    if origin is Literal:
        return st.sampled_from(inner)
    if origin is tuple:
        several = st.lists(values_of(inner[0]), min_size=1, max_size=3)
        return several if inner[-1] is ... else st.tuples(*map(values_of, inner)).map(list)
    known = {str: texts, Path: texts, bool: st.booleans(), float: floats, NoneType: st.none()}
    return known[hint] if hint in known else st.integers(1, 4)


def quoted(value):
    """JSON that is YAML too, whatever the text."""
    if isinstance(value, str):
        return '"' + "".join(f"\\U{ord(letter):08x}" for letter in value) + '"'
    if isinstance(value, list):
        return f"[{', '.join(map(quoted, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{quoted(k)}: {quoted(v)}' for k, v in value.items())}}}"
    return json.dumps(value)


def worded(value):
    """A value as it is written on a command line."""
    return value if isinstance(value, str) else quoted(value)


def holds_text(hint):
    return hint in (str, Path) or any(kind in (str, Path) for kind in get_args(hint))


def expected(hint, value, *, typed):
    """What the run is to have."""
    if typed and NoneType in get_args(hint) and str(value).strip() == "null":
        return None
    if value is not None and Path in (hint, *get_args(hint)):
        return Path(value)
    return tuple(value) if isinstance(value, list) else value


def at(config, key):
    for name in key.split("."):
        config = getattr(config, name)
    return config


def plain(config):
    """Everything but components, of exact types."""
    found = {field.name: getattr(config, field.name) for field in fields(config)}
    return {
        name: plain(value) if is_dataclass(value) else repr(value)
        for name, value in found.items()
        if name != "resume" and not callable(value)
    }


def changes(schema):
    """A key or two of the schema, each with its type, a value, and whether it is typed."""
    known = sorted(leaves(schema))
    one = st.sampled_from(known).flatmap(
        lambda leaf: st.tuples(*map(st.just, leaf), values_of(leaf[1]), st.booleans())
    )
    return st.lists(one, min_size=1, max_size=3, unique_by=lambda change: change[0])


def begin(kind, folder, chosen):
    """Parse a run whose values a file and the command line give, and write its record."""
    schema, default = SCHEMAS[kind]
    file = folder / "given.yaml"
    lines = [f"{key}: {quoted(value)}" for key, _, value, typed in chosen if not typed]
    file.write_text("\n".join(lines) or "{}")
    args = [f"--{key}={worded(value)}" for key, _, value, typed in chosen if typed]
    args = [f"--config={default}", f"--config={file}", f"--output_dir={folder / 'run'}", *args]
    config, values = parse_run(schema, args, kind=kind, default=default)
    write_config(config.output_dir, values)
    return config, values


def resumed(kind, folder, *more):
    schema, default = SCHEMAS[kind]
    args = ["--resume", "true", f"--output_dir={folder / 'run'}", *more]
    return parse_run(schema, args, kind=kind, default=default)


@pytest.mark.parametrize("kind", SCHEMAS)
def test_a_record_reads_back_to_the_run(kind, tmp_path_factory):
    @few
    @given(chosen=changes(SCHEMAS[kind][0]))
    def check(chosen):
        folder = tmp_path_factory.mktemp("record")
        try:
            config, values = begin(kind, folder, chosen)
        except ConfigError as error:
            assert "\n" not in str(error)
            text = (holds_text(h) and not (t and k.startswith(OPTIONAL)) for k, h, _, t in chosen)
            assert not all(text), chosen
            return
        for key, hint, value, typed in chosen:
            assert at(config, key) == expected(hint, value, typed=typed), key
        again, same = resumed(kind, folder)
        assert plain(again) == plain(config)
        assert json.dumps(same | {"resume": False}) == json.dumps(values)
        if kind == "pretrain":
            assert plain(data_of(folder / "run")) == plain(config.data)

    check()


@pytest.mark.parametrize("kind", SCHEMAS)
@pytest.mark.parametrize("typed", [True, False])
def test_words_are_text_in_every_key_of_text(kind, typed, tmp_path):
    keys = [(key, hint) for key, hint in leaves(SCHEMAS[kind][0]) if holds_text(hint)]
    assert {"data.source", "data.test_source", "data.cache_dir", "init"} <= {key for key, _ in keys}
    keys = [(key, hint) for key, hint in keys if not (typed and key.startswith(OPTIONAL))]
    for first in range(0, len(WORDS), 8):
        folder = tmp_path / str(first)
        folder.mkdir()
        words = (WORDS * 2)[first : first + len(keys)]
        chosen = [(*key, word, typed) for key, word in zip(keys, words, strict=True)]
        config, _ = begin(kind, folder, chosen)
        for key, hint, word, _ in chosen:
            assert at(config, key) == expected(hint, word, typed=typed), (key, word)
        assert plain(resumed(kind, folder)[0]) == plain(config)


class Remembering(Optimizer):
    """Takes arguments of every type, which it remembers."""

    def __init__(
        self,
        params: Any,
        lr: float,
        *,
        word: str = "a",
        name: str | None = None,
        path: Path | None = None,
        words: list[str] = [],  # noqa: B006
        pair: tuple[str, float] | None = None,
        options: dict[str, int | float | bool | str | None] | None = None,
        texts: dict[str, str | None] | None = None,
        anything: Any = None,
        untyped=None,
    ):
        super().__init__(params, {"lr": lr})
        self.given = {key: value for key, value in locals().items() if key not in HIDDEN}


TRUSTED = ("--trust", "true")  # a class of one's own is named by the record
HIDDEN = ("self", "params", "__class__")
ARGUMENTS = {
    "lr": floats,
    "word": texts,
    "name": st.none() | texts,
    "path": st.none() | texts,
    "words": st.lists(texts, max_size=3),
    "pair": st.tuples(texts, floats).map(list),
    "options": st.dictionaries(st.sampled_from("ab"), st.none() | st.booleans() | floats | texts),
    "texts": st.dictionaries(st.sampled_from("ab"), st.none() | texts),
    "anything": st.none() | st.booleans() | floats | texts | st.lists(st.none() | texts),
    "untyped": st.none() | st.booleans() | floats | texts | st.lists(st.none() | texts),
}


@few
@given(st.fixed_dictionaries({}, optional=ARGUMENTS), st.booleans())
@example({"name": "null", "texts": {"a": "null"}, "anything": "1e3", "untyped": "yes"}, False)
def test_arguments_of_a_component_read_back(tmp_path_factory, arguments, typed):
    folder = tmp_path_factory.mktemp("record")
    arguments = {"lr": 0.1, **arguments}
    spec = {"class_path": f"{__name__}.Remembering", "init_args": arguments}
    chosen = [("optimizer", Any, spec, typed), ("trust", bool, True, True)]
    config, values = begin("pretrain", folder, chosen)
    given = remembered(config)
    again, same = resumed("pretrain", folder, *TRUSTED)
    assert repr(remembered(again)) == repr(given)
    assert json.dumps(same | {"resume": False}) == json.dumps(values)
    for key in arguments.keys() - {"options", "path", "pair"}:  # of which types decide
        if key in ("anything", "untyped") and str(arguments[key]).strip() == "null":
            continue  # without a type, null between spaces is still null on a command line
        assert given[key] == arguments[key], key


def remembered(config):
    return config.optimizer([{"params": [torch.zeros(1)]}]).given


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("name=null", None),
        ("name=~", "~"),
        ("name=&a", "&a"),
        ("name=1e3", "1e3"),
        ("texts={a: null, b: '~', c: '1e3'}", {"a": None, "b": "~", "c": "1e3"}),
        ('words=["null", "~", "1e3"]', ["null", "~", "1e3"]),
        ("path=~/x", Path("~/x")),
        ("anything=1e3", 1000.0),
    ],
)
def test_an_argument_of_a_component_that_is_typed_alone(tmp_path, word, value):
    key = word.partition("=")[0]
    chosen = [("optimizer.class_path", Any, f"{__name__}.Remembering", False)]
    args = {"optimizer.init_args.lr": "0.1", f"optimizer.init_args.{key}": word.partition("=")[2]}
    config, _ = begin("pretrain", tmp_path, chosen + [(k, Any, v, True) for k, v in args.items()])
    assert remembered(config)[key] == value
    assert remembered(resumed("pretrain", tmp_path, *TRUSTED)[0]) == remembered(config)


@pytest.mark.parametrize("word", ["word=null", "word=[x]", "words=[a, null]"])
def test_what_no_text_can_be_typed_for_is_refused_in_a_line(tmp_path, word):
    chosen = [("optimizer.class_path", Any, f"{__name__}.Remembering", False)]
    key, _, value = word.partition("=")
    with pytest.raises(ConfigError) as caught:
        begin("pretrain", tmp_path, [*chosen, (f"optimizer.init_args.{key}", Any, value, True)])
    assert "\n" not in str(caught.value)
