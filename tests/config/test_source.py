"""YAML is read with its lines, and what is not YAML is refused with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from optim.config.errors import UserError
from optim.config.source import MOST_VALUES, read_file, read_text


def message(content: bytes | str, folder: Path) -> str:
    path = folder / "a.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError) as caught:
        read_file(path)
    return str(caught.value).replace(f"{folder}/", "")


def problems(text: str) -> list[str]:
    return [str(problem) for problem in read_text(text, "a.yaml").problems]


def test_every_key_and_item_has_its_line() -> None:
    document = read_text("a: 1\nb:\n  c: [x,\n    y]\n", "a.yaml")
    assert document.value == {"a": 1, "b": {"c": ["x", "y"]}}
    assert document.where(("b", "c")) == "a.yaml:3"
    assert document.where(("b", "c", 1)) == "a.yaml:4"
    assert document.where(("b", "missing", "too")) == "a.yaml:2"


def test_scalars_are_those_of_yaml_1_2() -> None:
    text = "{a: 1e-3, b: 0o17, c: yes, d: 2020-01-01, e: ~, f: '3', g: true, h: 10%, i: 012}"
    expected = {"a": 1e-3, "b": 15, "c": "yes", "d": "2020-01-01", "e": None, "f": "3", "g": True, "h": "10%", "i": 12}
    assert read_text(text, "a.yaml").value == expected


def test_anchors_and_merges_work_and_keep_their_lines() -> None:
    document = read_text("a: &a {x: 1, y: 2}\nb:\n  <<: *a\n  y: 3\nc: {<<: [*a, {z: 4}]}\nd: *a\n", "a.yaml")
    assert document.value["b"] == {"x": 1, "y": 3}
    assert document.value["c"] == {"x": 1, "y": 2, "z": 4}
    assert document.value["d"] == {"x": 1, "y": 2}
    assert document.where(("b", "x")) == "a.yaml:1"
    assert document.where(("b", "y")) == "a.yaml:4"


def test_a_key_given_twice_names_both_lines() -> None:
    assert problems("a: 1\nb: {c: 1,\n  c: 2}\na: 2\n") == [
        "a.yaml:3: b.c: is given twice, on lines 2 and 3: keep one",
        "a.yaml:4: a: is given twice, on lines 1 and 4: keep one",
    ]


@pytest.mark.parametrize("text", ["a: !!python/object:os.system {}", "a: !mine 3", "a: !!python/name:os.system"])
def test_tags_build_nothing(text: str) -> None:
    (problem,) = problems(text)
    assert problem.startswith("a.yaml:1: a: the tag `")
    assert problem.endswith("` is not allowed: give a plain value")


@pytest.mark.parametrize("text", ["<<: 3", "<<: !mine {a: 1}"])
def test_a_merge_of_something_else_is_refused(text: str) -> None:
    assert problems(text) == ["a.yaml:1: <<: expected an anchor of a mapping, such as `<<: *common`"]


def test_a_value_that_is_not_of_its_tag_is_refused() -> None:
    assert problems("a: !!int x") == ["a.yaml:1: a: `x` is not a int"]


def test_a_missing_file_names_its_neighbour(tmp_path: Path) -> None:
    (tmp_path / "cake.yaml").touch()
    with pytest.raises(UserError, match=r"cakes\.yaml: no such file; did you mean `cake\.yaml`\?"):
        read_file(tmp_path / "cakes.yaml")
    with pytest.raises(UserError, match=r"no such file$"):
        read_file(tmp_path / "nowhere" / "cake.yaml")


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is a folder: give the YAML file itself"):
        read_file(tmp_path)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"a: 1\nb: \xff\n", "a.yaml:2: is not UTF-8 text (byte 0xff): save it as UTF-8"),
        ("", "a.yaml: is empty: expected at least `ingredients` and `stages`"),
        ("# only a comment\n", "a.yaml: is empty: expected at least `ingredients` and `stages`"),
        ("a: b: c\n", "a.yaml:1: is not valid YAML: column 5: mapping values are not allowed here"),
        (
            "a: 1\n\tb: 2",
            "a.yaml:2: is not valid YAML: column 1: while scanning for the next token, found character '\\t' ",
        ),
        ("a: \x07", "a.yaml:1: is not valid YAML: column 4: the character 7 is not allowed"),
        ("a: *x", "a.yaml:1: is not valid YAML: column 4: found undefined alias 'x'"),
        (
            "a: 1\n---\nb: 2\n",
            "a.yaml:2: is not valid YAML: column 1: expected a single document in the stream, but found",
        ),
        ("# list\n- 1\n", "a.yaml:2: expected keys and values (`seed: 0`) at the top of the config"),
        ("just text", "a.yaml:1: expected keys and values"),
        ("[" * 3000, "a.yaml: is nested too deeply: at most 50 levels"),
        ("[" * 60 + "]" * 60, "a.yaml:1: is nested too deeply: at most 50 levels"),
        ("a: &a [*a]", "a.yaml:1: is nested too deeply: at most 50 levels"),
        ("a: &a {<<: *a}", "a.yaml:1: is nested too deeply: at most 50 levels"),
    ],
)
def test_what_is_no_config_is_refused_with_its_place(content: bytes | str, expected: str, tmp_path: Path) -> None:
    assert message(content, tmp_path).startswith(expected)


def test_anchors_cannot_grow_without_end(tmp_path: Path) -> None:
    layers = "\n".join(f"k{n}: &k{n} [{', '.join([f'*k{n - 1}'] * 9)}]" for n in range(1, 9))
    assert (
        message(f"k0: &k0 [1]\n{layers}\n", tmp_path)
        == f"a.yaml: has more than {MOST_VALUES} values: do anchors repeat it?"
    )


def test_a_byte_order_mark_is_no_matter(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(b"\xef\xbb\xbfa: 1\n")
    assert read_file(tmp_path / "a.yaml").value == {"a": 1}
