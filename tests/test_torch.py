"""The adapter for PyTorch: PyTorch's own functions are the oracle, its checkers the judges."""

from __future__ import annotations

import copy
import doctest
import importlib
import pickle
import re
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from support import python

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what it says on import is not ours to judge
    torch = pytest.importorskip("torch")

import cconv1d
from cconv1d import torch as ours
from cconv1d.torch import causal

F = torch.nn.functional
REPO = Path(__file__).resolve().parents[1]
BENCHMARKS = REPO / "benchmarks"
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
f64, c128 = torch.float64, torch.complex128


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(before)


def forward(x, w, b=None):
    return ours.conv1d(x, w, b, 2, (1, 2), 2, 2)


def transposed(x, w, b=None):
    return ours.conv_transpose1d(x, w, b, 3, 1, 2, 2, 2)


def reflected(x, w, b=None):
    x = x.transpose(-1, -2)
    return ours.conv1d(x, w, b, 1, "same", 1, 2, padding_mode="reflect", layout="NLC")


def by_fft(x, w, b=None):
    return ours.conv1d(x, w, b, padding=2, groups=2, method="fft")


def operands(function, dtype=f64, grad=True):
    shape = (6, 2, 3) if function is transposed else (4, 3, 3)
    made = [torch.randn(*shape_, dtype=dtype) for shape_ in ((2, 6, 11), shape, (4,))]
    return [t.requires_grad_(grad) for t in made]


FUNCTIONS = (forward, transposed, reflected, by_fft)


# --- values ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, f64, c128, torch.complex64])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"stride": 3, "padding": 2, "dilation": 2, "groups": 2},
        {"stride": (2,), "padding": (1,), "dilation": (3,)},
        {"padding": "same"},
        {"padding": "valid", "groups": 6},
    ],
)
@pytest.mark.parametrize("shape", [(2, 6, 19), (6, 19)])
def test_values_are_pytorchs(dtype, options, shape):
    x = torch.randn(*shape, dtype=dtype)
    w = torch.randn(12, 6 // options.get("groups", 1), 4, dtype=dtype)
    b = torch.randn(12, dtype=dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of an even kernel with "same"
        torch.testing.assert_close(ours.conv1d(x, w, b, **options), F.conv1d(x, w, b, **options))
    options = {k: v for k, v in options.items() if k != "padding" or not isinstance(v, str)}
    w = torch.randn(6, 4, 4, dtype=dtype)
    b = torch.randn(4 * options.get("groups", 1), dtype=dtype)
    expected = F.conv_transpose1d(x, w, b, **options)
    torch.testing.assert_close(ours.conv_transpose1d(x, w, b, **options), expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_has_the_bits_of_numpy(dtype):
    x, w, b = torch.randn(2, 6, 40), torch.randn(4, 6, 3), torch.randn(4)
    x, w, b = (t.to(dtype).requires_grad_() for t in (x, w, b))
    y = ours.conv1d(x, w, b, padding=1)
    y.backward(torch.ones_like(y))
    wide = F.conv1d(x.float(), w.float(), b.float(), padding=1)
    assert torch.equal(y, wide.to(dtype)) or torch.allclose(y.float(), wide, 1e-2, 1e-2)
    assert y.dtype == x.grad.dtype == w.grad.dtype == b.grad.dtype == dtype


@pytest.mark.parametrize("padding", ["same", "same_lower", "causal", "full", (3, 1), 2])
@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate", "circular"])
@pytest.mark.parametrize("layout", ["NCL", "NLC"])
@pytest.mark.parametrize("stride", [1, 3])
def test_extras_have_the_bits_of_numpy(padding, mode, layout, stride):
    x, w = torch.randn(2, 23, 23), torch.randn(4, 23, 3)
    options = {"stride": stride, "padding": padding, "padding_mode": mode, "layout": layout}
    y = ours.conv1d(x, w, **options)
    np.testing.assert_array_equal(y.numpy(), cconv1d.conv1d(x.numpy(), w.numpy(), **options))


def test_nothing_is_copied():
    x, w = torch.randn(1, 2, 6), torch.randn(2, 2, 1)
    strided = torch.randn(6, 2, 3, 1).permute(3, 1, 0, 2)[..., 1]
    torch.testing.assert_close(ours.conv1d(strided, w), F.conv1d(strided, w))
    conjugate = torch.randn(1, 2, 6, dtype=c128).conj()
    negative = torch.randn(1, 2, 6, dtype=c128).conj().imag  # with its sign in a bit
    assert conjugate.is_conj()
    assert negative.is_neg()
    wide = w.to(c128)
    torch.testing.assert_close(ours.conv1d(conjugate, wide), F.conv1d(conjugate, wide))
    torch.testing.assert_close(ours.conv1d(negative, w.double()), F.conv1d(negative, w.double()))
    y = ours.conv1d(x, w)
    assert y.is_contiguous()
    assert y.data_ptr() == y.numpy().ctypes.data


# --- derivatives ----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [f64, c128])
@pytest.mark.parametrize("function", FUNCTIONS)
def test_gradcheck(function, dtype):
    args = operands(function, dtype)
    batched = dtype is f64
    assert torch.autograd.gradcheck(
        function,
        args,
        check_forward_ad=True,
        check_batched_grad=batched,
        check_batched_forward_grad=batched,
    )
    assert torch.autograd.gradgradcheck(function, args, check_fwd_over_rev=True)


@pytest.mark.parametrize("name", ["nn.functional.conv1d", "nn.functional.conv_transpose1d"])
@pytest.mark.parametrize("dtype", [f64, c128])
def test_samples_of_pytorchs_own_tests(name, dtype):
    database = pytest.importorskip("torch.testing._internal.common_methods_invocations")
    (info,) = (op for op in database.op_db if op.name == name)
    function = {"conv1d": ours.conv1d, "conv_transpose1d": ours.conv_transpose1d}[
        name.rpartition(".")[2]
    ]
    count = 0
    for sample in info.sample_inputs("cpu", dtype, requires_grad=True):
        theirs = info.op(sample.input, *sample.args, **sample.kwargs)
        found = function(sample.input, *sample.args, **sample.kwargs)
        torch.testing.assert_close(found, theirs)
        if sample.input.numel() < 200:
            inputs = [sample.input, *(a for a in sample.args if isinstance(a, torch.Tensor))]
            rest = [a for a in sample.args if not isinstance(a, torch.Tensor)]

            def call(*tensors, rest=rest, kwargs=sample.kwargs):
                return function(*tensors, *rest, **kwargs)

            assert torch.autograd.gradcheck(call, inputs, fast_mode=True)
            assert torch.autograd.gradgradcheck(call, inputs, fast_mode=True)
        count += 1
    assert count >= 5


def test_third_derivatives():
    x, w, _ = operands(forward)

    def third(function):
        y = function(x, w).pow(3).sum()
        for _ in range(3):
            (y,) = torch.autograd.grad(y, w, create_graph=True)
            y = y.pow(2).sum()
        return y

    expected = third(lambda x, w: F.conv1d(F.pad(x, (1, 2)), w, None, 2, 0, 2, 2))
    torch.testing.assert_close(third(forward), expected)


def test_forward_mode_is_never_a_silent_zero():
    x, w, b = operands(forward, grad=False)
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(x, torch.ones_like(x))
        tangent = torch.autograd.forward_ad.unpack_dual(forward(dual, w, b)).tangent
        torch.testing.assert_close(tangent, forward(torch.ones_like(x), w))
        # by the bias alone, and by none
        dual = torch.autograd.forward_ad.make_dual(b, torch.ones_like(b))
        y = torch.autograd.forward_ad.unpack_dual(forward(x, w, dual))
        torch.testing.assert_close(y.tangent, torch.ones_like(y.primal))
        assert torch.autograd.forward_ad.unpack_dual(forward(x, w, b)).tangent is None


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize(
    "dims",
    [(0, None, None), (None, 1, None), (None, None, 0), (2, 0, None), (0, 0, 0), (0, None, 0)],
)
@pytest.mark.parametrize("batch", [True, False])
def test_vmap(function, dims, batch):
    args, examples = [], []
    for operand, dim in zip(operands(function, grad=False), dims, strict=True):
        if operand.ndim == 3 and operand.shape[0] == 2 and not batch:
            operand, dim = operand[0], dim if dim is None else min(dim, 2)
        if dim is None:
            args.append(operand)
            examples.append([operand] * 3)
        else:
            each = [torch.randn_like(operand) for _ in range(3)]
            args.append(torch.stack(each, dim))
            examples.append(each)
    expected = torch.stack([function(*each) for each in zip(*examples, strict=True)])
    torch.testing.assert_close(torch.func.vmap(function, dims)(*args), expected)


def test_transforms():
    x, w, b = operands(forward, grad=False)

    def theirs(x, w, b):
        return F.conv1d(F.pad(x, (1, 2)), w, b, 2, 0, 2, 2)

    for which in (torch.func.jacrev, torch.func.jacfwd):
        found = which(forward, argnums=(0, 1, 2))(x, w, b)
        for a, e in zip(found, which(theirs, argnums=(0, 1, 2))(x, w, b), strict=True):
            torch.testing.assert_close(a, e)
    found, expected = (
        torch.func.hessian(lambda w, f=f: f(x, w, b).pow(3).sum())(w) for f in (forward, theirs)
    )
    torch.testing.assert_close(found, expected)
    per_sample = torch.func.vmap(
        torch.func.grad(lambda w, x: forward(x[None], w, b).pow(2).sum()), (None, 0)
    )
    torch.testing.assert_close(
        per_sample(w, x).sum(0), torch.func.grad(lambda w: forward(x, w, b).pow(2).sum())(w)
    )


# --- tracing --------------------------------------------------------------------------------------


def op_arguments(name):
    x, w, b = operands(transposed if name == "conv_transpose1d" else forward)
    if name == "conv1d":
        return x, w, b, 0, 2, 1, 2, 2, 2, "zeros", "NCL", "direct"
    if name == "conv_transpose1d":
        return x, w, b, 34, 3, 1, 1, 2, 2, "zeros", "NCL", "direct"
    y = torch.randn(2, 4, 5, dtype=f64, requires_grad=True)
    return y, x, None, 3, 2, 1, 2, 2, 2, "reflect", "NCL", "direct"


@pytest.mark.parametrize("name", ["conv1d", "conv_transpose1d", "conv1d_weight"])
def test_opcheck(name):
    found = torch.library.opcheck(getattr(torch.ops.cconv1d, name).default, op_arguments(name))
    assert set(found.values()) == {"SUCCESS"}


@pytest.mark.skipif(sys.version_info >= (3, 15), reason="not known to torch.compile")
@pytest.mark.parametrize("padding", ["same", 1, "causal"])
def test_compile_with_lengths_that_change(padding):
    torch._dynamo.reset()
    w, b = torch.randn(4, 3, 3, requires_grad=True), torch.randn(4, requires_grad=True)

    def model(x, conv):
        return conv(x.sin(), w, b, 2, padding).cos()

    compiled = torch.compile(
        lambda x: model(x, ours.conv1d), fullgraph=True, backend="aot_eager", dynamic=True
    )
    for length in (20, 31, 44):
        x = torch.randn(2, 3, length, requires_grad=True)
        y = compiled(x)
        expected = model(x, ours.conv1d)
        torch.testing.assert_close(y, expected)
        found = torch.autograd.grad(y.sum(), (x, w, b))
        torch.testing.assert_close(found, torch.autograd.grad(expected.sum(), (x, w, b)))


def test_fake_tensors_and_export():
    model = ours.replace(torch.nn.Sequential(torch.nn.Conv1d(3, 4, 3, 2), torch.nn.ReLU())).eval()
    x = torch.randn(1, 3, 20)
    lengths = ({2: torch.export.Dim("length", min=8, max=4096)},)
    program = torch.export.export(model, (x,), dynamic_shapes=lengths)
    longer = torch.randn(1, 3, 200)
    torch.testing.assert_close(program.module()(longer), model(longer))
    with torch._subclasses.FakeTensorMode():
        y = ours.conv1d(torch.empty(2, 3, 9), torch.empty(4, 3, 3))
        assert tuple(y.shape) == (2, 4, 7)
    y = ours.conv1d(torch.empty(2, 3, 9, device="meta"), torch.empty(4, 3, 3, device="meta"))
    assert tuple(y.shape) == (2, 4, 7)
    assert y.device.type == "meta"


def test_symbolic_trace():
    model = ours.replace(torch.nn.Sequential(torch.nn.Conv1d(3, 4, 3), torch.nn.ReLU()))
    traced = torch.fx.symbolic_trace(model)
    x = torch.randn(1, 3, 20)
    torch.testing.assert_close(traced(x), model(x))


def test_autocast_casts_as_pytorch_does():
    x, w = torch.randn(1, 3, 20), torch.randn(4, 3, 3, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        assert ours.conv1d(x, w).dtype == F.conv1d(x, w).dtype == torch.bfloat16
        assert ours.conv_transpose1d(x[:, :, :4], w.transpose(0, 1)).dtype == torch.bfloat16
        assert ours.conv1d(x.double(), w.double()).dtype == F.conv1d(x.double(), w.double()).dtype
        ours.conv1d(x, w).sum().backward()
    assert w.grad.dtype == torch.float32


# --- layers ---------------------------------------------------------------------------------------


def network():
    return torch.nn.Sequential(
        torch.nn.Conv1d(3, 8, 5, padding="same"),
        torch.nn.ReLU(),
        torch.nn.utils.parametrizations.weight_norm(
            torch.nn.Conv1d(8, 8, 3, padding=1, padding_mode="circular")
        ),
        torch.nn.ConvTranspose1d(8, 3, 4, 2, 1, 1),
    )


def test_replace():
    model, x = network(), torch.randn(2, 3, 50)
    seen = []
    model[0].register_forward_hook(lambda *_: seen.append(1))
    expected, names = model(x), list(model.state_dict())
    assert ours.replace(model) is model
    torch.testing.assert_close(model(x), expected)
    assert len(seen) == 2
    assert list(model.state_dict()) == names
    assert type(model[0]) is ours.Conv1d
    assert type(model[3]) is ours.ConvTranspose1d
    assert [(row.name, row.method) for row in ours.layers(model)] == [
        ("0", "direct"),
        ("2", "direct"),
        ("3", "direct"),
    ]
    assert repr(model[0]) == repr(network()[0])
    twin = copy.deepcopy(model)
    torch.testing.assert_close(twin(x), expected)
    torch.testing.assert_close(
        pickle.loads(pickle.dumps(model[3]))(x.repeat(1, 3, 1)[:, :8]),
        model[3](x.repeat(1, 3, 1)[:, :8]),
    )
    other = network()
    other.load_state_dict(twin.state_dict())
    torch.testing.assert_close(other(x), expected)
    assert {row.method for row in ours.layers(ours.replace(twin, "fft"))} == {"fft"}
    torch.testing.assert_close(twin(x), expected)
    torch.testing.assert_close(ours.replace(twin, "auto")(x), expected)
    assert {row.method for row in ours.layers(twin)} == {"auto"}
    torch.nn.utils.parametrize.remove_parametrizations(model[2], "weight")
    assert type(model[2]) is ours.Conv1d


def test_what_replace_leaves():
    class Own(torch.nn.Conv1d):
        def forward(self, input):
            return super().forward(input) * 2

    model = torch.nn.Sequential(
        torch.nn.LazyConv1d(4, 3), Own(4, 4, 3), torch.nn.Conv1d(4, 4, 3, device="meta")
    )
    ours.replace(model)
    rows = ours.layers(model)
    assert [row.method for row in rows] == [None, None, "direct"]
    assert "first call" in rows[0].reason
    assert "class of its own" in rows[1].reason
    lazy = model[0]
    lazy(torch.randn(1, 2, 9))
    ours.replace(model)
    assert type(lazy) is ours.Conv1d
    with pytest.raises(ValueError, match="method"):
        ours.replace(model, "quick")


def test_layers_have_what_the_function_has():
    x = torch.randn(2, 3, 20)
    for padding in ("causal", "full", (2, 0), 1, "same"):
        for layer in (
            ours.Conv1d(3, 4, 3, padding=padding, method="fft"),
            ours.Conv1d(3, 4, 3, 1, padding),
        ):
            expected = ours.conv1d(
                x, layer.weight, layer.bias, padding=padding, method=layer.method
            )
            assert torch.equal(layer(x), expected)
    layer = ours.ConvTranspose1d(3, 4, 3, 2)
    assert layer(x, output_size=[42]).shape[2] == 42


def test_a_block_replaces_calls():
    layer, x = torch.nn.Conv1d(3, 4, 3), torch.randn(2, 3, 20)
    expected = layer(x)
    with ours.replacing():
        assert type(layer) is torch.nn.Conv1d
        y = layer(x)
        integers = torch.ones(1, 1, 5, dtype=torch.int64)
        assert torch.equal(F.conv1d(integers, integers[..., :2]), torch.full((1, 1, 4), 2))
    weight, bias = layer.weight, layer.bias
    np.testing.assert_array_equal(
        y.detach().numpy(),
        cconv1d.conv1d(x.numpy(), weight.detach().numpy(), bias.detach().numpy()),
    )
    torch.testing.assert_close(y, expected)


# --- refusals -------------------------------------------------------------------------------------

X, W = torch.ones(1, 2, 9), torch.ones(4, 2, 3)
REFUSED = [
    ((X.to_sparse(), W), {}, NotImplementedError, "torch.nn.functional"),
    ((X, W.int()), {}, TypeError, "functional.conv1d"),
    ((X, W.double()), {}, TypeError, "dtype of input"),
    ((X, W, torch.ones(4).double()), {}, TypeError, "bias must have the dtype"),
    ((X, None), {}, TypeError, "weight must be a tensor"),
    ((X.numpy(), W), {}, TypeError, "input must be a tensor"),
    ((X[0, 0], W), {}, ValueError, "two or three axes"),
    ((X, W[0]), {}, ValueError, "three axes"),
    ((X, W[:, :1]), {}, ValueError, "2 channels"),
    ((X, W, torch.ones(3)), {}, ValueError, "bias must have the shape"),
    ((X, W), {"groups": 3}, ValueError, "groups"),
    ((X, W), {"stride": 0}, ValueError, "stride"),
    ((X, W), {"stride": (1, 2)}, ValueError, "stride"),
    ((X, W), {"dilation": 1.5}, TypeError, "dilation"),
    ((X, W), {"padding": "sane"}, ValueError, "padding must be"),
    ((X, W), {"padding": -1}, ValueError, "padding must be 0 or more"),
    ((X, W), {"padding_mode": "wrap"}, ValueError, "padding_mode"),
    ((X, W), {"layout": "LNC"}, ValueError, "layout"),
    ((X, W), {"method": "quick"}, ValueError, "method"),
    ((X, W), {"dilation": 5}, ValueError, "spans 11"),
]


@pytest.mark.parametrize(("args", "options", "error", "message"), REFUSED)
def test_refusals(args, options, error, message):
    with pytest.raises(error, match=message):
        ours.conv1d(*args, **options)
    ours.conv1d(X, W)  # what is known of these shapes changes nothing
    with pytest.raises(error, match=message):
        ours.conv1d(*args, **options)


# --- processes and threads ------------------------------------------------------------------------


def test_pytorchs_limit_of_threads_holds():
    code = """
import torch, cconv1d
from unittest import mock
from cconv1d.torch import conv1d, _tensors
cconv1d.set_num_threads(4)
torch.set_num_threads(2)
seen = []
from cconv1d.torch import _maps
def spy(array):
    seen.append(cconv1d.get_num_threads())
    return _tensors.to_tensor(array)
with mock.patch.object(_maps, "to_tensor", spy):
    x, w = torch.ones(1, 2, 9), torch.ones(4, 2, 3)
    conv1d(x, w)
    torch.set_num_threads(8)
    conv1d(x, w)
print(seen, cconv1d.get_num_threads())
"""
    result = python(code)
    assert result.stdout.strip() == "[2, 4] 4", result.stderr


class Filtered(torch.utils.data.Dataset):
    """Signals that a layer of ours has filtered, and in how many threads it may."""

    def __init__(self, layer):
        self.layer, self.signals = layer, torch.randn(12, 3, 400)

    def __len__(self):
        return len(self.signals)

    def __getitem__(self, place):
        with torch.no_grad():
            return self.layer(self.signals[place]), torch.get_num_threads()


@pytest.mark.alone
@pytest.mark.parametrize("frozen", [False, True])
def test_workers_of_a_data_loader(frozen):
    """Forked, where that can be, after the threads were in use here; each has one of its own."""
    torch.set_num_threads(2)
    model = ours.replace(torch.nn.Conv1d(3, 64, 9, padding=4), frozen=frozen)
    data = Filtered(model)
    with torch.no_grad():
        model(torch.randn(8, 3, 20000))
        expected = torch.stack([model(x) for x in data.signals])
    for _ in range(2):
        loader = torch.utils.data.DataLoader(data, batch_size=4, num_workers=2, timeout=120)
        found, threads = zip(*loader, strict=True)
        assert torch.equal(torch.cat(found), expected)
        assert set(torch.cat(threads).tolist()) == {1}


def test_nothing_is_imported_before_it_is_asked_for():
    result = python("import sys, cconv1d; print('torch' in sys.modules)")
    assert result.stdout.strip() == "False", result.stderr


# --- causal-conv1d --------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", [None, "silu"])
def test_causal_gradients(activation):
    x, w, b = (torch.randn(*s, dtype=f64, requires_grad=True) for s in ((2, 3, 7), (3, 4), (3,)))
    states = torch.randn(2, 3, 3, dtype=f64, requires_grad=True)

    def call(x, w, b, states):
        return causal.causal_conv1d_fn(
            x, w, b, initial_states=states, return_final_states=True, activation=activation
        )

    assert torch.autograd.gradcheck(call, (x, w, b, states))
    y, final = call(x, w, b, states)
    expected = F.conv1d(torch.cat((states, x), 2), w[:, None], b, groups=3)
    torch.testing.assert_close(y, expected if activation is None else F.silu(expected))
    torch.testing.assert_close(final, x[..., -3:])
    ids = torch.tensor([[0, 0, 0, 1, 1, 1, 1]] * 2)
    alone = [causal.causal_conv1d_fn(part, w, b) for part in (x[..., :3], x[..., 3:])]
    together = causal.causal_conv1d_fn(x, w, b, seq_idx=ids)
    torch.testing.assert_close(together, torch.cat(alone, 2))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_causal_update_is_one_step_of_the_whole(dtype):
    x, w = torch.randn(2, 3, 9).to(dtype), torch.randn(3, 4).to(dtype)
    whole = causal.causal_conv1d_fn(x, w, activation="silu")
    state = torch.zeros(2, 3, 4, dtype=dtype)
    version = state._version
    steps = [causal.causal_conv1d_update(x[..., i], state, w, activation="silu") for i in range(9)]
    assert torch.equal(torch.stack(steps, 2), whole)
    assert torch.equal(state, x[..., -4:])
    assert state._version > version


def test_installed_under_the_packages_name():
    code = """
from cconv1d.torch import causal
causal.install()
causal.install()
import importlib, importlib.util
from causal_conv1d import causal_conv1d_fn, causal_conv1d_update
from causal_conv1d.causal_conv1d_interface import causal_conv1d_fn as again
from causal_conv1d.causal_conv1d_varlen import causal_conv1d_varlen_states
assert importlib.util.find_spec("causal_conv1d") is not None
assert importlib.import_module("causal_conv1d").causal_conv1d_fn is again is causal.causal_conv1d_fn
print("ok")
"""
    result = python(code)
    assert result.stdout.strip() == "ok", result.stderr


def test_a_mamba_model_has_the_logits_of_the_fallback(monkeypatch):
    """In prefill and decode, as transformers calls the functions."""
    if not (BENCHMARKS / "mamba.py").exists():
        pytest.skip("benchmarks/ is not beside the tests")
    monkeypatch.syspath_prepend(BENCHMARKS)
    mamba = importlib.import_module("mamba")
    model = mamba.Mamba(layers=2, channels=32, states=4, words=50).eval()
    prompt = torch.randint(0, 50, (2, 9))
    theirs, found = (mamba.logits(model, prompt, 8, by) for by in (mamba.PYTORCH, mamba.OURS))
    assert found.shape == (2, 17, 50)
    torch.testing.assert_close(found, theirs, rtol=1e-5, atol=1e-5)
    whole = model(torch.cat((prompt, found[:, 8:-1].argmax(2)), 1), model.empty(2), mamba.OURS)
    torch.testing.assert_close(found, whole, rtol=1e-4, atol=1e-4)


# --- documentation --------------------------------------------------------------------------------

PAGE = REPO / "docs" / "pytorch.md"


@pytest.mark.parametrize("name", ["", "._functional", "._layers", ".causal"])
def test_docstrings(name):
    result = doctest.testmod(importlib.import_module(f"cconv1d.torch{name}"))
    assert result.attempted > 0
    assert result.failed == 0


@pytest.mark.skipif(not PAGE.exists(), reason="the pages are not beside the tests")
def test_the_page():
    """Its blocks run one by one, each in a process of its own: one installs a module."""
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert len(blocks) == 4
    for block in blocks:
        result = python(block, PYTHONWARNINGS="ignore")
        assert result.returncode == 0, result.stderr
