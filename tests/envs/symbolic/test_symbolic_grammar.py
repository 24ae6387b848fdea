"""Legal-next masks: every rule by hand, and properties of whole sampled programs."""

import numpy as np
import pytest
from hypothesis import given, settings
from symbolic_oracles import random_programs, unit_of

from envs.symbolic.grammar import INVERSES, Grammar, Rules
from envs.symbolic.grammar_units import sample_with_units, unit_tables
from envs.symbolic.tokens import Library, subtree_sizes
from envs.symbolic.units import Units

FULL = Library("full", ["x", "y"], literals=["1", "pi"], constant=True)
KOZA = Library("koza", ["x", "y"], literals=["1"])


def allowed_after(names, rules=None, library=KOZA):
    grammar = Grammar(library, rules)
    partials = grammar.start(1)
    for name in names.split():
        assert grammar.masks(partials)[0, library.id(name)], f"{name} was not allowed"
        grammar.advance(partials, np.array([library.id(name)]))
    return set(library.decode(np.flatnonzero(grammar.masks(partials)[0])))


EVERYTHING = set(KOZA.decode(range(len(KOZA))))
FUNCTIONS = set(KOZA.functions)


@pytest.mark.parametrize(
    ("before", "rules", "expected"),
    [
        ("", Rules(), EVERYTHING - {"1"}),  # no expression without a variable
        ("", Rules(constant_children=True), EVERYTHING),
        ("add", Rules(), EVERYTHING),
        ("add 1", Rules(), EVERYTHING - {"1"}),
        ("add 1", Rules(constant_children=True), EVERYTHING),
        ("exp", Rules(), EVERYTHING - {"log", "1"}),
        ("exp", Rules(inverse_unary=True), EVERYTHING - {"1"}),
        ("sin", Rules(), EVERYTHING - {"sin", "cos", "1"}),
        ("sin add", Rules(), EVERYTHING - {"sin", "cos"}),
        ("mul sin x", Rules(), EVERYTHING),  # the sine is closed again
        ("sin", Rules(nested_trigonometry=True), EVERYTHING - {"1"}),
        ("sub x", Rules(), EVERYTHING - {"x"}),
        ("div x", Rules(equal_leaves=True), EVERYTHING),
        ("mul x", Rules(), EVERYTHING),
        ("add", Rules(max_length=3), {"x", "y", "1"}),
        ("add", Rules(max_length=4), {"x", "y", "1", "exp", "log", "sin", "cos"}),
        ("add x", Rules(max_length=4), {"x", "y", "1", "exp", "log", "sin", "cos"}),
        ("exp", Rules(min_length=3), FUNCTIONS - {"log"}),
        ("add", Rules(min_length=3), EVERYTHING),  # two more tokens come anyway
        ("mul exp x", Rules(repeats={"exp": 1}), EVERYTHING - {"exp"}),
        ("", Rules(repeats={"exp": 0}), EVERYTHING - {"exp", "1"}),
        ("x", Rules(), set()),  # whole
    ],
)
def test_rules_by_hand(before, rules, expected):
    assert allowed_after(before, rules) == expected


def test_where_rules_contradict_each_other_a_variable_is_allowed():
    library = Library(["sub"], ["x"])
    assert allowed_after("sub x", Rules(max_length=3), library) == {"x"}  # although x - x is useless
    assert allowed_after("sub x", Rules(min_length=4, max_length=4), library) == {"x"}  # lengths are odd


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        (Rules(min_length=5, max_length=4), "min_length <= max_length"),
        (Rules(max_length=500), "at most 128"),
        (Rules(repeats={"tan": 1}), "repeats: 'tan'"),
        (Rules(repeats={"x": 1}), "repeats: 'x'"),
    ],
)
def test_bad_rules_are_refused(rules, message):
    with pytest.raises(ValueError, match=message):
        Grammar(KOZA, rules)


def check_whole_program(program, library, rules):
    """The rules, read off a whole tree."""
    sizes = subtree_sizes(program, library)
    names = library.decode(program)
    numbers = {"1", "pi", "c"}
    assert rules.min_length <= len(program) <= rules.max_length
    for i, name in enumerate(names):
        inside = names[i + 1 : i + sizes[i]]
        children = [i + 1]
        if library.arity[program[i]] == 2:
            children.append(i + 1 + sizes[i + 1])
        child_names = [names[c] for c in children[: library.arity[program[i]]]]
        assert not (name in ("sin", "cos", "tan") and {"sin", "cos", "tan"} & set(inside))
        assert not (child_names and set(child_names) <= numbers)
        assert not any({name, child} in [set(pair) for pair in INVERSES] for child in child_names[:1])
        assert not (name in ("sub", "div") and child_names[0] == child_names[1] and sizes[i] == 3)


@pytest.mark.parametrize("library", [FULL, KOZA, Library("keijzer", 3)], ids=repr)
@pytest.mark.parametrize("rules", [Rules(max_length=15), Rules(min_length=8, max_length=9)], ids=["long", "tight"])
def test_sampled_programs_are_whole_and_keep_all_rules(library, rules):
    grammar = Grammar(library, rules)
    streams = np.arange(400, dtype=np.uint64)
    programs, lengths = grammar.sample(400, streams)
    for program, length in zip(programs, lengths, strict=True):
        check_whole_program(program[:length], library, rules)
        assert grammar.is_legal(program[:length])
        assert (program[length:] == -1).all()
    again, _ = grammar.sample(7, np.arange(7, dtype=np.uint64))
    np.testing.assert_array_equal(again, programs[:7])  # rows do not depend on the batch


@settings(max_examples=200, deadline=None)
@given(program=random_programs(FULL, max_length=12))
def test_is_legal_agrees_with_the_rules_on_whole_trees(program):
    rules = Rules(max_length=12)
    try:
        check_whole_program(program, FULL, rules)
        expected = FULL.arity[program[0]] > 0 or FULL.index[program[0]] >= 0
    except AssertionError:
        expected = False
    assert Grammar(FULL, rules).is_legal(program) == expected


def test_is_legal_refuses_fragments():
    grammar = Grammar(KOZA)
    assert not grammar.is_legal(KOZA.encode(["add", "x"]))
    assert not grammar.is_legal(KOZA.encode(["x", "x"]))
    assert not grammar.is_legal(np.zeros(0, dtype=np.int16))
    assert not grammar.is_legal(np.array([99]))


LAWS = {  # variables with units, units of y
    "kinetic energy": ({"m": "kg", "v": "m/s"}, "J"),
    "pendulum": ({"L": "m", "g": "m/s^2", "theta": "1"}, "s"),
    "coulomb": ({"q1": "C", "q2": "C", "r": "m", "epsilon": "F/m"}, "N"),
    "relativity": ({"m": "kg", "v": "m/s", "c": "m/s"}, "kg"),
    "black body": ({"h": "J*s", "omega": "1/s", "c": "m/s", "kb": "J/K", "T": "K"}, "J/m^3"),
    "only one unit": ({"x": "m"}, "m^(1/2)"),
    "pure number": ({"a": "m", "b": "m"}, "1"),
}


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("max_length", [11, 21])
def test_programs_sampled_with_units_have_the_units_of_y(law, max_length):
    variables, target = LAWS[law]
    library = Library("physics", list(variables), literals=["1", "2", "pi"], constant=True)
    units = Units.from_text(library.variables, variables, target)
    grammar = Grammar(library, Rules(max_length=max_length))
    tables = unit_tables([units], library, max_length)
    programs, lengths = sample_with_units(grammar, tables, 0, 500, np.arange(500, dtype=np.uint64))
    legal = 0
    for program, length in zip(programs, lengths, strict=True):
        assert unit_of(program[:length], library, units) == units.target.tolist()
        legal += grammar.is_legal(program[:length])
    assert legal > 400  # the others had to use something like x / x
    assert len({program.tobytes() for program in programs}) > 100


def test_units_cut_the_choice_of_tokens():
    library = Library("physics", ["m", "v"], literals=["1"])
    units = Units.from_text(["m", "v"], {"m": "kg", "v": "m/s"}, "J")
    grammar = Grammar(library, Rules(max_length=4))
    tables = unit_tables([units], library, 4)
    programs, lengths = sample_with_units(grammar, tables, 0, 300, np.arange(300, dtype=np.uint64))
    texts = {" ".join(library.decode(program[:length])) for program, length in zip(programs, lengths, strict=True)}
    assert texts == {"mul m sq v", "mul sq v m"}


def test_constants_of_any_unit_open_the_grammar_again():
    library = Library("physics", ["a"], constant=True)
    units = Units.from_text(["a"], {"a": "au"}, "year", free_constant=True)
    grammar = Grammar(library, Rules(max_length=9, repeats={"c": 3}))
    tables = unit_tables([units], library, 9)
    programs, lengths = sample_with_units(grammar, tables, 0, 500, np.arange(500, dtype=np.uint64))
    for program, length in zip(programs, lengths, strict=True):
        assert unit_of(program[:length], library, units) in ("any", units.target.tolist())


def test_several_tasks_keep_their_own_units():
    library = Library("arithmetic", ["a", "b"], literals=["1"])
    first = Units.from_text(["a", "b"], {"a": "m", "b": "s"}, "m/s")
    second = Units.from_text(["a", "b"], {"a": "kg*K", "b": "K"}, "kg")
    tables = unit_tables([first, second], library, 9)
    grammar = Grammar(library, Rules(max_length=9))
    for task, units in enumerate([first, second]):
        programs, lengths = sample_with_units(grammar, tables, task, 50, np.arange(50, dtype=np.uint64))
        assert all(
            unit_of(p[:n], library, units) == units.target.tolist() for p, n in zip(programs, lengths, strict=True)
        )
