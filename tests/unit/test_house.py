"""The rules of the house hold, see HACKING.md."""

import ast
import importlib
import os
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from rehearse.core import registry
from rehearse.core.errors import PluginError

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src"
MAX_MODULE_LINES = 250
MAX_FUNCTION_LINES = 40
MAX_SNAKEFILE_LINES = 60
PLUGINS = [(room, name) for room in registry.ROOMS for name in registry.names(room)]


def tracked_files():
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def function_lines(node):
    """Lines of a function without its decorators, signature and docstring."""
    body = node.body[1:] if ast.get_docstring(node) is not None else node.body
    return body[-1].end_lineno - body[0].lineno + 1 if body else 0


def long_functions(text):
    functions = [n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    return [f"{node.name}, line {node.lineno}" for node in functions if function_lines(node) > MAX_FUNCTION_LINES]


def private_names():
    """What names this machine or its package index: home, place of this clone, index hosts."""
    home = str(Path.home())
    places = [home] if home != "/" else []
    if len(ROOT.parts) > 2:  # "/src" would be found everywhere
        places.append(str(ROOT))
    urls = [value for name, value in os.environ.items() if re.fullmatch(r"(PIP|UV)_\w*(INDEX|URL)\w*", name)]
    hosts = [host for url in " ".join(urls).split() if (host := urlsplit(url).hostname)]
    # Put together here, because this file is searched as well.
    hosts += ["py" + "pi.org", "python" + "hosted.org", "download.py" + "torch.org"]
    return places, hosts


def mentions(text):
    places, hosts = private_names()
    found = [place for place in places if re.search(rf"(?<![\w.~/-]){re.escape(place)}(?=/|\b)", text)]
    return found + [host for host in hosts if host in text]


@pytest.mark.parametrize("module", ["rehearse.core.campaign", "rehearse.core.cell"])
def test_the_snakefile_can_read_a_campaign_without_heavy_libraries(module):
    code = f"import {module}, sys; print(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert not {"torch", "numpy", "pandas", "snakemake", "matplotlib"} & set(loaded.stdout.split())


def test_every_module_is_short():
    sizes = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in SOURCE.rglob("*.py")}
    assert {name: size for name, size in sizes.items() if size > MAX_MODULE_LINES} == {}


def test_every_function_is_short():
    long = {str(path.relative_to(ROOT)): long_functions(path.read_text()) for path in SOURCE.rglob("*.py")}
    assert {name: functions for name, functions in long.items() if functions} == {}


def test_a_long_function_is_found():
    body = "    x = 1\n" * MAX_FUNCTION_LINES
    assert long_functions(f'def f():\n    """Docstring."""\n{body}') == []
    assert long_functions(f"def f():\n{body}    return x\n") == ["f, line 1"]


def test_the_snakefile_is_short():
    assert len((ROOT / "Snakefile").read_text().splitlines()) <= MAX_SNAKEFILE_LINES


def test_no_file_tells_where_it_was_written():
    texts = {path.relative_to(ROOT): path.read_bytes().decode("utf-8", errors="ignore") for path in tracked_files()}
    assert {str(name): found for name, text in texts.items() if (found := mentions(text))} == {}


def test_a_private_name_is_found():
    assert mentions(f"see {Path.home()}/data") != []
    assert mentions("index-url = https://py" + "pi.org/simple") != []
    assert mentions("nothing of the kind in /usr/bin") == []


@pytest.mark.parametrize(("room", "name"), PLUGINS)
def test_a_plugin_is_registered_under_the_stem_of_its_file(room, name):
    plugin = registry.get(room, name)
    file = Path(importlib.import_module(plugin.__module__).__file__)
    assert (file.parent.name, file.stem.rstrip("_")) == (room, name)


def test_a_file_without_a_plugin_is_refused(tmp_path, monkeypatch):
    room = importlib.import_module("rehearse.trackers")
    (tmp_path / "hollow.py").write_text('"""Registers nothing."""\n')
    monkeypatch.setattr(room, "__path__", [*room.__path__, str(tmp_path)])
    monkeypatch.setattr(registry, "names", lambda _: ("hollow",))
    with pytest.raises(PluginError, match="registers no plug-in"):
        registry.get("trackers", "hollow")
