from __future__ import annotations

from dataclasses import replace

import torch

from ignite_kd.data.dataset import Dataset, Images


def images(masks: bool = True) -> Images:
    pixels = torch.arange(5 * 3 * 4 * 4).view(5, 3, 4, 4).remainder(251).to(torch.uint8)
    return Images(pixels, torch.arange(5) % 2, pixels[:, 0] > 100 if masks else None)


def dataset() -> Dataset:
    return Dataset("toy", images(), images(masks=False), ("cat", "dog"), (0.5, 0.5, 0.5), (0.2, 0.2, 0.2))


def test_a_subset_holds_the_chosen_images_in_the_chosen_order():
    whole, chosen = images(), torch.tensor([3, 0])
    part = whole.subset(chosen)
    assert len(part) == 2
    for field in ("images", "labels", "masks"):
        assert torch.equal(getattr(part, field), torch.stack([getattr(whole, field)[3], getattr(whole, field)[0]]))
    assert images(masks=False).subset(chosen).masks is None


def test_the_classes_are_counted():
    assert dataset().num_classes == 2


def test_equal_contents_have_equal_digests_of_16_hexadecimal_digits():
    assert dataset().digest() == dataset().digest()
    assert len(dataset().digest()) == 16 and int(dataset().digest(), 16) >= 0


def test_any_changed_pixel_label_mask_or_class_name_changes_the_digest():
    digests = {dataset().digest()}
    for field in ("images", "labels", "masks"):
        changed = images()
        tensor = getattr(changed, field)
        tensor.view(-1)[-1] = tensor.view(-1)[-1] + 1 if field != "masks" else ~tensor.view(-1)[-1]
        digests.add(replace(dataset(), train=changed).digest())
        digests.add(replace(dataset(), test=changed).digest())
    digests.add(replace(dataset(), classes=("cat", "cow")).digest())
    assert len(digests) == 8


def test_the_layout_in_memory_does_not_change_the_digest():
    turned = images()
    turned = replace(turned, images=turned.images.contiguous(memory_format=torch.channels_last))
    assert replace(dataset(), train=turned).digest() == dataset().digest()
