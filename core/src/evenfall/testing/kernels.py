"""A battery that compares the backends of an operation with its reference.

Subclass it in a test file and run pytest:

    class TestDouble(KernelBattery):
        operation = "double"
        backends = ("cpu",)

        def cases(self):
            return {"odd": lambda dtype, device: {"x": torch.randn(63, dtype=dtype, device=device)}}

        def call(self, backend, **inputs):
            with evenfall.use_backend(backend):
                return my_package.double(**inputs)

Each backend runs on each device, dtype and case. A combination that it does not serve is skipped,
with the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import pytest

from evenfall import backends as core_backends
from evenfall import registry
from evenfall.testing import compare
from evenfall.testing.memory import poisoned_memory

MakeInputs = Callable[[Any, str], Mapping[str, Any]]
"""(torch dtype, device name) -> keyword arguments of the operation."""


class KernelBattery:
    """Tests of each backend of `operation`. Set the attributes and override `cases` and, if needed,
    the other methods.

    Attributes:
        operation: the name of the operation in the registry.
        backends: the backends to test, without the reference.
        reference: the backend that defines the operation; it must accept float64.
        devices: torch device names; "cuda" is skipped if there is none.
        dtypes: torch dtype names.
        tolerances: dtype -> (rtol, atol) of outputs; gradients use rtol, in the maximum norm.
        nondifferentiable: names of floating inputs without a gradient.
        deterministic: False if sums may be added in any order (atomics).
        op: a torch.library operator or its name "namespace::name", for `opcheck`; None skips it.
    """

    operation: ClassVar[str]
    backends: ClassVar[tuple[str, ...]]
    reference: ClassVar[str] = "reference"
    devices: ClassVar[tuple[str, ...]] = ("cpu",)
    dtypes: ClassVar[tuple[str, ...]] = ("float32",)
    tolerances: ClassVar[Mapping[str, tuple[float, float]]] = {
        "float64": (1e-10, 1e-12),
        "float32": (1e-4, 1e-5),
        "float16": (5e-3, 5e-3),
        "bfloat16": (3e-2, 3e-2),
    }
    nondifferentiable: ClassVar[tuple[str, ...]] = ()
    deterministic: ClassVar[bool] = True
    op: ClassVar[Any] = None

    def cases(self) -> Mapping[str, MakeInputs]:
        """Name -> function that makes inputs; use a seed, and lengths such as 1, 63 and 100."""
        raise NotImplementedError(f"{type(self).__name__} must define cases()")

    def empty_cases(self) -> Mapping[str, MakeInputs]:
        """Name -> function that makes inputs with an axis of length 0; none by default."""
        return {}

    def call(self, backend: str, **inputs: Any) -> Any:
        """Run `backend`; by default, call the registered function with the inputs as keywords."""
        return registry.kernels.get(f"{self.operation}/{backend}")(**inputs)

    def op_arguments(self, **inputs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The positional and keyword arguments of `op` for these inputs."""
        return (), inputs

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Give each test all backends, devices, dtypes and cases that it has as arguments."""
        makers = {"maker": self.cases, "empty_maker": self.empty_cases}
        for argument, make in makers.items():
            if argument in metafunc.fixturenames:
                cases = make()
                metafunc.parametrize(argument, list(cases.values()), ids=list(cases))
        for argument, values in (
            ("backend", self.backends),
            ("device", self.devices),
            ("dtype", self.dtypes),
        ):
            if argument in metafunc.fixturenames:
                metafunc.parametrize(argument, values)

    def test_forward_equals_reference(
        self, backend: str, device: str, dtype: str, maker: MakeInputs
    ) -> None:
        """The outputs equal those of the reference in float64."""
        inputs = self._inputs(backend, device, dtype, maker)
        rtol, atol = self.tolerances[dtype]
        compare.assert_outputs_equal(self._run(backend, inputs), self._truth(inputs), rtol, atol)

    def test_gradients_equal_reference(
        self, backend: str, device: str, dtype: str, maker: MakeInputs
    ) -> None:
        """Every gradient equals that of the reference in float64."""
        inputs = self._inputs(backend, device, dtype, maker)
        rtol, _ = self.tolerances[dtype]
        compare.assert_gradients_equal(self._run(backend, inputs), self._truth(inputs), rtol)

    def test_inputs_are_not_modified(
        self, backend: str, device: str, dtype: str, maker: MakeInputs
    ) -> None:
        """Forward and backward do not change the inputs."""
        import torch

        inputs = self._inputs(backend, device, dtype, maker)
        before = compare.copy(inputs)
        self._run(backend, inputs)
        for name, value in before.items():
            if isinstance(value, torch.Tensor):
                torch.testing.assert_close(inputs[name], value, rtol=0, atol=0, equal_nan=True)

    def test_results_are_deterministic(
        self, backend: str, device: str, dtype: str, maker: MakeInputs
    ) -> None:
        """Two runs are equal bit by bit."""
        import torch

        if not self.deterministic:
            pytest.skip(f"{self.operation} is not declared deterministic")
        inputs = self._inputs(backend, device, dtype, maker)
        first, second = self._run(backend, inputs), self._run(backend, inputs)
        for one, other in zip(
            [*first.outputs, *first.gradients.values()],
            [*second.outputs, *second.gradients.values()],
            strict=True,
        ):
            assert (one is None) == (other is None)
            if one is not None:
                torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)

    def test_strided_inputs_work(
        self, backend: str, device: str, dtype: str, maker: MakeInputs
    ) -> None:
        """Non-contiguous inputs give the same results as contiguous ones."""
        inputs = self._inputs(backend, device, dtype, maker)
        rtol, atol = self.tolerances[dtype]
        got, want = self._run(backend, compare.to_strided(inputs)), self._truth(inputs)
        compare.assert_outputs_equal(got, want, rtol, atol)
        compare.assert_gradients_equal(got, want, rtol)

    def test_poisoned_memory_does_not_show(
        self, backend: str, device: str, dtype: str, maker: MakeInputs
    ) -> None:
        """No result depends on memory that was never written."""
        inputs = self._inputs(backend, device, dtype, maker)
        rtol, atol = self.tolerances[dtype]
        with poisoned_memory():
            got = self._run(backend, inputs)
        want = self._truth(inputs)
        compare.assert_outputs_equal(got, want, rtol, atol)
        compare.assert_gradients_equal(got, want, rtol)

    def test_empty_inputs_work(
        self, backend: str, device: str, dtype: str, empty_maker: MakeInputs
    ) -> None:
        """Axes of length 0 give the shapes and gradients of the reference."""
        inputs = self._inputs(backend, device, dtype, empty_maker)
        rtol, atol = self.tolerances[dtype]
        got, want = self._run(backend, inputs), self._truth(inputs)
        compare.assert_outputs_equal(got, want, rtol, atol)
        compare.assert_gradients_equal(got, want, rtol)

    def test_opcheck(self, device: str, dtype: str, maker: MakeInputs) -> None:
        """The operator passes torch.library.opcheck: schema, fake tensors, autograd, compile."""
        import torch

        if self.op is None:
            pytest.skip(f"the battery of {self.operation} sets no torch.library operator")
        inputs = self._inputs(self.backends[0], device, dtype, maker)
        leaves = compare.differentiable_leaves(inputs, self._is_differentiable)
        arguments, keywords = self.op_arguments(**{**inputs, **leaves})
        op = self.op
        if isinstance(op, str):
            namespace, _, name = op.partition("::")
            op = getattr(getattr(torch.ops, namespace), name).default
        torch.library.opcheck(op, arguments, keywords)

    def _inputs(
        self, backend: str, device: str, dtype: str, maker: MakeInputs
    ) -> Mapping[str, Any]:
        import torch

        if torch.device(device).type == "cuda" and not torch.cuda.is_available():
            pytest.skip("torch finds no CUDA device")
        kernel = self._kernel(backend)
        if not kernel.fits(torch.device(device).type, dtype):
            pytest.skip(f"{self.operation}: {kernel} does not serve {device} {dtype}")
        problem = kernel.problem()
        if problem is not None:
            pytest.skip(problem)
        return maker(getattr(torch, dtype), device)

    def _kernel(self, backend: str) -> core_backends.Kernel:
        for kernel in core_backends.candidates(self.operation):
            if kernel.backend == backend:
                return kernel
        pytest.fail(f"{self.operation} has no backend {backend!r}; `evenfall kernels` lists them")

    def _run(self, backend: str, inputs: Mapping[str, Any]) -> compare.Result:
        def call(**keywords: Any) -> Any:
            return self.call(backend, **keywords)

        return compare.run(call, inputs, self._is_differentiable)

    def _is_differentiable(self, name: str) -> bool:
        return name not in self.nondifferentiable

    def _truth(self, inputs: Mapping[str, Any]) -> compare.Result:
        return self._run(self.reference, compare.to_reference(inputs))
