"""The one door for layers and callbacks of the user's own: `package.module:function`.

Owns: the import and the call. Does not own: the permission, which whoever runs the program gives.
"""

from __future__ import annotations

import importlib
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TypeVar

from trainer.config.layers import Custom
from trainer.errors import ConfigError, Problem

Made = TypeVar("Made")


def build_custom(
    custom: Custom, kind: type[Made], *, allow_custom: bool, base: Path, key: str
) -> Made:
    """What a function of the user's own returns.

    Args:
        custom: The function and its arguments.
        kind: What it has to return an instance of.
        allow_custom: Whether code of the config's choice may run.
        base: The directory its modules are looked for where the layer's folder does not have them.
        key: The config key of the layer.

    Raises:
        ConfigError: It is not allowed, cannot be imported, raises, or returns something else.
    """
    if not allow_custom:
        raise ConfigError(
            Problem(
                where="",
                expected="permission to import code of the user's own",
                found=f"custom: {custom.function}",
                fix="if you trust that code, add --allow-custom or set TRAINER_ALLOW_CUSTOM=1",
                key=key,
            )
        )
    module_name, _, function_name = custom.function.partition(":")
    base = _home(custom, module_name, base)
    try:
        with _first_on_path(base, module_name):
            function = getattr(importlib.import_module(module_name), function_name)
            made = function(**custom.arguments)
    except Exception as error:
        raise ConfigError(
            Problem(
                where="",
                expected=f"a function in {base} or an installed package that returns a {kind.__name__}",
                found=f"{custom.function}, which raised {type(error).__name__}: {error}",
                fix="mend the function, its name or its arguments",
                key=key,
            )
        ) from error
    if not isinstance(made, kind):
        raise ConfigError(
            Problem(
                where="",
                expected=f"a Keras {kind.__name__}",
                found=f"{type(made).__name__} from {custom.function}",
                fix=f"let the function return an instance of Keras's {kind.__name__}",
                key=key,
            )
        )
    return made


def _home(custom: Custom, module_name: str, base: Path) -> Path:
    """The layer's folder; `base` where only that has the module, as when a run was moved."""
    if custom.folder is None or (
        _has(base, module_name) and not _has(Path(custom.folder), module_name)
    ):
        return base
    return Path(custom.folder)


def _has(folder: Path, module_name: str) -> bool:
    top = module_name.partition(".")[0]
    return (folder / f"{top}.py").exists() or (folder / top).is_dir()


@contextmanager
def _first_on_path(base: Path, module_name: str) -> Iterator[None]:
    """Modules of `base` come first; one of the same name from another config is forgotten."""
    top = module_name.partition(".")[0]
    if _has(base, module_name) and top in sys.modules and _is_anothers(sys.modules[top], base):
        for name in [name for name in sys.modules if name == top or name.startswith(f"{top}.")]:
            del sys.modules[name]
    place = str(base)
    sys.path.insert(0, place)
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(place)


def _is_anothers(module: ModuleType, base: Path) -> bool:
    """Whether a loaded module stands neither in `base` nor among what is installed."""
    installed = [Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib", "platlib")]
    places = [Path(path) for path in getattr(module, "__path__", ())]
    if getattr(module, "__file__", None) is not None:
        places.append(Path(str(module.__file__)))
    known = [place.resolve() for place in (base, *installed)]
    return bool(places) and not any(
        place.resolve().is_relative_to(one) for place in places for one in known
    )
