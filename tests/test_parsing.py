import pytest
import yaml

from fclf.parsing import DEEPEST, LONGEST, parse_json, parse_yaml

LAUGHS = "\n".join(["a0: &a0 [x, x, x]", *(f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 9)}]" for k in range(1, 9))])


def test_plain_values_are_those_of_safe_yaml():
    text = "a: [1, 2.5, true, null, '1']\nb: {c: 2020-01-02, d: !!str 3}\n<<: {e: 1}\n"
    assert parse_yaml(text) == yaml.safe_load(text)
    assert parse_yaml("") is None


@pytest.mark.parametrize("text", [LAUGHS, "&a [*a]", "a: &a {b: *a}"])
def test_aliases_are_refused_and_not_followed(text):
    with pytest.raises(ValueError, match="an alias came; write the value itself"):
        parse_yaml(text)


def test_so_many_levels_are_read_and_no_more():
    assert str(parse_yaml("[" * DEEPEST + "]" * DEEPEST)).count("[") == DEEPEST
    for opening in ("[", "{a: ", "- "):
        with pytest.raises(ValueError, match=rf"more than {DEEPEST} levels"):
            parse_yaml(opening * 100_000)


def test_a_text_that_takes_minutes_is_not_begun():
    assert len(parse_yaml("- 1\n" * 100)) == 100
    with pytest.raises(ValueError, match="characters, and settings have"):
        parse_yaml("- 1\n" * LONGEST)


@pytest.mark.parametrize(
    "text", ["2020-99-99", "!!int x", "!!float x", "!!timestamp x", "0b_", "!!binary é", "? [a]\n: b", "9" * 5000, "\0"]
)
def test_whatever_is_no_value_is_one_error(text):
    with pytest.raises(ValueError, match=r"."):
        parse_yaml(f"x: {text}" if "?" not in text else text)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "", "{", "9" * 5000, "{'a': 1}", b"\xff"])
def test_what_is_no_json_is_one_error(text):
    with pytest.raises(ValueError, match=r"."):
        parse_json(text)


def test_json_is_read():
    assert parse_json('{"a": [1, 2.5, null]}') == {"a": [1, 2.5, None]}
