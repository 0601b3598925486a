"""The recipe space of a config."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from optim.config.schema import Config
from optim.models.cake import Cake
from optim.models.functional import Functional
from optim.models.space import build_space

STAGE = {
    "kind": "bake", "length": 1, "optimizer": {"name": "sgd", "learning_rate": 0.1}, "score": {"kind": "deliciousness"},
}  # fmt: skip


def test_bounds_units_prices_and_total_in_the_written_order() -> None:
    config = Config.model_validate(
        {
            "ingredients": {
                "sugar": {"min": 0.5, "max": 4, "unit": "cup", "price": 0.6},
                "flour": {"fixed": 2.0},
                "butter": {"max": 3.0},
            },
            "total": 5,
            "stages": {"bake": STAGE},
        }
    )
    space = build_space(config)
    assert space.names == ("sugar", "flour", "butter")
    assert space.units == ("cup", "", "")
    assert space.total == 5.0
    np.testing.assert_array_equal(space.lower, [0.5, 2.0, 0.0])
    np.testing.assert_array_equal(space.upper, [4.0, 2.0, 3.0])
    np.testing.assert_array_equal(space.prices, [0.6, 0.0, 0.0])
    np.testing.assert_array_equal(space.ranges, [3.5, 1.0, 3.0])  # 1 for the fixed one


def test_a_cake_is_its_amounts_and_settings() -> None:
    function, parameters = Functional.split(Cake(jnp.array([1.0, 2.0])))
    assert list(parameters) == ["amounts"]
    amounts, settings = function({"amounts": parameters["amounts"] * 2})()
    np.testing.assert_array_equal(amounts, [2.0, 4.0])
    assert settings == {}
