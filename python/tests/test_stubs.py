"""The stubs describe the extension module, and every public name has a docstring."""

import ast
import inspect
import pathlib

import dbcache
from dbcache import _dbcache

STUBS = ast.parse((pathlib.Path(dbcache.__file__).parent / "_dbcache.pyi").read_text())


def public(names):
    return {name for name in names if not name.startswith("_")}


def test_the_stubs_name_what_the_extension_has():
    described = {
        node.name: node for node in STUBS.body if isinstance(node, (ast.ClassDef, ast.FunctionDef))
    }
    assert public(described) | {"version"} == public(vars(_dbcache))
    for name, node in described.items():
        if isinstance(node, ast.ClassDef):
            members = [each.name for each in node.body if isinstance(each, ast.FunctionDef)]
            assert public(members) == public(vars(getattr(_dbcache, name))), name


def test_everything_public_is_documented_and_annotated():
    for name in dbcache.__all__:
        thing = getattr(dbcache, name)
        assert inspect.getdoc(thing), name
        if not inspect.isclass(thing) or issubclass(thing, Exception):
            continue
        if thing.__module__.endswith("_dbcache"):
            continue  # the stubs are its annotations
        for member, function in vars(thing).items():
            if inspect.isfunction(function) and not member.startswith("_"):
                assert function.__doc__, f"{name}.{member}"
                assert "return" in function.__annotations__, f"{name}.{member}"
