"""Values read as types, and dataclasses as settings."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from refusals import refusal

from seam_onnx.errors import UsageError
from seam_onnx.keys import keys_of
from seam_onnx.settings import Setting, Settings, dump, recipe_hash
from seam_onnx.values import Above, Count, Labels, Natural, Positive, Share, kind, plain, read

Word = Literal["crop", "flip"]
Numbers = tuple[float, ...]


@pytest.mark.parametrize(
    ("hint", "value", "found"),
    [
        (int, "12", 12),
        (int, -3, -3),
        (float, "1e-3", 0.001),  # YAML 1.1 takes 1e-3 for a text
        (float, 3, 3),
        (float, "30", 30),
        (bool, True, True),
        (str, "macs=0.3", "macs=0.3"),
        (Path, "a/b", Path("a/b")),
        (Path | None, None, None),
        (Path | None, "a", Path("a")),
        (Share, 1, 1),
        (Numbers, ".1, .2", (0.1, 0.2)),
        (Numbers, 0.5, (0.5,)),
        (Numbers | None, [1, 2.5], (1, 2.5)),
        (tuple[Natural, ...], "1,16", (1, 16)),
        (tuple[Natural, Natural] | None, 224, (224, 224)),
        (tuple[Natural, Natural], "240x320", (240, 320)),
        (tuple[Natural, Natural], [240, 320], (240, 320)),
        (tuple[Word, ...], "crop,flip", ("crop", "flip")),
        (tuple[Word, ...], "none", ()),
        (tuple[Word, ...], [], ()),
        (tuple[str, ...], "recall.great white, x>=1", ("recall.great white, x>=1",)),
        (Mapping[str, Natural], ["a=1", "b=c=2"], {"a": 1, "b=c": 2}),
        (Mapping[str, Natural], {"a": 1}, {"a": 1}),
        (Labels, "3-7", "3-7"),
        (Labels, 7, "7"),
        (Labels, ["cat", 3, "great white shark, Carcharodon", '"a"'], 'cat,3,"great white shark, Carcharodon","a"'),
    ],
)
def test_what_is_read(hint, value, found):
    assert read(hint, value) == found
    assert read(hint, plain(found)) == found


@pytest.mark.parametrize(
    ("hint", "value", "words"),
    [
        (int, 2.5, "a whole number"),
        (int, "2.5", "a whole number"),
        (int, True, "a whole number"),
        (float, False, "a number"),
        (float, "nan", "a number"),
        (float, [1], "a number"),
        (bool, "yes", "true or false"),
        (bool, 1, "true or false"),
        (str, 5, "a text"),
        (Path, "", "a path"),
        (Natural, 0, "a whole number above 0"),
        (Count, -1, "a whole number of at least 0"),
        (Positive, 0.0, "a number above 0"),
        (Share, 1.01, "a number from 0 to 1"),
        (Positive | None, -1, "a number above 0"),
        (Numbers, [], "a list of numbers"),
        (Numbers, "a,b", "a list of numbers"),
        (tuple[Natural, ...], "1,0", "a list of whole numbers above 0"),
        (tuple[Word, ...], "rotate", "one of crop, flip"),
        (tuple[Natural, Natural], "0", "a size"),
        (tuple[Natural, Natural], [1, 2, 3], "a size"),
        (Mapping[str, Natural], ["a"], "name=size"),
        (Literal["channel", "weight"], "row", "one of channel, weight"),
        (Literal["channel", "weight"], ["row"], "one of channel, weight"),
        (Labels, [True, "cat"], "quotes"),
        (Labels, 2.5, "quotes"),
    ],
)
def test_what_is_not(hint, value, words):
    with pytest.raises(ValueError):  # noqa: PT011  # the reader says which value, the settings say why
        read(hint, value)
    assert words in kind(hint)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_survives_being_text(number):
    assert read(float, str(number)) == read(float, number) == number


@given(st.lists(st.integers(1, 10**6), min_size=1))
def test_a_list_survives_being_text(numbers):
    assert read(tuple[Natural, ...], ",".join(map(str, numbers))) == tuple(numbers)


# ---- dataclasses ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fast:
    steps: Natural = 3
    """How far."""
    seed: Count = 0
    """Of luck."""


@dataclass(frozen=True)
class Slow:
    steps: Natural = 300
    """How far."""
    seed: Count = 0
    """Of luck."""
    patience: Positive = 1.0
    """How long."""


@dataclass(frozen=True)
class Trip:
    goal: str = field(metadata={"section": "where", "name": "to"})
    """The end."""
    pace: Literal["fast", "slow", "still"] = field(default="fast", metadata={"section": "how"})
    """Which."""
    fast: Fast = field(default_factory=Fast, metadata={"when": ("pace", "fast")})
    slow: Slow = field(default_factory=Slow, metadata={"when": ("pace", "slow")})
    via: tuple[str, ...] = field(default=(), metadata={"section": "where"})
    """Stops."""
    rest: Count = field(default=0, metadata={"section": "how", "when": ("pace", "slow", "still")})
    """Hours."""
    said: str = field(default="", metadata={"key": False})
    """As it was said."""


def built(**values: Any) -> Trip:
    return Settings.of_names(Trip, {"goal": "Rome", **values}).build(Trip)


def test_every_field_is_a_key():
    keys = keys_of(Trip)
    assert [key.key for key in keys.values()] == [
        "where.to", "where.via", "how.pace", "how.steps", "how.seed", "how.patience", "how.rest",
    ]  # fmt: skip
    assert keys["steps"].defaults == "3; slow: 300"
    assert keys["patience"].text == "How long."


def test_a_key_may_count_with_several_values_of_another():
    assert [built(pace=pace, rest=8).rest for pace in ("slow", "still")] == [8, 8]
    with refusal(UsageError, "rest", "does nothing with pace fast", "choose pace slow", code=2):
        built(rest=8)


def test_a_shared_key_goes_everywhere_and_the_place_in_force_decides():
    assert built(steps=7) == Trip("Rome", fast=Fast(7), slow=Slow(7))
    assert dump(built())["how"] == {"pace": "fast", "steps": 3, "seed": 0, "patience": 1, "rest": 0}
    assert dump(built(pace="slow"))["how"]["steps"] == 300
    with refusal(UsageError, "steps 0", "is not a whole number above 0", "the default is 300", code=2):
        built(pace="slow", steps=0)


@given(st.sampled_from(["fast", "slow"]), st.integers(1, 9), st.integers(0, 9), st.lists(st.text()), st.floats(0.1, 9))
def test_what_is_dumped_makes_the_same(pace, steps, seed, via, patience):
    trip = built(pace=pace, steps=steps, seed=seed, via=via, **({"patience": patience} if pace == "slow" else {}))
    flat = {
        name: dump(trip)[key.section][key.key.split(".")[1]] for name, key in keys_of(Trip).items()
    }  # fmt: skip
    again = Settings.of_names(Trip, flat).build(Trip)
    assert again == trip
    assert recipe_hash(dump(again)) == recipe_hash(dump(trip))


def test_the_hash_is_of_what_was_asked_and_not_of_where_it_goes():
    recipe = {"a": {"x": 1}, "output": {"path": "one"}}
    assert recipe_hash(recipe) == recipe_hash({"output": {"path": "two"}, "a": {"x": 1}})
    assert recipe_hash(recipe) != recipe_hash({"a": {"x": 2}})


def test_refusals_name_their_origin():
    with refusal(UsageError, "keyword step", "did you mean steps?", code=2):
        built(step=1)
    with refusal(UsageError, "goal", "is missing", "where.to in a recipe", code=2):
        Settings().build(Trip)
    with refusal(UsageError, "--patience 'x'", "is not a number above 0", code=2):
        Settings({"goal": Setting("Rome", "-g"), "patience": Setting("x", "--patience")}).build(Trip)


def test_what_does_nothing_is_refused_unless_it_is_the_default():
    with refusal(UsageError, "patience", "does nothing with pace fast", "or choose pace slow", code=2):
        built(patience=2)
    assert built(patience=1) == built()
    assert built(pace="slow", patience=2).slow.patience == 2


def test_none_is_the_default_and_fixed_fields_are_no_keys():
    settings = Settings({"goal": Setting("Rome", "-g"), "pace": Setting(None, "--pace"), "other": Setting(1, "-o")})
    assert settings.build(Trip, said="go") == Trip("Rome", said="go")
    assert settings.build(Trip, goal="Oslo") == Trip("Oslo")


def test_bounds_are_words():
    assert [str(Above(0.5)), kind(Share), kind(Count)] == [
        " above 0.5",
        "a number from 0 to 1",
        "a whole number of at least 0",
    ]
