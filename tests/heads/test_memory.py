import pytest
import torch
from scipy import stats

from ignite_kd.bench.memory import PeakMemory
from ignite_kd.errors import UserError
from ignite_kd.heads.memory import Draw, MemoryBank

UNEVEN = torch.tensor([0] * 7 + [1] * 2 + [2] * 1 + [5] * 4)[
    torch.randperm(14, generator=torch.Generator().manual_seed(0))
]


@pytest.mark.parametrize("negatives", [1, 4, 7, 8, 30])
def test_negatives_are_of_other_classes(negatives):
    torch.manual_seed(0)
    draw = Draw(UNEVEN, negatives, relaxed=False)
    for _ in range(20):
        drawn = draw(torch.arange(14))
        assert drawn.shape == (14, 1 + negatives)
        assert torch.equal(drawn[:, 0], torch.arange(14))
        assert (UNEVEN[drawn[:, 1:]] != UNEVEN[:, None]).all()


@pytest.mark.parametrize("negatives", [1, 4, 7])
def test_none_comes_twice_as_long_as_there_are_enough(negatives):
    torch.manual_seed(0)
    draw = Draw(UNEVEN, negatives, relaxed=False)
    for _ in range(20):
        assert all(len(set(row)) == negatives for row in draw(torch.arange(14))[:, 1:].tolist())


@pytest.mark.parametrize("negatives", [3, 7, 40])
def test_every_image_of_other_classes_is_as_likely(negatives):
    torch.manual_seed(1)
    draw, image = Draw(UNEVEN, negatives, relaxed=False), 3
    counts = torch.zeros(14)
    for _ in range(3000):
        counts += torch.bincount(draw(torch.tensor([image]))[0, 1:], minlength=14)
    others = counts[UNEVEN[image] != UNEVEN]
    assert counts.sum() == others.sum() == 3000 * negatives
    # without replacement the counts vary less than a multinomial's: the test can only be too easily passed above
    assert stats.chisquare(others).pvalue > 1e-4
    assert others.min() > 0


def test_every_pair_is_as_likely_when_two_are_drawn():
    torch.manual_seed(2)
    labels = torch.tensor([0, 1, 1, 2, 3])
    draw, counts = Draw(labels, 2, relaxed=False), {}
    for _ in range(6000):
        pair = frozenset(draw(torch.tensor([0, 3]))[0, 1:].tolist())
        counts[pair] = counts.get(pair, 0) + 1
    assert len(counts) == 6  # of four others
    assert stats.chisquare(list(counts.values())).pvalue > 1e-4


def test_the_relaxed_positive_is_any_image_of_the_class():
    torch.manual_seed(3)
    draw = Draw(UNEVEN, 2, relaxed=True)
    drawn = torch.stack([draw(torch.arange(14))[:, 0] for _ in range(400)])
    assert (UNEVEN[drawn] == UNEVEN).all()
    for image in range(14):
        same = (UNEVEN[image] == UNEVEN).nonzero()[:, 0].tolist()
        assert set(drawn[:, image].tolist()) == set(same)


def test_one_class_alone_cannot_be_contrasted():
    with pytest.raises(UserError, match="two classes or more"):
        Draw(torch.zeros(4, dtype=torch.long), 2, relaxed=False)


def test_a_row_moves_towards_its_images_vector_when_the_bank_is_next_read_or_saved():
    torch.manual_seed(4)
    bank = MemoryBank(5, 3, momentum=0.25)
    before = bank.rows.clone()
    vectors = torch.nn.functional.normalize(torch.randn(2, 3))
    bank.write(torch.tensor([4, 1]), vectors)
    assert torch.equal(bank.rows, before)
    after = bank.state_dict()["rows"]
    for row, vector in ((4, vectors[0]), (1, vectors[1])):
        moved = 0.25 * before[row] + 0.75 * vector
        assert torch.allclose(after[row], moved / moved.norm())
    assert torch.equal(after[[0, 2, 3]], before[[0, 2, 3]])


def test_a_loader_may_fill_its_tensor_of_indices_anew():
    bank, indices, vectors = MemoryBank(5, 4, momentum=0.5), torch.tensor([1, 3]), torch.eye(4)[:2]
    before = bank.rows.clone()
    bank.write(indices, vectors)
    indices.copy_(torch.tensor([0, 4]))
    rows = bank.state_dict()["rows"]
    changed = (rows != before).any(1)
    assert changed.tolist() == [False, True, False, True, False]


def test_scores_are_products_with_the_rows_and_lead_back_to_the_vectors():
    bank = MemoryBank(5, 3, momentum=0.5).double()
    vectors = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    positions = torch.tensor([[0, 3, 3], [4, 1, 2]])
    expected = torch.einsum("nkd,nd->nk", bank.rows[positions], vectors)
    assert torch.allclose(bank.scores(vectors, positions), expected)
    assert torch.autograd.gradcheck(lambda v: bank.scores(v, positions), vectors)


def test_the_backward_pass_sees_the_rows_as_they_were_scored():
    bank = MemoryBank(5, 3, momentum=0.5).double()
    vectors = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    positions = torch.tensor([[0, 3], [4, 1]])
    old = bank.rows.clone()
    scores = bank.scores(vectors, positions)
    bank.write(torch.tensor([0, 4]), vectors)
    scores.sum().backward()
    assert torch.allclose(vectors.grad, old[positions].sum(1))


def test_a_step_makes_no_copy_of_the_bank():
    bank = MemoryBank(20_000, 32, 0.5)  # 2.4 MiB
    vectors, positions = torch.randn(2, 32, requires_grad=True), torch.randint(20_000, (2, 100))
    with PeakMemory() as memory:
        for _ in range(3):
            bank.scores(vectors, positions).sum().backward()
            bank.write(torch.tensor([3, 5]), vectors)
    assert memory.peak < bank.rows.nbytes / 2


def test_rows_start_at_length_one_on_average():
    torch.manual_seed(5)
    rows = MemoryBank(4000, 128, 0.5).rows
    assert rows.abs().max() <= 0.1530931 + 1e-6
    assert rows.square().sum(1).mean().item() == pytest.approx(1, rel=0.01)
