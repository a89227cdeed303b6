import itertools

import pytest

from rehearse.report.style import phase_colors, strategy_styles, wrap


def looks(styles):
    return {(style.color, style.marker, style.line) for style in styles.values()}


def test_known_strategies_look_the_same_in_every_campaign():
    alone = strategy_styles(["er"])["er"]
    assert strategy_styles(["incremental", "er", "zeta", "alpha"])["er"] == alone
    assert alone.name == "ER"


def test_unknown_strategies_take_what_is_left_in_sorted_order():
    styles = strategy_styles(["er", "zeta", "alpha"])
    assert strategy_styles(["alpha", "zeta", "er"]) == styles
    assert len({style.color for style in styles.values()}) == 3
    assert styles["zeta"].name == "zeta"


@pytest.mark.parametrize("num_unknown", [1, 6, 25])
def test_no_two_strategies_look_alike(num_unknown):
    labels = ["incremental", "from_scratch", "er", *(f"variant_{index}" for index in range(num_unknown))]
    assert len(looks(strategy_styles(labels))) == len(labels)


def test_strategy_colours_differ_in_grey_or_hue_for_colour_blind_readers():
    """Okabe and Ito's colours stay apart when red and green cones are merged (Viénot et al. 1999, deuteranopia)."""

    def seen(color):
        red, green, blue = (int(color[i : i + 2], 16) / 255 for i in (1, 3, 5))
        return (0.29 * red + 0.71 * green, 0.29 * red + 0.71 * green, blue)

    known = ["incremental", "from_scratch", "er", "der", "derpp", "agem", "icarl"]
    colors = [seen(style.color) for style in strategy_styles(known).values()]
    for one, other in itertools.combinations(colors, 2):
        assert max(abs(a - b) for a, b in zip(one, other, strict=True)) > 0.08


def test_phases_have_colours_of_their_own():
    colors = phase_colors(["load", "wait", "assemble", "train", "forward", "optimizer"])
    assert len(set(colors.values())) == 6
    assert phase_colors(["wait"])["wait"] == colors["wait"]


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("short", ["short"]),
        ("er_with_many_words_in_it", ["er_with_", "many_words_", "in_it"]),
        ("digits, 2 ranks", ["digits, 2", "ranks"]),
        ("x" * 25, ["x" * 11, "x" * 11, "x" * 3]),
        ("a-b.c", ["a-b.c"]),
    ],
)
def test_labels_wrap_at_their_separators(text, lines):
    # 0.7 in at 7 pt is 11 characters.
    assert wrap(text, 0.7, 7).splitlines() == lines
    assert "".join(wrap(text, 0.7, 7).split()) == text.replace(" ", "")
