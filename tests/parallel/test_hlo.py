"""Parsing compiled programs and counting their costs: small local programs, and excerpts of others."""

import jax
import jax.numpy as jnp
import pytest

from lab10.parallel.hlo import Shape, parse
from lab10.parallel.step_costs import step_costs

BATCH, WIDTH, STEPS = 8, 16, 5

# In the form in which XLA prints programs of GPUs and TPUs.
GPU = """\
HloModule jit_f, is_scheduled=true

%fused_slice (p0: f32[250,32], p1: s32[]) -> f32[1,32] {
  %p0 = f32[250,32]{1,0} parameter(0)
  %p1 = s32[] parameter(1)
  %zero = s32[] constant(0)
  ROOT %slice = f32[1,32]{1,0} dynamic-slice(%p0, %p1, %zero), dynamic_slice_sizes={1,32}
}

%fused_gemm (p2: f32[8,32], p3: f32[32,64]) -> f32[8,64] {
  %p2 = f32[8,32]{1,0} parameter(0)
  %p3 = f32[32,64]{1,0} parameter(1)
  ROOT %dot = f32[8,64]{1,0} dot(%p2, %p3), lhs_contracting_dims={1}, rhs_contracting_dims={0}
}

%body (arg: (s32[], f32[250,32], f32[8,32], /*index=3*/f32[32,64])) -> (s32[], f32[250,32], f32[8,32], f32[32,64]) {
  %arg = (s32[], f32[250,32]{1,0}, f32[8,32]{1,0}, /*index=3*/f32[32,64]{1,0}) parameter(0)
  %i = s32[] get-tuple-element(%arg), index=0
  %rows = f32[250,32]{1,0} get-tuple-element(%arg), index=1
  %left = f32[8,32]{1,0} get-tuple-element(%arg), index=2
  %right = f32[32,64]{1,0} get-tuple-element(%arg), index=3
  %copied = ((f32[250,32]{1,0}, s32[]), f32[1,32]{1,0}, u32[]) fusion-start(%rows, %i), kind=kLoop, calls=%fused_slice
  %copied-done = f32[1,32]{1,0} fusion-done(%copied)
  %gemm = f32[8,64]{1,0} fusion(%left, %right), kind=kCustom, calls=%fused_gemm
  ROOT %next = (s32[], f32[250,32]{1,0}, f32[8,32]{1,0}, f32[32,64]{1,0}) tuple(%i, %rows, %left, %right)
}

%condition (arg.1: (s32[], f32[250,32], f32[8,32], f32[32,64])) -> pred[] {
  %arg.1 = (s32[], f32[250,32]{1,0}, f32[8,32]{1,0}, f32[32,64]{1,0}) parameter(0)
  %j = s32[] get-tuple-element(%arg.1), index=0
  %limit = s32[]{:T(128)} constant(250)
  ROOT %less = pred[]{:T(512)} compare(%j, %limit), direction=LT
}

ENTRY %main (a: (s32[], f32[250,32], f32[8,32], f32[32,64])) -> f32[8,64] {
  %a = (s32[], f32[250,32]{1,0}, f32[8,32]{1,0}, f32[32,64]{1,0}) parameter(0)
  %loop = (s32[], f32[250,32]{1,0}, f32[8,32]{1,0}, f32[32,64]{1,0}) while(%a), condition=%condition, body=%body
  %x = f32[8,32]{1,0:T(8,128)S(1)} get-tuple-element(%loop), index=2
  %w = f32[32,64]{1,0} get-tuple-element(%loop), index=3
  %sum-start = f32[8,32]{1,0} all-reduce-start(%x), replica_groups={{0,1}}, to_apply=%add
  %sum = f32[8,32]{1,0} all-reduce-done(%sum-start)
  ROOT %library = f32[8,64]{1,0} custom-call(%sum, %w), custom_call_target="__cublas$gemm", backend_config={GEMM}
}
"""
GEMM = '"gemm_backend_config":{"dot_dimension_numbers":{"lhs_contracting_dimensions":["1"]}}'
GPU = GPU.replace("GEMM", GEMM)
TPU_CONVOLUTION = """\
ENTRY %main (x: bf16[8,32], w: bf16[32,64]) -> f32[8,64] {
  %x = bf16[8,32]{1,0:T(8,128)(2,1)} parameter(0)
  %w = bf16[32,64]{1,0:T(8,128)(2,1)} parameter(1)
  ROOT %product = f32[8,64]{1,0:T(8,128)} convolution(%x, %w), dim_labels=bf_io->bf
}
"""


def costs_of(function, *arguments):
    text = jax.jit(function).lower(*arguments).compile().as_text()
    return step_costs(parse(text))


def test_shapes_of_any_type_have_their_size_in_bytes():
    sizes = {Shape("f32", (3, 4)): 48, Shape("bf16", (5,)): 10, Shape("pred", ()): 1, Shape("s4", (8,)): 4}
    sizes |= {Shape("f8e4m3fn", (7,)): 7, Shape("c64", (2,)): 16, Shape("token", ()): 0, Shape("u16", (0, 9)): 0}
    for shape, size in sizes.items():
        assert shape.num_bytes == size, shape


def test_a_loop_counts_as_often_as_it_iterates_annotated_or_not():
    annotated = GPU.replace("body=%body", 'body=%body, backend_config={"known_trip_count":{"n":"250"}}')
    for text in (GPU, annotated):
        costs = step_costs(parse(text))
        assert costs.flops == 250 * 2 * 8 * 32 * 64 + 2 * 8 * 32 * 64
        assert costs.kernel_launches == 250 * 2 + 2, "in the loop a copy and a product; then a sum and a library call"


def test_a_loop_of_unknown_length_counts_once_with_its_condition():
    unknown = GPU.replace("constant(250)", "get-tuple-element(%arg.1), index=0")
    costs = step_costs(parse(unknown))
    assert costs.flops == 2 * 2 * 8 * 32 * 64
    assert costs.kernel_launches == 2 + 1 + 2


def test_collectives_are_counted_with_their_bytes_per_device():
    costs = step_costs(parse(GPU))
    assert costs.collectives == {"all-reduce": 1}
    assert costs.collective_bytes == 8 * 32 * 4


def test_a_slice_counts_only_the_bytes_of_the_slice():
    costs = step_costs(parse(GPU))
    copied = 2 * 32 * 4 + 2 * 4  # the row and its copy, the row's index, and the constant
    product = 4 * (8 * 32 + 32 * 64 + 8 * 64)
    assert costs.bytes_accessed == pytest.approx(250 * (copied + product) + 2 * 4 * 8 * 32 + product, rel=0.01)


def test_matrix_products_on_a_tpu_are_convolutions():
    program = parse(TPU_CONVOLUTION)
    assert step_costs(program).flops == 2 * 8 * 32 * 64
    assert program.dtypes == {"bf16", "f32"}


def test_batched_products_on_a_tpu_count_no_padding():
    batched = """\
ENTRY %main (x: bf16[8,32,16], w: bf16[8,16,64]) -> f32[8,32,64] {
  %x = bf16[8,32,16]{2,1,0} parameter(0)
  %w = bf16[8,16,64]{2,1,0} parameter(1)
  ROOT %y = f32[8,32,64]{2,1,0} convolution(%x, %w), window={size=8 stride=7 lhs_dilate=8}, dim_labels=0bf_0io->0bf
}
"""
    assert step_costs(parse(batched)).flops == 2 * 8 * 32 * 16 * 64


def test_flops_of_local_programs_match_the_formula():
    x, w = jnp.zeros((BATCH, WIDTH)), jnp.zeros((WIDTH, WIDTH))
    one = 2 * BATCH * WIDTH * WIDTH

    def scanned(x, w):
        return jax.lax.scan(lambda x, _: (jnp.tanh(x @ w), None), x, None, length=STEPS)[0]

    assert costs_of(jnp.matmul, x, w).flops == one
    assert costs_of(scanned, x, w).flops == STEPS * one
    assert costs_of(lambda n, x, w: jax.lax.fori_loop(0, n, lambda _, x: jnp.tanh(x @ w), x), 3, x, w).flops == one
    assert costs_of(jax.grad(lambda w: jnp.sum(scanned(x, w))), w).flops == pytest.approx(3 * STEPS * one, rel=0.05)
    assert costs_of(lambda x: x + 1, x).flops == 0


def test_a_condition_counts_its_smallest_branch():
    """The other one of a training step computes its diagnostics, at logged steps only."""
    x, w = jnp.zeros((BATCH, WIDTH)), jnp.zeros((WIDTH, WIDTH))

    def choose(condition, x, w):
        return jax.lax.cond(condition, lambda: jnp.sum(x @ w), lambda: 0.0), x @ w

    assert costs_of(choose, True, x, w).flops == 2 * BATCH * WIDTH * WIDTH
