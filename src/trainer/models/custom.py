"""Import of custom layers and callbacks from `package.module:function`.

No other module imports user code; it requires the user's permission.
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

from trainer.config.layers.custom import Custom
from trainer.errors import ConfigError, Problem

T = TypeVar("T")


def build_custom(custom: Custom, kind: type[T], *, allow_custom: bool, base: Path, key: str) -> T:
    """Call a user-defined function and return its result.

    Args:
        custom: The function and its arguments.
        kind: Class that the result has to be an instance of.
        allow_custom: Whether code named in the config may run.
        base: Directory to import from if the layer's folder does not contain the module.
        key: Config key of the layer.

    Raises:
        ConfigError: It is not allowed, cannot be imported, raises, or returns a different type.
    """
    if not allow_custom:
        raise ConfigError(
            Problem(
                where="",
                expected="permission to import user code",
                found=f"custom: {custom.function}",
                fix="if you trust that code, add --allow-custom or set TRAINER_ALLOW_CUSTOM=1",
                key=key,
            )
        )
    module_name, _, function_name = custom.function.partition(":")
    base = _folder(custom, module_name, base)
    try:
        with _first_on_path(base, module_name):
            function = getattr(importlib.import_module(module_name), function_name)
            result = function(**custom.arguments)
    except Exception as error:
        raise ConfigError(
            Problem(
                where="",
                expected=f"a function in {base} or an installed package that returns a {kind.__name__}",
                found=f"{custom.function}, which raised {type(error).__name__}: {error}",
                fix="correct the function, its name or its arguments",
                key=key,
            )
        ) from error
    if not isinstance(result, kind):
        raise ConfigError(
            Problem(
                where="",
                expected=f"a Keras {kind.__name__}",
                found=f"{type(result).__name__} from {custom.function}",
                fix=f"make the function return a Keras {kind.__name__}",
                key=key,
            )
        )
    return result


def _folder(custom: Custom, module_name: str, base: Path) -> Path:
    """Return the layer's folder, or `base` if only that has the module, as after a run was moved."""
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
    """Context manager that puts `base` first on the import path.

    A loaded module of the same name that belongs to another config is unloaded.
    """
    top = module_name.partition(".")[0]
    if _has(base, module_name) and top in sys.modules and _is_foreign(sys.modules[top], base):
        for name in [name for name in sys.modules if name == top or name.startswith(f"{top}.")]:
            del sys.modules[name]
    entry = str(base)
    sys.path.insert(0, entry)
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(entry)


def _is_foreign(module: ModuleType, base: Path) -> bool:
    """Return whether a loaded module is neither in `base` nor installed."""
    installed = [Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib", "platlib")]
    paths = [Path(path) for path in getattr(module, "__path__", ())]
    if getattr(module, "__file__", None) is not None:
        paths.append(Path(str(module.__file__)))
    roots = [path.resolve() for path in (base, *installed)]
    return bool(paths) and not any(
        path.resolve().is_relative_to(root) for path in paths for root in roots
    )
