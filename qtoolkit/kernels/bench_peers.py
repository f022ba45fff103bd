"""The peers of `qt bench`: the same work by torch and by ONNX Runtime. A peer that this installation lacks is left out."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import Tensor, nn

Peers = dict[str, Callable[[], object]]


def _those_that_run(candidates: Peers) -> Peers:
    """The candidates whose first call succeeds: some need instructions or shapes that are not here."""
    able = {}
    for name, run in candidates.items():
        try:
            run()
        except (RuntimeError, NotImplementedError, AttributeError, ValueError):
            continue
        able[name] = run
    return able


def float_linear(x: Tensor, weight: Tensor) -> Peers:
    """float32 and bfloat16 layers of torch, float32 of ONNX Runtime."""
    xf, wf = x.float(), weight.float()
    xb, wb = xf.bfloat16(), wf.bfloat16()
    torch_peers = {"torch float32": lambda: nn.functional.linear(xf, wf), "torch bfloat16": lambda: nn.functional.linear(xb, wb)}
    return _those_that_run(torch_peers) | onnx_node("ORT float32", "MatMul", {"x": xf, "w": wf.T.contiguous()}, ["x"])


def linear(x: Tensor, weight: Tensor) -> Peers:
    """Everything that multiplies int8 matrices, and the float layers."""
    wt = weight.T.contiguous()
    able = _those_that_run({"torch._int_mm": lambda: torch._int_mm(x, wt), "torch quantized.linear": _quantized_linear(x, weight)})
    unsigned, middle = (x.to(torch.int16) + 128).to(torch.uint8), np.uint8(128)  # the types for which ONNX Runtime is fast
    able |= onnx_node("ORT MatMulInteger", "MatMulInteger", {"x": unsigned, "w": wt, "zx": middle}, ["x"])
    able |= onnx_node("ORT QLinearMatMul", "QLinearMatMul", {"x": unsigned, "sx": 0.1, "zx": middle, "w": wt, "sw": 0.01,
                                                             "zw": np.int8(0), "sy": 1.0, "zy": middle}, ["x"])
    return able | float_linear(x, weight)


def _quantized_linear(x: Tensor, weight: Tensor) -> Callable[[], object]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        codes = torch._make_per_tensor_quantized_tensor((x.to(torch.int16) + 128).to(torch.uint8), 0.1, 128)
        packed = torch.ops.quantized.linear_prepack(torch._make_per_tensor_quantized_tensor(weight, 0.01, 0), None)
    return lambda: torch.ops.quantized.linear(codes, packed, 1.0, 128)


def dynamic_linear(x: Tensor, weight: Tensor) -> Peers:
    """torch's dynamic int8 layer, which also quantizes its float input on the way in."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        packed = torch.ops.quantized.linear_prepack(torch._make_per_tensor_quantized_tensor(weight, 0.01, 0), None)
    return _those_that_run({"torch quantized.linear_dynamic": lambda: torch.ops.quantized.linear_dynamic(x, packed, reduce_range=False)})


def conv(x: Tensor, weight: Tensor, stride: int = 1, groups: int = 1) -> Peers:
    """A square convolution with padding of half its kernel: torch float32 in channels-last memory, ONNX Runtime float32 and QLinearConv."""
    xf, wf = x.float(), weight.float().contiguous(memory_format=torch.channels_last)
    unsigned, middle = (x.to(torch.int16) + 128).to(torch.uint8).contiguous(), np.uint8(128)
    kernel = weight.shape[-1]
    shape = dict(kernel_shape=[kernel] * 2, pads=[kernel // 2] * 4, strides=[stride] * 2, group=groups)
    quantized = {"x": unsigned, "sx": 0.1, "zx": middle, "w": weight, "sw": 0.01, "zw": np.int8(0), "sy": 1.0, "zy": middle}
    return (_those_that_run({"torch float32": lambda: nn.functional.conv2d(xf, wf, padding=kernel // 2, stride=stride, groups=groups)})
            | onnx_node("ORT float32", "Conv", {"x": xf.contiguous(), "w": wf.contiguous()}, ["x"], **shape)
            | onnx_node("ORT QLinearConv", "QLinearConv", quantized, ["x"], **shape))


def matmul_nbits(x: Tensor, weight: Tensor, scale: Tensor, group: int) -> Peers:
    """ONNX Runtime's layer of 4-bit weights, with int8 arithmetic inside (accuracy_level 4)."""
    n, k = weight.shape
    codes = (weight + 8).to(torch.uint8).reshape(n, k // group, group // 2, 2)
    inputs = {"x": x, "w": codes[..., 0] | codes[..., 1] << 4, "s": scale.flatten()}
    return onnx_node("ORT MatMulNBits", "MatMulNBits", inputs, ["x"], domain="com.microsoft", K=k, N=n, bits=4, block_size=group, accuracy_level=4)


def sparse(x: Tensor, weight: Tensor) -> Peers:
    """Compressed rows by scipy and by torch; both multiply from the left, so they get x transposed beforehand, and may leave the result
    so. torch also as a layer, which like ours takes a batch row by row and gives it back row by row."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rows, columns = weight.to_sparse_csr(), x.T.contiguous()
    able = _those_that_run({"torch sparse CSR": lambda: rows @ columns})
    if len(x) > 1:
        able |= _those_that_run({"torch sparse CSR as a layer": lambda: (rows @ x.T.contiguous()).T.contiguous()})
    try:
        from scipy.sparse import csr_matrix
    except ImportError:
        return able
    theirs, array = csr_matrix(weight.numpy()), (columns if len(x) > 1 else x[0]).numpy()
    return able | {"scipy CSR": lambda: theirs @ array}


def symbol_streams(count: int) -> list[tuple[str, Tensor]]:
    """What a compressed network is made of: 4-bit weight indices, int8 weights, gaps between weights; int16."""
    rng = np.random.default_rng(0)
    kinds = {"4-bit indices": np.clip(np.round(rng.laplace(8, 1.2, count)), 0, 15),
             "int8 weights": np.clip(np.round(rng.laplace(128, 12, count)), 0, 255), "gaps": np.minimum(rng.geometric(0.09, count), 31)}
    return [(name, torch.from_numpy(values.astype(np.int16))) for name, values in kinds.items()]


def entropy(symbols: Tensor) -> Peers:
    """zlib restricted to Huffman codes, and zstd where it is installed, decoding one byte a symbol."""
    import zlib

    plain = symbols.to(torch.uint8).numpy().tobytes()
    coder = zlib.compressobj(level=1, method=zlib.DEFLATED, wbits=-15, memLevel=9, strategy=zlib.Z_HUFFMAN_ONLY)
    coded = coder.compress(plain) + coder.flush()
    able: Peers = {"zlib Huffman": lambda: zlib.decompress(coded, -15)}
    try:
        import zstandard
    except ImportError:
        return able
    frame, reader = zstandard.compress(plain, 1), zstandard.ZstdDecompressor()
    return able | {"zstd -1": lambda: reader.decompress(frame)}


def network(model: nn.Sequential, x: Tensor) -> Peers:
    """A whole network: torch float32, ONNX Runtime float32 and statically quantized."""
    return {"torch float32": lambda: model(x)} | onnx_network(model, x)


def onnx_node(name: str, kind: str, inputs: dict[str, object], streamed: list[str], domain: str = "", **attributes) -> Peers:
    """One ONNX operator as a session; inputs that are not `streamed` are constants."""
    try:
        from onnx import helper, numpy_helper
    except ImportError:
        return {}
    arrays = {key: np.asarray(value, dtype=None if isinstance(value, (Tensor, np.generic)) else np.float32) for key, value in inputs.items()}
    kinds = {key: helper.np_dtype_to_tensor_dtype(array.dtype) for key, array in arrays.items()}
    result = helper.make_empty_tensor_value_info("y")
    graph = helper.make_graph(
        [helper.make_node(kind, list(inputs), ["y"], domain=domain, **attributes)], kind, [helper.make_tensor_value_info(key, kinds[key], arrays[key].shape) for key in streamed],
        [result], [numpy_helper.from_array(arrays[key], key) for key in arrays if key not in streamed])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)], ir_version=10)
    return _session(name, model.SerializeToString(), {key: arrays[key] for key in streamed})


def onnx_network(model: nn.Sequential, x: Tensor) -> Peers:
    """Linear and ReLU layers as ONNX Gemm and Relu, in float32 and after onnxruntime.quantization.quantize_static."""
    try:
        import onnx
        from onnxruntime.quantization import CalibrationDataReader, quantize_static
    except ImportError:
        return {}

    class Reader(CalibrationDataReader):
        def __init__(self):
            self.batches = iter([{"x": torch.rand(64, *x.shape[1:]).numpy()} for _ in range(4)])

        def get_next(self):
            return next(self.batches, None)

    with TemporaryDirectory() as folder:
        source, target = Path(folder, "float.onnx"), Path(folder, "int8.onnx")
        onnx.save(_onnx_model(model, tuple(x.shape[1:])), source)
        quantize_static(source, target, Reader(), per_channel=True)
        feed = {"x": x.numpy()}
        return _session("ORT float32", source.read_bytes(), feed) | _session("ORT int8 static", target.read_bytes(), feed)


def _onnx_model(model: nn.Sequential, shape: tuple[int, ...]):
    """A Sequential of Conv2d, MaxPool2d, Linear and ReLU as an ONNX model of inputs (batch, *shape)."""
    from onnx import TensorProto, helper, numpy_helper

    nodes, constants, value = [], [], "x"
    for i, module in enumerate(model):
        names = [value]
        if isinstance(module, (nn.Linear, nn.Conv2d)):
            names += [f"w{i}", f"b{i}"]
            constants += [numpy_helper.from_array(tensor.detach().numpy(), name) for tensor, name in zip((module.weight, module.bias), names[1:])]
        kind, attributes = _onnx_kind(module, len(shape))
        if kind is None:
            continue
        nodes.append(helper.make_node(kind, names, [f"v{i}"], **attributes))
        value = f"v{i}"
    result = helper.make_tensor_value_info(value, TensorProto.FLOAT, ["batch", None])
    graph = helper.make_graph(nodes, "network", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", *shape])], [result], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)


def _onnx_kind(module: nn.Module, axes: int) -> tuple[str | None, dict]:
    """ONNX's operator for a module, and its attributes; None for what does nothing to inputs of so many axes."""
    match module:
        case nn.Linear():
            return "Gemm", {"transB": 1}
        case nn.Conv2d():
            return "Conv", {"strides": list(module.stride), "pads": [*module.padding, *module.padding], "group": module.groups}
        case nn.MaxPool2d():
            return "MaxPool", {"kernel_shape": [module.kernel_size] * 2, "strides": [module.stride] * 2}
        case nn.ReLU():
            return "Relu", {}
        case nn.Flatten() if axes > 1:
            return "Flatten", {}
    return None, {}


def _session(name: str, model: bytes, feed: dict[str, np.ndarray]) -> Peers:
    """A run of the session with inputs and outputs bound beforehand, its cheapest way to be called."""
    try:
        import onnxruntime as ort
    except ImportError:
        return {}
    options = ort.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    for key, array in feed.items():
        binding.bind_cpu_input(key, array)
    binding.bind_output(session.get_outputs()[0].name)
    return {name: lambda: session.run_with_iobinding(binding)}
