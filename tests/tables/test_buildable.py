import dataclasses

import pytest
import torch

from ignite_kd import tables
from ignite_kd.errors import UserError
from ignite_kd.tables.buildable import check_losses
from ignite_kd.tables.table import Cell


def test_all_that_was_published_of_a_pair_can_be_built_and_no_random_number_is_drawn():
    table = tables.get("itrd-same")
    before = torch.get_rng_state()
    check_losses(table, table.choose(columns=["wrn_40_2:wrn_16_2"]))
    assert torch.equal(torch.get_rng_state(), before)


def test_what_was_published_as_not_applicable_is_refused_with_the_reason():
    """FSP's matrices of both networks must have the same sizes, which these have not."""
    table, cell = tables.get("itrd-same"), Cell("fsp", "wrn_40_2:wrn_40_1")
    assert cell not in table.choose(columns=[cell.column])
    with pytest.raises(UserError, match=r"cell fsp:wrn_40_2:wrn_40_1 of itrd-same cannot be trained: .*channels"):
        check_losses(table, [cell])


@pytest.mark.parametrize(
    ("losses", "told"),
    [
        (["ce:0", "fsp:50"], "after its first stage nothing would be learned"),
        (["fsp:0", "kd:1,temprature=4"], "unknown option of kd 'temprature'"),
    ],
)
def test_losses_of_ones_own_are_tried(losses, told):
    table = dataclasses.replace(tables.get("itrd-same"), losses={"mine": losses, "kd": ["kd:1"]})
    columns = ["resnet56:resnet20", "wrn_40_2:wrn_16_2"]
    check_losses(table, [Cell("kd", column) for column in columns])
    with pytest.raises(UserError, match=f"cell mine:wrn_40_2:wrn_16_2 of itrd-same cannot be trained: {told}"):
        check_losses(table, [Cell("kd", columns[0]), Cell("mine", columns[1])])
