from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter

from trainer.config.weights import Constraint, Regularizer
from trainer.models.penalties import build_constraint, build_regularizer

SECTION: TypeAdapter[Any] = TypeAdapter(Constraint)
KERNEL = np.array([[3.0, -0.3], [4.0, 0.4]], dtype=np.float32)


def test_regularizer_equals_its_formula() -> None:
    built = build_regularizer(Regularizer(l1=2.0, l2=10.0))
    assert float(built(KERNEL)) == pytest.approx(2 * 7.7 + 10 * 25.25)
    assert build_regularizer(None) is None


@pytest.mark.parametrize(
    ("constraint", "norms"),
    [
        ("unit_norm", [1, 1]),
        ({"max_norm": 2.0}, [2, 0.5]),
        ({"min_max_norm": [0.75, 2.0]}, [2, 0.75]),
    ],
)
def test_norms_are_over_incoming_weights(constraint: Any, norms: Any) -> None:
    built = build_constraint(SECTION.validate_python(constraint))
    constrained = np.asarray(built(KERNEL))
    np.testing.assert_allclose(np.linalg.norm(constrained, axis=0), norms, rtol=1e-5)


def test_non_negative() -> None:
    constrained = build_constraint("non_negative")(KERNEL)
    np.testing.assert_array_equal(np.asarray(constrained), np.maximum(KERNEL, 0))
    assert build_constraint(None) is None
