"""The tree of errors is what its drawing says, and each error survives a trip to another process."""

import inspect
import pickle
import re

import pytest

import awfe
from awfe import errors

CLASSES = [
    cls
    for _, cls in inspect.getmembers(errors, inspect.isclass)
    if issubclass(cls, Exception) and cls.__module__ == errors.__name__
]
WORKFLOW_ERRORS = [cls for cls in CLASSES if issubclass(cls, errors.WorkflowError)]
STEP_ERRORS = [cls for cls in CLASSES if issubclass(cls, errors.StepError)]


def drawn() -> list[tuple[int, str, tuple[str, ...]]]:
    """Return depth, name and further bases of each class in the docstring's drawing."""
    lines = inspect.getdoc(errors) or ""
    found = re.findall(r"^([│├└─ ]*)([A-Z][A-Za-z]+)(?: \((\w+)\))?(?: {2,}.*)?$", lines, re.MULTILINE)
    return [(len(indent) // 4, name, (extra,) if extra else ()) for indent, name, extra in found]


def defined(cls: type[Exception] = errors.AwfeError, depth: int = 0) -> list[tuple[int, str, tuple[str, ...]]]:
    """Return the same of the classes that are really there, in the order of their definition."""
    further = tuple(base.__name__ for base in cls.__bases__[1:])
    children = [defined(child, depth + 1) for child in CLASSES if child.__bases__[0] is cls]
    in_order = sorted(children, key=lambda child: inspect.getsourcelines(getattr(errors, child[0][1]))[1])
    return [(depth, cls.__name__, further), *(line for child in in_order for line in child)]


def test_the_drawing_shows_the_classes_that_are_there() -> None:
    """Names, order, and indentation as inheritance."""
    assert drawn() == defined()
    assert len(drawn()) == len(CLASSES)


@pytest.mark.parametrize("cls", CLASSES)
def test_every_error_is_exported(cls: type[Exception]) -> None:
    """Who catches one imports it from `awfe`."""
    assert getattr(awfe, cls.__name__) is cls
    assert cls.__name__ in awfe.__all__


@pytest.mark.parametrize("cls", CLASSES)
def test_every_error_has_one_root_and_a_docstring(cls: type[Exception]) -> None:
    """`except AwfeError` catches all of them."""
    assert issubclass(cls, errors.AwfeError)
    assert cls.__doc__


@pytest.mark.parametrize("cls", sorted(set(CLASSES) - set(WORKFLOW_ERRORS), key=str))
def test_a_plain_error_can_be_pickled(cls: type[Exception]) -> None:
    """Its message is its text."""
    again = pickle.loads(pickle.dumps(cls("what to do")))  # noqa: S301 - made here
    assert type(again) is cls
    assert str(again) == "what to do"


@pytest.mark.parametrize("cls", WORKFLOW_ERRORS)
def test_an_error_of_a_workflow_keeps_its_name(cls: type[errors.WorkflowError]) -> None:
    """`.workflow` is there beside the message, also after pickling."""
    again = pickle.loads(pickle.dumps(cls("deploy", "deploy is paused")))  # noqa: S301 - made here
    assert type(again) is cls
    assert (again.workflow, again.message, str(again)) == ("deploy", "deploy is paused", "deploy is paused")


@pytest.mark.parametrize("cls", STEP_ERRORS)
def test_an_error_of_a_step_keeps_the_step(cls: type[errors.StepError]) -> None:
    """`.step` and `.position` are there, also after pickling."""
    again = pickle.loads(pickle.dumps(cls("deploy", "it failed", "Copy", 3)))  # noqa: S301 - made here
    assert type(again) is cls
    assert (again.workflow, str(again), again.step, again.position) == ("deploy", "it failed", "Copy", 3)


@pytest.mark.parametrize(
    ("cls", "state"),
    [(errors.WorkflowPaused, "paused"), (errors.WorkflowStopped, "stopped")],
    ids=["paused", "stopped"],
)
def test_a_halted_workflow_tells_its_state(cls: type[errors.WorkflowHalted], state: str) -> None:
    """`except WorkflowHalted as halted: halted.state`."""
    assert cls("deploy", "it halted").state == state


def test_bad_input_is_a_value_error() -> None:
    """Who expects Python's own error for a bad argument gets it."""
    assert issubclass(errors.ContextError, ValueError)
