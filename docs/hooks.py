"""What MkDocs does besides: API pages from packages, notebooks as pages, formulas as MathML."""

import ast
import html
import re
from pathlib import Path

import nbformat
from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from nbconvert import MarkdownExporter

FORMULA = re.compile(r'<(span|div) class="arithmatex">\\([\[(])(.*?)\\[\])]</\1>', re.DOTALL)
API = {
    "losses": "Losses",
    "mining": "Miners",
    "margins": "Margins",
    "heads": "Heads",
    "methods": "Methods",
    "augment": "Augmentation",
    "backbones": "Backbones",
    "memory": "Memory",
    "evaluation": "Evaluation",
    "data": "Data",
    "training": "Training",
    "distances": "Distances",
    "types": "Types",
}


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add a page for each part of the package and for each notebook, with its stored outputs."""
    package = Path(config.docs_dir).parent / "ssl_dml"
    for part, title in API.items():
        text = api_page(package / part, f"ssl_dml.{part}", title)
        files.append(File.generated(config, f"api/{part}.md", content=text))
    for path in sorted((Path(config.docs_dir) / "notebooks").glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        text, resources = MarkdownExporter().from_notebook_node(notebook, {"unique_key": path.stem})
        text += f"\n\n[Download this notebook]({path.name})\n"
        files.append(File.generated(config, f"notebooks/{path.stem}.md", content=text))
        for name, content in resources["outputs"].items():
            files.append(File.generated(config, f"notebooks/{name}", content=content))
    return files


def api_page(path: Path, module: str, title: str) -> str:
    """Markdown that names everything a part exports, for mkdocstrings.

    Each name goes with the module that defines it, since a function may share the name of its
    module.
    """
    if not path.is_dir():
        return f"# {title}\n\n::: {module}\n    options: {{show_root_heading: false}}\n"
    tree = ast.parse((path / "__init__.py").read_text())
    found = {
        alias.asname or alias.name: f"{node.module}.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ssl_dml.")
        for alias in node.names
    }
    names = sorted(found, key=lambda name: (name.lower().replace("_", ""), name))
    entries = [f"::: {found[name]}" for name in names]
    intro = (ast.get_docstring(tree) or "").partition("\n\n")[0]
    return f"# {title}\n\n{intro} Import them from `{module}`.\n\n" + "\n\n".join(entries) + "\n"


def on_page_content(text: str, **_: object) -> str:
    """Replace formulas, which browsers then show without a script."""
    return FORMULA.sub(_mathml, text)


def _mathml(found: re.Match[str]) -> str:
    display = "block" if found[2] == "[" else "inline"
    formula = html.unescape(found[3]).strip()
    try:
        return convert(formula, display=display)
    except Exception as error:
        raise PluginError(f"formula cannot be shown: {formula}: {error!r}") from error
