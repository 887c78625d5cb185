"""The registry of models: every module here holds one, and its file's name is the model's with `_` for `-`."""

import importlib
import pkgutil

from hive.errors import TaskDeclarationError, UnknownNameError, did_you_mean
from hive_workers.training.model import Model


def model_names() -> tuple[str, ...]:
    """All models, without importing one.

    >>> model_names()
    ('digits', 'gis-lidar')
    """
    return tuple(sorted(module.name.replace("_", "-") for module in pkgutil.iter_modules(__path__)))


def find_model(name: str) -> Model:
    """Find a model by its name.

    Raises
    ------
    UnknownNameError
        Lists the models that there are.
    TaskDeclarationError
        The module of that name does not hold exactly one model of that name.
    """
    names = model_names()
    if name not in names:
        raise UnknownNameError(f"There is no model {name!r}. Known are: {', '.join(names)}.{did_you_mean(name, names)}")
    module = importlib.import_module(f"{__name__}.{name.replace('-', '_')}")
    models = [value for value in vars(module).values() if isinstance(value, Model)]
    if [model.name for model in models] != [name]:
        raise TaskDeclarationError(f"{module.__name__} must hold exactly one Model, called {name!r}.")
    return models[0]


def model_help() -> str:
    """One sentence on each model, for `--help`."""
    models = [find_model(name) for name in model_names()]
    return " ".join(f"{model.name}: {model.summary}, from {model.needs}." for model in models)
