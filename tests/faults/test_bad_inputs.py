"""A few cases of every kind of bad input; `make fuzz` tries thousands."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fclf.data.embeddings import EmbeddingSet
from fclf.errors import InputError
from tests.faults.inputs import contract, embeddings, pictures, texts, trial, weights

CASES = 25


@pytest.mark.parametrize("kind", trial.KINDS)
def test_bad_input_is_used_or_refused_in_words(kind, tmp_path):
    counts, failures = trial.in_a_process(kind, range(CASES), 1, tmp_path)
    assert failures == []
    assert counts.total() == CASES


@pytest.mark.parametrize("kind", trial.KINDS)
def test_what_is_not_changed_is_used(kind, tmp_path, monkeypatch):
    """Otherwise a kind would only ever try what is refused for another reason."""
    for module in (embeddings, texts, weights, pictures):
        for name in ("mutated", "mutated_text", "changed", "odd_arrays"):
            if hasattr(module, name):
                as_text = name == "mutated_text"
                monkeypatch.setattr(module, name, lambda content, *_, t=as_text: content.encode() if t else content)
    counts, _ = trial.in_a_process(kind, range(12), 0, tmp_path)
    assert counts["read"] > 0


KEYS = ("embeddings", "attributes", "attribute_names", "ids", "identities", "split", "encoder", "more")
ARRAYS = hnp.arrays(
    st.one_of(hnp.scalar_dtypes(), hnp.unicode_string_dtypes(max_len=4), hnp.byte_string_dtypes(max_len=4)),
    hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
)


@given(st.dictionaries(st.sampled_from(KEYS), ARRAYS, min_size=1))
def test_any_arrays_are_a_set_or_refused_in_words(arrays):
    try:
        found = EmbeddingSet.from_arrays(arrays)
    except InputError:
        return
    np.testing.assert_allclose(np.linalg.norm(found.embeddings, axis=1), 1, atol=1e-5)


def raises(error):
    def attempt():
        raise error

    return attempt


def test_the_contract_notices_what_breaks_it(tmp_path):
    sign, output = tmp_path / "sign", tmp_path / "out" / "edited.npz"
    output.parent.mkdir()
    assert contract.outcome(contract.reading(raises(InputError("It is wrong."))), sign) == "refused"
    assert contract.outcome(contract.reading(lambda: None), sign) == "read"
    with pytest.raises(ZeroDivisionError):
        contract.outcome(contract.reading(lambda: 1 // 0), sign)
    for text in ("", "x" * 10_000, "Traceback (most recent call last)"):
        with pytest.raises(contract.Broken, match="a message of"):
            contract.outcome(contract.reading(raises(InputError(text))), sign)
    with pytest.raises(contract.Broken, match="a pickle was executed"):
        contract.outcome(contract.reading(sign.mkdir), sign)
    listed = contract.command(["config", "list"], output, EmbeddingSet.load)
    with pytest.raises(contract.Broken, match=r"exit code 0, and \[\] was written"):
        listed()
    (output.parent / ".half.part").touch()
    with pytest.raises(contract.Broken, match=r"refused, and \['.half.part'\] was written"):
        contract.command(["config", "show", "nobody"], output, EmbeddingSet.load)()


@pytest.mark.parametrize(("harm", "reason"), [("os.abort()", "SIGABRT"), ("time.sleep(9)", "no answer")])
def test_a_process_that_ends_itself_or_hangs_is_a_failure_of_its_case_alone(harm, reason, tmp_path, monkeypatch):
    def kind(material, folder, rng, sign):
        return contract.reading(
            lambda: exec(f"import os, time; {harm}") if folder.name and rng.random() < 0.3 else None
        )

    monkeypatch.setitem(trial.KINDS, "harmful", kind)
    monkeypatch.setattr(trial, "HANGS", 1)
    counts, failures = trial.in_a_process("harmful", range(6), 0, tmp_path)
    assert counts.total() == 6
    assert 0 < counts["failed"] < 6
    assert all(reason in text for _, text in failures)
