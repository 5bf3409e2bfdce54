"""Which of the libraries are installed, which stack they make, and what is wrong with that."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.metadata import distributions

# stack -> import name -> distributions that install it, the one that our extra installs first
STACKS = {
    "onedl": {
        "mmengine": ("onedl-mmengine",),
        "mmcv": ("onedl-mmcv",),
        "mmpretrain": ("onedl-mmpretrain",),
        "mmdet": ("onedl-mmdetection",),
        "mmseg": ("onedl-mmsegmentation",),
    },
    "openmmlab": {
        "mmengine": ("mmengine", "mmengine-lite"),
        "mmcv": ("mmcv-lite", "mmcv"),
        "mmpretrain": ("mmpretrain",),
        "mmdet": ("mmdet",),
        "mmseg": ("mmsegmentation",),
    },
}
FOUNDATION = ("mmengine", "mmcv")
LIBRARIES = ("mmpretrain", "mmdet", "mmseg")
UNDECLARED = {"mmsegmentation": ("ftfy", "regex")}  # what a distribution imports without saying so


@dataclass
class Inventory:
    found: dict[str, dict[str, str]]  # import name -> distribution -> version
    stacks: list[str]  # those of which anything is installed

    @property
    def stack(self) -> str:
        return self.stacks[0] if self.stacks else "onedl"

    def install(self, *names: str) -> str:
        """The command that installs these libraries (default: all) of this stack."""
        wanted = [STACKS[self.stack][name][0] for name in names or self.found]
        needed = [other for name in wanted for other in UNDECLARED.get(name, ())]
        return f"pip install {' '.join(wanted + needed)}"

    @property
    def problem(self) -> str:
        """What is wrong with this combination and how to mend it; empty where nothing is."""
        doubled = [" and ".join(found) for found in self.found.values() if len(found) > 1]
        if len(self.stacks) > 1 or doubled:
            what = "two stacks, onedl and openmmlab" if len(self.stacks) > 1 else doubled[0]
            installed = " ".join(name for found in self.found.values() for name in found)
            return (
                f"There are {what}, which install the same import packages over each other. Keep "
                f"one stack: pip uninstall -y {installed} && {self.install()}"
            )
        missing = [name for name in FOUNDATION if not self.found[name]]
        if not any(self.found[name] for name in LIBRARIES):
            missing.append("mmpretrain, mmdet or mmseg")
        return f"There is no {', no '.join(missing)}: {self.install()}" if missing else ""


def take_inventory() -> Inventory:
    versions = {
        re.sub(r"[-_.]+", "-", dist.metadata["Name"]).lower(): dist.version
        for dist in distributions()
    }
    found: dict[str, dict[str, str]] = {name: {} for name in (*FOUNDATION, *LIBRARIES)}
    stacks = []
    for stack, libraries in STACKS.items():
        for name, candidates in libraries.items():
            present = {c: versions[c] for c in candidates if c in versions}
            found[name] |= present
            if present and stack not in stacks:
                stacks.append(stack)
    return Inventory(found, stacks)


def how_to_compile_mmcv() -> str:
    """The command that replaces the installed mmcv by the same version with its compiled ops.

    The build must see torch, else it leaves the ops out (and pip caches such a wheel).
    """
    installed = take_inventory().found["mmcv"] or {"mmcv-lite": "2.1.0"}
    name, version = next(iter(installed.items()))
    package = name.removesuffix("-lite")
    return (
        f"pip install 'setuptools>=80,<82' wheel && pip uninstall -y {name} && "
        "pip install --no-build-isolation --no-deps --no-cache-dir "
        f"--no-binary {package} {package}=={version}"
    )


def remedy(error: BaseException) -> str:
    """What to do about an import that failed with ``error``; empty where we do not know."""
    text = str(error)
    if re.search(r"lib(GL|gthread|glib)\S*\.so", text):
        return (
            "OpenCV needs a system library: apt-get install -y libgl1 libglib2.0-0, or "
            "pip install --force-reinstall --no-deps opencv-python-headless"
        )
    if "torchvision::" in text:
        return "torch and torchvision are not of one release: install the pair of constraints.txt"
    if "_ext" in text and "undefined symbol" in text:
        return f"mmcv's ops were compiled for another torch: {how_to_compile_mmcv()}"
    if isinstance(error, ModuleNotFoundError) and error.name:
        return f"pip install {error.name.partition('.')[0]}"
    return ""
