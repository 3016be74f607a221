"""Loads sources that were written for a newer Python than this one: the same code in an older syntax. Where the
interpreter is new enough, nothing is changed."""

import __future__

import importlib.abc
import importlib.machinery
import importlib.util
import re
import sys
import types
import typing

NEW = (3, 14)
CHANGES = [
    # `except A, B:`, which 3.14 has.
    (re.compile(r"^(\s*except )(\w+(?:, \w+)+):", re.MULTILINE), r"\1(\2):"),
    # Parameters of types, which are for checkers only.
    (re.compile(r"^(\s*(?:async )?def \w+)\[[^\]]*\]\(", re.MULTILINE), r"\1("),
    (re.compile(r"^type (\w+) = .*$", re.MULTILINE), r"\1 = object"),
]


class Loader(importlib.machinery.SourceFileLoader):
    def source_to_code(self, data, path, *, _optimize=-1):
        text = data.decode()
        for pattern, replacement in CHANGES:
            text = pattern.sub(replacement, text)
        flags = __future__.annotations.compiler_flag
        return compile(text, path, "exec", flags=flags, dont_inherit=True, optimize=_optimize)

    def get_code(self, fullname):
        # Never what was compiled without the changes.
        return self.source_to_code(self.get_data(self.path), self.path)


class Finder(importlib.abc.MetaPathFinder):
    def __init__(self, names):
        self.names = names

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in self.names:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and isinstance(spec.loader, importlib.machinery.SourceFileLoader):
            spec.loader = Loader(spec.loader.name, spec.loader.path)
        return spec


def load(*names):
    """Have the packages of these names loaded so."""
    if sys.version_info < NEW:
        if not hasattr(typing, "override"):
            typing.override = lambda method: method
        sys.meta_path.insert(0, Finder(names))


class Anything(type):
    """Classes of this kind stand for whatever is not there."""

    def __getitem__(cls, _):
        return cls

    def __getattr__(cls, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return Anything(name, (Nothing,), {})


class Nothing(metaclass=Anything):
    def __init__(self, *_, **__):
        pass

    def __init_subclass__(cls, **_):
        pass


class Absent(types.ModuleType):
    """A module of which every name is a class that does nothing, but for decorators, which give back what they got."""

    __path__ = []

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        if name == "callback":
            value = lambda decorated: decorated
        else:
            value = Anything(name, (Exception if name.endswith(("Error", "Failed")) else Nothing,), {})
        setattr(self, name, value)
        return value


class Part(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """A part of a program, which is in `folder`; of the rest, each module is an empty one."""

    def __init__(self, folder, names):
        self.folder, self.names = folder, names

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in self.names:
            return None
        file = self.folder.joinpath(*name.split(".")).with_suffix(".py")
        if file.exists():
            return importlib.util.spec_from_loader(name, Loader(name, str(file)))
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec):
        return Absent(spec.name)

    def exec_module(self, module):
        pass


def load_part(folder, *names):
    """Have the packages of these names loaded from a folder that has only some of their files."""
    load()
    sys.meta_path.insert(0, Part(folder, names))
