"""No circle of imports among the modules that ship; imports inside functions count too."""

from __future__ import annotations

import graphlib

import grimp
import pytest

from plugin.logs import PACKAGES


def test_no_module_imports_itself_by_way_of_others() -> None:
    graph = grimp.build_graph(*PACKAGES, cache_dir=None)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    try:
        graphlib.TopologicalSorter(imports).prepare()
    except graphlib.CycleError as error:
        pytest.fail(" <- ".join(error.args[1]))
