"""The tree of errors: everything that is raised on purpose hangs in it."""

import importlib
import pkgutil
from types import ModuleType

import backbone
import consumers
import schemas
import service
from schemas.errors import LogGap, MealtrailError, PartitionStopped


def modules_of(package: ModuleType) -> list[ModuleType]:
    """All modules of a package but those that run when they are imported."""
    found = pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    names = [info.name for info in found if not info.name.endswith("__main__") and ".migrations." not in info.name]
    return [importlib.import_module(name) for name in names]


def test_every_error_of_ours_is_in_the_tree() -> None:
    """A class of exceptions that is not a MealtrailError would have no code, and callers would not expect it."""
    outside = {
        f"{kind.__module__}.{kind.__name__}"
        for package in (schemas, backbone, consumers, service)
        for module in modules_of(package)
        for kind in vars(module).values()
        if isinstance(kind, type)
        and issubclass(kind, Exception)
        and kind.__module__ == module.__name__
        and not issubclass(kind, MealtrailError)
    }
    assert not outside


def test_a_stopped_partition_says_where() -> None:
    """Partition and offset as fields where they are known, for those who show or match them."""
    assert (PartitionStopped("x").partition, PartitionStopped("x").offset) == (None, None)
    gap = LogGap("offset 7 is missing", partition=2, offset=7)
    assert (str(gap), gap.partition, gap.offset) == ("offset 7 is missing", 2, 7)
