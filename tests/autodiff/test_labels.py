"""Names travel with the values, and wrong names are answered with right ones."""

from __future__ import annotations

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import polars
import pytest

from optim.autodiff.labels import Labelled
from tests.autodiff.bakery import ORDER, PROPERTIES, START, start


def matrix() -> Labelled:
    return Labelled(jnp.arange(12.0).reshape(3, 4), (PROPERTIES, ORDER))


def test_a_vector_takes_an_array_numbers_or_numbers_by_name() -> None:
    np.testing.assert_array_equal(Labelled.vector(ORDER, jnp.array(START)).values, START)
    np.testing.assert_array_equal(Labelled.vector(list(ORDER), list(START)).values, START)
    by_name = Labelled.vector(ORDER, {"sugar": 1, "eggs": 0.5})
    np.testing.assert_array_equal(by_name.values, [0.0, 0.5, 0.0, 1.0])
    assert by_name.values.dtype == jnp.float32
    assert by_name.labels == (ORDER,)


@pytest.mark.usefixtures("float64")
def test_numbers_keep_the_precision_they_come_in() -> None:
    assert start().values.dtype == jnp.float64
    assert Labelled.vector(ORDER, {"sugar": jnp.float32(1.0)}).values.dtype == jnp.float32
    assert Labelled.vector(ORDER, np.ones(4, np.float32)).values.dtype == jnp.float32


def test_wrong_names_and_numbers_of_a_vector_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown name `suger`; did you mean `sugar`"):
        Labelled.vector(ORDER, {"suger": 1.0})
    with pytest.raises(ValueError, match="unknown name `7up`: expected `butter`, `eggs`, `flour`, `sugar`"):
        Labelled.vector(ORDER, {"7up": 1.0})
    with pytest.raises(ValueError, match="3 numbers were given for 4 names: butter, eggs, flour, sugar"):
        Labelled.vector(ORDER, [1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match=r"`sugar` needs one number, and an array of shape \(2,\)"):
        Labelled.vector(ORDER, {"sugar": jnp.ones(2)})
    with pytest.raises(ValueError, match=r"4 names needs an array of one axis, not of shape \(1, 4\)"):
        Labelled.vector(ORDER, jnp.ones((1, 4)))


def test_labels_that_do_not_fit_the_values_are_refused() -> None:
    with pytest.raises(ValueError, match="axis 1 has 3 entries and 4 names: butter, eggs, flour, sugar"):
        Labelled(jnp.ones((3, 3)), (PROPERTIES, ORDER))
    with pytest.raises(ValueError, match=r"labels for 2 axes, and the values have shape \(4,\)"):
        Labelled(jnp.ones(4), (None, ORDER))
    with pytest.raises(ValueError, match="axis 0 has the name `eggs` twice"):
        Labelled.vector(("eggs", "flour", "eggs"), [1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="axis 0 has 9 entries and 8 names: a, b, c, d, e, f, … 2 more"):
        jax.jit(lambda x: Labelled(x, (tuple("abcdefgh"),)))(jnp.ones(9))


def test_entries_rows_and_columns_are_found_by_name() -> None:
    assert start()["sugar"] == 1.5
    assert matrix()["fluffiness", "flour"] == 6.0
    row, column = matrix()["cost"], matrix()[:, "eggs"]
    assert row.labels == (ORDER,)
    np.testing.assert_array_equal(row.values, [8.0, 9.0, 10.0, 11.0])
    assert column.labels == (PROPERTIES,)
    np.testing.assert_array_equal(column.values, [1.0, 5.0, 9.0])
    assert matrix()[-1, np.int64(0)] == 8.0
    assert [float(amount) for amount in start()] == list(START)


def test_wrong_keys_are_refused() -> None:
    with pytest.raises(KeyError, match="unknown name `sugr`; did you mean `sugar`"):
        start()["sugr"]
    with pytest.raises(KeyError, match="unknown name `sugar`: expected `sweetness`, `fluffiness`, `cost`"):
        matrix()["sugar", "sweetness"]
    with pytest.raises(KeyError, match="axis 0 has no names: give a number below 4 for `sugar`"):
        Labelled(jnp.ones(4), (None,))["sugar"]
    with pytest.raises(IndexError, match="axis 0 has 4 entries, and number 4 was asked for"):
        start()[4]
    with pytest.raises(IndexError, match="2 keys for 1 labelled axes"):
        start()["sugar", 0]
    with pytest.raises(IndexError, match="only `:`, a name or a number is a key"):
        start()[1:]


def test_a_notebook_shows_the_table() -> None:
    shown: list[str] = []
    start()._repr_pretty_(SimpleNamespace(text=shown.append), cycle=False)
    assert shown == [str(start())]


def test_a_vector_and_a_matrix_print_as_tables() -> None:
    assert str(start()) == "butter    1\neggs      3\nflour     2\nsugar   1.5"
    assert str(Labelled(jnp.array([[0.41986483, -0.0], [-35.657787, 1e-9]]), (("cost", "joy"), None))) == (
        "            0      1\ncost  0.41986      0\njoy   -35.658  1e-09"
    )


def test_a_long_table_says_what_it_leaves_out() -> None:
    lines = str(Labelled(jnp.ones((30, 21)), (None, tuple(f"n{k}" for k in range(21))))).splitlines()
    assert lines[-2:] == ["… 10 more rows", "… 1 more columns"]
    assert len(lines) == 1 + 20 + 2
    assert len(lines[0].split()) == 20


def test_values_that_are_not_known_print_in_one_line() -> None:
    shown = []
    jax.jit(lambda table: shown.append(str(table)))(matrix())
    assert shown == ["Labelled(float32[3,4] traced: sweetness, fluffiness, cost × butter, eggs, flour, sugar)"]
    batch = Labelled(jnp.ones((7, 2, 4)), (None, ORDER))
    assert str(batch) == "Labelled(float32[7,2,4]: numbered × butter, eggs, flour, sugar)"
    assert str(jax.tree.map(lambda _: "anything", start())) == "Labelled('anything': butter, eggs, flour, sugar)"


def test_frames_hold_the_names_in_their_first_column() -> None:
    vector = start().to_frame()
    assert vector.columns == ["name", "value"]
    assert dict(vector.iter_rows()) == dict(zip(ORDER, START, strict=True))
    frame = matrix().to_frame()
    assert frame.columns == ["name", *ORDER]
    assert frame.row(1) == ("fluffiness", 4.0, 5.0, 6.0, 7.0)
    assert frame.schema["sugar"] == polars.Float32
    numbered = Labelled(jnp.ones((1, 2)), (None, None)).to_frame()
    assert numbered.rows() == [("0", 1.0, 1.0)]


def test_a_frame_of_more_axes_or_with_a_name_twice_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"a frame holds a labelled vector or matrix, and this is Labelled\(float32\[2,4"
    ):
        Labelled(jnp.ones((2, 4)), (ORDER,)).to_frame()
    with pytest.raises(polars.exceptions.DuplicateError, match="name"):
        Labelled(jnp.ones((1, 1)), (None, ("name",))).to_frame()


def test_names_pass_through_transformations() -> None:
    score = lambda recipe: jnp.sum(recipe.values**2)
    gradient = jax.jit(jax.grad(score))(start())
    assert gradient["sugar"] == 3.0
    batch = jax.tree.map(lambda values: jnp.stack([values, 2 * values]), start())
    gradients = jax.vmap(jax.grad(score), in_axes=0)(batch)
    assert gradients.labels == (ORDER,)
    np.testing.assert_array_equal(gradients["sugar"], [3.0, 6.0])
    last, seen = jax.lax.scan(lambda recipe, _: (jax.tree.map(jnp.negative, recipe), recipe), start(), length=3)
    assert last["sugar"] == -1.5
    np.testing.assert_array_equal(seen["sugar"], [1.5, -1.5, 1.5])


def test_the_labels_are_static() -> None:
    traces = []

    @jax.jit
    def sugar(recipe: Labelled) -> jax.Array:
        traces.append(recipe.labels)
        return recipe["sugar"]

    assert sugar(start()) == 1.5
    assert sugar(Labelled.vector(ORDER, {"sugar": 2.0})) == 2.0
    assert len(traces) == 1
    assert sugar(Labelled.vector(("sugar", "salt"), {"sugar": 3.0})) == 3.0
    assert len(traces) == 2


def test_the_place_of_the_values_in_a_tree_has_a_name() -> None:
    ((path, _),) = jax.tree_util.tree_leaves_with_path({"recipe": start()})
    assert jax.tree_util.keystr(path) == "['recipe'].values"
