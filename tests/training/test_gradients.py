import torch
from torch import nn

from leafkit.training.gradients import LARGE_TABLE, Gradients
from leafkit.training.optimiser import adamw


class Model(nn.Module):
    def __init__(self, tied=False):
        super().__init__()
        torch.manual_seed(0)
        self.table = nn.Embedding(LARGE_TABLE, 4, padding_idx=0)
        self.places = nn.Embedding(LARGE_TABLE, 4)
        self.linear = nn.Linear(4, LARGE_TABLE if tied else 3)
        if tied:
            self.linear.weight = self.table.weight

    def forward(self, ids):
        return self.linear((self.table(ids) + self.places(torch.arange(ids.shape[1]) + 100)).mean(dim=1))


def trained(lazy, tied=False):
    model, draw = Model(tied), torch.Generator().manual_seed(1)
    optimiser, gradients = (
        adamw(model, learning_rate=0.01, weight_decay=0.1),
        Gradients(model, model.table if lazy else None),
    )
    for _ in range(6):
        ids = torch.randint(0, 50, (5, 7), generator=draw)
        model(ids).square().sum().backward()
        optimiser.step()
        gradients.clear(ids)
    return model, gradients


def test_clearing_only_used_rows_trains_the_same_model():
    for tied in (False, True):
        for (name, lazy), plain in zip(
            trained(True, tied)[0].named_parameters(), trained(False, tied)[0].parameters(), strict=True
        ):
            assert torch.allclose(lazy, plain, atol=1e-6), name


def test_after_clearing_no_gradient_is_left():
    model, _ = trained(True)
    assert not model.table.weight.grad.any()
    assert model.places.weight.grad is None
    assert model.linear.weight.grad is None


def test_a_table_that_shares_its_weight_is_cleared_whole():
    _, gradients = trained(True, tied=True)
    assert gradients._table is None


def test_tokens_in_no_text_keep_their_vectors_exactly():
    start, model = Model(), trained(True)[0]
    assert torch.equal(model.table.weight[50:], start.table.weight[50:])
    assert not torch.equal(model.table.weight[:50], start.table.weight[:50])


def test_only_matrices_have_weight_decay():
    model = Model()
    decaying, still = adamw(model, learning_rate=0.1, weight_decay=0.5).param_groups
    assert [p is model.linear.weight for p in decaying["params"]] == [True]
    assert (decaying["weight_decay"], still["weight_decay"], len(still["params"])) == (0.5, 0.0, 3)
