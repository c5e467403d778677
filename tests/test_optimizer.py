import torch

from ignite_kd import recipes
from ignite_kd.optimizer import sgd


def test_the_descent_has_the_numbers_of_the_recipe_and_the_rate_that_is_asked_for():
    parameter = torch.nn.Parameter(torch.zeros(2))
    (group,) = sgd(recipes.get("zoo,momentum=0.8,weight_decay=0.001,nesterov=true"), [parameter], 0.03).param_groups
    assert group["params"] == [parameter]
    assert (group["lr"], group["momentum"], group["weight_decay"], group["nesterov"]) == (0.03, 0.8, 0.001, True)
    assert group["dampening"] == 0
