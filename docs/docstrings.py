"""Docstrings of the package as Markdown: formulas, cross-references and examples."""

import re
import textwrap

import griffe

MATH_BLOCK = re.compile(r"^\.\. math::(.*(?:\n(?: .*|$))*)", flags=re.MULTILINE)
EXAMPLE = re.compile(r"^>>> .*(?:\n(?!\s*$).*)*", flags=re.MULTILINE)
ROLE = re.compile(r":(?:class|func|meth|mod|attr):`(?:~[\w.]*\.)?([^`]*)`")

PER_CALL = ("memory", "mined", "group")  # as in ssl_dml.losses.base


def markdown(text: str) -> str:
    """A docstring with its reStructuredText replaced.

    >>> markdown("See :func:`nt_xent`, where :math:`x^2` is.")
    'See `nt_xent`, where $x^2$ is.'
    >>> markdown("Beside :class:`~ssl_dml.losses.Triplet`.")
    'Beside `Triplet`.'
    """
    text = MATH_BLOCK.sub(lambda found: f"$$\n{_dedented(found[1])}\n$$\n", text)
    text = EXAMPLE.sub(lambda found: f"```pycon\n{found[0]}\n```", text)
    text = re.sub(r":math:`([^`]*)`", lambda found: "$" + " ".join(found[1].split()) + "$", text)
    return re.sub(r"(?<!`)``(?!`)", "`", ROLE.sub(r"`\1`", text))


def _dedented(block: str) -> str:
    first, _, rest = block.strip("\n").partition("\n")
    return f"{first.strip()}\n{textwrap.dedent(rest)}".strip()


class Docstrings(griffe.Extension):
    """Rewrite each docstring, and show losses with their options, before mkdocstrings does."""

    def on_class(self, *, cls: griffe.Class, **_: object) -> None:
        """Give the module form of a function a constructor with the function's options."""
        if cls.parent is None or "function" not in cls.keywords:
            return
        function = cls.parent[str(cls.keywords["function"])]
        keyword_only = griffe.ParameterKind.keyword_only
        options = [
            option
            for option in function.parameters
            if option.kind is keyword_only and option.name not in PER_CALL
        ]
        own = griffe.Parameter("self", kind=griffe.ParameterKind.positional_or_keyword)
        parameters = griffe.Parameters(own, *options)
        cls.set_member("__init__", griffe.Function("__init__", parameters=parameters))

    def on_object(self, *, obj: griffe.Object, **_: object) -> None:
        """Replace the text of one object's docstring; keep ``forward`` of contracts only."""
        if obj.name == "forward" and "abstractmethod" not in obj.labels:
            obj.docstring = None
        if obj.docstring:
            obj.docstring.value = markdown(obj.docstring.value)
