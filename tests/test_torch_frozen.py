"""Layers that keep packed weights: the bits of those that do not, and of the weights of now."""

from __future__ import annotations

import copy
import io
import pickle
import threading
import warnings

import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what it says on import is not ours to judge
    torch = pytest.importorskip("torch")

from torch import nn

from cconv1d import torch as ours
from cconv1d.torch import _layers

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")

LAYERS = {
    "plain": ((4, 6, 3), {}),
    "strided": ((4, 6, 5), {"stride": 2, "padding": 3, "dilation": 2, "groups": 2}),
    "same": ((4, 6, 3), {"padding": "same", "bias": False}),
    "reflected": ((4, 6, 3), {"padding": 1, "padding_mode": "reflect"}),
}


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def packings(monkeypatch):
    """How often weights were packed: one item each time."""
    seen = []

    class Counted(_layers.PreparedConv1d):
        def __init__(self, *args, **options):
            seen.append(options)
            super().__init__(*args, **options)

    monkeypatch.setattr(_layers, "PreparedConv1d", Counted)
    return seen


def pair(name="plain", dtype=torch.float32, method="direct"):
    """A frozen layer, one that is not, of the same parameters, and a signal."""
    sizes, options = LAYERS[name]
    layer = nn.Conv1d(*sizes, **options, dtype=dtype)
    frozen = ours.replace(layer, method, frozen=True)
    other = ours.Conv1d(*sizes, **options, dtype=dtype, method=method)
    other.weight, other.bias = frozen.weight, frozen.bias
    return frozen, other, torch.randn(2, 4, 40, dtype=dtype)


def same(frozen, other, x):
    with torch.no_grad():
        return torch.equal(frozen(x), other(x))


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("method", ["direct", "fft", "auto"])
def test_the_bits_are_the_same_and_weights_are_packed_once(name, dtype, method, packings):
    frozen, other, x = pair(name, dtype, method)
    assert all(same(frozen, other, x) for _ in range(3))
    assert same(frozen, other, x[0])
    assert same(frozen, other, x[:, :, ::2])
    with torch.inference_mode():
        assert torch.equal(frozen(x), other(x))
    assert len(packings) == 1


def test_what_freezing_does_to_a_model():
    body = nn.Conv1d(2, 4, 3), nn.ReLU(), nn.ConvTranspose1d(4, 2, 3), nn.BatchNorm1d(2)
    model = nn.Sequential(*body)
    before = list(model.state_dict())
    ours.replace(model, frozen=True)
    assert [layer.frozen for layer in ours.layers(model)] == [True, False]
    assert [p.requires_grad for p in model.parameters()] == [False] * 4 + [True] * 2
    model(torch.ones(1, 2, 9))
    assert list(model.state_dict()) == before
    assert len(list(model.buffers())) == 3
    ours.replace(model)
    assert [layer.frozen for layer in ours.layers(model)] == [False, False]
    with pytest.raises(TypeError, match="frozen must be True or False, not 1"):
        ours.replace(model, frozen=1)


def through_a_view(layer):
    layer.weight[0].mul_(2)


def loaded(layer):
    layer.load_state_dict({name: t + 1 for name, t in layer.state_dict().items()})


def assigned(layer):
    state = {name: t + 1 for name, t in layer.state_dict().items()}
    layer.load_state_dict(state, assign=True)


def moved(layer):
    layer.weight.data = layer.weight.data * 2


def moved_back(layer):
    """Memory of before is not given to others as long as it is compared with."""
    for _ in range(3):
        layer.weight.data = layer.weight.data.clone()
        layer.weight.data = torch.randn_like(layer.weight)


def aliased(layer):
    """The same memory, written to through another parameter, which has a counter of its own."""
    other = nn.Parameter(layer.weight.data, requires_grad=False)
    while not other.is_inference() and other._version < layer.weight._version:
        other.mul_(1)
    layer.weight.mul_(2)
    layer.weight = other


def swapped(layer):
    torch.utils.swap_tensors(layer.weight, nn.Parameter(layer.weight * 2, requires_grad=False))


def loaded_by_exchange(layer):
    before = torch.__future__.get_swap_module_params_on_conversion()
    torch.__future__.set_swap_module_params_on_conversion(True)
    try:
        loaded(layer)
    finally:
        torch.__future__.set_swap_module_params_on_conversion(before)


CHANGES = [
    lambda layer: layer.weight.mul_(2),
    lambda layer: layer.bias.add_(1),
    lambda layer: layer.weight.copy_(torch.randn_like(layer.weight)),
    lambda layer: nn.init.normal_(layer.weight),
    lambda layer: layer.reset_parameters(),
    lambda layer: layer.weight.flatten()[3].fill_(9.0),
    lambda layer: torch._foreach_mul_([layer.weight, layer.bias], 2.0),
    through_a_view,
    loaded,
    assigned,
    moved,
    moved_back,
    aliased,
    swapped,
    loaded_by_exchange,
    lambda layer: setattr(layer, "weight", nn.Parameter(layer.weight * 2, requires_grad=False)),
    lambda layer: setattr(layer, "bias", None),
    lambda layer: setattr(layer, "stride", (2,)),
    lambda layer: setattr(layer, "padding_mode", "circular"),
    lambda layer: setattr(layer, "method", "fft"),
]


@pytest.mark.parametrize("change", CHANGES, ids=range(len(CHANGES)))
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_changes_are_seen(change, mode, packings):
    layer = ours.replace(nn.Conv1d(4, 6, 3, padding=1), frozen=True)
    x = torch.randn(2, 4, 40)
    with mode():
        before = layer(x)
        change(layer)
        options = layer.stride, layer.padding, layer.dilation, layer.groups
        expected = ours.conv1d(
            *(x, layer.weight, layer.bias, *options),
            padding_mode=layer.padding_mode,
            method=layer.method,
        )
        after = layer(x)
    assert not torch.equal(before, after)
    assert torch.equal(after, expected)


def test_conversions_are_seen():
    frozen, other, x = pair()
    for dtype in (torch.float64, torch.float16, torch.float32):
        frozen.to(dtype)
        other.weight, other.bias = frozen.weight, frozen.bias
        assert same(frozen, other, x.to(dtype))
    with pytest.raises(TypeError, match="must have the dtype of input"):
        frozen(x.double())
    with pytest.raises(ValueError, match="channels"):
        frozen(x[:, :3])


def test_what_pytorch_does_not_count_is_seen_after_another_replace():
    frozen, other, x = pair()
    assert same(frozen, other, x)
    frozen.weight.data.mul_(2)
    assert not same(frozen, other, x)  # as the docstring says
    ours.replace(frozen, frozen=True)
    assert same(frozen, other, x)


def test_a_frozen_layer_passes_gradients_and_can_be_trained_again():
    frozen, other, x = pair()
    assert same(frozen, other, x)
    x.requires_grad_()
    frozen(x).square().sum().backward()
    expected = torch.autograd.grad(other(x).square().sum(), x)[0]
    assert torch.equal(x.grad, expected)
    frozen.requires_grad_(True)
    for kind in (torch.optim.SGD, torch.optim.AdamW):
        for how in ({}, {"foreach": True}, {"fused": True}):  # fused ones count no versions
            steps = kind(frozen.parameters(), 0.1, **how)
            frozen(x.detach()).square().sum().backward()
            before = frozen.weight.detach().clone()
            steps.step()
            assert not torch.equal(before, frozen.weight)
            assert same(frozen, other, x)
            frozen.requires_grad_(False)
            assert same(frozen, other, x)
            frozen.requires_grad_(True)


def test_parameters_without_versions_are_not_kept(packings):
    """Nobody would know of a write to a tensor that inference mode made."""
    with torch.inference_mode():
        layer = ours.replace(nn.Conv1d(4, 6, 3), frozen=True)
        x = torch.randn(2, 4, 40)
        for _ in range(2):
            expected = ours.conv1d(x, layer.weight, layer.bias)
            assert torch.equal(layer(x), expected)
            layer.weight.mul_(2)
    assert not packings


@pytest.mark.parametrize(
    "wrap", [nn.utils.parametrizations.weight_norm, nn.utils.spectral_norm], ids=["new", "old"]
)
def test_computed_weights_are_not_kept(wrap, packings):
    model = nn.Sequential(wrap(nn.Conv1d(4, 6, 3)))
    expected = copy.deepcopy(model).eval()
    ours.replace(model, frozen=True).eval()
    x = torch.randn(2, 4, 40)
    with torch.no_grad():
        torch.testing.assert_close(model(x), expected(x))
    assert not packings


def test_complex_weights_are_not_kept(packings):
    """Their conjugates are views of the same memory, of the same version."""
    frozen, _, x = pair(dtype=torch.complex64)
    with torch.no_grad():
        before = frozen(x)
        frozen.weight = nn.Parameter(frozen.weight.conj(), requires_grad=False)
        expected = ours.conv1d(x, frozen.weight, frozen.bias)
        assert torch.equal(frozen(x), expected)
        assert not torch.equal(before, expected)
    assert not packings


def copied_by_torch(layer):
    file = io.BytesIO()
    torch.save(layer, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


@pytest.mark.parametrize(
    "copied",
    [copy.deepcopy, copy.copy, lambda layer: pickle.loads(pickle.dumps(layer)), copied_by_torch],
    ids=["deepcopy", "copy", "pickle", "save"],
)
def test_copies_pack_for_themselves(copied, packings):
    frozen, other, x = pair()
    assert same(frozen, other, x)
    size = len(pickle.dumps(frozen))
    frozen._packed._kept = None
    assert len(pickle.dumps(frozen)) == size
    twin = copied(frozen)
    assert twin.frozen
    twin.weight = nn.Parameter(torch.randn_like(frozen.weight), requires_grad=False)
    with torch.no_grad():
        assert torch.equal(twin(x), ours.conv1d(x, twin.weight, twin.bias))
        twin.weight.mul_(2)
        assert torch.equal(twin(x), ours.conv1d(x, twin.weight, twin.bias))


def test_below_transforms_and_where_pytorch_traces(packings):
    frozen, other, x = pair()
    weight = frozen.weight.detach()
    with torch.no_grad():
        expected = other(x)
        torch.testing.assert_close(torch.func.vmap(frozen)(x), expected)
        torch.testing.assert_close(torch.fx.symbolic_trace(frozen)(x), expected)
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(frozen(x), other(x))
            assert frozen(x).dtype == torch.bfloat16
        swapped = {"weight": 2 * weight, "bias": frozen.bias.detach()}
        doubled = torch.func.functional_call(frozen, swapped, (x,))
        assert torch.equal(doubled, ours.conv1d(x, 2 * weight, frozen.bias))
    grad = torch.func.grad(lambda x: frozen(x).square().sum())(x)
    torch.testing.assert_close(grad, torch.func.grad(lambda x: other(x).square().sum())(x))
    _, tangent = torch.func.jvp(frozen, (x,), (x,))
    torch.testing.assert_close(tangent, ours.conv1d(x, frozen.weight))
    program = torch.export.export(frozen, (x,))
    torch.testing.assert_close(program.module()(x), expected)
    assert not packings


def test_compiled(packings):
    frozen, other, x = pair()
    compiled = torch.compile(frozen, fullgraph=True, backend="eager", dynamic=True)
    with torch.no_grad():
        for length in (40, 30):
            torch.testing.assert_close(compiled(x[..., :length]), other(x[..., :length]))
        frozen.weight.mul_(2)
        torch.testing.assert_close(compiled(x), other(x))
    assert not packings


@pytest.mark.alone
def test_many_threads_beside_one_that_writes():
    """What is returned is of some weights that were there meanwhile, and at last of the last."""
    frozen, other, x = pair()
    values = [torch.randn_like(frozen.weight) for _ in range(200)]
    wrong, done = [], threading.Event()

    def read():
        with torch.no_grad():
            while not done.is_set():
                y = frozen(x)
                if not (y.isfinite().all() and y.shape == (2, 6, 38)):
                    wrong.append(y)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    try:
        for value in values:
            with torch.no_grad():
                frozen.weight.copy_(value)
                assert torch.equal(frozen(x), other(x))
    finally:
        done.set()
        for reader in readers:
            reader.join()
    assert not wrong
    assert same(frozen, other, x)
