"""The labels of the task: names from anywhere, the --labels syntax, what Wanted does to labels and scores."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seam_onnx.data.names import match, namesakes
from seam_onnx.errors import DataError, LabelError, PathError
from seam_onnx.labels import Wanted, names_from_metadata, parse, read_names, wanted

ANIMALS = ("airplane", "Cat", "dog", "Polar Bear", "tench, Tinca tinca", "jack-o'-lantern")
DIGITS = tuple("0123456789")
SHARED = Path(__file__).parents[2] / "shared" / "data"
patient = settings(deadline=None)


def written(tmp_path, text, name="names.txt"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def one_line(error):
    return "\n" not in str(error.value) and str(error.value)


# names


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("cat\ndog\ntench, Tinca tinca\n\n\n", "a.txt"),
        ("\ufeffcat\r\ndog\r\ntench, Tinca tinca", "bom.txt"),
        ("0  cat\n1  dog\n2  tench, Tinca tinca\n", "coral.txt"),
        ("2: tench, Tinca tinca\n0: cat\n1: dog", "shuffled.txt"),
        ("0 cat\n1 dog\n2 tench, Tinca tinca\n", "single-space.txt"),
        ('["cat", "dog", "tench, Tinca tinca"]', "list.json"),
        ('{"1": "dog", "0": "cat", "2": "tench, Tinca tinca"}', "by-id.json"),
        ('{"dog": 1, "cat": 0, "tench, Tinca tinca": 2}', "by-name.json"),
        (
            '{"id2label": {"0": "cat", "1": "dog", "2": "tench, Tinca tinca"}, "model_type": "vit"}',
            "config.json",
        ),
        ('{"label2id": {"cat": 0, "dog": 1, "tench, Tinca tinca": 2}}', "label2id.json"),
        ('{"0": ["n1", "cat"], "1": ["n2", "dog"], "2": ["n3", "tench, Tinca tinca"]}', "keras.json"),
    ],
)
def test_every_kind_of_names_file_gives_the_same_names(tmp_path, text, name):
    assert read_names(written(tmp_path, text, name)) == ("cat", "dog", "tench, Tinca tinca")


def test_names_that_begin_with_numbers_are_no_ids(tmp_path):
    assert read_names(written(tmp_path, "20 km/h\n30 km/h\n")) == ("20 km/h", "30 km/h")
    assert read_names(written(tmp_path, "0\n1\n2\n")) == ("0", "1", "2")


def test_digits_by_name_are_read_as_name_to_id(tmp_path):
    assert read_names(written(tmp_path, '{"3": 0, "5": 1}', "a.json")) == ("3", "5")


@pytest.mark.parametrize(
    ("text", "name", "why"),
    [
        ("", "a.txt", "line 1 is empty"),
        ("cat\n\ndog", "a.txt", "line 2 is empty"),
        ("0  cat\n2  dog", "a.txt", "not 0 to 1"),
        ("1: cat\n2: dog", "a.txt", "not 0 to 1"),
        ("{", "a.json", "not JSON"),
        ("[]", "a.json", "no list of class names"),
        ("3", "a.json", "no list of class names"),
        ("{}", "a.json", "0 names"),
        ('["cat", null]', "a.json", "None"),
        ('["cat", true]', "a.json", "True"),
        ('["cat", " "]', "a.json", "place of a class name"),
        ('{"cat": "dog"}', "a.json", "neither id: name"),
        ('{"0": "cat", "2": "dog"}', "a.json", "not 0 to 1"),
        ('{"cat": 0, "dog": 0}', "a.json", "not 0 to 1"),
        ("[" * 100_000, "a.json", ""),
    ],
)
def test_a_senseless_names_file_is_a_label_error(tmp_path, text, name, why):
    with pytest.raises(LabelError) as error:
        read_names(written(tmp_path, text, name))
    assert why in one_line(error)
    assert name in one_line(error)


def test_an_unreadable_names_file_is_a_path_error(tmp_path):
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9\n")
    for path in (tmp_path / "absent.txt", tmp_path, tmp_path / "latin.txt"):
        with pytest.raises(PathError) as error:
            read_names(path)
        assert path.name in one_line(error)


@pytest.mark.parametrize(
    ("props", "names"),
    [
        ({"names": "{0: 'person', 1: 'bicycle'}"}, ("person", "bicycle")),
        ({"names": '["person", "bicycle"]'}, ("person", "bicycle")),
        ({"labels": "person, bicycle"}, ("person", "bicycle")),
        ({"labels": '["person", "bicycle"]'}, ("person", "bicycle")),
        ({"id2label": '{"0": "person", "1": "bicycle"}'}, ("person", "bicycle")),
        ({"classes": "person,bicycle"}, ("person", "bicycle")),
        ({"names": "?", "classes": "person,bicycle"}, ("person", "bicycle")),
        ({"names": "{0: 'person', 2: 'bicycle'}"}, None),
        ({"names": "{0: 'person', 1: 'bic"}, None),
        ({"names": "__import__('os').getcwd()"}, None),
        ({"names": "(" * 5000}, None),
        ({"names": "person"}, None),
        ({"names": "a,,b"}, None),
        ({"author": "person,bicycle"}, None),
        ({}, None),
    ],
)
def test_names_from_metadata(props, names):
    assert names_from_metadata(props) == names


def test_the_coral_file_and_its_two_cranes():
    path = SHARED / "onnx" / "coral_imagenet_labels.txt"
    if not path.exists():
        pytest.skip("no shared data here")
    names = read_names(path)
    assert (len(names), names[0], names[1]) == (1001, "background", "tench, Tinca tinca")
    assert parse("tench,background", 1001, names) == (1, 0)
    assert match("crane", names) == (135, 518)
    assert namesakes("maillot", names) == (639, 640)
    with pytest.raises(LabelError, match=r"135 .*518"):
        parse("crane", 1001, names)
    assert wanted("135,518", 1001, names, False).names == ("crane (135)", "crane (518)")


# parse


@pytest.mark.parametrize(
    ("spec", "indices"),
    [
        ("Cat,dog", (1, 2)),
        (" dog , Cat ,", (2, 1)),
        ("cat", (1,)),
        ("polar_bear", (3,)),
        ("POLAR-BEAR,AirPlane", (3, 0)),
        ("tench", (4,)),
        ('"tench, Tinca tinca",Cat', (4, 1)),
        ("'tench, Tinca tinca'", (4,)),
        ("jack-o'-lantern,Cat", (5, 1)),
        ("3,1", (3, 1)),
        ("1-3", (1, 2, 3)),
        ("5,0-1,dog", (5, 0, 1, 2)),
        ("0-5", (0, 1, 2, 3, 4, 5)),
    ],
)
def test_parse(spec, indices):
    assert parse(spec, len(ANIMALS), ANIMALS) == indices


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ("", "no label is named"),
        (" , ", "no label is named"),
        ("cta", "did you mean 'Cat'?"),
        ("Tinca tinca", "did you mean 'tench, Tinca tinca'?"),
        ("xyzzy", "use one of its 6 classes: 'airplane', 'Cat'"),
        ("Cat,1", "class 1 again, after 'Cat'"),
        ("0-2,1-3", "again"),
        ("6", "0..5"),
        ("-1", "0..5"),
        ("4-6", "0..5"),
        ("3-1", "0..5"),
        ("0-999999999999999999", "0..5"),
        ("9" * 5000, "no such class"),
        ('"3"', "no such class"),
    ],
)
def test_parse_refuses_in_one_line(spec, why):
    with pytest.raises(LabelError) as error:
        parse(spec, len(ANIMALS), ANIMALS)
    assert why in one_line(error)


def test_names_differing_in_case_only_are_exact_or_ambiguous():
    names = ("Cardigan, Welsh", "cardigan", "CARDIGAN")
    assert parse("cardigan,Cardigan", 3, names) == (1, 0)
    with pytest.raises(LabelError, match=r"may mean the classes 1 .*2 "):
        parse("carDigan", 3, names)


def test_without_names_only_indices():
    assert parse("2,0", 3, None) == (2, 0)
    with pytest.raises(LabelError, match=r"unknown; use indices 0..2"):
        parse("cat", 3, None)


def test_names_must_be_as_many_as_the_classes():
    with pytest.raises(LabelError, match="there are 6 of them and the model has 10 classes"):
        parse("Cat", 10, ANIMALS)


def test_digits_agree_with_their_indices():
    assert parse("3,8", 10, DIGITS) == (3, 8)
    assert parse("7-9", 10, DIGITS) == (7, 8, 9)


def test_digits_that_disagree_with_their_indices_are_refused_until_said_which():
    names = tuple("1234567890")
    with pytest.raises(LabelError, match="'3': is the name of class 2 and also an index") as error:
        parse("3", 10, names)
    assert "'\"3\"'" in str(error.value)
    assert "3-3" in str(error.value)
    assert parse('"3",3-3', 10, names) == (2, 3)
    assert parse("3", 3, ("1", "2", "3")) == (2,)  # no class has the index 3


def test_names_that_look_like_ranges():
    ages = ("0-2", "3-9", "10-19", "20-29")
    assert parse("10-19", 4, ages) == (2,)
    with pytest.raises(LabelError, match="also an index"):
        parse("0-2", 4, ages)
    assert parse('"0-2"', 4, ages) == (0,)


def test_labels_from_a_file(tmp_path):
    path = written(tmp_path, "dog\n\n tench, Tinca tinca \n0-1\n")
    assert parse(f"@{path}", len(ANIMALS), ANIMALS) == (2, 4, 0, 1)
    assert parse(f"5,@{path}", len(ANIMALS), ANIMALS) == (5, 2, 4, 0, 1)
    with pytest.raises(LabelError, match="again"):
        parse(f"dog,@{path}", len(ANIMALS), ANIMALS)
    with pytest.raises(PathError, match=r"absent\.txt"):
        parse(f"@{tmp_path / 'absent.txt'}", len(ANIMALS), ANIMALS)
    with pytest.raises(LabelError, match="no label is named"):
        parse(f"@{written(tmp_path, '', 'empty.txt')}", len(ANIMALS), ANIMALS)
    with pytest.raises(LabelError, match="no such class"):
        parse(f"@{written(tmp_path, f'@{path}', 'nested.txt')}", len(ANIMALS), ANIMALS)


class_names = st.lists(
    st.text(st.characters(codec="utf-8", exclude_characters='"'), min_size=1)
    .map(str.strip)
    .filter(lambda n: n and "\n" not in n),
    min_size=1,
    max_size=8,
    unique=True,
)


@patient
@given(class_names, st.data())
def test_any_quoted_names_are_found_in_their_order(names, data):
    order = data.draw(st.permutations(range(len(names))))
    spec = ",".join(f'"{names[i]}"' for i in order)
    assert parse(spec, len(names), names) == tuple(order)


@patient
@given(st.text(max_size=40), class_names)
def test_no_text_makes_parse_fail_otherwise(spec, names):
    try:
        indices = parse(spec, len(names), names)
    except (LabelError, PathError):
        return
    assert len(set(indices)) == len(indices) > 0
    assert set(indices) <= set(range(len(names)))


# Wanted


def test_one_label_is_against_the_rest():
    ship = wanted("dog", len(ANIMALS), ANIMALS, False)
    assert ship == Wanted((2,), ("dog",), True, 6)
    assert ship.outputs == ("dog", "other")
    assert ship.index_map() == {"dog": 2}
    assert ship.unwanted == (0, 1, 3, 4, 5)


def test_several_labels_are_told_from_each_other():
    assert wanted("dog,Cat", 6, ANIMALS, False).outputs == ("dog", "Cat")
    assert wanted("dog,Cat", 6, ANIMALS, True).outputs == ("dog", "Cat", "other")
    assert wanted("4,2", 6, None, False).outputs == ("4", "2")
    assert wanted("0-5", 6, ANIMALS, False).unwanted == ()


def test_the_rest_output_finds_a_free_name():
    assert wanted("Other", 3, ("Other", "rest", "b"), False).outputs == ("Other", "rest")
    assert Wanted((0, 1, 2), ("other", "rest", "other_2"), True, 4).outputs[-1] == "other_3"


@pytest.mark.parametrize(("spec", "classes"), [("0-2", 3), ("0", 1)])
def test_no_rest_where_every_class_is_wanted(spec, classes):
    with pytest.raises(LabelError, match="there is no other class"):
        wanted(spec, classes, None, True)


@pytest.mark.parametrize(
    "fields",
    [
        ((), (), True, 3),
        ((1, 1), ("a", "b"), False, 3),
        ((1,), ("a", "b"), False, 3),
        ((3,), ("a",), True, 3),
    ],
)
def test_contradictory_fields_are_refused(fields):
    with pytest.raises(LabelError):
        Wanted(*fields)


@st.composite
def tasks(draw):
    classes = draw(st.integers(2, 12))
    indices = tuple(draw(st.lists(st.integers(0, classes - 1), min_size=1, unique=True)))
    rest = len(indices) < classes and (len(indices) == 1 or draw(st.booleans()))
    return Wanted(indices, tuple(map(str, indices)), rest, classes)


@patient
@given(tasks(), st.data())
def test_relabel_is_the_position_of_the_output(task, data):
    y = np.array(data.draw(st.lists(st.integers(0, task.classes - 1))), np.int64)
    expected = [
        task.indices.index(label) if label in task.indices else len(task.indices) if task.rest else -1
        for label in y.tolist()
    ]
    assert task.relabel(y).tolist() == expected
    assert task.relabel(y).dtype == np.int64


@patient
@given(tasks(), st.integers(0, 2**32 - 1), st.sampled_from([np.float32, np.float64]))
def test_restrict_is_the_originals_own_probability(task, seed, dtype):
    scores = (20 * np.random.default_rng(seed).standard_normal((5, task.classes))).astype(dtype)
    restricted = task.restrict(scores)
    assert restricted.shape == (5, len(task.outputs))
    assert restricted.dtype == dtype
    k = len(task.indices)
    np.testing.assert_array_equal(restricted[:, :k], scores[:, list(task.indices)])
    if task.rest:
        p, q = softmax(scores), softmax(restricted)
        np.testing.assert_allclose(q[:, :k], p[:, list(task.indices)], rtol=2e-4, atol=1e-7)
        np.testing.assert_allclose(q[:, k], p[:, list(task.unwanted)].sum(axis=1), rtol=2e-4, atol=1e-7)


def softmax(scores):
    e = np.exp(scores.astype(np.float64) - scores.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def test_restrict_survives_extreme_scores():
    task = Wanted((0,), ("a",), True, 3)
    scores = np.array([[0, 1e4, 1e4], [0, -1e4, -1e4], [0, -np.inf, -np.inf], [0, np.inf, 0]], np.float32)
    rest = task.restrict(scores)[:, 1]
    np.testing.assert_allclose(rest, [1e4 + np.log(2), -1e4 + np.log(2), -np.inf, np.inf], rtol=1e-6)


def test_labels_and_scores_of_another_model_are_refused():
    task = Wanted((0,), ("a",), True, 3)
    for y in ([3], [-1]):
        with pytest.raises(DataError, match=r"classes are 0\.\.2"):
            task.relabel(np.array(y))
    for shape in ((5, 4), (3,), (1, 3, 1)):
        with pytest.raises(DataError, match=r"\(N, 3\) is expected"):
            task.restrict(np.zeros(shape, np.float32))


def test_metadata_written_from_a_task_reads_back():
    task = wanted("dog,Cat", 6, ANIMALS, True)
    assert names_from_metadata({"names": json.dumps(task.outputs)}) == task.outputs
