"""Patterns of ranks and alphas match what PEFT's own expression matches, and take bounded time where that would take for ever."""

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.grading.submission.module_pattern import Budget, ModulePattern, PatternError

NAMES = [
    "model.layers.0.self_attn.q_proj", "model.layers.1.self_attn.k_proj", "model.layers.10.mlp.gate_proj",
    "model.layers.11.mlp.down_proj", "lm_head", "model.embed_tokens", "h.3.attn.c_attn", "q_proj", "a.b.a.b",
]  # fmt: skip
PATTERNS = [
    "q_proj", "self_attn.q_proj", "layers.0.self_attn.q_proj", "model.layers.0.self_attn.q_proj",
    "^model.layers.0.self_attn.q_proj", "^q_proj", ".*q_proj", r"model\.layers\.\d+\.self_attn\.q_proj",
    r"layers\.[0-9]+\.mlp\.(gate|down)_proj", ".*", "", r"layers\.(0|1|2)\..*", "(?:q|k)_proj", "[qk]_proj", "[^q]_proj",
    r".*\.1\..*", r"layers.1{2}\..+", r"layers\.\d{1,2}\.mlp.*", r"layers\.\d{2,}\.mlp.*", "lm_head$", "(lm_head|.*mlp.*)",
    r"\w+_proj", r"\D+", "_proj", "proj", "q_.*?j", "a.b", "(a.b.)?a.b", "q?_proj", "qq?_proj", "x*q_proj", "[a-z]_proj",
    "[a-]_proj", "(|q)_proj", "model", "gate_proj|down_proj", r"self\_attn\.q_proj",
]  # fmt: skip


def as_peft(pattern, name):
    return re.match(rf"(.*\.)?({pattern})$", name) is not None


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_pattern_matches_the_names_that_peft_s_expression_matches(pattern):
    found = ModulePattern.of(pattern)
    assert [n for n in NAMES if found.matches(n, Budget())] == [n for n in NAMES if as_peft(pattern, n)]


atoms = st.sampled_from(["a", "b", "ab", ".", r"\.", "[ab]", "[^a]", r"\w", "^", "$"])
patterns = st.recursive(
    atoms,
    lambda inner: st.one_of(
        st.tuples(inner, inner).map("".join),
        st.tuples(inner, inner).map(lambda p: f"({p[0]}|{p[1]})"),
        st.tuples(inner, st.sampled_from(["*", "+", "?", "{0,2}", "{2}", "*?"])).map(lambda p: f"({p[0]}){p[1]}"),
    ),
    max_leaves=6,
)


@given(patterns, st.text("ab.", max_size=9))
@settings(max_examples=300, deadline=None)
def test_whatever_is_followed_means_what_it_means_to_python(pattern, name):
    try:
        found = ModulePattern.of(pattern)
    except PatternError:
        return
    assert found.matches(name, Budget()) == as_peft(pattern, name)


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("(a+)+$", "within an endless repeat"), ("(a|b*)*c", "within an endless repeat"), ("a" * 301, "301 characters"),
        ("(a", "not closed"), ("a)", "not opened"), ("[ab", "ends too early"), ("*a", "repeats nothing"),
        ("a**", "a repeat of a"),
        ("a++", "possessive"), ("(?=a)", "'(?'"), ("(?P<x>a)", "'(?'"), (r"(a)\1", r"'\1'"), (r"\ba", r"'\b'"),
        ("a{1,999}", "at most"),
        ("a{3,2}", "a repeat"), ("[b-a]", "a range"), ("a\\", "ends too early"), ("a{", "a repeat"),
    ],
)  # fmt: skip
def test_what_names_of_layers_do_not_need_is_refused_by_name(pattern, said):
    with pytest.raises(PatternError, match=re.escape(said)):
        ModulePattern.of(pattern)


def test_a_pattern_that_would_take_for_ever_takes_no_time():
    begun = time.process_time()
    assert not ModulePattern.of("(a|a)" * 50 + "b").matches("a" * 60, Budget())
    assert time.process_time() - begun < 1
    with pytest.raises(PatternError, match="too complicated"):
        ModulePattern.of("(a|b|c|d)*").matches("a" * 60, Budget(100))
