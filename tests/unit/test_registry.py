"""Which class a saved name means: looked up, never evaluated, and nothing imported that was not allowed."""

import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from awfe.domain import registry
from awfe.domain.context import Context
from awfe.domain.step import BaseStep, save
from awfe.errors import ConfigError, InvalidInput

HERE = __name__


class Plain(BaseStep):
    """A step without a name of its own."""

    async def work(self, ctx: Context) -> None:
        """Do nothing."""


class Named(BaseStep, name="acme.named", aliases=("acme.old", "acme.older")):
    """A step that was renamed twice."""

    async def work(self, ctx: Context) -> None:
        """Do nothing."""


@dataclass(slots=True)
class Slotted(BaseStep):
    """A step that Python makes twice."""

    size: int = 1

    async def work(self, ctx: Context) -> None:
        """Do nothing."""


@dataclass(slots=True)
class NamedAndSlotted(BaseStep, name="acme.slotted"):
    """The same with a name."""

    async def work(self, ctx: Context) -> None:
        """Do nothing."""


def write_plugin(folder: Path, name: str, source: str) -> None:
    """Write a distribution with an entry point for steps, as pip would install it."""
    (folder / f"{name}.py").write_text(source)
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[awfe.steps]\n{name} = {name}\n")


def test_a_class_is_saved_as_module_and_qualname() -> None:
    """And found by that."""
    assert registry.name_of(Plain, "step 1") == f"{HERE}:Plain"
    assert registry.find(f"{HERE}:Plain") is Plain


def test_a_name_of_its_own_is_what_is_saved() -> None:
    """The module may move then."""
    assert registry.name_of(Named, "step 1") == "acme.named"
    with pytest.raises(LookupError):
        registry.find(f"{HERE}:Named")


@pytest.mark.parametrize("name", ["acme.named", "acme.old", "acme.older"])
def test_old_names_lead_to_the_class(name: str) -> None:
    """Workflows that were saved under them go on."""
    assert registry.find(name) is Named


def test_a_class_that_is_made_again_takes_the_place_of_the_first() -> None:
    """As `@dataclass(slots=True)` does, and a reload."""
    assert registry.find(f"{HERE}:Slotted") is Slotted
    assert registry.name_of(Slotted, "step 1") == f"{HERE}:Slotted"
    assert save(1, Slotted(2)).load() == Slotted(2)


def test_a_class_that_is_made_again_keeps_its_name() -> None:
    """What the first was called."""
    assert registry.find("acme.slotted") is NamedAndSlotted
    assert registry.name_of(NamedAndSlotted, "step 1") == "acme.slotted"


@pytest.mark.parametrize("name", ["acme.named", "acme.old"])
def test_a_name_belongs_to_one_class(name: str) -> None:
    """The message names both classes, and nothing is registered."""
    with pytest.raises(InvalidInput, match=rf"^the step name '{name}' belongs to {HERE}:Named; .*Thief needs another"):
        type("Thief", (BaseStep,), {"__module__": HERE}, name=name, aliases=("acme.thief",))
    assert registry.find(name) is Named
    with pytest.raises(LookupError):
        registry.find("acme.thief")


def test_an_old_name_is_not_given_to_another_class() -> None:
    """Saved workflows would get the wrong step."""
    with pytest.raises(InvalidInput, match=rf"^the step name 'acme.named' belongs to {HERE}:Named"):
        type("Thief", (BaseStep,), {"__module__": HERE}, aliases=("acme.named",))


def test_of_two_classes_of_one_name_the_earlier_can_not_be_saved() -> None:
    """A reload would make the later one of it."""

    def make() -> type[BaseStep]:
        class Twice(BaseStep):
            async def work(self, ctx: Context) -> None:
                pass

        return Twice

    first, second = make(), make()
    assert save(1, second()).impl == f"{HERE}:{second.__qualname__}"
    with pytest.raises(InvalidInput, match=r"^step 1 .*: two different classes are called .*Twice'.*rename one"):
        save(1, first())


@pytest.mark.parametrize("name", ["", "x" * 256, 5, b"x"], ids=["empty", "long", "int", "bytes"])
def test_a_name_fits_its_column(name: object) -> None:
    """A text of 1 to 255 characters."""
    with pytest.raises(InvalidInput, match="is not a str of 1 to 255 printable characters"):
        type("Misnamed", (BaseStep,), {"__module__": HERE}, name=name)
    longest = type("Longest", (BaseStep,), {"__module__": HERE}, name="longest" + "y" * 248)
    assert registry.find("longest" + "y" * 248) is longest


def test_an_unknown_name_is_answered_with_the_closest() -> None:
    """And with what is registered."""
    with pytest.raises(LookupError) as caught:
        registry.find(f"{HERE}:Plane")
    message = caught.value.args[0]
    assert message.startswith(f"no step is registered as '{HERE}:Plane'")
    assert f"did you mean '{HERE}:Plain'?" in message
    assert "Import its module, or name it in step_modules" in message
    assert "acme.named" in message


def test_nothing_is_suggested_when_nothing_is_close() -> None:
    """A wrong hint is worse than none."""
    with pytest.raises(LookupError) as caught:
        registry.find("\u2603" * 30)
    assert "did you mean" not in caught.value.args[0]


@pytest.mark.parametrize(
    "name", ["this:s", "antigravity:fly", "__import__('this')", "os:system", "tests.unit.nowhere:X"]
)
def test_a_saved_name_imports_nothing(name: str) -> None:
    """Whatever a row in the database says."""
    before = set(sys.modules)
    with pytest.raises(LookupError):
        registry.find(name)
    assert not {"this", "antigravity", "tests.unit.nowhere"} & (set(sys.modules) - before)


def test_steps_of_an_entry_point_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are installed, and so allowed; the module is imported when a name is not known yet."""
    write_plugin(
        tmp_path, "awfe_test_plugin", "from awfe import BaseStep\nclass Plugged(BaseStep, name='plug.in'): ...\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert "awfe_test_plugin" not in sys.modules
    assert registry.find("plug.in").__module__ == "awfe_test_plugin"


def test_modules_that_are_allowed_are_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And their steps are found."""
    (tmp_path / "awfe_test_allowed.py").write_text("from awfe import BaseStep\nclass Allowed(BaseStep): ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(LookupError):
        registry.find("awfe_test_allowed:Allowed")
    registry.allow(["awfe_test_allowed"])
    assert registry.find("awfe_test_allowed:Allowed").__name__ == "Allowed"


def test_a_module_that_can_not_be_imported_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names it, whatever the reason."""
    (tmp_path / "awfe_test_broken.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    for module, reason in (("awfe_test_broken", "ZeroDivisionError"), ("awfe_test_nowhere", "ModuleNotFoundError")):
        with pytest.raises(ConfigError, match=rf"^step_modules: '{module}' can't be imported: {reason}"):
            registry.allow([module])
