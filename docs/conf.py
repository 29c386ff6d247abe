"""The site: ``python -m pip install ".[docs]" && sphinx-build -W -n docs docs/_build``.

Pages are Markdown; the reference is made of docstrings, and the gallery of examples/.
"""

import os
import re
from importlib.metadata import version as version_of
from pathlib import Path

project = "cconv1d"
author = "The cconv1d developers"
copyright = author
release = version_of("cconv1d")
version = ".".join(release.split(".")[:2])

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
templates_path = ["_templates"]
exclude_patterns = ["_build", "_templates", "gallery/*.py", "gallery/*.ipynb"]
highlight_language = "text"  # of a block that names none: formulas, diagrams
default_role = "autolink"  # `conv1d` in a docstring is a link to it
myst_heading_anchors = 3
suppress_warnings = ["config.cache"]  # the gallery's settings hold a function

# --- the reference --------------------------------------------------------------------------------

autodoc_typehints = "none"  # numpydoc describes the arguments
autosummary_generate = True
numpydoc_class_members_toctree = False
numpydoc_show_class_members = False

# Links into other projects' sites need the network, so only the build that is published has them.
if os.environ.get("CCONV1D_DOCS_LINKS"):
    extensions.append("sphinx.ext.intersphinx")
    intersphinx_mapping = {
        "python": ("https://docs.python.org/3", None),
        "numpy": ("https://numpy.org/doc/stable", None),
        "scipy": ("https://docs.scipy.org/doc/scipy", None),
        "torch": ("https://docs.pytorch.org/docs/stable", None),
        "jax": ("https://docs.jax.dev/en/latest", None),
        "dask": ("https://docs.dask.org/en/stable", None),
    }
nitpick_ignore_regex = [("py:.*", r"(numpy|scipy|torch|jax|dask)\..*"), ("py:obj", "autolink")]

# --- the gallery ----------------------------------------------------------------------------------

# Scripts are run by the tests. Their pictures are in docs/pictures/, as those of the pages.
#: From what most people do to what few do.
GALLERY = (
    *("ecg_denoiser", "streaming_ecg", "wavelet_bank", "torch_speedup", "wavenet_stream"),
    *("data_parallel", "filter_recording", "beat_finder", "echo_canceller"),
)


def gallery_order(name):
    """By what sphinx-gallery sorts its files."""
    return GALLERY.index(name.removesuffix(".py"))


sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "plot_gallery": False,
    "filename_pattern": "^$",
    "within_subsection_order": gallery_order,
    "download_all_examples": False,
    "show_memory": False,
    "write_computation_times": False,
    "remove_config_comments": True,
}

# --- how it looks ---------------------------------------------------------------------------------

html_theme = "pydata_sphinx_theme"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_title = f"cconv1d {release}"
html_show_sourcelink = False
html_theme_options = {
    "navigation_with_keys": False,
    "show_prev_next": True,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "header_links_before_dropdown": 7,
}
html_sidebars = {"index": [], "start": [], "performance": []}  # which have no pages below them
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

# --- pages that are beside docs/ ------------------------------------------------------------------

REPO = Path(__file__).resolve().parents[1]
DOCS = REPO / "docs"
#: What a page shows that people look for elsewhere in the repository.
BESIDE = {
    "benchmarks": "benchmarks/README.md",
    "changelog": "CHANGELOG.md",
    "contributing": "CONTRIBUTING.md",
    "security": "SECURITY.md",
}


def on_the_site(file: Path) -> str | None:
    """Where the site has a file of the repository, as seen from its first level."""
    name = file.relative_to(REPO).as_posix()
    for page, shown in BESIDE.items():
        if name == shown:
            return f"{page}.md"
    if name == "README.md":
        return "index.md"
    if file.parent == REPO / "examples":
        return f"gallery/{'index' if file.suffix == '.rst' else file.stem}.rst"
    return file.relative_to(DOCS).as_posix() if file.is_relative_to(DOCS) else None


def show_picture_first(text: str) -> str:
    """An example with what it draws, which stands at its end, before the code."""
    picture = re.search(r"^\.\. image:: /pictures/.*\n", text, re.MULTILINE)
    code = text.find(".. code-block:: Python")
    if picture is None or code < 0:
        return text
    rest = text[: picture.start()] + text[picture.end() :]
    return f"{rest[:code]}{picture[0]}\n{rest[code:]}"


def read_page(app: object, name: str, source: list[str]) -> None:
    """Show what is beside docs/, and lead links to where the site has what they mean."""
    if name.startswith("gallery/"):
        source[0] = show_picture_first(source[0])
    if not (DOCS / f"{name}.md").exists():
        return
    file = REPO / BESIDE[name] if name in BESIDE else DOCS / f"{name}.md"

    def link(found: re.Match[str]) -> str:
        path, mark, heading = found[1].partition("#")
        there = (file.parent / path).resolve()
        if not path or re.match("[a-z]+:", path) or not there.exists():
            return found[0]
        target = on_the_site(there) or os.path.relpath(there, DOCS)
        return f"]({target}{mark}{heading})"

    source[0] = re.sub(r"\]\(([^)\s]+)\)", link, file.read_text("utf-8"))


def setup(app) -> None:  # type: ignore[no-untyped-def]
    app.connect("source-read", read_page)
