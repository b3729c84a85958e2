"""Six rows of three classes, whose losses were computed elsewhere, and random ones."""

import torch

ROWS = [
    [0.9, 0.1, 0.2],
    [0.8, -0.2, 0.3],
    [-0.1, 0.7, 0.4],
    [0.2, 0.9, -0.3],
    [0.1, -0.4, 0.8],
    [-0.3, 0.2, 0.6],
]
LABELS = [0, 0, 1, 1, 2, 2]


def small():
    """The six rows and their labels."""
    return torch.tensor(ROWS, dtype=torch.float64), torch.tensor(LABELS)


def batch(classes=6, of_each=4, dim=5, dtype=torch.float64):
    """Random rows, shuffled, and their labels."""
    labels = torch.arange(classes).repeat_interleave(of_each)[torch.randperm(classes * of_each)]
    rows = 0.6 * torch.randn(len(labels), dim, dtype=dtype)
    return rows.requires_grad_(), labels


def value_and_gradient(function, rows, *arguments):
    value = function(rows, *arguments)
    return value, torch.autograd.grad(value, rows)[0]
