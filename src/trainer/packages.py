"""The distribution that this package comes in, and how to install what its extras need.

The command and the import package are called `trainer`; a distribution of that name on the package index
is another project, so nothing here may tell a user to install it.
"""

from __future__ import annotations

import re
import shlex
from importlib import metadata

DISTRIBUTION = "yaml-trainer"

_EXTRA = re.compile(r"""\bextra\s*==\s*['"]([\w-]+)['"]""")


def install_command(extra: str) -> str:
    """The command that installs what an extra needs: `pip install 'optuna<5,>=4.5'`.

    It names the packages rather than the extra, as it has to work wherever this package was installed
    from.

    Raises:
        KeyError: There is no such extra.
    """
    try:
        requirements = metadata.requires(DISTRIBUTION) or ()
    except metadata.PackageNotFoundError:  # run from a checkout that was never installed
        return f"pip install '.[{extra}]'"
    found = []
    for requirement in requirements:
        package, _, marker = requirement.partition(";")
        if extra in _EXTRA.findall(marker):
            found.append(package.strip())
    if not found:
        raise KeyError(extra)
    return shlex.join(["pip", "install", *found])
