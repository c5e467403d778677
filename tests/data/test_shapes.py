from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from ignite_kd.data.shapes import FORMS, draw, shapes

AREAS = {  # of each form in the unit disk, by school geometry
    "disk": math.pi * 0.8**2,
    "square": 1.4**2,
    "triangle": 3 * math.sqrt(3) / 4,
    "star": 5 * math.sin(math.radians(36)) * math.cos(math.radians(72)) / math.cos(math.radians(36)),
    "ring": math.pi * (0.9**2 - 0.5**2),
    "cross": 2 * 1.8 * 0.54 - 0.54**2,
    "bar": 1.9 * 0.54,
    "corner": 1.4**2 - 0.9**2,
    "bow": 2 * 0.75 * 0.75 * 0.8,
}


@pytest.fixture(scope="module")
def data():
    return shapes()


def test_there_are_ten_classes_of_a_thousand_training_and_two_hundred_test_images(data):
    assert data.name == "shapes" and data.num_classes == len(set(data.classes)) == 10
    assert torch.bincount(data.train.labels).tolist() == [1000] * 10
    assert torch.bincount(data.test.labels).tolist() == [200] * 10
    assert data.train.images.shape == (10_000, 3, 32, 32) and data.train.images.dtype == torch.uint8
    assert data.test.masks.shape == (2_000, 32, 32) and data.test.masks.dtype == torch.bool


def test_the_ground_drawn_without_a_form_differs_inside_the_mask_only():
    for form in FORMS:
        images, masks = draw(torch.arange(100), form)
        ground, nothing = draw(torch.arange(100), None)
        differs = (images != ground).any(dim=1)
        assert not nothing.any()
        assert not (differs & ~masks).any()
        assert differs[masks].double().mean() > 0.99


def test_every_form_is_seen_whole(data):
    area = data.train.masks.flatten(1).sum(1)
    assert area.min() >= 12
    edge = torch.ones(32, 32, dtype=torch.bool)
    edge[1:-1, 1:-1] = False
    assert (data.train.masks & edge).any(0).any(0).sum() <= 32  # nothing is cut off: forms at most touch the edge


@pytest.mark.parametrize("form", AREAS)
def test_the_area_of_a_form_is_that_of_geometry(form):
    line = (torch.arange(2000, dtype=torch.float64) + 0.5) / 1000 - 1
    inside = FORMS[form](line.view(1, -1), line.view(-1, 1))
    assert inside.double().mean().item() * 4 == pytest.approx(AREAS[form], rel=2e-3)
    assert not inside[line.view(1, -1) ** 2 + line.view(-1, 1) ** 2 > 1].any()


def test_the_images_are_a_function_of_the_seed_alone(data):
    numbers = torch.arange(30, 40)
    torch.manual_seed(3)
    images, masks = draw(numbers, "disk")
    torch.manual_seed(4)
    again, _ = draw(numbers.flip(0), "disk")
    assert torch.equal(images, again.flip(0))
    assert torch.equal(images[0], data.train.images[30]) and torch.equal(masks[0], data.train.masks[30])
    assert not torch.equal(draw(numbers, "disk", seed=1)[0], images)


def test_the_contents_have_not_changed_since_results_were_published(data):
    assert data.digest() == "01b4d32f94107c65"


def test_the_same_object_comes_back():
    assert shapes() is shapes()


def test_the_mean_colour_of_an_image_tells_nothing_about_the_class(data):
    def colours(part):
        return part.images.float().mean((2, 3)) / 255

    centres = torch.stack([colours(data.train)[data.train.labels == label].mean(0) for label in range(10)])
    nearest = torch.cdist(colours(data.test), centres).argmin(1)
    assert 0.06 < (nearest == data.test.labels).double().mean() < 0.14


def test_the_colour_of_the_form_tells_nothing_about_the_class(data):
    def colours(part):
        inside = part.masks[:, None]
        return (part.images * inside).double().sum((2, 3)) / inside.double().sum((2, 3)) / 255

    centres = torch.stack([colours(data.train)[data.train.labels == label].mean(0) for label in range(10)])
    nearest = torch.cdist(colours(data.test), centres).argmin(1)
    assert 0.06 < (nearest == data.test.labels).double().mean() < 0.14


def test_no_linear_map_of_the_pixels_finds_the_class(data):
    train, test = (F.avg_pool2d(part.images.float() / 255, 2).flatten(1) - 0.5 for part in (data.train, data.test))
    target = F.one_hot(data.train.labels, 10).float() - 0.1
    weights = torch.linalg.solve(train.T @ train + 10 * torch.eye(train.shape[1]), train.T @ target)
    assert ((test @ weights).argmax(1) == data.test.labels).double().mean() < 0.2


def test_the_normalisation_is_the_images_own(data):
    pixels = data.train.images.float() / 255
    assert pixels.mean((0, 2, 3)).tolist() == pytest.approx(data.mean, abs=0.005)
    assert pixels.std((0, 2, 3)).tolist() == pytest.approx(data.std, abs=0.005)
