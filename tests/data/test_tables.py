"""The panel from tables, and what a user hears who gives wrong ones: all at once, each with its file and line."""

from __future__ import annotations

import hashlib

import numpy as np
import polars as pl
import pytest

from optim.config.errors import UserError
from optim.data.tables import load_panel

RECIPES = "recipe,butter,sugar,sweetness\nA,1,2,9.5\nB,2,1,7\nC,1.5,1.5,8\n"
RATINGS = "customer,recipe,liking\nann,A,9\nann,B,3\nbob,A,2\nbob,C,7\n"
CUSTOMERS = "customer,age,country,target\nbob,30,NL,9.5\nann,41,BE,10\n"
GROUPED = {"utility": {"kind": "linear", "groups": "age"}}
TARGETED = {
    "bake": {
        "kind": "bake",
        "length": 10,
        "optimizer": {"name": "adam", "learning_rate": 0.1},
        "score": {"kind": "deliciousness", "targets": {"sweetness": {"column": "target"}}},
    }
}


def test_tables_become_a_panel(study):
    panel = study.load(RECIPES, RATINGS)
    assert panel.customers == ("ann", "bob")
    assert panel.recipes == ("A", "B", "C")
    assert panel.ingredients == ("butter", "sugar")
    assert panel.amounts.tolist() == [[1, 2], [2, 1], [1.5, 1.5]]
    assert panel.offsets.tolist() == [0, 2, 4]
    assert panel.recipe.tolist() == [0, 1, 0, 2]
    assert panel.like.tolist() == [True, False, False, True]
    assert panel.properties["sweetness"].tolist() == [9.5, 7, 8]
    assert panel.digests == {
        "recipes": hashlib.sha256(RECIPES.encode()).hexdigest(),
        "ratings": hashlib.sha256(RATINGS.encode()).hexdigest(),
    }


def test_the_customers_table_gives_their_order_and_columns(study):
    panel = study.load(RECIPES, RATINGS, customers=CUSTOMERS + "cas,20,NL,11\n")
    assert panel.customers == ("bob", "ann", "cas")
    assert panel.offsets.tolist() == [0, 2, 4, 4]
    assert panel.like.tolist() == [False, True, True, False]
    assert panel.columns["age"].tolist() == [30, 41, 20]
    assert panel.columns["country"].tolist() == ["NL", "BE", "NL"]
    assert set(panel.digests) == {"recipes", "ratings", "customers"}


def test_groups_are_names_even_where_they_look_like_numbers(study):
    panel = study.load(RECIPES, RATINGS, customers=CUSTOMERS, model=GROUPED)
    assert panel.columns["age"].tolist() == ["30", "41"]


def test_ids_are_compared_as_text_whatever_type_holds_them(study):
    paths = study.write(ratings="customer,recipe,liking\n 1 ,1,9\n1,2,3\n")
    paths["recipes"] = str(study.folder / "recipes.parquet")
    pl.DataFrame({"recipe": [1.0, 2.0], "butter": [1, 2], "sugar": [1.5, 2.5]}).write_parquet(paths["recipes"])
    panel = load_panel(study.config(paths))
    assert (panel.customers, panel.recipes) == (("1",), ("1", "2"))
    assert panel.amounts.tolist() == [[1, 1.5], [2, 2.5]]


def test_csv_and_parquet_give_the_same_panel(study):
    paths = study.write(recipes=RECIPES, ratings=RATINGS)
    parquet = {name: path.replace(".csv", ".parquet") for name, path in paths.items()}
    for name, path in paths.items():
        pl.read_csv(path).write_parquet(parquet[name])
    one, other = load_panel(study.config(paths)), load_panel(study.config(parquet))
    assert (one.customers, one.recipes) == (other.customers, other.recipes)
    assert (one.amounts == other.amounts).all()
    assert (one.like == other.like).all()


def test_columns_that_the_config_does_not_read_may_hold_anything(study):
    recipes = "recipe,butter,sugar,sweetness,note,acidity\nA,1,2,9.5,fine,\nB,2,1,nan,,3\n"
    panel = study.load(recipes, "customer,recipe,liking,when\nann,A,9,\nann,B,3,today\n")
    assert panel.properties == {}


def test_evaluation_holds_responses_out(study):
    panel = study.load(RECIPES, RATINGS, data={"evaluation": {"share": 0.5}}, seed=1)
    assert panel.held_out.reshape(2, 2).sum(axis=1).tolist() == [1, 1]


def test_the_cocktail_panel_is_as_its_description_says(cocktail, make_config):
    paths = {name: str(cocktail / f"{name}.csv") for name in ("recipes", "ratings")}
    ingredients = {name: {"min": 0, "max": 4} for name in ("orange", "banana", "mango", "lemon")}
    like = {"at_least": 6, "scale": [0, 10]}
    panel = load_panel(make_config(ingredients=ingredients, data={**paths, "like": like}))
    assert (panel.number_of_customers, len(panel.recipes), panel.number_of_responses) == (100, 16, 1600)
    assert panel.most_responses == 16
    assert panel.like.sum() == 803
    assert np.delete(panel.amounts.sum(axis=1), 10) == pytest.approx(np.full(15, 3.9))
    assert len(panel.properties) == 13


@pytest.mark.parametrize(
    ("recipes", "expected"),
    [
        ("recipe,Butter,sugar\nA,1,2\n", "recipes.csv:1: butter: there is no such column; did you mean `Butter`?"),
        (
            "recipe,x,sugar\nA,1,2\n",
            "recipes.csv:1: butter: there is no such column; the columns are recipe, x, sugar",
        ),
        ("recipe,butter,sugar\nA,1,2\nB,two,2\n", "recipes.csv:3: butter: 'two' is not a number"),
        (
            'recipe,butter,sugar\nA,1,2\nB,"1,5",2\n',
            "recipes.csv:3: butter: '1,5' is not a number; write a decimal point, 1.5",
        ),
        ("recipe,butter,sugar\nA,1,2\nB,,2\n", "recipes.csv:3: butter: the cell is empty; a number was expected"),
        ("recipe,butter,sugar\nA,1,2\nB,1\n", "recipes.csv:3: sugar: the cell is empty; a number was expected"),
        ("recipe,butter,sugar\nA,1,2\nB,1,NaN\n", "recipes.csv:3: sugar: 'NaN' is not a finite number"),
        ("recipe,butter,sugar\nA,1,2\nB,1,inf\n", "recipes.csv:3: sugar: 'inf' is not a finite number"),
        (
            "recipe,butter,sugar\nA,1,2\nB,1,-0.5\n",
            "recipes.csv:3: sugar: -0.5 is not allowed: an amount is 0 or more",
        ),
        ("recipe,butter,sugar\nA,1,2\nA,1,3\n", "recipes.csv:3: recipe: recipe 'A' stands on line 2 already"),
        ("recipe,butter,sugar\nA,1,2\n,1,3\n", "recipes.csv:3: recipe: the cell is empty"),
    ],
)
def test_a_wrong_recipe_is_refused_with_its_line(study, recipes, expected):
    assert study.errors(recipes, "customer,recipe,liking\nann,A,9\nbob,A,3\n") == [expected]


@pytest.mark.parametrize(
    ("ratings", "expected"),
    [
        ("customer,recipe,likng\nann,A,9\n", "ratings.csv:1: liking: there is no such column; did you mean `likng`?"),
        ("customer,recipe,liking\nann,A,9\nann,B,good\n", "ratings.csv:3: liking: 'good' is not a number"),
        (
            "customer,recipe,liking\nann,A,9\nann,B,11\n",
            "ratings.csv:3: liking: 11 is not allowed: the scale is 0 to 10",
        ),
        (
            "customer,recipe,liking\nann,A,9\nann,Z9,1\n",
            "ratings.csv:3: recipe: there is no recipe 'Z9' in recipes.csv",
        ),
        (
            "customer,recipe,liking\nann,A,9\nbob,A,1\nann,A,3\n",
            "ratings.csv:4: recipe: the rating by customer 'ann' of recipe 'A' stands on line 2 already",
        ),
        ("customer,recipe,liking\nann,A,9\n,A,1\n", "ratings.csv:3: customer: the cell is empty"),
        (
            "customer,recipe,liking\nann,A,9\nann,B,6\n",
            "ratings.csv: liking: every rating is at least 6 (data.like.at_least): everyone likes every recipe, so "
            "there is nothing to learn; the ratings go from 6 to 9",
        ),
        (
            "customer,recipe,liking\nann,A,5\nann,B,2\n",
            "ratings.csv: liking: no rating is at least 6 (data.like.at_least): nobody likes any recipe, so "
            "there is nothing to learn; the ratings go from 2 to 5",
        ),
    ],
)
def test_a_wrong_rating_is_refused_with_its_line(study, ratings, expected):
    assert study.errors(RECIPES, ratings, like={"at_least": 6, "scale": [0, 10]}) == [expected]


@pytest.mark.parametrize(
    ("customers", "expected"),
    [
        ("customer,target\nann,9\n", "ratings.csv:4: customer: there is no customer 'bob' in customers.csv"),
        (
            "customer,target\nann,9\nbob,8\nann,7\n",
            "customers.csv:4: customer: customer 'ann' stands on line 2 already",
        ),
        ("customer,target\nann,9\nbob,high\n", "customers.csv:3: target: 'high' is not a number"),
        (
            "customer,targets\nann,9\nbob,8\n",
            "customers.csv:1: target: there is no such column; did you mean `targets`?",
        ),
        (
            "name,target\nann,9\nbob,8\n",
            "customers.csv:1: customer: there is no such column; the columns are name, target",
        ),
    ],
)
def test_a_wrong_customer_is_refused_with_its_line(study, customers, expected):
    errors = study.errors(RECIPES, RATINGS, customers=customers, stages=TARGETED)
    assert errors[0] == expected


def test_a_customer_without_a_group_is_refused(study):
    customers = "customer,age\nann,30\nbob,\n"
    errors = study.errors(RECIPES, RATINGS, customers=customers, model=GROUPED)
    assert errors == ["customers.csv:3: age: the cell is empty"]


def test_a_measured_property_that_the_model_fits_must_be_complete(study):
    model = {"properties": {"kind": "scheffe", "columns": ["sweetness", "crispnes"]}}
    recipes = "recipe,butter,sugar,sweetness,crispness\nA,1,2,?,1\nB,1,2,3,4\n"
    assert study.errors(recipes, RATINGS, model=model)[0] == (
        "recipes.csv:1: crispnes: there is no such column; did you mean `crispness`?"
    )
    assert "recipes.csv:2: sweetness: '?' is not a number" in study.errors(
        recipes.replace("crispness", "crispnes"), "customer,recipe,liking\nann,A,9\nann,B,1\n", model=model
    )


def test_a_recipe_of_nothing_has_no_fractions(study):
    recipes = "recipe,butter,sugar\nA,1,2\nB,0,0\n"
    ratings = "customer,recipe,liking\nann,A,9\nann,B,1\n"
    model = {"utility": {"kind": "linear", "features": ["fractions"]}}
    assert study.errors(recipes, ratings, model=model) == [
        "recipes.csv:3: every amount is 0: the recipe has no fractions"
    ]
    assert study.load(recipes, ratings).number_of_responses == 2


def test_an_unknown_id_that_is_a_name_is_told_the_nearest_one(study):
    recipes = "recipe,butter,sugar\nlemon tart,1,2\nbrownie,2,1\n"
    ratings = "customer,recipe,liking\nann,lemon tart,9\nann,browny,1\n"
    assert study.errors(recipes, ratings) == [
        "ratings.csv:3: recipe: there is no recipe 'browny' in recipes.csv; did you mean `brownie`?"
    ]


def test_the_problems_of_all_tables_are_told_at_once_in_the_order_of_the_files(study):
    errors = study.errors(
        "recipe,butter,sugar\nA,-1,x\nB,1,\n",
        "customer,recipe,liking\nann,A,9\nbob,C,3\n",
        customers="customer\nann\n",
    )
    assert errors == [
        "recipes.csv:2: butter: -1 is not allowed: an amount is 0 or more",
        "recipes.csv:2: sugar: 'x' is not a number",
        "recipes.csv:3: sugar: the cell is empty; a number was expected",
        "ratings.csv:3: recipe: there is no recipe 'C' in recipes.csv",
        "ratings.csv:3: customer: there is no customer 'bob' in customers.csv",
    ]


def test_twenty_problems_are_told_and_the_rest_counted(study):
    rows = "".join(f"ann,{number},bad\n" for number in range(100, 130))
    errors = study.errors(RECIPES, f"customer,recipe,liking\nann,A,1\n{rows}")
    assert len(errors) == 21
    assert errors[0] == "ratings.csv:3: liking: 'bad' is not a number"
    assert errors[1] == "ratings.csv:3: recipe: there is no recipe '100' in recipes.csv"
    assert errors[-1] == "… and 40 more"


def test_parquet_problems_are_told_with_their_row(study):
    paths = study.write(recipes=RECIPES)
    paths["ratings"] = str(study.folder / "ratings.parquet")
    ratings = pl.DataFrame(
        {"customer": [1, 1, 1, 2], "recipe": ["A", "B", "A", "A"], "liking": [9.0, None, 1.0, np.nan]}
    )
    ratings.write_parquet(paths["ratings"])
    with pytest.raises(UserError) as caught:
        load_panel(study.config(paths))
    assert study.shown(caught.value) == [
        "ratings.parquet:row 2: liking: the cell is empty; a number was expected",
        "ratings.parquet:row 3: recipe: the rating by customer '1' of recipe 'A' stands on row 1 already",
        "ratings.parquet:row 4: liking: 'nan' is not a finite number",
    ]


def test_a_missing_column_of_parquet_is_told_with_the_file(study):
    paths = study.write(recipes=RECIPES)
    paths["ratings"] = str(study.folder / "ratings.parquet")
    pl.DataFrame({"customer": [1], "recipe": ["A"], "score": [9]}).write_parquet(paths["ratings"])
    with pytest.raises(UserError) as caught:
        load_panel(study.config(paths))
    assert study.shown(caught.value) == [
        "ratings.parquet: liking: there is no such column; the columns are customer, recipe, score"
    ]


def test_a_config_without_tables_is_a_mistake_of_the_program(make_config):
    with pytest.raises(ValueError, match="names no recipes"):
        load_panel(make_config())
