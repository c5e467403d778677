import pytest
import torch
from torch import nn
from torch.utils.data import default_collate

from ignite_kd.representation import Batch, Features, Representation, represent

IMAGES, LABELS, INDICES = torch.zeros(2, 3), torch.tensor([0, 1]), torch.tensor([7, 9])


def test_a_batch_is_made_of_what_loaders_yield():
    assert Batch.of((IMAGES, LABELS)) == (IMAGES, LABELS, None)
    assert Batch.of([IMAGES, LABELS, INDICES]).indices is INDICES
    batch = Batch(IMAGES, LABELS)
    assert Batch.of(batch) is batch
    collated = Batch.of(default_collate([(IMAGES[0], 0), (IMAGES[1], 1)]))
    assert torch.equal(collated.labels, LABELS)


@pytest.mark.parametrize("value", [IMAGES, (IMAGES,), (IMAGES,) * 4, {"images": IMAGES}, None])
def test_anything_else_is_refused_by_its_type(value):
    with pytest.raises(TypeError, match=rf"yield Batch or \(images, labels\[, indices\]\).*{type(value).__name__}"):
        Batch.of(value)


def test_a_batch_moves_with_all_that_it_has():
    moved = Batch(IMAGES, LABELS, INDICES).to(torch.device("meta"))
    assert [t.device.type for t in moved] == ["meta"] * 3
    assert Batch(IMAGES, LABELS).to(torch.device("meta")).indices is None


def test_a_batch_that_lies_there_already_keeps_its_tensors():
    stayed = Batch(IMAGES, LABELS, INDICES).to(torch.device("cpu"))
    assert stayed.images is IMAGES
    assert stayed.labels is LABELS
    assert stayed.indices is INDICES


def test_features_are_a_mapping_that_names_what_it_has():
    features = Features({"stem": IMAGES, "layer1": LABELS}, "wrn_10_1")
    assert list(features) == ["stem", "layer1"]
    assert len(features) == 2
    assert features["layer1"] is LABELS
    assert "layer2" not in features
    assert features.get("layer2") is None
    with pytest.raises(KeyError, match="wrn_10_1 has no feature 'layer4'; it gives stem, layer1"):
        features["layer4"]
    with pytest.raises(KeyError, match="the model has no feature 'layer4'; it gives none"):
        Features()["layer4"]


def test_features_do_not_change_with_the_dictionary_they_came_from():
    source = {"stem": IMAGES}
    features = Features(source)
    source["layer1"] = LABELS
    assert list(features) == ["stem"]


def test_a_stage_may_be_the_pooled_vector_or_the_logits():
    whole = Representation(IMAGES, Features({"layer1": LABELS}), pooled=INDICES)
    assert whole.stage("logits") is IMAGES
    assert whole.stage("pooled") is INDICES
    assert whole.stage("layer1") is LABELS


def test_a_missing_stage_says_which_ones_there_are():
    whole = Representation(IMAGES, Features({"layer1": LABELS}, "mlp"))
    for stage in ("layer2", "pooled"):
        with pytest.raises(KeyError, match=f"mlp has no feature '{stage}'; it gives layer1"):
            whole.stage(stage)
    with pytest.raises(KeyError, match="it gives none"):
        Representation(IMAGES).stage("layer1")


def test_a_model_without_represent_gives_its_logits():
    model = nn.Linear(3, 2)
    seen = represent(model, IMAGES)
    assert torch.equal(seen.logits, model(IMAGES))
    assert seen.pooled is None
    assert len(seen.features) == len(seen.before_relu) == 0


def test_a_model_with_represent_is_asked():
    class Speaking(nn.Module):
        def represent(self, images):
            return Representation(images + 1, pooled=images)

    seen = represent(Speaking(), IMAGES)
    assert torch.equal(seen.logits, IMAGES + 1)
    assert seen.pooled is IMAGES
