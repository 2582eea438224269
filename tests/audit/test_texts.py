import random

import numpy as np
import pytest

from trainer.audit.near_duplicates import linked_hashes, text_hashes

ROWS = 200


def texts(seed=0):
    generator = random.Random(seed)
    words = ["".join(generator.choices("abcdefghijklmno", k=5)) for _ in range(300)]
    return [" ".join(generator.choices(words, k=12)) for _ in range(ROWS)]


@pytest.fixture
def audit_texts(audit_columns):
    def run(review, y=None, kind="text"):
        columns = {"review": review, "y": y or ["good", "bad"] * (len(review) // 2)}
        findings = audit_columns(columns, overrides=[f"data.columns.review.kind={kind}"])
        return {finding.kind: finding for finding in findings[::-1]}

    return run


def test_clean_texts_have_no_findings(audit_texts):
    assert audit_texts(texts()) == {}


@pytest.mark.parametrize("kind", ["text", "tokens"])
def test_the_same_text_in_two_splits(audit_texts, kind):
    review = texts()
    # Case and white space make no difference to the network.
    review += [f"  {text.upper()}\u00a0" for text in review[:30]]
    found = audit_texts(review, ["good", "bad"] * 115, kind)
    assert set(found) == {"duplicate_rows"}
    assert found["duplicate_rows"].severity == "error"


def test_nearly_the_same_text_in_two_splits(audit_texts):
    review = texts()
    review += [f"{text} really!" for text in review[:30]]
    found = audit_texts(review, ["good", "bad"] * 115)
    assert set(found) == {"near_duplicate_rows"}
    assert "texts share most of their characters" in found["near_duplicate_rows"].found


def test_the_same_text_with_other_labels(audit_texts):
    review = texts()
    review += review[:30]
    y = ["good", "bad"] * 100 + ["bad", "good"] * 15
    assert "conflicting_rows" in audit_texts(review, y)


def test_markup_empty_texts_and_wrong_encodings(audit_texts):
    review = texts()
    review[:10] = [f"<p>{text}</p>" for text in review[:10]]
    review[20:30] = [None] * 10
    review[40:44] = [f"{text} cafÃ©" for text in review[40:44]]
    found = audit_texts(review)
    assert set(found) == {"text_quality"}
    assert "10 of 200 texts in 'review' are empty or missing" in found["text_quality"].found


def test_texts_that_name_their_class(audit_texts):
    review = [f"{text} {'good' if row % 2 == 0 else 'dull'}" for row, text in enumerate(texts())]
    (finding,) = audit_texts(review).values()
    assert (finding.kind, finding.severity) == ("target_leakage", "error")
    assert "'good' in 100% of its texts" in finding.found


def test_similar_texts_share_a_hash():
    base = texts()[:20]
    changed = [text.replace("a", "o", 1) for text in base]
    hashes = text_hashes(
        [*base, *changed, "ab", "ab", ""], np.array([0] * 20 + [1] * 20 + [0, 1, 1], np.int8)
    )
    assert (hashes[:20] == hashes[20:40]).mean() >= 0.85
    assert len(set(hashes[:20].tolist())) == 20
    assert len(set(hashes[40:].tolist())) == 3  # too short to compare


def test_pairs_link_rows():
    hashes = linked_hashes([(0, 2), (4, 2)], 5)
    assert hashes[0] == hashes[2] == hashes[4]
    assert len(set(hashes.tolist())) == 3
