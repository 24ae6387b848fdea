"""Random laws: none that is kept from training, data that a law can be read from, features that know no names."""

import numpy as np

from envs.symbolic.context import contexts
from envs.symbolic.fitted_forms import fit_forms, scaled
from envs.symbolic.form_prefixes import NONE, examples_of, prefixes_of
from envs.symbolic.form_programs import FIRST_VARIABLE, FormIndex, signatures
from envs.symbolic.law_forms import encode, form_library
from envs.symbolic.law_generator import FormSampler, pack
from envs.symbolic.law_tables import draw_tables
from rl_suite.meta_rl.pretraining import held_out_forms, held_out_index

LIBRARY = form_library(10)


def test_no_form_of_a_held_out_law_is_in_the_stream():
    """Ten thousand laws, compared with every form that anything is measured on under all names of their columns."""
    held_out = held_out_forms()
    stream = list(dict.fromkeys(FormSampler(7, held_out_index()).sample(10_000)))
    free = list(dict.fromkeys(FormSampler(7).sample(10_000)))
    known = signatures(held_out)
    known = known[np.isfinite(known).all(axis=1)]

    def leaks(forms):
        rows = signatures(forms)
        near = [np.isclose(rows, row, rtol=1e-7).all(axis=1) for row in known]
        return int(np.any(near, axis=0).sum())

    assert leaks(free) > 100  # the grammar does reach them
    assert leaks(stream) == 0


def test_the_stream_is_reproducible():
    assert FormSampler(3).sample(50) == FormSampler(3).sample(50)
    assert FormSampler(3).sample(50) != FormSampler(4).sample(50)


def test_tables_obey_their_forms():
    forms = FormSampler(1).sample(60)
    streams = np.random.default_rng(0).integers(0, 2**63, 60).astype(np.uint64)
    tables = draw_tables(pack(forms), streams)
    assert (tables.width > 0).mean() > 0.9
    exact = 0
    for i in np.flatnonzero(tables.width):
        d = tables.width[i]
        assert tables.lengths[i] == len(encode(forms[i]))
        data = scaled(tables.columns[i, :d].T, tables.target[i])
        fits = fit_forms(tables.programs[i : i + 1], tables.lengths[i : i + 1], data, 0)[2]
        exact += fits.mean_square[0] < 1e-9 * data.target.var()
    assert exact > 20  # others are noisy, or have numbers that least squares misses


def test_features_follow_what_columns_hold_and_not_where_they_stand():
    rng = np.random.default_rng(0)
    columns = rng.uniform(1.0, 3.0, (1, 4, 64))
    target = columns[:, 0] * columns[:, 1] ** 2 / columns[:, 2]
    order = np.array([2, 0, 3, 1])
    one, other = contexts(columns, target, np.array([4])), contexts(columns[:, order], target, np.array([4]))
    for name in ("table", "column", "pair"):
        assert np.allclose(getattr(one, name), getattr(other, name), atol=1e-4), name
    assert one.order[0].tolist() == order[other.order[0]].tolist()
    assert one.order[0, 0] == 1
    assert one.order[0, 3] == 3
    scaled_target = contexts(1000.0 * columns, 7.0 * target, np.array([4]))
    assert np.allclose(one.column, scaled_target.column, atol=1e-4)


def test_a_product_of_powers_is_exact_in_logarithms_and_a_sum_is_not():
    rng = np.random.default_rng(1)
    columns = rng.uniform(1.0, 3.0, (2, 2, 64))
    target = np.stack([columns[0, 0] / columns[0, 1], columns[1, 0] + columns[1, 1] ** 3])
    table = contexts(columns, target, np.array([2, 2])).table
    logs_of_logs = 6 + 1  # second design, second target
    assert table[0, logs_of_logs] > 1.9 > table[1, logs_of_logs]


def test_prefixes_are_what_was_known():
    program = LIBRARY.encode(["add", "x0", "mul", "sq", "x1", "x2"])
    p = prefixes_of(program[None], np.array([6]))
    add, mul, sq = (LIBRARY.id(n) for n in ("add", "mul", "sq"))
    x0 = FIRST_VARIABLE
    assert p.previous[0].tolist() == [NONE, *program[:-1].tolist()]
    assert p.parent[0].tolist() == [NONE, add, add, mul, sq, mul]
    assert p.sibling[0].tolist() == [NONE, NONE, x0, NONE, NONE, sq]
    assert p.open_slots[0].tolist() == [1, 2, 1, 2, 2, 1]


def test_examples_name_columns_by_their_place():
    forms = list(FormSampler(2).sample(40))
    streams = np.arange(40, dtype=np.uint64)
    tables = draw_tables(pack(forms), streams)
    examples = examples_of(tables)
    for i in np.flatnonzero(examples.lengths):
        places = {t - FIRST_VARIABLE for t in examples.programs[i, : examples.lengths[i]] if t >= FIRST_VARIABLE}
        columns = {t - FIRST_VARIABLE for t in tables.programs[i, : tables.lengths[i]] if t >= FIRST_VARIABLE}
        assert {int(examples.context.order[i, p]) for p in places} == {int(c) for c in columns}


def test_an_index_of_nothing_keeps_nothing():
    assert not FormIndex([]).contains(FormSampler(0).sample(5)).any()
