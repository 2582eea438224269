"""The distribution's name, and the command that installs the packages of an extra.

The command and the import package are called `trainer`; the distribution of that name on the package
index is another project, so no message here may suggest installing it.
"""

from __future__ import annotations

import re
import shlex
from importlib import metadata

DISTRIBUTION = "yaml-trainer"

_EXTRA = re.compile(r"""\bextra\s*==\s*['"]([\w-]+)['"]""")


def install_command(extra: str) -> str:
    """Return the command that installs the packages of an extra: `pip install 'optuna<5,>=4.5'`.

    It lists the packages, not the extra, so that it works however this package was installed.

    Raises:
        KeyError: There is no such extra.
    """
    try:
        requirements = metadata.requires(DISTRIBUTION) or ()
    except metadata.PackageNotFoundError:  # run from a checkout without installing it
        return f"pip install '.[{extra}]'"
    packages = []
    for requirement in requirements:
        package, _, marker = requirement.partition(";")
        if extra in _EXTRA.findall(marker):
            packages.append(package.strip())
    if not packages:
        raise KeyError(extra)
    return shlex.join(["pip", "install", *packages])
