"""Sections and prefixes of a file."""

import torch

from ssl_dml.backbones.parts import find_parts, groups

WANTED = {"conv.weight": torch.zeros(2), "norm.bias": torch.zeros(2)}


def test_parts_are_whole_sections_and_what_is_behind_prefixes():
    inner = {f"module.{name}": value for name, value in WANTED.items()}
    inner["fc.weight"] = torch.ones(3)
    parts = list(find_parts({"epoch": 3, "state_dict": inner}, WANTED))
    assert [(part.where, part.left) for part in parts] == [
        ("state_dict", []),
        ("state_dict module.", ["fc.weight"]),
    ]
    assert parts[1].tensors.keys() == WANTED.keys()


def test_groups_share_the_first_names():
    inner = {f"a.b.{name}": value for name, value in WANTED.items()} | {"c.weight": torch.ones(1)}
    (part,) = find_parts(inner, {})
    assert [(group.prefix, group.left) for group in groups(part, 2)] == [
        ("", []),
        ("a.", ["c.weight"]),
    ]
