"""Checkpoints: restoring is bit-exact, the right checkpoints are kept, and damage is detected."""

import json
import shutil

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab10.config.errors import UserError
from lab10.tasks.metrics import Metrics
from lab10.training.checkpoint_metadata import digest, digest_of_json
from lab10.training.checkpoints import Checkpoints


def trees(seed=0, width=3):
    """Parameters and an optimizer's state, with a subnormal number and a negative zero.

    The kernel is larger than the 1,024 bytes that Orbax would store next to its checksummed metadata, and
    does not compress, so that a flipped byte of it reads back as another number.
    """
    random = np.random.default_rng(seed)
    kernel = random.normal(size=(400, width)).astype(np.float32)
    kernel[0] = [np.float32(1e-42), -0.0, np.nextafter(np.float32(1), np.float32(2))][:width] + [0.1] * (width - 3)
    params = {"dense": {"kernel": jnp.asarray(kernel), "bias": jnp.asarray(random.normal(size=width), jnp.float32)}}
    return {"params": params, "opt_state": optax.adam(1e-3).init(params)}


def abstract(tree):
    sharding = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), tree)


def opened(directory, monitor="loss", higher_is_better=False):
    return Checkpoints(directory / "checkpoints", monitor, higher_is_better)


def assert_same_bits(actual, expected):
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        assert (np.asarray(a).dtype, np.asarray(a).tobytes()) == (np.asarray(b).dtype, np.asarray(b).tobytes())


def test_restoring_is_bit_exact(tmp_path):
    saved, pending = trees(), Metrics({"loss": 0.1 + 0.2, "accuracy": 3.0}, 7.0)
    checkpoints = opened(tmp_path)
    checkpoints.save(5, saved, pending, {"loss": 1 / 3})
    checkpoints = opened(tmp_path)
    restored = checkpoints.restore_latest(abstract(trees()))
    assert restored.step == 5
    assert_same_bits(restored.trees, trees())
    found = restored.info.pending_metrics
    assert (found.totals, found.count) == (pending.totals, pending.count)
    assert restored.info.validation == {"loss": 1 / 3}


def test_saving_does_not_change_its_arguments(tmp_path):
    saved = trees()
    checkpoints = opened(tmp_path)
    checkpoints.save(5, saved, Metrics.empty(), {"loss": 0.5})
    assert list(saved) == ["params", "opt_state"]


def test_the_parameters_alone_can_be_restored(tmp_path):
    checkpoints = opened(tmp_path)
    checkpoints.save(1, trees(), Metrics.empty(), None)
    restored = checkpoints.restore(1, {"params": abstract(trees()["params"])})
    assert list(restored.trees) == ["params"]
    assert_same_bits(restored.trees["params"], trees()["params"])


def test_a_run_without_checkpoints_is_refused(tmp_path):
    checkpoints = opened(tmp_path)
    assert checkpoints.steps() == []
    assert checkpoints.restore_latest(abstract(trees())) is None
    assert checkpoints.best_step() is None
    with pytest.raises(UserError, match="has no checkpoint yet"):
        checkpoints.find("best")


def kept_after(losses, sign):
    """The latest two steps and the best evaluated one, the later of equally good steps."""
    steps = range(10, 10 * (len(losses) + 1), 10)
    kept, measured = set(), {}
    for step, loss in zip(steps, losses, strict=True):
        kept.add(step)
        measured |= {step: loss} if loss is not None else {}
        # A removed checkpoint cannot come back.
        best = (
            max((sign * value, step) for step, value in measured.items() if step in kept)[1]
            if measured.keys() & kept
            else None
        )
        kept &= set(sorted(kept)[-2:]) | {best}
    return sorted(kept)


@given(st.lists(st.none() | st.sampled_from((0.25, 0.5, 1.0, 2.0)), min_size=1, max_size=7), st.booleans())
@settings(max_examples=12)
def test_the_latest_two_and_the_best_are_kept_and_never_more(tmp_path_factory, losses, higher_is_better):
    directory, sign = tmp_path_factory.mktemp("run"), 1 if higher_is_better else -1
    checkpoints = opened(directory, higher_is_better=higher_is_better)
    for i, loss in enumerate(losses, start=1):
        checkpoints.save(
            10 * i,
            {"params": {"x": jnp.full(2, i)}},
            Metrics.empty(),
            None if loss is None else {"loss": loss},
        )
        assert checkpoints.steps() == kept_after(losses[:i], sign)
    measured = {10 * i: sign * loss for i, loss in enumerate(losses, start=1) if loss is not None}
    checkpoints = opened(directory, higher_is_better=higher_is_better)
    assert checkpoints.find("latest") == 10 * len(losses)
    assert checkpoints.find("best") == (
        max((value, step) for step, value in measured.items())[1] if measured else 10 * len(losses)
    )
    for step in checkpoints.steps():
        assert checkpoints.find(str(step)) == step


@pytest.mark.parametrize("asked", ["15", "-1", "bets", "", "²"])
def test_an_unknown_checkpoint_lists_the_available_steps(tmp_path, asked):
    checkpoints = opened(tmp_path)
    checkpoints.save(10, {"params": {"x": jnp.ones(2)}}, Metrics.empty(), None)
    with pytest.raises(UserError, match="expected best, latest or one of the steps 10"):
        checkpoints.find(asked)


@pytest.fixture(scope="module")
def saved_twice(tmp_path_factory):
    """A run with complete checkpoints of steps 1 and 2."""
    directory = tmp_path_factory.mktemp("run")
    checkpoints = opened(directory)
    for step in (1, 2):
        checkpoints.save(step, trees(seed=step), Metrics.empty(), {"loss": 1 / step})
    return directory


def array_files(checkpoint):
    """The files that store the bytes of arrays; the other files describe them."""
    return sorted(path for path in checkpoint.rglob("d/*") if path.is_file())


def all_files(checkpoint):
    return sorted(path for path in checkpoint.rglob("*") if path.is_file() and path.stat().st_size)


@pytest.fixture
def damageable(saved_twice, tmp_path):
    shutil.copytree(saved_twice, tmp_path / "run")
    return tmp_path / "run"


@given(st.data())
@settings(max_examples=25)
def test_a_flipped_byte_in_an_array_file_is_detected(saved_twice, tmp_path_factory, data):
    directory = tmp_path_factory.mktemp("damaged") / "run"
    shutil.copytree(saved_twice, directory)
    path = data.draw(st.sampled_from(array_files(directory / "checkpoints" / "2")))
    content = bytearray(path.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    assert_restores_step_1_or_the_same_step_2(directory)


@given(st.data())
@settings(max_examples=25)
def test_after_damage_to_any_file_the_previous_checkpoint_is_restored(saved_twice, tmp_path_factory, data):
    directory = tmp_path_factory.mktemp("damaged") / "run"
    shutil.copytree(saved_twice, directory)
    path = data.draw(st.sampled_from(all_files(directory / "checkpoints" / "2")))
    content = bytearray(path.read_bytes())
    offset = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        content[offset] ^= data.draw(st.integers(1, 255))
    else:
        del content[offset:]
    path.write_bytes(content)
    assert_restores_step_1_or_the_same_step_2(directory)


@pytest.mark.parametrize(
    "name", ["validation", "pending_metrics", "sha256", "totals", "params", "opt_state", "format", "own_sha256"]
)
def test_metadata_with_a_missing_key_is_damaged(damageable, name):
    path = damageable / "checkpoints" / "2" / "_CHECKPOINT_METADATA"
    assert f'"{name}"' in path.read_text()
    path.write_text(path.read_text().replace(f'"{name}"', f'"{name[:-1]}?"'))
    assert_restores_step_1_or_the_same_step_2(damageable)


def test_a_changed_number_in_the_metadata_is_damage(damageable):
    """A flipped bit that lowers a loss would otherwise make another checkpoint the best."""
    path = damageable / "checkpoints" / "2" / "_CHECKPOINT_METADATA"
    assert '"loss": 0.5' in path.read_text()
    path.write_text(path.read_text().replace('"loss": 0.5', '"loss": 1.5'))
    checkpoints = opened(damageable)
    with pytest.raises(UserError, match="they differ from what was saved"):
        checkpoints.validation(2)
    assert checkpoints.best_step() == 1
    assert checkpoints.restore_latest(abstract(trees())).step == 1


@pytest.mark.parametrize("version", [1, 4])
def test_another_format_is_refused_and_left_untouched(damageable, version):
    path = damageable / "checkpoints" / "2" / "_CHECKPOINT_METADATA"
    metadata = json.loads(path.read_text())
    custom = {**metadata["custom_metadata"], "format": version}
    del custom["own_sha256"]
    if version > 1:
        custom["own_sha256"] = digest_of_json(custom)
    path.write_text(json.dumps(metadata | {"custom_metadata": custom}))
    checkpoints = opened(damageable)
    for use in (
        checkpoints.best_step,
        lambda: checkpoints.restore(2, abstract(trees())),
        lambda: checkpoints.restore_latest(abstract(trees())),
    ):
        with pytest.raises(UserError, match=f"has the checkpoint format {version}; this version of lab10 reads"):
            use()
    assert checkpoints.steps() == [1, 2]


def assert_restores_step_1_or_the_same_step_2(directory):
    """Step 2 can be restored if the damaged bytes are not used; its arrays must then be correct."""
    checkpoints = opened(directory)
    restored = checkpoints.restore_latest(abstract(trees()))
    assert restored.step in (1, 2)
    assert_same_bits(restored.trees, trees(seed=restored.step))


def test_a_truncated_array_file_is_detected_and_the_previous_checkpoint_restored(damageable):
    for path in array_files(damageable / "checkpoints" / "2"):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    checkpoints = opened(damageable)
    with pytest.raises(UserError, match="checkpoints/2"):
        checkpoints.restore(2, abstract(trees()))
    assert checkpoints.restore_latest(abstract(trees())).step == 1


def test_a_run_does_not_restart_if_all_checkpoints_are_damaged(damageable):
    for step in ("1", "2"):
        for path in array_files(damageable / "checkpoints" / step):
            path.write_bytes(b"")
    with pytest.raises(UserError, match=r"No checkpoint in .* can be restored"):
        opened(damageable).restore_latest(abstract(trees()))


def test_another_models_shapes_are_refused(saved_twice):
    checkpoints = opened(saved_twice)
    for model in (trees(width=5), trees() | {"params": {"other": jnp.ones(3)}}):
        with pytest.raises(UserError, match="cannot be read as a checkpoint of this model"):
            checkpoints.restore(2, abstract(model))
    with pytest.raises(UserError, match=r"/dense/bias has shape \(3,\); expected \(5,\)"):
        checkpoints.restore(2, abstract(trees(width=5)))


def test_a_moved_run_is_restored(damageable):
    moved = damageable.rename(damageable.with_name("elsewhere"))
    checkpoints = opened(moved)
    assert_same_bits(checkpoints.restore(2, abstract(trees())).trees, trees(seed=2))


@pytest.mark.parametrize(
    "change", [lambda x: x.at[0].set(-x[0]), lambda x: x.astype(ml_dtypes.bfloat16), lambda x: x.reshape(1, -1)]
)
def test_the_digest_depends_on_values_dtypes_and_shapes(change):
    x = jnp.array([0.0, 1.0, 2.0])
    assert digest({"x": x}) == digest({"x": np.asarray(x)})
    assert digest({"x": change(x)}) != digest({"x": x})
    assert digest({"y": x}) != digest({"x": x})


def test_a_checkpoint_is_renamed_before_it_is_removed(tmp_path, monkeypatch):
    """A process that dies meanwhile leaves no part of it under the name of a checkpoint."""
    checkpoints = opened(tmp_path)
    for step in (1, 2):
        checkpoints.save(step, {"params": {"x": jnp.ones(2)}}, Metrics.empty(), None)
    monkeypatch.setattr("shutil.rmtree", lambda path: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        checkpoints.save(3, {"params": {"x": jnp.ones(2)}}, Metrics.empty(), None)
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir() if path.name.isdigit()) == ["2", "3"]
