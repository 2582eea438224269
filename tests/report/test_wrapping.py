from hypothesis import given
from hypothesis import strategies as st

from trainer.report.text import Table, plain_lines, width
from trainer.report.wrapping import table_lines, wrap_text

WORDS = st.lists(
    st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=12), max_size=30
)


@given(WORDS, st.integers(1, 60))
def test_lines_are_wrapped_between_words(words: list[str], columns: int) -> None:
    lines = wrap_text(" ".join(words), columns)
    assert " ".join(lines).split() == " ".join(words).split()
    for line in lines:
        assert width(line) <= columns or len(line.split()) == 1


def test_lines_are_not_wrapped_without_a_terminal() -> None:
    assert wrap_text("a b " * 50, None) == ["a b " * 50]
    assert wrap_text("short\nlines", 80) == ["short", "lines"]


def test_continuation_lines_are_indented() -> None:
    assert wrap_text("  one two three", 9) == ["  one two", "    three"]


def test_commands_are_not_broken() -> None:
    text = "it was stopped; resume with: trainer resume 'my runs/wine/1' fit.epochs=+20; bye"
    lines = wrap_text(text, 40)
    assert lines == [
        "it was stopped; resume with:",
        "  trainer resume 'my runs/wine/1' fit.epochs=+20;",
        "  bye",
    ]


def test_wide_characters_count_twice() -> None:
    assert wrap_text("表 表 表", 5) == ["表 表", "  表"]


def test_table_that_fits_is_unchanged() -> None:
    table = Table("t", ("a", "b"), (("x y", "1"),), frozenset({1}))
    assert table_lines(table, 80) == plain_lines(table) == table_lines(table, None)


def test_text_cells_are_wrapped() -> None:
    table = Table(
        "", ("name", "what", "n"), (("a", "one two three", "1"), ("b", "", "20")), frozenset({2})
    )
    assert table_lines(table, 17) == [
        "name  what      n",
        "a     one two   1",
        "      three",
        "b              20",
    ]


def test_wide_table_is_split() -> None:
    headers = ("epoch", *(f"metric_{number}" for number in range(5)))
    table = Table("history", headers, (("1", *["0.1234"] * 5),), frozenset(range(6)))
    assert table_lines(table, 26) == [
        "history",
        "epoch  metric_0  metric_1",
        "    1    0.1234    0.1234",
        "",
        "epoch  metric_2  metric_3",
        "    1    0.1234    0.1234",
        "",
        "epoch  metric_4",
        "    1    0.1234",
    ]
    assert all(len(line) <= 26 for line in table_lines(table, 26))
