"""What all experiments share: refusals, single precision, and numbers as a record keeps them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from problems import refused

from shooting.study.experiments.base import (
    PROFILES,
    as_arrays,
    as_metrics,
    check_profile,
    float32,
    require_evaluation,
    require_one_seed,
)


def test_known_profiles_pass_and_others_are_refused():
    assert [check_profile(name) for name in PROFILES] == ["quick", "paper"]
    with refused("a profile", "'Quick'"):
        check_profile("Quick")


@pytest.mark.parametrize("seeds", [(), (0, 1)])
def test_networks_that_train_alone_take_one_seed(seeds):
    require_one_seed((3,))
    with refused(str(seeds)):
        require_one_seed(seeds)


def test_batch_norm_must_not_judge_inputs_by_their_batch():
    model = torch.nn.BatchNorm1d(2)
    require_evaluation(model.eval())
    with refused("got training", "model.eval()"):
        require_evaluation(model.train())


def test_single_precision_ends_with_its_block_even_by_an_error():
    torch.set_default_dtype(torch.float64)
    try:
        with pytest.raises(KeyError, match="float32"), float32():
            raise KeyError(torch.get_default_dtype())
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


def test_numbers_and_arrays_as_a_record_keeps_them():
    values = torch.tensor([1.0, 0.1], dtype=torch.float64)
    assert as_metrics({"loss": values}) == {"loss": [1.0, 0.1]}
    drawn = as_arrays({"fit": values.requires_grad_()})["fit"]
    assert (drawn.dtype, drawn.tolist()) == (np.float32, [1.0, float(np.float32(0.1))])
